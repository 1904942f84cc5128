-- Put failed or cancelled messages back in line, and with them the dependents that they cancelled.
-- include: revival
--
-- ARGV: id, id, …; unknown ones are passed over
-- Answers {'back', whether dependents are left for `revive` (0 or 1), id, id, … (all that came back)}; or, with nothing
-- done, {'standing', id, its status} for one that is not failed or cancelled, {'waiting', id, its status, parent, the
-- parent's status} for one whose parent is and does not come back, {'taken', holder, unique key} for a key in other hands.

local list, back = {}, {}
for _, entry in ipairs(store.load(ARGV)) do
  if entry and not store.fallen(entry) then
    return {'standing', entry.id, entry.status}
  end
  if entry and not back[entry.id] then
    back[entry.id] = true
    list[#list + 1] = entry
  end
end
store.facts(list)
local asked = #list
local rest = revival.gather(list, back, {})
for n = 1, asked do
  local parent, status = revival.fallen_parent(list[n], back)
  if parent then
    return {'waiting', list[n].id, list[n].status, parent, status}
  end
end
local taken = {}
for _, entry in ipairs(list) do
  local rival = revival.rival(entry, taken)
  if rival then
    return {'taken', rival, entry.facts.unique_key}
  end
end

local answer = {'back', rest[1] and 1 or 0}
for n, entry in ipairs(list) do
  answer[n + 2] = entry.id
end
revival.keep(rest)
endings.revive(list)
store.commit()
return answer
