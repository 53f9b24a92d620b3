-- The counts of 0019 are derived: a write of messages must not fail because of them. Whoever writes with another search_path (a person in psql, a
-- tool) would have the triggers look for the tables of the counts in it: they look where this schema is, by its name, for "$user" is whoever writes.
SELECT set_config('search_path', (SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                  WHERE c.oid = 'messages'::regclass), true);
ALTER FUNCTION count_inserted_messages() SET search_path FROM CURRENT;
ALTER FUNCTION count_updated_messages() SET search_path FROM CURRENT;
ALTER FUNCTION count_deleted_messages() SET search_path FROM CURRENT;
