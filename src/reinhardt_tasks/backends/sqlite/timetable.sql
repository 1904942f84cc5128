-- Stored schedules, and locks.

-- name: fire
-- The schedule ?1, last due at ?2 (NULL: never), was due at ?3.
UPDATE schedules SET last_due = ?3 WHERE name = ?1 AND last_due IS ?2

-- name: save
-- ?1 name, ?2 spec, ?3 last_due or NULL for the one before, ?4 paused, ?5 version. Answers (last_due).
INSERT INTO schedules (name, spec, last_due, paused, version) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE
SET spec = excluded.spec, last_due = coalesce(excluded.last_due, last_due), paused = excluded.paused,
    version = excluded.version
RETURNING last_due

-- name: remove
-- ?1 name.
DELETE FROM schedules WHERE name = ?1

-- name: acquire
-- The token ?2 takes the lock ?1 until ?3, unless another one holds it at ?4.
INSERT INTO locks (name, token, since, until) VALUES (?1, ?2, ?4, ?3)
ON CONFLICT (name) DO UPDATE SET token = excluded.token, since = excluded.since, until = excluded.until
WHERE token = excluded.token OR until <= ?4 OR since > ?4

-- name: extend
-- The token ?2, which holds the lock ?1 at ?4, does so until ?3.
UPDATE locks SET until = ?3 WHERE name = ?1 AND token = ?2 AND since <= ?4 AND until > ?4

-- name: release
-- The token ?2, which holds the lock ?1 at ?3, lets go.
DELETE FROM locks WHERE name = ?1 AND token = ?2 AND since <= ?3 AND until > ?3

-- name: forget_locks
-- Locks that nobody holds at ?1.
DELETE FROM locks WHERE until <= ?1 OR since > ?1
