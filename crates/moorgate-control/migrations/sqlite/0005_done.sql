-- What was done under an Idempotency-Key, for a day: digests of the key and of what was asked. Answers are not kept here,
-- since they may hold secrets.
CREATE TABLE done (
    key   BLOB    PRIMARY KEY,
    asked BLOB    NOT NULL,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX done_by_time ON done (at);
