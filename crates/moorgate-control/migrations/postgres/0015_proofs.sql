-- What people have beside a password: JSON of an authenticator app (its secret sealed), codes for when it is lost (hashed),
-- passkeys (public keys) and who they are to an identity provider; '': nothing.
ALTER TABLE person ADD COLUMN proofs TEXT NOT NULL DEFAULT '';
