//! Who asked not to be written to: noted once with its earliest date, asked at every step, of everybody or of one business.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, begin, by, due_for, phone_key, skipped};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::message::{SkipReason, State};
use regua_domain::phone::PhoneKey;
use regua_ledger::people::{NewOptOut, OPT_OUT_BATCH, OptOutCounts, OptOutOrigin};
use regua_ledger::start::StartAnswer;

fn key(customer: u32) -> PhoneKey {
    phone_key(customer).parse().unwrap()
}

fn new(customer: u32, since_at: Option<DateTime<Utc>>, why: &str) -> NewOptOut {
    NewOptOut { phone: key(customer), since_at, why: why.into() }
}

fn origin(scope: OptOutScope, source: OptOutSource, added_by: &str) -> OptOutOrigin {
    OptOutOrigin { scope, source, added_by: added_by.into() }
}

async fn an_opt_out_holds_once_and_until_it_is_removed(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    assert_eq!(w.opt_out(&[3, 1, 3], "ana").await, 2);
    assert_eq!(w.opt_out(&[1, 2], "bia").await, 1);
    let page = w.ledger.opt_outs(None, 2).await.unwrap();
    let shown: Vec<_> = page.iter().map(|out| (out.phone_key.clone(), out.added_by.as_str(), out.why.as_str())).collect();
    assert_eq!(shown, [(phone_key(1), "ana", "pediu"), (phone_key(2), "bia", "pediu")], "the first to say so is kept");
    assert!(
        page.iter().all(|out| out.source == OptOutSource::Command && out.scope == OptOutScope::All && out.business.is_none())
    );
    assert!(page[0].since_at <= w.now().await);
    let rest = w.ledger.opt_outs(page.last(), 2).await.unwrap();
    assert_eq!(rest.iter().map(|out| out.phone_key.clone()).collect::<Vec<_>>(), [phone_key(3)]);
    assert_eq!(w.ledger.remove_opt_out(key(1), None, by("ana")).await.unwrap(), 1);
    assert_eq!(w.ledger.remove_opt_out(key(1), None, by("ana")).await.unwrap(), 0);
    assert_eq!(w.ledger.opt_outs(None, 10).await.unwrap().len(), 2);
}

/// The date is the proof: of two the earlier one is kept, with all that was said then.
async fn of_two_dates_the_earlier_one_is_kept(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let at = |days| begin() - TimeDelta::days(days);
    let add = |opt_outs: Vec<NewOptOut>, source, by| w.ledger.add_opt_outs(opt_outs, origin(OptOutScope::All, source, by));
    let counts = |new, earlier| OptOutCounts { new, earlier };
    let lines = || vec![new(1, Some(at(5)), "b"), new(1, Some(at(9)), "a"), new(2, None, "c")];
    assert_eq!(add(lines(), OptOutSource::File, "ana").await.unwrap(), counts(2, 0), "of two lines, too");
    assert_eq!(add(lines(), OptOutSource::File, "ana").await.unwrap(), counts(0, 0), "the same again changes nothing");
    assert_eq!(add(vec![new(1, Some(at(3)), "later")], OptOutSource::Webhook, "opa").await.unwrap(), counts(0, 0));
    assert_eq!(add(vec![new(2, Some(at(30)), "d")], OptOutSource::Erp, "ixc").await.unwrap(), counts(0, 1));
    let future = vec![new(3, Some(w.now().await + TimeDelta::days(9)), "e")];
    assert_eq!(add(future, OptOutSource::File, "ana").await.unwrap(), counts(1, 0));
    let kept = w.ledger.opt_outs(None, 10).await.unwrap();
    let shown =
        |place: usize| (kept[place].since_at, kept[place].source, kept[place].added_by.as_str(), kept[place].why.as_str());
    assert_eq!(shown(0), (at(9), OptOutSource::File, "ana", "a"));
    assert_eq!(shown(1), (at(30), OptOutSource::Erp, "ixc", "d"));
    assert!(kept[2].since_at <= w.now().await, "it holds already");
}

async fn more_than_a_batch_is_noted_whole(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let many = u32::try_from(OPT_OUT_BATCH).unwrap() + 5;
    let opt_outs = (1..=many).map(|customer| new(customer, None, "x")).collect();
    let counts = w.ledger.add_opt_outs(opt_outs, origin(OptOutScope::All, OptOutSource::File, "ana")).await.unwrap();
    assert_eq!((counts.new, w.f.count("opt_outs").await), (u64::from(many), i64::from(many)));
}

