//! Whom policies speak for, since when, how far apart their stages are, and runs that wait for a person's consent.

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, customer, date, due_for, invoice, sent};
use chrono::TimeDelta;
use regua_domain::ids::{InvoiceId, RunId};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_domain::settlement::Settlement;
use regua_domain::stage::Stage;
use regua_ledger::approval::ApprovalAnswer;
use regua_ledger::new_id;

const OVERDUE: &str = "[[policy.stage]]\nstage = \"overdue\"\ndays = 3\nnotice = \"Aviso\"\n";

/// Who approves in these tests.
async fn approve(w: &World, run: RunId) -> ApprovalAnswer {
    w.ledger.approve_run(run, "maria".into(), "new branch".into()).await.unwrap()
}

async fn the_first_policy_that_fits_decides_and_who_has_none_is_counted(f: Fixture) {
    let business = "[policy.filters]\nperson_type = \"J\"\namount_min = \"50,00\"".to_owned();
    let nobody = format!(
        "[[policy]]\nname = \"Prefeitura\"\npriority = 1\n[policy.filters]\ncustomer_type = 9\n{}",
        OVERDUE.replace("notice", "enabled = false\nnotice")
    );
    let policy = format!("activated_on = 2026-01-01\n{business}");
    let w = World::new(f, &Setup { policy, more: nobody, ..Setup::default() }).await;
    let company = |n| Customer { person_type: "J".into(), ..customer(n) };
    let customers = [company(1), customer(2), Customer { customer_type_id: "9".into(), ..company(3) }, company(4)];
    let due = due_for("overdue");
    let small = Invoice { open_amount: Centavos(4_999), ..invoice(4, 4, due) };
    w.sync(&customers, &[invoice(1, 1, due), invoice(2, 2, due), invoice(3, 3, due), small]).await;
    let (run, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.skipped), (1, 0));
    assert_eq!(w.message_of(1).await.stage, Stage::Overdue);
    let run = w.ledger.run(run).await.unwrap().unwrap();
    assert_eq!((run.evaluated, run.no_policy), (1, 2), "a person, a small amount; the town hall's policy says nothing");
    let policies = w.ledger.policies().await.unwrap();
    let names: Vec<_> = policies.iter().map(|policy| (policy.name.as_str(), policy.stages.len())).collect();
    assert_eq!(names, [("Prefeitura", 0), ("Todos", 4)]);
}

async fn no_stage_is_made_up_for_that_was_due_before_its_policy(f: Fixture) {
    let setup = Setup { policy: String::new(), open_windows: 10, ..Setup::default() };
    let w = World::new(f, &setup).await;
    let dues = ["2026-03-06", "2026-03-05", "2026-03-04"].map(date);
    let invoices: Vec<_> = (1..).zip(dues).map(|(n, due)| invoice(n, n, due)).collect();
    w.sync(&[1, 2, 3].map(customer), &invoices).await;
    assert_eq!(w.evaluate().await.1.held, 1, "overdue's own day is today for the first alone");
    // Applied again, and with another stage: what goes on goes on, what is new begins.
    w.f.advance(TimeDelta::days(1)).await;
    let more = Setup { stages: stage("overdue", 3, "Aviso") + &stage("pending_query", 6, "Pendência"), ..setup.clone() };
    w.ledger.apply_configuration(more.configuration()).await.unwrap();
    let policies = w.ledger.policies().await.unwrap();
    let since: Vec<_> = policies[0].stages.iter().map(|stage| (stage.stage, stage.active_from)).collect();
    assert_eq!(
        since,
        [(Stage::Overdue, date("2026-03-09")), (Stage::PendingQuery, date("2026-03-10"))],
        "it had another day before"
    );
    w.sync(&[customer(4)], &[invoice(4, 4, date("2026-03-03"))]).await;
    assert_eq!(w.evaluate().await.1.held, 1, "pending_query for the third, whose sixth day is today; the fourth's was yesterday");
    assert_eq!(w.message_of(3).await.stage, Stage::PendingQuery);
    let stated = Setup { policy: "activated_on = 2026-02-01".into(), ..more };
    w.ledger.apply_configuration(stated.configuration()).await.unwrap();
    assert!(w.ledger.policies().await.unwrap()[0].stages.iter().all(|stage| stage.active_from == date("2026-02-01")));
    assert_eq!(w.ledger.configuration().await.unwrap().unwrap().policies[0].activated_on, Some(date("2026-02-01")));
}

async fn a_policy_that_was_switched_off_begins_again_when_it_is_switched_on(f: Fixture) {
    let setup = Setup { policy: String::new(), ..Setup::default() };
    let w = World::new(f, &setup).await;
    let off = Setup { policy: "enabled = false".into(), ..setup.clone() };
    w.ledger.apply_configuration(off.configuration()).await.unwrap();
    w.f.advance(TimeDelta::days(5)).await;
    w.ledger.apply_configuration(setup.configuration()).await.unwrap();
    assert!(w.ledger.policies().await.unwrap()[0].stages.iter().all(|stage| stage.active_from == date("2026-03-14")));
}

