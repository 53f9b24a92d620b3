-- Tokens that the ledger keeps, sealed under a key that it doesn't have; and integrations that refer to one.

CREATE TABLE secrets (
    name      TEXT PRIMARY KEY,
    sealed    TEXT NOT NULL, -- base64 of nonce, sealed text and tag
    key_id    TEXT NOT NULL, -- which key opens it: a truncated hash of the key
    last_four TEXT CONSTRAINT no_more_of_a_secret_is_shown CHECK (length(last_four) <= 4),
    set_at    INTEGER NOT NULL,
    set_by    TEXT NOT NULL
) STRICT;

-- SQLite can't alter a CHECK: the table is made anew under its name, so that what refers to it goes on doing so.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE integrations_before AS SELECT * FROM integrations;
DROP TABLE integrations;
CREATE TABLE integrations (
    id                  TEXT PRIMARY KEY,
    name                TEXT    NOT NULL CONSTRAINT an_integration_has_its_own_name UNIQUE,
    description         TEXT    NOT NULL,
    gateway             TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    token_kind          TEXT    NOT NULL CONSTRAINT a_token_is_only_referred_to CHECK (token_kind IN ('env', 'file', 'ledger')),
    token_ref           TEXT    NOT NULL,
    is_default          INTEGER NOT NULL,
    release             TEXT    NOT NULL CONSTRAINT release_is_on_task_or_immediate CHECK (release IN ('on-task', 'immediate')),
    released_through_at INTEGER,
    enabled             INTEGER NOT NULL DEFAULT 1
) STRICT;
INSERT INTO integrations (id, name, description, gateway, url, token_kind, token_ref, is_default, release, released_through_at, enabled)
SELECT id, name, description, gateway, url, token_kind, token_ref, is_default, release, released_through_at, enabled
FROM integrations_before;
DROP TABLE integrations_before;
