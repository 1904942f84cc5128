-- Deleting messages wholly: row, unique key and edges.

-- Delete messages, none of which runs. Dependents that are still to be cancelled for their sake will be.
CREATE OR REPLACE FUNCTION {T}forget(_ids uuid[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    _finished int;
    _others   int;
BEGIN
    DELETE FROM {T}uniques u USING (
        SELECT id, name, unique_key FROM {T}ended WHERE id = ANY (_ids) AND unique_key IS NOT NULL
        UNION ALL
        SELECT id, name, unique_key FROM {T}messages WHERE id = ANY (_ids) AND unique_key IS NOT NULL
    ) m WHERE u.name = m.name AND u.key = m.unique_key AND u.id = m.id;
    DELETE FROM {T}ended WHERE id = ANY (_ids);
    GET DIAGNOSTICS _finished = ROW_COUNT;
    DELETE FROM {T}messages WHERE id = ANY (_ids) AND stage <> {CLAIMED};
    GET DIAGNOSTICS _others = ROW_COUNT;
    DELETE FROM {T}edges WHERE child = ANY (_ids);
    PERFORM {T}forget_edges(_ids);
    RETURN _finished + _others;
END $$;

-- Drop what is known of who waited for messages that are gone, unless their dependents are still to be cancelled.
CREATE OR REPLACE FUNCTION {T}forget_edges(_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {T}edges e
    WHERE e.parent = ANY (_ids)
        AND NOT EXISTS (SELECT 1 FROM {T}messages m WHERE m.id = e.parent)
        AND NOT EXISTS (SELECT 1 FROM {T}ended m WHERE m.id = e.parent)
        AND NOT EXISTS (SELECT 1 FROM {T}fallen f WHERE f.id = e.parent);
END $$;
