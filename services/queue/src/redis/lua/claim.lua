-- KEYS[1] = who uses the keys of this prefix, ARGV[1] = the caller's installation, [2] = for how many milliseconds it is
-- the user's from now on. Answers who it is now.
local user = redis.call('GET', KEYS[1])
if user and user ~= ARGV[1] then
  return user
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
