-- One flow is much like the next: packed they take a fifth, on the disk and of what it takes to write them.
CREATE TABLE packed_batch (
    last    INTEGER PRIMARY KEY, -- the number of its last flow; they are numbered in the order in which they ended
    flows   INTEGER NOT NULL,    -- how many it has
    lowest  INTEGER NOT NULL,    -- of their ids
    highest INTEGER NOT NULL,
    body    ANY     NOT NULL     -- a line of JSON for each: as text, or packed as flows/packed.rs says
) STRICT;
INSERT INTO packed_batch (last, flows, lowest, highest, body) SELECT last, flows, lowest, highest, body FROM batch;
DROP TABLE batch;
ALTER TABLE packed_batch RENAME TO batch;
CREATE INDEX batch_by_id ON batch (highest, lowest);
