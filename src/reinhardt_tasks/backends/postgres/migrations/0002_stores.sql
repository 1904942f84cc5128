-- The tables of version 2 beside those of a queue: of the result store and of the metadata store.

-- A sequence that has given nothing out shows what it will give first: the first place of all was not seen to be new.
SELECT nextval('{T}places');

-- Values under ids, until their time is over.
CREATE TABLE {T}results (
    id         uuid   PRIMARY KEY,
    expires_at float8 NOT NULL,
    payload    bytea  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {T}results ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX {N}results_expiry ON {T}results (expires_at);

-- How tasks stand.
CREATE TABLE {T}metadata (
    id         uuid     PRIMARY KEY,
    created_at float8   NOT NULL,
    updated_at float8   NOT NULL,
    expires_at float8,                          -- NULL while its task is not finished
    version    bigint   NOT NULL,
    status     smallint NOT NULL,
    name       text COLLATE "C" NOT NULL,
    task_data  bytea    NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {T}metadata ALTER COLUMN task_data SET STORAGE EXTERNAL;
CREATE INDEX {N}metadata_status ON {T}metadata (status, id);
CREATE INDEX {N}metadata_name   ON {T}metadata (name, id);
CREATE INDEX {N}metadata_expiry ON {T}metadata (expires_at) WHERE expires_at IS NOT NULL;
