-- Who may use the console. Password: Argon2id, as a PHC string; '': none was set. Operator: 1: of all accounts.
CREATE TABLE person (
    id       TEXT PRIMARY KEY,
    email    TEXT NOT NULL UNIQUE, -- in lower case
    password TEXT NOT NULL,
    operator BIGINT NOT NULL,
    created  BIGINT NOT NULL
);

CREATE TABLE member (
    person  TEXT   NOT NULL REFERENCES person ON DELETE CASCADE,
    account BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    role    TEXT   NOT NULL,
    PRIMARY KEY (person, account)
);

-- A browser that somebody is signed in with, until then. Hash: of what its cookie says.
CREATE TABLE sign_in (
    id      TEXT PRIMARY KEY,
    hash    BYTEA NOT NULL,
    person  TEXT NOT NULL REFERENCES person ON DELETE CASCADE,
    created BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    client  TEXT NOT NULL,
    agent   TEXT NOT NULL
);

-- Whoever has what was hashed may become this, once, until then. Email: who is meant; none: anybody.
CREATE TABLE invitation (
    id       TEXT PRIMARY KEY,
    hash     BYTEA NOT NULL,
    email    TEXT,
    operator BIGINT NOT NULL,
    account  BIGINT REFERENCES account ON DELETE CASCADE,
    role     TEXT,
    created  BIGINT NOT NULL,
    until    BIGINT NOT NULL
);
