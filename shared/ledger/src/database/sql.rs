//! One statement, two dialects. The macros are found by their place in the text: `concat!` can't follow paths to them.

/// A statement in both dialects, made at compile time by `sql!`.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

impl Sql {
    /// Tells that the statement is about to run; the tests of its plan listen. It never holds a value.
    pub(super) fn trace(&self) {
        tracing::trace!(postgres = self.postgres, sqlite = self.sqlite, "ledger.statement");
    }
}

/// Writes a statement once. Its parts are string literals and, where the dialects differ:
///
/// | part | PostgreSQL | SQLite |
/// |---|---|---|
/// | `unsettled` | doubt and failures that nobody set aside, as the index of unsettled messages has them | the same |
/// | `failures` | those of the unsettled messages that failed: `$1` reason, `$2` stage, `$3` channel, `$4` policy, failed from `$5` until `$6`, each only where it isn't null | the same |
/// | `uncounted` | whether a recipient counts for no budget and no spacing since `$1` | the same |
/// | `for_update` | `FOR NO KEY UPDATE`: keys never change, and foreign keys to the row stay free | nothing: the one writer is alone |
/// | `live` | `state IN (…)` as the index of live messages has it | the same: SQLite uses the index only where it finds these very words |
/// | `(still "messages.state" "'held', 'queued'")` | whether a row that is found by its key has one of these states. To the planner it is no condition of a partial index: after statistics of a quiet night it would take reading all that waits for cheaper than a hundred keys | `IN` them |
/// | `overtaken` | whether message `m` must not wait again: another one of its invoice lives, or says more than it; see [`crate::doubt`] | the same |
/// | `(twin 3)` | whether another message may have said to the phone of attempt `a`, within `$3` microseconds of it, what text `x` says: its words, or others before it was sent again | the same |
/// | `waiting_runs` | `waiting_runs (state, run_id)`: the runs whose messages wait in channel `$1`, each found by one step along the index; a last row without | the same |
/// | `(withholding 3 6)` | what withholds messages of open channels at the instant `$3`, for `startable`: the stops in force, and the sources whose copy is young and that aren't waited for, `$6` looks each being too many | the same |
/// | `startable` | whether message, or turn, `b` is of such a source, and under no stop of its own | the same |
/// | `(rows 1 r id: uuid, n: bigint)` | a row set `r` from the JSON text in `$1` | the same by `json_each` |
/// | `(among 1 uuid)` | `= ANY` of the JSON array's elements in `$1` | `IN` them |
/// | `(not_among 1 text)` | `<> ALL` of them | `NOT IN` them |
/// | `(clock 1)` | the server's clock and the ledger's offset; `$1` is [`Tx::host_clock`](super::Tx::host_clock) | `$1` and the offset |
/// | `(id 1)` | `$1` as a `uuid` that may be null | `$1` |
/// | `{ postgres: "…", sqlite: "…" }` | the first | the second |
macro_rules! sql {
    ($($part:tt),+ $(,)?) => {
        $crate::database::Sql {
            postgres: concat!($(postgres_part!($part)),+),
            sqlite: concat!($(sqlite_part!($part)),+),
        }
    };
}

