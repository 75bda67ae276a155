-- What each gateway has and wants of the quotas of a moment, so that these hold for all of them together: said every second.
CREATE TABLE demand (
    run  TEXT    PRIMARY KEY, -- which start of which gateway
    at   INTEGER NOT NULL, -- by the store's clock
    said TEXT    NOT NULL     -- JSON, by account
) STRICT;
