-- The unit of work: load messages, change plain Lua values, and `store.commit()` once, which writes everything by few
-- variadic commands. Until then nothing is written, so that a script may refuse anything at any moment before.
-- include: bells
--
-- Every key is KEYS[1] (the root: the prefix as a hash tag) followed by:
--
--   messages   hash    id → the message as it was put, never changed (see `decode`), body at its end
--   states     hash    id → where it stands (see STATE), once anything but a put has happened to it
--   results    hash    id → result            errors  hash  id → error            progress  hash  id → progress
--   ids        zset    every id, score 0      fallen  zset  ids that failed or were cancelled, score 0
--   queues     set     queues with something in `ready:<queue>`; emptied ones are dropped when a worker meets them
--   ready:<queue>      zset  ids that could start, by (9 - priority) * 2^48 + place
--   suspected  set     queues with something in `suspects:<queue>`, which is like `ready` for those with losses
--   later      zset    ids by run_at          ended   zset  finished ids by when their result or record is over
--   held       zset    held ids by when they are dropped; `held:<workflow>` list of those ids in order of their put
--   blocked    set     ids that wait for parents
--   flows      zset    workflow .. id of each message that belongs to a workflow, score 0
--   opening    set     workflows started whose list `opening:<workflow>` is still being worked off
--   children   hash    id → the ids of those that were put to wait for it, one after the other, 16 bytes each
--   fans       hash    id → its end, which not all children have been told of yet (see endings)
--   revivals   hash    number → ids of dependents that are still to come back (see revival)
--   parked:<workflow>  set  finished ids kept for the sake of a workflow that still runs
--   unparked   set     workflows that have ended and whose `parked:<workflow>` is still being worked off
--   uniques    hash    task name \0 unique key → id of the last message that held it
--   workers    set     worker ids; `worker:<id>` hash (see leases); `claims:<id>` set of ids; `cancels:<id>` set of ids
--   counts     hash    status digit .. queue → number of messages
--   paused     set     queues that give out nothing
--   ticks      number  the last place in line that was given; also what wake-ups are counted by
--   rings, asleep, asleep:<queue>, awaited    see bells
--   schedules, counters, watchers, lock:<name>    see timetable
--
-- How a verb uses it:
--
--   local entries = store.load(ids)       -- list of entries, false where unknown; the same id gives the same table
--   store.facts(entries)                  -- where what was put is needed (name, max_losses, …): entry.facts
--   entry.attempts = 0; store.change(entry)              -- its state is written by commit
--   store.become(entry, STATUS.PENDING)                  -- status, updated_at, counts; refuses what is not in the table
--   store.hash('errors')[id] = text (or false: remove)   -- likewise store.zset(word)[member] = score, store.set(word)
--   line.up(entry), line.leave(entry); endings.finish(entry, status, payload), endings.tell()     -- see there
--   store.commit()
--
-- Scripts that end running work, or make room, say `-- flags: allow-oom` and call `store.despite_full()` before they
-- write: servers before 7.0 know no flags, but let a script go on whose first write is a removing one.

local store = {entries = {}, now = 0}
local STATUS = {PENDING = 0, RUNNING = 1, RETRY = 2, SUCCESS = 3, FAILURE = 4, CANCELLED = 5}
local MARK = {
  LASTING = 1,     -- its result_ttl or unique_for is not the usual one: look at its facts when it ends
  CANCELLING = 2,  -- it runs, and is to be cancelled
  ORPHANED = 4,    -- it was cancelled because a parent failed
  EXPIRED = 8,     -- its result was dropped
  HELD = 16,       -- it waits for start_workflow
  KEEPS = 32,      -- finished messages are parked until it ends
  PROGRESS = 64,   -- `progress` holds something of it
  ERROR = 128,     -- `errors` does
  RESULT = 256,    -- `results` does
  PLAIN = 512,     -- it was put without options
  TOLERANT = 16384,  -- it bears the failure of those it waits for
}
local DAY = 86400
local HELD_TTL = 3600
local PATIENCE = 5
local LEVEL = 2 ^ 48

