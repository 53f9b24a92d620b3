-- Which messages wait for one phone. Not by `texts_by_phone` any more: that has all that were ever written to it, as long as their texts are kept.
CREATE INDEX waiting_messages_by_phone ON messages (phone_key) WHERE state IN ('held', 'scheduled', 'queued');
