-- Where a gateway runs, as JSON: its machine and that machine's addresses, by which the others know where its listeners
-- are reached. Empty: written by a version that did not say so.
ALTER TABLE gateway ADD COLUMN place TEXT NOT NULL DEFAULT '';