-- status, marks, priority, losses, attempts, unknowns, number, waiting (for how many parents), place, updated_at,
-- started_at, finished_at (0: never), run_at, queue, worker ('': none), and then, as the marks below say,
-- the token that settled it (worker, number), ready_at and emptier; and a short result.
local STATE = '>BHBIIIIIdddddBc0Hc0'
local TAIL = '>Hc0IdHc0'
local TIMED, SETTLED, TAILED, SHORT = 1024, 2048, 4096, 8192
local KEPT = bit.bnot(TIMED + SETTLED + TAILED + SHORT)
local SHORTEST = 64

local NEXT = {
  [STATUS.PENDING] = {[STATUS.RUNNING] = true, [STATUS.FAILURE] = true, [STATUS.CANCELLED] = true},
  [STATUS.RUNNING] = {
    [STATUS.SUCCESS] = true, [STATUS.FAILURE] = true, [STATUS.RETRY] = true,
    [STATUS.PENDING] = true, [STATUS.CANCELLED] = true,
  },
  [STATUS.RETRY] = {[STATUS.RUNNING] = true, [STATUS.FAILURE] = true, [STATUS.CANCELLED] = true},
  [STATUS.SUCCESS] = {},
  [STATUS.FAILURE] = {[STATUS.PENDING] = true},
  [STATUS.CANCELLED] = {[STATUS.PENDING] = true},
}

do
  local time = redis.call('TIME')
  store.now = time[1] + time[2] / 1e6
  bells.now = store.now
end

-- Reading -------------------------------------------------------------------------------------------------------------

-- The values of `fields` in the hash `word`, false where there is none.
function store.read(word, fields)
  local key, count = KEYS[1] .. word, #fields
  if count <= 1000 then
    return count > 0 and redis.call('HMGET', key, unpack(fields)) or {}
  end
  local values = {}
  for first = 1, count, 1000 do
    local part = redis.call('HMGET', key, unpack(fields, first, math.min(first + 999, count)))
    for n = 1, #part do
      values[first + n - 1] = part[n]
    end
  end
  return values
end

-- What was put: created_at | kind (1: options follow, + 2: they are MARK.LASTING, + 4: its first state has more to say of
-- them) | priority | queue | name | options | body, where the options are a block of: its size | bits | delay | run_at |
-- result_ttl | max_losses | unique_for | workflow | unique key | ids of the parents. `body` is where in `value` the body
-- begins.
function store.decode(value)
  local created_at, kind, priority, queue, name, at = struct.unpack('>dBBBc0Bc0', value)
  local facts = {
    created_at = created_at, priority = priority, queue = queue, name = name,
    kind = kind, result_ttl = DAY, max_losses = 3, parents = '', body = at,
  }
  if kind > 0 then
    local size, bits, delay, run_at, result_ttl, max_losses, unique_for, after =
      struct.unpack('>IBdddId', value, at)
    local stop = at + 4 + size
    facts.result_ttl, facts.max_losses = result_ttl, max_losses
    facts.tolerant, facts.held = bit.band(bits, 1) > 0, bit.band(bits, 2) > 0
    facts.linked = bit.band(bits, 128) > 0
    if bit.band(bits, 4) > 0 then
      facts.workflow, after = value:sub(after, after + 15), after + 16
    end
    if bit.band(bits, 8) > 0 then
      facts.unique_key, after = struct.unpack('>Ic0', value, after)
    end
    facts.unique_for = bit.band(bits, 16) > 0 and unique_for or nil
    facts.run_at = bit.band(bits, 32) > 0 and run_at or bit.band(bits, 64) > 0 and created_at + delay or nil
    facts.parents, facts.body = value:sub(after, stop - 1), stop
  end
  return facts
end

