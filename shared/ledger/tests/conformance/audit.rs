//! The audit log: every intervention leaves one entry in its own transaction, and what fails leaves none.

use crate::databases::Fixture;
use crate::doubt::doubtful;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{LEAD, World, by, customer, date, due_for, invoice, phone_key};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::RunId;
use regua_domain::schedule::TaskKind;
use regua_domain::stop::StopScope;
use regua_domain::switches::HoldKind;
use regua_domain::template::TemplateText;
use regua_ledger::audit::{By, Filter, PAGE_MAX, Record};
use regua_ledger::doubt::Resolution;
use regua_ledger::holds::NewHold;
use regua_ledger::people::{NewOptOut, OPT_OUT_BATCH, OptOutOrigin};
use regua_ledger::sealing::SecretKey;
use regua_ledger::stops::NewStop;
use regua_ledger::templates::SeenTemplate;
use regua_ledger::test_sends::NewTest;
use regua_ledger::{Ledger, new_id};
use serde_json::json;
use std::collections::BTreeSet;

/// What others write, each in its own tests.
const OF_OTHERS: [Action; 2] = [Action::FailureReplayed, Action::FailureDiscarded];

async fn log(ledger: &Ledger, filter: Filter) -> Vec<Record> {
    ledger.audit_log(&filter).await.unwrap()
}

async fn all(w: &World) -> Vec<Record> {
    log(&w.ledger, Filter::default()).await
}

/// The newest entry.
async fn last(w: &World) -> Record {
    all(w).await.remove(0)
}

fn why(text: &str) -> By {
    By { why: Some(text.into()), ..by("ana") }
}

fn stop(target: &str, raised_by: &str) -> NewStop {
    NewStop { scope: StopScope::Stage, target: target.into(), raised_by: raised_by.into(), why: "401".into(), until_at: None }
}

fn hold(subject: &str, until_on: &str) -> NewHold {
    NewHold {
        source: None,
        kind: HoldKind::Customer,
        subject: subject.into(),
        until_on: date(until_on),
        why: "promised".into(),
        set_by: "ana".into(),
        even_if_unknown: false,
    }
}

async fn seen(w: &World, text: &str) {
    let now = Some(TemplateText { name: "aviso".into(), text: text.into() });
    let seen = vec![SeenTemplate { integration: "Opa! Suite".into(), template_id: TEMPLATE.into(), now }];
    w.ledger.note_templates(seen).await.unwrap();
}

async fn entries_come_newest_first_restricted_and_page_by_page(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let begins = w.now().await;
    for (n, stage) in ["pre_due", "due_day", "overdue"].into_iter().enumerate() {
        w.f.advance(TimeDelta::minutes(1)).await;
        assert!(w.ledger.raise_stop(stop(stage, if n == 1 { "bia" } else { "ana" })).await.unwrap());
    }
    w.ledger.resume(StopScope::Stage, "overdue".into(), by("bia")).await.unwrap();
    let told =
        |records: Vec<Record>| records.into_iter().map(|record| format!("{} {}", record.by, record.target)).collect::<Vec<_>>();
    let filter = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let stops = ["bia stage overdue", "ana stage overdue", "bia stage due_day", "ana stage pre_due"];
    let newest = log(&w.ledger, filter(&|filter| filter.limit = Some(4))).await;
    assert!(newest.is_sorted_by(|a, b| a.at >= b.at && a.id > b.id));
    assert_eq!(told(newest), stops);
    let since: DateTime<Utc> = begins + TimeDelta::minutes(2);
    assert_eq!(told(log(&w.ledger, filter(&|filter| filter.since = Some(since))).await), stops[..3]);
    assert_eq!(told(log(&w.ledger, filter(&|filter| filter.by = Some("bia".into()))).await), [stops[0], stops[2]]);
    assert_eq!(told(log(&w.ledger, filter(&|filter| filter.action = Some(Action::StopLifted))).await), stops[..1]);
    assert_eq!(told(log(&w.ledger, filter(&|filter| filter.target = Some("stage overdue".into()))).await), stops[..2]);
    let both = filter(&|filter| (filter.by, filter.action) = (Some("ana".into()), Some(Action::StopRaised)));
    assert_eq!(told(log(&w.ledger, both).await), [stops[1], stops[3]]);
    let mut before = None;
    for expected in stops {
        let page = log(&w.ledger, Filter { before, limit: Some(1), ..Filter::default() }).await;
        before = Some(page[0].id);
        assert_eq!(told(page), [expected]);
    }
    let page = log(&w.ledger, Filter { limit: Some(u32::MAX), ..Filter::default() }).await;
    assert!(page.len() == 5 && page.len() < PAGE_MAX as usize, "the configuration's too");
}

