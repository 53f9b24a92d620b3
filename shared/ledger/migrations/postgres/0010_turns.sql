-- What waits by turns: a turn is all that one run decided and that waits for one instant. A top-up passes over those that haven't come, or
-- whose run isn't released, without reading their messages; within one the best come first. The
-- last column tells what has expired.
DROP INDEX live_messages_best_first;
CREATE INDEX live_messages_by_turn ON messages (state, channel_id, run_id, (COALESCE(next_attempt_at, 0)), stage_rank DESC, due_on, amount DESC, id, expires_at)
    WHERE state IN ('held', 'scheduled', 'queued', 'sending');

-- When a configuration was applied last: only what was decided before that may have to move to another channel.
INSERT INTO settings (name, value)
    SELECT 'applied_at', CAST(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + clock_offset_us AS TEXT) FROM ledger;
