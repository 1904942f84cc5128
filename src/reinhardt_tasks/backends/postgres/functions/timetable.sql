-- Stored schedules, and locks.

-- Store a schedule, keeping `last_due` where the argument is NULL. Answers that, and its new version.
CREATE OR REPLACE FUNCTION {T}save(
    _name text, _spec bytea, _due float8, _paused boolean, OUT _last_due float8, OUT _version bigint)
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {T}counters SET schedules = schedules + 1 RETURNING schedules INTO _version;
    INSERT INTO {T}schedules AS s (name, spec, last_due, paused, version) VALUES (_name, _spec, _due, _paused, _version)
    ON CONFLICT (name) DO UPDATE
    SET spec = excluded.spec, last_due = coalesce(excluded.last_due, s.last_due), paused = excluded.paused,
        version = excluded.version
    RETURNING last_due INTO _last_due;
END $$;

-- Forget a schedule.
CREATE OR REPLACE FUNCTION {T}remove(_name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _known boolean;
BEGIN
    UPDATE {T}counters SET schedules = schedules + 1;
    DELETE FROM {T}schedules WHERE name = _name;
    _known := FOUND;
    IF NOT _known THEN
        UPDATE {T}counters SET schedules = schedules - 1;
    END IF;
    RETURN _known;
END $$;

-- The token takes the lock for `_ttl` seconds, unless another one holds it. Answers until when, NULL where it does not.
CREATE OR REPLACE FUNCTION {T}acquire(_name text, _token text, _ttl float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    _now   float8 := {NOW};
    _until float8;
BEGIN
    INSERT INTO {T}locks AS l (name, token, until) VALUES (_name, _token, _now + _ttl)
    ON CONFLICT (name) DO UPDATE SET token = excluded.token, until = excluded.until
    WHERE l.token = excluded.token OR l.until <= _now
    RETURNING until INTO _until;
    RETURN _until;
END $$;

-- The token, which holds the lock, does so for `_ttl` seconds from now. Answers until when, NULL where it does not.
CREATE OR REPLACE FUNCTION {T}extend(_name text, _token text, _ttl float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    _now   float8 := {NOW};
    _until float8;
BEGIN
    UPDATE {T}locks SET until = _now + _ttl WHERE name = _name AND token = _token AND until > _now
    RETURNING until INTO _until;
    RETURN _until;
END $$;

-- The token, which holds the lock, lets go.
CREATE OR REPLACE FUNCTION {T}release(_name text, _token text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {T}locks WHERE name = _name AND token = _token AND until > {NOW};
    RETURN FOUND;
END $$;