-- The entry of a message to which nothing has happened since it was put.
function store.begin(id, value)
  local facts = store.decode(value)
  return {
    id = id, facts = facts, status = 0, priority = facts.priority, queue = facts.queue, run_at = facts.run_at,
    marks = (facts.kind == 0 and MARK.PLAIN or 0) + (bit.band(facts.kind, 2) > 0 and MARK.LASTING or 0)
      + (facts.held and MARK.HELD or 0) + (facts.tolerant and MARK.TOLERANT or 0),
    losses = 0, attempts = 0, unknowns = 0, number = 0, waiting = 0, place = 0,
    updated_at = facts.created_at, started_at = 0, finished_at = 0, worker = '',
  }
end

-- The entry of a message in this state. `settler` and `settled` are the token that settled it last, `short` its result
-- where that is short.
function store.thaw(id, state)
  local status, marks, priority, losses, attempts, unknowns, number, waiting, place, updated_at, started_at,
    finished_at, run_at, queue, worker, at = struct.unpack(STATE, state)
  local entry = {
    id = id, status = status, marks = marks, priority = priority, losses = losses, attempts = attempts,
    unknowns = unknowns, number = number, waiting = waiting, place = place, updated_at = updated_at,
    started_at = started_at, finished_at = finished_at, queue = queue, worker = worker, blocked = waiting > 0,
  }
  if marks >= TIMED then
    entry.marks = bit.band(marks, KEPT)
    if bit.band(marks, TIMED) > 0 then
      entry.run_at = run_at
    end
    if bit.band(marks, SETTLED) > 0 then
      entry.settler, entry.settled = worker, number
    end
    if bit.band(marks, TAILED) > 0 then
      local settler, settled, ready_at, emptier, after = struct.unpack(TAIL, state, at)
      if settler ~= '' then
        entry.settler, entry.settled = settler, settled
      end
      entry.ready_at, entry.emptier, at = ready_at, emptier, after
    end
    if bit.band(marks, SHORT) > 0 then
      entry.short = state:sub(at)
    end
  end
  return entry
end

