-- As before, but for those alone who ask for a phone: a condition on the state by itself proves nothing of it. After statistics of a quiet night
-- PostgreSQL took reading it whole for as cheap as its own index of what is on its way.
DROP INDEX waiting_messages_by_phone;
CREATE INDEX waiting_messages_by_phone ON messages (phone_key) WHERE phone_key IS NOT NULL AND state IN ('held', 'scheduled', 'queued');
