-- Doubtful messages are looked for in the provider's talks with customers, where an integration asks for it: when it may be asked again, by
-- whichever process, and how often each attempt was looked for, until when not again.
ALTER TABLE integrations ADD COLUMN look_up INTEGER NOT NULL DEFAULT 0;
ALTER TABLE integrations ADD COLUMN look_up_again_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN looked_up INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN look_up_at INTEGER;

-- SQLite changes no constraint: the table is written anew.
DROP INDEX one_receipt_per_attempt_and_status;
ALTER TABLE receipts RENAME TO receipts_before;
CREATE TABLE receipts (
    id             TEXT   PRIMARY KEY,
    message_id     TEXT   NOT NULL REFERENCES messages (id),
    attempt_id     TEXT,             -- as the receipt names it; NULL where it names none
    integration_id TEXT   NOT NULL REFERENCES integrations (id),
    status         TEXT   NOT NULL CONSTRAINT the_statuses_of_a_receipt_are_closed CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    proved_by      TEXT   NOT NULL CONSTRAINT the_proofs_of_a_receipt_are_closed CHECK (proved_by IN ('metadata', 'provider_id', 'look_up')),
    state_before   TEXT   NOT NULL,
    provider_id    TEXT,
    provider_code  INTEGER,
    received_at    INTEGER NOT NULL
) STRICT;
INSERT INTO receipts SELECT id, message_id, attempt_id, integration_id, status, proved_by, state_before, provider_id, provider_code, received_at
    FROM receipts_before;
DROP TABLE receipts_before;
CREATE UNIQUE INDEX one_receipt_per_attempt_and_status ON receipts (message_id, COALESCE(attempt_id, message_id), status);
-- What is shown once was sent once: it proves one message, and no second one.
CREATE UNIQUE INDEX a_shown_message_proves_one ON receipts (integration_id, provider_id) WHERE proved_by = 'look_up';
