-- What webhooks tell too early: before the ledger knows what it is about.

-- Receipts that have only the provider's id, while no attempt has it: the answer with that id isn't written yet, or is another sender's. Each is
-- tried again, and goes after some minutes.
CREATE TABLE early_receipts (
    id             UUID   PRIMARY KEY,
    integration_id UUID   NOT NULL REFERENCES integrations (id),
    provider_id    TEXT   NOT NULL,
    status         TEXT   NOT NULL CONSTRAINT the_statuses_of_an_early_receipt_are_closed CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    provider_code  BIGINT,
    received_at    BIGINT NOT NULL,
    next_at        BIGINT NOT NULL,
    CONSTRAINT one_early_receipt_per_id_and_status UNIQUE (integration_id, provider_id, status)
);
CREATE INDEX early_receipts_by_next_at ON early_receipts (next_at);
-- The oldest of an integration give way.
CREATE INDEX early_receipts_of_an_integration ON early_receipts (integration_id, id);

-- What the ERP told of titles that the mirror doesn't have: it goes with the title into the mirror, or when a sync that began later is complete.
CREATE TABLE early_told (
    source_id  UUID   NOT NULL REFERENCES sources (id),
    invoice_id TEXT COLLATE "C" NOT NULL,
    told       TEXT   NOT NULL CONSTRAINT what_is_told_early_is_closed CHECK (told IN ('paid', 'cancelled')),
    told_at    BIGINT NOT NULL,
    PRIMARY KEY (source_id, invoice_id)
);
CREATE INDEX early_told_by_told_at ON early_told (source_id, told_at);
