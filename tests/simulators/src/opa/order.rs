//! The rules of `POST /template/send` (contracts §1.5) that need no memory: the body in, an order or a refusal out.

use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::catalogue::{ATTENDANT_NAME, Channel, Template};
use super::variables::{Expected, Variables};
use crate::exchange::Answer;

/// A send whose every member was found right.
#[derive(Debug)]
pub(crate) struct Order {
    pub phone: String,
    /// The channel's id.
    pub channel: String,
    /// The template's id.
    pub template: String,
    pub variables: Variables,
    pub alternative_media: Option<String>,
    pub allow_in_service: bool,
    pub metadata: Value,
}

/// Why a send was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotJson,
    /// The member, by its path.
    Missing(&'static str),
    PhoneFormat,
    UnknownChannel,
    UnknownTemplate,
    ChannelCannotSend,
    VariableCount {
        expected: usize,
        given: usize,
    },
    VariableText,
    VariableEmpty,
    /// The payment's member, by its name.
    PaymentDetail(&'static str),
    MediaUrl,
    InService,
    Throughput,
    PairRate,
    /// The simulator's disk failed.
    LogFailed,
}

impl Refusal {
    /// The name in statistics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Missing(_) => "missing_member",
            Self::PhoneFormat => "phone_format",
            Self::UnknownChannel => "unknown_channel",
            Self::UnknownTemplate => "unknown_template",
            Self::ChannelCannotSend => "channel_cannot_send",
            Self::VariableCount { .. } => "variable_count",
            Self::VariableText => "variable_text",
            Self::VariableEmpty => "variable_empty",
            Self::PaymentDetail(_) => "payment_detail",
            Self::MediaUrl => "media_url",
            Self::InService => "in_service",
            Self::Throughput => "throughput",
            Self::PairRate => "pair_rate",
            Self::LogFailed => "log_failed",
        }
    }

    /// The answer; Meta's codes travel in its text, as the one that was ever seen did (contracts §1.2, §3.1).
    pub fn answer(self) -> Answer {
        let (status, text) = match self {
            Self::UnknownChannel => return not_found("Communication channel not found."),
            Self::UnknownTemplate => return not_found("Template not found."),
            Self::NotJson => (StatusCode::BAD_REQUEST, "The body must be JSON, with Content-Type application/json.".to_owned()),
            Self::Missing(member) => (StatusCode::BAD_REQUEST, format!("{member} is required.")),
            Self::PhoneFormat => {
                (StatusCode::BAD_REQUEST, "contato.canalCliente must be + and digits, with country code.".to_owned())
            }
            Self::ChannelCannotSend => (StatusCode::BAD_REQUEST, "The communication channel can not send templates.".to_owned()),
            Self::VariableCount { expected, given } => (
                StatusCode::BAD_REQUEST,
                format!("(#132000) Number of parameters does not match: expected {expected}, got {given}."),
            ),
            Self::VariableText => (
                StatusCode::BAD_REQUEST,
                "Bad request: (#132018) Param text cannot have new-line/tab characters or more than 4 consecutive spaces."
                    .to_owned(),
            ),
            Self::VariableEmpty => {
                (StatusCode::BAD_REQUEST, "(#132012) Parameter format does not match: text is empty.".to_owned())
            }
            Self::PaymentDetail(member) => (StatusCode::BAD_REQUEST, format!("template.variaveis.{member} is not a payment's.")),
            Self::MediaUrl => {
                (StatusCode::BAD_REQUEST, "template.midiaAlternativa must be an absolute http or https URL.".to_owned())
            }
            Self::InService => (StatusCode::BAD_REQUEST, format!("Este contato já está em atendimento com {ATTENDANT_NAME}")),
            Self::Throughput => (StatusCode::TOO_MANY_REQUESTS, "(#130429) Rate limit hit.".to_owned()),
            Self::PairRate => {
                (StatusCode::TOO_MANY_REQUESTS, "(#131056) (Business Account, Consumer Account) pair rate limit hit.".to_owned())
            }
            Self::LogFailed => (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.".to_owned()),
        };
        described_error(status, &text)
    }
}

