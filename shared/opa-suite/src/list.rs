//! The lists that an operator chooses from: channels, templates, the daily allowance (contracts §1.3, §1.4).

use crate::{
    body::{Content, says_success, whole_number},
    classify::{Body, Cut, HttpAnswer},
    client::OpaClient,
    retry_after::retry_after,
};
use regua_domain::variables;
use serde_json::{Value, json};
use std::{collections::HashSet, fmt, time::Duration};
use thiserror::Error;
use url::Url;

/// Rows asked for at once; Opa! Suite gives no more than these (contracts §1.2).
pub const LIST_PAGE_ROWS: usize = 1000;
/// Pages read of one list: more than 20,000 channels or templates are no real installation.
pub const LIST_PAGES_MAX: usize = 20;

/// No channel sends more in a day: a greater allowance is no number of messages.
const ALLOWANCE_MAX: i64 = 1_000_000_000;

/// A list of Opa! Suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `GET /canal-comunicacao/`
    Channels,
    /// `GET /canal-comunicacao/:id/template`
    ChannelTemplates,
    /// `GET /canal-comunicacao/:id/template/limites-diarios-envio`
    DailyAllowance,
    /// `GET /template`
    Templates,
    /// `GET /atendimento`
    Conversations,
    /// `GET /atendimento/mensagem`
    ConversationMessages,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channels => "the channels",
            Self::ChannelTemplates => "the channel's templates",
            Self::DailyAllowance => "the channel's daily allowance",
            Self::Templates => "the templates",
            Self::Conversations => "the talks with customers",
            Self::ConversationMessages => "what was said in a talk",
        })
    }
}

/// One number or account through which messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// `_id`, 24 hexadecimal digits.
    pub id: String,
    /// `nome`; empty if absent.
    pub name: String,
    /// Whether `status` is `A`.
    pub is_active: bool,
    /// `canal`: `Whatsapp`, `Telegram`, …; the case differs between resources. Empty if absent.
    pub medium: String,
}

impl Channel {
    /// Whether it is a WhatsApp number.
    pub fn is_whatsapp(&self) -> bool {
        self.medium.eq_ignore_ascii_case("whatsapp")
    }
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `_id`, 24 hexadecimal digits.
    pub id: String,
    /// `atalho`, the name that people see; empty if absent.
    pub name: String,
    /// `texto`, with its placeholders; empty if absent.
    pub text: String,
}

impl Template {
    /// The number of variables that the text expects; see [`variables::placeholders`].
    pub fn placeholders(&self) -> usize {
        variables::placeholders(&self.text)
    }

    /// Whether a name or number stands in more than one placeholder: a warning is due, see [`variables::placeholders`].
    pub fn repeats_a_placeholder(&self) -> bool {
        variables::repeats_a_placeholder(&self.text)
    }
}

/// How much a channel may still send today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyAllowance {
    /// `messagesSent`
    pub sent: u64,
    /// `dailyLimit`
    pub limit: u64,
    /// `availableAmount`; 0 if more was sent than allowed.
    pub available: u64,
}

impl DailyAllowance {
    /// The allowance of three numbers that agree; `None` for what can't be: less than nothing, more available than allowed, or less than nothing
    /// available although not more was sent than allowed.
    fn of(sent: i64, limit: i64, available: i64) -> Option<Self> {
        if sent < 0 || limit < 0 || available > limit || limit > ALLOWANCE_MAX || (available < 0 && sent <= limit) {
            return None;
        }
        Some(Self { sent: sent.unsigned_abs(), limit: limit.unsigned_abs(), available: available.max(0).unsigned_abs() })
    }
}

