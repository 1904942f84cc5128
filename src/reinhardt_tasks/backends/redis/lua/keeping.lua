-- How long results, records and ids of finished messages are kept.
-- include: store, line, endings, quick
-- lazily
--
-- `ended` says when something of a finished message is over: its result first, then all of it. What belongs to a
-- workflow that still runs is parked until that has ended.

local keeping = {}

-- Whether the entry's workflow still runs; then it is parked until that ends.
local function parks(entry, ends)
  local last = entry.facts.workflow and ends[entry.facts.workflow]
  if not last or store.finished(last) then
    return false
  end
  store.mark(last, MARK.KEEPS)
  store.set('parked:' .. last.id)[entry.id] = true
  store.zset('ended')[entry.id] = false
  return true
end

-- By id, the last messages of the workflows that these entries belong to.
local function ends_of(entries)
  local ids, ends = {}, {}
  for _, entry in ipairs(entries) do
    if entry.facts.workflow then
      ids[#ids + 1] = entry.facts.workflow
    end
  end
  for n, entry in ipairs(store.load(ids)) do
    ends[ids[n]] = entry
  end
  return ends
end

local function drop_result(entry)
  entry.short = nil
  if store.has(entry, MARK.RESULT) then
    store.hash('results')[entry.id] = false
    store.unmark(entry, MARK.RESULT)
  end
  store.mark(entry, MARK.EXPIRED)
end

-- Drop results and records that were over at `moment`, of at most `limit` messages; how many of each.
function keeping.expire(moment, limit)
  store.flush('ended')
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'ended', '-inf', string.format('%.17g', moment), 'LIMIT', 0, limit)
  if not ids[1] then
    return 0, 0
  end
  local others, gone = quick.forget(ids)
  local entries = store.known(others, 'ended')
  store.facts(entries)
  local ends, expired, doomed = ends_of(entries), gone, {}
  for _, entry in ipairs(entries) do
    if not parks(entry, ends) then
      if entry.status == STATUS.SUCCESS and not store.has(entry, MARK.EXPIRED) then
        drop_result(entry)
        expired = expired + 1
      end
      local till = endings.forgotten_at(entry)
      if till <= store.now then
        doomed[#doomed + 1] = entry
      else
        store.zset('ended')[entry.id] = till
      end
    end
  end
  endings.forget(doomed)
  return expired, gone + #doomed
end

-- Let go of up to `limit` messages that were parked for workflows which have ended since.
function keeping.unpark(limit)
  for _, last in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'unparked')) do
    local ids = redis.call('SRANDMEMBER', KEYS[1] .. 'parked:' .. last, limit)
    for _, entry in ipairs(store.known(ids)) do
      if store.finished(entry) then
        store.zset('ended')[entry.id] = endings.over_at(entry)
      end
    end
    local parked = store.set('parked:' .. last)
    for n = 1, #ids do
      parked[ids[n]] = false
    end
    if #ids < limit then
      store.set('unparked')[last] = false
    end
    limit = limit - #ids
    if limit <= 0 then
      return
    end
  end
end
