-- The local CA of all gateways on this store, so that what clients were given holds for each: its certificate in PEM, and its
-- key, sealed under the store's own.
ALTER TABLE store ADD COLUMN ca TEXT;
ALTER TABLE store ADD COLUMN ca_key BLOB;
