-- ARGV[3] = group, [4] = window, [5] = channels of processes; then for each job: task run, dispatch, shard, tenant,
-- execution, job. Answers the numbers (from 0) of the jobs that found no room.
local group, window, refused, added = ARGV[3], tonumber(ARGV[4]), {}, 0
for i = 6, #ARGV, 6 do
  local id, dispatch, tenant = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 3]
  local p = load(id)
  if not (p and p[1] >= dispatch) then
    if p then
      forget(id, p)
    end
    if redis.call('LLEN', waiting_of(tenant)) >= window then
      redis.call('HSET', thirsty, tenant, math.floor(window / 2))
      refused[#refused + 1] = (i - 6) / 6
    else
      redis.call('HSET', body, id, ARGV[i + 5])
      save(id, { dispatch, tonumber(ARGV[i + 2]), tenant, ARGV[i + 4], 0, '' })
      enqueue(id, tenant, false)
      added = added + 1
    end
  end
end
wake(added, ARGV[5], group)
return refused
