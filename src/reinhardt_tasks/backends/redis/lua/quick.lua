-- The short way for what most messages are: claimed by a worker, they succeed in that run, and those that were put
-- without options (MARK.PLAIN) are forgotten a day later.
-- include: store, line
-- lazily
--
-- It writes what the long way would, without an entry in between. Whatever has another mark is left to the long way, and
-- so is what has lost workers or ended before. The offsets are those of STATE.

local quick = {}
local NOW = struct.pack('>d', store.now)
local FIRST = ('\0'):rep(12) .. struct.pack('>II', 1, 0)
local NONE, NEVER = ('\0'):rep(4), ('\0'):rep(16)
local ENDED_AT = string.format('%.17g', store.now + DAY)

-- How the states of messages begin, by their marks: while they run, and when they have succeeded with a short and with
-- a long result.
local RUNNING, SUCCEEDED_SHORT, SUCCEEDED_LONG, PLAIN_ENDS, AGAIN = {}, {}, {}, {}, {}
for _, mark in ipairs({0, MARK.PLAIN}) do
  RUNNING[mark] = struct.pack('>BH', STATUS.RUNNING, mark)
  AGAIN[struct.pack('>BH', STATUS.PENDING, mark)] = RUNNING[mark]
  SUCCEEDED_SHORT[RUNNING[mark]] = struct.pack('>BH', STATUS.SUCCESS, mark + SETTLED + SHORT)
  SUCCEEDED_LONG[RUNNING[mark]] = struct.pack('>BH', STATUS.SUCCESS, mark + SETTLED + MARK.RESULT)
end
PLAIN_ENDS[SUCCEEDED_SHORT[RUNNING[MARK.PLAIN]]] = 'short'
PLAIN_ENDS[SUCCEEDED_LONG[RUNNING[MARK.PLAIN]]] = 'long'

-- How the state of a message that `worker` runs ends.
function quick.tail(worker)
  return struct.pack('>Hc0', #worker, worker)
end

-- Ends ----------------------------------------------------------------------------------------------------------------

local states, results, ended, gone, ends = {}, {}, {}, {}, {}

-- Settle a success (`told`, see exchange) on a message in this state; answers whether it was done.
function quick.settle(id, state, told, tail)
  local running = state:sub(1, 3)
  if not SUCCEEDED_SHORT[running] or state:sub(17, 20) ~= told:sub(17, 20) then
    return false
  end
  local after = 66 + state:byte(65)
  if state:sub(after) ~= tail then
    return false
  end
  local head, result = SUCCEEDED_SHORT[running], told:sub(31)
  if #result > SHORTEST then
    results[#results + 1], results[#results + 2] = id, result
    head, result = SUCCEEDED_LONG[running], ''
  end
  local n, queue = #gone, state:sub(66, after - 1)
  states[2 * n + 1] = id
  states[2 * n + 2] = head .. state:sub(4, 32) .. NOW .. state:sub(41, 48) .. NOW .. state:sub(57) .. result
  ended[2 * n + 1], ended[2 * n + 2] = ENDED_AT, id
  gone[n + 1] = id
  ends[queue] = (ends[queue] or 0) + 1
  return true
end

-- Write what `settle` has done.
function quick.write_ends(worker)
  if not gone[1] then
    return
  end
  store.send('SREM', 'claims:' .. worker, gone)
  store.send('HSET', 'states', states)
  store.send('HSET', 'results', results)
  store.send('ZADD', 'ended', ended)
  for queue, count in pairs(ends) do
    store.count(queue, STATUS.RUNNING, -count)
    store.count(queue, STATUS.SUCCESS, count)
  end
  for n = 1, #gone do
    store.over(gone[n])
  end
end

-- Claims --------------------------------------------------------------------------------------------------------------

local heads, tails, starts, given, held = {}, {}, {}, {}, {}
local MARKS = {[0] = MARK.PLAIN, [1] = 0}

local function note(id, state, queue)
  local n = #held
  given[2 * n + 1], given[2 * n + 2] = id, state
  held[n + 1] = id
  starts[queue] = (starts[queue] or 0) + 1
end

-- Give the message `id`, of which nothing is stored but what was put (of this kind, see store.decode), to the worker
-- whose states end with `tail`; answers whether it was done.
function quick.give(id, kind, queue, level, score, tail)
  if not MARKS[kind] then
    return false
  end
  local head = heads[kind * 10 + level]
  if not head then
    head = RUNNING[MARKS[kind]] .. string.char(9 - level) .. FIRST
    heads[kind * 10 + level] = head
  end
  local rest = tails[queue]
  if not rest then
    rest = NOW .. NOW .. NEVER .. string.char(#queue) .. queue .. tail
    tails[queue] = rest
  end
  note(id, head .. struct.pack('>d', score - level * LEVEL) .. rest, queue)
  return true
end

-- As `give`, for a message that is pending in this state: it waited for others, or was given back. Answers the new state,
-- or nil where that was not done.
function quick.give_again(id, state, queue, level, score, tail)
  local running = AGAIN[state:sub(1, 3)]
  if not running or state:sub(5, 8) ~= NONE then
    return nil
  end
  local after = running .. state:sub(4, 16) .. struct.pack('>I', struct.unpack('>I', state, 17) + 1) .. state:sub(21, 24)
    .. struct.pack('>d', score - level * LEVEL) .. NOW .. NOW .. state:sub(49, 65 + #queue) .. tail
  note(id, after, queue)
  return after
end

-- Write what `give` and `give_again` have done.
function quick.write_claims(worker)
  if not held[1] then
    return
  end
  store.send('HSET', 'states', given)
  store.send('SADD', 'claims:' .. worker, held)
  for queue, count in pairs(starts) do
    store.count(queue, STATUS.PENDING, -count)
    store.count(queue, STATUS.RUNNING, count)
  end
end

-- Forgetting ----------------------------------------------------------------------------------------------------------

-- Forget those of `ids`, of which the result is over, that went the short way; answers the others, and how many went.
function quick.forget(ids)
  local found, others, doomed, long, counts = store.read('states', ids), {}, {}, {}, {}
  for n = 1, #ids do
    local state = found[n]
    local way = state and not store.entries[ids[n]] and PLAIN_ENDS[state:sub(1, 3)]
    if way then
      local queue = state:sub(66, 65 + state:byte(65))
      doomed[#doomed + 1] = ids[n]
      long[#long + 1] = way == 'long' and ids[n] or nil
      counts[queue] = (counts[queue] or 0) + 1
    else
      others[#others + 1] = ids[n]
    end
  end
  for queue, count in pairs(counts) do
    store.count(queue, STATUS.SUCCESS, -count)
  end
  for word, command in pairs({ended = 'ZREM', ids = 'ZREM', messages = 'HDEL', states = 'HDEL'}) do
    store.send(command, word, doomed)
  end
  store.send('HDEL', 'results', long)
  return others, #doomed
end
