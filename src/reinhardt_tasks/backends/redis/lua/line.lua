-- The line of messages that could start, and the calendar of those due later.
-- include: store
--
-- `ready:<queue>` and, for messages with losses, `suspects:<queue>`: the score holds the priority (9 lowest) and the
-- place. An entry's own `place` is kept while a worker holds it; 0 asks for a new one.

local line = {}

local function word_of(entry)
  return (entry.losses > 0 and 'suspects:' or 'ready:') .. entry.queue
end

-- Let an entry stand in line now, at its place or, where it has none, at the end.
function line.join(entry)
  if entry.place == 0 then
    entry.place = store.tick()
  end
  if entry.losses > 0 then
    entry.ready_at, entry.emptier = store.now, nil
    store.change(entry)
    store.set('suspected')[entry.queue] = true
    store.ring(entry.queue, math.huge)  -- most workers are not free to take it: all look
  else
    store.set('queues')[entry.queue] = true
    store.ring(entry.queue, 1)
  end
  store.zset(word_of(entry))[entry.id] = (9 - entry.priority) * LEVEL + entry.place
end

-- When the next message falls due; nil where none is due later.
function line.next_due()
  local head = redis.call('ZRANGE', KEYS[1] .. 'later', 0, 0, 'WITHSCORES')
  return tonumber(head[2])
end

-- Put an unfinished entry that nobody holds where it belongs: nowhere yet, on the calendar, or in line.
function line.up(entry)
  if store.has(entry, MARK.HELD) or entry.waiting > 0 then
    return
  end
  if entry.run_at and entry.run_at > store.now then
    store.zset('later')[entry.id] = entry.run_at
    line.due(entry.run_at, entry.queue)
  else
    line.join(entry)
  end
end

local earliest

-- Something of `queue` falls due at `run_at`: if nothing falls due sooner, those who sleep have to know.
function line.due(run_at, queue)
  if not earliest then
    earliest = line.next_due() or math.huge
  end
  if run_at < earliest then
    earliest = run_at
    store.stir(queue)
  end
end

-- Take an entry that nobody holds out of the line or off the calendar, wherever it is.
function line.leave(entry)
  store.zset(word_of(entry))[entry.id] = false
  store.zset('later')[entry.id] = false
end

-- Let at most `limit` messages that are due stand in line; answers how many.
function line.promote(limit)
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'later', '-inf', string.format('%.17g', store.now),
    'LIMIT', 0, limit)
  if not ids[1] then
    return 0
  end
  local entries, later = store.load(ids), store.zset('later')
  for n = 1, #ids do
    later[ids[n]] = false
    if entries[n] then
      line.join(entries[n])
    end
  end
  return #ids
end

-- Choosing ------------------------------------------------------------------------------------------------------------

-- Whether a cursor has a message under it. Reads more where it has come to the end of what was read, twice as much each
-- time, up to `most`.
local function reach(cursor, most)
  if not cursor.items[cursor.at] and not cursor.dry then
    local first, count = cursor.read, math.min(cursor.chunk, most)
    cursor.items = redis.call('ZRANGE', KEYS[1] .. cursor.word, first, first + count - 1, 'WITHSCORES')
    cursor.at, cursor.read, cursor.chunk = 1, first + #cursor.items / 2, 2 * count
    cursor.dry = #cursor.items < 2 * count
  end
  local score = cursor.items[cursor.at + 1]
  if not score then
    return false
  end
  cursor.score = tonumber(score)
  cursor.level = math.floor(cursor.score / LEVEL)
  return true
end

-- What `ready` or `suspects` has for a worker that serves `queues` (nil: all) but those in `paused`: a cursor for each
-- queue that is not empty.
local function cursors(kind, queues, paused, want)
  local index = kind == 'ready' and 'queues' or 'suspected'
  store.flush(index)
  local names, found, seen = queues or redis.call('SMEMBERS', KEYS[1] .. index), {}, {}
  for n = 1, #names do
    local queue = names[n]
    if not paused[queue] and not seen[queue] then
      seen[queue] = true
      local word = kind .. ':' .. queue
      store.flush(word)
      local cursor = {
        queue = queue, word = word, order = queues and n or 0,
        items = {}, at = 1, read = 0, chunk = #names == 1 and want or 8, taken = 0,
      }
      if reach(cursor, want) then
        found[#found + 1] = cursor
      elseif not queues then
        store.set(index)[queue] = false
      end
    end
  end
  return found
end

local function before(one, other)
  if one.level ~= other.level then
    return one.level < other.level
  end
  if one.order ~= other.order then
    return one.order < other.order
  end
  return one.score < other.score
end

-- Which of these cursors comes first, and its number.
local function best(among)
  local number = 1
  for n = 2, #among do
    if before(among[n], among[number]) then
      number = n
    end
  end
  return among[number], number
end

-- The message that comes next in `ready` or `suspects`: its id, and {level, order, score} to compare by; nil for none.
function line.first(kind, queues, paused)
  local cursor = best(cursors(kind, queues, paused, 1))
  if cursor then
    return cursor.items[cursor.at], cursor
  end
  return nil
end

-- Whether what `line.first` found in one place comes before what it found in another.
line.before = before

-- The next `want` messages, four values each: id, queue, level (9 - priority), score. Commit takes them out of the line.
function line.take(kind, want, queues, paused)
  local among, taken, left, drawn = cursors(kind, queues, paused, want), {}, want, {}
  while left > 0 and among[1] do
    local cursor, number = best(among)
    local n = #taken
    taken[n + 1], taken[n + 2] = cursor.items[cursor.at], cursor.queue
    taken[n + 3], taken[n + 4] = cursor.level, cursor.score
    cursor.at, cursor.taken, left = cursor.at + 2, cursor.taken + 1, left - 1
    drawn[cursor] = true
    if left > 0 and not reach(cursor, left) then
      table.remove(among, number)
    end
  end
  for cursor in pairs(drawn) do
    store.command('ZREMRANGEBYRANK', cursor.word, 0, cursor.taken - 1)
  end
  return taken
end
