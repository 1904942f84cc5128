-- What operators do.

-- See TaskBackend.cancel. Answers the statuses after the step, the workers that have an order now, and the queues in
-- which something became ready.
CREATE OR REPLACE FUNCTION {T}cancel(_ids uuid[], _error bytea, OUT _statuses int[], OUT _workers text[], OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now   float8 := {NOW};
    _waits uuid[];
BEGIN
    PERFORM 1 FROM {T}messages WHERE id = ANY (_ids) ORDER BY id FOR UPDATE;
    WITH told AS (
        UPDATE {T}messages SET flags = flags | {CANCELLING}, error = coalesce(_error, error)
        WHERE id = ANY (_ids) AND stage = {CLAIMED} RETURNING worker
    )
    SELECT array_agg(DISTINCT worker) INTO _workers FROM told;
    _waits := ARRAY(SELECT id FROM {T}messages WHERE id = ANY (_ids) AND stage <> {CLAIMED});
    IF cardinality(_waits) > 0 THEN
        SELECT t._rings INTO _rings FROM {T}tell({T}fall(_waits, {CANCELLED}, _error, 0, 0, _now), _now) t;
    END IF;
    _statuses := ARRAY(
        SELECT coalesce(
            (SELECT m.status FROM {T}messages m WHERE m.id = i.id), (SELECT e.status FROM {T}ended e WHERE e.id = i.id))
        FROM unnest(_ids) WITH ORDINALITY AS i (id, at) ORDER BY i.at);
END $$;

-- See TaskBackend.move, for a message that is not finished: `_status` is the one to give, `_allowed` those it may have.
-- Answers the status it had; with nothing done where that is not among them. NULL: it is not known.
CREATE OR REPLACE FUNCTION {T}move(
    _id uuid, _status int, _allowed int[], _payload bytea, OUT _found int, OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now  float8 := {NOW};
    _told uuid[];
BEGIN
    SELECT status INTO _found FROM {T}messages WHERE id = _id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT status INTO _found FROM {T}ended WHERE id = _id;
        RETURN;
    END IF;
    IF _found <> ALL (_allowed) THEN
        RETURN;
    END IF;
    IF _status >= {SUCCESS} THEN
        _told := {T}fall(ARRAY[_id], _status, CASE _status WHEN {SUCCESS} THEN NULL ELSE _payload END, 0, 0, _now);
        UPDATE {T}ended SET result = coalesce(_payload, ''::bytea), error = NULL, expires_at = _now + result_ttl
        WHERE id = _id AND status = {SUCCESS};
        SELECT t._rings INTO _rings FROM {T}tell(_told, _now) t;
    ELSE
        UPDATE {T}messages m SET
            stage = {T}stage_for(0, 0, m.run_at, m.losses, _now), status = _status,
            seq = {T}place_for({READY}, CASE _status WHEN {RETRY} THEN 0 ELSE m.seq END),
            error = CASE _status WHEN {RETRY} THEN coalesce(_payload, m.error) ELSE m.error END,
            updated_at = _now, flags = m.flags & ~{CANCELLING}
        WHERE m.id = _id RETURNING ARRAY[m.queue] INTO _rings;
        PERFORM nextval('{T}places');
    END IF;
END $$;

-- See TaskBackend.start_workflow.
CREATE OR REPLACE FUNCTION {T}start_workflow(_workflow uuid, OUT _held boolean, OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now float8 := {NOW};
    _ids uuid[];
BEGIN
    UPDATE {T}ended SET flags = flags & ~{HELD} WHERE workflow = _workflow AND flags & {HELD} <> 0;
    _held := FOUND;
    PERFORM 1 FROM {T}messages WHERE workflow = _workflow ORDER BY id FOR NO KEY UPDATE;
    WITH opened AS MATERIALIZED (
        SELECT id, {T}stage_for(flags & ~{HELD}, waiting_on, run_at, losses, _now) AS stage
        FROM {T}messages WHERE workflow = _workflow AND flags & {HELD} <> 0
        ORDER BY created_at, id
    ), started AS (
        UPDATE {T}messages m
        SET flags = m.flags & ~{HELD}, stage = o.stage, seq = {T}place_for(o.stage, m.seq)
        FROM opened o WHERE m.id = o.id
        RETURNING m.id, m.queue
    )
    SELECT array_agg(id), array_agg(DISTINCT queue) INTO _ids, _rings FROM started;
    _held := _held OR _ids IS NOT NULL;
END $$;

-- Nothing more is given out from the queue.
CREATE OR REPLACE FUNCTION {T}pause(_queue text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {T}paused (queue) VALUES (_queue) ON CONFLICT (queue) DO NOTHING;
END $$;

-- Messages of the queue are given out again.
CREATE OR REPLACE FUNCTION {T}resume(_queue text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {T}paused WHERE queue = _queue;
    PERFORM nextval('{T}places');
END $$;

-- See TaskBackend.drain.
CREATE OR REPLACE FUNCTION {T}order_drain(_worker text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {T}workers SET draining = true WHERE worker = _worker;
    RETURN FOUND;
END $$;

-- Delete at most PURGED_AT_ONCE messages of a queue in `_statuses`, none that runs, cancelling what waits for them.
CREATE OR REPLACE FUNCTION {T}purge_some(_queue text, _statuses int[], OUT _purged int, OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now    float8 := {NOW};
    _ids    uuid[];
    _ended  uuid[] := ARRAY[]::uuid[];
    _parents uuid[];
BEGIN
    _ids := ARRAY(
        SELECT id FROM {T}messages WHERE id = ANY (ARRAY(
            (SELECT id FROM {T}messages
             WHERE stage = {READY} AND queue = _queue AND status = ANY (_statuses) LIMIT {PURGED_AT_ONCE})
            UNION ALL
            (SELECT id FROM {T}messages
             WHERE stage = {SUSPECT} AND queue = _queue AND status = ANY (_statuses) LIMIT {PURGED_AT_ONCE})
            UNION ALL
            (SELECT id FROM {T}messages
             WHERE stage IN ({LATER}, {BLOCKED}, {UNOPENED}) AND queue = _queue AND status = ANY (_statuses)
             LIMIT {PURGED_AT_ONCE})))
            AND stage <> {CLAIMED} AND status = ANY (_statuses)
        ORDER BY id LIMIT {PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED);
    IF cardinality(_ids) < {PURGED_AT_ONCE} THEN
        _ended := ARRAY(
            SELECT id FROM {T}ended WHERE queue = _queue AND status = ANY (_statuses)
            LIMIT {PURGED_AT_ONCE} - cardinality(_ids) FOR UPDATE SKIP LOCKED);
    END IF;
    _purged := cardinality(_ids) + cardinality(_ended);
    SELECT array_agg(id) INTO _parents FROM {T}messages
    WHERE id = ANY (_ids) AND flags & ({PARENT} | {KEEPER}) <> 0;
    IF _parents IS NOT NULL THEN
        SELECT t._rings INTO _rings FROM {T}tell({T}fall(_parents, {CANCELLED}, {T}error_record(
            'TaskCancelledError', format('queue %s was purged', _queue), 'cancelled'), 0, 0, _now), _now) t;
    END IF;
    PERFORM {T}forget(_ids || _ended);
END $$;

-- See TaskBackend.delete.
CREATE OR REPLACE FUNCTION {T}delete(_ids uuid[]) RETURNS int LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _finished uuid[] := ARRAY(SELECT id FROM {T}ended WHERE id = ANY (_ids) ORDER BY id FOR UPDATE);
BEGIN
    RETURN {T}forget(_finished);
END $$;
