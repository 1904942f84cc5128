-- How messages end, what that does to those that wait for them, how they come back, and how they are forgotten.
-- include: store, line
-- lazily
--
--   endings.finish(entry, status, payload)    as often as need be, then
--   local cancelled = endings.tell()          once (or after each, where the order matters), then store.commit()
--   endings.revive(entries)                   failed or cancelled ones, all that come back together
--   endings.forget(entries)                   finished ones, after `tell`
--
-- `children` holds, by parent, the ids of those that were put to wait for it. A link is there until the parent has
-- succeeded, and only where the child waits for it, or was finished before or by its end (and may come back with it):
-- an unfinished child with `waiting` > 0 is always one that this end concerns. One unit of work tells at most
-- `endings.budget` children. The rest stands in `fans` (parent → status | its name | ids of the children), and is told by
-- the next exchanges and sweeps; until then these children wait.

local endings = {budget = 500, orphaned = {}}
local finished, linked, relinked = {}, {}, false

-- The encoded ErrorRecord.
function endings.error(kind, text, reason)
  return cmsgpack.pack({type = kind, message = text, reason = reason})
end

-- An id as people read it.
function endings.text(id)
  local hex = id:gsub('.', function(char) return string.format('%02x', char:byte()) end)
  return table.concat({hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21)}, '-')
end

-- Ends ----------------------------------------------------------------------------------------------------------------

-- When the record of a finished entry is to be forgotten.
function endings.forgotten_at(entry)
  local kept = entry.status == STATUS.SUCCESS and DAY or 7 * DAY
  if not store.has(entry, MARK.LASTING) then
    return entry.finished_at + kept
  end
  store.facts({entry})
  if entry.status == STATUS.SUCCESS then
    kept = math.max(kept, entry.facts.result_ttl)
  end
  return math.max(entry.finished_at + kept, entry.facts.created_at + (entry.facts.unique_for or 0))
end

-- When the result of a finished entry is over, or its record where it has none to be dropped.
function endings.over_at(entry)
  if entry.status ~= STATUS.SUCCESS or store.has(entry, MARK.EXPIRED) then
    return endings.forgotten_at(entry)
  end
  if not store.has(entry, MARK.LASTING) then
    return entry.finished_at + DAY
  end
  store.facts({entry})
  return entry.finished_at + entry.facts.result_ttl
end

-- Keep an error with an entry; an empty one leaves what is there.
function endings.keep_error(entry, raw)
  if raw ~= '' then
    store.hash('errors')[entry.id] = raw
    store.mark(entry, MARK.ERROR)
  end
end

local function keep_result(entry, result)
  if #result <= SHORTEST then
    entry.short = result
  else
    store.hash('results')[entry.id] = result
    entry.marks = bit.bor(entry.marks, MARK.RESULT)
  end
  if store.has(entry, MARK.ERROR) then
    store.hash('errors')[entry.id] = false
    store.unmark(entry, MARK.ERROR)
  end
end

