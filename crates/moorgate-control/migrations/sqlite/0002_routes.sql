-- Settings: JSON of the contract's RouteSettings.
CREATE TABLE route (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    account  INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    domain   TEXT    NOT NULL UNIQUE,
    mode     TEXT    NOT NULL,
    settings TEXT    NOT NULL,
    created  INTEGER NOT NULL
) STRICT;
CREATE INDEX route_of_account ON route (account);

-- Chain: PEM, the end entity's first. Key: PKCS #8, PKCS #1 or SEC 1, sealed under the master key.
CREATE TABLE certificate (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    domain  TEXT    NOT NULL UNIQUE,
    chain   TEXT    NOT NULL,
    key     BLOB    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX certificate_of_account ON certificate (account);
