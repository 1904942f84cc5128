-- How messages finish, and what that means to those that wait for them.

-- Finish unfinished messages as failed or cancelled, whoever holds them; no claim is settled by it. An error of NULL
-- leaves the one before. Answers those of them that others wait for or are kept for.
CREATE OR REPLACE FUNCTION {T}fall(_ids uuid[], _status int, _error bytea, _more_flags int, _more_losses int, _now float8)
RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    _told uuid[];
BEGIN
    PERFORM 1 FROM {T}messages WHERE id = ANY (_ids) ORDER BY id FOR UPDATE;
    WITH gone AS (
        DELETE FROM {T}messages m WHERE m.id = ANY (_ids) RETURNING m.*
    ), kept AS (
        INSERT INTO {T}ended ({CARRIED}, status, updated_at, finished_at, expires_at)
        SELECT {CARRIED_M}, _status, _now, _now, _now + greatest(m.result_ttl, {DEAD_LETTER_TTL}) FROM gone m
        RETURNING id, flags
    )
    SELECT array_agg(id) FILTER (WHERE flags & ({PARENT} | {KEEPER}) <> 0) INTO _told FROM kept;
    UPDATE {T}ended
    SET flags = (flags & ~{CANCELLING}) | _more_flags, error = coalesce(_error, error), losses = losses + _more_losses
    WHERE id = ANY (_ids);
    UPDATE {T}edges SET open = false WHERE child = ANY (_ids) AND open;
    RETURN _told;
END $$;

