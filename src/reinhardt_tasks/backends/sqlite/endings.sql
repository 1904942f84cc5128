-- How messages finish, and what that means to those that wait for them.

-- name: succeed
-- ?1 no, ?2 the claim settled or NULL, ?3 result, ?4 now.
UPDATE messages
SET stage = {ENDED}, status = {SUCCESS}, flags = flags & ~{CANCELLING}, settled = coalesce(?2, settled), result = ?3,
    error = NULL, finished_at = ?4, updated_at = ?4, expires_at = ?4 + result_ttl
WHERE no = ?1

-- name: fall
-- ?1 no, ?2 status, ?3 the claim settled or NULL, ?4 attempts to add, ?5 error or NULL for the one before, ?6 now,
-- ?7 flags to add.
UPDATE messages
SET stage = {ENDED}, status = ?2, flags = (flags & ~{CANCELLING}) | ?7, settled = coalesce(?3, settled),
    attempts = attempts + ?4, error = coalesce(?5, error), waiting_on = 0, finished_at = ?6, updated_at = ?6,
    expires_at = ?6 + max(result_ttl, {DEAD_LETTER_TTL})
WHERE no = ?1

-- name: close_edges_of_children
-- The messages ?1 (a list) wait for nobody any more.
UPDATE edges SET open = 0 WHERE child IN (SELECT value FROM json_each(?1))

-- name: release_kept
-- What was kept for the workflows that end with one of the messages ?1 (a list) expires by its own age again.
UPDATE messages
SET expires_at = finished_at
    + CASE status WHEN {SUCCESS} THEN result_ttl ELSE max(result_ttl, {DEAD_LETTER_TTL}) END
WHERE stage = {ENDED} AND expires_at IS NULL AND workflow IN (
    SELECT id FROM messages WHERE no IN (SELECT value FROM json_each(?1)) AND flags & {KEEPER})

-- name: waiting_children
-- Who waits for the messages ?1 (a list), with ?2 only the tolerant, in the order of put.
-- Answers (no, how many of them it waits for, flags, waiting_on, run_at, seq).
SELECT m.no, count(*), m.flags, m.waiting_on, m.run_at, m.seq
FROM json_each(?1) j CROSS JOIN edges e ON e.parent = j.value CROSS JOIN messages m ON m.no = e.child
WHERE e.open AND (m.flags & {TOLERANT} OR NOT ?2)
GROUP BY m.no
ORDER BY m.no

-- name: close_edges
-- The children ?2 (a list) wait for the parents ?1 (a list) no more.
UPDATE edges SET open = 0
WHERE parent IN (SELECT value FROM json_each(?1)) AND child IN (SELECT value FROM json_each(?2))

-- name: count_down
-- ?1 no, ?2 waiting_on, ?3 stage, ?4 seq.
UPDATE messages SET waiting_on = ?2, stage = ?3, seq = ?4 WHERE no = ?1

-- name: parents
-- The messages ?1 (a list) as (no, id, name, status).
SELECT no, id, name, status FROM messages WHERE no IN (SELECT value FROM json_each(?1))

-- name: dependents
-- At most ?2 of those that wait for the success of the message ?1, as (no, id, name, flags).
SELECT m.no, m.id, m.name, m.flags
FROM edges e CROSS JOIN messages m ON m.no = e.child
WHERE e.parent = ?1 AND e.open AND NOT m.flags & {TOLERANT}
LIMIT ?2

-- name: note_fallen
-- Some dependents of the message (?1 no, ?2 id, ?3 name, ?4 status) are still to be cancelled.
INSERT INTO fallen (no, id, name, status) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (no) DO NOTHING

-- name: some_fallen
-- At most ?1 messages with dependents still to be cancelled.
SELECT no, id, name, status FROM fallen LIMIT ?1

-- name: forget_fallen
-- The dependents of the messages ?1 (a list) are dealt with, or wait again.
DELETE FROM fallen WHERE no IN (SELECT value FROM json_each(?1))

-- name: forget_edges
-- The edges of the messages ?1 (a list) that are gone, unless their dependents are still to be cancelled.
DELETE FROM edges
WHERE parent IN (SELECT value FROM json_each(?1))
    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.no = parent)
    AND NOT EXISTS (SELECT 1 FROM fallen f WHERE f.no = parent)
