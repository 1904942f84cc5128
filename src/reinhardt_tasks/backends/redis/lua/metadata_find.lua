-- Some of the records that match, newest id first.
-- include: metadata, order
--
-- ARGV: below which id ('': from the newest on), how many, the statuses as bits, '=' with a name ('': any)
-- Answers {the id to go on below (nil: that was all), row, …}; rows as in metadata.lua.

local below, limit, bits = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local name = ARGV[4] ~= '' and ARGV[4]:sub(2) or nil
local ROOM = 2 ^ 21   -- bytes of data after which a call has done enough
local LOOKS = 3000    -- records it looks at
local BLOCK = 200     -- ids that are fetched at once

-- The ids of one status, falling; `head` is the next of them.
local function line(status)
  local key = KEYS[1] .. 'metadata:status:' .. status
  local ids, at, from = {}, 0, below == '' and '+' or '(' .. below
  local self = {}
  function self.step()
    at = at + 1
    if at > #ids then
      ids, at = redis.call('ZREVRANGEBYLEX', key, from, '-', 'LIMIT', 0, BLOCK), 1
      from = ids[1] and '(' .. ids[#ids] or from
    end
    self.head = ids[at]
  end
  self.step()
  return self
end

local lines = {}
for status = 0, 5 do
  if bit.band(bits, 2 ^ status) > 0 then
    lines[#lines + 1] = line(status)
  end
end

-- The newest ids of all lines together, at most `count`.
local function take(count)
  local ids = {}
  while #ids < count do
    local first
    for _, each in ipairs(lines) do
      if each.head and (not first or order.newer(each.head, first.head)) then
        first = each
      end
    end
    if not first then
      break
    end
    ids[#ids + 1] = first.head
    first.step()
  end
  return ids
end

local answer, size, looked = {false}, 0, 0
while true do
  local ids = take(math.min(BLOCK, limit))
  for _, entry in ipairs(metadata.load(ids)) do
    looked = looked + 1
    if entry.there and (not name or entry.name == name) then
      local data = metadata.data(entry)
      size = size + #data
      answer[#answer + 1] = metadata.row(entry, data)
    end
    if #answer > limit or size > ROOM then
      answer[1] = entry.id
      return answer
    end
  end
  if not ids[1] then
    return answer
  elseif looked >= LOOKS then
    answer[1] = ids[#ids]
    return answer
  end
end
