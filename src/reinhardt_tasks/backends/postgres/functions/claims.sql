-- Giving messages to workers.

-- Let what is due stand in line, the earliest first, at most MAX_BATCH. Answers how many, and their queues.
CREATE OR REPLACE FUNCTION {T}promote(_now float8, OUT _promoted int, OUT _rings text[]) LANGUAGE plpgsql AS $$
BEGIN
    WITH due AS MATERIALIZED (
        SELECT id FROM {T}messages WHERE stage = {LATER} AND run_at <= _now
        ORDER BY run_at, id LIMIT {MAX_BATCH} FOR UPDATE SKIP LOCKED
    ), ready AS (
        UPDATE {T}messages m
        SET stage = {T}stage_for(0, 0, NULL, m.losses, _now), seq = {T}place_for({READY}, m.seq),
            updated_at = CASE WHEN m.losses > 0 THEN _now ELSE m.updated_at END
        FROM due WHERE m.id = due.id
        RETURNING m.queue
    )
    SELECT count(*), array_agg(DISTINCT queue) INTO _promoted, _rings FROM ready;
END $$;

-- The queues a worker is served from, in its order, none of them paused: those in `_queues`, or (NULL) those with ready
-- messages, each found by one step into the index. With each the priority and the place of its first ready message, or
-- what is before any; so claims need not step again over dead entries that are before it and cannot be removed yet.
CREATE OR REPLACE FUNCTION {T}served(
    _queues text[], OUT _served text[], OUT _priorities int[], OUT _seqs bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    _head record;
BEGIN
    IF _queues IS NULL THEN
        _served := ARRAY[]::text[];
        SELECT queue, priority, seq INTO _head FROM {T}messages
        WHERE stage = {READY} ORDER BY queue, priority DESC, seq LIMIT 1;
        WHILE _head.queue IS NOT NULL LOOP
            _served := array_append(_served, _head.queue);
            _priorities := array_append(_priorities, _head.priority::int);
            _seqs := array_append(_seqs, _head.seq);
            SELECT queue, priority, seq INTO _head FROM {T}messages
            WHERE stage = {READY} AND queue > _head.queue ORDER BY queue, priority DESC, seq LIMIT 1;
        END LOOP;
    ELSE
        _served := _queues;
        _priorities := array_fill(32767, ARRAY[cardinality(_served)]);  -- none is higher
        _seqs := array_fill(0::bigint, ARRAY[cardinality(_served)]);
    END IF;
    IF EXISTS (SELECT 1 FROM {T}paused) THEN
        SELECT coalesce(array_agg(q.queue ORDER BY q.at), ARRAY[]::text[]), array_agg(q.priority ORDER BY q.at),
            array_agg(q.seq ORDER BY q.at)
        INTO _served, _priorities, _seqs
        FROM unnest(_served, _priorities, _seqs) WITH ORDINALITY AS q (queue, priority, seq, at)
        WHERE NOT EXISTS (SELECT 1 FROM {T}paused p WHERE p.queue = q.queue);
    END IF;
END $$;

-- How many of the first `_want` messages stand in each of the queues `_served`. `_ordered`: within a priority their
-- order counts before the place in line.
CREATE OR REPLACE FUNCTION {T}shares(_served text[], _ordered boolean, _want int) RETURNS int[] LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(_served) = 1 THEN
        RETURN ARRAY[_want];
    END IF;
    RETURN ARRAY(
        SELECT count(best.at)::int
        FROM unnest(_served) WITH ORDINALITY AS q (queue, at) LEFT JOIN (
            SELECT s.at
            FROM unnest(_served) WITH ORDINALITY AS s (queue, at) CROSS JOIN LATERAL (
                SELECT m.priority, m.seq FROM {T}messages m WHERE m.stage = {READY} AND m.queue = s.queue
                ORDER BY m.priority DESC, m.seq LIMIT _want) line
            ORDER BY line.priority DESC, CASE WHEN _ordered THEN s.at ELSE 0 END, line.seq LIMIT _want
        ) best ON best.at = q.at
        GROUP BY q.at ORDER BY q.at);
END $$;

-- Give the worker `_worker` the first `_want` messages of the queues `_served`, in order, none of which has any before
-- its `_priorities` and `_seqs`. Those another worker is just being given are passed over.
CREATE OR REPLACE FUNCTION {T}claim(
    _worker text, _want int, _served text[], _priorities int[], _seqs bigint[], _ordered boolean, _now float8,
    OUT _ids bytea[], OUT _numbers int[], OUT _bodies bytea[], OUT _attempts int[], OUT _losses int[],
    OUT _unknowns int[], OUT _run_ats float8[])
LANGUAGE plpgsql AS $$
DECLARE
    _shares int[] := {T}shares(_served, _ordered, _want);
BEGIN
    WITH given AS (
        UPDATE {T}messages m
        SET stage = {CLAIMED}, status = {RUNNING}, worker = _worker, claims = m.claims + 1, started_at = _now,
            updated_at = _now, progress = NULL
        WHERE m.ctid = ANY (ARRAY(
            SELECT first.ctid
            FROM unnest(_served, _priorities, _seqs, _shares) AS q (queue, priority, seq, share) CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT r.ctid FROM {T}messages r
                    WHERE r.stage = {READY} AND r.queue = q.queue AND r.priority = q.priority AND r.seq >= q.seq
                    ORDER BY r.seq LIMIT q.share FOR UPDATE SKIP LOCKED) highest
                UNION ALL
                SELECT * FROM (
                    SELECT r.ctid FROM {T}messages r
                    WHERE r.stage = {READY} AND r.queue = q.queue AND r.priority < q.priority
                    ORDER BY r.priority DESC, r.seq LIMIT q.share FOR UPDATE SKIP LOCKED) lower
                LIMIT q.share) first))
        RETURNING m.id, m.claims, m.body, m.attempts, m.losses, m.unknowns, m.run_at, m.priority, m.seq, m.queue
    )
    SELECT array_agg(uuid_send(id)), array_agg(claims), array_agg(body), array_agg(attempts), array_agg(losses),
        array_agg(unknowns), array_agg(run_at)
    INTO _ids, _numbers, _bodies, _attempts, _losses, _unknowns, _run_ats
    FROM (
        SELECT * FROM given
        ORDER BY priority DESC, CASE WHEN _ordered THEN array_position(_served, queue) ELSE 0 END, seq) g;
