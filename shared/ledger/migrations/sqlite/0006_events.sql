-- Events of invoices and customers, consumed with the message that they cause; and by which message they are told.

-- Nothing ever read it: what it holds was promised to nobody and is too old to be told.
DROP TABLE invoice_events;

-- What happened between two looks at an invoice, or at a customer (bureau_removed), written with the mirror's row. `outcome` is NULL until
-- a run has decided what it calls for.
CREATE TABLE events (
    id          TEXT   PRIMARY KEY,
    source_id   TEXT   NOT NULL REFERENCES sources (id),
    kind        TEXT   NOT NULL CONSTRAINT the_kinds_of_events_are_closed
                       CHECK (kind IN ('settled', 'cancelled', 'renegotiated', 'reopened', 'bureau_removed')),
    subject     TEXT NOT NULL,
    occasion    TEXT NOT NULL,
    happened_on TEXT NOT NULL,
    observed_at INTEGER NOT NULL,
    outcome     TEXT,
    consumed_by TEXT,
    message_id  TEXT,
    CONSTRAINT a_consumed_event_has_its_outcome CHECK ((outcome IS NULL) = (consumed_by IS NULL)),
    CONSTRAINT an_event_that_is_told_names_its_message CHECK ((COALESCE(outcome, '') = 'message') = (message_id IS NOT NULL))
) STRICT;
CREATE INDEX unconsumed_events ON events (source_id, happened_on, id) WHERE consumed_by IS NULL;
CREATE INDEX told_events ON events (source_id, happened_on, id) WHERE message_id IS NOT NULL;
CREATE INDEX events_of_a_subject ON events (source_id, subject, kind);

ALTER TABLE invoices ADD COLUMN renegotiation_id TEXT NOT NULL DEFAULT '';
CREATE INDEX invoices_of_a_renegotiation ON invoices (source_id, renegotiation_id) WHERE renegotiation_id <> '';
CREATE INDEX invoices_of_a_customer ON invoices (source_id, customer_id);

-- Whether the customer was negatively listed when that was last known.
ALTER TABLE customers ADD COLUMN is_listed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX listed_customers ON customers (source_id, id) WHERE is_listed;

ALTER TABLE policy_stages ADD COLUMN only_after_notice INTEGER NOT NULL DEFAULT 1;

-- However many titles a renegotiation replaces, and whenever each of them is seen.
CREATE UNIQUE INDEX one_message_per_renegotiation ON messages (source_id, occasion) WHERE stage = 'renegotiated';
CREATE INDEX live_event_messages ON messages (source_id, subject)
    WHERE due_on IS NULL AND state IN ('held', 'scheduled', 'queued', 'sending');

ALTER TABLE runs ADD COLUMN events INTEGER NOT NULL DEFAULT 0;
