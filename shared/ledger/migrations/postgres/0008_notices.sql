-- What customers owe in all.
ALTER TABLE invoices ADD COLUMN open_amount BIGINT NOT NULL DEFAULT 0;
UPDATE invoices SET open_amount = COALESCE(CAST(CAST(record AS JSONB) ->> 'open_amount' AS BIGINT), 0);
CREATE INDEX open_invoices_of_a_customer ON invoices (source_id, customer_id) WHERE is_open;

-- The Pix code that the ERP gave when it was asked for one; '' is none, NULL was never asked. It is of the amount that was open then.
ALTER TABLE invoices ADD COLUMN pix_code TEXT;
ALTER TABLE invoices ADD COLUMN pix_amount BIGINT;
ALTER TABLE invoices ADD COLUMN pix_expires_on TEXT;
ALTER TABLE invoices ADD COLUMN pix_asked_at BIGINT;

-- Templates as they were accepted, and as Opa! Suite has them now. `text` is NULL for one that was never there, `seen_text` for one that is gone.
CREATE TABLE templates (
    integration_id UUID   NOT NULL REFERENCES integrations (id),
    template_id    TEXT   COLLATE "C" NOT NULL,
    name           TEXT   NOT NULL,
    text           TEXT,
    seen_text      TEXT,
    seen_at        BIGINT NOT NULL,
    accepted_at    BIGINT,
    accepted_by    TEXT,
    accepted_why   TEXT,
    PRIMARY KEY (integration_id, template_id),
    CONSTRAINT who_accepts_a_template_says_why CHECK ((accepted_by IS NULL) = (accepted_why IS NULL) AND (accepted_by IS NULL) = (accepted_at IS NULL))
);

-- Notices sent to try them: counted apart, never among the messages. One without an outcome may have been sent.
CREATE TABLE test_sends (
    id            UUID   PRIMARY KEY,
    notice_id     UUID   NOT NULL REFERENCES notices (id),
    channel_id    UUID   NOT NULL REFERENCES channels (id),
    asked_by      TEXT   NOT NULL,
    slot_at       BIGINT NOT NULL,
    outcome       TEXT,
    reason        TEXT,
    http_status   BIGINT,
    provider_code TEXT,
    provider_id   TEXT,
    finished_at   BIGINT,
    CONSTRAINT a_finished_test_has_an_outcome CHECK ((finished_at IS NULL) = (outcome IS NULL))
);
