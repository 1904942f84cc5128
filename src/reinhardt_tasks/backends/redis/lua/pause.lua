-- Give out nothing more from a queue.
-- flags: allow-oom
--
-- ARGV: queue

-- A removing command first: on servers without flags it lets the script go on when memory is full.
redis.call('SREM', KEYS[1] .. 'paused', ARGV[1])
return redis.call('SADD', KEYS[1] .. 'paused', ARGV[1])
