-- Keep new records; one whose id is known is left as it is.
-- include: metadata
--
-- ARGV: seconds that a finished one is kept, then for each: id, name, status, data
-- Answers for each whether it was stored: 1 or 0.

local ids, answer = {}, {}
for n = 2, #ARGV, 4 do
  ids[#ids + 1] = ARGV[n]
end
metadata.forget()
for n, entry in ipairs(metadata.load(ids)) do
  local at = 4 * n - 2
  if entry.there then
    answer[n] = 0
  else
    entry.there, entry.gone, entry.name, entry.version = true, nil, ARGV[at + 1], 1
    entry.created, entry.updated = metadata.now, metadata.now
    metadata.become(entry, tonumber(ARGV[at + 2]), tonumber(ARGV[1]))
    metadata.touch(entry, ARGV[at + 3])
    answer[n] = 1
  end
end
metadata.commit()
return answer
