-- The counts of 0019 are derived: a write of messages must not fail because of them. A count that had drifted below what there is was refused
-- below zero, and with it the message's own change. So the table is made anew without that check; a negative count is read as 0, and
-- `regua recount` mends it. The triggers stay: they know the table by its name. (Of the search_path, which PostgreSQL's 0023 is about, a file
-- has none.)
CREATE TABLE counts_kept_so_far (
    state      TEXT    NOT NULL,
    stage      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    redirected INTEGER NOT NULL,
    messages   INTEGER NOT NULL
) STRICT;
INSERT INTO counts_kept_so_far (state, stage, reason, redirected, messages)
    SELECT state, stage, reason, redirected, messages FROM message_counts;

DROP TABLE message_counts;
CREATE TABLE message_counts (
    state      TEXT    NOT NULL,
    stage      TEXT    NOT NULL,
    reason     TEXT    NOT NULL, -- empty where there is none
    redirected INTEGER NOT NULL,
    messages   INTEGER NOT NULL,
    PRIMARY KEY (state, stage, reason, redirected)
) STRICT, WITHOUT ROWID;
INSERT INTO message_counts (state, stage, reason, redirected, messages)
    SELECT state, stage, reason, redirected, messages FROM counts_kept_so_far;
DROP TABLE counts_kept_so_far;
