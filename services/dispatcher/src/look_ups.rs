//! Looks for doubtful messages in Opa! Suite's talks with customers, where an integration asks for it.
//!
//! It is here because here are the clients, each with its integration's present token. Of several dispatchers one has an integration's look,
//! and asks slowly: what people wait for in Opa! Suite comes first.

use crate::Dispatcher;
use crate::config::REQUEST_TIMEOUT;
use crate::routes::Way;
use chrono::NaiveDate;
use regua_domain::ids::IntegrationId;
use regua_domain::look_up::{Shown, Sought};
use regua_ledger::LedgerError;
use regua_ledger::look_ups::{LOOK_MAX, LookUp, Searched};
use regua_ledger::receipts::{ReceiptAnswer, Received};
use regua_opa_suite::{Conversations, LIST_PAGE_ROWS, ListError, OpaClient};
use regua_pipeline::story;
use regua_telemetry::logging::Chain;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};

/// How often it is looked whether a look is due, and when first: the routes have been read by then.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often an integration is asked while a look is under way.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// After so long a look comes to nothing more: what a last request and the noting take is left of [`LOOK_MAX`].
const SEARCH_MAX: Duration = Duration::from_mins(4);
const _: () = assert!(LOOK_MAX.num_seconds().unsigned_abs() >= SEARCH_MAX.as_secs() + 3 * REQUEST_TIMEOUT.as_secs());
/// Pages of talks that are read for the messages of one day; in a day with more talks than these hold, the later ones aren't found.
const PAGES_MAX: usize = 20;
/// Talks of one message that are read.
const TALKS_MAX: usize = 5;

/// Takes one look after the other, when there is one.
pub async fn keep_looking(dispatcher: Arc<Dispatcher>) {
    let mut every = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let ways: BTreeMap<IntegrationId, Way> =
            dispatcher.routes.all().into_iter().map(|way| (way.route.integration_id, way)).collect();
        let among: Vec<_> = ways.keys().copied().collect();
        match dispatcher.pipeline.ledger.take_look_up(&among).await {
            Ok(Some(look_up)) => {
                let Some(way) = ways.get(&look_up.integration) else { continue };
                if let Err(error) = look(&dispatcher, way, look_up).await {
                    tracing::warn!(error = %Chain(&error), "look_up.not_noted");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(error = %Chain(&error), "look_up.not_taken"),
        }
    }
}

async fn look(dispatcher: &Dispatcher, way: &Way, look_up: LookUp) -> Result<(), LedgerError> {
    let mut search =
        Search { talks: &way.client, pace: interval(ASK_EVERY), ends: Instant::now() + SEARCH_MAX, searched: Vec::new() };
    search.pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Err(error) = search.run(&look_up.sought).await {
        tracing::warn!(integration = way.route.integration, error = %Chain(&error), "look_up.unanswered");
    }
    let searched = search.searched;
    count(dispatcher, "unanswered", look_up.sought.len() - searched.len());
    let not_found = searched.iter().filter(|found| found.record.is_none()).count();
    count(dispatcher, "not_found", not_found);
    let hits = searched.len() - not_found;
    let received = dispatcher.pipeline.ledger.note_look_up(look_up, searched).await?;
    tell(dispatcher, hits, &received);
    Ok(())
}

/// Opa! Suite's talks, as far as they are asked for.
trait Talks {
    /// As [`OpaClient::conversations`].
    async fn conversations(&self, first: NaiveDate, last: NaiveDate, skip: usize) -> Result<Conversations, ListError>;
    /// As [`OpaClient::conversation_messages`].
    async fn messages(&self, talk: &str) -> Result<Vec<Shown>, ListError>;
}

impl Talks for OpaClient {
    async fn conversations(&self, first: NaiveDate, last: NaiveDate, skip: usize) -> Result<Conversations, ListError> {
        Self::conversations(self, first, last, skip).await
    }

    async fn messages(&self, talk: &str) -> Result<Vec<Shown>, ListError> {
        self.conversation_messages(talk).await
    }
}

/// A search for messages, one request after the other.
struct Search<'a, T> {
    talks: &'a T,
    pace: Interval,
    ends: Instant,
    /// What was come to.
    searched: Vec<Searched>,
}

