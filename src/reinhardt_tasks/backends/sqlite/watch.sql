-- What those who wait look at. Each is a step or two into an index.

-- name: counters
-- Answers (a number that rises when something may have become claimable or an order was given, schedules).
SELECT wakes + max(seq, coalesce((SELECT max(no) FROM messages), 0)), schedules FROM counters WHERE one = 1

-- name: orders
-- The counter of orders of the worker ?1.
SELECT orders FROM workers WHERE worker = ?1

-- name: ready_in
-- Whether the queue ?1 has a message that could be given out now.
SELECT 1
WHERE NOT EXISTS (SELECT 1 FROM paused WHERE queue = ?1) AND (
    EXISTS (SELECT 1 FROM messages INDEXED BY messages_ready WHERE stage = {READY} AND queue = ?1)
    OR EXISTS (SELECT 1 FROM messages INDEXED BY messages_suspect WHERE stage = {SUSPECT} AND queue = ?1))

-- name: ready_queues
-- The queues with messages that could be given out now, each found by one step into an index.
WITH RECURSIVE line (queue) AS (
    SELECT (SELECT queue FROM messages INDEXED BY messages_ready WHERE stage = {READY} ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM messages INDEXED BY messages_ready
            WHERE stage = {READY} AND queue > line.queue ORDER BY queue LIMIT 1)
    FROM line WHERE line.queue IS NOT NULL)
SELECT queue FROM line WHERE queue IS NOT NULL AND queue NOT IN (SELECT queue FROM paused)
UNION ALL
SELECT queue FROM messages INDEXED BY messages_suspect
WHERE stage = {SUSPECT} AND queue NOT IN (SELECT queue FROM paused)
LIMIT 1

-- name: next_moment
-- When the next message falls due, or a suspect has waited for ?2 seconds; not before ?1. NULL: never.
SELECT min(moment) FROM (
    SELECT (SELECT run_at FROM messages INDEXED BY messages_later WHERE stage = {LATER} ORDER BY run_at LIMIT 1) AS moment
    UNION ALL
    SELECT min(updated_at + ?2) FROM messages INDEXED BY messages_suspect
    WHERE stage = {SUSPECT} AND updated_at + ?2 > ?1)

-- name: number_of
-- The message with the id ?1, as (no).
SELECT no FROM messages WHERE id = ?1

-- name: over
-- Which of the messages ?1 (a list) have finished or are gone.
SELECT j.value FROM json_each(?1) j LEFT JOIN messages m ON m.no = j.value WHERE m.no IS NULL OR m.stage = {ENDED}
