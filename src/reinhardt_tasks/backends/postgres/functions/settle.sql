-- How claims end.

-- Claims of the worker `_worker` end in success. Answers those that the fence let pass, and of these the ones that
-- others wait for or are kept for. One statement: it is the hot path.
CREATE OR REPLACE FUNCTION {T}succeed(
    _worker text, _ids uuid[], _numbers int[], _payloads bytea[], _now float8, OUT _settled uuid[], OUT _told uuid[])
LANGUAGE plpgsql {BY_IDS} AS $$
BEGIN
    WITH gone AS (
        DELETE FROM {T}messages m USING unnest(_ids, _numbers, _payloads) AS o (id, number, payload)
        WHERE m.id = o.id AND m.id = ANY (_ids) AND {FENCED} AND m.claims = o.number
        RETURNING m.*, o.payload
    ), kept AS (
        INSERT INTO {T}ended (
            id, name, queue, priority, flags, claims, settled, settler, attempts, losses, unknowns, max_losses, worker,
            run_at, created_at, started_at, result_ttl, workflow, unique_key, progress, body,
            result, status, updated_at, finished_at, expires_at)
        SELECT
            id, name, queue, priority, flags & ~{CANCELLING}, claims, claims, settler, attempts, losses, unknowns,
            max_losses, worker, run_at, created_at, started_at, result_ttl, workflow, unique_key, progress, body,
            payload, {SUCCESS}, _now, _now, _now + result_ttl
        FROM gone
        RETURNING id, flags
    )
    SELECT array_agg(id), array_agg(id) FILTER (WHERE flags & ({PARENT} | {KEEPER}) <> 0) INTO _settled, _told FROM kept;
END $$;

-- Claims of the worker `_worker` end otherwise. `_kinds` are those of OutcomeKind. Answers as `succeed`, and the queues
-- in which something became ready or due later. What is to be cancelled does not run again.
CREATE OR REPLACE FUNCTION {T}settle_others(
    _worker text, _ids uuid[], _numbers int[], _kinds int[], _payloads bytea[], _delays float8[], _unknowns boolean[],
    _now float8, OUT _settled uuid[], OUT _told uuid[], OUT _rings text[])
LANGUAGE plpgsql AS $$
DECLARE
    _again uuid[];
BEGIN
    PERFORM 1 FROM {T}messages
    WHERE id = ANY (_ids) AND stage = {CLAIMED} AND worker = _worker ORDER BY id FOR UPDATE;
    WITH gone AS (
        DELETE FROM {T}messages m USING unnest(_ids, _numbers, _kinds, _payloads) AS o (id, number, kind, payload)
        WHERE m.id = o.id AND {FENCED} AND m.claims = o.number
            AND (o.kind IN (1, 4) OR m.flags & {CANCELLING} <> 0)
        RETURNING m.*, o.kind, o.payload
    ), kept AS (
        INSERT INTO {T}ended (
            id, name, queue, priority, flags, claims, settled, settler, attempts, losses, unknowns, max_losses, worker,
            run_at, created_at, started_at, result_ttl, workflow, unique_key, progress, body,
            error, status, updated_at, finished_at, expires_at)
        SELECT
            id, name, queue, priority, flags & ~{CANCELLING}, claims, claims, settler,
            attempts + (kind IN (1, 2))::int, losses, unknowns, max_losses, worker, run_at, created_at, started_at,
            result_ttl, workflow, unique_key, progress, body,
            CASE WHEN kind IN (1, 4) AND length(payload) > 0 THEN payload ELSE error END,
            CASE kind WHEN 1 THEN {FAILURE} ELSE {CANCELLED} END, _now, _now,
            _now + greatest(result_ttl, {DEAD_LETTER_TTL})
        FROM gone
        RETURNING id, flags
    )
    SELECT array_agg(id), array_agg(id) FILTER (WHERE flags & ({PARENT} | {KEEPER}) <> 0) INTO _settled, _told FROM kept;
    WITH runs_again AS MATERIALIZED (
        SELECT m.id, o.kind = 2 AS retry, o.kind = 2 OR o.delay > 0 AS anew, o.unknown, o.payload, o.at,
            CASE WHEN o.kind = 2 OR o.delay > 0 THEN _now + o.delay ELSE m.run_at END AS run_at, m.losses
        FROM unnest(_ids, _numbers, _kinds, _payloads, _delays, _unknowns)
            WITH ORDINALITY AS o (id, number, kind, payload, delay, unknown, at)
        JOIN {T}messages m ON m.id = o.id
        WHERE {FENCED} AND m.claims = o.number
            AND o.kind IN (2, 3) AND m.flags & {CANCELLING} = 0
        ORDER BY o.at
    ), back AS (
        UPDATE {T}messages m
        SET stage = {T}stage_for(0, 0, r.run_at, r.losses, _now), status = CASE WHEN r.retry THEN {RETRY} ELSE {PENDING} END,
            settled = m.claims, settler = m.worker, attempts = m.attempts + r.retry::int,
            unknowns = m.unknowns + r.unknown::int, run_at = r.run_at,
            seq = {T}place_for({T}stage_for(0, 0, r.run_at, r.losses, _now), CASE WHEN r.anew THEN 0 ELSE m.seq END),
            error = CASE WHEN r.retry THEN r.payload ELSE m.error END, updated_at = _now
        FROM runs_again r WHERE m.id = r.id
        RETURNING m.id, m.queue
    )
    SELECT array_agg(id), array_agg(DISTINCT queue) INTO _again, _rings FROM back;
    IF _again IS NOT NULL THEN
        PERFORM nextval('{T}places');
        _settled := _settled || _again;
    END IF;
END $$;

-- Which of these claims the worker `_worker` settled before.
CREATE OR REPLACE FUNCTION {T}settled_before(_worker text, _ids uuid[], _numbers int[]) RETURNS bytea[]
LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT uuid_send(o.id) FROM unnest(_ids, _numbers) AS o (id, number)
        WHERE EXISTS (
                SELECT 1 FROM {T}messages m WHERE m.id = o.id AND m.settled = o.number AND m.settled > 0
                    AND CASE WHEN m.claims > m.settled THEN m.settler ELSE m.worker END = _worker)
            OR EXISTS (
                SELECT 1 FROM {T}ended m WHERE m.id = o.id AND m.settled = o.number AND m.settled > 0
                    AND CASE WHEN m.claims > m.settled THEN m.settler ELSE m.worker END = _worker));
END $$;
