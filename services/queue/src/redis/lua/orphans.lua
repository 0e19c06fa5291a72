-- ARGV[3] = group, [4] = worker, [5] = channels of processes; then the task runs that it knows to hold. What else is
-- leased to it was taken by a call whose answer never came: back to the front. Answers how many.
local held, released = {}, 0
for i = 6, #ARGV do
  held[ARGV[i]] = true
end
for _, id in ipairs(redis.call('ZRANGE', lease, 0, -1)) do
  local p = load(id)
  if p and p[6] == ARGV[4] and not held[id] and redis.call('HEXISTS', body, id) == 1 then
    p[6], p[7] = '', nil
    save(id, p)
    redis.call('ZREM', lease, id)
    enqueue(id, p[3], true)
    released = released + 1
  end
end
wake(released, ARGV[5], ARGV[3])
return released
