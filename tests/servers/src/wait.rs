//! Waiting for a predicate, with a deadline.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it says `Some`.
///
/// # Errors
/// The probe's own, at once; `TimedOut` naming `what` when `limit` has passed.
pub(crate) fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if begun.elapsed() >= limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not within {} s", limit.as_secs())));
        }
        thread::sleep(PAUSE);
    }
}

/// Waits for the end of a process of ours.
pub(crate) fn until_exit(what: &str, limit: Duration, child: &mut Child) -> io::Result<ExitStatus> {
    until(what, limit, || child.try_wait())
}
