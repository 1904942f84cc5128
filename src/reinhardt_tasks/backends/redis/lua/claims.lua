-- Giving messages to workers.
-- include: leases, quick

local claims = {}

local function paused_queues()
  local paused = {}
  for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'paused')) do
    paused[queue] = true
  end
  return paused
end

-- Give an entry that stood at `place` to `worker`; answers its state.
local function give(entry, place, worker)
  store.become(entry, STATUS.RUNNING)
  entry.number, entry.worker, entry.started_at, entry.place = entry.number + 1, worker, store.now, place
  if store.has(entry, MARK.PROGRESS) then
    store.hash('progress')[entry.id] = false
    store.unmark(entry, MARK.PROGRESS)
  end
  store.set('claims:' .. worker)[entry.id] = true
  return store.freeze(entry)
end

-- Give what was taken from the line to `worker`, appending {id, what was put, state} each to `answer`. The state is left
-- empty for a message in its first run of which nothing else is known.
local function give_all(taken, worker, answer)
  local ids = {}
  for n = 1, #taken, 4 do
    ids[#ids + 1] = taken[n]
  end
  local states, values = store.read('states', ids), store.read('messages', ids)
  local tail, at = quick.tail(worker), #answer
  for n = 1, #ids do
    local id, value, state = ids[n], values[n], ''
    if value then
      local queue, level, score = taken[4 * n - 2], taken[4 * n - 1], taken[4 * n]
      local known, quickly = store.entries[id], false
      if states[n] and not known then
        quickly = quick.give_again(id, states[n], queue, level, score, tail)
        state = quickly or ''
      elseif not known then
        quickly = quick.give(id, value:byte(9), queue, level, score, tail)
      end
      if not quickly then
        state = give(store.adopt(id, states[n], value), score - level * LEVEL, worker)
      end
      answer[at + 1], answer[at + 2], answer[at + 3] = id, value, state
      at = at + 3
    end
  end
end

-- Whether this worker takes nothing more until it can take the suspect `id`: the first one that asks is the one.
local function is_emptied(worker, suspect)
  if not suspect.emptier or redis.call('SISMEMBER', KEYS[1] .. 'workers', suspect.emptier) == 0 then
    suspect.emptier = worker
    store.change(suspect)
  end
  return suspect.emptier == worker
end

-- What `worker` is given of what stands in line: one suspect alone, or others.
local function choose(worker, want, queues, paused)
  store.flush('suspected')
  if redis.call('EXISTS', KEYS[1] .. 'suspected') == 0 then
    return line.take('ready', want, queues, paused)
  end
  local id, place = line.first('suspects', queues, paused)
  if not id then
    return line.take('ready', want, queues, paused)
  end
  local suspect = store.load({id})[1]
  if not suspect then
    return line.take('suspects', 1, queues, paused)
  end
  local overdue = store.now - suspect.ready_at >= PATIENCE
  if redis.call('SCARD', KEYS[1] .. 'claims:' .. worker) > 0 then
    return overdue and is_emptied(worker, suspect) and {} or line.take('ready', want, queues, paused)
  end
  local _, first = line.first('ready', queues, paused)
  if overdue or not first or line.before(place, first) then
    return line.take('suspects', 1, queues, paused)
  end
  return line.take('ready', want, queues, paused)
end

-- Whether all that `worker` holds is a message that is run alone.
local function runs_suspect(worker, alone)
  return alone and redis.call('SISMEMBER', KEYS[1] .. 'claims:' .. worker, alone) == 1
end

-- Claim up to `want` messages for `worker`, to whom `alone` was given last as a suspect (nil: none), and append them to
-- `answer` as {id, what was put, state} each.
function claims.claim(worker, want, queues, alone, answer)
  if want <= 0 or (queues and not queues[1]) then
    return
  end
  store.flush('claims:' .. worker)
  if runs_suspect(worker, alone) then
    return
  end
  local taken = choose(worker, want, queues, paused_queues())
  if not taken[1] then
    return
  end
  give_all(taken, worker, answer)
  local entry = store.entries[taken[1]]
  if entry and entry.losses > 0 then
    store.hash('worker:' .. worker).alone = entry.id
  end
end

-- Append to `answer` every claim that `worker` has and does not know of: all but those in `held`.
function claims.recall(worker, held, answer)
  store.flush('claims:' .. worker)
  local known, ids = {}, {}
  for _, id in ipairs(held) do
    known[id] = true
  end
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'claims:' .. worker)) do
    if not known[id] then
      ids[#ids + 1] = id
    end
  end
  local entries, values = store.load(ids), store.read('messages', ids)
  for n = 1, #ids do
    if entries[n] and values[n] then
      answer[#answer + 1] = ids[n]
      answer[#answer + 1] = values[n]
      answer[#answer + 1] = store.freeze(entries[n])
    end
  end
end

-- A worker that was woken for `queues` (nil: all) has left some of that in line: others are woken instead. It passes on
-- only what rang since it `heard` last, so that workers that can take nothing do not keep each other awake.
function claims.pass_on(queues, heard)
  if queues and not queues[1] or redis.call('EXISTS', KEYS[1] .. 'asleep') == 0 then
    return
  end
  local paused, names = paused_queues(), queues or redis.call('SMEMBERS', KEYS[1] .. 'queues')
  local rings = store.read('rings', names)
  for n, queue in ipairs(names) do
    if tonumber(rings[n] or 0) > heard and not paused[queue] then
      bells.wake(queue, redis.call('ZCARD', KEYS[1] .. 'ready:' .. queue))
    end
  end
end