END $$;

-- As `claim`, for one suspect, unless another worker is just being given it.
CREATE OR REPLACE FUNCTION {T}claim_suspect(
    _worker text, _id uuid, _now float8, OUT _ids bytea[], OUT _numbers int[],
    OUT _bodies bytea[], OUT _attempts int[], OUT _losses int[], OUT _unknowns int[], OUT _run_ats float8[])
LANGUAGE plpgsql AS $$
BEGIN
    WITH picked AS MATERIALIZED (
        SELECT m.id FROM {T}messages m WHERE m.id = _id AND m.stage = {SUSPECT} FOR UPDATE SKIP LOCKED
    ), given AS (
        UPDATE {T}messages m
        SET stage = {CLAIMED}, status = {RUNNING}, worker = _worker, claims = m.claims + 1, started_at = _now,
            updated_at = _now, progress = NULL
        FROM picked WHERE m.id = picked.id
        RETURNING m.*
    )
    SELECT array_agg(uuid_send(id)), array_agg(claims), array_agg(body), array_agg(attempts), array_agg(losses),
        array_agg(unknowns), array_agg(run_at)
    INTO _ids, _numbers, _bodies, _attempts, _losses, _unknowns, _run_ats
    FROM given;
    IF _ids IS NOT NULL THEN
        UPDATE {T}workers SET alone = _id WHERE worker = _worker;
    END IF;
END $$;

-- The suspect that comes first for a worker that serves `_queues`, of which `_served` are not paused, and since when it
-- waits. NULL: there is none.
CREATE OR REPLACE FUNCTION {T}first_suspect(
    _queues text[], _served text[], OUT _id uuid, OUT _priority int, OUT _at int, OUT _seq bigint, OUT _since float8)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT m.id, m.priority, CASE WHEN _queues IS NULL THEN 0 ELSE array_position(_served, m.queue) END, m.seq, m.updated_at
    INTO _id, _priority, _at, _seq, _since
    FROM {T}messages m
    WHERE m.stage = {SUSPECT} AND (_queues IS NULL OR m.queue = ANY (_served))
        AND NOT EXISTS (SELECT 1 FROM {T}paused p WHERE p.queue = m.queue)
    ORDER BY m.priority DESC, 3, m.seq LIMIT 1;
END $$;

