-- Let go of a lock.
--
-- ARGV: name, token
-- Answers 1, or 0 when the token no longer holds it.

local key = KEYS[1] .. 'lock:' .. ARGV[1]
return redis.call('GET', key) == ARGV[2] and redis.call('DEL', key) or 0
