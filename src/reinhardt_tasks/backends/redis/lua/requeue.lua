-- Put failed or cancelled messages back in line, and with them the dependents that they cancelled.
-- include: revival
--
-- ARGV: id, id, …, each once; unknown ones are passed over
-- Answers {'back', whether dependents are left for `revive` (0 or 1), id, id, … (all that came back)}; or, with nothing
-- done, {'standing', id, its status} for one that is not failed or cancelled, {'waiting', id, its status, parent, the
-- parent's status} for one whose parent is and does not come back, {'taken', holder, unique key} for a key in other
-- hands. One whose parent may be among what is left stays behind, and is to be asked for again.

local BUDGET = revival.budget
local asked, list, back, rest = {}, nil, nil, nil

for _, entry in ipairs(store.load(ARGV)) do
  if entry and not store.fallen(entry) then
    return {'standing', entry.id, entry.status}
  end
  asked[#asked + 1] = entry or nil
end
store.facts(asked)

-- What comes back with those asked for. Answers which of them can, why the first of the others cannot, and whether that
-- may change with what is left.
local function gather()
  local able, refusal, perhaps = {}, nil, true
  list, back, revival.budget = {}, {}, BUDGET
  for n, entry in ipairs(asked) do
    list[n], back[entry.id] = entry, true
  end
  rest = revival.gather(list, back, {})
  for _, entry in ipairs(asked) do
    local parent, status = revival.fallen_parent(entry, back)
    if not parent then
      able[#able + 1] = entry
    elseif perhaps then
      perhaps = rest[1] and not revival.fallen_parent(entry, back, true)
      refusal = (not refusal or not perhaps) and {'waiting', entry.id, entry.status, parent, status} or refusal
    end
  end
  return able, refusal, perhaps
end

local able, refusal, perhaps = gather()
while refusal do
  if not perhaps or not able[1] then
    return refusal
  end
  asked = able
  able, refusal, perhaps = gather()
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
