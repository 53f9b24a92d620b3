//! Receipts: what the platform reports of a message that it took. They may come twice, out of order, before the answer to the request, or never.

use crate::message::{State, Transition, names};
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// What a receipt says became of a message.
    ReceiptStatus {
        /// It left the platform.
        Sent = "sent",
        /// It is on the phone.
        Delivered = "delivered",
        /// It was opened.
        Read = "read",
        /// It did not reach the phone.
        Failed = "failed",
    }
}

names! {
    /// How it is known which message a receipt is about.
    Proof {
        /// Our own ids came back with it.
        Metadata = "metadata",
        /// The provider's id is the one that it gave for our attempt.
        ProviderId = "provider_id",
        /// It was seen in a talk with its customer, see [`look_up`](crate::look_up).
        LookUp = "look_up",
    }
}

/// What has become of the attempt that a receipt names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFate {
    /// It is its message's last, and its answer may still come.
    Open,
    /// It is its message's last, and will have no answer; or the receipt names none that the ledger has.
    Undecided,
    /// Its answer proved that nothing was taken.
    Refused,
    /// It was taken, or another attempt followed its doubt.
    Past,
}

impl ReceiptStatus {
    /// Where a message is after this receipt about it.
    ///
    /// A failure settles the doubt of the attempt that it names, for the platform speaks of nothing that it didn't take. It moves nothing else: what
    /// was taken stays taken, and an answer that says *not taken*, come or still to come, is not contradicted by it. If it is known that no answer
    /// came, the attempt ends as taken where it would have ended in doubt.
    pub const fn state_after(self, before: State, fate: AttemptFate) -> State {
        let transition = match (self, before, fate) {
            (Self::Sent, ..) | (Self::Failed, State::InDoubt, AttemptFate::Undecided) => Transition::ReceiptSent,
            (Self::Delivered, ..) => Transition::ReceiptDelivered,
            (Self::Read, ..) => Transition::ReceiptRead,
            (Self::Failed, ..) => return before,
        };
        match before.after(transition) {
            Some(after) => after,
            None => before,
        }
    }

    /// Whether it proves wrong what made the message wait, end unsent, or be tried again: it was taken for unsent, and was not.
    pub const fn contradicts(self, before: State, fate: AttemptFate) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Read)
            && (matches!(fate, AttemptFate::Refused)
                || matches!(before, State::Held | State::Scheduled | State::Queued | State::Skipped | State::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: [State; 3] = [State::Sent, State::Delivered, State::Read];
    const FATES: [AttemptFate; 4] = [AttemptFate::Open, AttemptFate::Undecided, AttemptFate::Refused, AttemptFate::Past];

    #[test]
    fn receipts_in_any_order_end_at_the_best_of_them() {
        let best = |statuses: &[ReceiptStatus]| {
            statuses.iter().fold(State::Sending, |state, status| status.state_after(state, AttemptFate::Undecided))
        };
        let (sent, delivered, read) = (ReceiptStatus::Sent, ReceiptStatus::Delivered, ReceiptStatus::Read);
        for order in [[sent, delivered, read], [read, delivered, sent], [delivered, read, sent], [read, read, read]] {
            assert_eq!(best(&order), State::Read, "{order:?}");
        }
        assert_eq!(best(&[delivered, sent]), State::Delivered);
    }

    #[test]
    fn a_failure_settles_the_doubt_of_its_attempt_as_taken_and_moves_nothing_else() {
        for (&state, fate) in State::ALL.iter().flat_map(|state| FATES.map(|fate| (state, fate))) {
            let expected = if (state, fate) == (State::InDoubt, AttemptFate::Undecided) { State::Sent } else { state };
            assert_eq!(ReceiptStatus::Failed.state_after(state, fate), expected, "{state} {fate:?}");
            assert!(!ReceiptStatus::Failed.contradicts(state, fate), "{state} {fate:?}");
        }
    }

    #[test]
    fn proof_of_a_sending_counts_whatever_attempt_it_names() {
        for (&state, fate) in State::ALL.iter().flat_map(|state| FATES.map(|fate| (state, fate))) {
            assert_eq!(ReceiptStatus::Read.state_after(state, fate), State::Read, "{state} {fate:?}");
        }
    }

    #[test]
    fn what_was_taken_for_unsent_is_contradicted_by_proof_of_the_contrary() {
        for &state in State::ALL {
            let on_its_way = [State::Sending, State::InDoubt].contains(&state) || RANKS.contains(&state);
            assert_eq!(ReceiptStatus::Delivered.contradicts(state, AttemptFate::Undecided), !on_its_way, "{state}");
            assert!(ReceiptStatus::Delivered.contradicts(state, AttemptFate::Refused), "{state}");
        }
    }
}
