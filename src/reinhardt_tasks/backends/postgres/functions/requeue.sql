-- Bringing failed and cancelled messages back.

-- See TaskBackend.requeue. Refusals are errors of class RT whose detail is a JSON array.
CREATE OR REPLACE FUNCTION {T}requeue(_ids uuid[], OUT _known boolean[], OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
#variable_conflict use_variable
DECLARE
    _now  float8 := {NOW};
    _back uuid[];
    _one  uuid;
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    PERFORM 1 FROM {T}messages WHERE id = ANY (_ids) ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM {T}ended WHERE id = ANY (_ids) ORDER BY id FOR UPDATE;
    PERFORM {T}check_fallen(_ids);
    PERFORM {T}lock_parents({T}with_orphans(_ids));
    _back := {T}with_dependents(_ids);
    PERFORM {T}check_parents(_ids, _back);
    PERFORM {T}check_keys(_back, _now);
    PERFORM {T}revive(_back, _now);
    FOREACH _one IN ARRAY _back LOOP
        _rings := _rings || {T}line_up(_one, _now);
    END LOOP;
    _known := ARRAY(SELECT {T}stands_for(i.id) IS NOT NULL FROM unnest(_ids) WITH ORDINALITY AS i (id, at) ORDER BY at);
END $$;

-- Raise RT002 (id, status) for the first of the messages that has neither failed nor been cancelled.
CREATE OR REPLACE FUNCTION {T}check_fallen(_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _other record;
BEGIN
    SELECT m.id, m.status INTO _other
    FROM unnest(_ids) WITH ORDINALITY AS i (id, at) JOIN (
        SELECT id, status FROM {T}messages WHERE id = ANY (_ids)
        UNION ALL SELECT id, status FROM {T}ended WHERE id = ANY (_ids) AND status = {SUCCESS}
    ) m ON m.id = i.id ORDER BY i.at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'RT002', MESSAGE = 'not failed or cancelled',
            DETAIL = json_build_array(_other.id, _other.status)::text;
    END IF;
END $$;

-- Those of the messages that are finished, and all that were cancelled for their sake or that of the latter.
CREATE OR REPLACE FUNCTION {T}with_orphans(_ids uuid[]) RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE back (id) AS (
            SELECT id FROM {T}ended WHERE id = ANY (_ids)
            UNION
            SELECT c.id FROM back JOIN {T}edges e ON e.parent = back.id JOIN {T}ended c ON c.id = e.child
            WHERE c.flags & {ORPHANED} <> 0)
        SELECT id FROM back);
END $$;

-- Let none of the parents of these messages finish before this transaction ends.
CREATE OR REPLACE FUNCTION {T}lock_parents(_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM {T}messages WHERE id = ANY (ARRAY(SELECT parent FROM {T}edges WHERE child = ANY (_ids)))
    ORDER BY id FOR NO KEY UPDATE;
END $$;

-- Those asked for, and what was cancelled for their sake and waits for nothing else that has fallen; in this order.
CREATE OR REPLACE FUNCTION {T}with_dependents(_ids uuid[]) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    _back uuid[] := ARRAY(
        SELECT i.id FROM (SELECT id, min(at) AS at FROM unnest(_ids) WITH ORDINALITY AS u (id, at) GROUP BY id) i
        WHERE EXISTS (SELECT 1 FROM {T}ended e WHERE e.id = i.id) ORDER BY i.at);
    _more uuid[];
BEGIN
    LOOP
        _more := ARRAY(
            SELECT c.id FROM {T}ended c
            WHERE c.id = ANY (ARRAY(SELECT e.child FROM {T}edges e WHERE e.parent = ANY (_back)))
                AND c.flags & {ORPHANED} <> 0 AND c.id <> ALL (_back) AND {T}fallen_parent(c.id, _back) IS NULL
            ORDER BY c.created_at, c.id);
        EXIT WHEN cardinality(_more) = 0;
        _back := _back || _more;
    END LOOP;
    RETURN _back;
END $$;

-- A parent for whose sake the finished message `_id` cannot run, unless that is among those that come back.
CREATE OR REPLACE FUNCTION {T}fallen_parent(_id uuid, _back uuid[]) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    _parent uuid;
BEGIN
    SELECT p.id INTO _parent
    FROM {T}edges e JOIN {T}ended p ON p.id = e.parent
    WHERE e.child = _id AND p.status >= {FAILURE} AND p.id <> ALL (_back)
        AND EXISTS (SELECT 1 FROM {T}ended m WHERE m.id = _id AND m.flags & {TOLERANT} = 0)
    ORDER BY p.id LIMIT 1;
    RETURN _parent;
END $$;

-- Raise RT003 (id, its status, parent, its status) for the first of `_ids` that waits for a parent that stays fallen.
CREATE OR REPLACE FUNCTION {T}check_parents(_ids uuid[], _back uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _one uuid;
    _told json;
BEGIN
    FOREACH _one IN ARRAY _ids LOOP
        SELECT json_build_array(c.id, c.status, p.id, p.status) INTO _told
        FROM {T}ended c JOIN {T}ended p ON p.id = {T}fallen_parent(_one, _back) WHERE c.id = _one;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'RT003', MESSAGE = 'waits for one that fell', DETAIL = _told::text;
        END IF;
    END LOOP;
END $$;

-- Raise RT004 (holder, key) when another message holds one of the unique keys, or two of these would.
CREATE OR REPLACE FUNCTION {T}check_keys(_back uuid[], _now float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _one    record;
    _holder uuid;
    _taken  jsonb := jsonb_build_object();
    _path   text;
BEGIN
    FOR _one IN
        SELECT m.id, m.name, m.unique_key FROM unnest(_back) WITH ORDINALITY AS b (id, at)
        JOIN {T}ended m ON m.id = b.id WHERE m.unique_key IS NOT NULL ORDER BY b.at
    LOOP
        PERFORM 1 FROM {T}uniques WHERE name = _one.name AND key = _one.unique_key FOR UPDATE;
        _holder := {T}key_holder(_one.name, _one.unique_key, _now);
        _path := json_build_array(_one.name, _one.unique_key)::text;
        IF _holder IS NULL OR _holder = _one.id THEN
            _holder := (_taken ->> _path)::uuid;
        END IF;
        IF _holder IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'RT004', MESSAGE = 'the key is held',
                DETAIL = json_build_array(_holder, _one.unique_key)::text;
        END IF;
        _taken := _taken || jsonb_build_object(_path, _one.id);
    END LOOP;
END $$;

-- The finished messages are PENDING and as good as new, but stand nowhere yet; whoever waits for them does so again.
CREATE OR REPLACE FUNCTION {T}revive(_back uuid[], _now float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH back AS (
        DELETE FROM {T}ended WHERE id = ANY (_back) RETURNING *
    )
    INSERT INTO {T}messages (
        id, name, queue, priority, flags, claims, settled, settler, max_losses, worker, created_at, updated_at,
        result_ttl, workflow, unique_key, body, stage)
    SELECT id, name, queue, priority, flags & ~({CANCELLING} | {ORPHANED} | {EXPIRED}), claims, settled, settler,
        max_losses, worker, created_at, _now, result_ttl, workflow, unique_key, body, {BLOCKED}
    FROM back;
    DELETE FROM {T}fallen WHERE id = ANY (_back);
    INSERT INTO {T}uniques (name, key, id)
    SELECT name, unique_key, id FROM {T}messages
    WHERE id = ANY (_back) AND unique_key IS NOT NULL AND flags & {WINDOWED} = 0
    ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = NULL;
END $$;

-- Let a message that came back wait for its parents, or stand in line; answers the queue where it is ready.
CREATE OR REPLACE FUNCTION {T}line_up(_id uuid, _now float8) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    _waits int;
    _ring  text[];
BEGIN
    UPDATE {T}edges SET open = true
    WHERE child = _id AND EXISTS (SELECT 1 FROM {T}messages p WHERE p.id = parent);
    SELECT count(*) INTO _waits FROM {T}edges WHERE child = _id AND open;
    UPDATE {T}messages SET
        waiting_on = _waits,
        stage = {T}stage_for(flags, _waits, NULL, 0, _now),
        seq = {T}place_for({T}stage_for(flags, _waits, NULL, 0, _now), 0)
    WHERE id = _id
    RETURNING CASE stage WHEN {READY} THEN ARRAY[queue] END INTO _ring;
    RETURN _ring;
END $$;
