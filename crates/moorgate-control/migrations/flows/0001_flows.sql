CREATE TABLE flow (
    seq     INTEGER PRIMARY KEY,
    id      INTEGER NOT NULL,
    account TEXT,
    started INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
CREATE INDEX flow_by_id ON flow (id);
CREATE INDEX flow_by_account ON flow (account, seq);
