//! Each rule of the verdict, broken once by hand.

use super::*;
use uuid::Uuid;

fn message(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

fn attempt(number: u128) -> AttemptId {
    AttemptId(Uuid::from_u128(number))
}

fn due(invoice: &str, is_paid: bool) -> Due {
    Due { invoice: invoice.into(), round: 1, is_paid }
}

fn row(number: u128, invoice: &str, state: &str, reason: &str) -> Message {
    Message { id: message(number), invoice: invoice.into(), state: state.into(), reason: reason.into() }
}

fn taken(invoice: &str, number: u128) -> Taken {
    Taken { invoice: invoice.into(), attempt: Some(attempt(number)) }
}

fn wound(kind: &'static str, doubts: Doubts) -> Wound {
    Wound { kind, round: 1, from: 100, until: 200, doubts }
}

fn doubt(number: u128, process: u32, slot_at: i64) -> Doubt {
    Doubt { message: message(number), process, slot_at }
}

/// Sent, paid in time, let go by the operator who knew that it never arrived, doubtful and sent after all.
fn as_promised() -> Evidence {
    Evidence {
        due: vec![due("1", false), due("2", true), due("3", false), due("4", false)],
        messages: vec![
            row(1, "1", "sent", ""),
            row(2, "2", "skipped", "paid"),
            row(3, "3", "failed", "dropped"),
            row(4, "4", "sent", ""),
        ],
        doubts: vec![doubt(3, 77, 150), doubt(4, 77, 200)],
        dropped: [message(3)].into(),
        taken: vec![taken("1", 1), taken("4", 4)],
        wounds: vec![wound("provider", Doubts::Everybodys(1)), wound("kill", Doubts::Of(77)), wound("outage", Doubts::Nobodys)],
        overslept: [attempt(9)].into(),
        violations: Vec::new(),
        bad_runs: Vec::new(),
    }
}

#[track_caller]
fn check(break_it: impl FnOnce(&mut Evidence), expected: &[Finding]) {
    let mut evidence = as_promised();
    break_it(&mut evidence);
    assert_eq!(judge(&evidence).0, expected);
}

fn lost(invoice: &str, instead: &str) -> Finding {
    Finding::Lost { invoice: invoice.into(), instead: instead.into() }
}

#[test]
fn a_title_that_was_paid_before_any_run_decided_needs_no_message() {
    check(|evidence| evidence.messages.retain(|message| message.invoice != "2"), &[]);
    let lost = Finding::Lost { invoice: "1".into(), instead: "no message was ever written".into() };
    check(
        |evidence| {
            evidence.messages.retain(|message| message.invoice != "1");
            evidence.taken.retain(|taken| taken.invoice != "1");
        },
        &[lost],
    );
}

#[test]
fn what_is_as_promised_has_no_finding_and_a_kill_explains_its_own_doubts() {
    assert_eq!(judge(&as_promised()), (vec![], vec![0, 2, 0]));
}

#[test]
fn an_invoice_without_a_message_is_lost() {
    check(|e| e.due.push(due("5", false)), &[lost("5", "no message was ever written")]);
}

#[test]
fn a_message_that_counts_as_sent_and_never_arrived_is_lost() {
    check(|e| e.taken.retain(|taken| taken.invoice != "1"), &[lost("1", "it counts as sent, and the provider never took it")]);
}

#[test]
fn a_skip_or_failure_that_the_generator_knows_no_reason_for_is_a_loss() {
    check(|e| e.messages[3] = row(4, "4", "skipped", "expired"), &[lost("4", "it is skipped: expired")]);
    check(|e| e.messages[3] = row(4, "4", "skipped", "paid"), &[lost("4", "it is skipped: paid")]);
    check(|e| e.messages[3] = row(4, "4", "failed", "attempts"), &[lost("4", "it is failed: attempts")]);
    check(|e| e.messages[1].reason = "expired".into(), &[lost("2", "it is skipped: expired")]);
    check(|e| e.dropped.clear(), &[lost("3", "it is failed: dropped")]);
    check(|e| e.taken.push(taken("3", 3)), &[lost("3", "it is failed: dropped")]);
}

#[test]
fn an_invoice_that_stands_twice_in_the_providers_log_is_a_duplicate_whatever_the_ledger_says() {
    check(|e| e.taken.push(taken("1", 5)), &[Finding::Duplicated { invoice: "1".into(), times: 2 }]);
}

#[test]
fn what_was_paid_in_time_is_not_sent() {
    let sent_after_paid = Finding::SentAfterPaid("2".into());
    check(|e| e.taken.push(taken("2", 2)), std::slice::from_ref(&sent_after_paid));
    check(|e| e.messages[1].state = "sent".into(), &[sent_after_paid]);
}

#[test]
fn a_message_or_a_request_that_no_due_invoice_asks_for_is_told() {
    check(|e| e.messages.push(row(9, "9", "skipped", "expired")), &[Finding::Undue("9".into())]);
    check(|e| e.taken.push(taken("9", 5)), &[Finding::Undue("9".into())]);
}

#[test]
fn what_still_waits_or_is_in_doubt_after_the_operator_is_stuck() {
    for state in ["held", "scheduled", "queued", "sending", "in_doubt"] {
        check(|e| e.messages[0].state = state.into(), &[Finding::Stuck { invoice: "1".into(), state: state.into() }]);
    }
}

#[test]
fn doubt_outside_of_every_wound_or_of_another_process_is_unexplained() {
    let unexplained = |process| Finding::UnexplainedDoubt { message: message(1), process };
    let without_provider = |e: &mut Evidence| e.wounds[0].doubts = Doubts::Nobodys;
    check(|e| e.doubts.push(doubt(1, 77, 99)), &[unexplained(77)]);
    check(|e| e.doubts.push(doubt(1, 77, 201)), &[unexplained(77)]);
    check(|e| (without_provider(e), e.doubts.push(doubt(1, 78, 150))).1, &[unexplained(78)]);
    check(|e| e.doubts.push(doubt(1, 78, 150)), &[]);
}

#[test]
fn a_fault_explains_no_more_doubt_than_was_on_the_wire() {
    let more = |process| (0..33).map(move |_| doubt(1, process, 150));
    let too_much = |kind, doubts| Finding::TooMuchDoubt { kind, doubts, bound: 32 };
    check(|e| e.doubts.extend(more(77).take(30)), &[]);
    check(|e| e.doubts.extend(more(77).take(31)), &[too_much("kill", 33)]);
    check(|e| e.doubts.extend(more(78)), &[too_much("provider", 33)]);
}

#[test]
fn who_slept_past_its_lease_sent_nothing() {
    check(|e| e.taken[0].attempt = Some(attempt(9)), &[Finding::SentAfterWaking(attempt(9))]);
}

#[test]
fn a_broken_conservation_and_a_run_that_isnt_done_are_told() {
    let violation = Violation::Duplicate(message(1));
    check(|e| e.violations.push(violation.clone()), &[Finding::NotConserved(violation.clone())]);
    let bad = Finding::BadRun { run: "r".into(), state: "failed".into() };
    check(|e| e.bad_runs.push(("r".into(), "failed".into())), &[bad]);
}
