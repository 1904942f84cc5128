-- Storing messages.

-- See TaskBackend.put. `_ids`, `_bodies` and `_kinds` are parallel; what messages of one kind have in common stands at
-- the kind's place in the arrays that follow, and their parents in `_waits` beside `_waits_of`, the kinds. `_guarded`:
-- only if the schedule `_schedule` was last due at `_expected`; it then was at `_due`. `_wake`: tell who listens when
-- the transaction, which is the caller's own, commits. `_as_new`: unique_violation, which ends the transaction, may be
-- raised where a message is known already. Answers NULL for all created, else for each the id that stands for it where
-- that is not a new message.
CREATE OR REPLACE FUNCTION {T}put(
    _ids uuid[], _bodies bytea[], _kinds int[],
    _names text[], _queues text[], _priorities int[], _delays float8[], _run_ats float8[], _result_ttls float8[],
    _max_losses int[], _workflows uuid[], _keys text[], _windows float8[], _tolerant boolean[], _held boolean[],
    _waits_of int[], _waits uuid[],
    _guarded boolean, _schedule text, _expected float8, _due float8, _wake boolean, _as_new boolean)
RETURNS bytea[] LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET lock_timeout = '5s' AS $$
DECLARE
    _now   float8 := {NOW};
    _known bytea[];
BEGIN
    IF _guarded THEN
        UPDATE {T}schedules SET last_due = _due WHERE name = _schedule AND last_due IS NOT DISTINCT FROM _expected;
        IF NOT FOUND THEN
            RETURN ARRAY(SELECT uuid_send(m.id) FROM unnest(_ids) WITH ORDINALITY AS m (id, at) ORDER BY m.at);
        END IF;
    END IF;
    IF cardinality(_waits) > 0 OR true = ANY (_held) OR array_remove(_keys, NULL) <> ARRAY[]::text[] THEN
        _known := {T}put_each(
            _ids, _bodies, _kinds, _names, _queues, _priorities, _delays, _run_ats, _result_ttls, _max_losses,
            _workflows, _keys, _windows, _tolerant, _held, _waits_of, _waits, _now);
    ELSIF _as_new THEN
        _known := {T}put_new(
            _ids, _bodies, _kinds, _names, _queues, _priorities, _delays, _run_ats, _result_ttls, _max_losses,
            _workflows, _now);
    ELSE
        _known := {T}put_plain(
            _ids, _bodies, _kinds, _names, _queues, _priorities, _delays, _run_ats, _result_ttls, _max_losses,
            _workflows, _now);
    END IF;
    IF _wake THEN
        PERFORM pg_notify('{CHANNEL}', 'q:' || q.queue) FROM (SELECT DISTINCT unnest(_queues) AS queue) q;
    END IF;
    RETURN _known;
END $$;

-- Store messages that can be stored without a look at any other message, none of which is known. Answers NULL. It is the
-- hot path.
CREATE OR REPLACE FUNCTION {T}put_new(
    _ids uuid[], _bodies bytea[], _kinds int[],
    _names text[], _queues text[], _priorities int[], _delays float8[], _run_ats float8[], _result_ttls float8[],
    _max_losses int[], _workflows uuid[], _now float8)
RETURNS bytea[] LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {T}messages (
        id, name, queue, priority, stage, seq, max_losses, run_at, created_at, updated_at, result_ttl, workflow, body)
    SELECT m.id, _names[m.kind], _queues[m.kind], _priorities[m.kind], m.stage, {T}place_for(m.stage, 0),
        _max_losses[m.kind], m.run_at, _now, _now, _result_ttls[m.kind], _workflows[m.kind], m.body
    FROM (
        SELECT id, body, kind, {T}due_at(_run_ats[kind], _delays[kind], _now) AS run_at,
            {T}stage_for(0, 0, {T}due_at(_run_ats[kind], _delays[kind], _now), 0, _now) AS stage
        FROM unnest(_ids, _bodies, _kinds) AS u (id, body, kind)
        OFFSET 0  -- so that each is worked out once
    ) m;
    IF EXISTS (SELECT 1 FROM {T}ended WHERE id = ANY (_ids)) THEN
        RAISE unique_violation USING MESSAGE = 'one of the messages has finished';
    END IF;
    RETURN NULL;
END $$;

-- As `put_new`, where some may be known. An id is looked for among the finished after the insert: a message that was
-- put before and finished meanwhile has left the one table for the other.
CREATE OR REPLACE FUNCTION {T}put_plain(
    _ids uuid[], _bodies bytea[], _kinds int[],
    _names text[], _queues text[], _priorities int[], _delays float8[], _run_ats float8[], _result_ttls float8[],
    _max_losses int[], _workflows uuid[], _now float8)
RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    _fresh uuid[];
    _ended uuid[];
