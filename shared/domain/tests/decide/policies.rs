//! Whom a policy speaks for, since when, and how long it keeps silent between two stages.

use super::{customer, due_on, invoice, known, plus, policy, run_of, usual};
use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::consent::Reach;
use regua_domain::decide::{Decided, Known, NotDue, decide};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_domain::policy::{Filter, PolicyFilters, PolicyPlan, policy_for};
use regua_domain::stage::Stage;

/// An invoice and a customer of whom every filter knows something.
fn somebody() -> (Invoice, Customer) {
    let invoice = Invoice {
        branch_id: "2".into(),
        portfolio_id: "7".into(),
        receipt_type: "Boleto".into(),
        contract_status: "A".into(),
        open_amount: Centavos(5_000),
        ..invoice()
    };
    let customer = Customer {
        customer_type_id: "3".into(),
        person_type: "J".into(),
        city: "Chapecó".into(),
        state: "SC".into(),
        branch_id: "9".into(),
        ..customer()
    };
    (invoice, customer)
}

fn one_filter(filter: Filter, values: &[&str]) -> PolicyFilters {
    let mut filters = PolicyFilters::default();
    *filters.values_mut(filter).expect("a filter with values") = values.iter().map(|value| (*value).to_owned()).collect();
    filters
}

#[test]
fn each_filter_lets_its_own_values_through_and_no_other() {
    #[track_caller]
    fn check(filter: Filter, own: &[&str], other: &[&str]) {
        let (invoice, customer) = somebody();
        for value in own {
            assert_eq!(one_filter(filter, &[value]).kept_out_by(&invoice, Some(&customer)), None, "{value}");
            assert_eq!(one_filter(filter, &["x", value]).kept_out_by(&invoice, Some(&customer)), None, "x or {value}");
        }
        for value in other {
            assert_eq!(one_filter(filter, &[value]).kept_out_by(&invoice, Some(&customer)), Some(filter), "{value}");
        }
    }
    check(Filter::Branch, &["2"], &["9", "22", "1"]);
    check(Filter::Portfolio, &["7"], &["2", "77"]);
    check(Filter::CustomerType, &["3"], &["7"]);
    check(Filter::PersonType, &["J", "j"], &["F", "E"]);
    check(Filter::ReceiptType, &["Boleto", "boleto"], &["Pix"]);
    check(Filter::ContractStatus, &["A"], &["I", "N"]);
    check(Filter::City, &["Chapecó", "chapeco", "CHAPECÓ/SC", "Chapeco / sc"], &["Chapecó/RS", "Xaxim", "Chapecó do Sul"]);
}

#[test]
fn no_filter_lets_everybody_through_and_all_filters_must_agree() {
    let (invoice, customer) = somebody();
    assert_eq!(PolicyFilters::default().kept_out_by(&invoice, Some(&customer)), None);
    assert_eq!(PolicyFilters::default().kept_out_by(&invoice, None), None);
    let mut both = one_filter(Filter::City, &["Chapecó"]);
    both.branch = vec!["1".into()];
    assert_eq!(both.kept_out_by(&invoice, Some(&customer)), Some(Filter::Branch));
}

#[test]
fn what_is_unknown_passes_no_filter() {
    let (invoice, customer) = somebody();
    let nowhere = Customer { city: String::new(), state: String::new(), ..customer };
    assert_eq!(one_filter(Filter::City, &["Chapecó"]).kept_out_by(&invoice, Some(&nowhere)), Some(Filter::City));
    assert_eq!(one_filter(Filter::PersonType, &["F"]).kept_out_by(&invoice, None), Some(Filter::PersonType));
    let without_contract = Invoice { contract_status: String::new(), ..invoice };
    assert_eq!(one_filter(Filter::ContractStatus, &["A"]).kept_out_by(&without_contract, None), Some(Filter::ContractStatus));
}

#[test]
fn a_branch_is_the_invoices_and_only_without_one_the_customers() {
    let (invoice, customer) = somebody();
    let without = Invoice { branch_id: String::new(), ..invoice };
    assert_eq!(one_filter(Filter::Branch, &["9"]).kept_out_by(&without, Some(&customer)), None);
}

#[test]
fn the_least_amount_is_of_what_is_still_owed() {
    let (invoice, customer) = somebody();
    let at_least = |centavos| PolicyFilters { amount_min: Some(Centavos(centavos)), ..PolicyFilters::default() };
    assert_eq!(at_least(5_000).kept_out_by(&invoice, Some(&customer)), None);
    assert_eq!(
        at_least(5_001).kept_out_by(&invoice, Some(&customer)),
        Some(Filter::AmountMin),
        "R$100,00, of which R$50,00 are paid"
    );
}

#[test]
fn the_first_policy_that_lets_an_invoice_through_is_the_only_one() {
    let named = |name: &str, filters| PolicyPlan { name: name.into(), filters, ..usual() };
    let nobody = PolicyPlan { stages: Vec::new(), ..named("Prefeitura", one_filter(Filter::CustomerType, &["3"])) };
    let business = named("Empresas", one_filter(Filter::PersonType, &["J"]));
    let people = named("Pessoas", one_filter(Filter::PersonType, &["F"]));
    let (invoice, customer) = somebody();
    let chosen = |policies: &[PolicyPlan], customer: &Customer| {
        policy_for(policies, &invoice, Some(customer)).map(|policy| policy.name.clone())
    };
    let all = [nobody, business, people];
    assert_eq!(chosen(&all, &customer).as_deref(), Some("Prefeitura"), "though it has no stage");
    let other_type = Customer { customer_type_id: "1".into(), ..customer.clone() };
    assert_eq!(chosen(&all, &other_type).as_deref(), Some("Empresas"));
    let foreign = Customer { person_type: "E".into(), ..other_type };
    assert_eq!(chosen(&all, &foreign), None);
}