async fn the_date_on_which_a_message_was_begun_spaces_the_next(f: Fixture) {
    let stages = stage("overdue", 3, "Aviso") + &stage("pending_query", 4, "Pendência");
    let w = World::new(f, &Setup { stages, days_between_stages: 3, max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, sent("p")).await;
    for (days, held) in [(1, 0), (2, 0), (3, 1)] {
        w.f.advance(TimeDelta::days(1)).await;
        assert_eq!(w.evaluate().await.1.held, held, "{days} days after the overdue notice");
    }
    assert_eq!(w.messages_of(1).await[1].stage, Stage::PendingQuery);
}

async fn a_run_that_is_larger_than_usual_waits_for_consent(f: Fixture) {
    let w = World::new(f, &Setup { approval_above: "3", max_age: "30d", release: "immediate", ..Setup::default() }).await;
    w.customers(1, 4, due_for("overdue")).await;
    let (run, counts) = w.evaluate().await;
    assert!(counts.waits_for_approval && counts.held == 4);
    assert_eq!(w.ledger.run(run).await.unwrap().unwrap().approval.as_deref(), Some("waiting"));
    assert_eq!(w.ledger.runs_waiting_for_approval().await.unwrap().len(), 1);
    w.release().await;
    assert_eq!(w.top_up(10).await, [], "released, and yet none goes");
    assert_eq!(approve(&w, RunId(new_id())).await, ApprovalAnswer::Unknown);
    assert_eq!(approve(&w, run).await, ApprovalAnswer::Approved { messages: 4 });
    assert_eq!(approve(&w, run).await, ApprovalAnswer::NotWaiting);
    assert_eq!(w.f.count("runs WHERE approved_by = 'maria' AND approval_why = 'new branch' AND approved_at > 0").await, 1);
    assert_eq!(w.top_up(10).await.len(), 4);
}

async fn up_to_three_times_the_median_needs_no_consent(f: Fixture) {
    let stages = stage("overdue", 3, "Aviso");
    let w = World::new(f, &Setup { approval_above: "3", max_age: "30d", stages, ..Setup::default() }).await;
    for (first, count, waits) in [(1, 2, false), (11, 4, false), (21, 10, true), (31, 12, false), (51, 22, true)] {
        // Medians of what was decided before: 0 (but at most 3), 2, 3, 4, 7.
        w.customers(first, count, w.local_today().await - TimeDelta::days(3)).await;
        let (run, counts) = w.evaluate().await;
        assert_eq!((counts.held, counts.waits_for_approval), (count.into(), waits), "{count} after what was before {first}");
        assert_eq!(w.ledger.run(run).await.unwrap().unwrap().approval.is_some(), waits);
        w.f.advance(TimeDelta::days(1)).await;
    }
}

async fn what_was_queued_before_its_run_grew_too_large_is_not_started(f: Fixture) {
    let w = World::new(f, &Setup { approval_above: "3", release: "immediate", ..Setup::default() }).await;
    w.customers(1, 2, due_for("overdue")).await;
    let run = w.leased_run().await;
    let first = w.decide(&run).await;
    assert!(!w.ledger.commit_evaluation(first).await.unwrap().waits_for_approval);
    let queued = w.top_up(10).await;
    assert_eq!(queued.len(), 2);
    w.customers(11, 5, due_for("overdue")).await;
    let second = w.decide(&run).await;
    assert!(w.ledger.commit_evaluation(second).await.unwrap().waits_for_approval);
    assert!(w.start(&queued).await.iter().all(|answer| matches!(answer, regua_ledger::start::StartAnswer::Postponed { .. })));
    assert_eq!(approve(&w, run.run.id).await, ApprovalAnswer::Approved { messages: 7 });
    w.f.advance(TimeDelta::minutes(2)).await;
    let attempt = {
        w.top_up(10).await;
        w.started(queued[0]).await.attempt_id
    };
    w.finish(queued[0], attempt, Settlement::Sent { provider_id: "p".into() }).await;
}

async fn an_invoice_is_found_by_its_id_whatever_its_state(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.sync(&[customer(1)], &[crate::world::paid(&invoice(1, 1, due_for("overdue")))]).await;
    let found = w.ledger.candidates_by_id(&InvoiceId("i0001".into())).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.customer.is_some(), found[0].1.known.len()), (w.source, true, 0));
    assert!(w.ledger.candidates_by_id(&InvoiceId("i9".into())).await.unwrap().is_empty());
}

conformance! {
    the_first_policy_that_fits_decides_and_who_has_none_is_counted
    no_stage_is_made_up_for_that_was_due_before_its_policy
    a_policy_that_was_switched_off_begins_again_when_it_is_switched_on
    the_date_on_which_a_message_was_begun_spaces_the_next
    a_run_that_is_larger_than_usual_waits_for_consent
    up_to_three_times_the_median_needs_no_consent
    what_was_queued_before_its_run_grew_too_large_is_not_started
    an_invoice_is_found_by_its_id_whatever_its_state
}
