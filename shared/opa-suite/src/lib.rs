//! The HTTP client of Opa! Suite: sends one template to one contact, lists what an operator configures, and reads what its [`webhook`] tells.
//!
//! Wire facts come from the contracts file (§1 Opa! Suite, §3.1 the WhatsApp codes that it relays). There is no idempotency key, so
//! what one answer means decides whether a person is written to twice. That decision is one pure function, [`classify()`]:
//!
//! | what happened | [`Outcome`] |
//! |---|---|
//! | DNS, connect or TLS failed, or the connection closed before the request was begun | `NotSent`: retry, costs an attempt |
//! | reset, time-out or end of stream without an answer; an answer that is cut, too large or not HTTP | `Doubt` |
//! | 2xx with `status: "success"` and `data.messageSentId` | `Accepted` |
//! | 2xx with one of the two error shapes | as the same error with its own status, 400 if it names none |
//! | any other 2xx: HTML, empty, no `messageSentId` | `Doubt` |
//! | 408, 500, 502, 504, any other 5xx, 1xx, 600 and above; a refusal that carries a `messageSentId` or says success | `Doubt` |
//! | 503 (by a switch of the integration `Doubt`), 429, 130429, 131056, 80007 | `Throttled`: wait `Retry-After`, no attempt used |
//! | 400 "já está em atendimento" | `ContactInService`: defer, no attempt used |
//! | 3xx, 401, 403; 402, 405, 406, 407, 410, 415, 421, 426, which refuse every request alike | `Stop` of the integration |
//! | 404 whose text is about a template, 132001, 132015, 132016 | `Stop` of the template |
//! | any other 404, 131048 | `Stop` of the channel |
//! | 368, 131031 | `Stop` of the business |
//! | 400 of any other kind, 413, 422, any other 4xx, 132000, 132012, 132018, 131026, 131047, 131049, 131050 | `Rejected` |
//!
//! A WhatsApp code is more precise than the HTTP status that carries it, so it decides wherever the status already proves a refusal
//! (4xx, 503, a 2xx with an error shape), and never where it doesn't (408, other 5xx) or where nobody reads a body (3xx). Of several codes
//! the one with the widest stop wins.
//!
//! The client follows no redirect, repeats no request that was begun, uses no proxy, and drops connections idle for
//! [`POOL_IDLE_TIMEOUT`]. It writes no log: an answer's text can echo a person's name, so only closed reasons and codes leave this crate.

mod base_url;
mod body;
mod classify;
mod client;
mod conversation;
mod list;
mod outcome;
mod provider_code;
mod retry_after;
mod template_send;
mod timely;
pub mod webhook;

pub use base_url::BaseUrl;
pub use classify::{Body, Classified, Cut, HttpAnswer, classify};
pub use client::{
    Answer, BuildError, CONNECT_TIMEOUT, LIST_BODY_BYTES_MAX, OpaClient, OpaClientConfig, POOL_IDLE_TIMEOUT,
    POOL_MAX_IDLE_PER_HOST, REQUEST_TIMEOUT, SEND_BODY_BYTES_MAX,
};
pub use conversation::{Conversation, Conversations};
pub use list::{Channel, DailyAllowance, LIST_PAGE_ROWS, LIST_PAGES_MAX, List, ListError, Template};
pub use outcome::{NotSentReason, Outcome, StopCheck, StopReason, ThrottleReason};
pub use provider_code::ProviderCode;
pub use retry_after::{RETRY_AFTER_MAX, retry_after};
pub use template_send::SendTemplate;
pub use timely::TooLate;