-- Those that wait for messages which have just finished, or are kept for them, learn of it. Answers how many were
-- cancelled for their sake so far, and the queues in which something became ready.
CREATE OR REPLACE FUNCTION {T}tell(_parents uuid[], _now float8, OUT _cancelled int, OUT _rings text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    _won  uuid[];
    _lost uuid[];
BEGIN
    _cancelled := 0;
    IF _parents IS NULL THEN
        RETURN;
    END IF;
    PERFORM {T}release_kept(_parents);
    SELECT array_agg(id) FILTER (WHERE status = {SUCCESS}), array_agg(id) FILTER (WHERE status <> {SUCCESS})
    INTO _won, _lost
    FROM {T}ended WHERE id = ANY (_parents);
    IF _won IS NOT NULL THEN
        _rings := {T}count_down(_won, false, _now);
    END IF;
    IF _lost IS NOT NULL THEN
        _rings := _rings || {T}count_down(_lost, true, _now);
        SELECT c._cancelled, _rings || c._rings INTO _cancelled, _rings FROM {T}cancel_dependents(_lost, _now) c;
    END IF;
END $$;

-- What was kept for the workflows that end with one of these messages expires by its own age again.
CREATE OR REPLACE FUNCTION {T}release_kept(_ends uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {T}ended SET expires_at = finished_at
        + CASE status WHEN {SUCCESS} THEN result_ttl ELSE greatest(result_ttl, {DEAD_LETTER_TTL}) END
    WHERE expires_at IS NULL AND workflow = ANY (
        ARRAY(SELECT e.id FROM {T}ended e WHERE e.id = ANY (_ends) AND e.flags & {KEEPER} <> 0));
END $$;

-- Those that wait for `_parents` do so no more (`_tolerant`: only those that would bear a failure). Answers the queues
-- in which something became ready, or due later.
CREATE OR REPLACE FUNCTION {T}count_down(_parents uuid[], _tolerant boolean, _now float8) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    _children uuid[] := ARRAY(SELECT DISTINCT child FROM {T}edges WHERE parent = ANY (_parents) AND open);
    _rings    text[];
BEGIN
    IF cardinality(_children) = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM {T}messages WHERE id = ANY (_children) ORDER BY id FOR NO KEY UPDATE;
    WITH closed AS (
        UPDATE {T}edges e SET open = false FROM {T}messages c
        WHERE e.parent = ANY (_parents) AND e.open AND c.id = e.child AND (c.flags & {TOLERANT} <> 0 OR NOT _tolerant)
        RETURNING e.child
    ), fewer AS MATERIALIZED (
        SELECT c.id, count(*) AS ended, {T}stage_for(c.flags, c.waiting_on - count(*)::int, c.run_at, 0, _now) AS stage
        FROM closed JOIN {T}messages c ON c.id = closed.child
        GROUP BY c.id, c.flags, c.waiting_on, c.run_at, c.created_at
        ORDER BY c.created_at, c.id
    ), counted AS (
        UPDATE {T}messages m
        SET waiting_on = m.waiting_on - f.ended, stage = f.stage, seq = {T}place_for(f.stage, m.seq)
        FROM fewer f WHERE m.id = f.id
        RETURNING m.queue, m.stage
    )
    SELECT array_agg(DISTINCT queue) FILTER (WHERE stage IN ({READY}, {LATER})) INTO _rings FROM counted;
    RETURN _rings;
END $$;

-- Cancel what waits for messages that have failed, and what waits for that in turn, at most MAX_BATCH; the rest is
-- noted for the sweep, and not claimed meanwhile, as it still waits. Takes finished messages and those in `fallen`.
CREATE OR REPLACE FUNCTION {T}cancel_dependents(_parents uuid[], _now float8, OUT _cancelled int, OUT _rings text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    _level uuid[] := _parents;
    _next  uuid[];
    _tell  uuid[];
    _child record;
    _room  int;
BEGIN
    _cancelled := 0;
    WHILE cardinality(_level) > 0 LOOP
        _next := ARRAY[]::uuid[];
        _room := {MAX_BATCH} - _cancelled;
        FOR _child IN
            SELECT c.id, min(p.id::text)::uuid AS parent
            FROM {T}edges e JOIN {T}messages c ON c.id = e.child
            JOIN (
                SELECT f.id FROM {T}ended f WHERE f.id = ANY (_level)
                UNION SELECT f.id FROM {T}fallen f WHERE f.id = ANY (_level)
            ) p ON p.id = e.parent
            WHERE e.parent = ANY (_level) AND e.open AND c.flags & {TOLERANT} = 0
            GROUP BY c.id ORDER BY c.id LIMIT _room + 1
        LOOP
            IF _cancelled = {MAX_BATCH} THEN
                PERFORM {T}note_fallen(_level || _next);
                RETURN;
            END IF;
            _tell := {T}orphan(_child.id, _child.parent, _now);
            IF _tell IS NOT NULL THEN
                _next := _next || _tell;
            END IF;
            _cancelled := _cancelled + 1;
        END LOOP;
        IF cardinality(_next) > 0 THEN
            PERFORM {T}release_kept(_next);
            _rings := _rings || {T}count_down(_next, true, _now);
        END IF;
        _level := _next;
    END LOOP;
END $$;

-- Cancel a message because `_parent`, which it waits for, has failed. Answers itself where others wait for it.
CREATE OR REPLACE FUNCTION {T}orphan(_id uuid, _parent uuid, _now float8) RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN {T}fall(ARRAY[_id], {CANCELLED}, {T}orphan_error(_parent), {ORPHANED}, 0, _now);
END $$;

-- Why a message is cancelled that waits for the fallen `_parent`.
CREATE OR REPLACE FUNCTION {T}orphan_error(_parent uuid) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    _text text;
BEGIN
    SELECT format('message %s (%s), which it waits for, ended as %s', _parent, p.name,
                  CASE p.status WHEN {FAILURE} THEN 'failure' ELSE 'cancelled' END)
    INTO _text
    FROM (
        SELECT name, status FROM {T}ended WHERE id = _parent
        UNION ALL SELECT name, status FROM {T}fallen WHERE id = _parent
    ) p LIMIT 1;
    RETURN {T}error_record('TaskCancelledError', _text, 'parent_failed');
END $$;

-- Some dependents of these messages are still to be cancelled.
CREATE OR REPLACE FUNCTION {T}note_fallen(_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {T}fallen (id, name, status)
    SELECT e.id, e.name, e.status FROM {T}ended e WHERE e.id = ANY (_ids) ORDER BY e.id
    ON CONFLICT (id) DO NOTHING;
END $$;

-- Go on where `cancel_dependents` stopped.
CREATE OR REPLACE FUNCTION {T}cancel_rest(_now float8, OUT _cancelled int, OUT _rings text[]) LANGUAGE plpgsql AS $$
DECLARE
    _parents uuid[] := ARRAY(SELECT id FROM {T}fallen ORDER BY id LIMIT {MAX_BATCH});
BEGIN
    _cancelled := 0;
    IF cardinality(_parents) = 0 THEN
        RETURN;
    END IF;
    SELECT c._cancelled, c._rings INTO _cancelled, _rings FROM {T}cancel_dependents(_parents, _now) c;
    DELETE FROM {T}fallen f
    WHERE f.id = ANY (_parents) AND NOT EXISTS (
        SELECT 1 FROM {T}edges e JOIN {T}messages c ON c.id = e.child
        WHERE e.parent = f.id AND e.open AND c.flags & {TOLERANT} = 0);
    PERFORM {T}forget_edges(_parents);
END $$;
