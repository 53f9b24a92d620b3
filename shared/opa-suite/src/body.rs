//! What the body of an answer says, reduced to closed facts. Its text is searched and dropped: it can echo a person's name.

use crate::provider_code::ProviderCode;
use regua_domain::folding::folded;
use serde_json::{Map, Value};

/// A body, as far as it can be understood.
pub(crate) enum Content {
    /// JSON in UTF-8.
    Json(Value),
    /// Other text, in lower case and without accents.
    Text(String),
    /// Nothing, or a page for a browser, in which nothing is looked for.
    Meaningless,
}

impl Content {
    /// Reads a whole body. Text that isn't UTF-8 is read as Latin-1; JSON must be UTF-8.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        if let Ok(value) = serde_json::from_slice(bytes) {
            return Self::Json(value);
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => folded(text),
            Err(_) => folded(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
        };
        let text = text.trim();
        if text.is_empty() || text.starts_with('<') { Self::Meaningless } else { Self::Text(text.to_owned()) }
    }

    /// The provider's id of a message it took: `status` is success and `data.messageSentId` is usable (contracts §1.5).
    pub(crate) fn accepted_id(&self) -> Option<&str> {
        let Self::Json(value) = self else { return None };
        if says_success(value) { provider_id(value.get("data")?) } else { None }
    }

    /// Whether it says, at least by half, that a message was taken. In a refusal that is a contradiction.
    pub(crate) fn claims_acceptance(&self) -> bool {
        let Self::Json(value) = self else { return false };
        let carries_an_id = |part: &Value| part.get("messageSentId").is_some_and(|id| !id.is_null());
        says_success(value) || carries_an_id(value) || value.get("data").is_some_and(carries_an_id)
    }

    /// The HTTP status of the error that an answer with a 2xx carries, if it is one of the two error shapes (contracts §1.2).
    ///
    /// `{"status":"error","code":400,…}` names its status; of `{"error":"NOT_FOUND_ERROR",…}` that one name was seen, and a name that
    /// begins with INTERNAL is taken for a 500, which proves nothing. Every other error counts as a 400.
    pub(crate) fn error_status(&self) -> Option<u16> {
        let Self::Json(value) = self else { return None };
        let name = value.get("error").and_then(Value::as_str).unwrap_or_default();
        let says_error = value.get("status").and_then(Value::as_str).is_some_and(|status| status.eq_ignore_ascii_case("error"));
        let carries_an_error =
            !name.is_empty() || value.get("error").is_some_and(|error| error.is_object() || error == &Value::Bool(true));
        if !says_error && !carries_an_error {
            return None;
        }
        let stated = value.get("code").and_then(whole_number).and_then(|code| u16::try_from(code).ok());
        Some(match stated {
            Some(status @ (300..=367 | 369..=599)) => status,
            _ if name == "NOT_FOUND_ERROR" => 404,
            _ if name.starts_with("INTERNAL") => 500,
            _ => 400,
        })
    }

    /// The WhatsApp code that it names: in a field of its own before one in a text.
    pub(crate) fn code(&self) -> Option<ProviderCode> {
        let stated = self.numbers().into_iter().filter_map(ProviderCode::from_number).min();
        stated.or_else(|| self.texts().iter().filter_map(|text| ProviderCode::in_text(text)).min())
    }

    /// The number of a code for the attempt's record: a known code, or whatever code field holds more than an HTTP status.
    pub(crate) fn code_number(&self) -> Option<u32> {
        let unknown = || self.numbers().into_iter().find(|number| *number >= SMALLEST_UNKNOWN_CODE);
        self.code().map(ProviderCode::number).or_else(unknown)
    }

    /// Whether it says that the contact is in service: *Este contato já está em atendimento com …* (contracts §1.2). The API has no
    /// code for it, so the words must do.
    pub(crate) fn says_in_service(&self) -> bool {
        self.texts().iter().any(|text| text.contains("ja esta em atendimento"))
    }

    /// Whether the first thing that its texts name is a template, not a channel: which of the two a 404 didn't find.
    pub(crate) fn is_about_a_template(&self) -> bool {
        let first = |text: &str, words: [&str; 2]| words.iter().filter_map(|word| text.find(word)).min();
        self.texts().iter().any(|text| match (first(text, ["template", "modelo"]), first(text, ["channel", "canal"])) {
            (Some(template), Some(channel)) => template < channel,
            (Some(_), None) => true,
            (None, _) => false,
        })
    }

    fn numbers(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        if let Self::Json(value) = self {
            each_field(value, &mut |key, field| {
                if CODE_FIELDS.contains(&key) {
                    numbers.extend(whole_number(field).and_then(|number| u32::try_from(number).ok()));
                }
            });
        }
        numbers
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Self::Meaningless => vec![],
            Self::Text(text) => vec![text.clone()],
            Self::Json(value) => {
                let mut texts = Vec::new();
                each_field(value, &mut |key, field| {
                    if TEXT_FIELDS.contains(&key)
                        && let Some(text) = field.as_str()
                    {
                        texts.push(folded(text));
                    }
                });
                texts
            }
        }
    }
}

/// Fields that hold a code, at any depth: Opa! Suite's own and those of the WhatsApp errors it relays.
const CODE_FIELDS: [&str; 3] = ["code", "errorCode", "error_code"];

/// Fields that hold words about an error, at any depth. Others, such as an echo of what was sent, are not searched.
const TEXT_FIELDS: [&str; 12] = [
    "message",
    "description",
    "error",
    "errors",
    "error_data",
    "error_user_msg",
    "title",
    "details",
    "detail",
    "reason",
    "mensagem",
    "observacao",
];

/// The WhatsApp code that an object's own members name, in a field of its own before one in a text.
pub(crate) fn code_of(members: &Map<String, Value>) -> Option<ProviderCode> {
    let of = |fields: &[&str]| -> Vec<&Value> { fields.iter().filter_map(|field| members.get(*field)).collect() };
    let number = |value: &Value| ProviderCode::from_number(u32::try_from(whole_number(value)?).ok()?);
    let stated = of(&CODE_FIELDS).into_iter().filter_map(number).min();
    let said = |value: &Value| ProviderCode::in_text(&folded(value.as_str()?));
    stated.or_else(|| of(&TEXT_FIELDS).into_iter().filter_map(said).min())
}

/// Smaller numbers in a code field repeat the HTTP status.
const SMALLEST_UNKNOWN_CODE: u32 = 1000;

/// More is no id of a message; those seen have 24 characters.
const PROVIDER_ID_BYTES_MAX: usize = 200;

/// A whole number, also where it is written as text.
pub(crate) fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whether the envelope says that the request was done (contracts §1.2).
pub(crate) fn says_success(value: &Value) -> bool {
    value.get("status").and_then(Value::as_str).is_some_and(|status| status.eq_ignore_ascii_case("success"))
}

fn provider_id(data: &Value) -> Option<&str> {
    let id = data.get("messageSentId")?.as_str()?;
    let usable = !id.is_empty() && id.len() <= PROVIDER_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then_some(id)
}

/// Calls `visit` with each field of each object in `value`. An element of an array counts under the array's name.
fn each_field(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    fn walk(key: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, field)| walk(key, field, visit)),
            Value::Array(elements) => elements.iter().for_each(|element| walk(key, element, visit)),
            scalar => visit(key, scalar),
        }
    }
    walk("", value, visit);
}
