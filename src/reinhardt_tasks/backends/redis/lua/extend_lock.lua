-- Hold a lock that is still one's own for longer.
--
-- ARGV: name, token, seconds to hold it from now on
-- Answers when it runs out, in Unix seconds; nil when the token no longer holds it.

local key = KEYS[1] .. 'lock:' .. ARGV[1]
local ttl = tonumber(ARGV[3])
if redis.call('GET', key) ~= ARGV[2] then
  return nil
end
redis.call('PEXPIRE', key, string.format('%.0f', math.min(math.max(ttl * 1000, 1), 1e15)))
local time = redis.call('TIME')
return string.format('%.17g', time[1] + time[2] / 1e6 + ttl)
