-- What those who wait look at. Each is a step or two into an index.

-- Whether something happened that a waiting worker may want to know: messages or suspects that could be given out from
-- `_queues`, its orders, a number that rises when something becomes ready, and in how many seconds the next message
-- falls due or a suspect has waited long enough (NULL: none).
CREATE OR REPLACE FUNCTION {T}glance(
    _worker text, _queues text[], OUT _registered boolean, OUT _draining boolean, OUT _cancel bytea[],
    OUT _ready boolean, OUT _suspect boolean, OUT _mark bigint, OUT _moment float8)
LANGUAGE plpgsql STABLE {BY_INDEX} AS $$
DECLARE
    _now    float8 := {NOW};
    _served text[];
BEGIN
    SELECT draining INTO _draining FROM {T}workers WHERE worker = _worker;
    _registered := FOUND;
    _cancel := {T}cancelling(_worker);
    _ready := false;
    _suspect := false;
    IF _queues IS NULL OR cardinality(_queues) > 0 THEN
        SELECT s._served INTO _served FROM {T}served(_queues) s;
        _ready := cardinality(_served) > 0 AND (_queues IS NULL OR EXISTS (
            SELECT 1 FROM unnest(_served) AS q (queue) CROSS JOIN LATERAL (
                SELECT 1 FROM {T}messages m WHERE m.stage = {READY} AND m.queue = q.queue LIMIT 1) first));
        _suspect := EXISTS (
            SELECT 1 FROM {T}messages m WHERE m.stage = {SUSPECT} AND (_queues IS NULL OR m.queue = ANY (_queues))
                AND NOT EXISTS (SELECT 1 FROM {T}paused p WHERE p.queue = m.queue));
    END IF;
    SELECT last_value INTO _mark FROM {T}places;
    SELECT least(
        (SELECT run_at - _now FROM {T}messages WHERE stage = {LATER} ORDER BY run_at LIMIT 1),
        (SELECT min(updated_at + {SUSPECT_PATIENCE} - _now) FROM {T}messages
         WHERE stage = {SUSPECT} AND updated_at + {SUSPECT_PATIENCE} > _now))
    INTO _moment;
END $$;

-- Tell who listens of `_topics`. It is a hint, so that nobody waits for the disk.
CREATE OR REPLACE FUNCTION {T}notify(_topics text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_notify('{CHANNEL}', topic) FROM unnest(_topics) AS topic;
END $$;
