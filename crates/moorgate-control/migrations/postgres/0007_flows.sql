-- The latest flows of each gateway, so that every gateway can say what any of them did. Several to a row, as in a gateway's own
-- file, in the order in which they ended.
CREATE TABLE flow_batch (
    gateway TEXT   NOT NULL,
    last    BIGINT NOT NULL, -- the number of its last flow among the gateway's
    flows   BIGINT NOT NULL, -- how many it has
    began   BIGINT NOT NULL, -- when the first of them ended, in microseconds since the epoch
    ended   BIGINT NOT NULL, -- and the last
    lowest  BIGINT NOT NULL, -- of their ids
    highest BIGINT NOT NULL,
    body    TEXT   NOT NULL, -- a line of JSON for each
    PRIMARY KEY (gateway, last)
);
CREATE INDEX flow_batch_by_id ON flow_batch (highest, lowest);
CREATE INDEX flow_batch_by_time ON flow_batch (ended);
CREATE TABLE flow_batch_account (
    account TEXT   NOT NULL,
    gateway TEXT   NOT NULL,
    last    BIGINT NOT NULL,
    PRIMARY KEY (account, gateway, last),
    FOREIGN KEY (gateway, last) REFERENCES flow_batch ON DELETE CASCADE
);
CREATE INDEX flow_batch_account_of_batch ON flow_batch_account (gateway, last);