/// The first error shape of contracts §1.2.
pub(crate) fn not_found(message: &str) -> Answer {
    Answer::json(StatusCode::NOT_FOUND, &json!({ "error": "NOT_FOUND_ERROR", "message": message }))
}

/// The second error shape of contracts §1.2.
pub(crate) fn described_error(status: StatusCode, text: &str) -> Answer {
    let body = json!({ "status": "error", "code": status.as_u16(), "description": text, "data": { "message": text } });
    Answer::json(status, &body)
}

/// Reads a send. Optional members without a rule are accepted and ignored. With `any_ids` the base has every channel and every template.
///
/// # Errors
/// The first rule that the body breaks, in the order of contracts §1.5.
pub(crate) fn read(body: &[u8], any_ids: bool) -> Result<Order, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::NotJson)?;
    let phone = text(&body["contato"]["canalCliente"], "contato.canalCliente")?;
    let template = text(&body["template"]["_id"], "template._id")?;
    let channel = text(&body["canal"], "canal")?;
    if !is_international(phone) {
        return Err(Refusal::PhoneFormat);
    }
    let expected = if any_ids { Expected::Any } else { expected(channel, template)? };
    let variables = Variables::read(&body["template"]["variaveis"], expected)?;
    let alternative_media = alternative_media(&body["template"]["midiaAlternativa"])?;
    Ok(Order {
        phone: phone.to_owned(),
        channel: channel.to_owned(),
        template: template.to_owned(),
        variables,
        alternative_media,
        // Contracts §1.5: the default refuses contacts in service.
        allow_in_service: body["allowSendingToStartedCustomerService"] == Value::Bool(true),
        metadata: body["metadata"].clone(),
    })
}

/// What a template takes that goes through a channel.
fn expected(channel: &str, template: &str) -> Result<Expected, Refusal> {
    let channel = Channel::find(channel).ok_or(Refusal::UnknownChannel)?;
    let template = Template::find(template).ok_or(Refusal::UnknownTemplate)?;
    // What a switched-off or non-WhatsApp channel answers is not in the contracts: the simulator's choice.
    if !(channel.active && channel.is_whatsapp()) {
        return Err(Refusal::ChannelCannotSend);
    }
    Ok(if template.is_payment() { Expected::Payment } else { Expected::Positional(template.placeholders()) })
}

fn text<'v>(value: &'v Value, member: &'static str) -> Result<&'v str, Refusal> {
    value.as_str().filter(|text| !text.is_empty()).ok_or(Refusal::Missing(member))
}

