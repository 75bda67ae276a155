-- The one row is of the store, not of a gateway: several gateways may share it. `key`: the store's own key, sealed under
-- the master key; with none, the master key itself served as that. `audit_seq`, `audit_hash`: the end of the audit log.
ALTER TABLE gateway RENAME TO store;
ALTER TABLE store ADD COLUMN key BLOB;
ALTER TABLE store ADD COLUMN audit_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN audit_hash BLOB NOT NULL DEFAULT x'';

-- Quotas: JSON of the contract's Quotas.
CREATE TABLE tier (
    name    TEXT    PRIMARY KEY,
    quotas  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT;

ALTER TABLE account ADD COLUMN tier TEXT REFERENCES tier;

-- Clients: CIDRs with commas between; empty: from anywhere. Policy: as an account's; none: the account's alone.
ALTER TABLE credential ADD COLUMN expires INTEGER;
ALTER TABLE credential ADD COLUMN clients TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN policy TEXT;
ALTER TABLE credential ADD COLUMN policy_cuts INTEGER NOT NULL DEFAULT 0;

-- Every change, in order; never changed itself. Each hash covers its row and the hash before it.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    version INTEGER NOT NULL, -- what the store's version became with it
    at      INTEGER NOT NULL,
    gateway TEXT    NOT NULL, -- which gateway was asked
    token   TEXT,             -- whose asked; none: the gateway by itself
    owner   TEXT,             -- the token's account; none: an operator
    client  TEXT,             -- the address it was asked from
    action  TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    key     TEXT    NOT NULL, -- by what the row that was changed is found again
    name    TEXT    NOT NULL,
    account TEXT,
    before  TEXT,             -- JSON, without secrets
    after   TEXT,
    hash    BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_by_version ON audit (version);
CREATE INDEX audit_by_account ON audit (account, seq);

-- The gateways on this store. Addresses: JSON.
CREATE TABLE gateway (
    name      TEXT    PRIMARY KEY,
    id        TEXT    NOT NULL,
    release   TEXT    NOT NULL,
    addresses TEXT    NOT NULL,
    started   INTEGER NOT NULL,
    seen      INTEGER NOT NULL,
    stopped   INTEGER,
    applied   INTEGER NOT NULL
) STRICT;

-- What was moved, by hour (since the epoch). A run of a gateway writes its own rows, each time as they are by then, so that
-- writing twice counts once. 0 and '': none.
CREATE TABLE usage (
    hour        INTEGER NOT NULL,
    account     INTEGER NOT NULL,
    credential  INTEGER NOT NULL,
    route       INTEGER NOT NULL,
    host        TEXT    NOT NULL,
    egress      TEXT    NOT NULL,
    run         TEXT    NOT NULL,
    connections INTEGER NOT NULL,
    requests    INTEGER NOT NULL,
    bytes_up    INTEGER NOT NULL,
    bytes_down  INTEGER NOT NULL,
    refusals    INTEGER NOT NULL,
    errors      INTEGER NOT NULL,
    latency     TEXT    NOT NULL, -- JSON of a histogram
    PRIMARY KEY (hour, account, credential, route, host, egress, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_of_account ON usage (account, hour);

-- The same by month (since the year 0), as quotas are counted.
CREATE TABLE spent (
    month    INTEGER NOT NULL,
    account  INTEGER NOT NULL,
    run      TEXT    NOT NULL,
    requests INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (month, account, run)
) STRICT, WITHOUT ROWID;

-- When each credential was used last, and from where.
CREATE TABLE credential_use (
    credential INTEGER PRIMARY KEY REFERENCES credential ON DELETE CASCADE,
    at         INTEGER NOT NULL,
    client     TEXT    NOT NULL
) STRICT;
