//! What happened between two looks, and which message that calls for.

use super::{PROVIDER, customer, day, invoice, known, policy};
use chrono::{Days, NaiveDate};
use proptest::prelude::*;
use regua_domain::consent::Reach;
use regua_domain::decide::Known;
use regua_domain::events::{
    EVENT_DAYS_MAX, Event, EventKind, EventOutcome, Facts, Looks, between, between_listings, decide, still_holds,
};
use regua_domain::filling::{Filling, Values};
use regua_domain::ids::ChannelId;
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::pilot::Pilot;
use regua_domain::policy::{Filter, PolicyPlan};
use regua_domain::stage::{Stage, StageKind};
use std::collections::BTreeSet;

/// The looks of yesterday and of today.
fn looks() -> Looks {
    Looks { before_on: today() - Days::new(1), after_on: today(), lost_until_on: None }
}

fn today() -> NaiveDate {
    day("2026-03-12")
}

fn paid(on: Option<&str>) -> Invoice {
    Invoice { status: InvoiceStatus::Received, paid_on: on.map(day), ..invoice() }
}

fn cancelled(on: Option<&str>, named: &str) -> Invoice {
    let renegotiation_id = named.to_owned();
    Invoice { status: InvoiceStatus::Cancelled, cancelled_on: on.map(day), renegotiation_id, ..invoice() }
}

fn from_renegotiation(id: &str) -> Invoice {
    Invoice { renegotiation_id: id.to_owned(), ..invoice() }
}

fn partly() -> Invoice {
    Invoice { status: InvoiceStatus::Partial, ..invoice() }
}

#[track_caller]
fn happens(before: &Invoice, after: &Invoice, expected: Option<(EventKind, &str, &str)>) {
    let event = between(before, after, looks());
    let told = event.as_ref().map(|event| (event.kind, event.occasion.as_str(), event.happened_on));
    assert_eq!(told, expected.map(|(kind, occasion, on)| (kind, occasion, day(on))));
}

#[test]
fn an_event_is_known_by_the_erps_own_data() {
    use EventKind::{Cancelled, Renegotiated, Reopened, Settled};
    let reversed = Invoice { reversed: true, ..paid(Some("2026-03-11")) };
    happens(&invoice(), &invoice(), None);
    happens(&invoice(), &partly(), None);
    happens(&partly(), &paid(Some("2026-03-11")), Some((Settled, "2026-03-11", "2026-03-11")));
    happens(&invoice(), &paid(None), Some((Settled, "2026-03-12", "2026-03-12")));
    // A date to come is when it is cleared: it happened when it was seen.
    happens(&invoice(), &paid(Some("2026-03-15")), Some((Settled, "2026-03-15", "2026-03-12")));
    // A corrected date of the same payment is no other payment.
    happens(&paid(Some("2026-03-10")), &paid(Some("2026-03-11")), None);
    happens(&paid(Some("2026-03-10")), &invoice(), Some((Reopened, "2026-03-12", "2026-03-12")));
    happens(&paid(Some("2026-03-11")), &reversed, Some((Reopened, "2026-03-12", "2026-03-12")));
    happens(&invoice(), &reversed, None);
    happens(&reversed, &paid(Some("2026-03-12")), Some((Settled, "2026-03-12", "2026-03-12")));
    happens(&invoice(), &cancelled(Some("2026-03-11"), ""), Some((Cancelled, "2026-03-11", "2026-03-11")));
    happens(&paid(None), &cancelled(None, ""), Some((Cancelled, "2026-03-12", "2026-03-12")));
    happens(&cancelled(None, ""), &partly(), Some((Reopened, "2026-03-12", "2026-03-12")));
    happens(&invoice(), &cancelled(Some("2026-03-11"), "77"), Some((Renegotiated, "77", "2026-03-11")));
    happens(&cancelled(None, ""), &cancelled(None, "77"), Some((Renegotiated, "77", "2026-03-12")));
    // A title that came from a renegotiation is cancelled as any other, or replaced by the next one.
    happens(&from_renegotiation("77"), &cancelled(None, "77"), Some((Cancelled, "2026-03-12 of 77", "2026-03-12")));
    happens(&from_renegotiation("77"), &cancelled(None, "88"), Some((Renegotiated, "88", "2026-03-12")));
}

