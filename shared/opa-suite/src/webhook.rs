//! What Opa! Suite's webhook tells, read without knowing its format, for none is published (contracts §1.6).
//!
//! **Everything here is inferred.** What is known: `metadata` of a sending is "recoverable through the webhook" (contracts §1.5); the one public
//! receiver looks for `messageSentId`, `message._id` and `data.messageSentId`; a message record has `statusEnvio: {status, observacao}`, of
//! which only `sent` was ever seen (contracts §1.4). So any JSON is searched for our own ids, for the provider's, and for a word that says what
//! became of the message. What isn't understood is kept as its [`shape`](shape()), for an operator to look at.

mod shape;

pub use shape::{SHAPE_BYTES_MAX, shape};

use crate::body::code_of;
use crate::provider_code::ProviderCode;
use regua_domain::folding::folded;
use regua_domain::ids::{AttemptId, LedgerId, MessageId};
use regua_domain::receipt::ReceiptStatus;
use serde_json::{Map, Value};

/// Values of one body that are looked at; the rest is not.
const VALUES_MAX: usize = 20_000;
/// A longer text is no status.
const STATUS_BYTES_MAX: usize = 64;
/// A longer text is no `metadata` that was made into text.
const METADATA_BYTES_MAX: usize = 4096;
/// A longer id is none of a message.
const PROVIDER_ID_BYTES_MAX: usize = 128;

/// Members that say what became of a message, the most telling first; compared without case and `_`.
const STATUS_FIELDS: [&str; 8] =
    ["statusenvio", "status", "messagestatus", "deliverystatus", "situacao", "event", "evento", "type"];
/// Members whose object is a message, so that its `_id` is the message's.
const MESSAGE_FIELDS: [&str; 4] = ["message", "mensagem", "messages", "mensagens"];
/// Words of Portuguese and English, folded, that say what became of a message.
const STATUS_WORDS: [(ReceiptStatus, &[&str]); 4] = [
    (ReceiptStatus::Sent, &["sent", "enviado", "enviada"]),
    (ReceiptStatus::Delivered, &["delivered", "entregue"]),
    (ReceiptStatus::Read, &["read", "seen", "lido", "lida", "visualizado", "visualizada"]),
    (
        ReceiptStatus::Failed,
        &[
            "failed",
            "failure",
            "error",
            "undelivered",
            "rejected",
            "falha",
            "falhou",
            "erro",
            "rejeitado",
            "rejeitada",
            "recusado",
            "recusada",
        ],
    ),
];
/// Words that turn the one after them round.
const NEGATIONS: [&str; 3] = ["not", "nao", "never"];

/// Which message an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The ids that a sending had in its `metadata`.
    Ours {
        /// The ledger that sent it.
        ledger: LedgerId,
        /// Its message.
        message: MessageId,
        /// Its attempt.
        attempt: Option<AttemptId>,
    },
    /// Only the provider's id of the message.
    Provider(String),
}

/// What a webhook says of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which message.
    pub about: About,
    /// The provider's id, where there is one.
    pub provider_id: Option<String>,
    /// What became of it; `None` where no word is understood.
    pub status: Option<ReceiptStatus>,
    /// The WhatsApp code of a failure.
    pub code: Option<ProviderCode>,
}

impl Event {
    /// The code of its failure: what [`ProviderCode::outcome`] says of it, it means as if the answer to the request had named it.
    pub fn failure(&self) -> Option<ProviderCode> {
        self.code.filter(|_| self.status == Some(ReceiptStatus::Failed))
    }
}

/// The messages that a webhook's body speaks of, in the body's order.
pub fn read(body: &Value) -> Vec<Event> {
    let mut walk = Walk { values_left: VALUES_MAX };
    walk.value("", body, true).into_iter().filter_map(Said::event).collect()
}

/// What a part of a body says of one message, as far as it goes.
#[derive(Clone, Debug, Default)]
struct Said {
    ours: Option<(LedgerId, MessageId, Option<AttemptId>)>,
    provider_id: Option<String>,
    status: Option<ReceiptStatus>,
    code: Option<ProviderCode>,
}

