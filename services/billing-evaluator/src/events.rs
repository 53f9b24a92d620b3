//! Decides what happened since the last run calls for: pages through a source's events by day, and commits each page with its messages.

use crate::written::Written;
use regua_domain::events::first_day;
use regua_domain::policy::{PolicyPlan, needs_totals};
use regua_ledger::evaluation::EvaluationBatch;
use regua_ledger::events::{EventCursor, decide_page};
use regua_ledger::mirror::Source;
use regua_ledger::runs::LeasedRun;
use regua_ledger::settings::Settings;
use regua_ledger::{Ledger, LedgerError};

/// Decides the events of one source, all of them in every try: what was consumed before isn't there any more.
///
/// They are of the day on which they are looked at, whatever date the run is for: a run for another date must not make them too old.
///
/// # Errors
/// As [`Written::commit`].
pub(crate) async fn decide_events(
    ledger: &Ledger,
    leased: &LeasedRun,
    source: &Source,
    policies: &[PolicyPlan],
    settings: &Settings,
    written: &mut Written,
) -> Result<(), LedgerError> {
    let mut after = Some(EventCursor::default());
    while let Some(cursor) = after {
        let now = ledger.now().await?;
        let told_since = first_day(settings.times().date_at(now));
        let (limit, with_totals) = (ledger.evaluation_page(), needs_totals(policies));
        let (candidates, next) = ledger.events(source.id, told_since, &cursor, limit, with_totals).await?;
        let (messages, events) = decide_page(&candidates, policies, settings, now);
        if !(messages.is_empty() && events.is_empty()) {
            let batch = EvaluationBatch {
                run_id: leased.run.id,
                owner: leased.owner,
                planned_at: leased.run.planned_at,
                source_id: source.id,
                cursor: None,
                messages,
                events,
                no_policy: 0,
            };
            written.commit(ledger, batch).await?;
        }
        after = next;
    }
    Ok(())
}
