-- Hours of policies and stages, and what a closed day means for a stage.

ALTER TABLE policies ADD COLUMN hours TEXT;
ALTER TABLE policy_stages ADD COLUMN hours TEXT;
-- NULL for stages that follow an event.
ALTER TABLE policy_stages ADD COLUMN closed_day TEXT
    CONSTRAINT what_a_closed_day_means_is_closed CHECK (closed_day IN ('next', 'previous', 'skip'));
