-- ARGV[3] = worker, [4] = lease in milliseconds (0 = it is given up); then for each: task run, dispatch, the marker under which it was
-- taken ('' = unknown), shard, tenant, execution. Answers the marker, then for each 0 = lost, 1 = held, 2 = held and
-- to be killed.
local worker, deadline, answer = ARGV[3], now + tonumber(ARGV[4]), { born }
local given_up = tonumber(ARGV[4]) == 0 and 1 or nil
for i = 5, #ARGV, 6 do
  local id, dispatch, taken = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  -- Taken before Redis was emptied: that it is unknown here says nothing.
  local emptied = taken ~= '' and taken ~= born
  local p, held = load(id), 0
  if p then
    if p[1] == dispatch and p[6] == worker then
      held = 1 + p[5]
    elseif p[1] == dispatch and p[6] == '' and emptied then
      -- Its owner has pushed it again meanwhile; it runs already.
      dequeue(id, p[3])
      p[6] = worker
      save(id, p)
      held = 1 + p[5]
    end
  elseif emptied then
    p = { dispatch, tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], 0, worker }
    save(id, p)
    held = 1
  end
  if held > 0 then
    if p[7] ~= given_up then
      p[7] = given_up
      save(id, p)
    end
    redis.call('ZADD', lease, deadline, id)
  end
  answer[#answer + 1] = held
end
return answer
