-- A gate's breaker: how often it has opened in a row, and the one probe that is on its way; its pause is the probe's lease.
-- And the provider's own allowance: up to which of the gate's starts it reaches, until when that holds, and when it was asked for last.
ALTER TABLE gates ADD COLUMN trips BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gates ADD COLUMN probe_attempt_id UUID CONSTRAINT a_probe_belongs_to_an_open_breaker CHECK (probe_attempt_id IS NULL OR trips > 0);
ALTER TABLE gates ADD COLUMN starts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gates ADD COLUMN allowance_asked_at BIGINT;
ALTER TABLE gates ADD COLUMN allowance_through BIGINT;
ALTER TABLE gates ADD COLUMN allowance_until_at BIGINT
    CONSTRAINT an_allowance_has_its_end CHECK ((allowance_through IS NULL) = (allowance_until_at IS NULL));

-- When a stop that an answer raised is checked next, and how often it was: a check that passes lifts it.
ALTER TABLE stops ADD COLUMN next_check_at BIGINT;
ALTER TABLE stops ADD COLUMN checks BIGINT NOT NULL DEFAULT 0;

-- Of answers each cause is a stop of its own: what a check finds gone must not hide what only a person may lift.
DROP INDEX one_open_stop_per_scope_target_and_author;
CREATE UNIQUE INDEX one_open_stop_per_scope_target_and_author ON stops (scope, target, raised_by) WHERE lifted_at IS NULL AND raised_by <> 'answer';
CREATE UNIQUE INDEX one_open_stop_per_scope_target_and_cause ON stops (scope, target, why) WHERE lifted_at IS NULL AND raised_by = 'answer';
