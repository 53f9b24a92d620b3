//! A small provider: a few customers, some of whom share a phone, their invoices, and the settings in force.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use regua_domain::configuration::{Configuration, Defaults};
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_domain::stage::Stage;
use std::fmt::Write as _;

/// A phone as the record has it, as the platform takes it, as limits know it, and where its area code is.
pub struct Phone {
    pub written: &'static str,
    pub e164: &'static str,
    pub key: &'static str,
    pub state: &'static str,
}

/// Phones that can be written to; a customer with another number has none of them.
pub const PHONES: [Phone; 3] = [
    Phone { written: "(11) 98000-0001", e164: "+5511980000001", key: "1180000001", state: "SP" },
    Phone { written: "(92) 99111-0002", e164: "+5592991110002", key: "9291110002", state: "AM" },
    Phone { written: "(21) 97222-0003", e164: "+5521972220003", key: "2172220003", state: "RJ" },
];
/// Places among [`PHONES`] that are no phone: nothing, and a landline.
pub const PHONES_MAX: usize = PHONES.len() + 2;
const STATES: [&str; 5] = ["SP", "RJ", "AM", "AC", ""];
pub const CUSTOMERS: usize = 4;
pub const INVOICES: usize = 6;

pub fn written(phone: usize) -> &'static str {
    match PHONES.get(phone) {
        Some(phone) => phone.written,
        None if phone == PHONES.len() => "",
        None => "(11) 3333-4444",
    }
}

/// The phone on which a customer is reached.
pub fn phone_of(customer: &Customer) -> Option<&'static Phone> {
    PHONES.iter().find(|phone| phone.written == customer.mobile_phone)
}

/// The hours of `[window]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    Business,
    Long,
    Short,
}

/// What becomes of a stage whose day is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Next,
    Previous,
    Skip,
}

/// One stage of the one policy.
#[derive(Clone, Debug)]
pub struct StageRule {
    pub stage: Stage,
    pub days: Option<i64>,
    pub on: bool,
    pub closed: Closed,
}

/// The settings.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the file")]
pub struct Rules {
    pub stages: Vec<StageRule>,
    pub policy_on: bool,
    /// Whether the policy states that it was in force long before; else each stage counts from the day on which it was switched on.
    pub states_activation: bool,
    pub per_day: u16,
    pub per_7_days: u16,
    pub days_between: u16,
    pub open_windows: u16,
    pub hours: Hours,
    /// Whether Amazonas has hours of its own.
    pub own_in_am: bool,
    /// Whether only the first phone takes part in a pilot.
    pub pilot: bool,
    /// Which template the notices name.
    pub template: u8,
    /// Messages per second; 0 is unlimited.
    pub per_second: u32,
    pub releases_at_once: bool,
    /// How old the mirror may be.
    pub max_age_h: u16,
}

/// The dated stages with their usual days: near each other, so that several may be due at once.
pub const DATED: [(Stage, i64); 5] =
    [(Stage::PreDue, -3), (Stage::DueDay, 0), (Stage::Overdue, 2), (Stage::PendingQuery, 4), (Stage::PaymentScheduling, 6)];
/// When the schedule came into force, where the policy says so.
pub const LONG_BEFORE: &str = "2026-01-01";

impl Rules {
    /// The stage's rule, if it is switched on.
    pub fn on(&self, stage: Stage) -> Option<&StageRule> {
        self.stages.iter().find(|rule| rule.stage == stage && rule.on && self.policy_on)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "[[integration]]\nname = \"Opa! Suite\"\nurl = \"https://opa.example.com/api/v1\"\ntoken_env = \"OPA_TOKEN\"\nrelease = \"{}\"\n\
             [[channel]]\nname = \"Cobrança\"\nintegration = \"Opa! Suite\"\nid = \"64f1c0de0a1b2c3d4e5f6001\"\nper_second = {}\n\
             [[notice]]\nname = \"Aviso\"\nchannel = \"Cobrança\"\ntemplate = \"64f1c0de0a1b2c3d4e5f70{:02}\"\n\
             variables = \"#cliente_razao#,#areceber_valor_aberto#,#areceber_data_vencimento#\"\n\
             [[notice]]\nname = \"Notícia\"\nchannel = \"Cobrança\"\ntemplate = \"64f1c0de0a1b2c3d4e5f7099\"\nvariables = \"#cliente_razao#\"\n\
             [[policy]]\nname = \"Todos\"\nenabled = {}\n",
            if self.releases_at_once { "immediate" } else { "on-task" },
            self.per_second,
            self.template,
            self.policy_on
        );
        if self.states_activation {
            writeln!(text, "activated_on = {LONG_BEFORE}").unwrap();
        }
        for StageRule { stage, days, on, closed } in &self.stages {
            let notice = if days.is_some() { "Aviso" } else { "Notícia" };
            writeln!(text, "[[policy.stage]]\nstage = \"{stage}\"\nnotice = \"{notice}\"\nenabled = {on}").unwrap();
            match days {
                Some(days) => {
                    let closed = format!("{closed:?}").to_lowercase();
                    writeln!(text, "days = {days}\nclosed_day = \"{closed}\"").unwrap();
                }
                None => writeln!(text, "only_after_notice = false").unwrap(),
            }
        }
        let hours = match self.hours {
            Hours::Business => "\"1-5 09:00-18:00\"",
            Hours::Long => "\"1-5 08:00-20:00\", \"6 08:00-14:00\"",
            Hours::Short => "\"1-5 09:00-12:00\"",
        };
        write!(
            text,
            "[[source]]\nname = \"ERP\"\nkind = \"files\"\nmax_age = \"{}h\"\n[window]\nhours = [{hours}]\n{}\
             [caps]\nper_day = {}\nper_7_days = {}\ndays_between_stages = {}\n[expiry]\nopen_windows = {}\n[approval]\nabove = \"unlimited\"\n",
            self.max_age_h,
            if self.own_in_am { "[[window.state]]\nuf = \"AM\"\nhours = [\"1-5 10:00-16:00\"]\n" } else { "" },
            self.per_day,
            self.per_7_days.max(self.per_day),
            self.days_between,
            self.open_windows,
        )
        .unwrap();
        if self.pilot {
            writeln!(text, "[pilot]\nphones = [\"{}\"]", PHONES[0].e164).unwrap();
        }
        text
    }

    pub fn configuration(&self, now: DateTime<Utc>) -> Configuration {
        let defaults = Defaults { zone: chrono_tz::America::Sao_Paulo, allow_private_urls: false, now };
        let text = self.text();
        Configuration::parse(&text, "any.toml", &defaults, &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }
}

