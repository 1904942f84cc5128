-- The sweep: the dead are rescued, what is due is promoted, results and records expire. Each in small batches.

-- See TaskBackend.sweep. One at a time: who comes while another sweeps has nothing to do.
CREATE OR REPLACE FUNCTION {T}sweep(
    _calm float8, OUT _suspected int, OUT _rescued int, OUT _poisoned int, OUT _promoted int, OUT _cancelled int,
    OUT _expired int, OUT _deleted int, OUT _rings text[])
LANGUAGE plpgsql {BY_INDEX} AS $$
#variable_conflict use_variable
DECLARE
    _now  float8 := {NOW};
    _step record;
BEGIN
    IF NOT pg_try_advisory_xact_lock({LOCK}) THEN
        SELECT 0, 0, 0, 0, 0, 0, 0
        INTO _suspected, _rescued, _poisoned, _promoted, _cancelled, _expired, _deleted;
        RETURN;
    END IF;
    SELECT r._suspected, r._rescued, r._poisoned, r._rings INTO _suspected, _rescued, _poisoned, _rings
    FROM {T}rescue(_now, _calm) r;
    DELETE FROM {T}locks WHERE until <= _now;
    SELECT p._promoted, _rings || p._rings INTO _promoted, _rings FROM {T}promote(_now) p;
    SELECT c._cancelled, _rings || c._rings INTO _cancelled, _rings FROM {T}cancel_rest(_now) c;
    SELECT * INTO _step FROM {T}drop_unopened(_now);
    _cancelled := _cancelled + _step._dropped;
    _rings := _rings || _step._rings;
    SELECT e._expired, e._deleted INTO _expired, _deleted FROM {T}expire(_now) e;
END $$;

-- Cancel what was held for too long, with what waits for it.
CREATE OR REPLACE FUNCTION {T}drop_unopened(_now float8, OUT _dropped int, OUT _rings text[]) LANGUAGE plpgsql AS $$
DECLARE
    _ids  uuid[];
    _step record;
BEGIN
    SELECT array_agg(id) INTO _ids FROM (
        SELECT id FROM {T}messages
        WHERE stage = {UNOPENED} AND created_at <= _now - {HELD_TTL} AND updated_at <= _now - {HELD_TTL}
        ORDER BY created_at LIMIT {MAX_BATCH} FOR UPDATE SKIP LOCKED) held;
    _dropped := coalesce(cardinality(_ids), 0);
    IF _dropped > 0 THEN
        SELECT * INTO _step FROM {T}tell(
            {T}fall(_ids, {CANCELLED}, {T}error_record(
                'TaskCancelledError', 'its workflow was put, but never started', 'cancelled'), 0, 0, _now), _now);
        _dropped := _dropped + _step._cancelled;
        _rings := _step._rings;
    END IF;
END $$;

-- Drop results, and forget records, whose time is over.
CREATE OR REPLACE FUNCTION {T}expire(_now float8, OUT _expired int, OUT _deleted int) LANGUAGE plpgsql AS $$
DECLARE
    _queue  text;
    _status int;
    _over   record;
    _room   int := {MAX_BATCH};
BEGIN
    _expired := 0;
    _deleted := 0;
    SELECT queue INTO _queue FROM {T}ended ORDER BY queue LIMIT 1;
    WHILE _queue IS NOT NULL AND _room > 0 LOOP
        FOREACH _status IN ARRAY ARRAY[{SUCCESS}, {FAILURE}, {CANCELLED}] LOOP
            SELECT * INTO _over FROM {T}let_go(_queue, _status, _room, _now);
            _expired := _expired + _over._faded;
            _deleted := _deleted + _over._gone;
            _room := _room - _over._seen;
        END LOOP;
        SELECT queue INTO _queue FROM {T}ended WHERE queue > _queue ORDER BY queue LIMIT 1;
    END LOOP;
END $$;

-- Deal with at most `_room` finished messages of one queue and status whose time has come. What belongs to a workflow
-- that still runs is kept until that has ended.
CREATE OR REPLACE FUNCTION {T}let_go(
    _queue text, _status int, _room int, _now float8, OUT _seen int, OUT _faded int, OUT _gone int)
LANGUAGE plpgsql AS $$
DECLARE
    _ids     uuid[];
    _running uuid[];
    _doomed  uuid[];
BEGIN
    SELECT array_agg(id) INTO _ids FROM (
        SELECT id FROM {T}ended WHERE queue = _queue AND status = _status AND expires_at <= _now
        ORDER BY expires_at LIMIT greatest(_room, 0) FOR UPDATE SKIP LOCKED) over;
    _seen := coalesce(cardinality(_ids), 0);
    _faded := 0;
    _gone := 0;
    IF _seen = 0 THEN
        RETURN;
    END IF;
    WITH ends AS (
        UPDATE {T}messages SET flags = flags | {KEEPER}
        WHERE id = ANY (ARRAY(SELECT workflow FROM {T}ended WHERE id = ANY (_ids) AND workflow IS NOT NULL))
        RETURNING id
    )
    SELECT array_agg(id) INTO _running FROM ends;
    IF _running IS NOT NULL THEN
        UPDATE {T}ended SET expires_at = NULL WHERE id = ANY (_ids) AND workflow = ANY (_running);
    END IF;
    SELECT count(*) FILTER (WHERE status = {SUCCESS} AND flags & {EXPIRED} = 0),
        array_agg(id) FILTER (WHERE {T}known_until(e) <= _now)
    INTO _faded, _doomed
    FROM {T}ended e WHERE id = ANY (_ids) AND expires_at IS NOT NULL;
    UPDATE {T}ended e SET
        flags = flags | CASE status WHEN {SUCCESS} THEN {EXPIRED} ELSE 0 END,
        result = NULL,
        body = CASE status WHEN {SUCCESS} THEN NULL ELSE body END,
        expires_at = {T}known_until(e)
    WHERE id = ANY (_ids) AND expires_at IS NOT NULL AND id <> ALL (coalesce(_doomed, ARRAY[]::uuid[]));
    IF _doomed IS NOT NULL THEN
        _gone := {T}forget(_doomed);
    END IF;
END $$;

-- When the record of a finished message may be forgotten.
CREATE OR REPLACE FUNCTION {T}known_until(_m {T}ended) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
    RETURN greatest(
        _m.finished_at
            + greatest(_m.result_ttl, CASE _m.status WHEN {SUCCESS} THEN {TOMBSTONE_TTL} ELSE {DEAD_LETTER_TTL} END),
        (SELECT u.until FROM {T}uniques u WHERE u.name = _m.name AND u.key = _m.unique_key AND u.id = _m.id));
END $$;
