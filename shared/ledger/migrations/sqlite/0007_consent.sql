-- Consent and frequency: how often a person is written to, over every business and channel.

-- `days` is JSON: attempts by local day, of the last days only. `version` grows with each change: a row that two starts insert at once has
-- the version of one of them only. `recipients.day` and `sent_today`, per business, stay until no process of before writes them.
CREATE TABLE people (
    phone_key TEXT PRIMARY KEY,
    days      TEXT    NOT NULL,
    version   INTEGER NOT NULL
) STRICT;
INSERT INTO people (phone_key, days, version)
    SELECT phone_key, json_group_object(day, sent), 1
    FROM (SELECT phone_key, day, SUM(sent_today) AS sent FROM recipients WHERE day IS NOT NULL AND sent_today > 0 GROUP BY phone_key, day) AS counted
    GROUP BY phone_key;
-- The day on which the attempt counts for its person; NULL for one that counts for nobody, or no longer, because it certainly sent nothing.
ALTER TABLE attempts ADD COLUMN counted_on TEXT;

-- What a message asks for, in whole centavos: of two that are alike in stage and due date the larger goes first.
ALTER TABLE messages ADD COLUMN amount INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET amount = COALESCE(
        (SELECT CAST(i.record ->> '$.open_amount' AS INTEGER) FROM invoices i WHERE i.source_id = messages.source_id AND i.id = messages.subject), 0)
    WHERE state IN ('held', 'scheduled', 'queued', 'sending');
DROP INDEX live_messages_best_first;
CREATE INDEX live_messages_best_first ON messages (state, channel_id, stage_rank DESC, due_on, amount DESC, id)
    WHERE state IN ('held', 'scheduled', 'queued', 'sending');
-- Which messages wait for one phone. Here and not on `messages`: a text is written once, a message's state many times.
CREATE INDEX texts_by_phone ON message_texts (phone, message_id);

-- Who asked not to be written to, since when, how that became known, and by whom: of everybody, or of one business only.
ALTER TABLE opt_outs RENAME TO opt_outs_before;
CREATE TABLE opt_outs (
    phone_key TEXT    NOT NULL,
    scope     TEXT    NOT NULL, -- 'all', or a business's id
    since_at  INTEGER NOT NULL,
    source    TEXT    NOT NULL CONSTRAINT the_sources_of_an_opt_out_are_closed CHECK (source IN ('command', 'file', 'webhook', 'erp')),
    added_by  TEXT    NOT NULL,
    why       TEXT    NOT NULL,
    PRIMARY KEY (phone_key, scope)
) STRICT;
INSERT INTO opt_outs (phone_key, scope, since_at, source, added_by, why)
    SELECT phone_key, 'all', since_at, 'command', added_by, why FROM opt_outs_before;
DROP TABLE opt_outs_before;

-- Whether the last attempt went to the pilot's phone and not to the customer's: such a message reached nobody whom it is about.
ALTER TABLE messages ADD COLUMN redirected INTEGER NOT NULL DEFAULT 0;
