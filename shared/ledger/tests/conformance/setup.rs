//! The provider's configuration, written as its file and read as every command reads it.

use crate::world::begin;
use regua_domain::configuration::{Configuration, Defaults};
use std::fmt::Write as _;

/// The template of the overdue notice, and another one.
pub const TEMPLATE: &str = "64f1c0de0a1b2c3d4e5f7003";
/// What every notice says, if no test says otherwise.
pub const VARIABLES: &str = "#cliente_razao#,#areceber_valor_aberto#,#areceber_data_vencimento#";
pub const OTHER_TEMPLATE: &str = "64f1c0de0a1b2c3d4e5f7009";

/// What differs between the tests' configurations.
#[derive(Clone, Debug)]
pub struct Setup {
    /// 0 is unlimited.
    pub per_second: u32,
    pub per_day: u32,
    /// `None`: the default, 4 or `per_day` if that is more.
    pub per_7_days: Option<u32>,
    pub recipients_per_24h: &'static str,
    pub release: &'static str,
    pub max_age: &'static str,
    /// The source's kind, with what belongs to it.
    pub source: String,
    pub open_windows: u32,
    pub days_between_stages: u32,
    /// Messages above which a run waits for approval.
    pub approval_above: &'static str,
    /// Lines of the policy before its stages; by default, that its schedule was in force long before.
    pub policy: String,
    /// Lines that take the place of the policy's stages.
    pub stages: String,
    /// The template of the overdue notice.
    pub template: &'static str,
    /// The variables of the overdue notice.
    pub variables: &'static str,
    /// Lines of the overdue notice in place of its variables.
    pub filling: Option<&'static str>,
    /// The channel of the overdue notice.
    pub channel: &'static str,
    /// Further sections.
    pub more: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            per_second: 80,
            per_day: 2,
            per_7_days: None,
            recipients_per_24h: "\"unlimited\"",
            release: "on-task",
            max_age: "6h",
            source: "kind = \"files\"".into(),
            open_windows: 1,
            days_between_stages: 0,
            approval_above: "\"unlimited\"",
            policy: "activated_on = 2026-01-01".into(),
            stages: [
                ("pre_due", -3, "Lembrete"),
                ("due_day", 0, "Vence hoje"),
                ("overdue", 3, "Aviso"),
                ("pending_query", 7, "Pendência"),
            ]
            .iter()
            .fold(String::new(), |text, (name, days, notice)| text + &stage(name, *days, notice)),
            template: TEMPLATE,
            variables: VARIABLES,
            filling: None,
            channel: "Cobrança",
            more: String::new(),
        }
    }
}

/// One stage of the policy, as the file has it.
pub fn stage(stage: &str, days: i64, notice: &str) -> String {
    format!("[[policy.stage]]\nstage = \"{stage}\"\ndays = {days}\nnotice = \"{notice}\"\n")
}

impl Setup {
    pub fn text(&self) -> String {
        let Self { per_second, per_day, recipients_per_24h, release, max_age, open_windows, .. } = self;
        let Self {
            days_between_stages, approval_above, policy, stages, template, variables, filling, channel, more, source, ..
        } = self;
        let per_7_days = self.per_7_days.map_or_else(String::new, |cap| format!("per_7_days = {cap}"));
        let mut text = format!(
            r#"
            [[integration]]
            name = "Opa! Suite"
            url = "https://opa.example.com/api/v1"
            token_env = "OPA_TOKEN"
            release = "{release}"
            [[business]]
            name = "Provedor"
            recipients_per_24h = {recipients_per_24h}
            [[channel]]
            name = "Cobrança"
            id = "64f1c0de0a1b2c3d4e5f6001"
            per_second = {per_second}
            business = "Provedor"
            [[channel]]
            name = "Vendas"
            id = "64f1c0de0a1b2c3d4e5f6002"
            "#
        );
        let by_position = |variables: &str| format!("variables = \"{variables}\"");
        let usual = by_position(VARIABLES);
        let of_overdue = filling.map_or_else(|| by_position(variables), str::to_owned);
        for (name, template, channel, filling) in [
            ("Lembrete", "64f1c0de0a1b2c3d4e5f7001", "Cobrança", &usual),
            ("Vence hoje", "64f1c0de0a1b2c3d4e5f7002", "Cobrança", &usual),
            ("Aviso", template, channel, &of_overdue),
            ("Pendência", "64f1c0de0a1b2c3d4e5f7004", "Cobrança", &usual),
        ] {
            write!(
                text,
                r#"
                [[notice]]
                name = "{name}"
                channel = "{channel}"
                template = "{template}"
                {filling}
                "#
            )
            .unwrap();
        }
        write!(
            text,
            r#"
            [[policy]]
            name = "Todos"
            {policy}
            {stages}
            [[task]]
            kind = "update-collections"
            minute = 0
            hour = 8
            [[task]]
            kind = "send-queued-messages"
            minute = 30
            hour = 8
            [[source]]
            name = "ERP"
            {source}
            max_age = "{max_age}"
            [caps]
            per_day = {per_day}
            {per_7_days}
            days_between_stages = {days_between_stages}
            [approval]
            above = {approval_above}
            [expiry]
            open_windows = {open_windows}
            {more}
            "#
        )
        .unwrap();
        text
    }

    pub fn configuration(&self) -> Configuration {
        parse(&self.text())
    }
}

/// A configuration file, read as every command reads it.
pub fn parse(text: &str) -> Configuration {
    let defaults = Defaults { zone: chrono_tz::America::Sao_Paulo, allow_private_urls: false, now: begin() };
    Configuration::parse(text, "test.toml", &defaults, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}
