-- Flows are written together and read together: a row for each flow, and its place in two indexes, cost more than all
-- else that keeping one takes.
CREATE TABLE batch (
    last    INTEGER PRIMARY KEY, -- the number of its last flow; they are numbered in the order in which they ended
    flows   INTEGER NOT NULL,    -- how many it has
    lowest  INTEGER NOT NULL,    -- of their ids
    highest INTEGER NOT NULL,
    body    TEXT    NOT NULL     -- a line of JSON for each
) STRICT;
CREATE INDEX batch_by_id ON batch (highest, lowest);
CREATE TABLE batch_account (
    account TEXT    NOT NULL,
    batch   INTEGER NOT NULL,
    PRIMARY KEY (account, batch)
) STRICT, WITHOUT ROWID;
INSERT INTO batch (last, flows, lowest, highest, body) SELECT seq, 1, id, id, body FROM flow;
INSERT INTO batch_account (account, batch) SELECT account, seq FROM flow WHERE account IS NOT NULL;
DROP TABLE flow;
