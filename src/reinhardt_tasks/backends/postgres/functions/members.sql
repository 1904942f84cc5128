-- Workers: leases and orders.

-- Store the progress of what the worker holds.
CREATE OR REPLACE FUNCTION {T}note(_worker text, _ids uuid[], _numbers int[], _progress bytea[], _now float8)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {T}messages m SET progress = r.progress, updated_at = _now
    FROM unnest(_ids, _numbers, _progress) AS r (id, number, progress)
    WHERE m.id = r.id AND {FENCED} AND m.claims = r.number;
END $$;

-- What the worker holds and is to cancel.
CREATE OR REPLACE FUNCTION {T}cancelling(_worker text) RETURNS bytea[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT uuid_send(id) FROM {T}messages
        WHERE stage = {CLAIMED} AND worker = _worker AND flags & {CANCELLING} <> 0 ORDER BY id);
END $$;

-- See TaskBackend.beat.
CREATE OR REPLACE FUNCTION {T}beat(
    _worker text, _number bigint, _beat bytea, _lease float8, _leaving boolean,
    _r_ids uuid[], _r_numbers int[], _r_progress bytea[],
    OUT _registered boolean, OUT _draining boolean, OUT _cancel bytea[], OUT _rings text[], OUT _ends boolean)
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now   float8 := {NOW};
    _given record;
BEGIN
    _ends := false;
    INSERT INTO {T}beats (worker, beat_at, lease, beat) VALUES (_worker, _now, _lease, _beat)
    ON CONFLICT (worker) DO UPDATE
    SET beat_at = excluded.beat_at, lease = excluded.lease, beat = excluded.beat, suspected_at = NULL;
    SELECT draining INTO _draining FROM {T}workers WHERE worker = _worker;
    _registered := FOUND;
    IF NOT FOUND THEN
        INSERT INTO {T}workers (worker) VALUES (_worker) ON CONFLICT (worker) DO NOTHING;
    ELSIF _number <= 1 THEN
        UPDATE {T}workers SET sequence = 0 WHERE worker = _worker AND sequence > 0;
    END IF;
    _registered := _registered OR _number <= 1;
    _draining := coalesce(_draining, false);
    IF cardinality(_r_ids) > 0 THEN
        PERFORM {T}note(_worker, _r_ids, _r_numbers, _r_progress, _now);
    END IF;
    _cancel := {T}cancelling(_worker);
    IF _leaving THEN
        SELECT * INTO _given FROM {T}dismiss(_worker, false, _now);
        _rings := _given._rings;
        _ends := _given._ended > 0;
    END IF;
END $$;

-- Take a worker off the list and give back what it holds, with a loss each where it is `_lost`. Answers how many went
-- back or were cancelled, and how many are poison instead.
CREATE OR REPLACE FUNCTION {T}dismiss(
    _worker text, _lost boolean, _now float8, OUT _back int, OUT _poison int, OUT _ended int, OUT _rings text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    _loss     int := _lost::int;
    _cancel   uuid[];
    _poisoned record;
    _told     uuid[];
BEGIN
    _poison := 0;
    DELETE FROM {T}workers WHERE worker = _worker;
    DELETE FROM {T}beats WHERE worker = _worker;
    PERFORM 1 FROM {T}messages WHERE stage = {CLAIMED} AND worker = _worker ORDER BY id FOR UPDATE;
    SELECT array_agg(id) INTO _cancel FROM {T}messages
    WHERE stage = {CLAIMED} AND worker = _worker AND flags & {CANCELLING} <> 0;
    _ended := coalesce(cardinality(_cancel), 0);
    IF _cancel IS NOT NULL THEN
        _told := {T}fall(_cancel, {CANCELLED}, NULL, 0, _loss, _now);
    END IF;
    FOR _poisoned IN
        SELECT id, losses + 1 AS losses FROM {T}messages
        WHERE _lost AND stage = {CLAIMED} AND worker = _worker AND losses + 1 >= max_losses ORDER BY id
    LOOP
        _told := _told || {T}fall(
            ARRAY[_poisoned.id], {FAILURE}, {T}error_record(
                'WorkerLostError',
                format('%s workers died while they ran it, the last one was %s', _poisoned.losses, _worker), 'poison'),
            0, 1, _now);
        _poison := _poison + 1;
    END LOOP;
    WITH back AS (
        UPDATE {T}messages m
        SET stage = {T}stage_for(0, 0, run_at, losses + _loss, _now), status = {PENDING}, losses = losses + _loss,
            seq = {T}place_for({READY}, seq), updated_at = _now
        WHERE stage = {CLAIMED} AND worker = _worker
        RETURNING queue
    )
    SELECT count(*), array_agg(DISTINCT queue) INTO _back, _rings FROM back;
    IF _back > 0 THEN
        PERFORM nextval('{T}places');
    END IF;
    _back := _back + _ended;
    _ended := _ended + _poison;
    SELECT _rings || t._rings INTO _rings FROM {T}tell(_told, _now) t;
END $$;

-- Suspect the silent and give up the dead, until MAX_BATCH messages are rescued. Nobody is given up within 15 s (half a
-- lease, where that is shorter) after the server was started or, `_calm` seconds ago, the caller's line was restored.
CREATE OR REPLACE FUNCTION {T}rescue(
    _now float8, _calm float8, OUT _suspected int, OUT _rescued int, OUT _poisoned int, OUT _rings text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    _member record;
    _given  record;
BEGIN
    _suspected := 0;
    _rescued := 0;
    _poisoned := 0;
    _calm := least(_calm, _now - extract(epoch FROM pg_postmaster_start_time())::float8);
    UPDATE {T}beats SET beat_at = least(beat_at, _now), suspected_at = NULL
    WHERE beat_at > _now OR suspected_at > _now;
    FOR _member IN
        SELECT * FROM {T}beats WHERE _now - beat_at >= lease * 2 / 3 ORDER BY worker FOR UPDATE SKIP LOCKED
    LOOP
        IF _member.suspected_at IS NULL THEN
            UPDATE {T}beats SET suspected_at = _now WHERE worker = _member.worker;
            _suspected := _suspected + 1;
        ELSIF _now - _member.beat_at >= _member.lease AND _now - _member.suspected_at >= _member.lease / 3 * 1.1
            AND _calm >= least(15, _member.lease / 2) AND _rescued + _poisoned < {MAX_BATCH}
        THEN
            SELECT * INTO _given FROM {T}dismiss(_member.worker, true, _now);
            _rescued := _rescued + _given._back;
            _poisoned := _poisoned + _given._poison;
            _rings := _rings || _given._rings;
        END IF;
    END LOOP;
END $$;
