-- Results under ids, until their time is over.

-- name: keep
-- Keep under the id ?1 until ?2 the payload ?3, in place of what is there.
INSERT INTO results (id, expires_at, payload) VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, payload = excluded.payload

-- name: forget
-- Forget some of the results whose time was over at ?1.
DELETE FROM results WHERE no IN (SELECT no FROM results WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 100)

-- name: payload
-- What is kept under the id ?1 at ?2.
SELECT payload FROM results WHERE id = ?1 AND expires_at > ?2

-- name: remove
-- Forget the result ?1.
DELETE FROM results WHERE id = ?1
