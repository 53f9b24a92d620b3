-- Counts of messages, kept beside the rows so that reading them costs the same however many there are (F21). The truth stays the rows: tests
-- and the demo compare. Triggers write them, so that a process of before this migration is counted, too.

-- What has been folded so far. One row alone may be negative for a moment: only with its changes it says how many there are.
CREATE TABLE message_counts (
    state      TEXT    NOT NULL,
    stage      TEXT COLLATE "C" NOT NULL,
    reason     TEXT    NOT NULL, -- empty where there is none
    redirected BOOLEAN NOT NULL,
    messages   BIGINT  NOT NULL,
    PRIMARY KEY (state, stage, reason, redirected)
);

-- What each statement changed, appended: no writer waits for another one's count. The scheduler folds them.
CREATE TABLE message_count_changes (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state      TEXT    NOT NULL,
    stage      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    redirected BOOLEAN NOT NULL,
    change     BIGINT  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE FUNCTION count_inserted_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_count_changes (state, stage, reason, redirected, change)
        SELECT state, stage, COALESCE(reason, ''), redirected, count(*) FROM after GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;

CREATE FUNCTION count_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_count_changes (state, stage, reason, redirected, change)
        SELECT state, stage, COALESCE(reason, ''), redirected, SUM(n)
        FROM (SELECT state, stage, reason, redirected, 1 AS n FROM after
              UNION ALL SELECT state, stage, reason, redirected, -1 FROM before) AS moved
        GROUP BY 1, 2, 3, 4 HAVING SUM(n) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_deleted_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_count_changes (state, stage, reason, redirected, change)
        SELECT state, stage, COALESCE(reason, ''), redirected, -count(*) FROM before GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;

CREATE TRIGGER inserted_messages_are_counted AFTER INSERT ON messages
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_messages();
CREATE TRIGGER updated_messages_are_counted AFTER UPDATE ON messages
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_updated_messages();
CREATE TRIGGER deleted_messages_are_counted AFTER DELETE ON messages
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION count_deleted_messages();

-- After the triggers, which wait for whoever is writing: nobody's rows fall between the two.
INSERT INTO message_counts (state, stage, reason, redirected, messages)
    SELECT state, stage, COALESCE(reason, ''), redirected, count(*) FROM messages GROUP BY 1, 2, 3, 4;

-- What runs say that they wrote: of thousands of runs few wrote anything.
CREATE INDEX runs_that_wrote ON runs (evaluated) WHERE evaluated > 0;
