-- Store plain messages, all or none: those that stand in line at once, and of which nothing else is to be looked at.
-- What `put` does with them, without all that it needs for others.
-- include: bells
--
-- ARGV: for each message its id and what was put without its first field, created_at (see store.decode)
-- Answers 1 where all were stored; else for each message 1, or '' where it was stored before.

local LEVEL = 2 ^ 48
local time = redis.call('TIME')
bells.now = time[1] + time[2] / 1e6
local created_at = struct.pack('>d', bells.now)

local ids = {}
for n = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[n]
end
local known, seen, answer, new = redis.call('ZMSCORE', KEYS[1] .. 'ids', unpack(ids)), {}, {}, 0
for n = 1, #ids do
  local fresh = not known[n] and not seen[ids[n]]
  seen[ids[n]] = true
  answer[n] = fresh and 1 or ''
  new = fresh and new + 1 or new
end
if new == 0 then
  return answer
end

-- The first command that writes is one that is refused when memory is full.
local tick = (redis.call('GET', KEYS[1] .. 'ticks') or 0) + new
redis.call('SET', KEYS[1] .. 'ticks', string.format('%.0f', tick))
local place, messages, listed, lines, count = tick - new, {}, {}, {}, 0
for n = 1, #ids do
  if answer[n] == 1 then
    local id, put = ids[n], ARGV[2 * n]
    local priority, length = put:byte(2, 3)
    local queue = put:sub(4, 3 + length)
    local line = lines[queue]
    if not line then
      line = {}
      lines[queue] = line
    end
    local at = #line
    place, count = place + 1, count + 2
    line[at + 1], line[at + 2] = (9 - priority) * LEVEL + place, id
    messages[count - 1], messages[count] = id, created_at .. put
    listed[count - 1], listed[count] = '0', id
  end
end
redis.call('HSET', KEYS[1] .. 'messages', unpack(messages))
redis.call('ZADD', KEYS[1] .. 'ids', unpack(listed))
for queue, line in pairs(lines) do
  redis.call('ZADD', KEYS[1] .. 'ready:' .. queue, unpack(line))
  redis.call('SADD', KEYS[1] .. 'queues', queue)
  redis.call('HINCRBY', KEYS[1] .. 'counts', '0' .. queue, #line / 2)
  redis.call('HSET', KEYS[1] .. 'rings', queue, tick, '', tick)
end
if redis.call('EXISTS', KEYS[1] .. 'asleep') == 1 then
  for queue, line in pairs(lines) do
    bells.wake(queue, #line / 2)
  end
end
return new == #ids and 1 or answer
