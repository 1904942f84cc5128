-- The tables of version 1. `{{WORD}}`s are the numbers of layout.py; instants are Unix seconds, but for those of `workers`.

-- One row a message, in the order of put.
CREATE TABLE messages (
    no          INTEGER PRIMARY KEY,            -- never given twice
    id          BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    stage       INTEGER NOT NULL,
    status      INTEGER NOT NULL,
    flags       INTEGER NOT NULL DEFAULT 0,
    seq         INTEGER NOT NULL DEFAULT 0,     -- its place in line; 0: to be given when it becomes ready
    claims      INTEGER NOT NULL DEFAULT 0,     -- how often it was claimed; with `worker` the fencing token
    settled     INTEGER NOT NULL DEFAULT 0,     -- the claim settled last by its holder: by `worker`, or, when it was
    settler     TEXT,                           -- claimed again since, by `settler`
    attempts    INTEGER NOT NULL DEFAULT 0,
    losses      INTEGER NOT NULL DEFAULT 0,
    unknowns    INTEGER NOT NULL DEFAULT 0,
    max_losses  INTEGER NOT NULL,
    waiting_on  INTEGER NOT NULL DEFAULT 0,     -- its open edges
    worker      TEXT,                           -- who claimed it last
    run_at      REAL,
    created_at  REAL    NOT NULL,
    updated_at  REAL    NOT NULL,
    started_at  REAL,
    finished_at REAL,
    expires_at  REAL,                           -- when the sweep looks at it next; NULL: kept for its workflow
    result_ttl  REAL    NOT NULL,
    workflow    BLOB,
    unique_key  TEXT,
    progress    BLOB,
    error       BLOB,
    result      BLOB,
    body        BLOB                            -- the sealed envelope; NULL: see `bodies`
) STRICT;

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE INDEX messages_ready    ON messages (queue, priority DESC, seq)  WHERE stage = {READY};
CREATE INDEX messages_suspect  ON messages (queue, priority DESC, seq)  WHERE stage = {SUSPECT};
CREATE INDEX messages_later    ON messages (run_at, no, queue)          WHERE stage = {LATER};
CREATE INDEX messages_blocked  ON messages (queue)                      WHERE stage = {BLOCKED};
CREATE INDEX messages_held     ON messages (updated_at)                 WHERE stage = {BLOCKED} AND flags & {HELD};
CREATE INDEX messages_claimed  ON messages (worker, queue)              WHERE stage = {CLAIMED};
CREATE INDEX messages_ended    ON messages (queue, status, expires_at)  WHERE stage = {ENDED};
CREATE INDEX messages_retry    ON messages (queue)                      WHERE status = {RETRY};
CREATE INDEX messages_fallen   ON messages (id)                         WHERE status >= {FAILURE};
CREATE INDEX messages_workflow ON messages (workflow)                   WHERE workflow IS NOT NULL;

-- Sealed envelopes of more than {SHORT} bytes, apart so that no step rewrites them.
CREATE TABLE bodies (
    no   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Who waits for whom. `open`: the parent has not finished since the child began to wait for it.
CREATE TABLE edges (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    open   INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_child ON edges (child);

-- Messages that failed and whose dependents are not all cancelled yet; kept although the message may be gone.
CREATE TABLE fallen (
    no     INTEGER PRIMARY KEY,
    id     BLOB    NOT NULL,
    name   TEXT    NOT NULL,
    status INTEGER NOT NULL
) STRICT;

-- The message that took a unique key last. It holds the key until `until`, or, where that is NULL, until it finishes.
CREATE TABLE uniques (
    name  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    no    INTEGER NOT NULL,
    until REAL,
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    worker       TEXT    PRIMARY KEY,
    beat         BLOB    NOT NULL,              -- the last Beat, as MessagePack
    lease        REAL    NOT NULL,
    beat_at      REAL    NOT NULL,              -- by the clock that nobody sets, as the next
    suspected_at REAL,                          -- when a sweep first found the last beat too old
    draining     INTEGER NOT NULL DEFAULT 0,
    cancels      INTEGER NOT NULL DEFAULT 0,    -- whether it may hold a message that is to be cancelled
    orders       INTEGER NOT NULL DEFAULT 0,    -- rises with every order
    alone        INTEGER,                       -- the suspect it was given last
    empties      INTEGER                        -- the suspect for which it is given nothing more until it is empty
) STRICT, WITHOUT ROWID;

CREATE TABLE paused (
    queue TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    name     TEXT    PRIMARY KEY,
    spec     BLOB    NOT NULL,
    last_due REAL,
    paused   INTEGER NOT NULL,
    version  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE locks (
    name  TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    since REAL NOT NULL,                        -- by the clock that nobody sets, as the next; it begins anew with the
    until REAL NOT NULL                         -- machine, so that a lock "taken in the future" is held by nobody
) STRICT, WITHOUT ROWID;

-- One row. `seq`: the last number or place given, unless a message has a higher `no`. `wakes`: rises when something becomes claimable or is ordered.
-- `schedules`: rises when a schedule changes.
CREATE TABLE counters (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    seq       INTEGER NOT NULL,
    wakes     INTEGER NOT NULL,
    schedules INTEGER NOT NULL
) STRICT;
-- Row numbers start anywhere, so that a claim on a file that was replaced means nothing in the next.
INSERT INTO counters VALUES (1, abs(random() % 4294967296), 0, 0);
