-- Keep a result, in place of what is there, and tell those who wait for it.
-- include: awaiting
--
-- ARGV: id, payload, for how many milliseconds
-- Answers 1.

local id, payload, ttl = ARGV[1], ARGV[2], ARGV[3]
redis.call('SET', KEYS[1] .. 'result:' .. id, payload, 'PX', ttl)
awaiting.tell('result', id)
return 1
