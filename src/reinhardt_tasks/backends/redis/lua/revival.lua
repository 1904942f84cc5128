-- Bringing failed and cancelled messages back, with the dependents that were cancelled for their sake.
-- include: reading, endings
-- lazily
--
-- One unit of work looks at no more than `revival.budget` dependents. The ids of the rest stand in `revivals` (number →
-- ids), and come back with the next calls of `revival.go_on`, which sweeps make too.

local revival = {budget = 250}

-- The id and the status of a parent for whose sake an entry (with facts) cannot run, unless that comes back too. With
-- `for_good` only one that no requeue of another message brings back.
function revival.fallen_parent(entry, back, for_good)
  if entry.facts.tolerant then
    return nil
  end
  local parents = endings.parents(entry)
  local statuses = endings.statuses(parents)
  for n = 1, #parents do
    local fallen = statuses[n] and statuses[n] > STATUS.SUCCESS and not back[parents[n]]
    if fallen and not (for_good and store.has(store.load({parents[n]})[1], MARK.ORPHANED)) then
      return parents[n], statuses[n]
    end
  end
  return nil
end

-- The id of another message that keeps an entry (with facts) from its unique key; `taken` are the keys of those that
-- come back before it, and gets its own.
function revival.rival(entry, taken)
  if not entry.facts.unique_key then
    return nil
  end
  local key = endings.key_of(entry.facts)
  local id = redis.call('HGET', KEYS[1] .. 'uniques', key)
  local holder = id and id ~= entry.id and store.load({id})[1]
  if holder then
    store.facts({holder})
    if endings.holds_key(holder) then
      return id
    end
  end
  local other = taken[key]
  taken[key] = entry.id
  return other
end

-- Those of `ids` that were cancelled for a parent's sake, with their facts, as far as the budget goes; the ids beyond
-- that are added to `rest`.
local function orphans_among(ids, rest)
  local part = revival.budget > 0 and ids[1] and reading.afford(ids, 1, revival.budget) or {}
  revival.budget = revival.budget - #part
  for n = #part + 1, #ids do
    rest[#rest + 1] = ids[n]
  end
  local orphans = {}
  for _, entry in ipairs(store.load(part)) do
    if entry and store.has(entry, MARK.ORPHANED) and store.fallen(entry) then
      orphans[#orphans + 1] = entry
    end
  end
  store.facts(orphans)
  return orphans
end

-- The ids of those that were put to wait for what is in `list` from number `first` on.
local function children_of(list, first)
  local parents, links = {}, {}
  for n = first, #list do
    parents[#parents + 1] = list[n].id
  end
  for n, link in ipairs(store.read('children', parents)) do
    links[n] = link or ''
  end
  return store.split(table.concat(links))
end

-- Add to `list`, and by id to `back`, those of `ids` that may come back, and in turn what was cancelled for the sake of
-- anything in the list. With `taken`, those stay behind that cannot have their unique key. Answers the ids that are left
-- for another unit of work.
function revival.gather(list, back, ids, taken)
  local rest, first = {}, 1
  while ids[1] or first <= #list do
    for _, orphan in ipairs(orphans_among(ids, rest)) do
      local stays = back[orphan.id] or revival.fallen_parent(orphan, back) or taken and revival.rival(orphan, taken)
      if not stays then
        back[orphan.id] = true
        list[#list + 1] = orphan
      end
    end
    ids = children_of(list, first)
    first = #list + 1
  end
  return rest
end

-- Keep the ids that `gather` left, each once, under `number` or a new one.
function revival.keep(rest, number)
  if rest[1] then
    local kept, seen = {}, {}
    for _, id in ipairs(rest) do
      if not seen[id] then
        seen[id] = true
        kept[#kept + 1] = id
      end
    end
    store.hash('revivals')[number or store.tick()] = table.concat(kept)
  elseif number then
    store.hash('revivals')[number] = false
  end
end

-- Go on with what earlier units of work have left; answers the ids of those that came back, nil when nothing was left.
function revival.go_on()
  local numbers = redis.call('HKEYS', KEYS[1] .. 'revivals')
  if not numbers[1] then
    return nil
  end
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
  local list, ids = {}, store.split(redis.call('HGET', KEYS[1] .. 'revivals', numbers[1]))
  revival.keep(revival.gather(list, {}, ids, {}), numbers[1])
  endings.revive(list)
  for n, entry in ipairs(list) do
    list[n] = entry.id
  end
  return list
end
