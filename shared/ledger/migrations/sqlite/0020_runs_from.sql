-- Which binaries may run on the schema once a migration is applied: those that know at least so many. NULL: it asks for nothing that those before
-- didn't ask for.
ALTER TABLE migrations ADD COLUMN runs_from INTEGER CONSTRAINT no_migration_asks_for_a_binary_that_knows_more CHECK (runs_from <= version);
