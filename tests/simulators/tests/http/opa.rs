//! Opa! Suite: transport, lists, records (contracts §1.1 to §1.4).

use regua_simulators::opa::catalogue::{
    CHANNEL_INACTIVE, CHANNEL_INSTAGRAM, CHANNEL_WHATSAPP, TEMPLATE_OVERDUE, TEMPLATE_PRE_DUE,
};
use regua_simulators::{OpaOptions, OpaSimulator};
use serde_json::{Value, json};

use crate::client::{Answer, Connection, ask};

pub struct Opa {
    pub simulator: OpaSimulator,
    authorization: String,
}

impl Opa {
    pub async fn start(options: OpaOptions) -> anyhow::Result<Self> {
        let simulator = OpaSimulator::start(options).await?;
        let authorization = format!("Bearer {}", simulator.token());
        Ok(Self { simulator, authorization })
    }

    pub fn headers(&self) -> [(&str, &str); 2] {
        [("Authorization", &self.authorization), ("Content-Type", "application/json")]
    }

    pub async fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        ask(&self.simulator.url(), method, &format!("/api/v1{path}"), &self.headers(), body).await
    }

    pub async fn admin(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        ask(&self.simulator.url(), method, &format!("/_admin/{path}"), &[], body).await
    }

    /// The `data` of a list that must succeed.
    pub async fn list(&self, path: &str, body: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.ask("GET", path, body).await?;
        let envelope = answer.json()?;
        assert_eq!((answer.status, &envelope["status"], &envelope["code"]), (200, &json!("success"), &json!(200)), "{envelope}");
        Ok(envelope["data"].as_array().cloned().unwrap_or_default())
    }

    pub async fn send(&self, body: &Value) -> anyhow::Result<Answer> {
        self.ask("POST", "/template/send", &body.to_string()).await
    }
}

/// A send that breaks no rule.
pub fn order(phone: &str, message: &str) -> Value {
    json!({
        "contato": { "canalCliente": phone },
        "template": { "_id": TEMPLATE_OVERDUE, "variaveis": ["Ana", "R$99,90", "10/12/2026"] },
        "canal": CHANNEL_WHATSAPP,
        "metadata": { "message": message },
    })
}

#[track_caller]
pub fn assert_login(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.header("location")), (302, Some("/auth/login")), "{what}");
}

/// Contracts §1.1, §1.2.
#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_unknown_and_wrong_verbs_go_to_the_login_page() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let url = opa.simulator.url();
    assert_login(&ask(&url, "GET", "/api/v1/template", &[], "").await?, "no token");
    assert_login(&ask(&url, "GET", "/api/v1/template", &[("Authorization", "Bearer wrong")], "").await?, "wrong token");
    assert_login(&ask(&url, "GET", "/atendente", &opa.headers(), "").await?, "panel path");
    for (method, path) in [
        ("POST", "/template"),
        ("POST", "/canal-comunicacao/"),
        ("POST", "/atendimento"),
        ("GET", "/template/send"),
        ("DELETE", "/template/x"),
        ("GET", "/motivo-atendimento"),
        ("GET", "/template/"),
    ] {
        assert_login(&opa.ask(method, path, "{}").await?, &format!("{method} {path}"));
    }
    let login = ask(&url, "GET", "/auth/login", &[], "").await?;
    assert_eq!(login.status, 200);
    assert!(login.text().contains("<html"));
    Ok(())
}

/// Contracts §1.3, §1.4.
#[tokio::test(flavor = "multi_thread")]
async fn channels_are_listed_with_and_without_slash_and_filtered() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let all = opa.list("/canal-comunicacao/", "").await?;
    assert_eq!(all, opa.list("/canal-comunicacao", "").await?);
    let status = |id: &str| all.iter().find(|channel| channel["_id"] == id).map(|channel| channel["status"].clone());
    assert_eq!(status(CHANNEL_WHATSAPP), Some(json!("A")));
    assert_eq!(status(CHANNEL_INACTIVE), Some(json!("I")));
    let filtered = opa.list("/canal-comunicacao/", r#"{"filter":{"canal":"Instagram"}}"#).await?;
    assert_eq!(filtered.len(), 1);
    assert_eq!(filtered[0]["_id"], CHANNEL_INSTAGRAM);
    Ok(())
}

/// Contracts §1.3: by id, `id_atendente` and `departamentos` are expanded.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_by_id_expands_what_lists_only_name() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let channel = opa.ask("GET", &format!("/canal-comunicacao/{CHANNEL_WHATSAPP}"), "").await?.json()?;
    assert!(channel["data"]["id_atendente"]["_id"].is_string(), "{channel}");
    let template = opa.ask("GET", &format!("/template/{TEMPLATE_OVERDUE}"), "").await?.json()?;
    assert!(template["data"]["departamentos"][0]["nome"].is_string(), "{template}");
    Ok(())
}

/// Contracts §1.2: the first error shape.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_channel_is_404_with_the_flat_error() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let unknown = "/canal-comunicacao/64f1c0de0a1b2c3d4e5fffff";
    for path in [unknown.to_owned(), format!("{unknown}/template"), format!("{unknown}/template/limites-diarios-envio")] {
        let answer = opa.ask("GET", &path, "").await?;
        let expected = json!({ "error": "NOT_FOUND_ERROR", "message": "Communication channel not found." });
        assert_eq!((answer.status, answer.json()?), (404, expected), "{path}");
    }
    Ok(())
}

