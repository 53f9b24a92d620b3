-- What becomes of the fires that nobody acted on, how many there were, and integrations that are switched off.

ALTER TABLE tasks ADD COLUMN missed TEXT NOT NULL DEFAULT 'latest' CONSTRAINT the_ways_with_missed_fires_are_closed CHECK (missed IN ('latest', 'skip'));
ALTER TABLE tasks ADD COLUMN catch_up_s INTEGER NOT NULL DEFAULT 43200;
-- Every fire up to here became a run or was counted as dropped. NULL for a task of before this column: up to its newest run.
ALTER TABLE tasks ADD COLUMN settled_through_at INTEGER;
ALTER TABLE tasks ADD COLUMN fires_caught_up INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN fires_dropped INTEGER NOT NULL DEFAULT 0;

-- How long after its instant a run may still be begun: its task's, as it was when the run was planned.
ALTER TABLE runs ADD COLUMN catch_up_s INTEGER NOT NULL DEFAULT 43200;

ALTER TABLE integrations ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;
