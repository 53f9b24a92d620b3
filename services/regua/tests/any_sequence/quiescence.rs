//! The pipeline left to itself until nothing more is to be done; and what must have come of it then: nothing is lost.

use crate::facts::{Facts, date_at};
use crate::operations::End;
use crate::oracle::{Broken, due_period, expected};
use crate::player::{Player, Seen};
use crate::world::phone_of;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::message::State;
use regua_domain::mirror::Invoice;
use regua_domain::stage::Stage;
use regua_ledger::conservation::compare;
use regua_ledger::queries::MessageView;
use regua_ledger::sweeps::HINT_LOST_AFTER;

/// Rounds of the pipeline in one go: more than any day needs.
const ROUNDS_MAX: u32 = 3000;
/// What is due and doesn't go is looked at again as often.
const STEP: TimeDelta = TimeDelta::minutes(30);
/// Days after which whatever a run decided must have ended.
const DAYS: i64 = 8;

impl Player {
    /// The day's tasks, one after the other.
    async fn tasks(&self) -> Result<(), Broken> {
        self.sync().await;
        self.run("update-collections", TimeDelta::zero()).await;
        self.judge().await?;
        self.release().await;
        Ok(())
    }

    /// The day's tasks, and a look at the clock.
    pub async fn morning(&self, hour: u32) -> Result<(), Broken> {
        self.tasks().await?;
        let at = self.next(hour).await;
        self.wait(at - self.now().await).await;
        Ok(())
    }

    /// A provider's day from now on.
    pub async fn day(&self) -> Result<(), Broken> {
        self.tasks().await?;
        let midnight = self.next(0).await;
        self.pump(midnight).await
    }

