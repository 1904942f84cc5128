-- Forget a result.
--
-- ARGV: id
-- Answers 1, or 0 when there was none.

return redis.call('DEL', KEYS[1] .. 'result:' .. ARGV[1])
