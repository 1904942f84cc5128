-- Forget a schedule.
-- include: timetable
-- flags: allow-oom
--
-- ARGV: name
-- Answers 1, or 0 when there was none.

if redis.call('HDEL', KEYS[1] .. 'schedules', ARGV[1]) == 0 then
  return 0
end
timetable.changed()
return 1