/// A customer at the beginning.
#[derive(Clone, Copy, Debug)]
pub struct CustomerSpec {
    pub phone: usize,
    pub state: usize,
    pub listed: bool,
}

/// What a sequence begins with.
#[derive(Clone, Debug)]
pub struct World {
    pub begins_at: DateTime<Utc>,
    pub customers: Vec<CustomerSpec>,
    /// Whose each invoice is, and how many days after the beginning it is due.
    pub invoices: Vec<(usize, i64)>,
    pub rules: Rules,
}

pub fn customer(number: usize, spec: &CustomerSpec) -> Customer {
    Customer {
        person_type: "F".into(),
        mobile_phone: written(spec.phone).into(),
        state: STATES[spec.state].into(),
        branch_id: "1".into(),
        negatively_listed: Some(spec.listed),
        ..Customer::new(CustomerId(format!("c{number}")), format!("Cliente {number}"))
    }
}

/// An open invoice over R$100,00.
pub fn invoice(number: usize, customer: usize, due_on: NaiveDate) -> Invoice {
    let (id, customer) = (InvoiceId(format!("i{number}")), CustomerId(format!("c{customer}")));
    Invoice { number: number.to_string(), branch_id: "1".into(), ..Invoice::open(id, customer, Centavos(10_000), due_on) }
}

fn closed() -> impl Strategy<Value = Closed> {
    prop_oneof![4 => Just(Closed::Next), 1 => Just(Closed::Previous), 1 => Just(Closed::Skip)]
}

fn stages() -> impl Strategy<Value = Vec<StageRule>> {
    let event = [Stage::Settled, Stage::Cancelled, Stage::Renegotiated, Stage::BureauRemoved];
    (prop::collection::vec((prop::bool::weighted(0.85), closed()), DATED.len()), prop::bool::weighted(0.7)).prop_map(
        move |(dated_on, events_on)| {
            let dated = DATED.iter().zip(dated_on).map(|((stage, days), (on, closed))| StageRule {
                stage: *stage,
                days: Some(*days),
                on,
                closed,
            });
            let event = event.iter().map(|stage| StageRule { stage: *stage, days: None, on: events_on, closed: Closed::Next });
            dated.chain(event).collect()
        },
    )
}

pub fn hours() -> impl Strategy<Value = Hours> {
    prop_oneof![Just(Hours::Business), Just(Hours::Long), Just(Hours::Short)]
}

fn rules() -> impl Strategy<Value = Rules> {
    let limits = (1_u16..=3, 2_u16..=5, 0_u16..=3, 1_u16..=2);
    let switches = (any::<bool>(), prop::bool::weighted(0.7), prop::bool::weighted(0.3), prop_oneof![Just(0_u32), Just(20)]);
    (stages(), limits, hours(), switches, prop_oneof![Just(30_u16), Just(80)]).prop_map(
        |(stages, (per_day, per_7_days, days_between, open_windows), hours, switches, max_age_h)| {
            let (own_in_am, states_activation, releases_at_once, per_second) = switches;
            Rules {
                stages,
                policy_on: true,
                states_activation,
                per_day,
                per_7_days,
                days_between,
                open_windows,
                hours,
                own_in_am,
                pilot: false,
                template: 1,
                per_second,
                releases_at_once,
                max_age_h,
            }
        },
    )
}

/// Any small world: it begins in a week of April 2026 with weekends and holidays ahead.
pub fn world() -> impl Strategy<Value = World> {
    let phone = prop_oneof![4 => Just(0), 2 => Just(1), 2 => Just(2), 1 => Just(PHONES.len())];
    let spec = (phone, 0..STATES.len(), any::<bool>());
    let customers =
        prop::collection::vec(spec.prop_map(|(phone, state, listed)| CustomerSpec { phone, state, listed }), CUSTOMERS);
    let invoices = prop::collection::vec((0..CUSTOMERS, -9_i64..6), INVOICES);
    (0_i64..120, customers, invoices, rules()).prop_map(|(hour, customers, invoices, rules)| {
        let first: DateTime<Utc> = "2026-04-15T03:00:00Z".parse().unwrap();
        World { begins_at: first + TimeDelta::hours(hour), customers, invoices, rules }
    })
}
