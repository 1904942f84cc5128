-- What every transaction reads first and writes last.

-- name: load_counters
-- Answers (seq, wakes, schedules).
SELECT seq, wakes, schedules FROM counters WHERE one = 1

-- name: save_counters
-- ?1 seq, ?2 wakes, ?3 schedules.
UPDATE counters SET seq = ?1, wakes = ?2, schedules = ?3 WHERE one = 1
