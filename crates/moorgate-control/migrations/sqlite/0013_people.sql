-- Who may use the console. Password: Argon2id, as a PHC string; '': none was set. Operator: 1: of all accounts.
CREATE TABLE person (
    id       TEXT PRIMARY KEY,
    email    TEXT NOT NULL UNIQUE, -- in lower case
    password TEXT NOT NULL,
    operator INTEGER NOT NULL,
    created  INTEGER NOT NULL
) STRICT;

CREATE TABLE member (
    person  TEXT   NOT NULL REFERENCES person ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    role    TEXT   NOT NULL,
    PRIMARY KEY (person, account)
) STRICT;

-- A browser that somebody is signed in with, until then. Hash: of what its cookie says.
CREATE TABLE sign_in (
    id      TEXT PRIMARY KEY,
    hash    BLOB NOT NULL,
    person  TEXT NOT NULL REFERENCES person ON DELETE CASCADE,
    created INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    client  TEXT NOT NULL,
    agent   TEXT NOT NULL
) STRICT;

-- Whoever has what was hashed may become this, once, until then. Email: who is meant; none: anybody.
CREATE TABLE invitation (
    id       TEXT PRIMARY KEY,
    hash     BLOB NOT NULL,
    email    TEXT,
    operator INTEGER NOT NULL,
    account  INTEGER REFERENCES account ON DELETE CASCADE,
    role     TEXT,
    created  INTEGER NOT NULL,
    until    INTEGER NOT NULL
) STRICT;
