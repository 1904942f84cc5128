-- Rescue the dead workers' messages, promote what is due, cancel what depends on failures, drop what is over.
-- include: leases, openings, keeping, revival
-- flags: allow-oom
--
-- ARGV: for how many seconds the caller's connection has stood (workers with a lease of more than twice that are not
-- given up: they may not have had the time to come back)
-- Answers {suspected, rescued, poisoned, promoted, cancelled, expired, deleted}.

local LIMIT = 500
local connected = tonumber(ARGV[1])
local suspected, rescued, poisoned, cancelled = 0, 0, 0, 0

-- Look at one worker: suspect it, or give it up when it had been suspected for long enough.
local function look(worker)
  local kept = redis.call('HMGET', KEYS[1] .. 'worker:' .. worker, 'beat_at', 'lease', 'suspected_at')
  local beat_at, lease, since = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
  if not beat_at then  -- its record was evicted: it could not be told apart from a dead one
    beat_at, lease, since = 0, 0, 0
  end
  local record = store.hash('worker:' .. worker)
  if (since or beat_at) > store.now then  -- the clock was set back: a beat that lies ahead would never grow old
    beat_at, since = store.now, nil
    record.beat_at, record.suspected_at = beat_at, false
  end
  local age = store.now - beat_at
  if age < lease * 2 / 3 then
    return
  elseif not since then
    record.suspected_at = store.now
    suspected = suspected + 1
  elseif store.now - since >= lease / 3 * 1.1 and age >= lease and connected >= lease / 2 and rescued < LIMIT then
    local back, dead = leases.dismiss(worker, true)
    rescued, poisoned = rescued + back, poisoned + dead
  end
end

-- Cancel what was held for too long, with what waits for it.
local function drop_unopened()
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'held', '-inf', string.format('%.17g', store.now),
    'LIMIT', 0, LIMIT)
  if not ids[1] or redis.call('EXISTS', KEYS[1] .. 'opening') == 1 then
    return 0
  end
  local raw = endings.error('TaskCancelledError', 'its workflow was put, but never started', 'cancelled')
  local dropped = 0
  for _, entry in ipairs(store.known(ids, 'held')) do
    if not store.finished(entry) and dropped < LIMIT then
      endings.finish(entry, STATUS.CANCELLED, raw)
      dropped = dropped + 1 + endings.tell()
    end
  end
  return dropped
end

store.despite_full()
for _, worker in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'workers')) do
  look(worker)
end
cancelled = endings.tell() + endings.go_on()
openings.go_on()
revival.go_on()
local promoted = line.promote(LIMIT)
cancelled = cancelled + drop_unopened()
keeping.unpark(LIMIT)
local expired, deleted = keeping.expire(store.now, LIMIT)
store.commit()
return {suspected, rescued, poisoned, promoted, cancelled, expired, deleted}
