-- The schema of the SQLite backend. Columns keep the order and names the PostgreSQL one will have.
--
-- Types: ids are the 16 bytes of a UUID; timestamps are integers, microseconds since 1970 UTC; dates
-- are text, YYYY-MM-DD; booleans are 0 and 1; JSON is text, so that it can be read with any tool.
--
-- Columns that filters read stand before the large ones: SQLite need not follow overflow pages then.

CREATE TABLE organizations (
    id          BLOB    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT;

-- No foreign keys from here to organizations, and none from history and outbox to here: the one
-- writer puts them in with the same transaction, and every check would cost a look-up per command.
CREATE TABLE invoices (
    id           BLOB    NOT NULL PRIMARY KEY,
    organization BLOB    NOT NULL,
    shard        INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    -- The fencing number of the owner that wrote last.
    epoch        INTEGER NOT NULL,
    status       TEXT    NOT NULL,
    number       TEXT,
    customer     BLOB,
    currency     TEXT    NOT NULL,
    overdue      INTEGER NOT NULL,
    issued_on    TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- When the invoice wants to be woken.
    wake_at      INTEGER,
    -- Number, customer name, purchase order and reference, in lower case.
    search       TEXT    NOT NULL,
    -- The aggregate as JSON.
    snapshot     TEXT    NOT NULL
) STRICT;

-- Lists are ordered by creation. The search text rides along so that `q` is decided in the index.
CREATE INDEX invoices_by_creation ON invoices (organization, created_at, id, search)
    WHERE status <> 'deleted';
CREATE INDEX invoices_by_status ON invoices (organization, status, created_at, id);
CREATE INDEX invoices_by_customer ON invoices (organization, customer, created_at, id)
    WHERE customer IS NOT NULL;
CREATE INDEX invoices_by_currency ON invoices (organization, currency, created_at, id);
CREATE INDEX invoices_by_number ON invoices (organization, number, created_at, id)
    WHERE number IS NOT NULL;
CREATE INDEX invoices_by_issue ON invoices (organization, issued_on, created_at, id)
    WHERE issued_on IS NOT NULL;
CREATE INDEX invoices_overdue ON invoices (organization, created_at, id)
    WHERE overdue;
-- The alarm clock of the sweeper.
CREATE INDEX invoices_by_alarm ON invoices (wake_at, shard)
    WHERE wake_at IS NOT NULL;

CREATE TABLE history (
    invoice BLOB    NOT NULL,
    version INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    -- The recorded entry as JSON.
    body    TEXT    NOT NULL,
    -- The public event that tells of it, as JSON.
    event   TEXT,
    PRIMARY KEY (invoice, version)
) STRICT;

-- Events that have no place in the feed yet, in the order of their commits.
CREATE TABLE outbox (
    sequence     INTEGER PRIMARY KEY,
    organization BLOB    NOT NULL,
    invoice      BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    event_id     BLOB    NOT NULL
) STRICT;

-- The feed holds places only; the events themselves stand in the history.
CREATE TABLE feed (
    organization BLOB    NOT NULL,
    position     INTEGER NOT NULL,
    event_id     BLOB    NOT NULL UNIQUE,
    invoice      BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    PRIMARY KEY (organization, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE number_series (
    organization   BLOB    NOT NULL,
    series         TEXT    NOT NULL,
    last_position  INTEGER NOT NULL,
    last_issued_on TEXT    NOT NULL,
    PRIMARY KEY (organization, series)
) STRICT, WITHOUT ROWID;

-- One number per invoice, for ever; and no number twice in an organization.
CREATE TABLE numbers (
    organization BLOB    NOT NULL,
    invoice      BLOB    NOT NULL,
    series       TEXT    NOT NULL,
    position     INTEGER NOT NULL,
    number       TEXT    NOT NULL,
    issued_on    TEXT    NOT NULL,
    PRIMARY KEY (organization, invoice),
    UNIQUE (organization, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    provider        TEXT    NOT NULL,
    event_id        TEXT    NOT NULL,
    received_at     INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    last_error      TEXT,
    parked          INTEGER NOT NULL,
    delivered       INTEGER NOT NULL,
    body            BLOB    NOT NULL,
    PRIMARY KEY (provider, event_id)
) STRICT;

CREATE INDEX inbox_undelivered ON inbox (received_at, next_attempt_at)
    WHERE NOT delivered AND NOT parked;

CREATE TABLE users (
    id            BLOB    NOT NULL PRIMARY KEY,
    organization  BLOB    NOT NULL REFERENCES organizations (id),
    version       INTEGER NOT NULL,
    first_name    TEXT    NOT NULL,
    last_name     TEXT    NOT NULL,
    email         TEXT    NOT NULL UNIQUE,
    -- Names of roles, a JSON array.
    roles         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX users_by_creation ON users (organization, created_at, id);

CREATE TABLE roles (
    organization BLOB    NOT NULL REFERENCES organizations (id),
    name         TEXT    NOT NULL,
    -- Names of permissions, a JSON array.
    permissions  TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (organization, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id           BLOB    NOT NULL PRIMARY KEY,
    organization BLOB    NOT NULL REFERENCES organizations (id),
    name         TEXT    NOT NULL,
    roles        TEXT    NOT NULL,
    secret_hash  TEXT    NOT NULL UNIQUE,
    prefix       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX api_keys_by_creation ON api_keys (organization, created_at, id);

-- A session outlives its user, so that its end can still be announced: no foreign key.
CREATE TABLE sessions (
    id           BLOB    NOT NULL PRIMARY KEY,
    user_id      BLOB    NOT NULL,
    refresh_hash TEXT    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- The refresh tokens a session has left behind: one that comes back was stolen.
CREATE TABLE used_refresh_tokens (
    hash    TEXT NOT NULL PRIMARY KEY,
    session BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX used_refresh_tokens_of_session ON used_refresh_tokens (session);

CREATE TABLE signing_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    private_der BLOB    NOT NULL,
    public_der  BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER
) STRICT;

CREATE TABLE customers (
    id           BLOB    NOT NULL PRIMARY KEY,
    organization BLOB    NOT NULL REFERENCES organizations (id),
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    -- Name and e-mail address, in lower case.
    search       TEXT    NOT NULL,
    body         TEXT    NOT NULL
) STRICT;

CREATE INDEX customers_by_creation ON customers (organization, created_at, id, search);

CREATE TABLE assets (
    id           BLOB    NOT NULL PRIMARY KEY,
    organization BLOB    NOT NULL REFERENCES organizations (id),
    media_type   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    bytes        BLOB    NOT NULL
) STRICT;

CREATE TABLE kept_answers (
    organization BLOB    NOT NULL,
    key          TEXT    NOT NULL,
    -- The bits of an unsigned 64-bit number.
    fingerprint  INTEGER NOT NULL,
    status       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    PRIMARY KEY (organization, key)
) STRICT;

CREATE INDEX kept_answers_by_age ON kept_answers (created_at);

-- Where a node that could not write tries whether it can again. Always empty.
CREATE TABLE probe (
    id      INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;
