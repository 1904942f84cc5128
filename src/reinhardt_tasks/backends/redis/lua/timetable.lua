-- Stored schedules, and the guard that makes each firing happen once.
--
-- `schedules` hash: name → {spec, paused (0 or 1), version, last due (absent: never)}, packed.
-- `watchers` zset: the channels of those who wait for a change, by when they stop waiting.

local timetable = {}

function timetable.find(name)
  local stored = redis.call('HGET', KEYS[1] .. 'schedules', name)
  return stored and cmsgpack.unpack(stored) or nil
end

function timetable.keep(name, schedule)
  redis.call('HSET', KEYS[1] .. 'schedules', name, cmsgpack.pack(schedule))
end

-- The stored schedule, if it was last due at `expected` (nil: never); nil where the guard does not match.
function timetable.guarded(name, expected)
  local schedule = timetable.find(name)
  return schedule and schedule[4] == expected and schedule or nil
end

-- Move a schedule that `guarded` gave on to its new due. The first write of a `put`.
function timetable.fire(name, schedule, due)
  schedule[4] = due
  timetable.keep(name, schedule)
end

-- Count a change and tell those who watch; answers the new count.
function timetable.changed()
  local changes = redis.call('HINCRBY', KEYS[1] .. 'counters', 'schedules', 1)
  for _, channel in ipairs(redis.call('ZRANGE', KEYS[1] .. 'watchers', 0, -1)) do
    redis.call('PUBLISH', channel, 's')
  end
  redis.call('DEL', KEYS[1] .. 'watchers')
  return changes
end
