-- Workers: leases and orders.

-- name: member
-- The worker ?1 as (worker, draining, cancels, orders, alone).
SELECT worker, draining, cancels, orders, alone FROM workers WHERE worker = ?1

-- name: enlist
-- ?1 worker, ?2 beat, ?3 lease, ?4 now.
INSERT INTO workers (worker, beat, lease, beat_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (worker) DO UPDATE
SET beat = excluded.beat, lease = excluded.lease, beat_at = excluded.beat_at, suspected_at = NULL

-- name: dismiss
-- Take the worker ?1 off the list.
DELETE FROM workers WHERE worker = ?1

-- name: note_progress
-- ?1 no, ?2 id, ?3 worker, ?4 the claim's number, ?5 progress, ?6 now.
UPDATE messages SET progress = ?5, updated_at = ?6
WHERE no = ?1 AND id = ?2 AND stage = {CLAIMED} AND worker = ?3 AND claims = ?4

-- name: note_progress_by_id
-- As note_progress, where the row number is not known.
UPDATE messages SET progress = ?5, updated_at = ?6
WHERE id = ?2 AND stage = {CLAIMED} AND worker = ?3 AND claims = ?4 AND ?1 = 0

-- name: cancelling
-- The ids that the worker ?1 holds and is to cancel.
SELECT id FROM messages INDEXED BY messages_claimed
WHERE stage = {CLAIMED} AND worker = ?1 AND flags & {CANCELLING}

-- name: cancelled_all
-- The worker ?1 holds nothing that is to be cancelled.
UPDATE workers SET cancels = 0 WHERE worker = ?1

-- name: order_cancel
-- The worker ?1 has something to cancel.
UPDATE workers SET cancels = 1, orders = orders + 1 WHERE worker = ?1

-- name: order_drain
-- The worker ?1 is to finish what it holds and stop.
UPDATE workers SET draining = 1, orders = orders + 1 WHERE worker = ?1

-- name: holdings
-- What the worker ?1 holds, as (no, flags, losses, max_losses, seq, run_at).
SELECT no, flags, losses, max_losses, seq, run_at
FROM messages INDEXED BY messages_claimed
WHERE stage = {CLAIMED} AND worker = ?1
ORDER BY no

-- name: give_back
-- A claim ends without an outcome. ?1 no, ?2 stage, ?3 seq, ?4 losses to add, ?5 now.
UPDATE messages SET stage = ?2, status = {PENDING}, seq = ?3, losses = losses + ?4, updated_at = ?5 WHERE no = ?1

-- name: count_loss
-- One more worker died under the message ?1.
UPDATE messages SET losses = losses + 1 WHERE no = ?1

-- name: all_workers
-- Every worker as (worker, lease, beat_at, suspected_at).
SELECT worker, lease, beat_at, suspected_at FROM workers

-- name: correct_clock
-- The worker ?1 was last heard or suspected at a time that has not come yet: the clock was set back. ?2 now.
UPDATE workers SET beat_at = min(beat_at, ?2), suspected_at = min(suspected_at, ?2) WHERE worker = ?1

-- name: suspect
-- The worker ?1 is suspected since ?2.
UPDATE workers SET suspected_at = ?2 WHERE worker = ?1