/// Held, scheduled and queued alike: whoever looks at the message next ends it.
async fn an_opt_out_ends_what_waits_wherever_it_waits(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let ids = w.released(1, 3, "overdue").await;
    assert_eq!(w.top_up(1).await, [ids[0]]);
    w.f.execute(format!("UPDATE messages SET state = 'scheduled', next_attempt_at = 1 WHERE id = '{}'", ids[1])).await;
    w.opt_out(&[1, 2, 3], "ana").await;
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Skipped { why: SkipReason::OptedOut }));
    assert!(w.top_up(10).await.is_empty());
    for id in ids {
        assert_eq!(w.state(id).await, skipped(SkipReason::OptedOut));
    }
}

/// Nothing waits for who has opted out already; it comes back by the evaluation after the opt-out's end, never by itself.
async fn who_opted_out_is_skipped_when_decided_and_comes_back_when_evaluated_again(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.opt_out(&[1], "ana").await;
    w.customers(1, 2, due_for("overdue")).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.skipped), (1, 1));
    assert_eq!((w.message_of(1).await.state, w.message_of(1).await.reason.as_deref()), (State::Skipped, Some("opted_out")));
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.revived, counts.skipped), (0, 0), "it stays as it is");
    w.ledger.remove_opt_out(key(1), None, by("ana")).await.unwrap();
    w.release().await;
    assert_eq!(w.top_up(10).await.len(), 1, "the other one");
    assert_eq!(w.message_of(1).await.state, State::Skipped);
    let (_, counts) = w.evaluate().await;
    assert_eq!(counts.revived, 1);
    w.release().await;
    assert_eq!(w.top_up(10).await, [w.message_of(1).await.id]);
}

/// Who doesn't want to hear of one business hears of the others: by every channel of it, decided and on its way.
async fn an_opt_out_of_one_business_ends_that_businesss_messages_only(f: Fixture) {
    let w = World::new(f, &Setup { channel: "Vendas", ..Setup::default() }).await;
    let business = w.ledger.business_named("Provedor").await.unwrap().unwrap();
    assert_eq!(business, w.business);
    let alone = w.ledger.business_named("Vendas").await.unwrap().unwrap();
    assert_ne!(alone, business, "a channel's own");
    assert_eq!(w.ledger.business_named("Outra").await.unwrap(), None);
    let only = |business, customer| {
        let origin = origin(OptOutScope::Business(business), OptOutSource::Command, "ana");
        w.ledger.add_opt_outs(vec![new(customer, None, "x")], origin)
    };
    only(business, 1).await.unwrap();
    only(alone, 2).await.unwrap();
    only(business, 2).await.unwrap();
    let ids = w.released(1, 3, "overdue").await;
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::OptedOut), "decided for the channel that it would go through");
    only(alone, 1).await.unwrap();
    only(business, 3).await.unwrap();
    assert_eq!(w.ledger.top_up(w.other_channel, Some(10)).await.unwrap().queued, [ids[2]]);
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::OptedOut));
    assert!(matches!(w.start_one(ids[2]).await, StartAnswer::Started(_)));
    let shown: Vec<_> = w.ledger.opt_outs(None, 10).await.unwrap().into_iter().map(|out| out.business).collect();
    assert_eq!(shown.iter().filter(|name| name.as_deref() == Some("Vendas")).count(), 2);
    assert_eq!(w.ledger.remove_opt_out(key(2), Some(OptOutScope::All), by("ana")).await.unwrap(), 0);
    assert_eq!(w.ledger.remove_opt_out(key(2), Some(OptOutScope::Business(alone)), by("ana")).await.unwrap(), 1);
    assert_eq!(w.ledger.remove_opt_out(key(2), None, by("ana")).await.unwrap(), 1, "the other business's");
}

conformance! {
    an_opt_out_holds_once_and_until_it_is_removed
    of_two_dates_the_earlier_one_is_kept
    more_than_a_batch_is_noted_whole
    an_opt_out_ends_what_waits_wherever_it_waits
    who_opted_out_is_skipped_when_decided_and_comes_back_when_evaluated_again
    an_opt_out_of_one_business_ends_that_businesss_messages_only
}
