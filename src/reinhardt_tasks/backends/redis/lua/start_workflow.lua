-- Release every held message of a workflow.
-- include: openings
-- flags: allow-oom
--
-- ARGV: workflow
-- Answers 1, or 0 when none was held.

store.despite_full()
local any = openings.start(ARGV[1])
store.commit()
return any and 1 or 0
