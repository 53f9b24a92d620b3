//! One request as read, one answer as meant: what the two products' handlers see of HTTP.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::spill::LogBytes;

/// A request that was read to its end.
#[derive(Debug)]
pub(crate) struct Request {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Microseconds since 1970, taken when the last byte of the body was read.
    pub received_at_us: i64,
    /// What the client will see of the answer, if a fault after the acceptance replaces it.
    pub replaced_by: Option<&'static str>,
}

impl Request {
    /// A header's text; `None` also if it isn't visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What to send back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Whole(Bytes),
    /// Streamed from the spilled log.
    Log(LogBytes),
}

impl Answer {
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, headers, payload: Payload::Whole(body.into()) }
    }

    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("values with text keys always become JSON");
        Self::new(status, "application/json; charset=utf-8", body)
    }

    pub fn ok(value: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, value)
    }

    pub fn html(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    pub fn log(bytes: LogBytes) -> Self {
        let headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
        Self { status: StatusCode::OK, headers, payload: Payload::Log(bytes) }
    }

    /// The admin routes' own refusal: what was wrong, in words.
    pub fn refused(why: impl std::fmt::Display) -> Self {
        Self::json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": why.to_string() }))
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Reads an admin body, which is JSON.
///
/// # Errors
/// The answer to give when it is not JSON, or not of this form.
pub(crate) fn admin_json<T: DeserializeOwned>(request: &Request) -> Result<T, Answer> {
    let value: Value =
        serde_json::from_slice(&request.body).map_err(|error| Answer::refused(format_args!("the body is not JSON: {error}")))?;
    serde_json::from_value(value).map_err(Answer::refused)
}
