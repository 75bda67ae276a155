-- Who is told of an account's alarms. Receiver: a URL, or an email address. Kinds: with commas between. Secret: sealed, of a
-- URL. Off: why nothing is sent to it any more; '': it is on.
CREATE TABLE alarm (
    id       TEXT PRIMARY KEY,
    account  BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    kinds    TEXT NOT NULL,
    secret   BYTEA,
    created  BIGINT NOT NULL,
    off      TEXT NOT NULL
);

-- What an account's receivers were told of and is not over.
CREATE TABLE trouble (
    account BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    kind    TEXT NOT NULL,
    about   TEXT NOT NULL,
    stage   BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    said    TEXT NOT NULL,
    PRIMARY KEY (account, kind, about)
);

-- What has yet to reach a receiver. Next: before when it is not tried. Holder: which run of a gateway is at it, and until
-- when nobody else is; '': nobody.
CREATE TABLE delivery (
    id      TEXT PRIMARY KEY,
    alarm   TEXT NOT NULL REFERENCES alarm ON DELETE CASCADE,
    account BIGINT NOT NULL REFERENCES account ON DELETE CASCADE,
    body    TEXT NOT NULL,
    created BIGINT NOT NULL,
    tries   BIGINT NOT NULL,
    next    BIGINT NOT NULL,
    holder  TEXT NOT NULL,
    until   BIGINT NOT NULL
);

CREATE INDEX delivery_next ON delivery (next);
CREATE INDEX delivery_alarm ON delivery (alarm);

-- What became of the last try at each receiver. Delivered: 1: it has it.
CREATE TABLE told (
    alarm     TEXT PRIMARY KEY REFERENCES alarm ON DELETE CASCADE,
    at        BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    said      TEXT NOT NULL
);
