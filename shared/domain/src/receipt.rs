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

impl ReceiptStatus {
    /// Where a message is after this receipt about it.
    ///
    /// A failure settles doubt, for the platform speaks of nothing that it didn't take. It moves nothing else: what was taken stays taken, and an
    /// answer that says *not taken* is not contradicted by it.
    pub const fn state_after(self, before: State) -> State {
        let transition = match (self, before) {
            (Self::Sent, _) | (Self::Failed, State::InDoubt) => Transition::ReceiptSent,
            (Self::Delivered, _) => Transition::ReceiptDelivered,
            (Self::Read, _) => Transition::ReceiptRead,
            (Self::Failed, _) => return before,
        };
        match before.after(transition) {
            Some(after) => after,
            None => before,
        }
    }

    /// Whether it proves wrong what made the message wait, or end unsent: it was taken for unsent, and was not.
    pub const fn contradicts(self, before: State) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Read)
            && matches!(before, State::Held | State::Scheduled | State::Queued | State::Skipped | State::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKS: [State; 3] = [State::Sent, State::Delivered, State::Read];

    #[test]
    fn receipts_in_any_order_end_at_the_best_of_them() {
        let best = |statuses: &[ReceiptStatus]| statuses.iter().fold(State::Sending, |state, status| status.state_after(state));
        let (sent, delivered, read) = (ReceiptStatus::Sent, ReceiptStatus::Delivered, ReceiptStatus::Read);
        for order in [[sent, delivered, read], [read, delivered, sent], [delivered, read, sent], [read, read, read]] {
            assert_eq!(best(&order), State::Read, "{order:?}");
        }
        assert_eq!(best(&[delivered, sent]), State::Delivered);
    }

    #[test]
    fn a_failure_settles_doubt_as_taken_and_moves_nothing_else() {
        for &state in State::ALL {
            let expected = if state == State::InDoubt { State::Sent } else { state };
            assert_eq!(ReceiptStatus::Failed.state_after(state), expected, "{state}");
            assert!(!ReceiptStatus::Failed.contradicts(state), "{state}");
        }
    }

    #[test]
    fn what_was_taken_for_unsent_is_contradicted_by_proof_of_the_contrary() {
        for &state in State::ALL {
            let on_its_way = [State::Sending, State::InDoubt].contains(&state) || RANKS.contains(&state);
            assert_eq!(ReceiptStatus::Delivered.contradicts(state), !on_its_way, "{state}");
        }
    }
}