#[test]
fn what_has_no_date_and_was_not_looked_at_for_long_is_as_old_as_it_can_be() {
    let after = |days: u64| Looks { before_on: today() - Days::new(days), after_on: today(), lost_until_on: None };
    let happened = |days, invoice: &Invoice| between(&super::invoice(), invoice, after(days)).map(|event| event.happened_on);
    assert_eq!(happened(7, &paid(None)), Some(today()));
    assert_eq!(happened(8, &paid(None)), Some(day("2026-03-04")));
    assert_eq!(happened(8, &paid(Some("2026-03-11"))), Some(day("2026-03-11")));
}

#[test]
fn a_listing_is_removed_where_it_was_known_before_and_after() {
    for (before, after, removed) in [
        (Some(true), Some(false), true),
        (None, Some(false), false),
        (Some(true), None, false),
        (Some(false), Some(false), false),
        (Some(false), Some(true), false),
    ] {
        let event = between_listings(before, after, looks());
        assert_eq!(event.is_some(), removed, "{before:?} {after:?}");
        assert!(event.is_none_or(|event| event.kind == EventKind::BureauRemoved && event.occasion == "2026-03-12"));
    }
}

#[test]
fn a_message_says_what_is_still_so_or_why_not() {
    use SkipReason as R;
    #[track_caller]
    fn check(invoice: &Invoice, expected: [Result<(), SkipReason>; 4]) {
        let said = [
            (Stage::Settled, "2026-03-11"),
            (Stage::Cancelled, "2026-03-11"),
            (Stage::Cancelled, "2026-03-11 of 77"),
            (Stage::Renegotiated, "77"),
        ];
        let holds = said.map(|(stage, occasion)| still_holds(stage, occasion, Some(invoice), Some(&customer())));
        assert_eq!(holds, expected, "{invoice:?}");
    }
    check(&paid(None), [Ok(()), Err(R::Paid), Err(R::Paid), Err(R::Paid)]);
    check(&Invoice { reversed: true, ..paid(None) }, [Err(R::Reopened); 4]);
    check(&invoice(), [Err(R::Reopened); 4]);
    check(&partly(), [Err(R::Reopened); 4]);
    check(&cancelled(None, ""), [Err(R::Cancelled), Ok(()), Err(R::Cancelled), Err(R::Cancelled)]);
    check(&cancelled(None, "77"), [Err(R::Renegotiated), Err(R::Renegotiated), Ok(()), Ok(())]);
    check(&cancelled(None, "88"), [Err(R::Renegotiated); 4]);
    let listed = |negatively_listed| {
        still_holds(Stage::BureauRemoved, "2026-03-11", None, Some(&Customer { negatively_listed, ..customer() }))
    };
    assert_eq!((listed(Some(false)), listed(None), listed(Some(true))), (Ok(()), Ok(()), Err(R::ListedAgain)));
    assert_eq!(still_holds(Stage::BureauRemoved, "2026-03-11", None, None), Err(R::NoCustomer));
    assert_eq!(still_holds(Stage::Settled, "2026-03-11", None, None), Err(R::NotChargeable));
}

/// A policy with every event stage, and one dated.
fn telling() -> PolicyPlan {
    let events = Stage::ALL.into_iter().filter(|stage| stage.kind() == StageKind::Event).map(|stage| (stage, None));
    policy(&[(Stage::Overdue, Some(5))].into_iter().chain(events).collect::<Vec<_>>())
}

/// A payment of yesterday with all that it needs to be told.
struct Case {
    plan: PolicyPlan,
    event: Event,
    invoice: Option<Invoice>,
    customer: Option<Customer>,
    message: Option<Known>,
    was_noticed: bool,
    is_overtaken: bool,
    opted_out: BTreeSet<ChannelId>,
    pilot: Pilot,
}

