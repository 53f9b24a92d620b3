-- Counts of messages, kept beside the rows so that reading them costs the same however many there are (F21). The truth stays the rows: tests
-- and the demo compare. Triggers write them, so that a process of before this migration is counted, too. The one writer is alone: it counts
-- in place.

CREATE TABLE message_counts (
    state      TEXT    NOT NULL,
    stage      TEXT    NOT NULL,
    reason     TEXT    NOT NULL, -- empty where there is none
    redirected INTEGER NOT NULL,
    messages   INTEGER NOT NULL CONSTRAINT a_count_is_never_negative CHECK (messages >= 0),
    PRIMARY KEY (state, stage, reason, redirected)
) STRICT, WITHOUT ROWID;

INSERT INTO message_counts (state, stage, reason, redirected, messages)
    SELECT state, stage, COALESCE(reason, ''), redirected, count(*) FROM messages
    GROUP BY state, stage, COALESCE(reason, ''), redirected;

CREATE TRIGGER inserted_messages_are_counted AFTER INSERT ON messages BEGIN
    INSERT INTO message_counts (state, stage, reason, redirected, messages)
        VALUES (NEW.state, NEW.stage, COALESCE(NEW.reason, ''), NEW.redirected, 1)
        ON CONFLICT (state, stage, reason, redirected) DO UPDATE SET messages = messages + 1;
END;

CREATE TRIGGER updated_messages_are_counted AFTER UPDATE OF state, stage, reason, redirected ON messages
WHEN OLD.state <> NEW.state OR OLD.stage <> NEW.stage OR OLD.reason IS NOT NEW.reason OR OLD.redirected <> NEW.redirected BEGIN
    UPDATE message_counts SET messages = messages - 1
        WHERE state = OLD.state AND stage = OLD.stage AND reason = COALESCE(OLD.reason, '') AND redirected = OLD.redirected;
    INSERT INTO message_counts (state, stage, reason, redirected, messages)
        VALUES (NEW.state, NEW.stage, COALESCE(NEW.reason, ''), NEW.redirected, 1)
        ON CONFLICT (state, stage, reason, redirected) DO UPDATE SET messages = messages + 1;
END;

CREATE TRIGGER deleted_messages_are_counted AFTER DELETE ON messages BEGIN
    UPDATE message_counts SET messages = messages - 1
        WHERE state = OLD.state AND stage = OLD.stage AND reason = COALESCE(OLD.reason, '') AND redirected = OLD.redirected;
END;

-- What runs say that they wrote: of thousands of runs few wrote anything.
CREATE INDEX runs_that_wrote ON runs (evaluated) WHERE evaluated > 0;
