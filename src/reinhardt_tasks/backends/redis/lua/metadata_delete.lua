-- Forget records.
-- include: metadata
-- flags: allow-oom
--
-- ARGV: ids
-- Answers for each whether there was one: 1 or 0.

local answer = {}
for n, entry in ipairs(metadata.load(ARGV)) do
  answer[n] = entry.there and 1 or 0
  if entry.there then
    metadata.drop(entry)
  end
end
metadata.commit(true)
return answer