/// Contracts §1.5: "with `+`, country code, digits only"; 10 to 15 digits, the shortest and longest that can be meant.
fn is_international(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| (10..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Contracts §1.5: an "optional URL".
fn alternative_media(value: &Value) -> Result<Option<String>, Refusal> {
    // [inferred] It must be absolute, for whoever fetches the media knows no base.
    if value.is_null() {
        return Ok(None);
    }
    let url = value.as_str().ok_or(Refusal::MediaUrl)?;
    let uri: Uri = url.parse().map_err(|_| Refusal::MediaUrl)?;
    let is_absolute = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    if is_absolute { Ok(Some(url.to_owned())) } else { Err(Refusal::MediaUrl) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opa::catalogue::{CHANNEL_INACTIVE, CHANNEL_INSTAGRAM, CHANNEL_WHATSAPP, TEMPLATE_OVERDUE};

    fn body() -> Value {
        json!({
            "contato": { "canalCliente": "+5555987654321" },
            "template": { "_id": TEMPLATE_OVERDUE, "variaveis": ["Ana", "R$99,90", "10/12/2026"] },
            "canal": CHANNEL_WHATSAPP,
        })
    }

    #[track_caller]
    fn check(path: &str, value: Value, expected: Option<Refusal>) {
        let mut body = body();
        *body.pointer_mut(path).expect("the path exists") = value;
        assert_eq!(read(body.to_string().as_bytes(), false).err(), expected, "{path}");
    }

    #[test]
    fn each_rule_of_a_send_refuses_what_breaks_it() {
        check("/canal", json!(CHANNEL_WHATSAPP), None);
        check("/canal", Value::Null, Some(Refusal::Missing("canal")));
        check("/canal", json!("64f1c0de0a1b2c3d4e5fffff"), Some(Refusal::UnknownChannel));
        check("/canal", json!(CHANNEL_INACTIVE), Some(Refusal::ChannelCannotSend));
        check("/canal", json!(CHANNEL_INSTAGRAM), Some(Refusal::ChannelCannotSend));
        check("/contato/canalCliente", json!(""), Some(Refusal::Missing("contato.canalCliente")));
        for phone in ["5555987654321", "+55 55 98765-4321", "+559876", "+5555987654321123"] {
            check("/contato/canalCliente", json!(phone), Some(Refusal::PhoneFormat));
        }
        check("/template/_id", json!("Cd5fGh9j"), Some(Refusal::UnknownTemplate));
        check("/template/variaveis", json!(["a", "b"]), Some(Refusal::VariableCount { expected: 3, given: 2 }));
        check("/template/variaveis", Value::Null, Some(Refusal::VariableCount { expected: 3, given: 0 }));
        check("/template/variaveis", json!(["a", "b", 3]), Some(Refusal::Missing("template.variaveis as an array of texts")));
        for text in ["a\nb", "a\tb", "a    b"] {
            check("/template/variaveis/1", json!(text), Some(Refusal::VariableText));
        }
        check("/template/variaveis/1", json!("a   b"), None);
        check("/template/variaveis/1", json!(" "), Some(Refusal::VariableEmpty));
    }

    #[test]
    fn alternative_media_is_an_absolute_url_of_the_web() {
        for url in ["https://example.invalid/boleto.pdf", "http://127.0.0.1:8080/b?id=1"] {
            assert_eq!(alternative_media(&json!(url)), Ok(Some(url.to_owned())), "{url}");
        }
        assert_eq!(alternative_media(&Value::Null), Ok(None));
        for url in
            ["", "boleto.pdf", "/boleto.pdf", "//example.invalid/b", "example.invalid:80", "https:/b", "https://", "ftp://a/b"]
        {
            assert_eq!(alternative_media(&json!(url)), Err(Refusal::MediaUrl), "{url}");
        }
        for value in [json!(7), json!(["https://example.invalid/b"]), json!("https://example.invalid/a b")] {
            assert_eq!(alternative_media(&value), Err(Refusal::MediaUrl), "{value}");
        }
    }

    #[test]
    fn a_base_with_any_ids_refuses_no_channel_or_template_but_still_what_is_wrong_by_itself() {
        let mut body = body();
        body["canal"] = json!("64f1c0de0a1b2c3d4e5fffff");
        body["template"] = json!({ "_id": "64f1c0de0a1b2c3d4e5ffffe", "variaveis": ["a", "b", "c", "d"] });
        assert!(read(body.to_string().as_bytes(), true).is_ok());
        body["template"]["variaveis"][0] = json!(" ");
        assert_eq!(read(body.to_string().as_bytes(), true).err(), Some(Refusal::VariableEmpty));
        body["template"]["variaveis"] = json!({ "valor": "9990", "tipoPagamento": "boleto", "linhaDigitavel": "846" });
        assert!(read(body.to_string().as_bytes(), true).is_ok());
        body["template"]["variaveis"]["valor"] = json!(9990);
        assert_eq!(read(body.to_string().as_bytes(), true).err(), Some(Refusal::PaymentDetail("valor")));
    }
}
