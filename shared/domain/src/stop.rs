//! Stops: pauses by people and stops by answers are one record.

use crate::message::names;
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
