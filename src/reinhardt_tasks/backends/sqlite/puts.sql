-- Storing messages.

-- name: insert_message
-- A new message, unless its id is known.
-- ?1 no, ?2 id, ?3 name, ?4 queue, ?5 priority, ?6 stage, ?7 flags, ?8 seq, ?9 max_losses, ?10 run_at, ?11 now,
-- ?12 result_ttl, ?13 workflow, ?14 unique_key, ?15 waiting_on, ?16 body where it is short.
INSERT INTO messages (no, id, name, queue, priority, stage, status, flags, seq, max_losses, run_at, created_at,
                      updated_at, result_ttl, workflow, unique_key, waiting_on, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, {PENDING}, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT (id) DO NOTHING

-- name: insert_body
-- ?1 no, ?2 body, a long one.
INSERT INTO bodies (no, body) VALUES (?1, ?2)

-- name: stored_between
-- Which row numbers from ?1 to ?2 exist.
SELECT no FROM messages WHERE no BETWEEN ?1 AND ?2

-- name: known_id
-- Whether a message with the id ?1 is stored: its (no, id, name, status).
SELECT no, id, name, status FROM messages WHERE id = ?1

-- name: key_holder
-- Who keeps others from the task name ?1 and the unique key ?2 at the time ?3: its (id, no).
SELECT m.id, m.no
FROM uniques u CROSS JOIN messages m ON m.no = u.no
WHERE u.name = ?1 AND u.key = ?2 AND CASE WHEN u.until IS NULL THEN m.stage < {ENDED} ELSE ?3 < u.until END

-- name: take_key
-- ?1 name, ?2 key, ?3 no, ?4 until.
INSERT INTO uniques (name, key, no, until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name, key) DO UPDATE SET no = excluded.no, until = excluded.until

-- name: add_edge
-- ?1 parent, ?2 child, ?3 open.
INSERT INTO edges (parent, child, open) VALUES (?1, ?2, ?3)

-- name: mark_parent
-- The message ?1 has others that wait for it.
UPDATE messages SET flags = flags | {PARENT} WHERE no = ?1
