-- The record of a finished task; of one that is not, its end is told to the caller.
-- include: metadata
-- flags: allow-oom
--
-- ARGV: id, the caller's channel, for how many seconds it will listen
-- Answers the row (see metadata.lua), 0 where the task is not finished, nil where there is no record.

local entry = metadata.load({ARGV[1]})[1]
if not entry.there then
  return nil
elseif metadata.finished(entry.status) then
  return metadata.row(entry, metadata.data(entry))
end
awaiting.listen('metadata', ARGV[1], ARGV[2], tonumber(ARGV[3]))
return 0
