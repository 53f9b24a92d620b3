//! What an answer means: design.md's table as one pure function.

use crate::{
    body::Content,
    outcome::{Outcome, StopReason, ThrottleReason},
    retry_after::retry_after,
};
use http::HeaderMap;
use regua_domain::message::{DoubtReason, FailReason};

/// An HTTP answer whose head was read whole.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The HTTP status, 100 to 999.
    pub status: u16,
    /// The answer's headers; `Retry-After` and `Date` are read.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Body,
}

/// The body of an answer, at most as long as the caller allows.
#[derive(Clone)]
pub enum Body {
    /// Read to its end.
    Whole(Vec<u8>),
    /// Not read to its end.
    Cut(Cut),
}

impl std::fmt::Debug for Body {
    /// Without the text, which can echo a person's name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Cut(cut) => write!(f, "Cut({cut:?})"),
        }
    }
}

/// Why a body wasn't read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection broke, or ended before the length that was announced.
    Lost,
    /// The time for the request ran out.
    TimedOut,
    /// It is longer than is read.
    TooLarge,
}

impl Cut {
    const fn doubt(self) -> DoubtReason {
        match self {
            Self::Lost => DoubtReason::ConnectionLost,
            Self::TimedOut => DoubtReason::TimedOut,
            Self::TooLarge => DoubtReason::UnreadableAnswer,
        }
    }
}

/// An answer's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What follows.
    pub outcome: Outcome,
    /// The WhatsApp code that the answer names, known or not; for the attempt's record.
    pub provider_code: Option<u32>,
}

/// What an answer to `POST /template/send` means.
///
/// | status | body | outcome |
/// |---|---|---|
/// | 2xx | `status: "success"` and `data.messageSentId` | accepted |
/// | 2xx | one of the two error shapes | as the same error with its own status, 400 if it names none |
/// | 2xx | anything else: HTML, empty, cut, no id | doubt |
/// | 1xx, 408, 5xx other than 503, 600 and above | whatever | doubt |
/// | 503 where `service_unavailable_is_doubt` | whatever | doubt |
/// | 3xx | whatever | the integration stops |
/// | 4xx, 503 | says success or carries a `messageSentId` | doubt: it contradicts itself |
/// | 400 | "já está em atendimento" | contact in service |
/// | 4xx, 503 | 368, 131031 / 131048 / 132001, 132015, 132016 | the business / channel / template stops |
/// | 4xx, 503 | 130429, 131056, 80007 | throttled |
/// | 4xx, 503 | 132000, 132012, 132018, 131026, 131047, 131049, 131050 | rejected |
/// | 503, 429 | any other, also cut | throttled |
/// | 401, 403, 402, 405, 406, 407, 410, 415, 421, 426 | any other, also cut | the integration stops |
/// | 413 | any other, also cut | rejected |
/// | 400, 404, 422, other 4xx | cut | doubt: what tells the rows apart is missing |
/// | 404 | any other | the template stops if the text is about it, else the channel |
/// | 400, 422, other 4xx | any other | rejected |
///
/// A 4xx proves that nothing was sent (failure schedule F23), so its body needs not be understood; the row of a status alone applies then.
pub fn classify(answer: &HttpAnswer, service_unavailable_is_doubt: bool) -> Classified {
    let content = match &answer.body {
        Body::Whole(bytes) => Ok(Content::read(bytes)),
        Body::Cut(cut) => Err(*cut),
    };
    let provider_code = match (answer.status, &content) {
        (300..=399, _) | (_, Err(_)) => None,
        (_, Ok(content)) => content.code_number(),
    };
    let outcome = match (answer.status, content) {
        (200..=299, Err(cut)) => doubt(cut.doubt()),
        (200..=299, Ok(content)) => match (content.accepted_id(), content.error_status()) {
            (Some(id), _) => return accepted(id),
            (None, Some(status)) => error(status, Ok(&content), answer, service_unavailable_is_doubt),
            (None, None) => doubt(DoubtReason::UnreadableAnswer),
        },
        (status, content) => error(status, content.as_ref().map_err(|cut| *cut), answer, service_unavailable_is_doubt),
    };
    Classified { outcome, provider_code }
}

fn accepted(provider_id: &str) -> Classified {
    Classified { outcome: Outcome::Accepted { provider_id: provider_id.to_owned() }, provider_code: None }
}

/// The meaning of an error with `status`, which the HTTP answer has or the body of a 2xx names.
fn error(status: u16, content: Result<&Content, Cut>, answer: &HttpAnswer, service_unavailable_is_doubt: bool) -> Outcome {
    match status {
        408 => doubt(DoubtReason::ServerError),
        503 if service_unavailable_is_doubt => doubt(DoubtReason::ServerError),
        300..=399 => by_status(status, content.ok(), answer),
        400..=499 | 503 => match content {
            Ok(content) => refusal(status, content, answer),
            Err(cut) if needs_its_body(status) => doubt(cut.doubt()),
            Err(_) => by_status(status, None, answer),
        },
        500..=599 => doubt(DoubtReason::ServerError),
        _ => doubt(DoubtReason::UnreadableAnswer),
    }
}

/// The meaning of a 4xx or 503 whose body was read. The words come before the codes, for they can hold an attendant's name.
fn refusal(status: u16, content: &Content, answer: &HttpAnswer) -> Outcome {
    if content.claims_acceptance() {
        return doubt(DoubtReason::UnreadableAnswer);
    }
    if status == 400 && content.says_in_service() {
        return Outcome::ContactInService;
    }
    match content.code() {
        Some(code) => code.outcome(retry_after(&answer.headers)),
        None => by_status(status, Some(content), answer),
    }
}

/// Whether only the body tells which row of the table a 4xx belongs to.
const fn needs_its_body(status: u16) -> bool {
    !matches!(status, 401..=403 | 405..=407 | 410 | 413 | 415 | 421 | 426 | 429 | 503)
}

fn by_status(status: u16, content: Option<&Content>, answer: &HttpAnswer) -> Outcome {
    let throttled = |why| Outcome::Throttled { why, retry_after: retry_after(&answer.headers) };
    let stop = |why| Outcome::Stop { why };
    match status {
        503 => throttled(ThrottleReason::Unavailable),
        429 => throttled(ThrottleReason::TooManyRequests),
        300..=399 => stop(StopReason::Redirected),
        401 => stop(StopReason::Unauthorized),
        403 => stop(StopReason::Forbidden),
        402 | 405 | 406 | 407 | 410 | 415 | 421 | 426 => stop(StopReason::NotServed),
        404 if content.is_some_and(Content::is_about_a_template) => stop(StopReason::TemplateNotFound),
        404 => stop(StopReason::ChannelNotFound),
        413 => Outcome::Rejected { reason: FailReason::TooLarge },
        _ => Outcome::Rejected { reason: FailReason::Rejected },
    }
}

const fn doubt(why: DoubtReason) -> Outcome {
    Outcome::Doubt { why }
}
