//! A body's shape: what it is made of, without what it says about anybody.

use super::{STATUS_WORDS, is_object_id, words_of};
use crate::provider_code::ProviderCode;
use chrono::DateTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The longest shape; a longer one is cut.
pub const SHAPE_BYTES_MAX: usize = 4096;
/// Elements of an array, and members of an object, that are shown.
const ELEMENTS_MAX: usize = 3;
const MEMBERS_MAX: usize = 40;
/// A longer name of a member is no name.
const KEY_BYTES_MAX: usize = 40;
/// So many digits in a name are a number of somebody's.
const KEY_DIGITS_MAX: usize = 4;
/// Words beside those of [`STATUS_WORDS`] that name kinds of things and no person.
const KINDS: [&str; 24] = [
    "message",
    "mensagem",
    "status",
    "envio",
    "event",
    "evento",
    "update",
    "updated",
    "template",
    "whatsapp",
    "text",
    "texto",
    "media",
    "midia",
    "success",
    "contact",
    "contato",
    "atendimento",
    "usuarios",
    "clientes",
    "users",
    "webhook",
    "type",
    "tipo",
];

/// The shape of a body: names, nesting, words of a status and ids of records are kept; each other value is replaced by its kind and length.
/// At most [`SHAPE_BYTES_MAX`] bytes of JSON, cut where it is longer.
pub fn shape(body: &Value) -> String {
    let mut text = masked(body).to_string();
    if text.len() > SHAPE_BYTES_MAX {
        let end = (0..=SHAPE_BYTES_MAX - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn masked(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(number) => {
            let code = number.as_u64().and_then(|n| u32::try_from(n).ok()).and_then(ProviderCode::from_number);
            if code.is_some() { value.clone() } else { json!(format!("number({})", number.to_string().len())) }
        }
        Value::String(text) => json!(masked_text(text)),
        Value::Array(elements) => {
            let more = elements.len().saturating_sub(ELEMENTS_MAX);
            let shown = elements.iter().take(ELEMENTS_MAX).map(masked);
            Value::Array(shown.chain((more > 0).then(|| json!(format!("and {more} more")))).collect())
        }
        Value::Object(members) => {
            let mut shown: Map<String, Value> =
                members.iter().take(MEMBERS_MAX).map(|(key, value)| (masked_key(key), masked(value))).collect();
            let more = members.len().saturating_sub(MEMBERS_MAX);
            if more > 0 {
                shown.insert("…".into(), json!(format!("and {more} more")));
            }
            Value::Object(shown)
        }
    }
}

fn masked_key(key: &str) -> String {
    let is_name = key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    if is_name && digits <= KEY_DIGITS_MAX { key.to_owned() } else { format!("key({})", key.chars().count()) }
}

fn masked_text(text: &str) -> String {
    let length = text.chars().count();
    if text.is_empty() || is_object_id(text) || Uuid::parse_str(text).is_ok() || says_only_kinds(text) {
        return text.to_owned();
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("digits({length})");
    }
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return "instant".into();
    }
    let is_address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    format!("{}({length})", if is_address { "address" } else { "text" })
}

/// Whether every word is of a status or names a kind of thing.
fn says_only_kinds(text: &str) -> bool {
    let known =
        |word: &String| KINDS.contains(&word.as_str()) || STATUS_WORDS.iter().any(|(_, words)| words.contains(&word.as_str()));
    let words = words_of(text);
    text.len() <= KEY_BYTES_MAX && !words.is_empty() && words.iter().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shape_keeps_names_ids_and_words_of_a_status_and_no_persons_data() {
        let body = json!({
            "event": "MESSAGE_UPDATED", "_id": "65a1b2c3d4e5f60718293a4b", "status": "Entregue", "code": 131_026, "valor": 123.45,
            "contato": { "nome": "Maria da Silva", "fone": "+5511987654321", "opt_in": true, "foto": "https://example.invalid/maria.png" },
            "5511987654321": null, "data": "2026-01-01T12:00:00.000Z", "tags": ["a", "b", "c", "d"],
            "observacao": "entregue para Maria",
        });
        let expected = json!({
            "event": "MESSAGE_UPDATED", "_id": "65a1b2c3d4e5f60718293a4b", "status": "Entregue", "code": 131_026, "valor": "number(6)",
            "contato": { "nome": "text(14)", "fone": "digits(14)", "opt_in": true, "foto": "address(33)" },
            "key(13)": null, "data": "instant", "tags": ["text(1)", "text(1)", "text(1)", "and 1 more"],
            "observacao": "text(19)",
        });
        assert_eq!(serde_json::from_str::<Value>(&shape(&body)).expect("JSON"), expected);
    }

    proptest! {
        #[test]
        fn a_shape_is_bounded_and_says_no_word_of_a_text(name in "[A-Z][a-zãé]{6,12} [A-Z][a-zç]{6,12}", times in 1usize..3000) {
            let members: Map<String, Value> = (0..times).map(|n| (format!("m{n}"), json!({ "nome": name, "fone": "5511987654321" }))).collect();
            let shape = shape(&json!([members, name]));
            prop_assert!(shape.len() <= SHAPE_BYTES_MAX, "{}", shape.len());
            prop_assert!(!shape.contains(&name) && !shape.contains("98765"), "{shape}");
        }
    }
}