impl Said {
    const fn names_a_message(&self) -> bool {
        self.ours.is_some() || self.provider_id.is_some()
    }

    /// Takes from `other` what it doesn't say itself.
    fn complete_from(&mut self, other: &Self) {
        self.ours = self.ours.or(other.ours);
        if self.provider_id.is_none() {
            self.provider_id.clone_from(&other.provider_id);
        }
        self.complete_fate_from(other);
    }

    fn complete_fate_from(&mut self, other: &Self) {
        self.status = self.status.or(other.status);
        self.code = self.code.or(other.code);
    }

    fn event(self) -> Option<Event> {
        let about = match (self.ours, &self.provider_id) {
            (Some((ledger, message, attempt)), _) => About::Ours { ledger, message, attempt },
            (None, Some(id)) => About::Provider(id.clone()),
            (None, None) => return None,
        };
        Some(Event { about, provider_id: self.provider_id, status: self.status, code: self.code })
    }
}

struct Walk {
    values_left: usize,
}

impl Walk {
    /// What the value of a member `key` says; one entry for each message that it names, and those that name none beside them.
    fn value(&mut self, key: &str, value: &Value, reads_text: bool) -> Vec<Said> {
        let Some(left) = self.values_left.checked_sub(1) else { return Vec::new() };
        self.values_left = left;
        match value {
            Value::Object(members) => self.object(key, members, reads_text),
            Value::Array(elements) => elements.iter().flat_map(|element| self.value(key, element, reads_text)).collect(),
            // `metadata` may come back as the text of its JSON.
            Value::String(text) if reads_text && text.len() <= METADATA_BYTES_MAX && text.trim_start().starts_with('{') => {
                serde_json::from_str(text).map_or_else(|_| Vec::new(), |inner| self.value(key, &inner, false))
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => Vec::new(),
        }
    }

    fn object(&mut self, key: &str, members: &Map<String, Value>, reads_text: bool) -> Vec<Said> {
        let mut own = own(key, members);
        let inner: Vec<Said> = members.iter().flat_map(|(key, value)| self.value(key, value, reads_text)).collect();
        let (named, fates): (Vec<Said>, Vec<Said>) = inner.into_iter().partition(Said::names_a_message);
        // Of a history the last step: the words are declared in the order in which they come.
        if let Some(fate) = fates.iter().max_by_key(|fate| fate.status) {
            own.complete_fate_from(fate);
        }
        own.code = own.code.or(fates.iter().filter_map(|fate| fate.code).min());
        // Our ids may stand beside the message and not within it.
        let of_one = match named.as_slice() {
            [_] => true,
            [one, other] => {
                one.ours.is_some() != other.ours.is_some() && one.provider_id.is_some() != other.provider_id.is_some()
            }
            _ => false,
        };
        if of_one {
            for part in &named {
                own.complete_from(part);
            }
            return vec![own];
        }
        let mut said = named;
        if !own.names_a_message() {
            for one in &mut said {
                one.complete_fate_from(&own);
            }
            if !said.is_empty() {
                return said;
            }
        }
        said.push(own);
        said
    }
}

/// What an object's own members say, `key` being its name.
fn own(key: &str, members: &Map<String, Value>) -> Said {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let id = |name: &str| text(name).and_then(|text| text.parse().ok());
    let ours = id("ledger").zip(id("message"));
    let ours = ours.map(|(ledger, message)| (LedgerId(ledger), MessageId(message), id("attempt").map(AttemptId)));
    let is_message = MESSAGE_FIELDS.contains(&plain(key).as_str()) || members.contains_key("statusEnvio");
    let object_id = text("_id").filter(|id| is_message && is_object_id(id));
    let provider_id = text("messageSentId").filter(|id| is_token(id)).or(object_id);
    let status = STATUS_FIELDS.iter().find_map(|field| {
        let named = members.iter().filter(|(key, _)| plain(key) == *field);
        named.filter_map(|(_, value)| value.as_str()).find_map(status_of)
    });
    Said { ours, provider_id: provider_id.map(str::to_owned), status, code: code_of(members) }
}

/// A member's name without case and `_`.
fn plain(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// What became of a message, in the words of a status or an event's name: `delivered`, `MESSAGE_READ`, `messageSent`, `Não entregue`.
pub(crate) fn status_of(text: &str) -> Option<ReceiptStatus> {
    if text.len() > STATUS_BYTES_MAX {
        return None;
    }
    let words = words_of(text);
    let mut found = words.iter().filter_map(|word| STATUS_WORDS.iter().find(|(_, known)| known.contains(&word.as_str())));
    let (status, _) = found.next()?;
    if found.any(|(other, _)| other != status) {
        return None;
    }
    let is_negated = words.iter().any(|word| NEGATIONS.contains(&word.as_str()));
    match status {
        ReceiptStatus::Sent | ReceiptStatus::Delivered if is_negated => Some(ReceiptStatus::Failed),
        ReceiptStatus::Read | ReceiptStatus::Failed if is_negated => None,
        ReceiptStatus::Sent | ReceiptStatus::Delivered | ReceiptStatus::Read | ReceiptStatus::Failed => Some(*status),
    }
}

/// The words of a text, folded; `messageRead` has two.
fn words_of(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len() + 8);
    let mut was_small = false;
    for letter in text.chars() {
        if letter.is_uppercase() && was_small {
            spaced.push(' ');
        }
        was_small = letter.is_lowercase();
        spaced.push(if letter.is_alphanumeric() { letter } else { ' ' });
    }
    folded(&spaced).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether it has the form of a record's `_id` (contracts §1.1).
fn is_object_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether it has the form of an id that is kept.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=PROVIDER_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, StopReason};
    use serde_json::json;

