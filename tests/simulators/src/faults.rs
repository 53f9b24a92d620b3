//! Faults on demand: what goes wrong, how often, on which paths, and whether before or after the request was accepted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::mix::locked;

/// One thing that goes wrong, as `POST /_admin/faults` takes it.
///
/// `{"kind":"status","code":503,"retry_after":2,"count":5,"path":"/template/send"}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Chance per request, in `[0, 1]`; certain if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Strikes at most so many times, then is spent; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Only requests whose path contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Strikes after the request had its effect (accepted and logged), so the client can't know; else before, without effect.
    #[serde(default)]
    pub after_accept: bool,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers this status; `body` text is sent as it is (HTML if it begins with `<`), anything else as JSON.
    Status {
        /// The HTTP status, 200 to 599.
        code: u16,
        /// The body; empty if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
        /// The `Retry-After` header, sent as it is: seconds, a date, or nonsense.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text_or_number")]
        retry_after: Option<String>,
    },
    /// Waits before going on, and lets further faults strike.
    LatencyMs {
        /// The wait, in milliseconds.
        ms: u64,
    },
    /// The connection is open, nothing is read or answered, for 120 s at most.
    HangAfterAccept,
    /// TCP reset while the request still waits unread.
    ResetBeforeReading,
    /// TCP reset after the request was read.
    ResetAfterReading,
    /// End of file instead of an answer.
    CloseWithoutAnswer,
    /// 200 with half of a JSON document, and a `Content-Length` that agrees with it.
    MalformedBody,
    /// 200 with half of the announced `Content-Length`, then end of file.
    TruncatedBody,
    /// 200 with an HTML page.
    #[serde(rename = "html_200")]
    Html200,
    /// The body comes one byte a second.
    SlowBody,
}

impl FaultKind {
    /// The name used in JSON and in statistics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::LatencyMs { .. } => "latency_ms",
            Self::HangAfterAccept => "hang_after_accept",
            Self::ResetBeforeReading => "reset_before_reading",
            Self::ResetAfterReading => "reset_after_reading",
            Self::CloseWithoutAnswer => "close_without_answer",
            Self::MalformedBody => "malformed_body",
            Self::TruncatedBody => "truncated_body",
            Self::Html200 => "html_200",
            Self::SlowBody => "slow_body",
        }
    }

    fn stage(&self) -> Stage {
        match self {
            Self::HangAfterAccept => Stage::Connection(ConnectionFault::Hang),
            Self::ResetBeforeReading => Stage::Connection(ConnectionFault::Reset),
            Self::LatencyMs { ms } => Stage::Delay(Duration::from_millis(*ms)),
            Self::Status { code, body, retry_after } => {
                Stage::Answer(Strike::Status { code: *code, body: body.clone(), retry_after: retry_after.clone() })
            }
            Self::ResetAfterReading => Stage::Answer(Strike::Reset),
            Self::CloseWithoutAnswer => Stage::Answer(Strike::Close),
            Self::MalformedBody => Stage::Answer(Strike::Malformed),
            Self::TruncatedBody => Stage::Answer(Strike::Truncated),
            Self::Html200 => Stage::Answer(Strike::Html),
            Self::SlowBody => Stage::Answer(Strike::Slow),
        }
    }
}

impl Fault {
    /// A certain fault before acceptance, on every path; narrow it with the fields.
    pub fn always(kind: FaultKind) -> Self {
        Self { kind, probability: None, count: None, path: None, after_accept: false }
    }

    /// Reads the body of `POST /_admin/faults`: a list of faults.
    ///
    /// # Errors
    /// Says which entry is wrong and why: an unknown kind or member, a probability outside `[0, 1]`, an impossible status or header.
    pub fn list_from_json(value: Value) -> Result<Vec<Self>, InvalidFault> {
        let Value::Array(entries) = value else { return Err(InvalidFault("expected a list of faults".to_owned())) };
        let read = |(index, entry): (usize, Value)| {
            Self::from_json(entry).map_err(|InvalidFault(why)| InvalidFault(format!("fault {index}: {why}")))
        };
        entries.into_iter().enumerate().map(read).collect()
    }

