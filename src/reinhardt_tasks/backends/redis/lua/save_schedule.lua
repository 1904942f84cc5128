-- Store or replace a schedule.
-- include: timetable
--
-- ARGV: name, spec, whether it is paused (0 or 1), last due ('' keeps the stored one)
-- Answers {version, last due ('': never)}.

local name, spec, paused, due = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local old = timetable.find(name)
due = due or old and old[4]
local version = timetable.changed()
timetable.keep(name, {spec, paused, version, due})
return {version, due and string.format('%.17g', due) or ''}
