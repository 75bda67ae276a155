-- How many refusals of each code, in JSON.
ALTER TABLE usage ADD COLUMN codes TEXT NOT NULL DEFAULT '{}';
-- Usage by the hour without hosts and addresses: of an account (credential and route 0), and of each credential and route of
-- it. What pages draw is read from here: the rows that it is the sum of are as many as hosts and routes were busy.
CREATE TABLE usage_total (
    account     BIGINT NOT NULL,
    credential  BIGINT NOT NULL,
    route       BIGINT NOT NULL,
    hour        BIGINT NOT NULL,
    run         TEXT   NOT NULL,
    connections BIGINT NOT NULL,
    requests    BIGINT NOT NULL,
    bytes_up    BIGINT NOT NULL,
    bytes_down  BIGINT NOT NULL,
    refusals    BIGINT NOT NULL,
    errors      BIGINT NOT NULL,
    latency     TEXT   NOT NULL, -- JSON of a histogram
    codes       TEXT   NOT NULL, -- JSON of how many refusals of each code
    PRIMARY KEY (account, credential, route, hour, run)
);
-- Histograms can't be added up here: of hours before, they stay with their rows alone.
INSERT INTO usage_total SELECT account, 0, 0, hour, run, sum(connections), sum(requests), sum(bytes_up), sum(bytes_down), sum(refusals), sum(errors), '[]', '{}' FROM usage GROUP BY account, hour, run;
INSERT INTO usage_total SELECT account, credential, 0, hour, run, sum(connections), sum(requests), sum(bytes_up), sum(bytes_down), sum(refusals), sum(errors), '[]', '{}' FROM usage WHERE credential > 0 GROUP BY account, credential, hour, run;
INSERT INTO usage_total SELECT account, 0, route, hour, run, sum(connections), sum(requests), sum(bytes_up), sum(bytes_down), sum(refusals), sum(errors), '[]', '{}' FROM usage WHERE route > 0 GROUP BY account, route, hour, run;
