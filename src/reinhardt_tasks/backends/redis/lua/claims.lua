-- Giving messages to workers.
-- include: leases

local claims = {}

local function paused_queues()
  local paused = {}
  for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'paused')) do
    paused[queue] = true
  end
  return paused
end

-- Give an entry to `worker`; answers its state.
local function give(entry, worker)
  store.become(entry, STATUS.RUNNING)
  entry.number, entry.worker, entry.started_at = entry.number + 1, worker, store.now
  if store.has(entry, MARK.PROGRESS) then
    store.hash('progress')[entry.id] = false
    store.unmark(entry, MARK.PROGRESS)
  end
  return store.freeze(entry)
end

-- Give what was taken from the line to `worker`, appending {id, what was put, state} each to `answer`.
local function give_all(taken, worker, answer)
  local ids = {}
  for n = 1, #taken do
    ids[n] = taken[n][1]
  end
  local states, values = store.read('states', ids), store.read('messages', ids)
  local held, written = store.set('claims:' .. worker), store.hash('states')
  for n = 1, #ids do
    local id, item = ids[n], taken[n]
    local entry, state = store.entries[id], nil
    if not entry and not states[n] and values[n]:byte(9) == 0 then
      store.count(item[2], STATUS.PENDING, -1)
      store.count(item[2], STATUS.RUNNING, 1)
      state = store.first_state(item[2], item[3], item[4], worker)
      written[id] = state
    else
      entry = entry or states[n] and store.thaw(id, states[n]) or store.begin(id, values[n])
      store.entries[id] = entry
      entry.place = item[4]
      state = give(entry, worker)
    end
    held[id] = true
    answer[#answer + 1] = id
    answer[#answer + 1] = values[n]
    answer[#answer + 1] = state
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
  local entry = store.entries[taken[1][1]]
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
    answer[#answer + 1] = ids[n]
    answer[#answer + 1] = values[n]
    answer[#answer + 1] = store.freeze(entries[n])
  end
end

-- Messages that could start are left in line, though workers that serve their queues sleep: wake some.
function claims.pass_on(queues)
  if redis.call('EXISTS', KEYS[1] .. 'asleep') == 0 then
    return
  end
  local paused = paused_queues()
  for _, queue in ipairs(queues or redis.call('SMEMBERS', KEYS[1] .. 'queues')) do
    local left = not paused[queue] and redis.call('ZCARD', KEYS[1] .. 'ready:' .. queue) or 0
    if left > 0 then
      bells.wake(queue, left)
    end
  end
end