macro_rules! postgres_part {
    ($text:literal) => { $text };
    (live) => { "state IN ('held', 'scheduled', 'queued', 'sending')" };
    (unsettled) => { "state IN ('in_doubt', 'failed') AND discarded_at IS NULL" };
    (failures) => {
        concat!(postgres_part!(unsettled), " AND state = 'failed' AND (CAST($1 AS TEXT) IS NULL OR reason = $1) AND (CAST($2 AS TEXT) IS NULL OR stage = $2)
                AND (CAST($3 AS uuid) IS NULL OR channel_id = $3) AND (CAST($4 AS uuid) IS NULL OR policy_id = $4)
                AND (CAST($5 AS BIGINT) IS NULL OR updated_at >= $5) AND (CAST($6 AS BIGINT) IS NULL OR updated_at < $6)")
    };
    (uncounted) => { "(COALESCE(last_start_at, 0) <= $1 AND COALESCE(reserved_at, 0) <= $1 AND COALESCE(counted_at, 0) <= $1)" };
    (for_update) => { " FOR NO KEY UPDATE " };
    ((still $state:literal $states:literal)) => { concat!($state, " || '' IN (", $states, ")") };
    (overtaken) => {
        "EXISTS (SELECT 1 FROM messages s WHERE s.source_id = m.source_id AND s.subject = m.subject AND s.id <> m.id
            AND (s.state NOT IN ('skipped', 'failed') OR s.reason = 'doubt_expired')
            AND ((m.due_on IS NOT NULL AND s.due_on IS NOT NULL
                    AND (s.state IN ('held', 'scheduled', 'queued', 'sending') OR (s.due_on >= m.due_on AND s.stage_rank >= m.stage_rank)
                        OR (s.due_on > m.due_on AND NOT EXISTS (SELECT 1 FROM invoices i
                                WHERE i.source_id = m.source_id AND i.id = m.subject AND i.due_on = m.due_on))))
                OR (m.due_on IS NULL AND s.due_on IS NULL AND s.stage = m.stage AND s.created_at > m.created_at)))"
    };
    ((twin $n:literal)) => {
        concat!("EXISTS (SELECT 1 FROM message_texts y JOIN attempts b ON b.message_id = y.message_id
            WHERE y.phone = x.phone AND y.message_id <> x.message_id
                AND b.slot_at BETWEEN a.slot_at - CAST($", $n, " AS BIGINT) AND a.slot_at + CAST($", $n, " AS BIGINT)
                AND (y.variables = x.variables
                    OR EXISTS (SELECT 1 FROM resolutions q WHERE q.message_id = y.message_id AND q.how = 'resend')))")
    };
    (waiting_runs) => {
        concat!("waiting_runs (state, run_id) AS (SELECT s.state, (SELECT m.run_id FROM messages m WHERE m.state = s.state AND m.channel_id = $1 AND m.",
                postgres_part!(live), " ORDER BY m.run_id LIMIT 1) FROM (SELECT 'held' AS state UNION ALL SELECT 'scheduled') s
                 UNION ALL SELECT w.state, (SELECT m.run_id FROM messages m WHERE m.state = w.state AND m.channel_id = $1 AND m.",
                postgres_part!(live), " AND m.run_id > w.run_id ORDER BY m.run_id LIMIT 1) FROM waiting_runs w WHERE w.run_id IS NOT NULL)")
    };
    ((withholding $now:literal $wanted:literal)) => {
        concat!("open_stops AS (SELECT scope, target FROM stops WHERE lifted_at IS NULL AND (until_at IS NULL OR until_at > $", $now, ")),
                 fresh AS (SELECT s.id FROM sources s WHERE s.enabled AND s.complete_at + s.max_age_s * 1000000 > $", $now, "
                     AND (s.last_look_s IS NULL
                          OR ((s.last_look_unanswered = 'send' OR COALESCE(s.look_again_at, 0) <= $", $now, ")
                              AND (SELECT count(*) FROM looks l WHERE l.source_id = s.id) < $", $wanted, ")))")
    };
    (startable) => {
        "b.source_id IN (SELECT id FROM fresh)
                       AND NOT EXISTS (SELECT 1 FROM open_stops s WHERE (s.scope = 'stage' AND s.target = b.stage)
                                       OR (s.scope = 'policy' AND s.target = CAST(b.policy_id AS TEXT))
                                       OR (s.scope = 'template' AND s.target = (SELECT n.template_id FROM policy_stages ps JOIN notices n ON n.id = ps.notice_id
                                               WHERE ps.policy_id = b.policy_id AND ps.stage = b.stage)))"
    };
    ((rows $n:literal $alias:ident $first:ident : $first_kind:ident $(, $column:ident : $kind:ident)*)) => {
        concat!("json_to_recordset($", $n, "::json) AS ", stringify!($alias), "(", stringify!($first), " ", stringify!($first_kind),
                $(", ", stringify!($column), " ", stringify!($kind),)* ")")
    };
    // An array, not a subquery: so it restricts its table before any join, along an index. A semi-join with a set of unknown size may be put
    // last, after whole tables were joined.
    ((among $n:literal $kind:ident)) => {
        concat!(" = ANY (ARRAY(SELECT CAST(value AS ", stringify!($kind), ") FROM json_array_elements_text($", $n, "::json)))")
    };
    ((not_among $n:literal $kind:ident)) => {
        concat!(" <> ALL (ARRAY(SELECT CAST(value AS ", stringify!($kind), ") FROM json_array_elements_text($", $n, "::json)))")
    };
    ((clock $n:literal)) => {
        concat!("(clock_offset_us + CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + $", $n, ")")
    };
    ((id $n:literal)) => { concat!("CAST($", $n, " AS uuid)") };
    ({ postgres: $postgres:literal, sqlite: $sqlite:literal }) => { $postgres };
}

macro_rules! sqlite_part {
    ($text:literal) => { $text };
    (live) => { postgres_part!(live) };
    (unsettled) => { postgres_part!(unsettled) };
    (failures) => { postgres_part!(failures) };
    (uncounted) => { postgres_part!(uncounted) };
    (for_update) => { " " };
    ((still $state:literal $states:literal)) => { concat!($state, " IN (", $states, ")") };
    (overtaken) => { postgres_part!(overtaken) };
    ((twin $n:literal)) => { postgres_part!((twin $n)) };
    (waiting_runs) => { postgres_part!(waiting_runs) };
    ((withholding $now:literal $wanted:literal)) => { postgres_part!((withholding $now $wanted)) };
    (startable) => { postgres_part!(startable) };
    ((rows $n:literal $alias:ident $first:ident : $first_kind:ident $(, $column:ident : $kind:ident)*)) => {
        concat!("(SELECT value ->> '$.", stringify!($first), "' AS ", stringify!($first),
                $(", value ->> '$.", stringify!($column), "' AS ", stringify!($column),)*
                " FROM json_each($", $n, ")) AS ", stringify!($alias))
    };
    ((among $n:literal $kind:ident)) => { concat!(" IN (SELECT value FROM json_each($", $n, "))") };
    ((not_among $n:literal $kind:ident)) => { concat!(" NOT IN (SELECT value FROM json_each($", $n, "))") };
    ((clock $n:literal)) => { concat!("(clock_offset_us + CAST($", $n, " AS BIGINT))") };
    ((id $n:literal)) => { concat!("$", $n) };
    ({ postgres: $postgres:literal, sqlite: $sqlite:literal }) => { $sqlite };
}