/// Contracts §1.4: the general list is short, a channel's is richer, with JSON inside the string `dados`.
#[tokio::test(flavor = "multi_thread")]
async fn a_channels_templates_say_more_than_the_general_list() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let general = opa.list("/template", r#"{"filter":{"atalho":"lembrete_vencimento"}}"#).await?;
    assert_eq!(general.len(), 1);
    assert_eq!(general[0]["_id"], TEMPLATE_PRE_DUE);
    assert!(general[0].get("dados").is_none());
    assert!(general[0]["texto"].as_str().is_some_and(|text| text.contains("{{nome_cliente}}")));
    let of_channel = opa.list(&format!("/canal-comunicacao/{CHANNEL_WHATSAPP}/template"), "").await?;
    assert_eq!(of_channel.len(), opa.list("/template", "").await?.len());
    let data: Value = serde_json::from_str(of_channel[0]["dados"].as_str().unwrap_or_default())?;
    assert!(data.is_object());
    assert_eq!(of_channel[0]["identificadorCanal"].as_str().map(str::len), Some(8));
    assert!(opa.list(&format!("/canal-comunicacao/{CHANNEL_INSTAGRAM}/template"), "").await?.is_empty());
    Ok(())
}

/// Contracts §1.4.
#[tokio::test(flavor = "multi_thread")]
async fn the_daily_allowance_is_an_empty_object_without_a_limit() -> anyhow::Result<()> {
    let path = format!("/canal-comunicacao/{CHANNEL_WHATSAPP}/template/limites-diarios-envio");
    let opa = Opa::start(OpaOptions::default()).await?;
    assert_eq!(opa.ask("GET", &path, "").await?.json()?["data"], json!({}));
    let limited = Opa::start(OpaOptions { daily_limit: Some(10), ..OpaOptions::default() }).await?;
    assert_eq!(limited.send(&order("+5511987654321", "1")).await?.status, 200);
    let expected = json!({ "messagesSent": 1, "dailyLimit": 10, "availableAmount": 9 });
    assert_eq!(limited.ask("GET", &path, "").await?.json()?["data"], expected);
    Ok(())
}

/// Contracts §1.2: `limit` saturates at 1000, no body means the oldest 1000, and pages go on with `skip`.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_saturates_at_1000_and_the_oldest_come_first() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    for number in 0..1005 {
        let body = order(&format!("+5511{:09}", 900_000_000 + number), &number.to_string()).to_string();
        assert_eq!(connection.ask("POST", "/api/v1/template/send", &opa.headers(), &body).await?.status, 200);
    }
    let page = opa.list("/atendimento", r#"{"options":{"skip":0,"limit":150000}}"#).await?;
    assert_eq!(page.len(), 1000);
    assert_eq!(page, opa.list("/atendimento", "").await?);
    assert_eq!(page[0]["canal_cliente"], "+5511900000000");
    let rest = opa.list("/atendimento", r#"{"options":{"skip":1000,"limit":1000}}"#).await?;
    assert_eq!(rest.len(), 5);
    assert_eq!(rest[4]["canal_cliente"], "+5511900001004");
    Ok(())
}

/// Contracts §1.3: conversations by day, messages by conversation.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_can_be_looked_up_by_phone_and_day() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for phone in ["+5511987654321", "+5555987654321"] {
        assert_eq!(opa.send(&order(phone, phone)).await?.status, 200);
    }
    let entries = opa.simulator.log()?.collect::<Result<Vec<_>, _>>()?;
    let today = chrono::DateTime::from_timestamp_micros(entries[0].at_us).unwrap_or_default().date_naive();
    let of_day = |day: chrono::NaiveDate| json!({ "filter": { "dataInicialAbertura": day.to_string(), "dataFinalAbertura": (day + chrono::Days::new(1)).to_string() } });
    let conversations = opa.list("/atendimento", &of_day(today).to_string()).await?;
    assert_eq!(conversations.len(), 2);
    assert_eq!(conversations[0]["canal"], "whatsapp"); // lower-case here (contracts §1.4)
    assert!(opa.list("/atendimento", &of_day(today + chrono::Days::new(2)).to_string()).await?.is_empty());
    let route = &conversations[1]["_id"];
    let messages = opa.list("/atendimento/mensagem", &json!({ "filter": { "id_rota": route } }).to_string()).await?;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["_id"], entries[1].message_sent_id.as_str());
    assert!(messages[0]["mensagem"].as_str().is_some_and(|text| text.starts_with("Olá Ana!")));
    let one = opa.ask("GET", &format!("/atendimento/mensagem/{}", entries[0].message_sent_id), "").await?.json()?;
    assert_eq!(one["data"]["statusEnvio"]["status"], "sent");
    let conversation = opa.ask("GET", &format!("/atendimento/{}", route.as_str().unwrap_or_default()), "").await?.json()?;
    assert_eq!(conversation["data"]["canal_cliente"], "+5555987654321");
    Ok(())
}

/// Contracts §1.2: the second error shape.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_json_gets_the_described_error() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for body in ["{", r#"{"filter":1}"#, r#"{"options":{"limit":"many"}}"#] {
        let answer = opa.ask("GET", "/template", body).await?;
        let error = answer.json()?;
        assert_eq!((answer.status, &error["status"], &error["code"]), (400, &json!("error"), &json!(400)), "{body}");
        assert!(error["description"].is_string() && error["data"]["message"].is_string());
    }
    Ok(())
}