-- Whether the suspect comes before every ready message of the queues `_served`.
CREATE OR REPLACE FUNCTION {T}comes_first(_priority int, _at int, _seq bigint, _served text[], _ordered boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT 1
        FROM unnest(_served) WITH ORDINALITY AS q (queue, at) CROSS JOIN LATERAL (
            SELECT m.priority, m.seq FROM {T}messages m WHERE m.stage = {READY} AND m.queue = q.queue
            ORDER BY m.priority DESC, m.seq LIMIT 1) head
        WHERE (-head.priority, CASE WHEN _ordered THEN q.at ELSE 0 END, head.seq) < (-_priority, _at, _seq));
END $$;

-- Whether the worker `_worker` is the one that takes nothing more until it can take `_suspect`; the first to ask is.
CREATE OR REPLACE FUNCTION {T}is_emptied(_worker text, _suspect uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _emptied text[] := ARRAY(SELECT worker FROM {T}workers WHERE empties = _suspect);
BEGIN
    IF cardinality(_emptied) = 0 THEN
        UPDATE {T}workers SET empties = _suspect WHERE worker = _worker;
        RETURN true;
    END IF;
    RETURN _worker = ANY (_emptied);
END $$;

-- See TaskBackend.exchange: one statement, so one transaction and one round trip. `_s_…`: claims that ended in success,
-- `_o_…`: other outcomes, `_r_…`: reports of progress. `_overtaken`: a later exchange of this worker came first, nothing
-- was done. `_settled`: NULL for all. `_withheld`: not all that is ready was on offer.
CREATE OR REPLACE FUNCTION {T}exchange(
    _worker text, _sequence bigint,
    _s_ids uuid[], _s_numbers int[], _s_payloads bytea[],
    _o_ids uuid[], _o_numbers int[], _o_kinds int[], _o_payloads bytea[], _o_delays float8[], _o_unknowns boolean[],
    _r_ids uuid[], _r_numbers int[], _r_progress bytea[],
    _want int, _queues text[], _held uuid[],
    OUT _overtaken boolean, OUT _settled bytea[], OUT _before bytea[],
    OUT _registered boolean, OUT _draining boolean, OUT _cancel bytea[], OUT _withheld boolean, OUT _mark bigint,
    OUT _rings text[],
    OUT _ids bytea[], OUT _numbers int[], OUT _bodies bytea[], OUT _attempts int[], OUT _losses int[],
    OUT _unknowns int[], OUT _run_ats float8[])
LANGUAGE plpgsql {BY_INDEX} AS $$
#variable_conflict use_variable
DECLARE
    _now     float8 := {NOW};
    _alone   uuid;
    _done    uuid[];
    _more    uuid[];
    _told    uuid[];
    _step    record;  -- assigned from a function, which costs less than to SELECT from it
    _offered int := cardinality(_s_ids) + cardinality(_o_ids);
BEGIN
    UPDATE {T}workers SET sequence = _sequence WHERE worker = _worker AND sequence <= _sequence
    RETURNING draining, alone INTO _draining, _alone;
    _registered := FOUND;
    _overtaken := NOT _registered AND EXISTS (SELECT 1 FROM {T}workers WHERE worker = _worker);
    _withheld := true;
    IF _overtaken THEN
        RETURN;
    END IF;
    IF cardinality(_r_ids) > 0 THEN
        PERFORM {T}note(_worker, _r_ids, _r_numbers, _r_progress, _now);
    END IF;
    IF cardinality(_s_ids) > 0 THEN
        _step := {T}succeed(_worker, _s_ids, _s_numbers, _s_payloads, _now);
        _done := _step._settled;
        _told := _step._told;
    END IF;
    IF cardinality(_o_ids) > 0 THEN
        SELECT s._settled, _told || s._told, s._rings INTO _more, _told, _rings
        FROM {T}settle_others(
            _worker, _o_ids, _o_numbers, _o_kinds, _o_payloads, _o_delays, _o_unknowns, _now) s;
        _done := _done || _more;
    END IF;
    IF _told IS NOT NULL THEN
        SELECT _rings || t._rings INTO _rings FROM {T}tell(_told, _now) t;
    END IF;
    IF _offered > coalesce(cardinality(_done), 0) THEN
        _settled := ARRAY(SELECT uuid_send(id) FROM unnest(_done) AS id);
        _before := {T}settled_before(_worker, _s_ids || _o_ids, _s_numbers || _o_numbers);
    END IF;
    IF EXISTS (SELECT 1 FROM {T}messages WHERE stage = {LATER} AND run_at <= _now) THEN
        SELECT _rings || p._rings INTO _rings FROM {T}promote(_now) p;
    END IF;
    SELECT last_value INTO _mark FROM {T}places;
    IF NOT _registered THEN
        RETURN;
    END IF;
    _step := {T}offer(_worker, _alone, CASE WHEN _draining THEN 0 ELSE _want END, _queues, _now);
    _withheld := _step._withheld;
    _ids := _step._ids;
    _numbers := _step._numbers;
    _bodies := _step._bodies;
    _attempts := _step._attempts;
    _losses := _step._losses;
    _unknowns := _step._unknowns;
    _run_ats := _step._run_ats;
    IF _held IS NOT NULL THEN
        SELECT h._ids, h._numbers, h._bodies, h._attempts, h._losses, h._unknowns, h._run_ats
        INTO _ids, _numbers, _bodies, _attempts, _losses, _unknowns, _run_ats
        FROM {T}holds_unknown(_worker, _held) h;
    END IF;
    _cancel := {T}cancelling(_worker);
END $$;

-- What a registered worker is given: one suspect alone, or others, or nothing as it is being emptied for a suspect.
CREATE OR REPLACE FUNCTION {T}offer(
    _worker text, _alone uuid, _want int, _queues text[], _now float8,
    OUT _withheld boolean, OUT _ids bytea[], OUT _numbers int[], OUT _bodies bytea[], OUT _attempts int[],
    OUT _losses int[], OUT _unknowns int[], OUT _run_ats float8[])
LANGUAGE plpgsql AS $$
DECLARE
    _suspect    record;
    _given      record;
    _served     text[];
    _priorities int[];
    _seqs       bigint[];
    _overdue    boolean;
BEGIN
    _withheld := true;
    IF _want <= 0 OR (_alone IS NOT NULL AND EXISTS (
        SELECT 1 FROM {T}messages WHERE id = _alone AND stage = {CLAIMED} AND worker = _worker
    )) THEN
        RETURN;
    END IF;
    SELECT * INTO _served, _priorities, _seqs FROM {T}served(_queues);
    _withheld := false;
    IF EXISTS (SELECT 1 FROM {T}messages WHERE stage = {SUSPECT}) THEN
        SELECT * INTO _suspect FROM {T}first_suspect(_queues, _served);
        IF _suspect._id IS NOT NULL THEN
            _withheld := true;
            _overdue := _now - _suspect._since >= {SUSPECT_PATIENCE};
            IF EXISTS (SELECT 1 FROM {T}messages WHERE stage = {CLAIMED} AND worker = _worker) THEN
                IF _overdue AND {T}is_emptied(_worker, _suspect._id) THEN
                    RETURN;
                END IF;
            ELSIF _overdue OR {T}comes_first(
                _suspect._priority, _suspect._at, _suspect._seq, _served, _queues IS NOT NULL
            ) THEN
                SELECT c._ids, c._numbers, c._bodies, c._attempts, c._losses, c._unknowns, c._run_ats
                INTO _ids, _numbers, _bodies, _attempts, _losses, _unknowns, _run_ats
                FROM {T}claim_suspect(_worker, _suspect._id, _now) c;
                IF _ids IS NOT NULL THEN
                    RETURN;
                END IF;
            END IF;
        END IF;
    END IF;
    IF cardinality(_served) > 0 THEN
        _given := {T}claim(_worker, _want, _served, _priorities, _seqs, _queues IS NOT NULL, _now);
        _ids := _given._ids;
        _numbers := _given._numbers;
        _bodies := _given._bodies;
        _attempts := _given._attempts;
        _losses := _given._losses;
        _unknowns := _given._unknowns;
        _run_ats := _given._run_ats;
    END IF;
END $$;

-- The claims of a worker that are not among `_held`: new ones, and those of an answer that was lost.
CREATE OR REPLACE FUNCTION {T}holds_unknown(
    _worker text, _held uuid[], OUT _ids bytea[], OUT _numbers int[], OUT _bodies bytea[], OUT _attempts int[],
    OUT _losses int[], OUT _unknowns int[], OUT _run_ats float8[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT array_agg(uuid_send(id)), array_agg(claims), array_agg(body), array_agg(attempts), array_agg(losses),
        array_agg(unknowns), array_agg(run_at)
    INTO _ids, _numbers, _bodies, _attempts, _losses, _unknowns, _run_ats
    FROM (
        SELECT * FROM {T}messages WHERE stage = {CLAIMED} AND worker = _worker AND id <> ALL (_held)
        ORDER BY started_at, priority DESC, seq) h;
END $$;
