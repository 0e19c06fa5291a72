-- KEYS[1] = a marker, ARGV[1] = what it becomes if there is none, ARGV[2] = id of the server's run, '' if unknown.
-- A marker of another run may have come back with an old snapshot: then everything has.
local marker = redis.call('GET', KEYS[1])
if marker and ARGV[2] ~= '' then
  local run = string.match(marker, '@(.*)$')
  if run and run ~= ARGV[2] then
    marker = false
  end
end
if not marker then
  marker = ARGV[1]
  redis.call('SET', KEYS[1], marker)
end
return marker
