//! The provider that is measured: one open invoice per customer, each due today for one of the seven dated stages. It has branches, each with
//! a policy of its own, whose stages have a notice and an unlimited WhatsApp number each.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::America::Sao_Paulo;
use regua_domain::configuration::{Configuration, Defaults};
use regua_domain::decide;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_simulators::opa::{OwnBase, Takes};
use regua_simulators::{OpaOptions, OpaSimulator};
use std::fmt::Write as _;

/// Dated stages and days from the due date.
const STAGES: [(&str, i64); 7] = [
    ("pre_due", -3),
    ("due_day", 0),
    ("overdue", 3),
    ("pending_query", 7),
    ("payment_scheduling", 12),
    ("in_person", 20),
    ("credit_bureau", 45),
];
/// WhatsApp numbers of a branch, and so gates: one per stage.
pub const CHANNELS: usize = STAGES.len();
/// Bases of Opa! Suite: the numbers are shared out among them.
const BASES: usize = 4;
/// A template that takes three values.
const TEMPLATE: &str = "7e0000000000000000000000";
/// The variable that the configuration finds the token in.
pub const TOKEN_VARIABLE: &str = "REGUA_BENCH_OPA_TOKEN";

/// Tuesday, 24 November 2026, 10:00 in São Paulo: the window is open, and stays open for longer than a measurement lasts.
pub fn begin() -> DateTime<Utc> {
    "2026-11-24T13:00:00Z".parse().expect("an instant")
}

/// The local date of [`begin`].
pub fn today() -> NaiveDate {
    begin().with_timezone(&Sao_Paulo).date_naive()
}

/// The simulated bases of Opa! Suite, that have the numbers of so many branches between them.
pub async fn simulators(branches: usize) -> anyhow::Result<Vec<OpaSimulator>> {
    let mut simulators = Vec::new();
    for base in 0..BASES {
        let channels = (0..branches * CHANNELS).filter(|number| number % BASES == base).map(number_id).collect();
        let own = OwnBase { channels, templates: vec![(TEMPLATE.to_owned(), Takes::Positional(3))] };
        let options = OpaOptions { seed: base as u64, own: Some(own), ..OpaOptions::default() };
        simulators.push(OpaSimulator::start(options).await.context("a simulated Opa! Suite")?);
    }
    Ok(simulators)
}

/// The id that Opa! Suite has for a WhatsApp number.
fn number_id(number: usize) -> String {
    format!("{number:024x}")
}

/// The configuration: no limit per second, no budget, no cap that is met.
pub fn configuration(simulators: &[OpaSimulator], branches: usize) -> anyhow::Result<Configuration> {
    let mut text = String::new();
    for (number, simulator) in simulators.iter().enumerate() {
        let (url, default) = (simulator.url(), number == 0);
        write!(
            text,
            "[[integration]]\nname = \"Base {number}\"\nurl = \"{url}\"\ntoken_env = \"{TOKEN_VARIABLE}\"\ndefault = {default}\n"
        )?;
    }
    for number in 0..branches * CHANNELS {
        let (base, id) = (number % BASES, number_id(number));
        write!(
            text,
            "[[channel]]\nname = \"{id}\"\nintegration = \"Base {base}\"\nid = \"{id}\"\nper_second = 0\n\
             [[notice]]\nname = \"{id}\"\nintegration = \"Base {base}\"\nchannel = \"{id}\"\ntemplate = \"{TEMPLATE}\"\n\
             variables = \"#cliente_razao#,#areceber_valor_aberto#,#areceber_data_vencimento#\"\n"
        )?;
    }
    text.push_str("[[source]]\nname = \"ERP\"\nkind = \"files\"\n[caps]\nper_day = 50\n[approval]\nabove = \"unlimited\"\n");
    for branch in 0..branches {
        writeln!(text, "[[policy]]\nname = \"Filial {branch}\"\n[policy.filters]\nbranch = [\"{branch}\"]")?;
        for (place, (stage, days)) in STAGES.iter().enumerate() {
            let notice = number_id(branch * CHANNELS + place);
            writeln!(text, "[[policy.stage]]\nstage = \"{stage}\"\ndays = {days}\nnotice = \"{notice}\"")?;
        }
    }
    let defaults = Defaults { zone: Sao_Paulo, allow_private_urls: true, now: begin() };
    let token = |name: &str| (name == TOKEN_VARIABLE).then(|| OpaOptions::default().token);
    Configuration::parse(&text, "bench.toml", &defaults, &token).map_err(|errors| anyhow!("{errors}"))
}

/// A customer with a phone of their own.
pub fn customer(number: u32) -> Customer {
    Customer {
        tax_id: "123.456.789-09".into(),
        person_type: "F".into(),
        mobile_phone: format!("(11) 9{:08}", 80_000_000 + number),
        city: "São Paulo".into(),
        state: "SP".into(),
        branch_id: "1".into(),
        customer_type_id: "1".into(),
        ..Customer::new(CustomerId(format!("c{number:07}")), format!("Fulana de Tal Número {number}"))
    }
}

/// That customer's open invoice, due today for one of the stages of one of so many branches.
pub fn invoice(number: u32, branches: usize) -> Invoice {
    let (_, days) = STAGES[number as usize % CHANNELS];
    let branch = number as usize / CHANNELS % branches;
    let due_on = decide::day_of(today(), -days).expect("a date of the calendar");
    Invoice {
        number: number.to_string(),
        issued_on: due_on.checked_sub_days(Days::new(20)),
        branch_id: branch.to_string(),
        portfolio_id: "1".into(),
        contract_id: number.to_string(),
        receipt_type: "Boleto".into(),
        ..Invoice::open(InvoiceId(format!("i{number:07}")), CustomerId(format!("c{number:07}")), Centavos(9_990), due_on)
    }
}
