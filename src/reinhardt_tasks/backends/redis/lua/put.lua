-- Store messages, all or none.
-- include: store, line, endings, timetable
--
-- ARGV: schedule ('': no guard), when it was last due ('': never), its new due, then for each message its id and what
-- was put without its first field, created_at (see store.decode).
-- Answers 1 where all were stored; else for each message 1, or the id of the one that stands for it, or '' where that
-- is itself, stored before (or where the guard does not match). Where a parent is not stored, and so nothing is:
-- {'parent', the number of the message, the id of the parent}.

local ids, puts, answer = {}, {}, {}
for n = 1, (#ARGV - 3) / 2 do
  ids[n], puts[n], answer[n] = ARGV[2 * n + 2], ARGV[2 * n + 3], ''
end

local schedule
if ARGV[1] ~= '' then
  schedule = timetable.guarded(ARGV[1], tonumber(ARGV[2]))
  if not schedule then
    return answer
  end
end

-- Looking: what is known, who holds the keys, how the parents stand -----------------------------------------------------

local created_at = struct.pack('>d', store.now)
local known = ids[1] and redis.call('ZMSCORE', KEYS[1] .. 'ids', unpack(ids)) or {}
local entries, keys = {}, {}

-- The entry of a message that is more than a plain one: which has options.
local function examine(n)
  local entry = store.begin(ids[n], created_at .. puts[n])
  entries[n] = entry
  if entry.facts.unique_key then
    entry.key = endings.key_of(entry.facts)
    keys[#keys + 1] = entry.key
  end
  entry.parents = endings.parents(entry)
end

for n = 1, #ids do
  if puts[n]:byte(1) > 0 and not known[n] then
    examine(n)
  end
end

-- Who holds each key now, by key.
local function find_holders()
  local holders, last, of = {}, {}, {}
  local found = store.read('uniques', keys)
  for n = 1, #keys do
    if found[n] then
      last[#last + 1], of[#of + 1] = found[n], keys[n]
    end
  end
  local those = store.load(last)
  store.facts(those)
  for n = 1, #last do
    if those[n] and endings.holds_key(those[n]) then
      holders[of[n]] = last[n]
    end
  end
  return holders
end

-- The statuses of all parents, by id; false for one that is not stored.
local function find_parents()
  local statuses, wanted = {}, {}
  for n = 1, #ids do
    for _, parent in ipairs(entries[n] and entries[n].parents or {}) do
      if statuses[parent] == nil then
        statuses[parent] = false
        wanted[#wanted + 1] = parent
      end
    end
  end
  for n, status in ipairs(endings.statuses(wanted)) do
    statuses[wanted[n]] = status
  end
  return statuses
end

local holders, statuses = find_holders(), find_parents()
local created, all = {}, true
for n = 1, #ids do
  local entry = entries[n]
  if known[n] or created[ids[n]] then
    all = false
  elseif entry and entry.key and holders[entry.key] then
    answer[n], all = holders[entry.key], false
  else
    answer[n], created[ids[n]] = 1, true
    if entry then
      for _, parent in ipairs(entry.parents) do
        if not statuses[parent] and not created[parent] then
          return {'parent', n, parent}
        end
      end
      if entry.key then
        holders[entry.key] = ids[n]
      end
    end
  end
end

-- Storing. The first command of all is one that is refused when memory is full ------------------------------------------

local places, queues, held = {}, {}, {}

local function line_up_plain(n)
  local priority, length = puts[n]:byte(2, 3)
  local queue = puts[n]:sub(4, 3 + length)
  local place = places[queue]
  if not place then
    place = {}
    places[queue] = place
    queues[#queues + 1] = queue
  end
  place[#place + 1] = (9 - priority) * LEVEL + store.tick()
  place[#place + 1] = ids[n]
end

local function join_parents(entry)
  local of, others = {}, store.entries
  for n, parent in ipairs(entry.parents) do
    local other = others[parent]
    of[n] = other and other.status or statuses[parent] or STATUS.PENDING
  end
  return endings.join_parents(entry, entry.parents, of, false, created)
end

local function line_up(entry)
  local facts = entry.facts
  store.entries[entry.id] = entry
  store.count(entry.queue, STATUS.PENDING, 1)
  if entry.key then
    store.hash('uniques')[entry.key] = entry.id
  end
  if facts.workflow then
    store.zset('flows')[facts.workflow .. entry.id] = 0
  end
  if facts.held and facts.workflow then
    store.zset('held')[entry.id] = store.now + HELD_TTL
    held[facts.workflow] = held[facts.workflow] or {}
    table.insert(held[facts.workflow], entry.id)
  end
  if facts.linked then
    endings.hear_no_more({entry})
  end
  local fallen, status = join_parents(entry)
  if fallen then
    local parent = store.load({fallen})[1]
    store.facts({parent})
    endings.orphan(entry, fallen, parent.facts.name, status)
  else
    line.up(entry)
  end
end

local function store_all()
  local messages, listed = {}, {}
  for n = 1, #ids do
    if answer[n] == 1 then
      messages[#messages + 1] = ids[n]
      messages[#messages + 1] = created_at .. puts[n]
      listed[#listed + 1] = 0
      listed[#listed + 1] = ids[n]
    end
  end
  store.send('HSET', 'messages', messages)
  store.send('ZADD', 'ids', listed)
end

local function line_up_all()
  for n = 1, #ids do
    if answer[n] == 1 and entries[n] then
      line_up(entries[n])
    elseif answer[n] == 1 then
      line_up_plain(n)
    end
  end
  for workflow, those in pairs(held) do
    store.send('RPUSH', 'held:' .. workflow, those)
  end
  for _, queue in ipairs(queues) do
    local count = #places[queue] / 2
    store.send('ZADD', 'ready:' .. queue, places[queue])
    store.set('queues')[queue] = true
    store.count(queue, STATUS.PENDING, count)
    store.ring(queue, count)
  end
end

if schedule then
  timetable.fire(ARGV[1], schedule, tonumber(ARGV[3]))
end
store_all()
line_up_all()
endings.tell()
store.commit()
return all and 1 or answer