impl Case {
    fn new() -> Self {
        let event = Event { kind: EventKind::Settled, occasion: "2026-03-11".into(), happened_on: day("2026-03-11") };
        Self {
            plan: telling(),
            event,
            invoice: Some(paid(Some("2026-03-11"))),
            customer: Some(customer()),
            message: None,
            was_noticed: true,
            is_overtaken: false,
            opted_out: BTreeSet::new(),
            pilot: Pilot::Off,
        }
    }

    /// What it calls for: the stage and what hinders it, or what becomes of the event.
    fn decided(&self) -> Result<(Stage, bool, Result<(), SkipReason>), EventOutcome> {
        let facts = Facts {
            event: &self.event,
            invoice: self.invoice.as_ref(),
            customer: self.customer.as_ref(),
            message: self.message.as_ref(),
            was_noticed: self.was_noticed,
            is_overtaken: self.is_overtaken,
            renegotiated_to: None,
            totals: None,
            reach: Reach { opted_out: &self.opted_out, held_until: None, pilot: &self.pilot },
        };
        let called = decide(std::slice::from_ref(&self.plan), &facts, &PROVIDER, today())?;
        Ok((called.stage.stage, called.revives.is_some(), called.text.map(|_| ())))
    }
}

#[track_caller]
fn becomes(change: impl FnOnce(&mut Case), expected: Result<(Stage, bool, Result<(), SkipReason>), EventOutcome>) {
    let mut case = Case::new();
    change(&mut case);
    assert_eq!(case.decided(), expected);
}

fn of_stage(case: &mut Case) -> &mut regua_domain::policy::StagePlan {
    case.plan.stages.iter_mut().find(|plan| plan.stage == Stage::Settled).expect("it is there")
}

#[test]
fn an_event_calls_for_its_stages_message_or_is_settled_with_a_reason() {
    use EventOutcome as O;
    let told = Ok((Stage::Settled, false, Ok(())));
    becomes(|_| {}, told);
    becomes(|case| case.event.kind = EventKind::Reopened, Err(O::NothingToSay));
    becomes(|case| case.event.happened_on = day("2026-03-10"), told);
    becomes(|case| case.event.happened_on = day("2026-03-09"), Err(O::TooOld));
    becomes(|case| case.is_overtaken = true, Err(O::Overtaken));
    becomes(|case| case.invoice = Some(invoice()), Err(O::NoLongerHolds));
    becomes(|case| case.invoice = Some(partly()), Err(O::NoLongerHolds));
    becomes(|case| case.plan.filters.branch = vec!["9".into()], Err(O::NoPolicy));
    becomes(|case| case.plan.stages.retain(|plan| plan.stage != Stage::Settled), Err(O::NoStage));
    becomes(|case| of_stage(case).active_from = day("2026-03-12"), Err(O::BeforeActivation));
    becomes(|case| of_stage(case).active_from = day("2026-03-11"), told);
    becomes(|case| case.was_noticed = false, told);
    becomes(
        |case| {
            of_stage(case).only_after_notice = true;
            case.was_noticed = false;
        },
        Err(O::NotNoticed),
    );
    becomes(|case| of_stage(case).only_after_notice = true, told);
    becomes(|case| case.customer = None, Ok((Stage::Settled, false, Err(SkipReason::NoCustomer))));
}

#[test]
fn the_least_amount_of_a_paid_title_is_its_whole_one() {
    let paid = Invoice { open_amount: regua_domain::money::Centavos(0), ..paid(Some("2026-03-11")) };
    let mut case = Case { invoice: Some(paid.clone()), ..Case::new() };
    case.plan.filters.amount_min = Some(paid.amount);
    assert!(case.decided().is_ok());
    case.plan.filters.amount_min = Some(regua_domain::money::Centavos(paid.amount.0 + 1));
    assert_eq!(case.decided(), Err(EventOutcome::NoPolicy));
}