    const LEDGER: &str = "0192f000-0000-7000-8000-000000000001";
    const MESSAGE: &str = "0192f000-0000-7000-8000-000000000002";
    const ATTEMPT: &str = "0192f000-0000-7000-8000-000000000003";
    const OPA_ID: &str = "65a1b2c3d4e5f60718293a4b";

    fn ours() -> About {
        About::Ours {
            ledger: LEDGER.parse().expect("an id"),
            message: MESSAGE.parse().expect("an id"),
            attempt: Some(ATTEMPT.parse().expect("an id")),
        }
    }

    fn metadata() -> Value {
        json!({ "ledger": LEDGER, "message": MESSAGE, "attempt": ATTEMPT })
    }

    #[track_caller]
    fn check(body: &Value, about: &About, status: Option<ReceiptStatus>) {
        let events = read(body);
        assert_eq!(events.len(), 1, "{body}: {events:?}");
        assert_eq!((&events[0].about, events[0].status), (about, status), "{body}");
    }

    #[test]
    fn our_ids_are_found_wherever_the_platform_puts_them() {
        let delivered = Some(ReceiptStatus::Delivered);
        for body in [
            json!({ "status": "delivered", "metadata": metadata() }),
            json!({ "event": "MESSAGE_DELIVERED", "data": { "messageSentId": OPA_ID, "metadata": metadata() } }),
            json!({ "status": "success", "data": { "message": { "_id": OPA_ID, "metadata": metadata(), "statusEnvio": { "status": "entregue" } } } }),
            json!({ "metadata": metadata(), "message": { "_id": OPA_ID, "statusEnvio": { "status": "delivered", "observacao": "" } } }),
            json!({ "metadata": metadata().to_string(), "Status_Envio": "Entregue" }),
            json!([{ "type": "message", "payload": [{ "custom": metadata(), "situacao": "ENTREGUE" }] }]),
            json!({ "metadata": metadata(), "history": [{ "status": "sent" }, { "status": "delivered" }] }),
        ] {
            check(&body, &ours(), delivered);
        }
    }

