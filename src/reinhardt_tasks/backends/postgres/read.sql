-- Reading.

-- name: get
-- The records of the ids $1 (a list).
SELECT {RECORD} FROM {T}messages m WHERE m.id = ANY ($1)
UNION ALL
SELECT {ENDED_RECORD} FROM {T}ended m WHERE m.id = ANY ($1)

-- name: get_with_body
-- The records of the ids $1 (a list), and their envelopes.
SELECT {RECORD}, m.body FROM {T}messages m WHERE m.id = ANY ($1)
UNION ALL
SELECT {ENDED_RECORD}, m.body FROM {T}ended m WHERE m.id = ANY ($1)

-- name: find
-- At most $1 records, newest id first: with an id below $2, a status among $3, in the queue $4, of the task $5, of the
-- workflow $6; each NULL for any.
(SELECT {RECORD} FROM {T}messages m
 WHERE m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($3::int[] IS NULL OR m.status = ANY ($3))
     AND m.queue = coalesce($4::text, m.queue) AND m.name = coalesce($5::text, m.name)
     AND ($6::uuid IS NULL OR m.workflow = $6)
 ORDER BY m.id DESC LIMIT $1)
UNION ALL
(SELECT {ENDED_RECORD} FROM {T}ended m
 WHERE m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($3::int[] IS NULL OR m.status = ANY ($3))
     AND m.queue = coalesce($4::text, m.queue) AND m.name = coalesce($5::text, m.name)
     AND ($6::uuid IS NULL OR m.workflow = $6)
 ORDER BY m.id DESC LIMIT $1)
ORDER BY 1 DESC LIMIT $1

-- name: find_fallen
-- As find, where only failed and cancelled messages are asked for.
SELECT {ENDED_RECORD} FROM {T}ended m
WHERE m.status >= {FAILURE}
    AND m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($3::int[] IS NULL OR m.status = ANY ($3))
    AND m.queue = coalesce($4::text, m.queue) AND m.name = coalesce($5::text, m.name)
    AND ($6::uuid IS NULL OR m.workflow = $6)
ORDER BY m.id DESC LIMIT $1

-- name: find_running
-- As find, where only running messages are asked for.
SELECT {RECORD} FROM {T}messages m
WHERE m.stage = {CLAIMED}
    AND m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($3::int[] IS NULL OR m.status = ANY ($3))
    AND m.queue = coalesce($4::text, m.queue) AND m.name = coalesce($5::text, m.name)
    AND ($6::uuid IS NULL OR m.workflow = $6)
ORDER BY m.id DESC LIMIT $1

-- name: find_retry
-- As find, where only messages that are to be retried are asked for.
SELECT {RECORD} FROM {T}messages m
WHERE m.status = {RETRY}
    AND m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($3::int[] IS NULL OR m.status = ANY ($3))
    AND m.queue = coalesce($4::text, m.queue) AND m.name = coalesce($5::text, m.name)
    AND ($6::uuid IS NULL OR m.workflow = $6)
ORDER BY m.id DESC LIMIT $1

-- name: counts
-- Every queue's messages by where they stand, as (where, queue, status, number), where being ready, waiting (due later, or
-- for others), retry (those of both that are to be retried), claimed, ended; and the paused queues, without a number.
SELECT 'ready', queue, {PENDING}, count(*) FROM {T}messages WHERE stage = {READY} GROUP BY queue
UNION ALL
SELECT 'ready', queue, {PENDING}, count(*) FROM {T}messages WHERE stage = {SUSPECT} GROUP BY queue
UNION ALL
SELECT 'waiting', queue, {PENDING}, count(*) FROM {T}messages
WHERE stage IN ({LATER}, {BLOCKED}, {UNOPENED}) GROUP BY queue
UNION ALL
SELECT 'retry', queue, {RETRY}, count(*) FROM {T}messages WHERE status = {RETRY} GROUP BY queue
UNION ALL
SELECT 'claimed', queue, {RUNNING}, count(*) FROM {T}messages WHERE stage = {CLAIMED} GROUP BY queue
UNION ALL
SELECT 'ended', queue, status, count(*) FROM {T}ended GROUP BY queue, status
UNION ALL
SELECT 'paused', queue, 0, 0 FROM {T}paused

-- name: workers
-- Every worker as (beat, beat_at, whether suspected, number of claims), ordered by name.
SELECT b.beat, b.beat_at, b.suspected_at IS NOT NULL, (
    SELECT count(*) FROM {T}messages m WHERE m.stage = {CLAIMED} AND m.worker = w.worker)
FROM {T}workers w JOIN {T}beats b ON b.worker = w.worker
ORDER BY w.worker

-- name: schedules
-- Every schedule as (name, spec, last_due, paused, version), ordered by name.
SELECT name, spec, last_due, paused, version FROM {T}schedules ORDER BY name

-- name: counter
-- The counter of changes of schedules.
SELECT schedules FROM {T}counters

-- name: elders
-- The sessions of others whose transaction is older than $1 seconds and keeps dead rows from being removed, the oldest
-- first, as (pid, when it began, user, program, state, age). NULL or missing is what this user may not see.
SELECT pid, extract(epoch FROM xact_start)::float8, usename::text, application_name, state,
    extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND xact_start < clock_timestamp() - make_interval(secs => $1::float8)
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
ORDER BY xact_start

-- name: result_read
-- What is kept under the id $1.
SELECT payload FROM {T}results WHERE id = $1 AND expires_at > {NOW}

-- name: metadata_get
-- The records of the ids $1 (a list).
SELECT {METADATA} FROM {T}metadata m WHERE m.id = ANY ($1) AND {LASTING}

-- name: metadata_find
-- At most $1 records, newest id first: with an id below $2 (NULL: any).
SELECT {METADATA} FROM {T}metadata m
WHERE m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND {LASTING}
ORDER BY m.id DESC LIMIT $1

-- name: metadata_find_name
-- As metadata_find: of the name $3, with a status among $4 (NULL: any).
SELECT {METADATA} FROM {T}metadata m
WHERE m.name = $3 AND m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    AND ($4::int[] IS NULL OR m.status = ANY ($4)) AND {LASTING}
ORDER BY m.id DESC LIMIT $1

-- name: metadata_find_status
-- As metadata_find: with a status among $3, each along its own part of the index.
SELECT found.* FROM unnest($3::int[]) AS sought (status) CROSS JOIN LATERAL (
    SELECT {METADATA} FROM {T}metadata m
    WHERE m.status = sought.status AND m.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND {LASTING}
    ORDER BY m.id DESC LIMIT $1) found
ORDER BY 1 DESC LIMIT $1
