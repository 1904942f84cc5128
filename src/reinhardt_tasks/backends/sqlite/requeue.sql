-- Bringing failed and cancelled messages back.

-- name: standing
-- The message with the id ?1 as (no, id, name, status, flags, worker, seq, run_at, losses, unique_key).
SELECT no, id, name, status, flags, worker, seq, run_at, losses, unique_key FROM messages WHERE id = ?1

-- name: orphans
-- Messages that were cancelled for the sake of the message ?1, with the columns of `standing`.
SELECT m.no, m.id, m.name, m.status, m.flags, m.worker, m.seq, m.run_at, m.losses, m.unique_key
FROM edges e CROSS JOIN messages m ON m.no = e.child
WHERE e.parent = ?1 AND m.flags & {ORPHANED}

-- name: fallen_parents
-- The parents of the message ?1 that stand failed or cancelled, as (no, id, status).
SELECT p.no, p.id, p.status
FROM edges e CROSS JOIN messages p ON p.no = e.parent
WHERE e.child = ?1 AND p.status >= {FAILURE}

-- name: revive
-- The finished message ?1 is PENDING and as good as new, but stands nowhere yet. ?2 now.
UPDATE messages
SET stage = {BLOCKED}, status = {PENDING}, flags = flags & ~({CANCELLING} | {ORPHANED} | {EXPIRED}), seq = 0,
    attempts = 0, losses = 0, unknowns = 0, run_at = NULL, updated_at = ?2, started_at = NULL,
    finished_at = NULL, expires_at = NULL, progress = NULL, error = NULL, result = NULL
WHERE no = ?1

-- name: wait_again
-- The message ?1 waits for those of its parents that have not finished.
UPDATE edges SET open = 1
WHERE child = ?1 AND (SELECT p.stage FROM messages p WHERE p.no = parent) < {ENDED}

-- name: open_edges
-- How many parents the message ?1 waits for.
SELECT count(*) FROM edges WHERE child = ?1 AND open

-- name: line_up
-- ?1 no, ?2 waiting_on, ?3 stage, ?4 seq.
UPDATE messages SET waiting_on = ?2, stage = ?3, seq = ?4 WHERE no = ?1