    fn from_json(entry: Value) -> Result<Self, InvalidFault> {
        const MEMBERS: [&str; 9] = ["kind", "code", "body", "retry_after", "ms", "probability", "count", "path", "after_accept"];
        // serde can't refuse unknown members of a flattened enum, and a misspelt "count" must not mean "for ever".
        if let Some(unknown) = entry.as_object().and_then(|entry| entry.keys().find(|key| !MEMBERS.contains(&key.as_str()))) {
            return Err(InvalidFault(format!("unknown member `{unknown}`; known are {}", MEMBERS.join(", "))));
        }
        let fault: Self = serde_json::from_value(entry).map_err(|error| InvalidFault(error.to_string()))?;
        fault.check()?;
        Ok(fault)
    }

    fn check(&self) -> Result<(), InvalidFault> {
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Err(InvalidFault("probability is outside 0 to 1".to_owned()));
        }
        if self.after_accept && matches!(self.kind.stage(), Stage::Connection(_)) {
            return Err(InvalidFault(format!("{} strikes before the request is read: after_accept can't be", self.kind.name())));
        }
        if let FaultKind::Status { code, retry_after, .. } = &self.kind {
            if !(200..=599).contains(code) {
                return Err(InvalidFault(format!("code {code} is outside 200 to 599")));
            }
            if retry_after.as_ref().is_some_and(|text| http::HeaderValue::from_str(text).is_err()) {
                return Err(InvalidFault("retry_after can't be a header".to_owned()));
            }
        }
        Ok(())
    }
}

/// A fault that can't be armed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFault(String);

impl std::fmt::Display for InvalidFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFault {}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(serde::de::Error::custom(format_args!("retry_after is text or a number, not {other}"))),
    }
}

/// When a fault strikes, and how.
enum Stage {
    Connection(ConnectionFault),
    Delay(Duration),
    Answer(Strike),
}

/// What happens to a connection before its next request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionFault {
    Hang,
    Reset,
}

/// What happens to an answer.
#[derive(Clone, Debug)]
pub(crate) enum Strike {
    Status { code: u16, body: Option<Value>, retry_after: Option<String> },
    Reset,
    Close,
    Malformed,
    Truncated,
    Html,
    Slow,
}

/// The faults of one request, drawn before it has any effect.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub delay_before: Duration,
    pub before: Option<Strike>,
    pub delay_after: Duration,
    pub after: Option<(Strike, &'static str)>,
}

/// The armed faults. Draws come from one seeded generator, in the order of the requests.
#[derive(Debug)]
pub(crate) struct Faults {
    any: AtomicBool,
    armed: Mutex<Armed>,
}

#[derive(Debug)]
struct Armed {
    rules: Vec<Rule>,
    generator: SmallRng,
    struck: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    struck: u64,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        let armed = Armed { rules: Vec::new(), generator: SmallRng::seed_from_u64(seed), struck: BTreeMap::new() };
        Self { any: AtomicBool::new(false), armed: Mutex::new(armed) }
    }

    /// Adds to what is armed; the first fault of the list that strikes wins.
    pub fn arm(&self, faults: Vec<Fault>) -> Result<(), InvalidFault> {
        faults.iter().try_for_each(Fault::check)?;
        locked(&self.armed).rules.extend(faults.into_iter().map(|fault| Rule { fault, struck: 0 }));
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub fn clear(&self) {
        locked(&self.armed).rules.clear();
        self.any.store(false, Ordering::Release);
    }

    pub fn armed(&self) -> Vec<Fault> {
        locked(&self.armed).rules.iter().map(|rule| rule.fault.clone()).collect()
    }

    /// How often each kind struck, also faults that are spent or cleared.
    pub fn struck(&self) -> BTreeMap<String, u64> {
        locked(&self.armed).struck.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    /// What happens to a connection whose next request is for `path`.
    pub fn on_connection(&self, path: Option<&str>) -> Option<ConnectionFault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut armed = locked(&self.armed);
        let Armed { rules, generator, struck } = &mut *armed;
        rules.iter_mut().find_map(|rule| match rule.fault.kind.stage() {
            Stage::Connection(fault) if rule.strikes(path, generator, struck) => Some(fault),
            _ => None,
        })
    }

    /// What happens to a request for `path` that was read.
    pub fn on_request(&self, path: &str) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.any.load(Ordering::Acquire) {
            return verdict;
        }
        let mut armed = locked(&self.armed);
        let Armed { rules, generator, struck } = &mut *armed;
        for rule in rules {
            match rule.fault.kind.stage() {
                Stage::Delay(delay) if rule.strikes(Some(path), generator, struck) => {
                    if rule.fault.after_accept {
                        verdict.delay_after += delay;
                    } else {
                        verdict.delay_before += delay;
                    }
                }
                Stage::Answer(strike) if rule.strikes(Some(path), generator, struck) => {
                    if rule.fault.after_accept {
                        verdict.after = Some((strike, rule.fault.kind.name()));
                    } else {
                        verdict.before = Some(strike);
                    }
                    return verdict;
                }
                Stage::Connection(_) | Stage::Delay(_) | Stage::Answer(_) => {}
            }
        }
        verdict
    }
}

