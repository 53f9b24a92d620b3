//! The states of a message and the transitions between them.
//!
//! ```text
//!  insert ─▶ held ──queue──▶ queued ──start──▶ sending ──sent──▶ sent ─▶ delivered ─▶ read
//!              ▲               ▲  │               │
//!        revive│          queue│  │defer/unqueue  ├─retry/defer/give back─▶ scheduled
//!           skipped ◀──skip── scheduled           ├─fail─▶ failed ──replay──▶ scheduled
//!                                                 └─doubt/rescue─▶ in_doubt ─sent/fail/resolve/expire─▶ sent, failed, scheduled
//! ```
//! Every live state goes to `in_doubt` when a backup is restored.
//! [`State::after`] is that diagram as a table; the ledger's guarded updates follow it and a conformance test compares the two.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a closed set of names that SQL, JSON and metrics share.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in SQL, JSON, metrics and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of such a name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names! {
    /// Where a message is. Exclusive and exhaustive: a message is in exactly one state.
    State {
        /// Decided and rendered; waits for the release (the ERP's *fila do Opa*).
        Held = "held",
        /// Waits for `next_attempt_at`.
        Scheduled = "scheduled",
        /// Its hint is published.
        Queued = "queued",
        /// An attempt is about to be on the wire.
        Sending = "sending",
        /// The provider took it.
        Sent = "sent",
        /// A receipt said that it was delivered.
        Delivered = "delivered",
        /// A receipt said that it was read.
        Read = "read",
        /// Final without sending.
        Skipped = "skipped",
        /// A terminal answer, or the attempts are used up.
        Failed = "failed",
        /// The request may have reached the provider.
        InDoubt = "in_doubt",
    }
}

names! {
    /// A named move from state to state. Each is one guarded statement of the ledger.
    Transition {
        /// Release: the hint is about to be published.
        Queue = "queue",
        /// A lost hint: waits again.
        Unqueue = "unqueue",
        /// An attempt is opened.
        Start = "start",
        /// What was not begun is given back; uses no attempt.
        GiveBack = "give_back",
        /// Waits longer before any attempt was opened.
        Postpone = "postpone",
        /// The answer says: try again, an attempt was used.
        Retry = "retry",
        /// The answer says: wait; no attempt was used.
        Defer = "defer",
        /// The provider took it: by its answer.
        Accept = "accept",
        /// A terminal answer.
        Fail = "fail",
        /// The answer leaves doubt.
        Doubt = "doubt",
        /// The lease of an attempt expired.
        Rescue = "rescue",
        /// A backup was restored: what lived then may have been sent since.
        Restore = "restore",
        /// It shall not be sent.
        Skip = "skip",
        /// The reason of a skip went away.
        Revive = "revive",
        /// A receipt: sent.
        ReceiptSent = "receipt_sent",
        /// A receipt: delivered.
        ReceiptDelivered = "receipt_delivered",
        /// A receipt: read.
        ReceiptRead = "receipt_read",
        /// A person knows that it was sent.
        ResolveSent = "resolve_sent",
        /// A person has it sent again.
        ResolveResend = "resolve_resend",
        /// A person lets it go.
        ResolveDrop = "resolve_drop",
        /// Nobody settled its doubt in time.
        ExpireDoubt = "expire_doubt",
        /// A late proof that nothing was taken finds another message of its invoice, which it would get in the way of.
        Overtake = "overtake",
        /// A person has a failed message tried again; of those that certainly never left.
        Replay = "replay",
        /// The provider took it after all: an answer that came after its doubt had expired.
        AcceptLate = "accept_late",
    }
}

impl State {
    /// The state after `transition`, or `None` where the transition doesn't apply: the diagram as a table.
    #[allow(clippy::match_same_arms, reason = "one arm per arrow of the diagram")]
    pub const fn after(self, transition: Transition) -> Option<Self> {
        use State::{Delivered, Failed, Held, InDoubt, Queued, Read, Scheduled, Sending, Sent, Skipped};
        use Transition as T;
        match (transition, self) {
            (T::Queue, Held | Scheduled) => Some(Queued),
            (T::Unqueue, Queued) => Some(Scheduled),
            (T::Start, Queued | Scheduled) => Some(Sending),
            // The proof that nothing was taken settles doubt, as any proof does.
            (T::GiveBack | T::Retry | T::Defer, Sending | InDoubt) => Some(Scheduled),
            (T::Postpone, Queued | Scheduled) => Some(Scheduled),
            (T::Accept, Sending | InDoubt) => Some(Sent),
            (T::Fail, Sending | InDoubt) => Some(Failed),
            (T::Doubt | T::Rescue, Sending) => Some(InDoubt),
            (T::Restore, Held | Scheduled | Queued | Sending) => Some(InDoubt),
            (T::Skip, Held | Scheduled | Queued) => Some(Skipped),
            (T::Revive, Skipped) => Some(Held),
            // Evidence beats everything, but never goes backwards.
            (T::ReceiptSent, Delivered) => Some(Delivered),
            (T::ReceiptSent | T::ReceiptDelivered, Read) => Some(Read),
            (T::ReceiptSent, _) => Some(Sent),
            (T::ReceiptDelivered, _) => Some(Delivered),
            (T::ReceiptRead, _) => Some(Read),
            (T::ResolveSent, InDoubt) => Some(Sent),
            (T::ResolveResend, InDoubt) => Some(Scheduled),
            (T::ResolveDrop | T::ExpireDoubt, InDoubt) => Some(Failed),
            (T::Overtake, InDoubt) => Some(Skipped),
            (T::Replay, Failed) => Some(Scheduled),
            // Only from `doubt_expired`: what a person let go stays as they said, with the answer on its attempt.
            (T::AcceptLate, Failed) => Some(Sent),
            _ => None,
        }
    }

