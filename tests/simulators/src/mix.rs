//! Hashing and locking shared by both simulators: small, seeded, the same on every machine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: a bijection, so different inputs never meet.
pub(crate) fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(GOLDEN);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A draw that depends on nothing but its arguments; `purpose` keeps the draws about one thing apart.
pub(crate) fn draw(seed: u64, purpose: u64, about: u64) -> u64 {
    scramble(scramble(seed ^ scramble(purpose)).wrapping_add(about.wrapping_mul(GOLDEN)))
}

/// Hashes text (FNV-1a, then scrambled), for draws about phones and names.
pub(crate) fn hash_text(seed: u64, text: &str) -> u64 {
    let fnv = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64 ^ scramble(seed), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    scramble(fnv)
}

/// An index into something `len` long. `len` is at least 1.
pub(crate) fn pick(draw: u64, len: usize) -> usize {
    let len = u64::try_from(len).expect("lengths fit 64 bits");
    usize::try_from(draw % len).expect("smaller than a usize")
}

/// Locks even after a holder panicked: what these locks guard are counters and lists, whole after every statement.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since 1970, of this host's clock.
pub(crate) fn now_us() -> i64 {
    Utc::now().timestamp_micros()
}

/// What a simulator takes the time from: the host, or tokio's clock, from an instant on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Option<(DateTime<Utc>, Instant)>);

impl Clock {
    /// The host's if there is no instant to begin with.
    pub fn new(begins_at: Option<DateTime<Utc>>) -> Self {
        Self(begins_at.map(|at| (at, Instant::now())))
    }

    /// Microseconds since 1970.
    pub fn now_us(&self) -> i64 {
        let Some((began_at, since)) = self.0 else { return now_us() };
        began_at.timestamp_micros().saturating_add(i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}
