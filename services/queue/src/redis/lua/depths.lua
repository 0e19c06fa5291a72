-- Answers tenant, waiting, leased in turn.
local waiting, leased, answer = {}, {}, {}
for _, tenant in ipairs(redis.call('LRANGE', ring, 0, -1)) do
  waiting[tenant] = redis.call('LLEN', waiting_of(tenant))
  leased[tenant] = 0
end
for _, id in ipairs(redis.call('ZRANGE', lease, 0, -1)) do
  local p = load(id)
  if p then
    leased[p[3]] = (leased[p[3]] or 0) + 1
  end
end
for tenant, count in pairs(leased) do
  answer[#answer + 1] = tenant
  answer[#answer + 1] = waiting[tenant] or 0
  answer[#answer + 1] = count
end
return answer
