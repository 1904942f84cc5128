-- What several steps share.

-- A text as MessagePack.
CREATE OR REPLACE FUNCTION {T}packed(_text text) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    _raw    bytea := convert_to(_text, 'UTF8');
    _length int := length(_raw);
BEGIN
    IF _length < 32 THEN
        RETURN set_byte('\x00'::bytea, 0, 160 + _length) || _raw;
    END IF;
    RETURN '\xda'::bytea || substring(int4send(_length) FROM 3) || _raw;
END $$;

-- An ErrorRecord without a traceback, encoded.
CREATE OR REPLACE FUNCTION {T}error_record(_type text, _message text, _reason text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN '\x83'::bytea || {T}packed('type') || {T}packed(_type) || {T}packed('message') || {T}packed(_message)
        || {T}packed('reason') || {T}packed(_reason);
END $$;

-- Where an unfinished message that nobody holds belongs at `_now`.
CREATE OR REPLACE FUNCTION {T}stage_for(_flags int, _waiting_on int, _run_at float8, _losses int, _now float8)
RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN _flags & {HELD} <> 0 THEN {UNOPENED}
        WHEN _waiting_on > 0 THEN {BLOCKED}
        WHEN _run_at > _now THEN {LATER}
        WHEN _losses > 0 THEN {SUSPECT}
        ELSE {READY}
    END::smallint
$$;

-- The place of a message that stands in line or does not: the one it has, or a fresh one. Volatile: once for each row.
CREATE OR REPLACE FUNCTION {T}place_for(_stage int, _seq bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN _stage IN ({READY}, {SUSPECT}) AND _seq = 0 THEN nextval('{T}places') ELSE _seq END
$$;
