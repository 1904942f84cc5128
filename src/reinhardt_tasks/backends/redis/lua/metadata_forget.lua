-- Forget some of the records that are over.
-- include: metadata
-- flags: allow-oom
--
-- Answers how many.

local count = metadata.forget()
metadata.commit(true)
return count