/// Why a list can't be had. No text of the provider is repeated.
#[derive(Debug, Error)]
pub enum ListError {
    /// No connection, no answer, or not all of it.
    #[error("Opa! Suite didn't answer when asked for {list}; check the integration's url and the network")]
    Unreachable {
        /// What was asked for.
        list: List,
        /// What failed; `None` if the answer was cut.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// 401 or 403.
    #[error(
        "Opa! Suite refuses the token with {status} when asked for {list}; \
         check what token_env or token_file holds, and that its user has a profile of type API"
    )]
    Unauthorized {
        /// What was asked for.
        list: List,
        /// 401 or 403.
        status: u16,
    },
    /// 3xx, the way to the login page.
    #[error(
        "Opa! Suite redirects with {status} when asked for {list}; check that the integration's url ends in /api/v1, and the token"
    )]
    Redirected {
        /// What was asked for.
        list: List,
        /// The HTTP status.
        status: u16,
    },
    /// 404.
    #[error(
        "Opa! Suite doesn't find {list}; check the channel's id (24 hexadecimal digits, not identificadorCanal) and the integration's url"
    )]
    NotFound {
        /// What was asked for.
        list: List,
    },
    /// 429 or 503.
    #[error("Opa! Suite answers {status} when asked for {list}; ask again later")]
    Throttled {
        /// What was asked for.
        list: List,
        /// The HTTP status.
        status: u16,
        /// What the answer asks for.
        retry_after: Option<Duration>,
    },
    /// Any other status, or an error object.
    #[error("Opa! Suite answers with error {status} when asked for {list}; ask again later, or the vendor's support")]
    Refused {
        /// What was asked for.
        list: List,
        /// The HTTP status, or the one that the error object names.
        status: u16,
    },
    /// A 2xx that isn't the list.
    #[error("Opa! Suite's answer for {list} can't be understood: {what}; check that the integration's url ends in /api/v1")]
    Unparsable {
        /// What was asked for.
        list: List,
        /// The field that is missing or of another type.
        what: &'static str,
    },
    /// More than is read.
    #[error("Opa! Suite's answer for {list} is longer than {bytes_max} bytes; check that the integration's url is Opa! Suite's")]
    TooLarge {
        /// What was asked for.
        list: List,
        /// The most that is read.
        bytes_max: usize,
    },
    /// More pages than are read.
    #[error("Opa! Suite has more than {LIST_PAGES_MAX} pages of {list}; remove what is no longer used")]
    TooManyPages {
        /// What was asked for.
        list: List,
    },
}

impl OpaClient {
    /// Every channel, of whatever kind and status, in the provider's order.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn channels(&self) -> Result<Vec<Channel>, ListError> {
        let url = self.base_url().resource(&["canal-comunicacao", ""]);
        self.rows(List::Channels, &url, |id, row| Channel {
            id,
            name: text(row, "nome"),
            is_active: text(row, "status").eq_ignore_ascii_case("A"),
            medium: text(row, "canal"),
        })
        .await
    }

    /// The templates that can be sent through a channel.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn channel_templates(&self, channel_id: &str) -> Result<Vec<Template>, ListError> {
        let url = self.base_url().resource(&["canal-comunicacao", channel_id, "template"]);
        self.rows(List::ChannelTemplates, &url, template).await
    }

    /// Every template, of whatever channel.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn templates(&self) -> Result<Vec<Template>, ListError> {
        let url = self.base_url().resource(&["template"]);
        self.rows(List::Templates, &url, template).await
    }

    /// How much a channel may still send today; `None` if it has no limit, which is an empty object (contracts §1.4).
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn daily_allowance(&self, channel_id: &str) -> Result<Option<DailyAllowance>, ListError> {
        const LIST: List = List::DailyAllowance;
        let url = self.base_url().resource(&["canal-comunicacao", channel_id, "template", "limites-diarios-envio"]);
        let data = self.data(LIST, url, &json!({}), 0).await?;
        let fields = data.as_object().ok_or(ListError::Unparsable { list: LIST, what: "data is not an object" })?;
        if fields.is_empty() {
            return Ok(None);
        }
        let count =
            |field: &str, what| fields.get(field).and_then(whole_number).ok_or(ListError::Unparsable { list: LIST, what });
        let sent = count("messagesSent", "messagesSent is not a number")?;
        let limit = count("dailyLimit", "dailyLimit is not a number")?;
        let available = count("availableAmount", "availableAmount is not a number")?;
        DailyAllowance::of(sent, limit, available)
            .map(Some)
            .ok_or(ListError::Unparsable { list: LIST, what: "its numbers contradict each other" })
    }

    /// All pages of a list. A page shorter than asked for is the last, and so is one that brings nothing new: the server ignores `skip`.
    async fn rows<T>(&self, list: List, url: &Url, row: impl Fn(String, &Value) -> T) -> Result<Vec<T>, ListError> {
        let mut rows = Vec::new();
        let mut ids = HashSet::new();
        let mut skip = 0;
        for _ in 0..LIST_PAGES_MAX {
            let page = self.page(list, url, &json!({}), skip).await?;
            let known = ids.len();
            for record in &page {
                let id = record.get("_id").and_then(Value::as_str).filter(|id| !id.is_empty());
                let id = id.ok_or(ListError::Unparsable { list, what: "a record has no _id" })?.to_owned();
                if ids.insert(id.clone()) {
                    rows.push(row(id, record));
                }
            }
            if page.len() < LIST_PAGE_ROWS || ids.len() == known {
                return Ok(rows);
            }
            skip += page.len();
        }
        Err(ListError::TooManyPages { list })
    }

    /// The records of one page.
    pub(crate) async fn page(&self, list: List, url: &Url, filter: &Value, skip: usize) -> Result<Vec<Value>, ListError> {
        match self.data(list, url.clone(), filter, skip).await? {
            Value::Array(records) => Ok(records),
            _ => Err(ListError::Unparsable { list, what: "data is not a list" }),
        }
    }

    /// The `data` of one answer.
    async fn data(&self, list: List, url: Url, filter: &Value, skip: usize) -> Result<Value, ListError> {
        let body = json!({ "filter": filter, "options": { "skip": skip, "limit": LIST_PAGE_ROWS } }).to_string();
        match self.get(url, body.into_bytes()).await {
            Ok(answer) => data_of(list, &answer, self.list_body_bytes_max()),
            Err(source) => Err(ListError::Unreachable { list, source: Some(source.without_url()) }),
        }
    }
}

