-- How messages end, what that does to those that wait for them, how they come back, and how they are forgotten.
-- include: store, line
--
--   endings.finish(entry, status, payload)    as often as need be, then
--   local cancelled = endings.tell()          once (or after each, where the order matters), then store.commit()
--   endings.revive(entries)                   failed or cancelled ones, all that come back together
--   endings.forget(entries)                   finished ones, after `tell`
--
-- `children` holds, by parent, the ids of those that were put to wait for it. A link is there until the parent has
-- succeeded, and only where the child waits for it, or was finished before or by its end (and may come back with it):
-- an unfinished child with `waiting` > 0 is always one that this end concerns. One unit of work tells at most
-- `endings.budget` children. The rest stands in `fans` (number → status | parent | its name | ids of the children), and
-- is told by the next exchanges and sweeps; until then these children wait.

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
  return struct.pack('>Bc16Bc0', fan.status, fan.parent, #fan.name, fan.name) .. table.concat(fan.ids, '', first)
end

local function unpack_fan(text)
  local status, parent, name, at = struct.unpack('>Bc16Bc0', text)
  return {status = status, parent = parent, name = name, ids = store.split(text:sub(at))}
end

-- Tell the children of a fan, as far as the budget goes: how many were cancelled, how many told.
local function tell_fan(fan)
  local told, cancelled = math.min(#fan.ids, endings.budget), 0
  endings.budget = endings.budget - told
  local children = store.load(told < #fan.ids and {unpack(fan.ids, 1, told)} or fan.ids)
  local fell = fan.status ~= STATUS.SUCCESS
  if fell then
    store.facts(children)
  end
  for n = 1, told do
    local child = children[n]
    if child and child.waiting > 0 then
      if fell and not child.facts.tolerant then
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
    store.hash('fans')[store.tick()] = pack_fan(fan, told + 1)
  end
  return cancelled
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
  local cancelled, numbers = 0, redis.call('HKEYS', KEYS[1] .. 'fans')
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
  for n = 1, #numbers do
    if endings.budget <= 0 then
      break
    end
    local fan = unpack_fan(redis.call('HGET', KEYS[1] .. 'fans', numbers[n]))
    local fallen, told = tell_fan(fan)
    cancelled = cancelled + fallen
    store.hash('fans')[numbers[n]] = told < #fan.ids and pack_fan(fan, told + 1) or false
  end
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

local function fans_of(concerns)
  local found = {}
  if redis.call('EXISTS', KEYS[1] .. 'fans') == 1 then
    local all = redis.call('HGETALL', KEYS[1] .. 'fans')
    for n = 1, #all, 2 do
      local fan = unpack_fan(all[n + 1])
      if concerns(fan) then
        found[all[n]] = fan
      end
    end
  end
  return found
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

-- Before parents come back: forget the links of tolerant children, which have heard of the end, except those that have
-- not been told of it yet and never will be.
local function relink(back)
  local ids = {}
  for n = 1, #back do
    ids[n] = back[n].id
  end
  local untold = {}
  for number, fan in pairs(fans_of(function(fan) return back[fan.parent] end)) do
    store.hash('fans')[number] = false
    untold[fan.parent] = untold[fan.parent] or {}
    for _, id in ipairs(fan.ids) do
      untold[fan.parent][id] = true
    end
  end
  store.flush('children')
  local links = store.read('children', ids)
  for n = 1, #ids do
    if links[n] then
      local children, gone, some = store.load(store.split(links[n])), {}, false
      store.facts(children)
      for _, child in ipairs(children) do
        if child and child.facts.tolerant and not (untold[ids[n]] and untold[ids[n]][child.id]) then
          gone[child.id], some = true, true
        end
      end
      if some then
        local left = without(links[n], gone)
        store.hash('children')[ids[n]] = left ~= '' and left
      end
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
end

-- Make failed or cancelled entries PENDING and as good as new, let them wait for what they wait for, and line them up.
function endings.revive(entries)
  store.facts(entries)
  local back = {}
  for n = 1, #entries do
    back[n], back[entries[n].id] = entries[n], true
  end
  relink(back)
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
  local gone, parents, asked = {}, {}, {}
  for _, entry in ipairs(entries) do
    gone[entry.id] = true
    for _, parent in ipairs(endings.parents(entry)) do
      if not asked[parent] then
        asked[parent] = true
        parents[#parents + 1] = parent
      end
    end
  end
  if not parents[1] then
    return
  end
  store.flush('children')
  local links = store.read('children', parents)
  for n = 1, #parents do
    if links[n] then
      local left = without(links[n], gone)
      store.hash('children')[parents[n]] = left ~= '' and left
    end
  end
  for number, fan in pairs(fans_of(function(fan) return asked[fan.parent] end)) do
    fan.ids = store.split(without(table.concat(fan.ids), gone))
    store.hash('fans')[number] = fan.ids[1] and pack_fan(fan, 1) or false
  end
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
    end
    if store.has(entry, MARK.KEEPS) then
      store.set('unparked')[entry.id] = true
    end
    store.erase(entry)
  end
end
