-- Deleting messages.

-- name: forget_keys
-- The unique keys that the messages ?1 (a list) took are free.
DELETE FROM uniques
WHERE no IN (SELECT value FROM json_each(?1)) AND (name, key) IN (
    SELECT name, unique_key FROM messages
    WHERE no IN (SELECT value FROM json_each(?1)) AND unique_key IS NOT NULL)

-- name: forget_messages
-- The messages ?1 (a list) are gone.
DELETE FROM messages WHERE no IN (SELECT value FROM json_each(?1))

-- name: forget_bodies
-- Their envelopes too.
DELETE FROM bodies WHERE no IN (SELECT value FROM json_each(?1))

-- name: forget_own_edges
-- They wait for nobody any more.
DELETE FROM edges WHERE child IN (SELECT value FROM json_each(?1))