#[test]
fn a_customer_as_such_is_kept_out_by_what_only_an_invoice_says() {
    let unlisted = Customer { negatively_listed: Some(false), ..customer() };
    let removed = |filters: fn(&mut PolicyPlan)| {
        let event = Event { kind: EventKind::BureauRemoved, ..Case::new().event };
        let mut case = Case { event, invoice: None, customer: Some(unlisted.clone()), ..Case::new() };
        filters(&mut case.plan);
        case.decided()
    };
    assert_eq!(removed(|_| {}), Ok((Stage::BureauRemoved, false, Ok(()))));
    assert_eq!(removed(|plan| plan.filters.branch = vec!["1".into()]), Ok((Stage::BureauRemoved, false, Ok(()))));
    assert_eq!(removed(|plan| plan.filters.branch = vec!["2".into()]), Err(EventOutcome::NoPolicy));
    assert_eq!(removed(|plan| plan.filters.person_type = vec!["F".into()]), Ok((Stage::BureauRemoved, false, Ok(()))));
    for filter in [Filter::Portfolio, Filter::ReceiptType, Filter::ContractStatus] {
        let mut plan = telling();
        plan.filters.values_mut(filter).expect("a list").push("1".into());
        assert_eq!(plan.filters.kept_out_by(None, Some(&unlisted)), Some(filter));
    }
    assert_eq!(removed(|plan| plan.filters.amount_min = Some(regua_domain::money::Centavos(1))), Err(EventOutcome::NoPolicy));
}

#[test]
fn what_was_skipped_comes_back_once_it_can_be_sent_and_nothing_else_does() {
    for &state in State::ALL {
        let message = Known { due_on: None, ..known(Stage::Settled, state) };
        let expected = if state == State::Skipped { Ok((Stage::Settled, true, Ok(()))) } else { Err(EventOutcome::Message) };
        becomes(|case| case.message = Some(message.clone()), expected);
        becomes(
            |case| {
                case.message = Some(message);
                case.customer = None;
            },
            Err(EventOutcome::Message),
        );
    }
}

/// Else each run would bring the message back, and count it as one to send, only for top-up to skip it again.
#[test]
fn who_opted_out_or_takes_no_part_in_a_pilot_is_skipped_once() {
    let opt_out = |case: &mut Case| case.opted_out = BTreeSet::from([telling().stages[0].notice.channel_id]);
    let begin_pilot = |case: &mut Case| case.pilot = Pilot::Only(Vec::new());
    is_skipped_once(SkipReason::OptedOut, opt_out);
    is_skipped_once(SkipReason::Pilot, begin_pilot);
}

#[track_caller]
fn is_skipped_once(why: SkipReason, hinder: impl Fn(&mut Case)) {
    becomes(&hinder, Ok((Stage::Settled, false, Err(why))));
    let skipped = Known { due_on: None, skip_reason: Some(why), ..known(Stage::Settled, State::Skipped) };
    let again = |case: &mut Case| case.message = Some(skipped.clone());
    let hinder_again = |case: &mut Case| {
        again(case);
        hinder(case);
    };
    becomes(hinder_again, Err(EventOutcome::Message));
    becomes(again, Ok((Stage::Settled, true, Ok(()))));
}

#[test]
fn a_renegotiation_may_name_its_new_due_date() {
    let mut plan = telling();
    for stage in &mut plan.stages {
        stage.notice.filling = Filling::of("#renegociacao_vencimento#", None, None).expect("it is known");
    }
    let event = Event { kind: EventKind::Renegotiated, occasion: "77".into(), happened_on: today() };
    let (invoice, customer) = (cancelled(None, "77"), customer());
    let text = |renegotiated_to| {
        let facts = Facts {
            event: &event,
            invoice: Some(&invoice),
            customer: Some(&customer),
            message: None,
            was_noticed: true,
            is_overtaken: false,
            renegotiated_to,
            totals: None,
            reach: Reach::EVERYBODY,
        };
        decide(std::slice::from_ref(&plan), &facts, &PROVIDER, today()).expect("it is called for").text.map(|text| text.values)
    };
    assert_eq!(text(Some(day("2026-04-01"))), Ok(Values::ByPosition(vec!["01/04/2026".to_owned()])));
    assert_eq!(text(None), Err(SkipReason::MissingValue));
}

