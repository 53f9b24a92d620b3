//! Tomorrow's volume against the limits: what the next day on which the window opens will have to send, and whether it can.

use super::{Finding, Scene, Told, What};
use crate::commands::{ChannelOutlook, Outlook, Waiting};
use billing_evaluator::forecast::{self, Forecast};
use chrono::{Days, NaiveDate};
use regua_ledger::volume::ChannelRoom;

/// Looks at what waits now; then decides for the next open day without writing anything. Each channel and each business is compared with what it
/// may send.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let (settings, now) = (scene.ledger.settings().await?, scene.ledger.now().await?);
    let window = settings.times().of(None, None);
    let today = settings.times().date_at(now);
    // The provider's own window: what single states add or close moves little.
    let next = today + Days::new(1);
    let on = window.local_date(window.next_open(window.start_of_day(next))).max(next);
    let goes_today = window.local_date(window.next_open(now)) < on;
    let mut findings = Vec::new();
    if goes_today {
        let nothing_new = Forecast { on: today, ..Forecast::default() };
        let Outlook { channels, .. } = Outlook::of(scene.ledger, &nothing_new, Waiting::Too).await?;
        findings.extend(channels.iter().map(|channel| of_channel(channel, today)));
    }
    let forecast = forecast::forecast(scene.ledger, Some(on)).await?;
    let waiting = if goes_today { Waiting::GoneByThen } else { Waiting::Too };
    let Outlook { rooms, channels, .. } = Outlook::of(scene.ledger, &forecast, waiting).await?;
    if channels.is_empty() {
        findings.push(Finding::good("volume", Told::ours(format!("nothing to send on {on}, as far as the mirror knows"))));
    }
    findings.extend(channels.iter().map(|channel| of_channel(channel, on)));
    findings.extend(of_businesses(scene, &rooms, &channels, on));
    Ok(findings)
}

fn of_channel(channel: &ChannelOutlook, on: NaiveDate) -> Finding {
    let what = What::named("volume of channel", &channel.channel);
    let (messages, people) = (channel.messages, channel.recipients);
    let Some((begins_at, ends_at)) = channel.begins_at.as_ref().zip(channel.ends_at.as_ref()) else {
        let result = Told::ours(format!("{messages} messages on {on}, and no send-queued-messages that releases them"));
        return Finding::bad(what, result, "enable a [[task]] of kind send-queued-messages");
    };
    let lost = channel.unsent + channel.ending;
    if lost > 0 {
        let result = Told::ours(format!("{lost} of {} messages on {on} end unsent: {}", messages + channel.ending, why(channel)));
        let mend = "spread the stages over more days or channels, open the window longer, or raise per_second and recipients_per_24h as far as WhatsApp grants it";
        return Finding::bad(what, result, mend);
    }
    Finding::good(
        what,
        Told::ours(format!("{messages} messages to at most {people} people, {begins_at} to {ends_at}; {}", why(channel))),
    )
}

/// What decides how long it takes.
fn why(channel: &ChannelOutlook) -> &'static str {
    match channel.binds {
        "per_second" => "the limit per second binds",
        "budget" => "the budget of recipients per 24 hours binds",
        "window" => "the window closes first",
        _ => "no limit binds",
    }
}

/// The 24-hour budget of each business, over all its channels.
fn of_businesses(scene: &Scene<'_>, rooms: &[ChannelRoom], channels: &[ChannelOutlook], on: NaiveDate) -> Vec<Finding> {
    let of_channel = |name: &str| channels.iter().find(|channel| channel.channel == name).map_or(0, |channel| channel.recipients);
    let limited = scene.configuration.businesses.iter().filter_map(|business| {
        let limit = u64::from(business.recipients_per_24h?.get());
        let names = scene.configuration.channels.iter().filter(|channel| channel.business.as_ref() == Some(&business.name));
        let mine: Vec<_> = names.filter_map(|channel| rooms.iter().find(|room| room.name == channel.name)).collect();
        let people: u64 = mine.iter().map(|room| of_channel(&room.name)).sum();
        let used = mine.first()?.recipients_used;
        Some(of_business(What::named("budget of business", &business.name), people, used, limit, on))
    });
    limited.collect()
}

fn of_business(what: What, people: u64, used: u64, limit: u64, on: NaiveDate) -> Finding {
    let result = Told::ours(format!("{used} of {limit} people in the last 24 hours; at most {people} on {on}"));
    if people > limit {
        let mend = "spread the stages over more days, or have WhatsApp raise the business's limit: what is over it waits and may end unsent";
        return Finding::warning(what, result, mend);
    }
    Finding::good(what, result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;

    #[track_caller]
    fn check(change: impl FnOnce(&mut ChannelOutlook), grade: Grade, says: &str) {
        let mut channel = ChannelOutlook {
            channel: "Cobrança".into(),
            messages: 100,
            waiting: 0,
            ending: 0,
            recipients: 90,
            per_second: Some(1),
            begins_at: Some("2026-11-25T09:00:00-03:00".into()),
            ends_at: Some("2026-11-25T09:01:40-03:00".into()),
            seconds: Some(100),
            binds: "per_second",
            unsent: 0,
        };
        change(&mut channel);
        let finding = of_channel(&channel, "2026-11-25".parse().expect("a date"));
        assert!(finding.grade == grade && finding.result.text().contains(says), "{finding:?}");
    }

    #[test]
    fn a_day_that_a_limit_or_the_window_does_not_hold_is_a_problem() {
        check(|_| {}, Grade::Ok, "100 messages to at most 90 people, 2026-11-25T09:00:00-03:00 to 2026-11-25T09:01:40-03:00");
        check(|channel| (channel.unsent, channel.binds) = (40, "window"), Grade::Problem, "40 of 100 messages");
        check(|channel| channel.ending = 7, Grade::Problem, "7 of 107 messages");
        check(|channel| (channel.begins_at, channel.ends_at) = (None, None), Grade::Problem, "no send-queued-messages");
        let business = |people| of_business("b".into(), people, 10, 250, "2026-11-25".parse().expect("a date")).grade;
        assert_eq!([business(250), business(251)], [Grade::Ok, Grade::Warning]);
    }
}
