-- Label: of the route's target in the zone, unguessable. Dns: what is known of the domain's, and since when. Routes from
-- before are served as they were.
ALTER TABLE route ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE route ADD COLUMN dns TEXT NOT NULL DEFAULT 'unchecked';
ALTER TABLE route ADD COLUMN dns_since BIGINT NOT NULL DEFAULT 0;
UPDATE route SET label = replace(CAST(gen_random_uuid() AS TEXT), '-', ''), dns_since = created;
CREATE UNIQUE INDEX route_by_label ON route (label);