-- End an unfinished entry. Its claim, if a worker holds it, the caller has taken away.
function endings.finish(entry, status, payload)
  if entry.status ~= STATUS.RUNNING then
    line.leave(entry)
  end
  if entry.marks > 0 then
    if store.has(entry, MARK.HELD) then
      store.zset('held')[entry.id] = false
    end
    if store.has(entry, MARK.KEEPS) then
      store.set('unparked')[entry.id] = true
    end
    store.unmark(entry, MARK.CANCELLING + MARK.KEEPS)
  end
  store.become(entry, status)
  entry.finished_at, entry.waiting = store.now, 0
  if status == STATUS.SUCCESS then
    keep_result(entry, payload)
  else
    endings.keep_error(entry, payload)
    store.zset('fallen')[entry.id] = 0
  end
  store.zset('ended')[entry.id] = endings.over_at(entry)
  store.over(entry.id)
  finished[#finished + 1] = entry
end

-- Cancel an entry because a parent of it has failed or was cancelled. `endings.orphaned` lists those of this unit.
function endings.orphan(entry, parent, name, status)
  local word = status == STATUS.FAILURE and 'failure' or 'cancelled'
  local text = 'message ' .. endings.text(parent) .. ' (' .. name .. '), which it waits for, ended as ' .. word
  endings.finish(entry, STATUS.CANCELLED, endings.error('TaskCancelledError', text, 'parent_failed'))
  store.mark(entry, MARK.ORPHANED)
  endings.orphaned[#endings.orphaned + 1] = entry
end

-- Telling the children ------------------------------------------------------------------------------------------------

local function pack_fan(fan, first)
  return struct.pack('>BBc0', fan.status, #fan.name, fan.name) .. table.concat(fan.ids, '', first)
end

local function unpack_fan(parent, text)
  local status, name, at = struct.unpack('>BBc0', text)
  return {parent = parent, status = status, name = name, ids = store.split(text:sub(at))}
end

-- The fans of those of `parents` that have one, by parent.
local function fans_of(parents)
  local found = {}
  if parents[1] and redis.call('EXISTS', KEYS[1] .. 'fans') == 1 then
    for n, text in ipairs(store.read('fans', parents)) do
      found[parents[n]] = text and unpack_fan(parents[n], text) or nil
    end
  end
  return found
end

-- Tell the children of a fan, as far as the budget goes: how many were cancelled, how many told.
local function tell_fan(fan)
  local told, cancelled = math.min(#fan.ids, endings.budget), 0
  endings.budget = endings.budget - told
  local children = store.load(told < #fan.ids and {unpack(fan.ids, 1, told)} or fan.ids)
  local fell = fan.status ~= STATUS.SUCCESS
  for n = 1, told do
    local child = children[n]
    if child and child.waiting > 0 then
      if fell and not store.has(child, MARK.TOLERANT) then
        endings.orphan(child, fan.parent, fan.name, fan.status)
        cancelled = cancelled + 1
      else
        child.waiting = child.waiting - 1
        store.change(child)
        line.up(child)
      end
    end
  end
  return cancelled, told
end

local function tell_children(parent, links)
  local fan = {parent = parent.id, name = '', status = parent.status, ids = store.split(links)}
  if store.fallen(parent) then
    store.facts({parent})
    fan.name = parent.facts.name
  else
    store.hash('children')[parent.id] = false
  end
  local cancelled, told = tell_fan(fan)
  if told < #fan.ids then
    store.hash('fans')[parent.id] = pack_fan(fan, told + 1)
  end
  return cancelled
end

-- Tell the children in `links` that these parents (their places in `ids` and `links`) have succeeded, where no entries
-- stand for them. A child that many have alone, such as the callback of a group, is told once of all of them.
function endings.tell_successes(ids, links, places)
  local only, counts = {}, {}
  for _, n in ipairs(places) do
    local child = links[n]
    if #child > 16 or endings.budget <= 0 then
      tell_children({id = ids[n], status = STATUS.SUCCESS}, child)
    else
      store.hash('children')[ids[n]] = false
      if not counts[child] then
        only[#only + 1], counts[child] = child, 0
        endings.budget = endings.budget - 1
      end
      counts[child] = counts[child] + 1
    end
  end
  for _, child in ipairs(store.known(only)) do
    if child.waiting > 0 then
      child.waiting = child.waiting - counts[child.id]
      store.change(child)
      line.up(child)
    end
  end
end

-- Tell those that wait for what was finished, and in turn those that wait for what is cancelled for it; how many were.
function endings.tell()
  local cancelled = 0
  endings.write_links()
  store.flush('children')
  local anybody = finished[1] and redis.call('EXISTS', KEYS[1] .. 'children') == 1
  while anybody and finished[1] do
    local parents, ids = finished, {}
    finished = {}
    for n = 1, #parents do
      ids[n] = parents[n].id
    end
    local links = store.read('children', ids)
    for n = 1, #parents do
      if links[n] then
        cancelled = cancelled + tell_children(parents[n], links[n])
      end
    end
  end
  finished = {}
  return cancelled
end

-- Go on with what earlier units of work have left in `fans`, as far as the budget goes; how many were cancelled.
function endings.go_on()
  if redis.call('EXISTS', KEYS[1] .. 'fans') == 0 then
    return 0
  end
  local cancelled, cursor = 0, '0'
  repeat
    local page = redis.call('HSCAN', KEYS[1] .. 'fans', cursor, 'COUNT', 100)
    cursor = page[1]
    for n = 1, #page[2], 2 do
      if endings.budget > 0 then
        local fan = unpack_fan(page[2][n], page[2][n + 1])
        local fallen, told = tell_fan(fan)
        cancelled = cancelled + fallen
        store.hash('fans')[fan.parent] = told < #fan.ids and pack_fan(fan, told + 1) or false
      end
    end
  until cursor == '0' or endings.budget <= 0
  return cancelled + endings.tell()
end

-- Parents -------------------------------------------------------------------------------------------------------------

-- The statuses of `ids`, false where one is unknown, without loading what was put.
function endings.statuses(ids)
  local states, entries, found = store.read('states', ids), store.entries, {}
  local untouched, places, count = {}, {}, 0
  for n = 1, #ids do
    local entry = entries[ids[n]]
    if entry ~= nil then
      found[n] = entry and entry.status
    elseif states[n] then
      found[n] = states[n]:byte(1)
    else
      count = count + 1
      untouched[count], places[count], found[n] = ids[n], n, false
    end
  end
  for first = 1, count, 1000 do
    local scores = redis.call('ZMSCORE', KEYS[1] .. 'ids', unpack(untouched, first, math.min(first + 999, count)))
    for n = 1, #scores do
      found[places[first + n - 1]] = scores[n] and STATUS.PENDING
    end
  end
  return found
end

-- The ids of those an entry (with facts) was put to wait for, each once.
function endings.parents(entry)
  local ids, seen, text, count = {}, {}, entry.facts.parents, 0
  for at = 1, #text, 16 do
    local id = text:sub(at, at + 15)
    if not seen[id] then
      seen[id], count = true, count + 1
      ids[count] = id
    end
  end
  return ids
end

local function add_link(parent, child)
  local others = linked[parent]
  linked[parent] = others and others .. child or child
end

-- Let an unfinished entry (with facts) wait for the unfinished ones of its `parents`, whose `statuses` are these. Answers
-- the id and the status of one that fell, if that concerns it. With `again` it may be linked to them already; where it
-- was linked before it was put, only those in `fresh` are not.
function endings.join_parents(entry, parents, statuses, again, fresh)
  local tolerant, waiting, fallen, fell = entry.facts.tolerant, 0, nil, nil
  for n = 1, #parents do
    local status = statuses[n]
    local unfinished = status and status < STATUS.SUCCESS
    if unfinished then
      waiting = waiting + 1
    elseif status and status > STATUS.SUCCESS and not tolerant then
      fallen, fell = parents[n], status
    end
    if (unfinished or fallen == parents[n]) and not (fresh and entry.facts.linked and not fresh[parents[n]]) then
      add_link(parents[n], entry.id)
    end
  end
  relinked = relinked or again
  if waiting > 0 then
    entry.waiting = waiting
    store.change(entry)
  end
  return fallen, fell
end

-- Link a message that is about to be put to those of `parents` that have not succeeded.
function endings.link(id, parents)
  for n, status in ipairs(endings.statuses(parents)) do
    if status and status ~= STATUS.SUCCESS then
      add_link(parents[n], id)
    end
  end
  relinked = true
end

local function as_set(ids)
  local set = {}
  for n = 1, #ids do
    set[ids[n]] = true
  end
  return set
end

-- Remove from `text` the ids that are in the set `gone`.
local function without(text, gone)
  local kept = {}
  for _, id in ipairs(store.split(text)) do
    if not gone[id] then
      kept[#kept + 1] = id
    end
  end
  return table.concat(kept)
end

-- Write the links made by `join_parents`.
function endings.write_links()
  if not next(linked) then
    return
  end
  store.flush('children')
  local parents, before, written, count = {}, {}, {}, 0
  for parent in pairs(linked) do
    count = count + 1
    parents[count] = parent
  end
  if redis.call('EXISTS', KEYS[1] .. 'children') == 1 then
    before = store.read('children', parents)
  end
  for n = 1, count do
    local old, new = before[n], linked[parents[n]]
    if relinked and old then
      new = without(new, as_set(store.split(old)))
    end
    written[2 * n - 1], written[2 * n] = parents[n], old and old .. new or new
  end
  linked, relinked = {}, false
  store.send('HSET', 'children', written)
end

-- Those in the set `gone` shall not hear of ends of `parents` that have not been told to all yet.
local function drop_from_fans(parents, gone)
  store.flush('fans')
  for parent, fan in pairs(fans_of(parents)) do
    fan.ids = store.split(without(table.concat(fan.ids), gone))
    store.hash('fans')[parent] = fan.ids[1] and pack_fan(fan, 1) or false
  end
end

-- The ids of all that these entries (with facts) were put to wait for, each once.
local function parents_of(entries)
  local parents, asked = {}, {}
  for _, entry in ipairs(entries) do
    for _, parent in ipairs(endings.parents(entry)) do
      if not asked[parent] then
        asked[parent] = true
        parents[#parents + 1] = parent
      end
    end
  end
  return parents
end

-- These entries (with facts) are about to join their parents: of what has ended before they shall not hear.
function endings.hear_no_more(entries)
  local ids = {}
  for n = 1, #entries do
    ids[n] = entries[n].id
  end
  drop_from_fans(parents_of(entries), as_set(ids))
end

-- Coming back ---------------------------------------------------------------------------------------------------------

-- Whether an entry (with facts) keeps others from its unique key.
function endings.holds_key(entry)
  if entry.facts.unique_for then
    return store.now < entry.facts.created_at + entry.facts.unique_for
  end
  return not store.finished(entry)
end

function endings.key_of(facts)
  return facts.name .. '\0' .. facts.unique_key
end

-- Of the ids in `links`, the set of tolerant children that are not in the set `untold`; nil when there are none.
local function tolerant_among(links, untold)
  local ids, gone = store.split(links), {}
  for n, state in ipairs(store.read('states', ids)) do
    local marks = state and struct.unpack('>H', state, 2) or 0
    if bit.band(marks, MARK.TOLERANT) > 0 and not untold[ids[n]] then
      gone[ids[n]] = true
    end
  end
  return next(gone) and gone
end

-- Before parents come back: forget the links of tolerant children, which have heard of the end, except those that have
-- not been told of it yet and never will be.
local function relink(ids)
  store.flush('fans')
  store.flush('children')
  local fans = fans_of(ids)
  for n, links in ipairs(store.read('children', ids)) do
    local id, untold = ids[n], fans[ids[n]] and fans[ids[n]].ids or {}
    if fans[id] then
      store.hash('fans')[id] = false
    end
    local gone = links and tolerant_among(links, as_set(untold))
    if gone then
      local left = without(links, gone)
      store.hash('children')[id] = left ~= '' and left
    end
  end
end

local function renew(entry)
  store.become(entry, STATUS.PENDING)
  entry.attempts, entry.losses, entry.unknowns, entry.place, entry.waiting = 0, 0, 0, 0, 0
  entry.run_at, entry.ready_at, entry.emptier, entry.worker = nil, nil, nil, ''
  entry.started_at, entry.finished_at = 0, 0
  store.hash('errors')[entry.id], store.hash('progress')[entry.id] = false, false
  store.unmark(entry, MARK.ORPHANED + MARK.ERROR + MARK.PROGRESS)
  store.zset('fallen')[entry.id], store.zset('ended')[entry.id] = false, false
  local facts = entry.facts
  if facts.workflow then
    store.set('parked:' .. facts.workflow)[entry.id] = false
  end
  if facts.unique_key and endings.holds_key(entry) then
    store.hash('uniques')[endings.key_of(facts)] = entry.id
  end
  if store.has(entry, MARK.HELD) then
    store.zset('held')[entry.id] = store.now + HELD_TTL
  end
  if facts.tolerant then
    store.mark(entry, MARK.TOLERANT)  -- a first run that went the short way has not noted it
  end
end

-- Make failed or cancelled entries PENDING and as good as new, let them wait for what they wait for, and line them up.
function endings.revive(entries)
  store.facts(entries)
  local ids = {}
  for n = 1, #entries do
    ids[n] = entries[n].id
  end
  relink(ids)
  endings.hear_no_more(entries)
  for n = 1, #entries do
    renew(entries[n])
  end
  for n = 1, #entries do
    local parents = endings.parents(entries[n])
    endings.join_parents(entries[n], parents, endings.statuses(parents), true)
    line.up(entries[n])
  end
  endings.write_links()
end

-- Going ---------------------------------------------------------------------------------------------------------------

local function unlink(entries)
  local gone, parents = {}, parents_of(entries)
  if not parents[1] then
    return
  end
  for _, entry in ipairs(entries) do
    gone[entry.id] = true
  end
  store.flush('children')
  for n, links in ipairs(store.read('children', parents)) do
    if links then
      local left = without(links, gone)
      store.hash('children')[parents[n]] = left ~= '' and left
    end
  end
  drop_from_fans(parents, gone)
end

local function free_keys(entries)
  local keys, holders = {}, {}
  for _, entry in ipairs(entries) do
    if entry.facts.unique_key then
      keys[#keys + 1], holders[#holders + 1] = endings.key_of(entry.facts), entry.id
    end
  end
  store.flush('uniques')
  local ids = store.read('uniques', keys)
  for n = 1, #keys do
    if ids[n] == holders[n] then
      store.hash('uniques')[keys[n]] = false
    end
  end
end

-- Forget finished entries wholly.
function endings.forget(entries)
  store.facts(entries)
  unlink(entries)
  free_keys(entries)
  for _, entry in ipairs(entries) do
    if entry.facts.workflow then
      store.set('parked:' .. entry.facts.workflow)[entry.id] = false
      store.zset('flows')[entry.facts.workflow .. entry.id] = false
      if store.has(entry, MARK.HELD) then
        store.command('LREM', 'held:' .. entry.facts.workflow, 1, entry.id)
      end
    end
    if store.has(entry, MARK.KEEPS) then
      store.set('unparked')[entry.id] = true
    end
    store.erase(entry)
  end
end
