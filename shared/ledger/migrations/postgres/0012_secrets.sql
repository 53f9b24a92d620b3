-- Tokens that the ledger keeps, sealed under a key that it doesn't have; and integrations that refer to one.

CREATE TABLE secrets (
    name      TEXT PRIMARY KEY,
    sealed    TEXT NOT NULL, -- base64 of nonce, sealed text and tag
    key_id    TEXT NOT NULL, -- which key opens it: a truncated hash of the key
    last_four TEXT CONSTRAINT no_more_of_a_secret_is_shown CHECK (length(last_four) <= 4),
    set_at    BIGINT NOT NULL,
    set_by    TEXT NOT NULL
);

ALTER TABLE integrations DROP CONSTRAINT a_token_is_only_referred_to RESTRICT;
ALTER TABLE integrations ADD CONSTRAINT a_token_is_only_referred_to CHECK (token_kind IN ('env', 'file', 'ledger'));
