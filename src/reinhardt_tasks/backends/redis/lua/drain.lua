-- Order a worker to finish what it holds and stop.
-- include: store
-- flags: allow-oom
--
-- ARGV: worker
-- Answers 1, or 0 when it is not registered.

local worker = ARGV[1]
if redis.call('SISMEMBER', KEYS[1] .. 'workers', worker) == 0 then
  return 0
end
store.despite_full()
store.hash('worker:' .. worker).draining = 1
store.order(worker)
store.commit()
return 1
