-- ARGV[3] = worker; then for each: task run, dispatch. Answers 1 for each that the worker held.
local answer = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local p = load(id)
  local held = p and p[1] == tonumber(ARGV[i + 1]) and p[6] == ARGV[3]
  if held then
    forget(id, p)
  end
  answer[#answer + 1] = held and 1 or 0
end
return answer
