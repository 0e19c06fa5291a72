-- ARGV[3] = group, [4] = channels of kill hints, [5] = channel for what has drained; then for each: task run,
-- dispatch. Answers 0 = unknown, 1 = removed, 2 = its holder was told.
local answer = {}
for i = 6, #ARGV, 2 do
  local id, dispatch, outcome = ARGV[i], tonumber(ARGV[i + 1]), 0
  local p = load(id)
  if p and p[1] == dispatch then
    if p[6] == '' then
      forget(id, p)
      drained(p[3], ARGV[5], ARGV[3])
      outcome = 1
    else
      p[5] = 1
      save(id, p)
      redis.call('PUBLISH', ARGV[4] .. p[6], id .. ARGV[i + 1])
      outcome = 2
    end
  end
  answer[#answer + 1] = outcome
end
return answer
