-- Messages as they are read back, in answers of bounded size, and ways to find them.
-- include: store
--
-- A row is {id, name, queue, worker ('': none), unique key, workflow, times, status, priority, attempts, losses,
-- waiting_on, bits, result, error, progress, body}; what a message has not is nil. `times` are five packed doubles:
-- created_at, updated_at, run_at, started_at, finished_at (0: never). `bits`: 1 cancelling, 2 expired, 4 has a run_at.

local ANY = 63
local reading = {left = 2 ^ 21}   -- how many bytes to read before a call has done enough; one message may be more

-- As many of `ids` from number `at` on as there are bytes left for, at most `most`, and at least one.
function reading.afford(ids, at, most)
  local part = {}
  for n = at, math.min(at + most - 1, #ids) do
    if part[1] and reading.left <= 0 then
      break
    end
    reading.left = reading.left - redis.call('HSTRLEN', KEYS[1] .. 'messages', ids[n])
    part[#part + 1] = ids[n]
  end
  return part
end

-- The entries of `ids` with their facts and their `value` in `messages`; false where unknown, true where one of `words`
-- (or nil) stands nowhere in that value.
function reading.entries(ids, words)
  local values, found, wanted, at = store.read('messages', ids), {}, {}, {}
  for n = 1, #ids do
    local value, other = values[n], false
    for w = 1, value and words and #words or 0 do
      other = other or not value:find(words[w], 1, true)
    end
    found[n] = other
    if value and not other then
      wanted[#wanted + 1], at[#at + 1] = ids[n], n
    end
  end
  local states = store.read('states', wanted)
  for w, n in ipairs(at) do
    local id, value = ids[n], values[n]
    local entry = states[w] and store.thaw(id, states[w]) or store.begin(id, value)
    entry.facts = entry.facts or store.decode(value)
    entry.value = value
    found[n] = entry
  end
  return found
end

local function kept(word, id)
  local value = redis.call('HGET', KEYS[1] .. word, id)
  reading.left = reading.left - (value and #value or 0)
  return value
end

-- The row of an entry, with its body where `body`.
function reading.row(entry, body)
  local facts = entry.facts
  local bits = (store.has(entry, MARK.CANCELLING) and 1 or 0) + (store.has(entry, MARK.EXPIRED) and 2 or 0)
    + (entry.run_at and 4 or 0)
  return {
    entry.id, facts.name, entry.queue, entry.worker, facts.unique_key or false, facts.workflow or false,
    struct.pack('>ddddd', facts.created_at, entry.updated_at, entry.run_at or 0, entry.started_at, entry.finished_at),
    entry.status, entry.priority, entry.attempts, entry.losses, entry.waiting, bits,
    entry.short or store.has(entry, MARK.RESULT) and kept('results', entry.id),
    store.has(entry, MARK.ERROR) and kept('errors', entry.id),
    store.has(entry, MARK.PROGRESS) and kept('progress', entry.id),
    body and entry.value:sub(facts.body) or false,
  }
end

-- Whether `status` is one of the statuses in `bits`.
function reading.asks(bits, status)
  return bit.band(bits, 2 ^ status) > 0
end

-- How many messages of `queue` stand in the statuses in `bits`.
function reading.total(bits, queue)
  local sum = 0
  for status = 0, 5 do
    if reading.asks(bits, status) then
      sum = sum + tonumber(redis.call('HGET', KEYS[1] .. 'counts', status .. queue) or 0)
    end
  end
  return sum
end

-- Those of `ids` that may be in the statuses in `bits` and in `queue` (nil: any), as a glance at their states tells:
-- a state begins with the status, no state is PENDING, and the queue's name stands in it somewhere.
function reading.likely(ids, bits, queue)
  if bits == ANY and not queue then
    return ids
  end
  local states, found = store.read('states', ids), {}
  for n = 1, #ids do
    local state = states[n]
    if reading.asks(bits, state and state:byte() or 0) and (not queue or not state or state:find(queue, 1, true)) then
      found[#found + 1] = ids[n]
    end
  end
  return found
end

-- At most `count` ids of a zset whose scores are equal, newest first, below the id `below` ('': from the newest on).
function reading.newest(word, below, count)
  return redis.call('ZREVRANGEBYLEX', KEYS[1] .. word, below == '' and '+' or '(' .. below, '-', 'LIMIT', 0, count)
end

-- As `newest`, of the messages that belong to a workflow.
function reading.newest_of(workflow, below, count)
  local from = below == '' and '[' .. workflow .. ('\255'):rep(16) or '(' .. workflow .. below
  local ids = redis.call('ZREVRANGEBYLEX', KEYS[1] .. 'flows', from, '[' .. workflow, 'LIMIT', 0, count)
  for n = 1, #ids do
    ids[n] = ids[n]:sub(17)
  end
  return ids
end
