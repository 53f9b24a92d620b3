//! Each channel now: what waits, how fast it goes, when it ends, and what binds it.

use crate::commands::{ChannelOutlook, Outlook, Waiting};
use billing_evaluator::forecast::Forecast;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::stop::StopScope;
use regua_ledger::Ledger;
use regua_ledger::recent_work::{ClosedGate, RATE_OVER, RecentWork};
use regua_ledger::stops::Stop;
use regua_ledger::volume::ChannelRoom;
use serde::Serialize;

/// What begins within this has begun.
const AT_ONCE: TimeDelta = TimeDelta::minutes(1);

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelNow {
    /// Its name.
    pub channel: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Of those, what ends unsent because its turn doesn't come.
    pub unsent: u64,
    /// Its limit; `None` is unlimited.
    pub per_second: Option<u32>,
    /// What it made per second over the last minute.
    pub rate: f64,
    /// When the next one may leave, if that isn't now: the task that releases it, or the window; in the provider's zone.
    pub begins_at: Option<String>,
    /// When what waits will have been sent, in the provider's zone; `None` for nothing, or where no task releases it.
    pub ends_at: Option<String>,
    /// What decides how long it takes, or holds it back: `stop`, `pause` (with `paused_why`), `not_before` (`begins_at`), `no_task`,
    /// `window`, `budget`, `per_second`; `nothing` where no limit does.
    pub binds: &'static str,
    /// Until when its gate is closed.
    pub paused_until: Option<DateTime<Utc>>,
    /// Why, as a closed name.
    pub paused_why: Option<String>,
    /// Different people that its business wrote to in the last 24 hours.
    pub recipients_used: u64,
    /// How many those may be; `None` is unlimited.
    pub recipients_per_24h: Option<u32>,
}

/// Reads them all.
pub(super) async fn gather(
    ledger: &Ledger,
    work: &RecentWork,
    stops: &[Stop],
    today: NaiveDate,
) -> anyhow::Result<Vec<ChannelNow>> {
    let Some(configuration) = ledger.configuration().await? else { return Ok(Vec::new()) };
    let nothing_new = Forecast { on: today, ..Forecast::default() };
    let Outlook { rooms, channels, .. } = Outlook::of(ledger, &nothing_new, Waiting::Too).await?;
    let (closed, at) = (ledger.closed_gates().await?, ledger.now().await?);
    let told = configuration.channels.iter().filter_map(|known| {
        let room = rooms.iter().find(|room| room.name == known.name)?;
        let outlook = channels.iter().find(|channel| channel.channel == known.name);
        let is_stopped = stops.iter().any(|stop| match stop.scope {
            StopScope::Everything => true,
            StopScope::Business => known.business.as_ref() == Some(&stop.name),
            StopScope::Integration => known.integration == stop.name,
            StopScope::Channel => known.name == stop.name,
            StopScope::Template | StopScope::Policy | StopScope::Stage => false,
        });
        let made = work.made.get(&room.id).copied().unwrap_or(0);
        Some(now(room, outlook, closed.get(&room.id), is_stopped, made, at))
    });
    Ok(told.collect())
}

fn now(
    room: &ChannelRoom,
    outlook: Option<&ChannelOutlook>,
    gate: Option<&ClosedGate>,
    is_stopped: bool,
    made: u64,
    at: DateTime<Utc>,
) -> ChannelNow {
    let begins_at = outlook.and_then(|outlook| outlook.begins_at.clone()).filter(|text| room.waiting > 0 && is_later(text, at));
    let binds = if is_stopped {
        "stop"
    } else if gate.is_some() {
        "pause"
    } else if begins_at.is_some() {
        "not_before"
    } else {
        outlook.map_or("nothing", |outlook| outlook.binds)
    };
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let rate = made as f64 / RATE_OVER.num_seconds() as f64;
    ChannelNow {
        channel: room.name.clone(),
        waiting: room.waiting + room.ending,
        unsent: outlook.map_or(0, |outlook| outlook.unsent) + room.ending,
        per_second: room.per_second,
        rate: (rate * 10.0).round() / 10.0,
        begins_at,
        // A stop has no end that anybody knows.
        ends_at: outlook.filter(|_| !is_stopped).and_then(|outlook| outlook.ends_at.clone()),
        binds,
        paused_until: gate.map(|gate| gate.until),
        paused_why: gate.map(|gate| gate.why.clone()),
        recipients_used: room.recipients_used,
        recipients_per_24h: room.recipients_per_24h,
    }
}

/// Whether an instant as an outlook tells it is still to come, by more than reading takes.
fn is_later(text: &str, at: DateTime<Utc>) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok_and(|begins_at| begins_at.to_utc() > at + AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regua_domain::ids::{BusinessId, ChannelId};

    #[test]
    fn what_holds_a_channel_back_is_told_before_what_merely_slows_it() {
        let room = ChannelRoom {
            id: ChannelId(uuid::Uuid::nil()),
            name: "Cobrança".into(),
            per_second: Some(20),
            waiting: 40,
            ending: 2,
            business_id: BusinessId(uuid::Uuid::nil()),
            recipients_per_24h: None,
            recipients_used: 0,
            unreleased: 40,
            waits_for_task: true,
        };
        let outlook = ChannelOutlook {
            channel: room.name.clone(),
            messages: 40,
            waiting: 40,
            ending: 2,
            recipients: 40,
            per_second: room.per_second,
            begins_at: Some("2026-11-24T08:00:00-03:00".into()),
            ends_at: Some("end".into()),
            seconds: Some(2),
            binds: "per_second",
            unsent: 1,
        };
        let gate = ClosedGate { until: DateTime::UNIX_EPOCH, why: "budget".into() };
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let (open, early) = (at("2026-11-24T11:00:00Z"), at("2026-11-24T10:58:59Z"));
        let now = |outlook, gate, is_stopped| now(&room, outlook, gate, is_stopped, 606, open);
        let goes = now(Some(&outlook), None, false);
        assert_eq!((goes.binds, goes.ends_at.as_deref(), goes.unsent), ("per_second", Some("end"), 3));
        assert_eq!(goes.waiting, 42);
        assert!((goes.rate - 10.1).abs() < 1e-9, "{}", goes.rate);
        assert_eq!(goes.begins_at, None);
        assert_eq!(now(Some(&outlook), Some(&gate), false).binds, "pause");
        let stopped = now(Some(&outlook), Some(&gate), true);
        assert_eq!((stopped.binds, stopped.ends_at), ("stop", None));
        assert_eq!(now(None, None, false).binds, "nothing");
        let shut = super::now(&room, Some(&outlook), None, false, 0, early);
        assert_eq!((shut.binds, shut.begins_at), ("not_before", outlook.begins_at.clone()));
        let idle = ChannelRoom { waiting: 0, ..room.clone() };
        assert_eq!(super::now(&idle, Some(&outlook), None, false, 0, early).begins_at, None);
    }
}
