//! Stops: pauses by people and stops by answers are one record.

use crate::gate::rest;
use crate::message::names;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// What a stop holds back.
    StopScope {
        /// Every message.
        Everything = "everything",
        /// Every channel of a business.
        Business = "business",
        /// Every channel of an integration.
        Integration = "integration",
        /// One channel.
        Channel = "channel",
        /// One template, by its id at Opa! Suite.
        Template = "template",
        /// One policy.
        Policy = "policy",
        /// One stage.
        Stage = "stage",
    }
}

/// Who raises a stop because of what the provider answered.
pub const BY_ANSWER: &str = "answer";
/// Who raises the stop of a ledger that went back in time (invariant 3).
pub const BY_LEDGER: &str = "ledger";
/// Who raises the stop of a template that isn't as it was accepted.
pub const BY_TEMPLATE: &str = "template-changed";
/// Who lifts a stop of an answer whose cause is gone, as a check found.
pub const BY_CHECK: &str = "check";

/// Whether no person raised a stop.
pub fn is_automatic(raised_by: &str) -> bool {
    [BY_ANSWER, BY_LEDGER, BY_TEMPLATE].contains(&raised_by)
}

/// How long after its raising, or after the check before, a stop is checked that was checked so often: a minute, doubling to 15.
pub fn check_after(checks: u32) -> TimeDelta {
    rest(checks.saturating_add(1), 0.0)
}
