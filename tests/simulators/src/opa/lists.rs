//! Lists: `GET` with `{filter, options{skip, limit}}` in the body, and their envelope (contracts §1.1, §1.2).

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::order::described_error;
use crate::exchange::{Answer, Request};

/// `options.limit` saturates here, and a list without options gives so many (contracts §1.2).
pub(crate) const PAGE_MAX: usize = 1000;

/// What a list was asked for.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub filter: Map<String, Value>,
    pub skip: usize,
    pub limit: usize,
}

impl ListQuery {
    /// Reads the body of a list; none at all means everything from the beginning.
    ///
    /// # Errors
    /// The answer for a body that isn't JSON of this form: how Opa! Suite words it is unknown, the second error shape is used.
    pub fn read(request: &Request) -> Result<Self, Answer> {
        if request.body.is_empty() {
            return Ok(Self { filter: Map::new(), skip: 0, limit: PAGE_MAX });
        }
        let bad = |what: &str| described_error(StatusCode::BAD_REQUEST, what);
        if !is_json(request) {
            return Err(bad("Content-Type must be application/json."));
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| bad("The body is not JSON."))?;
        let filter = match &body["filter"] {
            Value::Null => Map::new(),
            Value::Object(filter) => filter.clone(),
            _ => return Err(bad("filter must be an object.")),
        };
        let number = |name: &str, default: usize| match &body["options"][name] {
            Value::Null => Ok(default),
            value => value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| bad(&format!("options.{name} must be a number."))),
        };
        Ok(Self { skip: number("skip", 0)?, limit: number("limit", PAGE_MAX)?.min(PAGE_MAX), filter })
    }

    /// Whether a record has every filtered member, exactly (contracts §1.2: no partial match).
    pub fn matches(&self, record: &Value) -> bool {
        self.filter.iter().all(|(member, wanted)| record.get(member) == Some(wanted))
    }

    /// The page of `records` asked for.
    pub fn page(&self, records: impl Iterator<Item = Value>) -> Answer {
        success(&records.filter(|record| self.matches(record)).skip(self.skip).take(self.limit).collect())
    }
}

/// Bodies are JSON (contracts §1.1); another content type is not parsed.
pub(crate) fn is_json(request: &Request) -> bool {
    request.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("application/json"))
}

/// The success envelope (contracts §1.2).
pub(crate) fn success(data: &Value) -> Answer {
    Answer::ok(&json!({ "status": "success", "code": 200, "data": data }))
}