fn data_of(list: List, answer: &HttpAnswer, bytes_max: usize) -> Result<Value, ListError> {
    let throttled = |status| ListError::Throttled { list, status, retry_after: retry_after(&answer.headers) };
    let failed = |status| match status {
        300..=399 => ListError::Redirected { list, status },
        401 | 403 => ListError::Unauthorized { list, status },
        404 => ListError::NotFound { list },
        429 | 503 => throttled(status),
        _ => ListError::Refused { list, status },
    };
    if !(200..=299).contains(&answer.status) {
        return Err(failed(answer.status));
    }
    let bytes = match &answer.body {
        Body::Whole(bytes) => bytes,
        Body::Cut(Cut::TooLarge) => return Err(ListError::TooLarge { list, bytes_max }),
        Body::Cut(Cut::Lost | Cut::TimedOut) => return Err(ListError::Unreachable { list, source: None }),
    };
    let content = Content::read(bytes);
    if let Some(status) = content.error_status() {
        return Err(failed(status));
    }
    match content {
        Content::Json(mut value) if says_success(&value) => match value.get_mut("data") {
            Some(data) => Ok(data.take()),
            None => Err(ListError::Unparsable { list, what: "data is missing" }),
        },
        Content::Json(_) => Err(ListError::Unparsable { list, what: "status is not success" }),
        Content::Text(_) | Content::Meaningless => Err(ListError::Unparsable { list, what: "it is not JSON" }),
    }
}

fn template(id: String, row: &Value) -> Template {
    Template { id, name: text(row, "atalho"), text: text(row, "texto") }
}

/// A text that may be absent or null.
pub(crate) fn text(row: &Value, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, placeholders: usize, repeats: bool) {
        let template = Template { id: "b1c2d3e4f5a60718293a4b5c".into(), name: String::new(), text: text.into() };
        assert_eq!((template.placeholders(), template.repeats_a_placeholder()), (placeholders, repeats), "{text}");
    }

    #[test]
    fn placeholders_are_counted_by_appearance() {
        check("Olá {{1}}! Sua fatura com valor {{2}} e com data de vencimento {{3}} já se encontra disponível.", 3, false);
        check("Olá {{nome_cliente}}, sua fatura de {{ valor }} vence em {{vencimento}}.", 3, false);
        check("{{1}}{{nome}}", 2, false);
        check("Sem variáveis", 0, false);
        check("", 0, false);
    }

    #[test]
    fn a_repeated_name_counts_twice_and_a_repeated_number_once() {
        check("{{nome}}, {{nome}}", 2, true);
        check("{{1}} e {{ 1 }} e {{2}}", 2, true);
    }

    #[test]
    fn braces_that_hold_nothing_are_text() {
        check("{{}} {{ }} {x} {{aberto", 0, false);
        check("{{{1}}} {{ {{2}} }}", 2, false);
    }

    #[test]
    fn a_channel_is_whatsapp_in_either_case() {
        let channel = |medium: &str| Channel { id: String::new(), name: String::new(), is_active: true, medium: medium.into() };
        assert!(channel("Whatsapp").is_whatsapp() && channel("whatsapp").is_whatsapp() && !channel("Telegram").is_whatsapp());
    }
}
