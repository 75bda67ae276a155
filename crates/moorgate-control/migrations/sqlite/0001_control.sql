-- One row: which master key the hashes below were made under, and the version of what is stored.
CREATE TABLE gateway (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    key_id  BLOB    NOT NULL,
    version INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT throughout: an identity is never given out twice, since open flows remember it.
CREATE TABLE account (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    created     INTEGER NOT NULL,
    policy      TEXT    NOT NULL,
    policy_cuts INTEGER NOT NULL,
    egress      TEXT    NOT NULL
) STRICT;

CREATE TABLE credential (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    account  INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    username TEXT    NOT NULL UNIQUE,
    created  INTEGER NOT NULL
) STRICT;
CREATE INDEX credential_of_account ON credential (account);

CREATE TABLE secret (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    credential INTEGER NOT NULL REFERENCES credential ON DELETE CASCADE,
    hash       BLOB    NOT NULL,
    until      INTEGER
) STRICT;
CREATE INDEX secret_of_credential ON secret (credential);

-- No account: an operator's.
CREATE TABLE token (
    id      TEXT    PRIMARY KEY,
    account INTEGER REFERENCES account ON DELETE CASCADE,
    scope   TEXT    NOT NULL,
    hash    BLOB    NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX token_of_account ON token (account);
