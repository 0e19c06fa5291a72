-- ARGV[3] = most leases; then shards. Answers task run, dispatch, shard, tenant, execution, worker, 1 if that has given
-- it up, of each lease of these shards that was not renewed in time, and forgets it.
local shards, left, answer, from = {}, tonumber(ARGV[3]), {}, 0
for i = 4, #ARGV do
  shards[tonumber(ARGV[i])] = true
end
while left > 0 do
  local ids = redis.call('ZRANGEBYSCORE', lease, '-inf', now, 'LIMIT', from, 500)
  for _, id in ipairs(ids) do
    local p = load(id)
    if not p then
      redis.call('ZREM', lease, id)
    elseif shards[p[2]] and left > 0 then
      forget(id, p)
      for _, part in ipairs({ id, p[1], p[2], p[3], p[4], p[6], p[7] or 0 }) do
        answer[#answer + 1] = part
      end
      left = left - 1
    else
      from = from + 1
    end
  end
  if #ids < 500 then
    break
  end
end
return answer
