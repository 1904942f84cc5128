-- The short way for what most messages are: plain ones (put without options) that are claimed for the first time,
-- succeed in their first run with a short result, and are forgotten a day later.
-- include: store, line
--
-- It writes what the long way would, without an entry in between. Whatever has another mark, children or a history is
-- left to the long way. The offsets are those of STATE.

local quick = {}
local NOW = struct.pack('>d', store.now)
local RUNNING = struct.pack('>BH', STATUS.RUNNING, MARK.PLAIN)
local SUCCEEDED = struct.pack('>BH', STATUS.SUCCESS, MARK.PLAIN + SETTLED + SHORT)
local FIRST = ('\0'):rep(12) .. struct.pack('>II', 1, 0)
local NEVER = ('\0'):rep(16)
local ENDED_AT = string.format('%.17g', store.now + DAY)

-- How the state of a message that `worker` runs ends.
function quick.tail(worker)
  return struct.pack('>Hc0', #worker, worker)
end

-- Ends ----------------------------------------------------------------------------------------------------------------

local states, ended, gone, ends = {}, {}, {}, {}

-- Settle an outcome (`told`, see exchange) on a message in this state; answers whether it was done.
function quick.settle(id, state, told, tail)
  if state:sub(1, 3) ~= RUNNING or state:sub(17, 20) ~= told:sub(17, 20) then
    return false
  end
  local after = 66 + state:byte(65)
  if state:sub(after) ~= tail then
    return false
  end
  local n, queue = #gone, state:sub(66, after - 1)
  states[2 * n + 1] = id
  states[2 * n + 2] = table.concat({SUCCEEDED, state:sub(4, 32), NOW, state:sub(41, 48), NOW, state:sub(57), told:sub(31)})
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

-- Give the message `id`, of which nothing is stored but what was put, to the worker whose states end with `tail`.
function quick.give(id, queue, level, score, tail)
  local head = heads[level]
  if not head then
    head = RUNNING .. string.char(9 - level) .. FIRST
    heads[level] = head
  end
  local rest = tails[queue]
  if not rest then
    rest = NOW .. NOW .. NEVER .. string.char(#queue) .. queue .. tail
    tails[queue] = rest
  end
  local n = #held
  given[2 * n + 1], given[2 * n + 2] = id, head .. struct.pack('>d', score - level * LEVEL) .. rest
  held[n + 1] = id
  starts[queue] = (starts[queue] or 0) + 1
end

-- Write what `give` has done.
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
  local found, others, doomed, counts = store.read('states', ids), {}, {}, {}
  for n = 1, #ids do
    local state = found[n]
    if state and state:sub(1, 3) == SUCCEEDED and not store.entries[ids[n]] then
      local queue = state:sub(66, 65 + state:byte(65))
      doomed[#doomed + 1] = ids[n]
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
  return others, #doomed
end
