-- Delete some of a queue's messages that do not run, and cancel what waits for them.
-- include: reading, endings
-- flags: allow-oom
--
-- ARGV: queue, the statuses as bits, what to look through and where to go on ('' each in the first call, then as
-- answered), the encoded error of what is cancelled
-- Answers {what to look through ('': all is done), where to go on, how many were deleted}.

local queue, bits, source, from, reason = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local MOST, LOOKS = 500, 3000
local WAITING, FALLEN = 5, 48
local doomed, chosen = {}, {}
bits = bit.band(bits, bit.bnot(2 ^ STATUS.RUNNING))

-- Choose the messages to be deleted among `ids`; answers the number of the last one looked at.
local function choose(ids)
  local part = reading.afford(ids, 1, MOST - #doomed)
  for _, entry in ipairs(store.load(part)) do
    if entry and entry.queue == queue and reading.asks(bits, entry.status) then
      doomed[#doomed + 1] = entry
      chosen[entry.id] = true
    end
  end
  return #part
end

-- Look through the line, from its head on. The place to go on is the last score.
local function look_in_line()
  local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. source .. ':' .. queue, from == '' and '-inf' or '(' .. from,
    '+inf', 'WITHSCORES', 'LIMIT', 0, MOST)
  local ids = {}
  for n = 1, #found, 2 do
    ids[#ids + 1] = found[n]
  end
  local last = ids[1] and choose(ids) or 0
  if last == MOST or last < #ids then
    from = found[2 * last]
  elseif source == 'ready' then
    source, from = 'suspects', ''
  else
    source, from = 'ids', ''
  end
end

-- Look through an index of ids, newest first. The place to go on is the last id.
local function look_through()
  local looked = 0
  repeat
    local ids = reading.newest(source, from, MOST)
    local likely = reading.likely(ids, bits, queue)
    local last = likely[1] and choose(likely) or 0
    from, looked = last < #likely and likely[last] or ids[#ids], looked + #ids + 2 * last
  until not from or #doomed >= MOST or reading.left <= 0 or looked >= LOOKS
  if not from then
    source, from = '', ''
  end
end

-- What others may wait for, or is kept for, ends before it goes; from the rest nobody will hear how it ended.
local function cancel_unfinished()
  local ids, parents = {}, redis.call('EXISTS', KEYS[1] .. 'children') == 1
  for n, entry in ipairs(doomed) do
    ids[n] = entry.id
  end
  local children = parents and store.read('children', ids) or {}
  for n, entry in ipairs(doomed) do
    if not store.finished(entry) and (children[n] or store.has(entry, MARK.HELD + MARK.KEEPS)) then
      endings.finish(entry, STATUS.CANCELLED, reason)
    elseif not store.finished(entry) then
      line.leave(entry)
      entry.waiting = 0  -- it hears of no parent's end any more
    end
  end
end

-- What waits in the same queue for what is deleted was to be deleted too, and not only cancelled.
local function choose_cancelled()
  if not reading.asks(bits, STATUS.PENDING) then
    return
  end
  for _, entry in ipairs(endings.orphaned) do
    if entry.queue == queue and not chosen[entry.id] then
      doomed[#doomed + 1] = entry
    end
  end
end

if source == '' then
  source = bit.band(bits, WAITING) > 0 and 'ready' or bit.band(bits, FALLEN) == bits and 'fallen' or 'ids'
end
if source == 'ready' or source == 'suspects' then
  look_in_line()
else
  look_through()
end
store.despite_full()
cancel_unfinished()
endings.tell()
choose_cancelled()
endings.forget(doomed)
store.commit()
if reading.total(bits, queue) == 0 then
  source = ''
end
return {source, from, #doomed}
