-- A MAC over where the audit log ends: whoever can write to the store can't move that. '': written by a version before.
ALTER TABLE store ADD COLUMN audit_mark BLOB NOT NULL DEFAULT x'';
