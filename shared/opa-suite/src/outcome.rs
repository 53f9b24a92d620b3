//! What one try at the provider came to, in closed words.

use regua_domain::{
    message::{DoubtReason, FailReason},
    stop::StopScope,
};
use std::time::Duration;

/// What one try to send a message came to. The crate's front page has the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the message; it is not delivered yet.
    Accepted {
        /// The provider's id of the message, `messageSentId`.
        provider_id: String,
    },
    /// Nothing of the request was written.
    NotSent {
        /// What failed.
        why: NotSentReason,
    },
    /// The request may have reached the provider. Never retried by itself.
    Doubt {
        /// Why it can't be known.
        why: DoubtReason,
    },
    /// The provider didn't take it and asks to wait.
    Throttled {
        /// Whose pace was too fast.
        why: ThrottleReason,
        /// What the answer asks for, at most [`RETRY_AFTER_MAX`](crate::RETRY_AFTER_MAX).
        retry_after: Option<Duration>,
    },
    /// The contact talks with an attendant; a notice would interrupt.
    ContactInService,
    /// Not the message but something that many messages share is refused.
    Stop {
        /// What is wrong; its [`scope`](StopReason::scope) says what stops.
        why: StopReason,
    },
    /// The provider refuses this message for good.
    Rejected {
        /// Why, as far as the answer tells.
        reason: FailReason,
    },
}

impl Outcome {
    /// The outcome's name in logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::NotSent { .. } => "not_sent",
            Self::Doubt { .. } => "doubt",
            Self::Throttled { .. } => "throttled",
            Self::ContactInService => "contact_in_service",
            Self::Stop { .. } => "stop",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// The name of the reason within the outcome, if it has one.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Accepted { .. } | Self::ContactInService => None,
            Self::NotSent { why } => Some(why.as_str()),
            Self::Doubt { why } => Some(why.as_str()),
            Self::Throttled { why, .. } => Some(why.as_str()),
            Self::Stop { why } => Some(why.as_str()),
            Self::Rejected { reason } => Some(reason.as_str()),
        }
    }

    /// Whether the try counts against the message's attempts. What says "later" or "not this way" does not.
    pub const fn uses_an_attempt(&self) -> bool {
        match self {
            Self::Accepted { .. } | Self::NotSent { .. } | Self::Doubt { .. } | Self::Rejected { .. } => true,
            Self::Throttled { .. } | Self::ContactInService | Self::Stop { .. } => false,
        }
    }
}

/// What failed before anything of the request was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSentReason {
    /// The host's name has no address.
    Dns,
    /// The host's name has only private addresses, and those are not allowed.
    PrivateAddress,
    /// The connection was refused or broke while it was made.
    Connect,
    /// No connection, TLS included, within the connect time-out.
    ConnectTimedOut,
    /// TLS failed: no TLS there, or a certificate that isn't trusted.
    Tls,
    /// The connection closed before the request was begun.
    ClosedBeforeWriting,
}

impl NotSentReason {
    /// The name in logs, metrics and the attempt's record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::PrivateAddress => "private_address",
            Self::Connect => "connect",
            Self::ConnectTimedOut => "connect_timed_out",
            Self::Tls => "tls",
            Self::ClosedBeforeWriting => "closed_before_writing",
        }
    }
}

/// Whose pace was too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleReason {
    /// 503: the provider takes nothing for now.
    Unavailable,
    /// 429 without a code.
    TooManyRequests,
    /// 130429: the throughput of the number (contracts §3.1).
    NumberThroughput,
    /// 80007: the call rate of the WhatsApp account (contracts §3.1).
    AccountCallRate,
    /// 131056: more than about one message in 6 s to the same phone (contracts §3.1).
    PairRate,
}

impl ThrottleReason {
    /// The name in logs, metrics and the attempt's record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TooManyRequests => "too_many_requests",
            Self::NumberThroughput => "number_throughput",
            Self::AccountCallRate => "account_call_rate",
            Self::PairRate => "pair_rate",
        }
    }

    /// Whether the pace to this one recipient was too fast, so that the recipient has to wait too.
    pub const fn concerns_the_recipient(self) -> bool {
        match self {
            Self::PairRate => true,
            Self::Unavailable | Self::TooManyRequests | Self::NumberThroughput | Self::AccountCallRate => false,
        }
    }
}

/// What is wrong with something that many messages share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// 3xx: the address isn't the API's, or the token isn't known and this is the way to the login page (contracts §1.1).
    Redirected,
    /// 401: the token is refused.
    Unauthorized,
    /// 403: the token's profile may not send.
    Forbidden,
    /// 402, 405, 406, 407, 410, 415, 421, 426: this address, plan or protocol isn't served, whatever the message.
    NotServed,
    /// 404: there is no such channel.
    ChannelNotFound,
    /// 404 or 132001: there is no such template, or not in this language, or it isn't approved.
    TemplateNotFound,
    /// 132015: paused for its quality.
    TemplatePaused,
    /// 132016: disabled for its quality.
    TemplateDisabled,
    /// 131048: earlier messages of the number were blocked or reported.
    SpamLimited,
    /// 368: the account is blocked for a breach of policy.
    PolicyBlocked,
    /// 131031: the account is locked.
    AccountLocked,
}

/// What is asked to find out whether the cause of a stop is gone. None of it sends anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCheck {
    /// The channels are listed to the token.
    Token,
    /// The channel is listed, and active.
    Channel,
    /// The template is listed for its channels, and is as it was accepted.
    Template,
}

impl StopReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::Redirected,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotServed,
        Self::ChannelNotFound,
        Self::TemplateNotFound,
        Self::TemplatePaused,
        Self::TemplateDisabled,
        Self::SpamLimited,
        Self::PolicyBlocked,
        Self::AccountLocked,
    ];

    /// The name in logs, metrics and the stop's record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotServed => "not_served",
            Self::ChannelNotFound => "channel_not_found",
            Self::TemplateNotFound => "template_not_found",
            Self::TemplatePaused => "template_paused",
            Self::TemplateDisabled => "template_disabled",
            Self::SpamLimited => "spam_limited",
            Self::PolicyBlocked => "policy_blocked",
            Self::AccountLocked => "account_locked",
        }
    }

    /// What tells that it is gone; `None`: nothing that can be asked does, and only a person lifts its stop.
    pub const fn check(self) -> Option<StopCheck> {
        match self {
            Self::Redirected | Self::Unauthorized | Self::Forbidden => Some(StopCheck::Token),
            Self::ChannelNotFound => Some(StopCheck::Channel),
            Self::TemplateNotFound | Self::TemplatePaused | Self::TemplateDisabled => Some(StopCheck::Template),
            Self::NotServed | Self::SpamLimited | Self::PolicyBlocked | Self::AccountLocked => None,
        }
    }

    /// The reason of such a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }

    /// What has to stop.
    pub const fn scope(self) -> StopScope {
        match self {
            Self::Redirected | Self::Unauthorized | Self::Forbidden | Self::NotServed => StopScope::Integration,
            Self::PolicyBlocked | Self::AccountLocked => StopScope::Business,
            Self::ChannelNotFound | Self::SpamLimited => StopScope::Channel,
            Self::TemplateNotFound | Self::TemplatePaused | Self::TemplateDisabled => StopScope::Template,
        }
    }
}
