//! The provider that is measured: one open invoice per customer, each due today for one of the seven dated stages, each stage with a
//! notice and an unlimited WhatsApp number of its own.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::America::Sao_Paulo;
use regua_domain::configuration::{Configuration, Defaults};
use regua_domain::decide;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_simulators::opa::catalogue::{
    CHANNEL_WHATSAPP, CHANNEL_WHATSAPP_SECOND, TEMPLATE_DUE_DAY, TEMPLATE_OVERDUE, TEMPLATE_PRE_DUE,
};
use regua_simulators::{OpaOptions, OpaSimulator};
use std::fmt::Write as _;

/// Dated stages, days from the due date, and a template that takes three values.
const STAGES: [(&str, i64, &str); 7] = [
    ("pre_due", -3, TEMPLATE_PRE_DUE),
    ("due_day", 0, TEMPLATE_DUE_DAY),
    ("overdue", 3, TEMPLATE_OVERDUE),
    ("pending_query", 7, TEMPLATE_OVERDUE),
    ("payment_scheduling", 12, TEMPLATE_OVERDUE),
    ("in_person", 20, TEMPLATE_OVERDUE),
    ("credit_bureau", 45, TEMPLATE_OVERDUE),
];
/// WhatsApp numbers, and so gates: one per stage.
pub const CHANNELS: usize = STAGES.len();
/// The numbers that one simulated Opa! Suite has.
const NUMBERS: [&str; 2] = [CHANNEL_WHATSAPP, CHANNEL_WHATSAPP_SECOND];
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

/// As many simulated bases of Opa! Suite as the channels need.
pub async fn simulators() -> anyhow::Result<Vec<OpaSimulator>> {
    let mut simulators = Vec::new();
    for seed in 0..CHANNELS.div_ceil(NUMBERS.len()) {
        let options = OpaOptions { seed: seed as u64, ..OpaOptions::default() };
        simulators.push(OpaSimulator::start(options).await.context("a simulated Opa! Suite")?);
    }
    Ok(simulators)
}

/// The configuration: no limit per second, no budget, no cap that is met.
pub fn configuration(simulators: &[OpaSimulator]) -> anyhow::Result<Configuration> {
    let mut text = String::new();
    for (number, simulator) in simulators.iter().enumerate() {
        let (url, default) = (simulator.url(), number == 0);
        write!(
            text,
            "[[integration]]\nname = \"Base {number}\"\nurl = \"{url}\"\ntoken_env = \"{TOKEN_VARIABLE}\"\ndefault = {default}\n"
        )?;
    }
    let numbers = (0..simulators.len()).flat_map(|base| NUMBERS.map(|id| (base, id)));
    for ((stage, _, template), (base, id)) in STAGES.iter().zip(numbers) {
        write!(
            text,
            "[[channel]]\nname = \"{stage}\"\nintegration = \"Base {base}\"\nid = \"{id}\"\nper_second = 0\n\
             [[notice]]\nname = \"{stage}\"\nintegration = \"Base {base}\"\nchannel = \"{stage}\"\ntemplate = \"{template}\"\n\
             variables = \"#cliente_razao#,#areceber_valor_aberto#,#areceber_data_vencimento#\"\n"
        )?;
    }
    text.push_str("[[source]]\nname = \"ERP\"\nkind = \"files\"\n[caps]\nper_day = 50\n[approval]\nabove = \"unlimited\"\n[[policy]]\nname = \"Todos\"\n");
    for (stage, days, _) in STAGES {
        writeln!(text, "[[policy.stage]]\nstage = \"{stage}\"\ndays = {days}\nnotice = \"{stage}\"")?;
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

/// That customer's open invoice, due today for one of the stages.
pub fn invoice(number: u32) -> Invoice {
    let (_, days, _) = STAGES[number as usize % CHANNELS];
    let due_on = decide::day_of(today(), -days).expect("a date of the calendar");
    Invoice {
        number: number.to_string(),
        issued_on: due_on.checked_sub_days(Days::new(20)),
        branch_id: "1".into(),
        portfolio_id: "1".into(),
        contract_id: number.to_string(),
        receipt_type: "Boleto".into(),
        ..Invoice::open(InvoiceId(format!("i{number:07}")), CustomerId(format!("c{number:07}")), Centavos(9_990), due_on)
    }
}
