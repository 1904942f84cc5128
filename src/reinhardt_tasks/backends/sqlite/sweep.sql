-- Results and records whose time is over.

-- name: ended_queues
-- The queues with finished messages, each found by one step into the index.
WITH RECURSIVE line (queue) AS (
    SELECT (SELECT queue FROM messages INDEXED BY messages_ended WHERE stage = {ENDED} ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM messages INDEXED BY messages_ended
            WHERE stage = {ENDED} AND queue > line.queue ORDER BY queue LIMIT 1)
    FROM line WHERE line.queue IS NOT NULL)
SELECT queue FROM line WHERE queue IS NOT NULL

-- name: over
-- Finished messages of the queue ?1 and the status ?2 to be looked at at ?3, as (no, flags, when the record
-- may be forgotten, the number of the unfinished message that ends its workflow).
SELECT m.no, m.flags,
    max(m.finished_at + max(m.result_ttl, iif(m.status = {SUCCESS}, {TOMBSTONE_TTL}, {DEAD_LETTER_TTL})),
        coalesce((SELECT u.until FROM uniques u WHERE u.name = m.name AND u.key = m.unique_key AND u.no = m.no), 0)),
    (SELECT e.no FROM messages e WHERE e.id = m.workflow AND e.stage < {ENDED})
FROM messages m INDEXED BY messages_ended
WHERE m.stage = {ENDED} AND m.queue = ?1 AND m.status = ?2 AND m.expires_at <= ?3
LIMIT {MAX_BATCH}

-- name: drop_result
-- The result of the message ?1 is over; its record is until ?2.
UPDATE messages SET result = NULL, body = NULL, flags = flags | {EXPIRED}, expires_at = ?2 WHERE no = ?1

-- name: drop_bodies
-- The long envelopes of the messages ?1 (a list), which will never run again.
DELETE FROM bodies WHERE no IN (SELECT value FROM json_each(?1))

-- name: look_again
-- The record of the message ?1 is over at ?2.
UPDATE messages SET expires_at = ?2 WHERE no = ?1

-- name: keep
-- The message ?1 is kept until the message ?2 has finished.
UPDATE messages SET expires_at = NULL WHERE no = ?1

-- name: mark_keeper
-- Messages of its workflow are kept until the message ?1 has finished.
UPDATE messages SET flags = flags | {KEEPER} WHERE no = ?1
