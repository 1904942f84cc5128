-- What operators do.

-- name: order_cancel
-- The running message ?1 is to be cancelled, for the reason ?2 (NULL: none given).
UPDATE messages SET flags = flags | {CANCELLING}, error = coalesce(?2, error) WHERE no = ?1

-- name: move_back
-- A running message runs again by an operator's hand. ?1 no, ?2 stage, ?3 status, ?4 seq, ?5 error or NULL, ?6 now.
UPDATE messages
SET stage = ?2, status = ?3, seq = ?4, error = coalesce(?5, error), updated_at = ?6, flags = flags & ~{CANCELLING}
WHERE no = ?1

-- name: held_of
-- The messages of the workflow ?1 that are held, as (no, stage, waiting_on, run_at, seq), in the order of put.
SELECT no, stage, waiting_on, run_at, seq FROM messages INDEXED BY messages_workflow
WHERE workflow = ?1 AND flags & {HELD}
ORDER BY no

-- name: unhold
-- A message is held no more. ?1 no, ?2 stage, ?3 seq.
UPDATE messages SET flags = flags & ~{HELD}, stage = ?2, seq = ?3 WHERE no = ?1

-- name: held_too_long
-- At most ?2 messages that are held since ?1 or longer, as (no, flags).
SELECT no, flags FROM messages INDEXED BY messages_held
WHERE stage = {BLOCKED} AND flags & {HELD} AND updated_at <= ?1
LIMIT ?2

-- name: pause
-- Nothing more is given out from the queue ?1.
INSERT INTO paused (queue) VALUES (?1) ON CONFLICT (queue) DO NOTHING

-- name: resume
-- Messages of the queue ?1 are given out again.
DELETE FROM paused WHERE queue = ?1

-- name: of_queue
-- At most ?3 messages of the queue ?1, none that runs, in one of the statuses whose bits are set in ?2, as (no, flags,
-- stage).
SELECT no, flags, stage FROM (
    SELECT no, flags, stage, status FROM messages INDEXED BY messages_ready WHERE stage = {READY} AND queue = ?1
    UNION ALL
    SELECT no, flags, stage, status FROM messages INDEXED BY messages_suspect WHERE stage = {SUSPECT} AND queue = ?1
    UNION ALL
    SELECT no, flags, stage, status FROM messages INDEXED BY messages_later WHERE stage = {LATER} AND queue = ?1
    UNION ALL
    SELECT no, flags, stage, status FROM messages INDEXED BY messages_blocked WHERE stage = {BLOCKED} AND queue = ?1
    UNION ALL
    SELECT no, flags, stage, status FROM messages INDEXED BY messages_ended
    WHERE stage = {ENDED} AND queue = ?1 AND ?2 >> {SUCCESS})
WHERE ?2 >> status & 1
LIMIT ?3

-- name: ended
-- The row number of the message with the id ?1, if it has finished.
SELECT no FROM messages WHERE id = ?1 AND stage = {ENDED}