    /// Tops up, starts and sends, and lets time go on to whatever comes next, until an instant.
    pub async fn pump(&self, until: DateTime<Utc>) -> Result<(), Broken> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.top_up(0, false).await;
            let hints = self.seen().hints.len();
            self.start(hints, false).await;
            self.judge().await?;
            let (open, waiting) = self.seen().in_hand();
            self.finish(open, End::Sent, false).await;
            moved += (hints + open) as u64;
            let now = self.now().await;
            if moved == 0 {
                moved += self.ledger.expire().await.unwrap() + self.ledger.unqueue(HINT_LOST_AFTER).await.unwrap();
                moved += self.ledger.rescue().await.unwrap().len() as u64;
            }
            if now >= until {
                return Ok(());
            }
            let next = match (moved, waiting) {
                (0, _) => self.next_instant(now).await,
                (_, 0) => continue,
                _ => now + TimeDelta::milliseconds(100),
            };
            self.wait(next.min(until) - now).await;
        }
        Err(format!("the pipeline never comes to rest: {:?}", self.ledger.activity().await.unwrap()))
    }

    async fn next_instant(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let activity = self.ledger.activity().await.unwrap();
        let mut next = activity.next_at.filter(|at| *at > now).unwrap_or(now + TimeDelta::days(1));
        if activity.on_the_way > 0 {
            next = next.min(now + HINT_LOST_AFTER);
        }
        if activity.due > 0 { next.min(now + STEP) } else { next }
    }

    /// 6 and 7: from wherever the sequence has led, whatever is due and unhindered is sent, and the sums hold.
    pub async fn settle(&self) -> Result<(), Broken> {
        self.seen().hands = [None, None];
        let early = self.next(7).await;
        self.wait(early - self.now().await).await;
        let open = self.seen().open.len();
        self.finish(open, End::Sent, false).await;
        self.late_evidence().await;
        // What nothing calls for any more is found out on the first of these days, what it made room for is sent on the second.
        self.tasks().await?;
        let morning = self.next(7).await;
        self.pump(morning).await?;
        self.sync().await;
        let (now, facts) = (self.now().await, self.facts());
        let due: Vec<(Invoice, Stage)> =
            facts.invoices.values().filter_map(|invoice| Some((invoice.clone(), self.unsaid(&facts, invoice, now)?))).collect();
        self.run("update-collections", TimeDelta::zero()).await;
        self.judge().await?;
        self.release().await;
        for _ in 0..DAYS {
            if self.ledger.counts().await.unwrap().live() == 0 {
                break;
            }
            let morning = self.next(7).await;
            self.pump(morning).await?;
            self.sync().await;
        }
        for (invoice, stage) in due {
            self.was_said(&facts, &invoice, stage, date_at(now))?;
        }
        let (counted, kept) = (self.ledger.counts().await.unwrap(), self.ledger.kept_counts().await.unwrap().counts());
        if counted != kept {
            return Err(format!("the kept counts are not those of the rows: {kept:?}, {counted:?}"));
        }
        let broken = compare(&self.ledger.conservation().await.unwrap(), self.seen().taken.iter().copied().map(Some));
        if broken.is_empty() { Ok(()) } else { Err(format!("the sums don't hold: {broken:?}")) }
    }

    /// The stage that must be sent, if it or a later one wasn't said or ended before and the customer heard nothing lately.
    fn unsaid(&self, facts: &Facts, invoice: &Invoice, now: DateTime<Utc>) -> Option<Stage> {
        let stage = expected(facts, invoice, now)?;
        let seen = self.seen();
        let mut of_this = seen.rows.values().filter(|row| row.subject == invoice.id.0 && row.due_on == Some(invoice.due_on));
        let is_over = of_this.any(|row| match row.state {
            State::Failed => row.stage == stage,
            State::Sending | State::Sent | State::Delivered | State::Read | State::InDoubt => row.stage >= stage,
            // A later stage that waits makes the earlier one needless, if it may go itself.
            State::Held | State::Scheduled | State::Queued => row.stage > stage,
            State::Skipped => false,
        });
        // Of a due date that was moved back the same stage isn't said again.
        let is_of_later =
            |row: &MessageView| row.subject == invoice.id.0 && row.due_on > Some(invoice.due_on) && row.stage >= stage;
        let is_moved_back =
            seen.rows.values().any(|row| is_of_later(row) && (row.state.is_live() || row.state.may_have_arrived()));
        let of_invoice = |subject: &str, due_on: Option<NaiveDate>| subject == invoice.id.0 && due_on.is_some();
        let heard = seen.wire.iter().filter(|entry| of_invoice(&entry.subject, entry.due_on) && entry.fate.may_have_arrived());
        // What a restored backup left in doubt may have been sent up to then.
        let doubted = seen.rows.values().filter(|row| of_invoice(&row.subject, row.due_on) && row.state == State::InDoubt);
        let heard = heard.map(|entry| entry.slot_at).chain(doubted.map(|row| row.updated_at)).map(date_at).max();
        let is_soon = heard.is_some_and(|day| day + TimeDelta::days(facts.rules.days_between.into()) > date_at(now));
        (!is_over && !is_moved_back && !is_soon).then_some(stage)
    }

    /// Whether the stage, or a later one, was sent; or why it could not be by then.
    fn was_said(&self, facts: &Facts, invoice: &Invoice, stage: Stage, today: NaiveDate) -> Result<(), Broken> {
        let seen = self.seen();
        let of_this = || seen.rows.values().filter(|row| row.subject == invoice.id.0 && row.due_on == Some(invoice.due_on));
        if of_this().any(|row| row.stage >= stage && row.state == State::Sent) {
            return Ok(());
        }
        let lost = |what: String| Err(format!("lost: {stage} of {} due {}: {what}", invoice.id.0, invoice.due_on));
        let Some(row) = of_this().find(|row| row.stage == stage) else { return lost("nothing was written".into()) };
        let days = || (0..DAYS).map(|later| today + TimeDelta::days(later));
        let is_overtaken = || {
            let mut later = Stage::ALL.into_iter().filter(|later| *later > stage);
            later.any(|later| {
                due_period(facts, later, invoice).is_some_and(|due| days().any(|day| (due.from..=due.until).contains(&day)))
            })
        };
        match (row.state, row.reason.as_deref()) {
            (State::Skipped, Some("superseded")) if is_overtaken() => Ok(()),
            (State::Skipped, Some("capped")) if days().any(|day| is_full(&seen, facts, invoice, day)) => Ok(()),
            (_, reason) => lost(format!("{}, {reason:?}", row.state)),
        }
    }
}

/// Whether the customer's phone had as many messages by a day as allowed.
fn is_full(seen: &Seen, facts: &Facts, invoice: &Invoice, day: NaiveDate) -> bool {
    let Some(phone) = facts.customer_of(invoice).and_then(phone_of) else { return false };
    let heard = seen.wire.iter().filter(|entry| entry.text.phone_key == phone.key && entry.may_count());
    let days: Vec<NaiveDate> = heard.map(crate::wire::Entry::local_date).collect();
    let within = |first: NaiveDate| days.iter().filter(|heard| (first..=day).contains(heard)).count();
    let cap = facts.rules.per_7_days.max(facts.rules.per_day);
    within(day) >= facts.rules.per_day.into() || within(day - TimeDelta::days(6)) >= cap.into()
}
