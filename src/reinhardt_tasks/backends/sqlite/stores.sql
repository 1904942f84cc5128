-- The tables of result and metadata stores. They are made beside those of schema.sql, where they are not there yet.

-- One row for each result of a SqliteResultBackend.
CREATE TABLE IF NOT EXISTS results (
    no         INTEGER PRIMARY KEY,
    id         BLOB NOT NULL,
    expires_at REAL NOT NULL,
    payload    BLOB NOT NULL                    -- a sealed value or error
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS results_id ON results (id);
CREATE INDEX IF NOT EXISTS results_ending    ON results (expires_at);

-- One row for each record of a SqliteMetadataStore.
CREATE TABLE IF NOT EXISTS metadata (
    no         INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL,
    name       TEXT    NOT NULL,
    status     INTEGER NOT NULL,
    version    INTEGER NOT NULL,                -- rises with each change
    created_at REAL    NOT NULL,
    updated_at REAL    NOT NULL,
    expires_at REAL,                            -- NULL: the task is not finished
    task_data  BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS metadata_id ON metadata (id);
CREATE INDEX IF NOT EXISTS metadata_status    ON metadata (status, id);
CREATE INDEX IF NOT EXISTS metadata_name      ON metadata (name, id);
CREATE INDEX IF NOT EXISTS metadata_ending    ON metadata (expires_at) WHERE expires_at IS NOT NULL;
