-- The tables of version 1. Instants are Unix seconds by the database's clock. `{{WORD}}`s are the numbers of layout.py.

-- What is not finished: one row a message, narrow, and gone with its end.
CREATE TABLE {T}messages (
    id         uuid     NOT NULL,
    created_at float8   NOT NULL,
    updated_at float8   NOT NULL,
    result_ttl float8   NOT NULL,
    seq        bigint   NOT NULL DEFAULT 0,     -- its place in line; 0: to be given when it becomes ready
    max_losses int      NOT NULL,
    claims     int      NOT NULL DEFAULT 0,     -- how often it was claimed; with `worker` the fencing token
    settled    int      NOT NULL DEFAULT 0,     -- the claim settled last by its holder: by `settler` where it was
    attempts   int      NOT NULL DEFAULT 0,     -- claimed again since, else by `worker`
    losses     int      NOT NULL DEFAULT 0,
    unknowns   int      NOT NULL DEFAULT 0,
    waiting_on int      NOT NULL DEFAULT 0,     -- its open edges
    priority   smallint NOT NULL,
    stage      smallint NOT NULL,
    status     smallint NOT NULL DEFAULT {PENDING},
    flags      smallint NOT NULL DEFAULT 0,
    run_at     float8,
    started_at float8,
    workflow   uuid,
    name       text COLLATE "C" NOT NULL,
    queue      text COLLATE "C" NOT NULL,
    worker     text COLLATE "C",                -- who claimed it last
    settler    text COLLATE "C",
    unique_key text COLLATE "C",
    progress   bytea,
    error      bytea,
    body       bytea    NOT NULL,               -- the sealed envelope
    PRIMARY KEY (id)
) WITH (
    fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 5000
);
ALTER TABLE {T}messages ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX {N}messages_ready    ON {T}messages (queue, priority DESC, seq) WHERE stage = {READY};
CREATE INDEX {N}messages_suspect  ON {T}messages (queue, priority DESC, seq) WHERE stage = {SUSPECT};
CREATE INDEX {N}messages_later    ON {T}messages (run_at, id)                WHERE stage = {LATER};
CREATE INDEX {N}messages_waiting  ON {T}messages (queue, stage)              WHERE stage IN ({LATER}, {BLOCKED}, {UNOPENED});
CREATE INDEX {N}messages_unopened ON {T}messages (created_at)                WHERE stage = {UNOPENED};
CREATE INDEX {N}messages_claimed  ON {T}messages (worker)                    WHERE stage = {CLAIMED};
CREATE INDEX {N}messages_cancel   ON {T}messages (worker)                    WHERE stage = {CLAIMED} AND flags & {CANCELLING} <> 0;
CREATE INDEX {N}messages_retry    ON {T}messages (id)                        WHERE status = {RETRY};
CREATE INDEX {N}messages_workflow ON {T}messages (workflow)                  WHERE workflow IS NOT NULL;

-- What is finished, until its record is over.
CREATE TABLE {T}ended (
    id          uuid     NOT NULL,
    created_at  float8   NOT NULL,
    updated_at  float8   NOT NULL,
    finished_at float8   NOT NULL,
    expires_at  float8,                         -- when the sweep looks at it next; NULL: kept for its workflow
    result_ttl  float8   NOT NULL,
    max_losses  int      NOT NULL,
    claims      int      NOT NULL,
    settled     int      NOT NULL,
    attempts    int      NOT NULL,
    losses      int      NOT NULL,
    unknowns    int      NOT NULL,
    priority    smallint NOT NULL,
    status      smallint NOT NULL,
    flags       smallint NOT NULL,
    run_at      float8,
    started_at  float8,
    workflow    uuid,
    name        text COLLATE "C" NOT NULL,
    queue       text COLLATE "C" NOT NULL,
    worker      text COLLATE "C",
    settler     text COLLATE "C",
    unique_key  text COLLATE "C",
    progress    bytea,
    error       bytea,
    result      bytea,
    body        bytea,                          -- NULL once the result is dropped
    PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {T}ended ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE {T}ended ALTER COLUMN result SET STORAGE EXTERNAL;
CREATE INDEX {N}ended_expiry   ON {T}ended (queue, status, expires_at);
CREATE INDEX {N}ended_fallen   ON {T}ended (id)       WHERE status >= {FAILURE};
CREATE INDEX {N}ended_workflow ON {T}ended (workflow) WHERE workflow IS NOT NULL;

-- Who waits for whom. `open`: the parent has not finished since the child began to wait for it.
CREATE TABLE {T}edges (
    parent uuid    NOT NULL,
    child  uuid    NOT NULL,
    open   boolean NOT NULL,
    PRIMARY KEY (parent, child)
);
CREATE INDEX {N}edges_child ON {T}edges (child);

-- Messages that failed and whose dependents are not all cancelled yet; kept although the message may be gone.
CREATE TABLE {T}fallen (
    id     uuid     PRIMARY KEY,
    name   text     NOT NULL,
    status smallint NOT NULL
);

-- The message that took a unique key last. It holds the key until `until`, or, where that is NULL, until it finishes.
CREATE TABLE {T}uniques (
    name  text COLLATE "C" NOT NULL,
    key   text COLLATE "C" NOT NULL,
    id    uuid NOT NULL,
    until float8,
    PRIMARY KEY (name, key)
);

-- The registered workers, and what an exchange or an operator changes of them.
CREATE TABLE {T}workers (
    worker   text COLLATE "C" PRIMARY KEY,
    sequence bigint  NOT NULL DEFAULT 0,        -- of its newest exchange
    draining boolean NOT NULL DEFAULT false,
    alone    uuid,                              -- the suspect it was given last
    empties  uuid                               -- the suspect for which it is given nothing more until it is empty
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Their signs of life. Only a beat writes here, so that it waits for no exchange.
CREATE TABLE {T}beats (
    worker       text COLLATE "C" PRIMARY KEY,
    beat_at      float8 NOT NULL,
    lease        float8 NOT NULL,
    suspected_at float8,                        -- when a sweep first found the last beat too old
    beat         bytea  NOT NULL                -- the last Beat, as MessagePack
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE {T}paused (
    queue text COLLATE "C" PRIMARY KEY
);

CREATE TABLE {T}schedules (
    name     text COLLATE "C" PRIMARY KEY,
    spec     bytea   NOT NULL,
    last_due float8,
    paused   boolean NOT NULL,
    version  bigint  NOT NULL
);

CREATE TABLE {T}locks (
    name  text COLLATE "C" PRIMARY KEY,
    token text   NOT NULL,
    until float8 NOT NULL
);

-- Places in line. It also rises, without a place being given, when a message comes back to its old place.
CREATE SEQUENCE {T}places;

-- Rises with each change of a schedule.
CREATE TABLE {T}counters (
    one       boolean PRIMARY KEY CHECK (one),
    schedules bigint NOT NULL
);
INSERT INTO {T}counters VALUES (true, 0);
