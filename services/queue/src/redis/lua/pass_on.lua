-- ARGV[3] = group, [4] = channels of processes: somebody was woken who no longer waits. Another is, if there is
-- something to take.
if redis.call('EXISTS', ring) == 1 then
  wake(1, ARGV[4], ARGV[3])
end
return 0