    #[test]
    fn without_our_ids_the_providers_stands_in() {
        let about = &About::Provider(OPA_ID.into());
        check(&json!({ "messageSentId": OPA_ID, "status": "read" }), about, Some(ReceiptStatus::Read));
        check(&json!({ "data": { "messageSentId": OPA_ID }, "status": "lida" }), about, Some(ReceiptStatus::Read));
        check(&json!({ "message": { "_id": OPA_ID }, "type": "message-read" }), about, Some(ReceiptStatus::Read));
        check(&json!({ "_id": OPA_ID, "statusEnvio": { "status": "sent" } }), about, Some(ReceiptStatus::Sent));
        check(&json!({ "messageSentId": OPA_ID, "event": "atendimento" }), about, None);
        for nothing in [
            json!({}),
            json!("delivered"),
            json!({ "status": "delivered" }),
            json!({ "cliente": { "_id": OPA_ID }, "status": "read" }),
            json!({ "message": { "_id": "Maria" }, "status": "read" }),
            json!({ "messageSentId": "with blanks and\u{0}", "status": "read" }),
            json!({ "metadata": { "ledger": LEDGER, "test": MESSAGE }, "status": "read" }),
        ] {
            assert_eq!(read(&nothing), [], "{nothing}");
        }
    }

    #[test]
    fn several_messages_in_one_body_keep_their_own_fates() {
        let other = "75a1b2c3d4e5f60718293a4b";
        let events = read(&json!({ "statuses": [
            { "messageSentId": OPA_ID, "status": "read" },
            { "messageSentId": other, "status": "failed", "errors": [{ "code": 131_026 }] },
        ] }));
        let fates: Vec<_> = events.iter().map(|event| (event.provider_id.as_deref(), event.status, event.code)).collect();
        assert_eq!(
            fates,
            [
                (Some(OPA_ID), Some(ReceiptStatus::Read), None),
                (Some(other), Some(ReceiptStatus::Failed), Some(ProviderCode::Undeliverable)),
            ]
        );
        let events = read(&json!({ "event": "read", "messages": [{ "_id": OPA_ID }, { "_id": other }] }));
        assert!(events.len() == 2 && events.iter().all(|event| event.status == Some(ReceiptStatus::Read)), "{events:?}");
    }

    #[track_caller]
    fn says(text: &str, expected: Option<ReceiptStatus>) {
        assert_eq!(status_of(text), expected, "{text}");
    }

    #[test]
    fn a_status_is_understood_in_both_languages_and_in_events_names() {
        for text in ["sent", "SENT", "enviado", "Enviada", "message.sent", "messageSent"] {
            says(text, Some(ReceiptStatus::Sent));
        }
        for text in ["delivered", "Entregue", "MESSAGE_DELIVERED"] {
            says(text, Some(ReceiptStatus::Delivered));
        }
        for text in ["read", "lido", "LIDA", "visualizada", "mensagem lida"] {
            says(text, Some(ReceiptStatus::Read));
        }
        for text in ["failed", "Falha no envio", "erro", "não entregue", "not delivered", "nao enviado", "undelivered"] {
            says(text, Some(ReceiptStatus::Failed));
        }
        let nothing = ["", "success", "não lida", "sent and delivered", "EA", "already", "spread", "Atendimento Movimentado"];
        for text in nothing.iter().copied().chain([&*"read ".repeat(20)]) {
            says(text, None);
        }
    }

    #[test]
    fn a_failures_code_means_what_it_means_in_an_answer() {
        let failure = |said: &str| json!({ "metadata": metadata(), "statusEnvio": { "status": "failed", "observacao": said } });
        let outcome = |body: &Value| read(body).remove(0).failure().map(|code| code.outcome(None));
        let stop = Outcome::Stop { why: StopReason::SpamLimited };
        assert_eq!(outcome(&failure("(#131048) Spam rate limit hit")), Some(stop));
        assert_eq!(outcome(&failure("sem código")), None);
        let sent = json!({ "metadata": metadata(), "status": "sent", "code": 131_048 });
        assert_eq!(outcome(&sent), None, "only a failure has a cause");
    }

    #[test]
    fn a_body_of_any_size_is_looked_at_to_a_bound() {
        let many = Value::Array(vec![json!({ "a": [1, 2, 3] }); VALUES_MAX]);
        let mut walk = Walk { values_left: VALUES_MAX };
        walk.value("", &many, true);
        assert_eq!(walk.values_left, 0);
    }
}
