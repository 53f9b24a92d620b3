-- Whom policies speak for, since when their stages count, and runs that wait for a person's consent.

ALTER TABLE policies ADD COLUMN filters TEXT NOT NULL DEFAULT '{}';
-- The date that the configuration states; NULL: each stage's own.
ALTER TABLE policies ADD COLUMN stated_activated_on TEXT;
-- The date on which the stage was switched on, or got another day. NULL for one of before this column: the policy's.
ALTER TABLE policy_stages ADD COLUMN activated_on TEXT;

ALTER TABLE runs ADD COLUMN no_policy BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN approval TEXT CONSTRAINT the_states_of_an_approval_are_closed CHECK (approval IN ('waiting', 'approved'));
ALTER TABLE runs ADD COLUMN approved_at BIGINT;
ALTER TABLE runs ADD COLUMN approved_by TEXT;
ALTER TABLE runs ADD COLUMN approval_why TEXT;
CREATE INDEX runs_waiting_for_approval ON runs (id) WHERE approval = 'waiting';