impl<T: Talks> Search<'_, T> {
    /// Searches for each as long as there is time.
    ///
    /// # Errors
    /// Opa! Suite doesn't answer. A day or a talk that can't be read counts as one that shows nothing.
    async fn run(&mut self, sought: &[Sought]) -> Result<(), ListError> {
        let mut by_days: BTreeMap<(NaiveDate, NaiveDate), Vec<&Sought>> = BTreeMap::new();
        for one in sought {
            by_days.entry(one.days()).or_default().push(one);
        }
        for (days, sought) in by_days {
            let talks = match self.talks_of(days, &sought).await {
                // So that a day that can't be listed stands in no other's way.
                Err(error) if error.is_an_answer() => {
                    tracing::warn!(first = %days.0, last = %days.1, error = %Chain(&error), "look_up.day_not_read");
                    sought.iter().map(|one| (*one, Vec::new())).collect()
                }
                talks => talks?,
            };
            for (one, talks) in talks {
                // What isn't come to is due still; where there is nothing to read, nothing is to come to.
                if self.is_over() && !talks.is_empty() {
                    return Ok(());
                }
                let found = self.record_of(one, &talks).await;
                let (record, result) = match found {
                    Ok(record) => (record, Ok(())),
                    // So that it stands in nobody's way, should it be this talk's fault.
                    Err(error) => (None, Err(error)),
                };
                self.searched.push(Searched { message: one.message, attempt: one.attempt, record });
                result?;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// The talks with each one's phone through its channel, as many as are read.
    async fn talks_of<'s>(
        &mut self,
        (first, last): (NaiveDate, NaiveDate),
        sought: &[&'s Sought],
    ) -> Result<Vec<(&'s Sought, Vec<String>)>, ListError> {
        let mut found: Vec<(&Sought, Vec<String>)> = sought.iter().map(|one| (*one, Vec::new())).collect();
        let mut begins_with = None;
        for page in 0..PAGES_MAX {
            self.pace.tick().await;
            let Conversations { talks, is_last } = self.talks.conversations(first, last, page * LIST_PAGE_ROWS).await?;
            let first_id = talks.first().map(|talk| talk.id.clone());
            // The server ignores `skip`: there is nothing new.
            if first_id == begins_with {
                break;
            }
            for talk in &talks {
                let of_it = found.iter_mut().filter(|(one, _)| {
                    talk.phone.as_ref() == Some(&one.phone) && talk.channel_id.eq_ignore_ascii_case(&one.provider_channel_id)
                });
                of_it.filter(|(_, ids)| ids.len() < TALKS_MAX).for_each(|(_, ids)| ids.push(talk.id.clone()));
            }
            if is_last || self.is_over() {
                break;
            }
            begins_with = first_id;
        }
        Ok(found)
    }

    /// The first record of these talks that shows it.
    async fn record_of(&mut self, sought: &Sought, talks: &[String]) -> Result<Option<String>, ListError> {
        for talk in talks {
            if self.is_over() {
                break;
            }
            self.pace.tick().await;
            match self.talks.messages(talk).await {
                Ok(messages) => {
                    if let Some(shown) = messages.into_iter().find(|shown| sought.is_shown_by(shown)) {
                        return Ok(Some(shown.id));
                    }
                }
                Err(error) if error.is_an_answer() => tracing::debug!(talk, error = %Chain(&error), "look_up.talk_not_read"),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn tell(dispatcher: &Dispatcher, hits: usize, received: &Received) {
    let mut settled = 0;
    for (answer, about) in received.answers.iter().zip(&received.about) {
        if let ReceiptAnswer::Moved { message, from, to, contradicts } = answer {
            settled += 1;
            let _in_its_trace = about.map(|told| story::receipt(&told, *contradicts).entered());
            if *contradicts {
                regua_pipeline::contradicting_receipts(&dispatcher.process.metrics).increment();
                tracing::error!(message_id = %message, %from, %to, "look_up.contradicts: it counted as unsent and was sent; it won't be sent again");
            } else {
                tracing::info!(message_id = %message, %from, %to, "look_up.found");
            }
        }
    }
    count(dispatcher, "found", settled);
    // Its record shows another message already, or may show one.
    count(dispatcher, "proved_nothing", hits - settled);
}

fn count(dispatcher: &Dispatcher, outcome: &'static str, messages: usize) {
    let help = "Doubtful messages looked for in Opa! Suite's talks, by what came of it.";
    dispatcher.process.metrics.counter("regua_look_ups_total", help, &[("outcome", outcome)]).add(messages as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta, Utc};
    use regua_domain::ids::{AttemptId, MessageId};
    use regua_opa_suite::{Conversation, List};
    use std::cell::Cell;

    const CHANNEL: &str = "64f1c0de0a1b2c3d4e5f6001";

    fn noon() -> DateTime<Utc> {
        "2026-11-26T15:00:00Z".parse().expect("an instant")
    }

    fn phone(n: usize) -> String {
        format!("11{:08}", 87_000_000 + n)
    }

    fn sought(n: usize) -> Sought {
        Sought {
            message: MessageId(uuid::Uuid::from_u128(n as u128)),
            attempt: AttemptId(uuid::Uuid::from_u128(1000 + n as u128)),
            provider_channel_id: CHANNEL.into(),
            phone: phone(n).parse().expect("a phone key"),
            text: format!("Olá {n}!"),
            from_at: noon(),
            until_at: noon() + TimeDelta::minutes(1),
        }
    }

    fn talk(n: usize, id: &str) -> Conversation {
        Conversation { id: id.into(), channel_id: CHANNEL.to_uppercase(), phone: phone(n).parse().ok() }
    }

    /// Talks of a day; what is said in each is what is sought of its number. A talk "bad" isn't understood, "away" isn't answered.
    struct Day {
        talks: Vec<Conversation>,
        obeys_skip: bool,
        asked: Cell<usize>,
    }

    impl Talks for Day {
        async fn conversations(&self, _: NaiveDate, _: NaiveDate, skip: usize) -> Result<Conversations, ListError> {
            self.asked.set(self.asked.get() + 1);
            let skip = if self.obeys_skip { skip } else { 0 };
            let talks: Vec<_> = self.talks.iter().skip(skip).take(LIST_PAGE_ROWS).cloned().collect();
            Ok(Conversations { is_last: talks.len() < LIST_PAGE_ROWS, talks })
        }

        async fn messages(&self, talk: &str) -> Result<Vec<Shown>, ListError> {
            self.asked.set(self.asked.get() + 1);
            let list = List::ConversationMessages;
            match talk.split_once('-') {
                Some(("bad", _)) => Err(ListError::Unparsable { list, what: "it is not JSON" }),
                Some(("away", _)) => Err(ListError::Unreachable { list, source: None }),
                Some(("says", n)) => {
                    Ok(vec![Shown { id: format!("r{n}"), is_to_customer: true, text: format!("Olá {n}!"), at: noon() }])
                }
                _ => Ok(vec![]),
            }
        }
    }

    fn day(talks: Vec<Conversation>) -> Day {
        Day { talks, obeys_skip: true, asked: Cell::new(0) }
    }

    /// What each was shown by, in the order in which they were searched for, and whether the look came to its end.
    async fn search(day: &Day, numbers: &[usize], limit: Duration) -> (Vec<Option<String>>, bool) {
        let ends = Instant::now() + limit;
        let mut search = Search { talks: day, pace: interval(ASK_EVERY), ends, searched: Vec::new() };
        let sought: Vec<_> = numbers.iter().map(|n| sought(*n)).collect();
        let is_whole = search.run(&sought).await.is_ok();
        (search.searched.into_iter().map(|found| found.record).collect(), is_whole)
    }

    /// 0 stands for none.
    fn records(numbers: impl IntoIterator<Item = usize>) -> Vec<Option<String>> {
        numbers.into_iter().map(|n| (n > 0).then(|| format!("r{n}"))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_page_is_searched() {
        let mut talks: Vec<_> = (10..2010).map(|n| talk(n, &n.to_string())).collect();
        talks.push(talk(1, "says-1"));
        let day = day(talks);
        assert_eq!(search(&day, &[1], SEARCH_MAX).await, (records([1]), true));
        assert_eq!(day.asked.get(), 3 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ignores_skip_is_asked_twice() {
        let day = Day { obeys_skip: false, ..day((10..1010).map(|n| talk(n, &n.to_string())).collect()) };
        assert_eq!(search(&day, &[1], SEARCH_MAX).await, (records([0]), true));
        assert_eq!(day.asked.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_talks_with_its_phone_through_its_channel_are_read_and_not_many() {
        let other = Conversation { channel_id: "64f1c0de0a1b2c3d4e5f6002".into(), ..talk(1, "says-1") };
        let day = day(vec![other, talk(2, "says-2"), talk(1, "x")]);
        assert_eq!(search(&day, &[1], SEARCH_MAX).await, (records([0]), true));
        assert_eq!(day.asked.get(), 1 + 1);
        let many = Day { talks: vec![talk(1, "x"); 40], ..day };
        search(&many, &[1], SEARCH_MAX).await;
        assert_eq!(many.asked.get(), 2 + 1 + TALKS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_talk_that_is_not_understood_stands_in_nobodys_way() {
        let day = day(vec![talk(1, "bad-1"), talk(1, "says-1"), talk(2, "bad-2"), talk(3, "says-3")]);
        assert_eq!(search(&day, &[1, 2, 3], SEARCH_MAX).await, (records([1, 0, 3]), true));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_look_and_counts_for_the_one_that_met_it() {
        let day = day(vec![talk(1, "says-1"), talk(2, "away-2"), talk(3, "says-3")]);
        assert_eq!(search(&day, &[1, 2, 3], SEARCH_MAX).await, (records([1, 0]), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_ends_in_time_and_asks_once_a_second() {
        let day = day((1..=10).map(|n| talk(n, &format!("says-{n}"))).collect());
        let numbers: Vec<_> = (1..=10).collect();
        let (found, is_whole) = search(&day, &numbers, Duration::from_secs(3)).await;
        assert_eq!((found, is_whole), (records(1..=3), true));
    }
}
