//! Ticks and hints, what travels with them, and how they are read from and written to the wire (interface.md "Broker").

use crate::consumer::AckTag;
use regua_domain::ids::{LedgerId, MessageId, RunId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// The wire's version, in the header `schema`. A reader dead-letters any other.
pub(crate) const SCHEMA: i64 = 1;
/// No body is longer, in bytes: it holds one UUID. A longer one is undecodable without being parsed.
pub(crate) const BODY_MAX: usize = 1024;
/// A W3C `traceparent` of version 00 has 55 bytes; a longer header is left out rather than carried along.
const TRACE_MAX: usize = 128;

/// "Look at Run X."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tick {
    /// The run to look at.
    pub run: RunId,
}

/// "Look at Message X."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// The message to look at.
    pub message: MessageId,
}

/// What is published: a body, and the trace that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<T> {
    /// The tick or hint.
    pub body: T,
    /// The W3C `traceparent` of the work that published it; `None` outside any trace.
    pub trace: Option<String>,
}

impl<T> From<T> for Envelope<T> {
    fn from(body: T) -> Self {
        Self { body, trace: None }
    }
}

/// What a consumer receives. It stays unacked, and counts towards the prefetch, until `ack` is handed to an [`crate::Acker`].
#[derive(Debug)]
pub struct Delivery<T> {
    /// The tick or hint.
    pub body: T,
    /// The W3C `traceparent` of the work that published it.
    pub trace: Option<String>,
    /// The ledger it speaks of. Another than ours, or none, is foreign: counted, acked, ignored (design.md, invariant 3).
    pub ledger: Option<LedgerId>,
    /// Whether it was delivered before, to anyone.
    pub redelivered: bool,
    /// What to hand back when it is settled in the ledger.
    pub ack: AckTag,
}

/// Why bytes from the broker were dead-lettered alone, without reaching a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoisonReason {
    /// The property `type` is missing or not the queue's.
    Type,
    /// The header `schema` is missing or of an unknown version.
    Schema,
    /// The body is not the JSON of its type.
    Body,
}

impl PoisonReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Type, Self::Schema, Self::Body];

    /// The name in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Schema => "schema",
            Self::Body => "body",
        }
    }
}

/// The two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Ticks,
    Hints,
}

impl Queue {
    pub(crate) const ALL: [Self; 2] = [Self::Ticks, Self::Hints];

    /// The property `type` of what belongs in it.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Ticks => "tick",
            Self::Hints => "hint",
        }
    }

    /// The routing key, which is also the last part of the queue's name.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Ticks => "ticks",
            Self::Hints => "hints",
        }
    }
}

/// A body of one of the two queues.
pub(crate) trait Body: Serialize + DeserializeOwned + Copy + Send + Sync + 'static {
    /// Where it belongs.
    const QUEUE: Queue;
    /// The id that it carries, which is also its `message_id` on the wire.
    fn id(&self) -> Uuid;
}

impl Body for Tick {
    const QUEUE: Queue = Queue::Ticks;
    fn id(&self) -> Uuid {
        self.run.0
    }
}

impl Body for Hint {
    const QUEUE: Queue = Queue::Hints;
    fn id(&self) -> Uuid {
        self.message.0
    }
}

/// The parts of a wire message that a reader looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wire<'a> {
    pub(crate) kind: Option<&'a str>,
    pub(crate) schema: Option<i64>,
    pub(crate) ledger: Option<&'a [u8]>,
    pub(crate) trace: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
}

/// A wire message that its queue's consumer can understand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded<T> {
    pub(crate) body: T,
    pub(crate) trace: Option<String>,
    pub(crate) ledger: Option<LedgerId>,
}

