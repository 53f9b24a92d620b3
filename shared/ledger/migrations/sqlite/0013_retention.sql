-- Failures that a person looks at, doubt that ends, and personal data that is deleted when nobody needs it any more.

-- How often a person had it tried again after it had failed; its attempts are counted afresh each time.
ALTER TABLE messages ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
-- When a person set the failure aside for good.
ALTER TABLE messages ADD COLUMN discarded_at INTEGER;
-- When its phone and text were deleted. Its row stays: it is what keeps the key from a second message.
ALTER TABLE messages ADD COLUMN anonymised_at INTEGER CONSTRAINT an_anonymised_message_has_no_phone CHECK (anonymised_at IS NULL OR phone_key IS NULL);

-- What somebody should look at: doubt, by the time at which it ends, and failures that nobody set aside. A message on its way is never in it, so
-- that it costs those that are sent nothing.
CREATE INDEX unsettled_messages ON messages (state, expires_at, id) WHERE state IN ('in_doubt', 'failed') AND discarded_at IS NULL;
-- Whether a person had a message sent again out of doubt.
CREATE INDEX resolutions_of_a_message ON resolutions (message_id);
