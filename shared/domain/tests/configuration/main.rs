//! The configuration file: what is read, what is refused and with which line and mend, what is written back.

mod addresses;
mod complete_example;
mod payments;
mod reading;
mod refusals;
mod writing;

use chrono::DateTime;
use chrono_tz::Tz;
use regua_domain::configuration::{Configuration, ConfigurationErrors, Defaults, Note};

/// A file with every section and nothing wrong.
const VALID: &str = r##"
[[integration]]
name = "Matriz"
url = "https://suporte.example.com/api/v1"
token_env = "OPA_TOKEN"
default = true

[[integration]]
name = "Filial"
url_env = "FILIAL_URL"
token_file = "/run/secrets/filial"
release = "immediate"

[[business]]
name = "Provedor"
recipients_per_24h = 10_000

[[channel]]
name = "Cobrança"
id = "0123456789ABCDEF01234567"
per_second = 200
business = "Provedor"

[[channel]]
name = "Vendas"
integration = "Filial"
id = "0123456789abcdef01234568"

[[notice]]
name = "Lembrete"
channel = "Cobrança"
template = "64f1c0de0a1b2c3d4e5f7001"
variables = "#cliente_razao#,#areceber_valor#"

[[policy]]
name = "Todos"
activated_on = 2026-11-30
[policy.filters]
[[policy.stage]]
stage = "pre_due"
days = -3
notice = "Lembrete"
[[policy.stage]]
stage = "overdue"
days = 5
notice = "Lembrete"
[[policy.stage]]
stage = "settled"
notice = "Lembrete"
enabled = false

[[task]]
kind = "update-collections"
minute = 0
hour = "8"
day_of_week = "1-5"

[[task]]
kind = "send-queued-messages"
minute = 30
hour = 8
zone = "America/Manaus"
month = "Todos"

[[source]]
name = "ERP"
kind = "ixc"
url = "https://ixc.example.com/webservice/v1"
token_env = "IXC_TOKEN"
days_ahead = 10

[[source]]
name = "Planilha"
kind = "files"
max_age = "2d"

[window]
days = "1-6"
to = "20:00"
states = "law"
[[window.state]]
uf = "SC"
hours = ["1-5 08:00-18:30", "6 09:00-12:00"]

[[holiday]]
name = "Aniversário da cidade"
uf = "SC"
city = "CHAPECÓ"
every = "25/08"

[[holiday]]
name = "Ponto facultativo"
uf = "Santa Catarina"
date = 2027-02-08

[caps]
per_day = 3
per_7_days = 6
days_between_stages = 2

[approval]
above = "unlimited"

[price]
per_message = "0,0435"

[retention]
personal_data_days = 365

[expiry]
open_windows = 2
"##;

fn environment(name: &str) -> Option<String> {
    match name {
        "OPA_TOKEN" | "IXC_TOKEN" => Some("the-secret".into()),
        "FILIAL_URL" => Some("https:/filial.example.com/atendente".into()),
        "EMPTY" => Some("  ".into()),
        "PRIVATE_URL" => Some("http://10.0.0.1:8080".into()),
        _ => None,
    }
}

fn defaults() -> Defaults {
    let now = DateTime::from_timestamp(1_790_000_000, 0).expect("an instant");
    Defaults { zone: Tz::America__Sao_Paulo, allow_private_urls: false, now }
}

fn parse(text: &str) -> Result<(Configuration, Vec<Note>), ConfigurationErrors> {
    Configuration::parse_with_notes(text, "regua.toml", &defaults(), &environment)
}

fn valid() -> Configuration {
    parse(VALID).expect("nothing is wrong with it").0
}
