-- Holds of our own: a customer or an invoice that a person wants left alone to the end of a date. A hold that is over or lifted stays as a record.

CREATE TABLE holds (
    id         UUID   PRIMARY KEY,
    source_id  UUID   NOT NULL REFERENCES sources (id),
    kind       TEXT   NOT NULL CONSTRAINT the_kinds_of_holds_are_closed CHECK (kind IN ('customer', 'invoice')),
    subject    TEXT   COLLATE "C" NOT NULL,
    until_on   TEXT   COLLATE "C" NOT NULL,
    why        TEXT   NOT NULL,
    set_by     TEXT   NOT NULL,
    since_at   BIGINT NOT NULL,
    lifted_at  BIGINT,
    lifted_by  TEXT,
    lifted_why TEXT,
    CONSTRAINT a_lifted_hold_says_by_whom_and_why CHECK
        ((lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lifted_why IS NULL))
);
CREATE UNIQUE INDEX one_open_hold_per_subject ON holds (source_id, kind, subject) WHERE lifted_at IS NULL;
