-- 1: from the CA of [acme], renewed by itself; 0: added by somebody.
ALTER TABLE certificate ADD COLUMN issued INTEGER NOT NULL DEFAULT 0;

-- What is being done so that a domain has a certificate from the CA. Account: none for the gateways' own names. Holder: which
-- run of a gateway is at it, and until when nobody else takes it up; '': nobody. Challenge: JSON, of the order that is open;
-- '': none is. Next: before when nothing is ordered. Chain and key: of the gateways' own names, as a certificate has them.
CREATE TABLE issuance (
    domain    TEXT PRIMARY KEY,
    account   INTEGER REFERENCES account ON DELETE CASCADE,
    holder    TEXT NOT NULL,
    until     INTEGER NOT NULL,
    challenge TEXT NOT NULL,
    failures  INTEGER NOT NULL,
    next      INTEGER NOT NULL,
    error     TEXT NOT NULL,
    chain     TEXT,
    key       BLOB
) STRICT;

-- Accounts at CAs, by the CA's directory. Credentials: sealed under the store's key.
CREATE TABLE ca_account (
    directory   TEXT PRIMARY KEY,
    credentials BLOB NOT NULL
) STRICT;
