-- The certificate with an RSA key, beside the domain's other: PEM, and the key as a certificate has it.
ALTER TABLE issuance ADD COLUMN rsa_chain TEXT;
ALTER TABLE issuance ADD COLUMN rsa_key BLOB;
-- 1: only that one is to be ordered, the other was issued already.
ALTER TABLE issuance ADD COLUMN rsa_only INTEGER NOT NULL DEFAULT 0;
