-- Records of tasks as a unit of work: loaded, changed as tables, and written by `metadata.commit` at the end.
-- include: awaiting
--
-- `metadata:records` hash: id → {name, status, version, created_at, updated_at, when it is over (0: never)}, packed.
-- `metadata:data` hash: id → task_data, where there are any.
-- `metadata:status:<status>` zset: the ids in that status, all of one score: ordered by id.
-- `metadata:ending` zset: the ids of finished tasks, by when their records are over.
-- A record that is over is as good as gone; whoever writes takes some of them away.

local metadata = {}
local RECORDS, DATA, ENDING = KEYS[1] .. 'metadata:records', KEYS[1] .. 'metadata:data', KEYS[1] .. 'metadata:ending'
local STATUS = KEYS[1] .. 'metadata:status:'
local FINISHED = 3          -- the first status of those that are
local MOST = 900            -- words of one command; Lua unpacks a few thousand at most
local FORGOTTEN_AT_ONCE = 100
local entries, touched = {}, {}

local time = redis.call('TIME')
metadata.now = time[1] + time[2] / 1e6

-- The entries of `ids`, in order: `there` says whether a record is kept. The same id gives the same table.
function metadata.load(ids)
  local found = {}
  for first = 1, #ids, MOST do
    local last = math.min(first + MOST - 1, #ids)
    local packed = redis.call('HMGET', RECORDS, unpack(ids, first, last))
    for n = first, last do
      local entry = entries[ids[n]] or metadata.thaw(ids[n], packed[n - first + 1])
      entries[ids[n]] = entry
      found[n] = entry
    end
  end
  return found
end

-- The entry of a packed record (false: none).
function metadata.thaw(id, packed)
  if not packed then
    return {id = id, there = false, was_over = 0}
  end
  local fields = cmsgpack.unpack(packed)
  local over = fields[6]
  return {
    id = id, name = fields[1], status = fields[2], version = fields[3], created = fields[4], updated = fields[5],
    over = over, was = fields[2], was_over = over, there = over == 0 or over > metadata.now,
  }
end

-- To be written: its fields, and `data` where they are not nil.
function metadata.touch(entry, data)
  if not entry.touched then
    touched[#touched + 1] = entry
  end
  entry.touched, entry.data = true, data or entry.data
end

function metadata.finished(status)
  return status >= FINISHED
end

-- Let an entry be of a status, and be over `ttl` seconds from now if that means that the task is finished.
function metadata.become(entry, status, ttl)
  entry.status = status
  entry.over = metadata.finished(status) and metadata.now + ttl or 0
  entry.ended = entry.ended or metadata.finished(status)
end

-- Keep an entry no longer.
function metadata.drop(entry)
  entry.there, entry.gone = false, true
  metadata.touch(entry)
end

-- Take some of the records away that are over; answers how many.
function metadata.forget()
  local count = 0
  local now = string.format('%.17g', metadata.now)
  local ids = redis.call('ZRANGEBYSCORE', ENDING, '-inf', now, 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  for _, entry in ipairs(metadata.load(ids)) do
    if not entry.there then
      metadata.drop(entry)
      count = count + 1
    end
  end
  return count
end

-- What is kept with an entry.
function metadata.data(entry)
  return entry.data or redis.call('HGET', DATA, entry.id) or ''
end

-- A row: {id, name, status, version, created_at and updated_at as packed doubles, task_data}.
function metadata.row(entry, data)
  return {entry.id, entry.name, entry.status, entry.version, struct.pack('>dd', entry.created, entry.updated), data}
end

-- Writing ----------------------------------------------------------------------------------------------------------

local commands = {}

local function note(command, key, ...)
  local name = command .. key
  commands[name] = commands[name] or {command, key}
  local words = commands[name]
  for n = 1, select('#', ...) do
    words[#words + 1] = select(n, ...)
  end
end

local function run(words)
  for first = 3, #words, MOST do
    redis.call(words[1], words[2], unpack(words, first, math.min(first + MOST - 1, #words)))
  end
end

local function note_gone(entry)
  note('HDEL', RECORDS, entry.id)
  note('HDEL', DATA, entry.id)
  note('ZREM', ENDING, entry.id)
  if entry.was then
    note('ZREM', STATUS .. entry.was, entry.id)
  end
end

local function note_kept(entry)
  note('HSET', RECORDS, entry.id, cmsgpack.pack({
    entry.name, entry.status, entry.version, entry.created, entry.updated, entry.over,
  }))
  if entry.data and entry.data ~= '' then
    note('HSET', DATA, entry.id, entry.data)
  elseif entry.data then
    note('HDEL', DATA, entry.id)
  end
  if entry.was ~= entry.status then
    if entry.was then
      note('ZREM', STATUS .. entry.was, entry.id)
    end
    note('ZADD', STATUS .. entry.status, 0, entry.id)
  end
  if entry.over ~= 0 and entry.over ~= entry.was_over then
    note('ZADD', ENDING, string.format('%.17g', entry.over), entry.id)
  elseif entry.over == 0 and entry.was_over ~= 0 then
    note('ZREM', ENDING, entry.id)
  end
end

local REMOVING, ADDING = {'HDEL', 'ZREM'}, {'HSET', 'ZADD'}

local function run_all(kinds)
  for _, kind in ipairs(kinds) do
    for _, words in pairs(commands) do
      if words[1] == kind then
        run(words)
      end
    end
  end
end

-- Write what was touched, and tell those who wait. Nothing is written before.
--
-- What is written first decides on servers without flags what happens when memory is full: a removing command lets the
-- script go on, as `despite_full` asks for; any other stops it, with nothing done.
function metadata.commit(despite_full)
  for _, entry in ipairs(touched) do
    if entry.gone then
      note_gone(entry)
    else
      note_kept(entry)
    end
  end
  if despite_full then
    redis.call('DEL', KEYS[1] .. 'metadata:nothing')
    run_all(REMOVING)
    run_all(ADDING)
  else
    run_all(ADDING)
    run_all(REMOVING)
  end
  for _, entry in ipairs(touched) do
    if entry.gone or entry.ended then
      awaiting.tell('metadata', entry.id)
    end
  end
end
