-- Records of tasks. {{METADATA}} are their columns; a record that is over at some time is as good as gone.

-- name: store
-- Keep a record under the id ?1 with the name ?2, status ?3 and data ?6, as of ?4, until ?5, where there is none.
INSERT INTO metadata (id, name, status, version, created_at, updated_at, expires_at, task_data)
VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, status = excluded.status, version = 1, created_at = excluded.created_at,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at, task_data = excluded.task_data
WHERE expires_at <= ?4

-- name: change
-- Let the record ?1 be of the status ?2 with the data ?5 (NULL: as they are), as of ?3, until ?4; answers it.
UPDATE metadata SET
    status = ?2, version = version + 1, updated_at = ?3, expires_at = ?4, task_data = coalesce(?5, task_data)
WHERE id = ?1
RETURNING {METADATA}

-- name: get
-- The record ?1 as of ?2.
SELECT {METADATA} FROM metadata WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)

-- name: standing
-- How the record ?1 stands at ?2, as (status, version, when it is over).
SELECT status, version, expires_at FROM metadata WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)

-- name: remove
-- Forget the record ?1.
DELETE FROM metadata WHERE id = ?1

-- name: forget
-- Forget some of the records that were over at ?1.
DELETE FROM metadata WHERE no IN (
    SELECT no FROM metadata INDEXED BY metadata_ending WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 100)

-- name: find
-- At most ?1 records as of ?2, newest id first: with an id below ?3, a status whose bit is set in ?4, of the name ?5;
-- each of these NULL for any.
SELECT {METADATA} FROM metadata INDEXED BY metadata_id
WHERE id < coalesce(?3, x'ffffffffffffffffffffffffffffffffff') AND (?4 IS NULL OR ?4 >> status & 1)
    AND (?5 IS NULL OR name = ?5) AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY id DESC
LIMIT ?1

-- name: find_name
-- As find, for one name.
SELECT {METADATA} FROM metadata INDEXED BY metadata_name
WHERE name = ?5
    AND id < coalesce(?3, x'ffffffffffffffffffffffffffffffffff') AND (?4 IS NULL OR ?4 >> status & 1)
    AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY id DESC
LIMIT ?1

-- name: find_status
-- As find, for the one status ?6.
SELECT {METADATA} FROM metadata INDEXED BY metadata_status
WHERE status = ?6
    AND id < coalesce(?3, x'ffffffffffffffffffffffffffffffffff') AND (?4 IS NULL OR ?4 >> status & 1)
    AND (?5 IS NULL OR name = ?5) AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY id DESC
LIMIT ?1
