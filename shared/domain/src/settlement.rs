//! What becomes of a message after an attempt: one variant per transition, each with exactly the data it needs.

use crate::message::{DeferReason, DoubtReason, FailReason};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settlement {
    /// The provider took it.
    Sent {
        /// The provider's id of the message.
        provider_id: String,
    },
    /// Nothing was written; another attempt follows.
    Retry {
        /// When.
        at: DateTime<Utc>,
    },
    /// The provider didn't take it and asks to wait; no attempt was used.
    Defer {
        /// Until when.
        until: DateTime<Utc>,
        /// Why.
        why: DeferReason,
    },
    /// It can never be sent.
    Fail {
        /// Why.
        why: FailReason,
    },
    /// The provider may have taken it.
    Doubt {
        /// Why that isn't known.
        why: DoubtReason,
    },
    /// The attempt was never begun.
    GiveBack,
}

impl Settlement {
    /// The name in the attempt's record and in metrics.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "sent",
            Self::Retry { .. } => "retry",
            Self::Defer { .. } => "defer",
            Self::Fail { .. } => "fail",
            Self::Doubt { .. } => "doubt",
            Self::GiveBack => "given_back",
        }
    }

    /// Whether it is certain that the provider did not take the message, so that the recipient's counters go back.
    pub const fn proves_unsent(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Defer { .. } | Self::GiveBack)
    }
}