BEGIN
    WITH stored AS (
        INSERT INTO {T}messages (
            id, name, queue, priority, stage, seq, max_losses, run_at, created_at, updated_at, result_ttl, workflow, body)
        SELECT o.id, o.name, o.queue, o.priority, o.stage, {T}place_for(o.stage, 0), o.max_losses, o.run_at, _now, _now,
            o.result_ttl, o.workflow, o.body
        FROM (
            SELECT m.id, m.body, k.name, k.queue, k.priority, k.max_losses, k.result_ttl, k.workflow,
                {T}due_at(k.run_at, k.delay, _now) AS run_at,
                {T}stage_for(0, 0, {T}due_at(k.run_at, k.delay, _now), 0, _now) AS stage
            FROM unnest(_ids, _bodies, _kinds) WITH ORDINALITY AS m (id, body, kind, at)
            JOIN unnest(_names, _queues, _priorities, _delays, _run_ats, _result_ttls, _max_losses, _workflows)
                WITH ORDINALITY AS k (name, queue, priority, delay, run_at, result_ttl, max_losses, workflow, kind)
                ON k.kind = m.kind
            ORDER BY m.at
        ) o
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT array_agg(id) INTO _fresh FROM stored;
    SELECT array_agg(id) INTO _ended FROM {T}ended WHERE id = ANY (_ids);
    IF _ended IS NULL AND cardinality(_fresh) = cardinality(_ids) THEN
        RETURN NULL;
    END IF;
    IF _ended IS NOT NULL THEN
        DELETE FROM {T}messages WHERE id = ANY (_fresh) AND id = ANY (_ended);
    END IF;
    RETURN ARRAY(
        SELECT CASE WHEN m.id = ANY (_fresh) AND m.id <> ALL (coalesce(_ended, ARRAY[]::uuid[]))
            AND row_number() OVER (PARTITION BY m.id ORDER BY m.at) = 1 THEN NULL ELSE uuid_send(m.id) END
        FROM unnest(_ids) WITH ORDINALITY AS m (id, at) ORDER BY m.at);
END $$;

-- When a message is due. NULL: at once.
CREATE OR REPLACE FUNCTION {T}due_at(_run_at float8, _delay float8, _now float8) RETURNS float8
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN _run_at IS NULL AND _delay > 0 THEN _now + _delay ELSE _run_at END
$$;

-- Store messages some of which have keys or parents, or are held: one by one, in order.
CREATE OR REPLACE FUNCTION {T}put_each(
    _ids uuid[], _bodies bytea[], _kinds int[],
    _names text[], _queues text[], _priorities int[], _delays float8[], _run_ats float8[], _result_ttls float8[],
    _max_losses int[], _workflows uuid[], _keys text[], _windows float8[], _tolerant boolean[], _held boolean[],
    _waits_of int[], _waits uuid[], _now float8)
RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    _answers bytea[] := ARRAY[]::bytea[];
    _holder  uuid;
    _at      int;
    _kind    int;
    _flags   int;
    _due     float8;
    _stage   int;
    _open    uuid[];
    _fallen  uuid[];
    _named   uuid[] := ARRAY(SELECT DISTINCT w FROM unnest(_waits) AS w);
BEGIN
    FOR _at IN 1 .. cardinality(_ids) LOOP
        _kind := _kinds[_at];
        _holder := {T}stands_for(_ids[_at]);
        IF _holder IS NULL AND _keys[_kind] IS NOT NULL THEN
            _holder := {T}take_key(_names[_kind], _keys[_kind], _ids[_at], _now + _windows[_kind], _now);
        END IF;
        _answers := array_append(_answers, uuid_send(_holder));
        CONTINUE WHEN _holder IS NOT NULL;
        SELECT p._open, p._fallen INTO _open, _fallen
        FROM {T}join_parents(
            _ids[_at], _queues[_kind],
            ARRAY(SELECT w.id FROM unnest(_waits_of, _waits) WITH ORDINALITY AS w (kind, id, at)
                  WHERE w.kind = _kind ORDER BY w.at)) p;
        _flags := _held[_kind]::int * {HELD} + _tolerant[_kind]::int * {TOLERANT}
            + (_windows[_kind] IS NOT NULL)::int * {WINDOWED} + (_ids[_at] = ANY (_named))::int * {PARENT};
        _due := {T}due_at(_run_ats[_kind], _delays[_kind], _now);
        _stage := {T}stage_for(_flags, cardinality(_open), _due, 0, _now);
        INSERT INTO {T}messages (
            id, name, queue, priority, stage, flags, seq, max_losses, run_at, created_at, updated_at, result_ttl,
            workflow, unique_key, waiting_on, body)
        VALUES (
            _ids[_at], _names[_kind], _queues[_kind], _priorities[_kind], _stage, _flags, {T}place_for(_stage, 0),
            _max_losses[_kind], _due, _now, _now, _result_ttls[_kind], _workflows[_kind], _keys[_kind],
            cardinality(_open), _bodies[_at]);
        IF EXISTS (SELECT 1 FROM {T}ended WHERE id = _ids[_at]) THEN
            RAISE serialization_failure USING MESSAGE = 'the message was stored meanwhile';
        END IF;
        IF cardinality(_fallen) > 0 AND NOT _tolerant[_kind] THEN
            PERFORM {T}orphan(_ids[_at], _fallen[1], _now);
        END IF;
    END LOOP;
    RETURN CASE WHEN array_remove(_answers, NULL) = ARRAY[]::bytea[] THEN NULL ELSE _answers END;
EXCEPTION WHEN unique_violation THEN
    RAISE serialization_failure USING MESSAGE = 'the message was stored meanwhile';
END $$;

-- The id itself, if a message is known by it.
CREATE OR REPLACE FUNCTION {T}stands_for(_id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM {T}messages WHERE id = _id) OR EXISTS (SELECT 1 FROM {T}ended WHERE id = _id) THEN
        RETURN _id;
    END IF;
    RETURN NULL;
END $$;

-- Who keeps others from a task name and a unique key at `_now`: the message that holds it.
CREATE OR REPLACE FUNCTION {T}key_holder(_name text, _key text, _now float8) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    _holder uuid;
BEGIN
    SELECT u.id INTO _holder FROM {T}uniques u
    WHERE u.name = _name AND u.key = _key AND CASE WHEN u.until IS NULL
        THEN EXISTS (SELECT 1 FROM {T}messages m WHERE m.id = u.id) ELSE _now < u.until END;
    RETURN _holder;
END $$;

-- Let the message `_id` hold a key, for a time (`_until`) or until it finishes. Answers the message that holds it
-- already, if one does. Who takes the same key at the same time waits for the end of this transaction.
CREATE OR REPLACE FUNCTION {T}take_key(_name text, _key text, _id uuid, _until float8, _now float8) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    _holder uuid;
BEGIN
    LOOP
        INSERT INTO {T}uniques (name, key, id, until) VALUES (_name, _key, _id, _until)
        ON CONFLICT (name, key) DO NOTHING;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        PERFORM 1 FROM {T}uniques WHERE name = _name AND key = _key FOR UPDATE;
        IF FOUND THEN
            _holder := {T}key_holder(_name, _key, _now);
            IF _holder IS NULL THEN
                UPDATE {T}uniques SET id = _id, until = _until WHERE name = _name AND key = _key;
            END IF;
            RETURN _holder;
        END IF;
    END LOOP;
END $$;

-- Let the new message `_id` wait for those of its parents that are not finished, and hear of all but the successful.
-- Answers the ones it waits for, and those that have failed. Their rows are locked: none of them finishes, or comes
-- back, before this transaction has ended.
CREATE OR REPLACE FUNCTION {T}join_parents(_id uuid, _queue text, _parents uuid[], OUT _open uuid[], OUT _fallen uuid[])
LANGUAGE plpgsql AS $$
DECLARE
    _parent uuid;
    _status int;
BEGIN
    _open := ARRAY[]::uuid[];
    _fallen := ARRAY[]::uuid[];
    FOR _parent IN SELECT DISTINCT p FROM unnest(_parents) AS p ORDER BY p LOOP
        _status := {T}lock_known(_parent);
        IF _status IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'RT001', MESSAGE = format('message %s waits for %s', _id, _parent),
                DETAIL = json_build_array(_id, _parent, _queue)::text;
        END IF;
        CONTINUE WHEN _status = {SUCCESS};
        INSERT INTO {T}edges (parent, child, open) VALUES (_parent, _id, _status < {SUCCESS});
        IF _status < {SUCCESS} THEN
            UPDATE {T}messages SET flags = flags | {PARENT} WHERE id = _parent AND flags & {PARENT} = 0;
            _open := _open || _parent;
        ELSE
            UPDATE {T}ended SET flags = flags | {PARENT} WHERE id = _parent AND flags & {PARENT} = 0;
            _fallen := _fallen || _parent;
        END IF;
    END LOOP;
END $$;

-- The status of a message, which is locked, wherever it stands; NULL when it is not known.
CREATE OR REPLACE FUNCTION {T}lock_known(_id uuid) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    _status int;
BEGIN
    FOR _try IN 1 .. 3 LOOP  -- it may move from one table to the other between two looks
        SELECT status INTO _status FROM {T}messages WHERE id = _id FOR NO KEY UPDATE;
        IF FOUND THEN
            RETURN _status;
        END IF;
        SELECT status INTO _status FROM {T}ended WHERE id = _id FOR NO KEY UPDATE;
        IF FOUND THEN
            RETURN _status;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
