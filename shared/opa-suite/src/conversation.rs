//! Talks with customers (*atendimentos*) and what was said in them (contracts §1.3, §1.4): only to look for what is in doubt.

use crate::client::OpaClient;
use crate::list::{List, ListError, text};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::look_up::Shown;
use regua_domain::phone::PhoneKey;
use serde_json::{Value, json};

/// A talk with a customer through a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// `_id`, 24 hexadecimal digits; empty if absent.
    pub id: String,
    /// `canal_id`; empty if absent.
    pub channel_id: String,
    /// `canal_cliente`, if it is a mobile number.
    pub phone: Option<PhoneKey>,
}

impl OpaClient {
    /// One page of the talks that were opened from the first to the last of these days, the oldest first, after `skip` others. It is the last
    /// one when it is shorter than [`LIST_PAGE_ROWS`](crate::LIST_PAGE_ROWS). Whose midnight begins a day is unknown.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn conversations(&self, first: NaiveDate, last: NaiveDate, skip: usize) -> Result<Vec<Conversation>, ListError> {
        let url = self.base_url().resource(&["atendimento"]);
        let filter = json!({ "dataInicialAbertura": first, "dataFinalAbertura": last });
        let page = self.page(List::Conversations, &url, &filter, skip).await?;
        Ok(page.iter().map(conversation).collect())
    }

    /// What was said in a talk, at most [`LIST_PAGE_ROWS`](crate::LIST_PAGE_ROWS), the oldest first. What has no id, time or direction is left out.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn conversation_messages(&self, conversation_id: &str) -> Result<Vec<Shown>, ListError> {
        let url = self.base_url().resource(&["atendimento", "mensagem"]);
        let page = self.page(List::ConversationMessages, &url, &json!({ "id_rota": conversation_id }), 0).await?;
        Ok(page.iter().filter_map(shown).collect())
    }
}

fn conversation(record: &Value) -> Conversation {
    Conversation {
        id: text(record, "_id"),
        channel_id: text(record, "canal_id"),
        phone: phone_key(&text(record, "canal_cliente")),
    }
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

fn shown(record: &Value) -> Option<Shown> {
    let is_to_customer = match record.get("tipoDestinatario")?.as_str()? {
        "clientes_users" => true,
        "usuarios" => false,
        _ => return None,
    };
    Some(Shown {
        id: record.get("_id")?.as_str().filter(|id| !id.is_empty())?.to_owned(),
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
        for number in ["5511987654321", "551187654321", "+55 11 98765-4321", "5511987654321@c.us"] {
            let record = json!({ "_id": "a1", "canal_id": "c1", "canal": "whatsapp", "canal_cliente": number });
            let expected = Conversation { id: "a1".into(), channel_id: "c1".into(), phone: "1187654321".parse().ok() };
            assert_eq!(conversation(&record), expected, "{number}");
        }
        for other in ["@fulano", "", "987654321", "3511987654321", "001187654321"] {
            assert_eq!(conversation(&json!({ "canal_cliente": other })).phone, None, "{other}");
        }
    }

    #[test]
    fn a_message_without_id_time_or_direction_is_left_out() {
        let whole = json!({
            "_id": "m1", "mensagem": "Olá", "tipo": "texto", "tipoDestinatario": "clientes_users", "data": "2026-01-01T12:00:00.000Z"
        });
        assert!(shown(&whole).is_some_and(|shown| shown.is_to_customer && shown.text == "Olá" && shown.id == "m1"));
        for field in ["_id", "tipoDestinatario", "data"] {
            for value in [Value::Null, json!(""), json!(7), json!("gestern")] {
                // An id may be any text.
                let mut broken = whole.clone();
                broken[field] = value.clone();
                assert_eq!(shown(&broken).is_none(), !(field == "_id" && value == "gestern"), "{field}: {value}");
            }
        }
    }
}