    /// Whether it is still on its way: at most one such dated message per invoice.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Held | Self::Scheduled | Self::Queued | Self::Sending)
    }

    /// Whether the customer has, or may have, received it: such a message bars every earlier stage.
    pub const fn may_have_arrived(self) -> bool {
        matches!(self, Self::Sending | Self::Sent | Self::Delivered | Self::Read | Self::InDoubt)
    }
}

names! {
    /// Why a message ended without being sent.
    SkipReason {
        /// The invoice was settled.
        Paid = "paid",
        /// The invoice was cancelled.
        Cancelled = "cancelled",
        /// The invoice was renegotiated.
        Renegotiated = "renegotiated",
        /// What the message speaks of was undone: the invoice is owed again, or its payment was reversed.
        Reopened = "reopened",
        /// The customer is negatively listed again.
        ListedAgain = "listed_again",
        /// Nothing is left to pay, or the ledger has no record of the invoice.
        NotChargeable = "not_chargeable",
        /// `liberado` is off: the ERP hides the invoice, or a file of every open title lacked it.
        Unreleased = "unreleased",
        /// `estornado`.
        Reversed = "reversed",
        /// `aguardando_confirmacao_pagamento`: a payment is in flight.
        AwaitingConfirmation = "awaiting_confirmation",
        /// The due date moved: another occasion.
        DueDateMoved = "due_date_moved",
        /// The recipient asked not to be written to.
        OptedOut = "opted_out",
        /// A person wants the invoice, or its customer, left alone until a date.
        OnHold = "on_hold",
        /// `titulo_protestado`: the debt is at the notary.
        Protested = "protested",
        /// `previsao` = `M`: a title forecast by hand.
        Forecast = "forecast",
        /// The contract's `nao_avisar_ate` isn't over.
        NoNoticeUntil = "no_notice_until",
        /// The contract's `aviso_atraso` is off, and the stage comes after the due date.
        OverdueNoticesOff = "overdue_notices_off",
        /// The customer's `num_dias_cob` puts collection off beyond the stage.
        BeforeCollection = "before_collection",
        /// The customer takes no part in collection in the ERP (`participa_cobranca`).
        NotInCollection = "not_in_collection",
        /// The customer gets no reminders in the ERP (`participa_pre_cobranca`).
        NotInPreDue = "not_in_pre_due",
        /// Its time passed before it could be sent.
        Expired = "expired",
        /// A more advanced stage, or a newer due date, took its place.
        Superseded = "superseded",
        /// The person had as many messages as allowed, to the end of its time.
        Capped = "capped",
        /// No field of the customer holds a valid mobile number.
        NoValidPhone = "no_valid_phone",
        /// The invoice names no customer that the ledger knows.
        NoCustomer = "no_customer",
        /// The provider tries Régua out, and this customer takes no part in it.
        Pilot = "pilot",
        /// A variable of the notice has no value for this invoice.
        MissingValue = "missing_value",
        /// Its Pix code or digitable line can't be paid, or asks for another amount.
        InvalidPaymentCode = "invalid_payment_code",
        /// The address of its header's media is none that the platform could fetch.
        InvalidMedia = "invalid_media",
        /// The stage, its policy or its notice was switched off or removed.
        StageOff = "stage_off",
    }
}

impl SkipReason {
    /// Whether a later evaluation may bring the message back, because the reason can go away (F4).
    pub const fn is_revivable(self) -> bool {
        match self {
            Self::Paid
            | Self::Cancelled
            | Self::Renegotiated
            | Self::Reopened
            | Self::ListedAgain
            | Self::NotChargeable
            | Self::Unreleased
            | Self::Reversed
            | Self::AwaitingConfirmation
            | Self::OnHold
            | Self::Protested
            | Self::Forecast
            | Self::NoNoticeUntil
            | Self::OverdueNoticesOff
            | Self::BeforeCollection
            | Self::NotInPreDue
            | Self::DueDateMoved
            | Self::OptedOut
            | Self::NotInCollection
            | Self::NoValidPhone
            | Self::NoCustomer
            | Self::Pilot
            | Self::MissingValue
            | Self::InvalidPaymentCode
            | Self::InvalidMedia
            | Self::StageOff
            | Self::Capped
            | Self::Superseded
            | Self::Expired => true,
        }
    }
}

