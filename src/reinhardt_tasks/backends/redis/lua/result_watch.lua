-- A result; where there is none, it is told to the caller when it is stored.
-- include: awaiting
-- flags: allow-oom
--
-- ARGV: id, the caller's channel, for how many seconds it will listen
-- Answers the payload, or nil.

local found = redis.call('GET', KEYS[1] .. 'result:' .. ARGV[1])
if not found then
  awaiting.listen('result', ARGV[1], ARGV[2], tonumber(ARGV[3]))
end
return found
