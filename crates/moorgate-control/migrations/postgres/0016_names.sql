-- What a credential is called by whoever made it; '': nothing.
ALTER TABLE credential ADD COLUMN name TEXT NOT NULL DEFAULT '';
