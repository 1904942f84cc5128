-- Reading.

-- name: get
-- The record of the id ?1.
SELECT {RECORD} FROM messages m WHERE m.id = ?1

-- name: get_with_body
-- The record of the id ?1, and its envelope.
SELECT {RECORD}, {BODY} FROM messages m WHERE m.id = ?1

-- name: records
-- The records of the messages ?1 (a list), each after its row number.
SELECT m.no, {RECORD} FROM messages m WHERE m.no IN (SELECT value FROM json_each(?1))

-- name: find
-- At most ?1 records, newest id first: with an id below ?2, a status whose bit is set in ?3, in the queue ?4, of the
-- task ?5; each NULL for any. A million rows that do not match take 0.15 s.
SELECT {RECORD} FROM messages m INDEXED BY messages_id
WHERE m.id < coalesce(?2, x'ffffffffffffffffffffffffffffffffff') AND (?3 IS NULL OR ?3 >> m.status & 1)
    AND m.queue = coalesce(?4, m.queue) AND m.name = coalesce(?5, m.name)
ORDER BY m.id DESC
LIMIT ?1

-- name: find_fallen
-- As find, where only failed and cancelled messages are asked for.
SELECT {RECORD} FROM messages m INDEXED BY messages_fallen
WHERE m.status >= {FAILURE}
    AND m.id < coalesce(?2, x'ffffffffffffffffffffffffffffffffff') AND (?3 IS NULL OR ?3 >> m.status & 1)
    AND m.queue = coalesce(?4, m.queue) AND m.name = coalesce(?5, m.name)
ORDER BY m.id DESC
LIMIT ?1

-- name: find_running
-- As find, where only running messages are asked for.
SELECT {RECORD} FROM messages m INDEXED BY messages_claimed
WHERE m.stage = {CLAIMED}
    AND m.id < coalesce(?2, x'ffffffffffffffffffffffffffffffffff') AND (?3 IS NULL OR ?3 >> m.status & 1)
    AND m.queue = coalesce(?4, m.queue) AND m.name = coalesce(?5, m.name)
ORDER BY m.id DESC
LIMIT ?1

-- name: find_retry
-- As find, where only messages that are to be retried are asked for.
SELECT {RECORD} FROM messages m INDEXED BY messages_retry
WHERE m.status = {RETRY}
    AND m.id < coalesce(?2, x'ffffffffffffffffffffffffffffffffff') AND (?3 IS NULL OR ?3 >> m.status & 1)
    AND m.queue = coalesce(?4, m.queue) AND m.name = coalesce(?5, m.name)
ORDER BY m.id DESC
LIMIT ?1

-- name: find_workflow
-- As find, for the messages of the workflow ?6.
SELECT {RECORD} FROM messages m INDEXED BY messages_workflow
WHERE m.workflow = ?6
    AND m.id < coalesce(?2, x'ffffffffffffffffffffffffffffffffff') AND (?3 IS NULL OR ?3 >> m.status & 1)
    AND m.queue = coalesce(?4, m.queue) AND m.name = coalesce(?5, m.name)
ORDER BY m.id DESC
LIMIT ?1

-- name: count_ready
-- Messages that could start now, as (queue, number).
SELECT queue, count(*) FROM messages INDEXED BY messages_ready WHERE stage = {READY} GROUP BY queue
UNION ALL
SELECT queue, count(*) FROM messages INDEXED BY messages_suspect WHERE stage = {SUSPECT} GROUP BY queue

-- name: count_waiting
-- Messages that are due later, or wait for others, as (queue, number).
SELECT queue, count(*) FROM messages INDEXED BY messages_later WHERE stage = {LATER} GROUP BY queue
UNION ALL
SELECT queue, count(*) FROM messages INDEXED BY messages_blocked WHERE stage = {BLOCKED} GROUP BY queue

-- name: count_retry
-- Those of both that are to be retried, as (queue, number).
SELECT queue, count(*) FROM messages INDEXED BY messages_retry WHERE status = {RETRY} GROUP BY queue

-- name: count_claimed
-- Running messages, as (queue, number).
SELECT queue, count(*) FROM messages INDEXED BY messages_claimed WHERE stage = {CLAIMED} GROUP BY queue

-- name: count_ended
-- Finished messages, as (queue, status, number).
SELECT queue, status, count(*) FROM messages INDEXED BY messages_ended WHERE stage = {ENDED} GROUP BY queue, status

-- name: paused
-- The queues from which nothing is given out.
SELECT queue FROM paused

-- name: workers
-- Every worker as (beat, beat_at, whether suspected, number of claims), ordered by name.
SELECT w.beat, w.beat_at, w.suspected_at IS NOT NULL, (
    SELECT count(*) FROM messages INDEXED BY messages_claimed WHERE stage = {CLAIMED} AND worker = w.worker)
FROM workers w
ORDER BY w.worker

-- name: schedules
-- Every schedule as (name, spec, last_due, paused, version), ordered by name.
SELECT name, spec, last_due, paused, version FROM schedules ORDER BY name
