-- ARGV[3] = group, [4] = worker, [5] = channels of processes; then for each: task run, dispatch, marker under which
-- it was taken, shard, tenant, execution, job. The last becomes the first of its tenant's list.
local worker, released = ARGV[4], 0
for i = 6, #ARGV, 7 do
  local id, dispatch, taken, tenant = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 4]
  local p = load(id)
  if not p and taken ~= '' and taken ~= born then
    p = { dispatch, tonumber(ARGV[i + 3]), tenant, ARGV[i + 5], 0, worker }
  end
  if p and p[1] == dispatch and p[6] == worker then
    p[6], p[7] = '', nil
    save(id, p)
    redis.call('HSET', body, id, ARGV[i + 6])
    redis.call('ZREM', lease, id)
    enqueue(id, p[3], true)
    released = released + 1
  end
end
wake(released, ARGV[5], ARGV[3])
return released
