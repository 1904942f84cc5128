-- The change counter of the schedules; where nothing has changed, the next change is told to the caller.
-- flags: allow-oom
--
-- ARGV: the count already seen, the caller's channel, for how many seconds it will listen
-- Answers the count.

local watchers = KEYS[1] .. 'watchers'
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', watchers, '-inf', now)
local changes = tonumber(redis.call('HGET', KEYS[1] .. 'counters', 'schedules') or 0)
if changes == tonumber(ARGV[1]) then
  redis.call('ZADD', watchers, 'GT', now + math.ceil(tonumber(ARGV[3])) + 1, ARGV[2])
end
return changes
