-- The counts of 0019 are derived: a write of messages must not fail because of them. Whoever writes with another search_path (a person in psql, a
-- tool) would have the triggers look for the tables of the counts in it: they look where this schema is.
ALTER FUNCTION count_inserted_messages() SET search_path FROM CURRENT;
ALTER FUNCTION count_updated_messages() SET search_path FROM CURRENT;
ALTER FUNCTION count_deleted_messages() SET search_path FROM CURRENT;