/// Reads a wire message. A ledger or trace that can't be read is as absent: only what the consumer needs can make it poison.
pub(crate) fn decode<T: Body>(wire: Wire<'_>) -> Result<Decoded<T>, PoisonReason> {
    if wire.kind != Some(T::QUEUE.kind()) {
        return Err(PoisonReason::Type);
    }
    if wire.schema != Some(SCHEMA) {
        return Err(PoisonReason::Schema);
    }
    if wire.body.len() > BODY_MAX {
        return Err(PoisonReason::Body);
    }
    let body = serde_json::from_slice(wire.body).map_err(|_| PoisonReason::Body)?;
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let trace = wire.trace.filter(|bytes| bytes.len() <= TRACE_MAX && bytes.is_ascii()).and_then(text);
    let ledger = wire.ledger.and_then(text).and_then(|id| id.parse().ok());
    Ok(Decoded { body, trace, ledger })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "0199d0a0-0000-7000-8000-000000000001";

    fn body() -> String {
        format!("{{\"message\":\"{MESSAGE}\"}}")
    }

    #[track_caller]
    fn check(wire: Wire<'_>, expected: &Result<Decoded<Hint>, PoisonReason>) {
        assert_eq!(&decode::<Hint>(wire), expected, "{wire:?}");
    }

    fn decoded(trace: Option<&str>, ledger: Option<LedgerId>) -> Decoded<Hint> {
        let message = MESSAGE.parse().expect("a UUID");
        Decoded { body: Hint { message }, trace: trace.map(str::to_owned), ledger }
    }

    #[test]
    fn a_body_is_one_id_by_its_name() {
        let hint = Hint { message: MESSAGE.parse().expect("a UUID") };
        let tick = Tick { run: MESSAGE.parse().expect("a UUID") };
        assert_eq!(serde_json::to_string(&hint).expect("plain data"), body());
        assert_eq!(serde_json::to_string(&tick).expect("plain data"), body().replace("message", "run"));
    }

    #[test]
    fn what_the_consumer_needs_decides_whether_it_is_poison() {
        let body = body();
        let good = Wire { kind: Some("hint"), schema: Some(SCHEMA), body: body.as_bytes(), ..Wire::default() };
        check(good, &Ok(decoded(None, None)));
        check(Wire { kind: None, ..good }, &Err(PoisonReason::Type));
        check(Wire { kind: Some("tick"), ..good }, &Err(PoisonReason::Type));
        check(Wire { schema: None, ..good }, &Err(PoisonReason::Schema));
        check(Wire { schema: Some(2), ..good }, &Err(PoisonReason::Schema));
        for broken in ["", "{", "null", "{}", "[]", "{\"run\":\"0199d0a0-0000-7000-8000-000000000001\"}", "{\"message\":\"7\"}"] {
            check(Wire { body: broken.as_bytes(), ..good }, &Err(PoisonReason::Body));
        }
        check(Wire { body: b"{\"message\":\xff}", ..good }, &Err(PoisonReason::Body));
    }

    #[test]
    fn a_body_over_the_bound_is_poison_though_it_would_parse() {
        let padded = |length: usize| format!("{}{}", body(), " ".repeat(length - body().len()));
        let good = Wire { kind: Some("hint"), schema: Some(SCHEMA), ..Wire::default() };
        check(Wire { body: padded(BODY_MAX).as_bytes(), ..good }, &Ok(decoded(None, None)));
        check(Wire { body: padded(BODY_MAX + 1).as_bytes(), ..good }, &Err(PoisonReason::Body));
    }

    #[test]
    fn a_ledger_or_trace_that_cannot_be_read_is_as_absent() {
        let body = body();
        let good = Wire { kind: Some("hint"), schema: Some(SCHEMA), body: body.as_bytes(), ..Wire::default() };
        let ledger: LedgerId = MESSAGE.parse().expect("a UUID");
        check(Wire { ledger: Some(MESSAGE.as_bytes()), ..good }, &Ok(decoded(None, Some(ledger))));
        check(Wire { trace: Some(b"00-aa-bb-01"), ..good }, &Ok(decoded(Some("00-aa-bb-01"), None)));
        for unreadable in [&b"\xff"[..], b"ledger", b""] {
            check(Wire { ledger: Some(unreadable), ..good }, &Ok(decoded(None, None)));
        }
        check(Wire { trace: Some(&[b'0'; TRACE_MAX + 1]), ..good }, &Ok(decoded(None, None)));
        check(Wire { trace: Some("é".as_bytes()), ..good }, &Ok(decoded(None, None)));
    }
}
