-- Forget finished messages wholly.
-- include: reading, endings
-- flags: allow-oom
--
-- ARGV: id, id, …, each once
-- Answers {how many were forgotten, of how many that were looked at}; unfinished and unknown ones are left alone.

local ids, doomed = reading.afford(ARGV, 1, 500), {}
for _, entry in ipairs(store.load(ids)) do
  if entry and store.finished(entry) then
    doomed[#doomed + 1] = entry
  end
end
store.despite_full()
endings.forget(doomed)
store.commit()
return {#doomed, #ids}
