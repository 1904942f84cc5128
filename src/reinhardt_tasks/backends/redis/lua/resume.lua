-- Give out messages of a queue again, and wake those who serve it.
-- include: store
-- flags: allow-oom
--
-- ARGV: queue

local queue = ARGV[1]
redis.call('SREM', KEYS[1] .. 'paused', queue)
local ready = redis.call('ZCARD', KEYS[1] .. 'ready:' .. queue) + redis.call('ZCARD', KEYS[1] .. 'suspects:' .. queue)
if ready > 0 then
  store.ring(queue, ready)
  store.commit()
end
return ready
