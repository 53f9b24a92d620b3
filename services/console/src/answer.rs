//! Why a call is not taken, each with its status: a closed set, which is counted by name.

use crate::config::{AGAIN_AFTER_S, BODY_BYTES_MAX, BODY_TIME_MAX};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a call is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody of this name has a secret here.
    UnknownCaller,
    /// The call has no secret.
    NoSecret,
    /// The call has another secret.
    WrongSecret,
    /// The body is too long.
    TooLarge,
    /// The body takes too long to come.
    TooSlow,
    /// The body ended before its end.
    Broken,
    /// The body is no JSON.
    NotJson,
    /// The body is JSON of another form, which is said.
    Malformed(String),
    /// Too many calls wait, or the ledger doesn't take it now.
    NotNow,
}

impl Refusal {
    /// The name in metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCaller => "unknown_caller",
            Self::NoSecret => "no_secret",
            Self::WrongSecret => "wrong_secret",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::NotJson => "not_json",
            Self::Malformed(_) => "malformed",
            Self::NotNow => "not_now",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownCaller | Self::NoSecret | Self::WrongSecret => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::NotJson | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotNow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the caller reads: of the three that say who may call, one text.
    fn text(&self) -> String {
        match self {
            Self::UnknownCaller | Self::NoSecret | Self::WrongSecret => {
                "not authorised: send the webhook's secret as `Authorization: Bearer SECRET` or `X-Regua-Secret: SECRET`".into()
            }
            Self::TooLarge => format!("the body is longer than {BODY_BYTES_MAX} bytes, or tells of too much at once"),
            Self::TooSlow => format!("the body took longer than {} s", BODY_TIME_MAX.as_secs()),
            Self::Broken => "the body ended before its end".into(),
            Self::NotJson => "the body is no JSON".into(),
            Self::Malformed(why) => why.clone(),
            Self::NotNow => "not now: try again".into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "error": self.text() }))).into_response();
        let hint = match self.status() {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, AGAIN_AFTER_S)),
            _ => None,
        };
        if let Some((name, value)) = hint {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        // What is left of a body that was not read is not waited for.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
