-- KEYS[1] = a stream, ARGV[1] = age in milliseconds: older entries go.
local clock = redis.call('TIME')
return redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', clock[1] * 1000 - tonumber(ARGV[1])))
