//! Talks with customers (*atendimentos*) and what was said in them (contracts §1.3, §1.4): only to look for what is in doubt.

use crate::client::OpaClient;
use crate::list::{LIST_PAGE_ROWS, List, ListError, text};
use crate::webhook::{is_token, status_of};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::look_up::Shown;
use regua_domain::phone::PhoneKey;
use regua_domain::receipt::ReceiptStatus;
use serde_json::{Value, json};

/// A talk with a customer through a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// `_id`, 24 hexadecimal digits.
    pub id: String,
    /// `canal_id`; empty if absent.
    pub channel_id: String,
    /// `canal_cliente`, if it is a mobile number.
    pub phone: Option<PhoneKey>,
}

/// A page of talks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversations {
    /// Those that have an id.
    pub talks: Vec<Conversation>,
    /// Whether no page follows: it is shorter than asked for.
    pub is_last: bool,
}

impl OpaClient {
    /// One page of the talks that were opened from the first to the last of these days, the oldest first, after `skip` others. Whose midnight begins
    /// a day is unknown.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn conversations(&self, first: NaiveDate, last: NaiveDate, skip: usize) -> Result<Conversations, ListError> {
        let url = self.base_url().resource(&["atendimento"]);
        let filter = json!({ "dataInicialAbertura": first, "dataFinalAbertura": last });
        let page = self.page(List::Conversations, &url, &filter, skip).await?;
        Ok(Conversations { talks: page.iter().filter_map(conversation).collect(), is_last: page.len() < LIST_PAGE_ROWS })
    }

    /// What was said in a talk, of at most [`LIST_PAGE_ROWS`] messages, the oldest first. What isn't certainly this talk's, or has no id, time or
    /// direction, is left out, and so is what didn't leave: its `statusEnvio` must say `sent`, or more.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn conversation_messages(&self, conversation_id: &str) -> Result<Vec<Shown>, ListError> {
        let url = self.base_url().resource(&["atendimento", "mensagem"]);
        let page = self.page(List::ConversationMessages, &url, &json!({ "id_rota": conversation_id }), 0).await?;
        Ok(page.iter().filter_map(|record| shown(record, conversation_id)).collect())
    }
}

fn conversation(record: &Value) -> Option<Conversation> {
    let id = id_of(record, "_id")?.to_owned();
    Some(Conversation { id, channel_id: text(record, "canal_id"), phone: phone_key(&text(record, "canal_cliente")) })
}

fn id_of<'a>(record: &'a Value, field: &str) -> Option<&'a str> {
    record.get(field)?.as_str().filter(|id| is_token(id))
}

/// Who it is of WhatsApp: with the country code, with or without the ninth digit (contracts §3.3), and maybe a host behind it.
fn phone_key(account: &str) -> Option<PhoneKey> {
    let number = account.split_once('@').map_or(account, |(number, _)| number);
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let national = match digits.len() {
        12 | 13 => digits.strip_prefix("55")?,
        10 | 11 => &digits,
        _ => return None,
    };
    format!("{}{}", &national[..2], &national[national.len() - 8..]).parse().ok()
}

fn shown(record: &Value, conversation_id: &str) -> Option<Shown> {
    let is_to_customer = match record.get("tipoDestinatario")?.as_str()? {
        "clientes_users" => true,
        "usuarios" => false,
        _ => return None,
    };
    let has_left = match status_of(record.get("statusEnvio")?.get("status")?.as_str()?)? {
        ReceiptStatus::Sent | ReceiptStatus::Delivered | ReceiptStatus::Read => true,
        ReceiptStatus::Failed => false,
    };
    let is_of_it = id_of(record, "id_rota")?.eq_ignore_ascii_case(conversation_id);
    (is_of_it && has_left).then_some(Shown {
        id: id_of(record, "_id")?.to_owned(),
        is_to_customer,
        text: text(record, "mensagem"),
        at: DateTime::parse_from_rfc3339(record.get("data")?.as_str()?).ok()?.with_timezone(&Utc),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_has_its_phone_in_whichever_spelling() {
        let of = |number: &str| {
            let record = json!({ "_id": "a1", "canal_id": "c1", "canal": "whatsapp", "canal_cliente": number });
            conversation(&record).expect("it has an id")
        };
        for number in ["5511987654321", "551187654321", "+55 11 98765-4321", "5511987654321@c.us"] {
            let expected = Conversation { id: "a1".into(), channel_id: "c1".into(), phone: "1187654321".parse().ok() };
            assert_eq!(of(number), expected, "{number}");
        }
        for other in ["@fulano", "", "987654321", "3511987654321", "001187654321"] {
            assert_eq!(of(other).phone, None, "{other}");
        }
        assert_eq!(conversation(&json!({ "_id": "", "canal_cliente": "5511987654321" })), None);
    }

    fn message() -> Value {
        json!({
            "_id": "m1", "id_rota": "A1", "mensagem": "Olá", "tipo": "texto", "tipoDestinatario": "clientes_users",
            "statusEnvio": { "status": "sent", "observacao": "" }, "data": "2026-01-01T12:00:00.000Z",
        })
    }

    #[test]
    fn a_message_that_is_not_certainly_one_of_the_talk_is_left_out() {
        assert!(shown(&message(), "a1").is_some_and(|shown| shown.is_to_customer && shown.text == "Olá" && shown.id == "m1"));
        for field in ["_id", "id_rota", "tipoDestinatario", "statusEnvio", "data"] {
            for value in [Value::Null, json!(""), json!("\0"), json!(7), json!({})] {
                let mut broken = message();
                broken[field] = value.clone();
                assert!(shown(&broken, "a1").is_none(), "{field}: {value}");
            }
        }
        assert!(shown(&message(), "a2").is_none(), "of another talk: the filter was ignored");
    }

    #[test]
    fn a_message_that_did_not_leave_is_left_out() {
        for (status, has_left) in [("sent", true), ("delivered", true), ("read", true), ("failed", false), ("pending", false)] {
            let mut message = message();
            message["statusEnvio"]["status"] = json!(status);
            assert_eq!(shown(&message, "a1").is_some(), has_left, "{status}");
        }
    }
}
