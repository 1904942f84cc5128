-- The verbs of the stores that write. Rows are locked in the order of ids; what is over at some time is as good as gone.

-- Keep a result for `_ttl` seconds, in place of what is there. Also forgets some of what is over.
CREATE OR REPLACE FUNCTION {T}result_put(_id uuid, _payload bytea, _ttl float8) RETURNS void
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now float8 := {NOW};
BEGIN
    DELETE FROM {T}results WHERE id IN (
        SELECT id FROM {T}results WHERE expires_at <= _now ORDER BY expires_at LIMIT {FORGOTTEN_AT_ONCE}
        FOR UPDATE SKIP LOCKED);
    INSERT INTO {T}results (id, expires_at, payload) VALUES (_id, _now + _ttl, _payload)
    ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, payload = excluded.payload;
END $$;

-- Forget a result. Answers whether there was one.
CREATE OR REPLACE FUNCTION {T}result_remove(_id uuid) RETURNS boolean LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _until float8;
BEGIN
    DELETE FROM {T}results WHERE id = _id RETURNING expires_at INTO _until;
    RETURN coalesce(_until > {NOW}, false);
END $$;

-- Forget some of the records that were over at `_now`.
CREATE OR REPLACE FUNCTION {T}metadata_forget(_now float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {T}metadata WHERE id IN (
        SELECT id FROM {T}metadata WHERE expires_at <= _now ORDER BY expires_at LIMIT {FORGOTTEN_AT_ONCE}
        FOR UPDATE SKIP LOCKED);
END $$;

-- Keep those of these records whose ids are not known; of several of one id the first. Answers the ids of what was kept.
CREATE OR REPLACE FUNCTION {T}metadata_store(
    _ids uuid[], _names text[], _statuses int[], _data bytea[], _ttl float8) RETURNS bytea[]
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now    float8 := {NOW};
    _stored bytea[];
BEGIN
    PERFORM {T}metadata_forget(_now);
    WITH stored AS (
        INSERT INTO {T}metadata AS m (id, name, status, version, created_at, updated_at, expires_at, task_data)
        SELECT DISTINCT ON (r.id)
            r.id, r.name, r.status, 1, _now, _now, CASE WHEN r.status >= {SUCCESS} THEN _now + _ttl END, r.data
        FROM unnest(_ids, _names, _statuses, _data) WITH ORDINALITY AS r (id, name, status, data, at)
        ORDER BY r.id, r.at
        ON CONFLICT (id) DO UPDATE SET
            name = excluded.name, status = excluded.status, version = 1, created_at = excluded.created_at,
            updated_at = excluded.updated_at, expires_at = excluded.expires_at, task_data = excluded.task_data
        WHERE m.expires_at <= _now
        RETURNING id
    )
    SELECT array_agg(uuid_send(id)) INTO _stored FROM stored;
    RETURN _stored;
END $$;

-- Make each change that can be made, in order: to a status (-1: as it is) from one whose bit is set in `_legal`, of
-- records of the version (NULL: any), with other data (NULL: as they are). For each change a row: whether it was made,
-- and the record as it is now, or how the record stands that it was not made to; all NULL where there is none.
CREATE OR REPLACE FUNCTION {T}metadata_update(
    _ids uuid[], _statuses int[], _legal int[], _versions text[], _datas bytea[], _ttl float8)
RETURNS TABLE (
    _changed boolean, _id bytea, _name text, _status smallint, _version bigint, _created_at float8, _updated_at float8,
    _data bytea)
LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _now    float8 := {NOW};
    _change record;
BEGIN
    PERFORM {T}metadata_forget(_now);
    PERFORM 1 FROM {T}metadata WHERE id = ANY (_ids) ORDER BY id FOR UPDATE;
    _now := {NOW};
    FOR _change IN
        SELECT c.* FROM unnest(_ids, _statuses, _legal, _versions, _datas)
            WITH ORDINALITY AS c (id, status, legal, version, data, at)
        ORDER BY c.at
    LOOP
        UPDATE {T}metadata m SET
            status = CASE WHEN _change.status < 0 THEN m.status ELSE _change.status END,
            expires_at = CASE
                WHEN _change.status < 0 THEN m.expires_at
                WHEN _change.status >= {SUCCESS} THEN _now + _ttl
            END,
            version = m.version + 1, updated_at = _now, task_data = coalesce(_change.data, m.task_data)
        WHERE m.id = _change.id AND (m.expires_at IS NULL OR m.expires_at > _now)
            AND (_change.version IS NULL OR m.version::text = _change.version)
            AND (_change.status < 0 OR _change.legal >> m.status & 1 = 1)
        RETURNING true, {METADATA} INTO _changed, _id, _name, _status, _version, _created_at, _updated_at, _data;
        IF NOT FOUND THEN
            SELECT false, m.status, m.version INTO _changed, _status, _version FROM {T}metadata m
            WHERE m.id = _change.id AND (m.expires_at IS NULL OR m.expires_at > _now);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Forget records. Answers the ids of those that there were.
CREATE OR REPLACE FUNCTION {T}metadata_delete(_ids uuid[]) RETURNS bytea[] LANGUAGE plpgsql {BY_INDEX} AS $$
DECLARE
    _deleted bytea[];
BEGIN
    PERFORM 1 FROM {T}metadata WHERE id = ANY (_ids) ORDER BY id FOR UPDATE;
    WITH deleted AS (
        DELETE FROM {T}metadata WHERE id = ANY (_ids) RETURNING id, expires_at
    )
    SELECT array_agg(uuid_send(id)) INTO _deleted FROM deleted WHERE expires_at IS NULL OR expires_at > {NOW};
    RETURN _deleted;
END $$;
