//! Waiting for a predicate, with a deadline.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen soon; the machine may be busy.
pub const SOON: Duration = Duration::from_mins(1);
/// How often a predicate is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` says `Some`; panics naming `what` and the caller when [`SOON`] has passed.
#[track_caller]
pub fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(SOON, what, look)
}

/// As [`until`], with a deadline of its own.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let (caller, what) = (Location::caller(), what.to_owned());
    async move {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(began.elapsed() < limit, "{caller}: not within {} s: {what}", limit.as_secs());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
