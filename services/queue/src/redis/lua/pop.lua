-- ARGV[3] = group, [4] = worker, [5] = most jobs, [6] = lease in milliseconds, [7] = process to wake when there is
-- something ('' = it does not wait), [8] = channel for what has drained. Answers the marker, then task run, job and
-- kill (0, 1) in turn.
local group, worker, left, duration = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local answer = { born }
local some_thirsty = redis.call('EXISTS', thirsty) == 1
local known = redis.call('HMGET', turn, 't', 'c')
local whose, credit = known[1], tonumber(known[2] or 0)
local before = whose
while left > 0 do
  local tenant = redis.call('LINDEX', ring, 0)
  if not tenant then
    break
  end
  if whose ~= tenant or credit <= 0 then
    whose = tenant
    credit = math.max(1, tonumber(redis.call('HGET', base .. ':weights', tenant) or 1))
  end
  local list = waiting_of(tenant)
  local ids = redis.call('LPOP', list, math.min(credit, left)) or {}
  for _, id in ipairs(ids) do
    local p, job = load(id), redis.call('HGET', body, id)
    if p and job and p[6] == '' then
      p[6] = worker
      redis.call('ZADD', lease, now + duration, id)
      save(id, p)
      answer[#answer + 1] = id
      answer[#answer + 1] = job
      answer[#answer + 1] = p[5]
      left = left - 1
      credit = credit - 1
    elseif not (p and job) then
      -- One half was thrown away by the server; the owner finds the job missing at its deadline.
      redis.call('HDEL', place, id)
      redis.call('HDEL', body, id)
    end
  end
  if redis.call('LLEN', list) == 0 then
    -- What it did not use of its turn is not saved up.
    redis.call('LPOP', ring)
    credit = 0
  elseif credit <= 0 then
    redis.call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
  end
  if some_thirsty then
    drained(tenant, ARGV[8], group)
  end
end
if #answer > 1 then
  if credit > 0 then
    redis.call('HSET', turn, 't', whose, 'c', credit)
  elseif before then
    redis.call('DEL', turn)
  end
elseif ARGV[7] ~= '' then
  redis.call('ZADD', idle, now, ARGV[7])
end
return answer
