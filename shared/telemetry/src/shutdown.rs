//! One shutdown for all parts of a process: begun by a signal or by code, bounded by a grace period.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that was told twice to end.
const EXIT_AT_ONCE: i32 = 130;

/// Whether, and for how long, a process is ending. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    grace: Duration,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::begin`] begins; `grace` is how long draining may last.
    pub fn new(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), grace, failure: Arc::default() }
    }

    /// A shutdown that SIGTERM or SIGINT begins. A second signal ends the process at once, with code 130.
    ///
    /// # Errors
    /// The signals can't be listened to.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let shutdown = Self::new(grace);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let name = next().await;
            tracing::info!(
                signal = name,
                grace_s = grace.as_secs(),
                "shutting down: what is on the wire is drained; a second signal ends at once"
            );
            token.cancel();
            let name = next().await;
            tracing::warn!(signal = name, "ending at once");
            std::process::exit(EXIT_AT_ONCE);
        });
        Ok(shutdown)
    }

    /// Begins the shutdown; beginning it again changes nothing.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Begins the shutdown because the process can't go on: it drains, and then fails with these words. The first ones stay.
    pub fn begin_for(&self, why: impl Into<String>) {
        self.failure.get_or_init(|| why.into());
        self.begin();
    }

    /// Why the process ends by itself; `None` while it doesn't, and where it was told to end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// The token that is cancelled when it begins, for those who take a token.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// How long draining may last.
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// Runs `work` to its end, or for at most the grace period after the shutdown begins; `None` if it had to be dropped.
    pub async fn within_grace<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let too_late = async {
            self.begun().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = too_late => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const GRACE: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_within_the_grace_period_is_finished() {
        let shutdown = Shutdown::new(GRACE);
        let work = async {
            shutdown.begun().await;
            tokio::time::sleep(GRACE / 2).await;
            "drained"
        };
        shutdown.begin();
        assert_eq!(shutdown.within_grace(work).await, Some("drained"));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_grace_period_is_dropped() {
        let shutdown = Shutdown::new(GRACE);
        let began = Instant::now();
        shutdown.begin();
        assert_eq!(shutdown.within_grace(std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_secs(), GRACE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_counts_from_the_shutdown_not_from_the_start() {
        let shutdown = Shutdown::new(GRACE);
        let clone = shutdown.clone();
        let work = async move {
            tokio::time::sleep(GRACE * 100).await;
            assert!(!clone.has_begun());
            clone.begin();
            clone.begin();
            assert!(clone.has_begun() && clone.token().is_cancelled());
            tokio::time::sleep(GRACE / 2).await;
        };
        assert_eq!(shutdown.within_grace(work).await, Some(()));
    }
}
