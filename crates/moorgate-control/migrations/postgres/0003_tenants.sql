-- The same as SQLite's up to the same number.

-- One row: which master key the store was made under, the store's own key sealed under it, the version of what is
-- stored, and the end of the audit log.
CREATE TABLE store (
    "only"     BIGINT PRIMARY KEY CHECK ("only" = 1),
    key_id     BYTEA  NOT NULL,
    version    BIGINT NOT NULL,
    key        BYTEA,
    audit_seq  BIGINT NOT NULL DEFAULT 0,
    audit_hash BYTEA  NOT NULL DEFAULT ''
);

CREATE TABLE tier (
    name    TEXT   PRIMARY KEY,
    quotas  TEXT   NOT NULL,
    created BIGINT NOT NULL
);

-- An identity is never given out twice, since open flows remember it.
CREATE TABLE account (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    created     BIGINT NOT NULL,
    policy      TEXT   NOT NULL,
    policy_cuts BIGINT NOT NULL,
    egress      TEXT   NOT NULL,
    tier        TEXT   REFERENCES tier
);

CREATE TABLE credential (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    username    TEXT   NOT NULL UNIQUE,
    created     BIGINT NOT NULL,
    expires     BIGINT,
    clients     TEXT   NOT NULL DEFAULT '',
    policy      TEXT,
    policy_cuts BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX credential_of_account ON credential (account);

CREATE TABLE secret (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential BIGINT NOT NULL REFERENCES credential ON DELETE CASCADE,
    hash       BYTEA  NOT NULL,
    until      BIGINT
);
CREATE INDEX secret_of_credential ON secret (credential);

CREATE TABLE token (
    id      TEXT   PRIMARY KEY,
    account BIGINT REFERENCES account ON DELETE CASCADE,
    scope   TEXT   NOT NULL,
    hash    BYTEA  NOT NULL UNIQUE,
    created BIGINT NOT NULL
);
CREATE INDEX token_of_account ON token (account);

CREATE TABLE route (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account  BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    domain   TEXT   NOT NULL UNIQUE,
    mode     TEXT   NOT NULL,
    settings TEXT   NOT NULL,
    created  BIGINT NOT NULL
);
CREATE INDEX route_of_account ON route (account);

CREATE TABLE certificate (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    domain  TEXT   NOT NULL UNIQUE,
    chain   TEXT   NOT NULL,
    key     BYTEA  NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX certificate_of_account ON certificate (account);

CREATE TABLE audit (
    seq     BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    gateway TEXT   NOT NULL,
    token   TEXT,
    owner   TEXT,
    client  TEXT,
    action  TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    key     TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    account TEXT,
    before  TEXT,
    after   TEXT,
    hash    BYTEA  NOT NULL
);
CREATE INDEX audit_by_version ON audit (version);
CREATE INDEX audit_by_account ON audit (account, seq);

CREATE TABLE gateway (
    name      TEXT   PRIMARY KEY,
    id        TEXT   NOT NULL,
    release   TEXT   NOT NULL,
    addresses TEXT   NOT NULL,
    started   BIGINT NOT NULL,
    seen      BIGINT NOT NULL,
    stopped   BIGINT,
    applied   BIGINT NOT NULL
);

-- What was moved, by hour (since the epoch). A run of a gateway writes its own rows, each time as they are by then, so that
-- writing twice counts once. 0 and '': none.
CREATE TABLE usage (
    hour        BIGINT  NOT NULL,
    account     BIGINT  NOT NULL,
    credential  BIGINT  NOT NULL,
    route       BIGINT  NOT NULL,
    host        TEXT    NOT NULL,
    egress      TEXT    NOT NULL,
    run         TEXT    NOT NULL,
    connections BIGINT  NOT NULL,
    requests    BIGINT  NOT NULL,
    bytes_up    BIGINT  NOT NULL,
    bytes_down  BIGINT  NOT NULL,
    refusals    BIGINT  NOT NULL,
    errors      BIGINT  NOT NULL,
    latency     TEXT    NOT NULL, -- JSON of a histogram
    PRIMARY KEY (hour, account, credential, route, host, egress, run)
);
CREATE INDEX usage_of_account ON usage (account, hour);

-- The same by month (since the year 0), as quotas are counted.
CREATE TABLE spent (
    month    BIGINT  NOT NULL,
    account  BIGINT  NOT NULL,
    run      TEXT    NOT NULL,
    requests BIGINT  NOT NULL,
    bytes    BIGINT  NOT NULL,
    PRIMARY KEY (month, account, run)
);

-- When each credential was used last, and from where.
CREATE TABLE credential_use (
    credential BIGINT  PRIMARY KEY REFERENCES credential ON DELETE CASCADE,
    at         BIGINT  NOT NULL,
    client     TEXT    NOT NULL
);
