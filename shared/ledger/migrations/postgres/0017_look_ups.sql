-- Doubtful messages are looked for in the provider's talks with customers, where an integration asks for it: when it may be asked again, by
-- whichever process, and how often each attempt was looked for, until when not again.
ALTER TABLE integrations ADD COLUMN look_up BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE integrations ADD COLUMN look_up_again_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN looked_up BIGINT NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN look_up_at BIGINT;

ALTER TABLE receipts DROP CONSTRAINT the_proofs_of_a_receipt_are_closed;
ALTER TABLE receipts ADD CONSTRAINT the_proofs_of_a_receipt_are_closed CHECK (proved_by IN ('metadata', 'provider_id', 'look_up'));
-- What is shown once was sent once: it proves one message, and no second one.
CREATE UNIQUE INDEX a_shown_message_proves_one ON receipts (integration_id, provider_id) WHERE proved_by = 'look_up';
