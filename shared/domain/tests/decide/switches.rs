//! What keeps an owed invoice silent: the ERP's switches and our own holds (contracts §2.2, §2.3).

use super::{customer, decide, due_on, invoice, known, plus, policy, run_of, usual};
use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::consent::Reach;
use regua_domain::decide::{NotDue, still_called_for};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;
use regua_domain::switches::may_speak;

/// Why each stage of the usual policy is silent on its own day; `None` for one that speaks.
fn silence(invoice: &Invoice, customer: &Customer, held_until: Option<NaiveDate>) -> [Option<SkipReason>; 5] {
    let plan = usual();
    [-5, 0, 5, 7, 45].map(|days| {
        let day = run_of(plus(days), 0);
        let decided = regua_domain::decide::decide(
            &plan,
            invoice,
            Some(customer),
            &[],
            None,
            day,
            &Reach { held_until, ..Reach::EVERYBODY },
        );
        decided.expect("a stage is due on its own day").text.err()
    })
}

#[track_caller]
fn check(change: fn(&mut Invoice), expected: [Option<SkipReason>; 5]) {
    let mut changed = invoice();
    change(&mut changed);
    assert_eq!(silence(&changed, &customer(), None), expected, "{changed:?}");
}

#[test]
fn each_switch_of_a_title_or_its_contract_has_its_stages_and_its_reason() {
    use SkipReason::{Forecast, NoNoticeUntil, OverdueNoticesOff, Protested};
    check(|_| {}, [None; 5]);
    check(|i| i.protested = true, [Some(Protested); 5]);
    check(|i| i.forecast = true, [Some(Forecast); 5]);
    let late = Some(OverdueNoticesOff);
    check(|i| i.notifies_overdue = false, [None, None, late, late, late]);
    let until = Some(NoNoticeUntil);
    check(|i| i.no_notice_until = Some(plus(5)), [until, until, until, None, None]);
}

#[test]
fn a_hold_keeps_every_dated_stage_silent_to_the_end_of_its_last_day() {
    let held = Some(SkipReason::OnHold);
    assert_eq!(silence(&invoice(), &customer(), Some(plus(5))), [held, held, held, None, None]);
    assert_eq!(silence(&invoice(), &customer(), Some(plus(-6))), [None; 5]);
}

#[test]
fn a_customer_takes_part_in_collection_and_in_reminders_apart() {
    let nothing = Customer { takes_part_in_collection: false, ..customer() };
    assert_eq!(silence(&invoice(), &nothing, None), [Some(SkipReason::NotInCollection); 5]);
    let no_reminder = Customer { takes_part_in_pre_due: false, ..customer() };
    assert_eq!(silence(&invoice(), &no_reminder, None), [Some(SkipReason::NotInPreDue), None, None, None, None]);
}

#[test]
fn what_a_person_said_is_told_before_what_the_erp_says() {
    let all = Invoice { protested: true, forecast: true, notifies_overdue: false, no_notice_until: Some(plus(9)), ..invoice() };
    let why = |invoice: &Invoice, held| may_speak(invoice, None, Some(5), held, plus(5));
    assert_eq!(why(&all, Some(plus(5))), Err(SkipReason::OnHold));
    assert_eq!(why(&all, None), Err(SkipReason::Protested));
}

#[test]
fn collection_that_num_dias_cob_puts_off_is_told_as_such() {
    let patient = Customer { days_before_collection: 6, ..customer() };
    let why = |days: i64| {
        let plan = usual();
        let day = run_of(plus(days), 0);
        regua_domain::decide::decide(&plan, &invoice(), Some(&patient), &[], None, day, &Reach::EVERYBODY).err()
    };
    assert_eq!(why(5), Some(NotDue::BeforeCollection { stage: Stage::Overdue, from_days: 6 }));
    assert_eq!((why(4), why(7)), (Some(NotDue::NoStage), None));
    assert_eq!(may_speak(&invoice(), Some(&patient), Some(5), None, plus(5)), Err(SkipReason::BeforeCollection));
    assert_eq!(may_speak(&invoice(), Some(&patient), Some(6), None, plus(5)), Ok(()));
}

/// F4: the reason went away within the catch-up.
#[test]
fn a_message_comes_back_when_its_switch_or_hold_is_over() {
    let plan = policy(&[(Stage::Overdue, Some(5))]);
    let skipped = [known(Stage::Overdue, State::Skipped)];
    let held = |today: i64| {
        let (day, held) = (run_of(plus(today), 0), Reach { held_until: Some(plus(6)), ..Reach::EVERYBODY });
        regua_domain::decide::decide(&plan, &invoice(), Some(&customer()), &skipped, None, day, &held).map(|d| d.revives).ok()
    };
    assert_eq!([5, 6, 7, 8, 9].map(held), [None, None, Some(Some(skipped[0].id)), Some(Some(skipped[0].id)), None]);
    let warned = Invoice { no_notice_until: Some(plus(6)), ..invoice() };
    let back = |days| decide(&plan, &warned, Some(&customer()), &skipped, plus(days)).and_then(|decided| decided.revives);
    assert_eq!([6, 7].map(back), [None, Some(skipped[0].id)]);
}

#[test]
fn a_record_of_before_the_switches_is_read_as_without_restriction() {
    let mut record = serde_json::to_value(invoice()).expect("a record");
    for field in ["notifies_overdue", "no_notice_until", "forecast"] {
        assert!(record.as_object_mut().expect("an object").remove(field).is_some());
    }
    assert_eq!(serde_json::from_value::<Invoice>(record).expect("it is read"), invoice());
}

proptest! {
    /// What SQL selects by (`is_open`) and what a start asks are the same.
    #[test]
    fn an_invoice_is_open_exactly_when_its_message_is_still_called_for(
        status in prop::sample::select(vec![InvoiceStatus::Open, InvoiceStatus::Partial, InvoiceStatus::Received, InvoiceStatus::Cancelled]),
        (released, awaiting_confirmation, reversed) in any::<(bool, bool, bool)>(),
        open in -1_i64..2,
    ) {
        let invoice = Invoice { status, released, awaiting_confirmation, reversed, open_amount: Centavos(open), ..invoice() };
        prop_assert_eq!(still_called_for(&invoice, due_on()).is_ok(), invoice.is_open());
    }
}