async fn an_applied_configuration_tells_what_changed_by_section_and_name(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let first = last(&w).await;
    assert_eq!((first.action, first.by.as_str(), first.was), (Action::ConfigurationApplied, "regua", None));
    let sections = first.became.unwrap()["sections"].to_string();
    assert!(sections.contains("[[channel]] Cobrança") && !sections.contains("per_second"), "names only: {sections}");

    let more = "[pilot]\nphones = [\"+5511987654321\"]\n".into();
    let changed = Setup { per_second: 20, more, ..Setup::default() }.configuration();
    w.ledger.apply_configuration_by(changed.clone(), why("o canal foi limitado")).await.unwrap();
    let second = last(&w).await;
    assert_eq!((second.by.as_str(), second.why.as_deref()), ("ana", Some("o canal foi limitado")));
    assert_eq!(second.was, Some(json!({ "[[channel]] Cobrança": { "per_second": "80" } })));
    let became = json!({ "[[channel]] Cobrança": { "per_second": "20" }, "[pilot]": { "phones": "[\"+…4321\"]" } });
    assert_eq!(second.became, Some(became), "and no phone");

    w.ledger.apply_configuration_by(changed, by("ana")).await.unwrap();
    let third = last(&w).await;
    assert_eq!((third.was, third.became), (None, None), "one entry each, though nothing changed");
    assert!(w.ledger.apply_file_once(Setup::default().configuration()).await.unwrap());
    assert_eq!(last(&w).await.by, "REGUA_CONFIG");
    assert!(!w.ledger.apply_file_once(Setup::default().configuration()).await.unwrap());
    assert_eq!(all(&w).await.len(), 4, "one that is applied already isn't again");
}

async fn a_stop_says_what_it_is_by_name_and_a_resumption_what_it_lifted(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let channel = w.channel.to_string();
    for raised_by in ["answer", "ana"] {
        let stop = NewStop { scope: StopScope::Channel, target: channel.clone(), ..stop("", raised_by) };
        assert!(w.ledger.raise_stop(stop.clone()).await.unwrap());
        assert!(!w.ledger.raise_stop(stop).await.unwrap(), "it is raised already");
    }
    let raised = log(&w.ledger, Filter { action: Some(Action::StopRaised), ..Filter::default() }).await;
    let told: Vec<_> = raised.iter().map(|record| (record.by.as_str(), record.target.as_str(), record.why.as_deref())).collect();
    assert_eq!(told, [("ana", "channel Cobrança", Some("401")), ("answer", "channel Cobrança", Some("401"))]);
    assert_eq!(w.ledger.resume(StopScope::Channel, channel, why("o token é novo")).await.unwrap(), 2);
    let lifted = last(&w).await;
    assert_eq!(
        (lifted.action, lifted.target.as_str(), lifted.why.as_deref()),
        (Action::StopLifted, "channel Cobrança", Some("o token é novo"))
    );
    let was = lifted.was.unwrap();
    let by: BTreeSet<_> = was.as_array().unwrap().iter().map(|stop| stop["raised_by"].as_str().unwrap()).collect();
    assert_eq!(by, BTreeSet::from(["ana", "answer"]));
}