/// Decides by the usual policy, with three days between two stages.
fn spaced(known: &[Known], today: NaiveDate) -> Result<Stage, NotDue> {
    let plan = usual();
    decide(&plan, &invoice(), Some(&customer()), known, None, run_of(today, 3), &Reach::EVERYBODY)
        .map(|Decided { stage, .. }| stage.stage)
}

fn begun(stage: Stage, is: State, days: i64) -> Known {
    Known { begun_on: Some(plus(days)), ..known(stage, is) }
}

#[test]
fn two_stages_of_an_invoice_are_three_days_apart() {
    for is in [State::Sent, State::Read, State::InDoubt, State::Sending] {
        let late = [begun(Stage::Overdue, is, 6)];
        assert_eq!(spaced(&late, plus(7)), Err(NotDue::TooSoon { stage: Stage::PendingQuery, on: plus(9) }), "{is}");
        assert_eq!(spaced(&late, plus(9)), Ok(Stage::PendingQuery), "{is}: it is still caught up");
    }
    let in_time = [begun(Stage::PreDue, State::Sent, -5), begun(Stage::DueDay, State::Sent, 0)];
    assert_eq!(spaced(&in_time, plus(5)), Ok(Stage::Overdue));
    let never_left = [Known { begun_on: None, ..known(Stage::Overdue, State::Skipped) }];
    assert_eq!(spaced(&never_left, plus(7)), Ok(Stage::PendingQuery));
}

#[test]
fn a_stage_whose_day_lies_before_its_activation_is_never_said() {
    let since = |days: i64| {
        let mut plan = usual();
        plan.stages.iter_mut().for_each(|stage| stage.active_from = plus(days));
        plan
    };
    let stage_on =
        |plan: &PolicyPlan, days: i64| super::decide(plan, &invoice(), Some(&customer()), &[], plus(days)).map(|d| d.stage.stage);
    assert_eq!(stage_on(&since(5), 5), Some(Stage::Overdue), "on the day of the activation");
    assert_eq!(stage_on(&since(6), 6), None, "its day was yesterday");
    assert_eq!(stage_on(&since(6), 7), Some(Stage::PendingQuery));
}

#[test]
fn num_dias_cob_puts_collection_off_but_no_reminder() {
    let patient = Customer { days_before_collection: 6, ..customer() };
    let stage_on = |days: i64| super::decide(&usual(), &invoice(), Some(&patient), &[], plus(days)).map(|d| d.stage.stage);
    assert_eq!((stage_on(-5), stage_on(0)), (Some(Stage::PreDue), Some(Stage::DueDay)));
    assert_eq!((stage_on(5), stage_on(6)), (None, None), "5 days are fewer than 6");
    assert_eq!((stage_on(7), stage_on(45)), (Some(Stage::PendingQuery), Some(Stage::CreditBureau)));
}

#[test]
fn why_nothing_is_due_is_told() {
    assert_eq!(spaced(&[], plus(20)), Err(NotDue::NoStage));
    let sent = [known(Stage::Overdue, State::Sent)];
    assert_eq!(spaced(&sent, plus(5)), Err(NotDue::Said { stage: Stage::Overdue, state: State::Sent }));
    let failed = [known(Stage::Overdue, State::Failed)];
    assert_eq!(spaced(&failed, plus(5)), Err(NotDue::Ended { stage: Stage::Overdue, state: State::Failed, why: None }));
    let hidden = Invoice { released: false, ..invoice() };
    let plan = policy(&[(Stage::DueDay, Some(0))]);
    let not_owed = decide(&plan, &hidden, Some(&customer()), &[], None, run_of(due_on(), 3), &Reach::EVERYBODY);
    assert_eq!(not_owed.err(), Some(NotDue::NotOwed(SkipReason::Unreleased)));
}

proptest! {
    /// Whatever days have a run, two messages about one invoice are never nearer than asked.
    #[test]
    fn messages_about_one_invoice_keep_their_distance(
        runs in prop::collection::vec(any::<bool>(), 80),
        days_between_stages in 0_u16..6,
    ) {
        let plan = usual();
        let mut messages: Vec<Known> = Vec::new();
        for (days, _) in (-10_i64..70).zip(&runs).filter(|(_, runs)| **runs) {
            let run = run_of(plus(days), days_between_stages);
            let Ok(message) = decide(&plan, &invoice(), Some(&customer()), &messages, None, run, &Reach::EVERYBODY) else { continue };
            messages.push(begun(message.stage.stage, State::Sent, days));
        }
        let mut begun: Vec<NaiveDate> = messages.iter().filter_map(|message| message.begun_on).collect();
        begun.sort_unstable();
        prop_assert!(begun.windows(2).all(|pair| (pair[1] - pair[0]).num_days() >= i64::from(days_between_stages)), "{begun:?}");
    }
}
