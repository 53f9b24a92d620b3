-- Every intervention and every change of the configuration: who, when, why, and what was before and after. Rows are only ever added.

CREATE TABLE audit_log (
    id        TEXT    PRIMARY KEY,
    at        INTEGER NOT NULL,
    by_whom   TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    target    TEXT    NOT NULL, -- what it was done to, by name or id; '' for everything
    why       TEXT,
    was       TEXT,             -- JSON
    became    TEXT              -- JSON
) STRICT;
CREATE INDEX audit_log_by_target ON audit_log (target, id);
