-- What webhooks tell: receipts of the platform, and what the ERP says ahead of the next sync.

-- A reference to the secret (JSON), never the secret; NULL: nobody is heard.
ALTER TABLE integrations ADD COLUMN webhook_secret TEXT;
ALTER TABLE sources ADD COLUMN webhook_secret TEXT;

-- What the platform reported about a message, each thing once. A failure says why a message that was taken didn't arrive.
CREATE TABLE receipts (
    id             TEXT   PRIMARY KEY,
    message_id     TEXT   NOT NULL REFERENCES messages (id),
    attempt_id     TEXT,             -- as the receipt names it; NULL where it names none
    integration_id TEXT   NOT NULL REFERENCES integrations (id),
    status         TEXT   NOT NULL CONSTRAINT the_statuses_of_a_receipt_are_closed CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    proved_by      TEXT   NOT NULL CONSTRAINT the_proofs_of_a_receipt_are_closed CHECK (proved_by IN ('metadata', 'provider_id')),
    state_before   TEXT   NOT NULL,
    provider_id    TEXT,
    provider_code  INTEGER,
    received_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_receipt_per_attempt_and_status ON receipts (message_id, COALESCE(attempt_id, message_id), status);

-- Whose message is it, where a receipt has only the provider's id. On attempts, which are written twice, and not on messages.
CREATE INDEX attempts_by_provider_id ON attempts (provider_id) WHERE provider_id IS NOT NULL;

-- The newest bodies of a webhook that were not understood: their shape, without anybody's data.
CREATE TABLE webhook_samples (
    id             TEXT   PRIMARY KEY,
    integration_id TEXT   NOT NULL REFERENCES integrations (id),
    why            TEXT   NOT NULL,
    shape          TEXT   NOT NULL,
    received_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_samples_of_an_integration ON webhook_samples (integration_id, id);

-- What the ERP's webhook told of a title, and when: it holds until a look whose request was issued later.
ALTER TABLE invoices ADD COLUMN told TEXT CONSTRAINT what_is_told_of_a_title_is_closed CHECK (told IN ('paid', 'cancelled'));
ALTER TABLE invoices ADD COLUMN told_at INTEGER CONSTRAINT what_was_told_says_when CHECK ((told IS NULL) = (told_at IS NULL));
