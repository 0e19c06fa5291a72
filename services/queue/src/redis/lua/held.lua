-- For each: task run, dispatch. Answers 1 = this very dispatch waits or is leased here, else 0.
local answer = {}
for i = 3, #ARGV, 2 do
  local p = load(ARGV[i])
  answer[#answer + 1] = p and p[1] == tonumber(ARGV[i + 1]) and 1 or 0
end
return answer
