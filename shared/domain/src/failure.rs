//! Failed messages and the person who looks at them: which may be tried again.
//!
//! A replay must never make a second message: it is refused unless every attempt certainly sent nothing.

use crate::message::{FailReason, SkipReason, State, names};
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// Why nothing is done about a message that a person wants tried again, or set aside.
    FailureRefusal {
        /// The ledger has no such message.
        Unknown = "unknown",
        /// It hasn't failed.
        NotFailed = "not_failed",
        /// Its phone and text were deleted: it failed too long ago.
        Anonymised = "anonymised",
        /// A person let it go while it was in doubt: it may have been sent.
        Dropped = "dropped",
        /// Nobody settled its doubt in time: it may have been sent.
        DoubtExpired = "doubt_expired",
        /// An attempt of it is open or in doubt, was taken after all, or a person had it sent again out of doubt.
        MayHaveBeenSent = "may_have_been_sent",
        /// It failed before a backup was restored: it may have been replayed, and sent, in the time that is lost.
        Restored = "restored",
        /// A person set it aside.
        Discarded = "discarded",
        /// Its time has passed: the next stage will follow.
        Expired = "expired",
        /// Another message about its invoice lives, or says more than it.
        Overtaken = "overtaken",
        /// It is no longer called for: paid, opted out, its stage switched off.
        NotCalledFor = "not_called_for",
    }
}

impl FailureRefusal {
    /// What it means, for the person who asked.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unknown => "there is no such message",
            Self::NotFailed => "it has not failed",
            Self::Anonymised => "it failed so long ago that its phone and text are deleted",
            Self::Dropped => "a person let it go while it was in doubt: it may have been sent",
            Self::DoubtExpired => "nobody settled its doubt in time: it may have been sent",
            Self::MayHaveBeenSent => "one of its attempts may have sent it: see them with `regua message`",
            Self::Restored => "it failed before a backup was restored: it may have been sent since",
            Self::Discarded => "a person set it aside for good",
            Self::Expired => "its time has passed: the next stage follows",
            Self::Overtaken => "another message about its invoice lives, or says more than it",
            Self::NotCalledFor => "it is no longer called for",
        }
    }
}

/// What is known of a message that a person wants tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts of one row")]
pub struct FailureFacts {
    /// Where it is.
    pub state: State,
    /// Why it failed.
    pub reason: Option<FailReason>,
    /// Whether its phone and text are deleted.
    pub is_anonymised: bool,
    /// Whether a person set it aside.
    pub is_discarded: bool,
    /// Whether every attempt has ended with proof that nothing was sent, and no person had it sent again out of doubt.
    pub certainly_unsent: bool,
    /// Whether it is as a restored backup had it: what became of it in the lost time isn't known.
    pub is_of_lost_time: bool,
    /// Whether another message overtakes it.
    pub is_overtaken: bool,
    /// What a start would say of its invoice, customer, consent and stage now.
    pub called_for: Result<(), SkipReason>,
}

/// Whether a failed message may be tried again.
///
/// # Errors
/// Why not: what bars it for good before what may change.
pub fn may_replay(facts: &FailureFacts) -> Result<(), FailureRefusal> {
    let refusals = [
        (facts.state != State::Failed, FailureRefusal::NotFailed),
        (facts.is_anonymised, FailureRefusal::Anonymised),
        (facts.reason == Some(FailReason::Dropped), FailureRefusal::Dropped),
        (facts.reason == Some(FailReason::DoubtExpired), FailureRefusal::DoubtExpired),
        (!facts.certainly_unsent, FailureRefusal::MayHaveBeenSent),
        (facts.is_of_lost_time, FailureRefusal::Restored),
        (facts.is_discarded, FailureRefusal::Discarded),
        (facts.called_for == Err(SkipReason::Expired), FailureRefusal::Expired),
        (facts.is_overtaken || facts.called_for == Err(SkipReason::Superseded), FailureRefusal::Overtaken),
        (facts.called_for.is_err(), FailureRefusal::NotCalledFor),
    ];
    refusals.into_iter().find(|(applies, _)| *applies).map_or(Ok(()), |(_, why)| Err(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLAYABLE: FailureFacts = FailureFacts {
        state: State::Failed,
        reason: Some(FailReason::Rejected),
        is_anonymised: false,
        is_discarded: false,
        certainly_unsent: true,
        is_of_lost_time: false,
        is_overtaken: false,
        called_for: Ok(()),
    };

    #[test]
    fn what_certainly_never_left_and_is_still_called_for_may_be_tried_again() {
        for &reason in FailReason::ALL {
            let expected = match reason {
                FailReason::Dropped => Err(FailureRefusal::Dropped),
                FailReason::DoubtExpired => Err(FailureRefusal::DoubtExpired),
                _ => Ok(()),
            };
            assert_eq!(may_replay(&FailureFacts { reason: Some(reason), ..REPLAYABLE }), expected, "{reason}");
        }
    }

    #[test]
    fn any_single_thing_that_is_wrong_bars_it_and_is_told() {
        let wrong = [
            (FailureFacts { is_anonymised: true, ..REPLAYABLE }, FailureRefusal::Anonymised),
            (FailureFacts { certainly_unsent: false, ..REPLAYABLE }, FailureRefusal::MayHaveBeenSent),
            (FailureFacts { is_of_lost_time: true, ..REPLAYABLE }, FailureRefusal::Restored),
            (FailureFacts { is_discarded: true, ..REPLAYABLE }, FailureRefusal::Discarded),
            (FailureFacts { is_overtaken: true, ..REPLAYABLE }, FailureRefusal::Overtaken),
            (FailureFacts { called_for: Err(SkipReason::Expired), ..REPLAYABLE }, FailureRefusal::Expired),
            (FailureFacts { called_for: Err(SkipReason::Superseded), ..REPLAYABLE }, FailureRefusal::Overtaken),
            (FailureFacts { called_for: Err(SkipReason::Paid), ..REPLAYABLE }, FailureRefusal::NotCalledFor),
        ];
        for (facts, why) in wrong {
            assert_eq!(may_replay(&facts), Err(why));
        }
        for &state in State::ALL.iter().filter(|state| **state != State::Failed) {
            assert_eq!(may_replay(&FailureFacts { state, ..REPLAYABLE }), Err(FailureRefusal::NotFailed), "{state}");
        }
    }
}