async fn opt_outs_are_one_entry_each_call_and_no_phone_is_written_down(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.opt_out(&[1, 2], "ana").await;
    let typed = last(&w).await;
    assert_eq!((typed.target.as_str(), typed.by.as_str()), ("…0001, …0002", "ana"));
    let many = u32::try_from(OPT_OUT_BATCH).unwrap() * 2 + 1;
    let new = |n| NewOptOut { phone: phone_key(n).parse().unwrap(), since_at: None, why: "PROCON".into() };
    let origin = OptOutOrigin { scope: OptOutScope::All, source: OptOutSource::File, added_by: "bia".into() };
    w.ledger.add_opt_outs((1..=many).map(new).collect(), origin).await.unwrap();
    let file = last(&w).await;
    let became = json!({ "given": many, "new": many - 2, "earlier": 0, "scope": "all", "source": "file" });
    assert_eq!((file.by.as_str(), file.target.as_str(), file.became), ("bia", "", Some(became)));
    assert_eq!(w.ledger.remove_opt_out(phone_key(7).parse().unwrap(), None, why("engano")).await.unwrap(), 1);
    let removed = last(&w).await;
    assert_eq!(
        (removed.action, removed.target.as_str(), removed.why.as_deref()),
        (Action::OptOutRemoved, "…0007", Some("engano"))
    );
    assert_eq!(all(&w).await.len(), 4, "the configuration, two additions, one removal");
    let rows = w.f.texts("SELECT target || COALESCE(was, '') || COALESCE(became, '') FROM audit_log").await;
    assert!(rows.iter().flatten().all(|row| !row.contains("8000000") && !row.contains(&phone_key(7))), "{rows:?}");
}

async fn what_does_not_happen_is_not_written_down(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let id = w.queued(1).await[0];
    let before = all(&w).await.len();
    let l = &w.ledger;
    let mut wrong = Setup::default().configuration();
    wrong.channels[0].integration = "Inexistente".into();
    assert!(l.apply_configuration_by(wrong, by("ana")).await.is_err());
    assert!(l.resolve_doubt(id, Resolution::Drop, "ana".into(), "x".into()).await.is_err());
    assert!(l.restored(w.now().await + TimeDelta::days(1), "ana".into()).await.is_err());
    let tomorrow = w.now().await + TimeDelta::days(1);
    assert!(l.plan_run_by("A".into(), TaskKind::UpdateCollections, tomorrow, None, by("ana")).await.is_err());
    l.approve_run(RunId(new_id()), "ana".into(), "x".into()).await.unwrap();
    l.resume(StopScope::Everything, String::new(), by("ana")).await.unwrap();
    l.remove_opt_out(phone_key(1).parse().unwrap(), None, by("ana")).await.unwrap();
    l.set_hold(hold("nobody", "2026-12-31")).await.unwrap();
    l.set_hold(hold("c0001", "2026-01-01")).await.unwrap();
    l.lift_hold(None, HoldKind::Customer, "c0001".into(), "ana".into(), "x".into()).await.unwrap();
    l.accept_template("Aviso".into(), "ana".into(), "x".into()).await.unwrap();
    let test =
        |notice: &str| NewTest { notice: notice.into(), phone: phone_key(9).parse().unwrap(), by: "ana".into(), lead: LEAD };
    l.begin_test(test("Inexistente")).await.unwrap();
    l.remove_secret("opa".into(), "ana".into(), "x".into()).await.unwrap();
    let sync = l.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    l.end_sync(sync, true).await.unwrap();
    assert!(l.end_import(sync, true, json!({}), by("ana")).await.is_err(), "the lease is gone");
    let after: Vec<_> = all(&w).await.into_iter().map(|record| record.action).collect();
    assert_eq!(after.len(), before, "{after:?}");
}

