-- What was done under an Idempotency-Key, for a day: digests of the key and of what was asked. Answers are not kept here,
-- since they may hold secrets.
CREATE TABLE done (
    key   BYTEA   PRIMARY KEY,
    asked BYTEA   NOT NULL,
    at    BIGINT NOT NULL
);
CREATE INDEX done_by_time ON done (at);
