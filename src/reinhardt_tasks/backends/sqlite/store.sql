-- What every transaction reads first and writes last.

-- name: load_counters
-- Answers (seq, wakes, schedules). The last number given is remembered by the row that got it, or else by the counter.
SELECT max(seq, coalesce((SELECT max(no) FROM messages), 0)), wakes, schedules FROM counters WHERE one = 1

-- name: save_counters
-- ?1 seq, ?2 wakes, ?3 schedules.
UPDATE counters SET seq = ?1, wakes = ?2, schedules = ?3 WHERE one = 1
