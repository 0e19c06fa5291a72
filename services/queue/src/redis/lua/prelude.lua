-- Shared by all scripts about a worker group. KEYS[1] = what the group's keys begin with, a hash tag.
-- ARGV[1] = marker to set if the group has none, ARGV[2] = milliseconds to add to the server's clock.
--   :ring     list of tenants with waiting jobs, in turn; each is in it once
--   :w:TENANT list of waiting task runs
--   :place    task run -> {dispatch, shard, tenant, execution, kill, worker, given up}; worker '' = waiting; the last
--             is 1 or absent
--   :body     task run -> the job
--   :lease    task runs that are held, by deadline
--   :turn     whose turn it is, and what is left of it
--   :weights  tenant -> jobs per turn, where it is not 1
--   :thirsty  tenant that was refused -> number of waiting jobs at which it wants to be told
--   :idle     processes that wait for jobs, by the time at which they said so
--   :born     marker; another one after Redis was emptied
local base = KEYS[1]
local ring, place, body, lease = base .. ':ring', base .. ':place', base .. ':body', base .. ':lease'
local turn, thirsty, idle = base .. ':turn', base .. ':thirsty', base .. ':idle'
local born = redis.call('GET', base .. ':born')
if not born then
  born = ARGV[1]
  redis.call('SET', base .. ':born', born)
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[2])

local function waiting_of(tenant)
  return base .. ':w:' .. tenant
end

local function load(id)
  local packed = redis.call('HGET', place, id)
  return packed and cmsgpack.unpack(packed)
end

local function save(id, p)
  redis.call('HSET', place, id, cmsgpack.pack(p))
end

-- Puts a waiting task run at an end of its tenant's list.
local function enqueue(id, tenant, front)
  local list = waiting_of(tenant)
  local length = redis.call(front and 'LPUSH' or 'RPUSH', list, id)
  if length == 1 then
    redis.call('RPUSH', ring, tenant)
  end
end

-- Tells whoever was refused that there is room for half a window again.
local function drained(tenant, channel, group)
  local limit = redis.call('HGET', thirsty, tenant)
  if limit and redis.call('LLEN', waiting_of(tenant)) <= tonumber(limit) then
    redis.call('HDEL', thirsty, tenant)
    redis.call('PUBLISH', channel, tenant .. '\n' .. group)
  end
end

-- Takes a waiting task run out of its tenant's list.
local function dequeue(id, tenant)
  local list = waiting_of(tenant)
  redis.call('LREM', list, 1, id)
  if redis.call('LLEN', list) == 0 then
    redis.call('LREM', ring, 1, tenant)
    if redis.call('HGET', turn, 't') == tenant then
      redis.call('DEL', turn)
    end
  end
end

-- Forgets a task run, wherever it is.
local function forget(id, p)
  redis.call('HDEL', place, id)
  redis.call('HDEL', body, id)
  if p[6] == '' then
    dequeue(id, p[3])
  else
    redis.call('ZREM', lease, id)
  end
end

-- Wakes as many waiting processes as there are jobs. Who has not said for ten seconds that it waits is gone.
local function wake(count, channels, group)
  if count == 0 or redis.call('EXISTS', idle) == 0 then
    return
  end
  redis.call('ZREMRANGEBYSCORE', idle, '-inf', '(' .. (now - 10000))
  local woken = redis.call('ZPOPMIN', idle, count)
  for i = 1, #woken, 2 do
    redis.call('PUBLISH', channels .. woken[i], 'r' .. group)
  end
end
