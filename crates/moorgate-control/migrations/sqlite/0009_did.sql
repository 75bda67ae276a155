-- What was done under the key, in a few words without secrets, so that who asks again is told. Empty: by a version that did
-- not say so.
ALTER TABLE done ADD COLUMN did TEXT NOT NULL DEFAULT '';