impl Rule {
    fn strikes(&mut self, path: Option<&str>, generator: &mut SmallRng, struck: &mut BTreeMap<&'static str, u64>) -> bool {
        let spent = self.fault.count.is_some_and(|count| self.struck >= count);
        let elsewhere = self.fault.path.as_deref().is_some_and(|part| !path.is_some_and(|path| path.contains(part)));
        if spent || elsewhere {
            return false;
        }
        if self.fault.probability.is_some_and(|probability| generator.random::<f64>() >= probability) {
            return false;
        }
        self.struck += 1;
        *struck.entry(self.fault.kind.name()).or_default() += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_member_is_refused_by_name() {
        let list = serde_json::json!([{ "kind": "slow_body", "cuont": 3 }]);
        let error = Fault::list_from_json(list).expect_err("must be refused");
        assert!(error.to_string().starts_with("fault 0: unknown member `cuont`"), "{error}");
    }

    #[test]
    fn every_kind_survives_json() {
        let kinds = [
            FaultKind::Status { code: 503, body: Some(Value::from("x")), retry_after: Some("2".to_owned()) },
            FaultKind::LatencyMs { ms: 5 },
            FaultKind::HangAfterAccept,
            FaultKind::ResetBeforeReading,
            FaultKind::ResetAfterReading,
            FaultKind::CloseWithoutAnswer,
            FaultKind::MalformedBody,
            FaultKind::TruncatedBody,
            FaultKind::Html200,
            FaultKind::SlowBody,
        ];
        for kind in kinds {
            let fault = Fault { probability: Some(0.5), count: Some(2), ..Fault::always(kind) };
            let json = serde_json::to_value(&fault).expect("faults are plain data");
            assert_eq!(json["kind"], fault.kind.name());
            assert_eq!(Fault::list_from_json(Value::Array(vec![json])), Ok(vec![fault]));
        }
    }

    #[test]
    fn a_connection_fault_cannot_come_after_acceptance() {
        let fault = Fault { after_accept: true, ..Fault::always(FaultKind::ResetBeforeReading) };
        assert!(Faults::new(1).arm(vec![fault]).is_err());
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests() {
        let strikes = |seed| {
            let faults = Faults::new(seed);
            let half = Fault { probability: Some(0.5), ..Fault::always(FaultKind::SlowBody) };
            faults.arm(vec![half]).expect("a valid fault");
            (0..64).map(|_| faults.on_request("/x").before.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
    }

    #[test]
    fn latency_adds_up_and_lets_the_next_fault_strike() {
        let faults = Faults::new(1);
        let latency = |ms| Fault::always(FaultKind::LatencyMs { ms });
        faults.arm(vec![latency(5), latency(7), Fault::always(FaultKind::Html200)]).expect("valid faults");
        let verdict = faults.on_request("/x");
        assert_eq!(verdict.delay_before, Duration::from_millis(12));
        assert!(matches!(verdict.before, Some(Strike::Html)));
    }
}
