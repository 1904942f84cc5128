-- Some of the messages that match, newest id first.
-- include: reading, order
--
-- ARGV: what to look through ('' in the first call of a list, then as answered), below which id ('': from the newest
-- on), how many, the statuses as bits, and, after an equals sign each, or '' for any: queue, task, workflow
-- Answers {the id to go on below (nil: that was all), what to look through, how many were seen in the statuses and the
-- queue asked for, how many there are in all (nil: not told), row, …}; rows as in reading.

local source, below, limit, bits = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local function given(text)
  return text ~= '' and text:sub(2) or nil
end
local queue, task, workflow = given(ARGV[5]), given(ARGV[6]), given(ARGV[7])
local UNFINISHED, FALLEN = 7, 48
local FEW = 5000     -- so many ids are sorted in one call, so many counts added up
local LOOKS = 3000   -- so many ids are looked at, a message that has to be read counting for three
local BLOCK = 500
local rows, seen, looked = {}, 0, 0
local words = {}
words[1] = task or workflow
words[2] = task and workflow

-- How many messages stand in the statuses and the queue asked for; nil where there are too many queues to add up.
local function total()
  if queue then
    return reading.total(bits, queue)
  end
  if redis.call('HLEN', KEYS[1] .. 'counts') > FEW then
    return nil
  end
  local sum, counts = 0, redis.call('HGETALL', KEYS[1] .. 'counts')
  for n = 1, #counts, 2 do
    if reading.asks(bits, counts[n]:byte() - 48) then
      sum = sum + tonumber(counts[n + 1])
    end
  end
  return sum
end

-- The keys that lead to all unfinished messages in the statuses asked for, and how many ids they hold.
local function leads()
  local keys, size = {}, 0
  local function add(command, word)
    keys[#keys + 1] = KEYS[1] .. word
    size = size + redis.call(command, KEYS[1] .. word)
  end
  if reading.asks(bits, STATUS.RUNNING) then
    for _, worker in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'workers')) do
      add('SCARD', 'claims:' .. worker)
    end
  end
  if reading.asks(bits, STATUS.PENDING) or reading.asks(bits, STATUS.RETRY) then
    for index, kind in pairs({queues = 'ready:', suspected = 'suspects:'}) do
      for _, name in ipairs(queue and {queue} or redis.call('SMEMBERS', KEYS[1] .. index)) do
        add('ZCARD', kind .. name)
      end
    end
    add('ZCARD', 'later')
    add('ZCARD', 'held')
    add('SCARD', 'blocked')
  end
  return keys, size
end

-- The unfinished messages in the statuses asked for, oldest first, without a look at the finished ones; nil where
-- finished ones are asked for too, or where they are too many to be sorted here.
local function few()
  if bit.band(bits, UNFINISHED) ~= bits then
    return nil
  end
  local keys, size = leads()
  if size > FEW or #keys > 1000 then
    return nil
  end
  local union = {'ZUNION', #keys, unpack(keys)}
  union[#union + 1] = 'WEIGHTS'
  for _ = 1, #keys do
    union[#union + 1] = 0  -- equal scores: what comes is ordered by id
  end
  return keys[1] and redis.call(unpack(union)) or {}
end

-- Add the rows of those of `ids` that match; answers the last id looked at, if that was enough for one call.
local function collect(ids)
  local at = 1
  while at <= #ids do
    local part = reading.afford(ids, at, 100)
    for n, entry in ipairs(reading.entries(part, words)) do
      if entry == true then
        seen = seen + (queue and 0 or 1)  -- in the status asked for, or it would not be among the likely ones
      elseif entry and reading.asks(bits, entry.status) and (not queue or entry.queue == queue) then
        seen = seen + 1
        if (not task or entry.facts.name == task) and (not workflow or entry.facts.workflow == workflow) then
          rows[#rows + 1] = reading.row(entry)
        end
      end
      if #rows >= limit or reading.left <= 0 then
        return part[n]
      end
    end
    at, looked = at + #part, looked + 2 * #part
  end
  return nil
end

local listed

-- The next `count` ids below `below`, fewer at the end.
local function block(count)
  if source == 'flow' then
    return reading.newest_of(workflow, below, count)
  elseif source ~= 'few' then
    return reading.newest(source, below, count)
  end
  local ids = {}
  while #ids < count and listed[1] do
    local id = table.remove(listed)
    if below == '' or order.newer(below, id) then
      ids[#ids + 1] = id
    end
  end
  return ids
end

local there = source == '' and total() or false
if there == 0 then
  return {false, source, 0, 0}
end
if workflow then
  source = 'flow'
elseif source == '' or source == 'few' then
  listed = few()
  source = listed and 'few' or bit.band(bits, FALLEN) == bits and 'fallen' or 'ids'
end
local more
repeat
  local ids = block(BLOCK)
  looked = looked + #ids
  local stopped = collect(reading.likely(ids, bits, queue))
  below = stopped or ids[#ids]
  more = stopped or #ids == BLOCK
until not more or stopped or looked >= LOOKS
return {more and below or false, source, seen, there, unpack(rows)}
