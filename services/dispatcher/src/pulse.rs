//! What the attempts of one channel tell its lane: the brake, and when the gate's breaker must open.

use crate::config::{BRAKE_AFTER, BRAKE_FROM, FAILURES_IN_A_ROW_MAX};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// How the provider answers on one channel.
pub struct Pulse {
    on_wire: AtomicUsize,
    last_answer: Mutex<Instant>,
    failures_in_a_row: AtomicU32,
}

impl Pulse {
    /// Of a channel that was quiet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            on_wire: AtomicUsize::new(0),
            last_answer: Mutex::new(Instant::now()),
            failures_in_a_row: AtomicU32::new(0),
        })
    }

    /// A request goes out; it is on the wire until the result is dropped.
    pub fn send(self: &Arc<Self>) -> OnWire {
        if self.on_wire.fetch_add(1, Ordering::Relaxed) == 0 {
            self.note_answer();
        }
        OnWire(Arc::clone(self))
    }

    /// Whether the provider has gone silent with requests on the wire: then nothing more is started, so that doubt stays bounded (F3).
    pub fn brakes(&self) -> bool {
        self.on_wire.load(Ordering::Relaxed) >= BRAKE_FROM
            && self.last_answer.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > BRAKE_AFTER
    }

    /// The gate gave a start that is no probe: its breaker is closed, whoever closed it, and what failed before that counts no more.
    pub fn breaker_is_closed(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) >= FAILURES_IN_A_ROW_MAX {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    fn note_answer(&self) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A request on the wire. Dropped without an end (a panic), it counts no more.
pub struct OnWire(Arc<Pulse>);

impl OnWire {
    /// The request has ended; a failed one is no answer, and doesn't release the brake. Whether so many in a row were doubtful, or never reached the provider, that the channel's breaker must open.
    pub fn ended(self, failed: bool) -> bool {
        if !failed {
            self.0.note_answer();
            self.0.failures_in_a_row.store(0, Ordering::Relaxed);
            return false;
        }
        self.0.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_IN_A_ROW_MAX
    }
}

impl Drop for OnWire {
    fn drop(&mut self) {
        self.0.on_wire.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_the_breaker_and_each_later_one_says_so_again() {
        let pulse = Pulse::new();
        let asks: Vec<bool> = (0..=FAILURES_IN_A_ROW_MAX).map(|_| pulse.send().ended(true)).collect();
        assert_eq!(asks, [false, false, false, false, true, true]);
    }

    #[test]
    fn a_breaker_that_another_dispatcher_closed_counts_from_the_beginning() {
        let pulse = Pulse::new();
        let fail = |times: u32| (0..times).map(|_| pulse.send().ended(true)).filter(|opens| *opens).count();
        assert_eq!(fail(FAILURES_IN_A_ROW_MAX), 1);
        pulse.breaker_is_closed();
        assert_eq!(fail(FAILURES_IN_A_ROW_MAX - 1), 0);
        pulse.breaker_is_closed();
        assert_eq!(fail(1), 1, "a start forgets no failure of a breaker that is closed");
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let pulse = Pulse::new();
        for failed in [true, true, true, true, false, true] {
            assert!(!pulse.send().ended(failed));
        }
    }

    /// The first time-outs of a silent provider would let as many new requests go out before the breaker opens.
    #[tokio::test(start_paused = true)]
    async fn a_request_that_failed_does_not_release_the_brake_and_an_answer_does() {
        let pulse = Pulse::new();
        let mut on_wire: Vec<OnWire> = (0..8).map(|_| pulse.send()).collect();
        tokio::time::advance(BRAKE_AFTER * 5).await;
        for _ in 0..3 {
            on_wire.pop().expect("eight were sent").ended(true);
            assert!(pulse.brakes());
        }
        on_wire.pop().expect("eight were sent").ended(false);
        assert!(!pulse.brakes());
    }

    #[test]
    fn a_request_that_never_ended_is_not_on_the_wire_for_ever() {
        let pulse = Pulse::new();
        drop(pulse.send());
        assert_eq!(pulse.on_wire.load(Ordering::Relaxed), 0);
    }
}