-- The state to be stored for an entry.
function store.freeze(entry)
  local marks, tail = entry.marks, ''
  if entry.run_at then
    marks = marks + TIMED
  end
  local settler = entry.settler
  if settler and settler == entry.worker and entry.settled == entry.number then
    marks, settler = marks + SETTLED, nil
  end
  if settler or entry.ready_at then
    settler = settler or ''
    local emptier = entry.emptier or ''
    marks = marks + TAILED
    tail = struct.pack(TAIL, #settler, settler, entry.settled or 0, entry.ready_at or 0, #emptier, emptier)
  end
  if entry.short then
    marks = marks + SHORT
    tail = tail .. entry.short
  end
  return struct.pack(STATE, entry.status, marks, entry.priority, entry.losses, entry.attempts, entry.unknowns,
    entry.number, entry.waiting, entry.place, entry.updated_at, entry.started_at, entry.finished_at,
    entry.run_at or 0, #entry.queue, entry.queue, #entry.worker, entry.worker) .. tail
end

-- The entries of `ids`, false where one is unknown. Each id has one table in a unit of work.
function store.load(ids)
  local entries, wanted, untouched, found = store.entries, {}, {}, {}
  for n = 1, #ids do
    if entries[ids[n]] == nil then
      entries[ids[n]] = false
      wanted[#wanted + 1] = ids[n]
    end
  end
  local states = store.read('states', wanted)
  for n = 1, #wanted do
    if states[n] then
      entries[wanted[n]] = store.thaw(wanted[n], states[n])
    else
      untouched[#untouched + 1] = wanted[n]
    end
  end
  local values = store.read('messages', untouched)
  for n = 1, #untouched do
    if values[n] then
      entries[untouched[n]] = store.begin(untouched[n], values[n])
    end
  end
  for n = 1, #ids do
    found[n] = entries[ids[n]]
  end
  return found
end

-- The entry of `id`, of which this was read: its state, if it has one, and what was put.
function store.adopt(id, state, value)
  if not store.entries[id] then
    store.entries[id] = state and store.thaw(id, state) or store.begin(id, value)
  end
  return store.entries[id]
end

-- The entries of those of `ids` that are known. The others, of which there are none unless keys were evicted, are taken
-- off the zset `word`.
function store.known(ids, word)
  local found, entries = store.load(ids), {}
  for n = 1, #ids do
    if found[n] then
      entries[#entries + 1] = found[n]
    elseif word then
      store.zset(word)[ids[n]] = false
    end
  end
  return entries
end

-- Give each of these known entries its `facts`, see `decode`.
function store.facts(entries)
  local ids, without = {}, {}
  for n = 1, #entries do
    if entries[n] and not entries[n].facts then
      without[#without + 1] = entries[n]
      ids[#ids + 1] = entries[n].id
    end
  end
  local values = store.read('messages', ids)
  for n = 1, #without do
    without[n].facts = store.decode(values[n])
  end
end

function store.has(entry, mark)
  return bit.band(entry.marks, mark) > 0
end

function store.finished(entry)
  return entry.status >= STATUS.SUCCESS
end

function store.fallen(entry)
  return entry.status >= STATUS.FAILURE
end

-- The ids that stand one after the other in `text`.
function store.split(text)
  local ids = {}
  for at = 1, #text, 16 do
    ids[#ids + 1] = text:sub(at, at + 15)
  end
  return ids
end

-- Changing ------------------------------------------------------------------------------------------------------------

local changed, tables, commands, counts, rung, woken, ordered, over = {}, {}, {}, {}, {}, {}, {}, {}
local ticks, first_tick

-- Have the state of `entry` written.
function store.change(entry)
  if not entry.changed then
    entry.changed = true
    changed[#changed + 1] = entry
  end
end

function store.mark(entry, mark)
  entry.marks = bit.bor(entry.marks, mark)
  store.change(entry)
end

function store.unmark(entry, mark)
  entry.marks = bit.band(entry.marks, bit.bnot(mark))
  store.change(entry)
end

-- Whether the table of transitions has a step from one status to another.
function store.may(old, new)
  return NEXT[old][new] == true
end

-- Count `change` messages more of a queue in a status.
function store.count(queue, status, change)
  local of = counts[queue]
  if not of then
    of = {}
    counts[queue] = of
  end
  of[status] = (of[status] or 0) + change
end

-- Change the status, which the caller has checked where it comes from outside (`store.may`).
function store.become(entry, status)
  assert(NEXT[entry.status][status], 'illegal transition')
  store.count(entry.queue, entry.status, -1)
  store.count(entry.queue, status, 1)
  entry.status, entry.updated_at = status, store.now
  store.change(entry)
end

local function pending(kind, word)
  local of = tables[word]
  if not of then
    of = {kind = kind, values = {}}
    tables[word] = of
  end
  return of.values
end

-- What is to be written to a hash (field → value), a zset (member → score) or a set (member → true); false removes.
-- The last assignment counts.
function store.hash(word)
  return pending('hash', word)
end

function store.zset(word)
  return pending('zset', word)
end

function store.set(word)
  return pending('set', word)
end

-- A command to be sent by commit before all else, with its key relative to the root.
function store.command(name, word, ...)
  commands[#commands + 1] = {name, KEYS[1] .. word, ...}
end

-- The last place in line that was given.
function store.ticks()
  if not ticks then
    ticks = tonumber(redis.call('GET', KEYS[1] .. 'ticks') or 0)
    first_tick = ticks
  end
  return ticks
end

-- The next place in line.
function store.tick()
  ticks = store.ticks() + 1
  return ticks
end

-- `count` messages of `queue` can be claimed from now on: wake so many that serve it.
function store.ring(queue, count)
  rung[queue] = (rung[queue] or 0) + count
end

-- Something falls due sooner than anybody who serves `queue` may think: let one of them look.
function store.stir(queue)
  woken[queue] = true
end

-- An order has come for `worker`, which is registered: it shall exchange.
function store.order(worker)
  store.hash('worker:' .. worker).rung = store.tick()
  ordered[#ordered + 1] = worker
end

-- The message `id` has ended, or is no longer stored: tell those who wait for its result.
function store.over(id)
  over[#over + 1] = id
end

-- Forget a message wholly. The caller has settled what depends on it (see endings.forget).
function store.erase(entry)
  local id = entry.id
  store.count(entry.queue, entry.status, -1)
  store.hash('messages')[id], store.hash('states')[id], store.hash('children')[id] = false, false, false
  store.zset('ids')[id], store.zset('ended')[id] = false, false
  if store.fallen(entry) then
    store.zset('fallen')[id] = false
  end
  if store.has(entry, MARK.ERROR + MARK.RESULT + MARK.PROGRESS) then
    store.hash('errors')[id], store.hash('results')[id], store.hash('progress')[id] = false, false, false
  end
  if entry.blocked then
    store.set('blocked')[id] = false
  end
  entry.erased = true
  store.entries[id] = false
  store.over(id)
end

-- Writing -------------------------------------------------------------------------------------------------------------

local ADD = {hash = 'HSET', zset = 'ZADD', set = 'SADD'}
local REMOVE = {hash = 'HDEL', zset = 'ZREM', set = 'SREM'}

-- Send a command with all these values now, in several pieces where they are too many for one.
function store.send(command, word, values)
  local key, count = KEYS[1] .. word, #values
  for first = 1, count, 1000 do
    redis.call(command, key, unpack(values, first, math.min(first + 999, count)))
  end
end

local function write(word, of)
  local kind, added, removed = of.kind, {}, {}
  for member, value in pairs(of.values) do
    if value == false then
      removed[#removed + 1] = member
    elseif kind == 'hash' then
      added[#added + 1] = member
      added[#added + 1] = value
    elseif kind == 'zset' then
      added[#added + 1] = value
      added[#added + 1] = member
    else
      added[#added + 1] = member
    end
  end
  store.send(REMOVE[kind], word, removed)
  store.send(ADD[kind], word, added)
end

-- Write what is pending for this hash, zset or set now, so that it can be read.
function store.flush(word)
  local of = tables[word]
  if of then
    tables[word] = nil
    write(word, of)
  end
end

-- To be called before commit by scripts that must go through when memory is full.
function store.despite_full()
  redis.call('DEL', KEYS[1] .. 'nothing')
end

local function write_states()
  local states = store.hash('states')
  for n = 1, #changed do
    local entry = changed[n]
    entry.changed = nil
    if not entry.erased then
      states[entry.id] = store.freeze(entry)
      local waits = entry.waiting > 0
      if waits ~= (entry.blocked or false) then
        store.set('blocked')[entry.id], entry.blocked = waits, waits
      end
    end
  end
  changed = {}
end

local function write_counts()
  for queue, of in pairs(counts) do
    for status, change in pairs(of) do
      local field = status .. queue
      if change ~= 0 and redis.call('HINCRBY', KEYS[1] .. 'counts', field, change) == 0 then
        redis.call('HDEL', KEYS[1] .. 'counts', field)
      end
    end
  end
end

local function ring_bells()
  for queue in pairs(rung) do
    redis.call('HSET', KEYS[1] .. 'rings', queue, store.tick(), '', ticks)
  end
  if (next(rung) or next(woken)) and redis.call('EXISTS', KEYS[1] .. 'asleep') == 1 then
    for queue, count in pairs(rung) do
      bells.wake(queue, count)
    end
    for queue in pairs(woken) do
      bells.wake(queue, 1)
    end
  end
  for n = 1, #ordered do
    bells.rouse(ordered[n])
  end
  if over[1] then
    bells.ended(over)
  end
end

-- Write everything, then wake those whom it concerns.
function store.commit()
  write_states()
  for n = 1, #commands do
    redis.call(unpack(commands[n]))
  end
  for word, of in pairs(tables) do
    write(word, of)
  end
  tables, commands = {}, {}
  write_counts()
  ring_bells()
  if ticks and ticks ~= first_tick then
    redis.call('SET', KEYS[1] .. 'ticks', string.format('%.0f', ticks))
  end
  counts, rung, woken, ordered, over = {}, {}, {}, {}, {}
end
