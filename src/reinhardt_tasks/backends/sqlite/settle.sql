-- How claims end.

-- name: succeed_alike
-- Claims of the worker ?1, each the ?2-th of its message, end with the one result ?3 at ?4. ?5 a list of row numbers.
UPDATE messages
SET stage = {ENDED}, status = {SUCCESS}, flags = flags & ~{CANCELLING}, settled = claims, result = ?3, error = NULL,
    finished_at = ?4, updated_at = ?4, expires_at = ?4 + result_ttl
WHERE no IN (SELECT value FROM json_each(?5)) AND stage = {CLAIMED} AND worker = ?1 AND claims = ?2

-- name: succeed_one
-- As succeed_alike, for the one message ?5.
UPDATE messages
SET stage = {ENDED}, status = {SUCCESS}, flags = flags & ~{CANCELLING}, settled = claims, result = ?3, error = NULL,
    finished_at = ?4, updated_at = ?4, expires_at = ?4 + result_ttl
WHERE no = ?5 AND stage = {CLAIMED} AND worker = ?1 AND claims = ?2

-- name: any_workflow
-- Whether there is any message that others may wait for or be kept for.
SELECT 1 WHERE EXISTS (SELECT 1 FROM edges)
    OR EXISTS (SELECT 1 FROM messages INDEXED BY messages_workflow WHERE workflow IS NOT NULL)

-- name: told
-- Those of the messages ?1 (a list) that others wait for or are kept for.
SELECT no FROM messages WHERE no IN (SELECT value FROM json_each(?1)) AND flags & ({PARENT} | {KEEPER})

-- name: offered
-- Where the messages of outcomes stand. ?1 a list of row numbers.
-- Answers (no, id, stage, claims, worker, settled, who settled that, flags, losses, seq, run_at).
SELECT m.no, m.id, m.stage, m.claims, m.worker, m.settled, iif(m.claims > m.settled, m.settler, m.worker), m.flags,
    m.losses, m.seq, m.run_at
FROM json_each(?1) j CROSS JOIN messages m ON m.no = j.value

-- name: number_of
-- The row number of the id ?1.
SELECT id, no FROM messages WHERE id = ?1

-- name: run_again
-- A claim ends and its message is to run again.
-- ?1 no, ?2 stage, ?3 status, ?4 attempts to add, ?5 unknowns to add, ?6 run_at, ?7 seq, ?8 error or NULL for the one
-- before, ?9 now.
UPDATE messages
SET stage = ?2, status = ?3, settled = claims, settler = worker, attempts = attempts + ?4, unknowns = unknowns + ?5, run_at = ?6,
    seq = ?7, error = coalesce(?8, error), updated_at = ?9
WHERE no = ?1
