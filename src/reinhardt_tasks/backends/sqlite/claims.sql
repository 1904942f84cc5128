-- Giving messages to workers.

-- name: due
-- Messages that are due at ?1, as (no, losses, seq), the earliest first.
SELECT no, losses, seq
FROM messages INDEXED BY messages_later
WHERE stage = {LATER} AND run_at <= ?1
ORDER BY run_at, no
LIMIT {MAX_BATCH}

-- name: promote
-- ?1 no, ?2 stage, ?3 seq, ?4 now where the message is a suspect, else NULL.
UPDATE messages SET stage = ?2, seq = ?3, updated_at = coalesce(?4, updated_at) WHERE no = ?1

-- name: paused
-- The queues from which nothing is given out.
SELECT queue FROM paused

-- name: next_ready_queue
-- The first queue after ?1 that has ready messages, by one step into the index.
SELECT queue FROM messages INDEXED BY messages_ready WHERE stage = {READY} AND queue > ?1 ORDER BY queue LIMIT 1

-- name: line
-- The messages of the queue ?1 in the order of its line; to be read as far as they are wanted.
-- Answers (priority, seq, no, id, number of the claim, body, attempts, losses, unknowns, run_at).
SELECT m.priority, m.seq, m.no, m.id, m.claims + 1, {BODY}, m.attempts, m.losses, m.unknowns, m.run_at
FROM messages m INDEXED BY messages_ready
WHERE m.stage = {READY} AND m.queue = ?1
ORDER BY m.priority DESC, m.seq

-- name: any_suspect
-- Whether there is a suspect.
SELECT 1 FROM messages INDEXED BY messages_suspect WHERE stage = {SUSPECT} LIMIT 1

-- name: suspects
-- Suspects as (queue, priority, seq, no, when it became ready), in the order of the line.
SELECT queue, priority, seq, no, updated_at
FROM messages INDEXED BY messages_suspect
WHERE stage = {SUSPECT}
ORDER BY priority DESC, seq
LIMIT {MAX_BATCH}

-- name: one
-- The message ?1 with the columns of line.
SELECT m.priority, m.seq, m.no, m.id, m.claims + 1, {BODY}, m.attempts, m.losses, m.unknowns, m.run_at
FROM messages m
WHERE m.no = ?1

-- name: held
-- What the worker ?1 holds, with the columns of line (the number is that of the claim it holds).
SELECT m.priority, m.seq, m.no, m.id, m.claims, {BODY}, m.attempts, m.losses, m.unknowns, m.run_at
FROM messages m INDEXED BY messages_claimed
WHERE m.stage = {CLAIMED} AND m.worker = ?1
ORDER BY m.started_at, m.priority DESC, m.seq

-- name: claim
-- The worker ?1 is given the messages ?3 (a list) at ?2.
UPDATE messages
SET stage = {CLAIMED}, status = {RUNNING}, worker = ?1, claims = claims + 1, started_at = ?2, updated_at = ?2,
    progress = NULL
WHERE no IN (SELECT value FROM json_each(?3))

-- name: holds_any
-- Whether the worker ?1 holds anything.
SELECT 1 FROM messages INDEXED BY messages_claimed WHERE stage = {CLAIMED} AND worker = ?1 LIMIT 1

-- name: holds
-- Whether the worker ?1 holds the message ?2.
SELECT 1 FROM messages WHERE no = ?2 AND stage = {CLAIMED} AND worker = ?1

-- name: emptier
-- The worker that is given nothing more until it can take the suspect ?1.
SELECT worker FROM workers WHERE empties = ?1

-- name: empty
-- ?1 worker, ?2 suspect.
UPDATE workers SET empties = ?2 WHERE worker = ?1

-- name: emptied
-- The suspect ?1 is given out: nobody is emptied for it any more.
UPDATE workers SET empties = NULL WHERE empties = ?1

-- name: run_alone
-- The worker ?1 is given the suspect ?2.
UPDATE workers SET alone = ?2 WHERE worker = ?1