/// Whoever adds an action performs it here, or says in [`OF_OTHERS`] who does.
async fn every_action_is_written_by_whoever_does_it_once(f: Fixture) {
    let (w, message, _) = doubtful(f).await;
    let l = &w.ledger;
    l.resolve_doubt(message, Resolution::Drop, "ana".into(), "x".into()).await.unwrap();
    w.sync(&[customer(2), customer(3)], &[invoice(2, 2, due_for("overdue")), invoice(3, 3, due_for("overdue"))]).await;
    let sync = l.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    l.end_import(sync, true, json!({ "kind": "invoices", "good": 2 }), by("ana")).await.unwrap();
    let now = w.now().await;
    l.plan_run_by("by hand".into(), TaskKind::UpdateCollections, now, None, why("de novo")).await.unwrap();
    w.f.execute("UPDATE runs SET approval = 'waiting' WHERE task_name = 'by hand'").await;
    let waiting = log(l, Filter { action: Some(Action::RunPlanned), ..Filter::default() }).await.remove(0).became.unwrap();
    l.approve_run(waiting["run"].as_str().unwrap().parse().unwrap(), "ana".into(), "x".into()).await.unwrap();
    l.raise_stop(stop("overdue", "ana")).await.unwrap();
    l.resume(StopScope::Stage, "overdue".into(), why("está certo")).await.unwrap();
    w.opt_out(&[3], "ana").await;
    l.remove_opt_out(phone_key(3).parse().unwrap(), None, by("ana")).await.unwrap();
    l.set_hold(hold("c0002", "2026-12-31")).await.unwrap();
    l.lift_hold(None, HoldKind::Customer, "c0002".into(), "ana".into(), "paid".into()).await.unwrap();
    seen(&w, "Olá {{1}}! {{2}} {{3}}").await;
    l.accept_template("Aviso".into(), "ana".into(), "x".into()).await.unwrap();
    let test = NewTest { notice: "Aviso".into(), phone: phone_key(9).parse().unwrap(), by: "ana".into(), lead: LEAD };
    l.begin_test(test).await.unwrap();
    let (id, key) = (l.id().await.unwrap(), SecretKey::new(&[1; 32]));
    l.set_secret("opa".into(), key.seal(id, "opa", &"token".into()), "ana".into(), None).await.unwrap();
    l.rotate_secrets(Vec::new(), key.id().into(), "ana".into(), "x".into()).await.unwrap();
    l.remove_secret("opa".into(), "ana".into(), "x".into()).await.unwrap();
    w.f.execute("INSERT INTO message_counts VALUES ('sent', 'credit_bureau', '', false, 7)").await;
    l.recount(by("ana")).await.unwrap();
    let before = all(&w).await;
    l.restored(now - TimeDelta::hours(1), "ana".into()).await.unwrap();
    let own: Vec<_> = all(&w).await.into_iter().filter(|record| !before.contains(record)).map(|record| record.action).collect();
    assert_eq!(own, [Action::StopLifted, Action::Restored, Action::StopRaised], "its own stop is a stop as any other");

    let mut written: Vec<Action> = before.iter().map(|record| record.action).chain([Action::Restored]).collect();
    written.sort_unstable();
    let expected: Vec<Action> = Action::ALL.iter().copied().filter(|action| !OF_OTHERS.contains(action)).collect();
    assert_eq!(written, expected, "each once");
    assert!(before.iter().all(|record| record.by == "ana" || record.action == Action::ConfigurationApplied));
}

conformance! {
    entries_come_newest_first_restricted_and_page_by_page
    an_applied_configuration_tells_what_changed_by_section_and_name
    a_stop_says_what_it_is_by_name_and_a_resumption_what_it_lifted
    opt_outs_are_one_entry_each_call_and_no_phone_is_written_down
    what_does_not_happen_is_not_written_down
    every_action_is_written_by_whoever_does_it_once
}