prop_compose! {
    /// An invoice in any state, of which dates and renegotiations may be anything.
    fn any_invoice()(
        status in prop::sample::select(vec!["A", "P", "R", "C"]), paid in prop::option::of(0_u64..6), ended in prop::option::of(0_u64..6),
        named in prop::sample::select(vec!["", "77", "88"]), reversed in prop::bool::weighted(0.2),
    ) -> Invoice {
        let on = |days: Option<u64>| days.map(|days| day("2026-03-10") + Days::new(days));
        Invoice {
            status: InvoiceStatus::parse(status).expect("a status"),
            paid_on: on(paid), cancelled_on: on(ended), renegotiation_id: named.into(), reversed, ..invoice()
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_seen_holds_when_it_is_seen_and_is_not_seen_twice(before in any_invoice(), after in any_invoice()) {
        prop_assert_eq!(between(&after, &after, looks()), None);
        if let Some(event) = between(&before, &after, looks()) {
            prop_assert!(event.happened_on <= looks().after_on);
            if let Some(stage) = event.kind.stage() {
                prop_assert_eq!(still_holds(stage, &event.occasion, Some(&after), None), Ok(()));
            }
        }
    }

    /// Any sequence of looks and runs: each occasion has one message, what is said holds at that moment, and no run that could not send a
    /// message loses it.
    #[test]
    fn nothing_is_said_twice_nothing_false_and_nothing_is_lost(
        steps in prop::collection::vec((any_invoice(), 0_u64..3, any::<bool>(), any::<bool>()), 1..20)
    ) {
        let (plan, mut books) = (telling(), Books::default());
        let (mut row, mut on) = (invoice(), today());
        for (look, days, runs, has_phone) in steps {
            let before_on = on;
            on = on + Days::new(days);
            let event = between(&row, &look, Looks { before_on, after_on: on, lost_until_on: None });
            row = look;
            books.events.extend(event);
            if runs {
                books.run(&plan, &row, on, has_phone);
            }
        }
        books.run(&plan, &row, on, true);
        let last = books.events.iter().rfind(|event| event.kind != EventKind::Reopened);
        if let Some((stage, last)) = last.and_then(|last| Some((last.kind.stage()?, last))) {
            let is_young = last.happened_on + Days::new(EVENT_DAYS_MAX) >= on;
            if is_young && still_holds(stage, &last.occasion, Some(&row), None).is_ok() {
                let told = books.messages.iter().any(|(key, known)| *key == (stage, last.occasion.clone()) && known.state == State::Sent);
                prop_assert!(told, "{last:?} was lost: {:?}", books.messages);
            }
        }
    }
}

/// A ledger of one invoice: what happened, and the messages by stage and occasion. What can be sent is sent at once.
#[derive(Default)]
struct Books {
    events: Vec<Event>,
    messages: Vec<((Stage, String), Known)>,
}

impl Books {
    fn run(&mut self, plan: &PolicyPlan, row: &Invoice, on: NaiveDate, has_phone: bool) {
        let customer = if has_phone { customer() } else { Customer { mobile_phone: String::new(), ..customer() } };
        for (place, event) in self.events.iter().enumerate() {
            let Some(stage) = event.kind.stage() else { continue };
            let key = (stage, event.occasion.clone());
            let message = self.messages.iter().position(|(known, _)| *known == key);
            let facts = Facts {
                event,
                invoice: Some(row),
                customer: Some(&customer),
                message: message.map(|message| &self.messages[message].1),
                was_noticed: true,
                is_overtaken: self.events[place + 1..].iter().any(|later| later.kind == event.kind),
                renegotiated_to: None,
                totals: None,
                reach: Reach::EVERYBODY,
            };
            let Ok(called) = decide(std::slice::from_ref(plan), &facts, &PROVIDER, on) else { continue };
            assert_eq!(still_holds(stage, &event.occasion, Some(row), None), Ok(()), "what is said holds");
            let reached = if called.text.is_ok() { State::Sent } else { State::Skipped };
            let known = Known { due_on: None, ..known(stage, reached) };
            match message {
                None => self.messages.push((key, known)),
                Some(message) => {
                    assert_eq!(self.messages[message].1.state, State::Skipped, "only what was skipped is said again");
                    self.messages[message].1 = known;
                }
            }
        }
    }
}