names! {
    /// Why a message failed.
    FailReason {
        /// The provider refused this message for a reason of its own.
        Rejected = "rejected",
        /// The template expects another number of variables (132000).
        ParameterCount = "parameter_count",
        /// A value breaks the template's format (132012, 132018).
        ParameterFormat = "parameter_format",
        /// The number has no WhatsApp, or can't get messages (131026).
        Undeliverable = "undeliverable",
        /// The request was too large (413).
        TooLarge = "too_large",
        /// Every attempt was used up.
        AttemptsUsedUp = "attempts_used_up",
        /// A person let a doubtful message go.
        Dropped = "dropped",
        /// Nobody settled the doubt in time: it may have been sent.
        DoubtExpired = "doubt_expired",
    }
}

impl FailReason {
    /// Whether the customer may have received it all the same.
    pub const fn may_have_arrived(self) -> bool {
        match self {
            Self::DoubtExpired => true,
            Self::Rejected
            | Self::ParameterCount
            | Self::ParameterFormat
            | Self::Undeliverable
            | Self::TooLarge
            | Self::AttemptsUsedUp
            | Self::Dropped => false,
        }
    }
}

names! {
    /// Why a message waits although it could be decided: uses up no attempt.
    DeferReason {
        /// The provider asked to wait.
        Throttled = "throttled",
        /// The contact is in service with an attendant.
        InService = "in_service",
        /// A stop holds it.
        Stopped = "stopped",
        /// The sending window is closed.
        WindowClosed = "window_closed",
        /// The mirror is older than allowed.
        StaleSource = "stale_source",
        /// Its title is about to be read once more.
        LastLook = "last_look",
        /// The same phone had a message less than six seconds ago.
        PhoneSpacing = "phone_spacing",
        /// The person had as many messages today as allowed.
        PersonCap = "person_cap",
        /// The business wrote to as many different people as allowed.
        Budget = "budget",
        /// The gate is paused or its next slot is too far away.
        Gate = "gate",
        /// What it says changed: rendered again before it is sent.
        FactsChanged = "facts_changed",
        /// The dispatcher shuts down, or the slot came too late.
        GivenBack = "given_back",
        /// Waits for its next try.
        Retry = "retry",
    }
}

names! {
    /// Why it can't be known whether the provider took a message.
    DoubtReason {
        /// The time for an answer ran out.
        TimedOut = "timed_out",
        /// The connection broke after something was written.
        ConnectionLost = "connection_lost",
        /// The answer can't be understood.
        UnreadableAnswer = "unreadable_answer",
        /// 408 or a 5xx that doesn't prove a refusal.
        ServerError = "server_error",
        /// Nobody reported the attempt before its lease expired.
        LeaseExpired = "lease_expired",
        /// A backup was restored: what was sent since is unknown.
        Restored = "restored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_never_takes_a_message_backwards() {
        let rank = |state| match state {
            State::Sent => 1,
            State::Delivered => 2,
            State::Read => 3,
            _ => 0,
        };
        for &from in State::ALL {
            for receipt in [Transition::ReceiptSent, Transition::ReceiptDelivered, Transition::ReceiptRead] {
                let to = from.after(receipt).expect("a receipt applies to every state");
                assert!(rank(to) >= rank(from) && rank(to) > 0, "{from} --{receipt}--> {to}");
            }
        }
    }

    #[test]
    fn doubt_is_left_only_by_evidence_or_a_person_or_its_end() {
        use Transition as T;
        let ways: Vec<_> =
            Transition::ALL.iter().filter(|t| State::InDoubt.after(**t).is_some_and(|to| to != State::InDoubt)).collect();
        let expected = [
            T::GiveBack,
            T::Retry,
            T::Defer,
            T::Accept,
            T::Fail,
            T::ReceiptSent,
            T::ReceiptDelivered,
            T::ReceiptRead,
            T::ResolveSent,
            T::ResolveResend,
            T::ResolveDrop,
            T::ExpireDoubt,
            T::Overtake,
        ];
        assert_eq!(ways, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_returns_from_sent_to_a_waiting_state() {
        for from in [State::Sent, State::Delivered, State::Read] {
            for &t in Transition::ALL {
                assert!(!from.after(t).is_some_and(State::is_live), "{from} --{t}");
            }
        }
    }

    #[test]
    fn a_failure_waits_again_only_by_a_persons_replay() {
        let ways: Vec<_> = Transition::ALL.iter().filter(|t| State::Failed.after(**t).is_some_and(State::is_live)).collect();
        assert_eq!(ways, [&Transition::Replay]);
    }
}
