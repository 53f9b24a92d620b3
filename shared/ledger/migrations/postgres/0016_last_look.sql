-- The last look at the ERP: how old the look at a title may be when its message starts, and what becomes of the message when the ERP can't be
-- asked. After a look without an answer the ERP isn't asked again before an instant.
ALTER TABLE sources ADD COLUMN last_look_s BIGINT;
ALTER TABLE sources ADD COLUMN last_look_unanswered TEXT;
ALTER TABLE sources ADD COLUMN look_again_at BIGINT;

-- Titles that shall be read once more, each until it was: few at a time, and asked for again if a process dies with them.
CREATE TABLE looks (
    source_id     UUID NOT NULL REFERENCES sources (id),
    invoice_id    TEXT COLLATE "C" NOT NULL,
    taken_until   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, invoice_id)
);
