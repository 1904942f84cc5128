-- Take a lock that is free, or hold on to one's own.
-- flags: allow-oom
--
-- ARGV: name, token, seconds to hold it
-- Answers when it runs out, in Unix seconds; nil while another token holds it.

local key = KEYS[1] .. 'lock:' .. ARGV[1]
local ttl = tonumber(ARGV[3])
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[2] then
  return nil
end
-- A removing command first: on servers without flags it lets the script go on when memory is full.
redis.call('DEL', key)
redis.call('SET', key, ARGV[2], 'PX', string.format('%.0f', math.min(math.max(ttl * 1000, 1), 1e15)))
local time = redis.call('TIME')
return string.format('%.17g', time[1] + time[2] / 1e6 + ttl)
