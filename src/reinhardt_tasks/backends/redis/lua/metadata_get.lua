-- The records of some ids, as far as an answer of bounded size has room for them, and of one id at least.
-- include: metadata
--
-- ARGV: ids
-- Answers {row or nil, …}; rows as in metadata.lua.

local ROOM = 2 ^ 21
local rows, size = {}, 0
for n, entry in ipairs(metadata.load(ARGV)) do
  if size > ROOM then
    break
  end
  local data = entry.there and metadata.data(entry)
  size = size + (data and #data or 0)
  rows[n] = data and metadata.row(entry, data)
end
return rows
