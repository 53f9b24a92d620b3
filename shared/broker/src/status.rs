//! How each link to the broker is, kept where `/readyz` can read it without waiting.

use crate::message::PoisonReason;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkRole {
    /// Publishing ticks and hints, and asking for the queue's depth.
    Publish,
    /// Consuming ticks.
    Ticks,
    /// Consuming hints.
    Hints,
}

impl LinkRole {
    /// The name in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Ticks => "ticks",
            Self::Hints => "hints",
        }
    }
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected yet, and nothing went wrong so far.
    Connecting,
    /// Works.
    Connected,
    /// Connected, but the server takes nothing: it is short of memory or disk.
    Blocked,
    /// Not connected; tried again with backoff, for ever.
    Down {
        /// What went wrong last, for a person; never holds a password.
        problem: String,
    },
}

impl LinkState {
    /// The problem of [`LinkState::Blocked`].
    pub(crate) const BLOCKED: &'static str = "RabbitMQ takes nothing from publishers: it is short of memory or disk";

    /// What is wrong, in words; `None` if the link works.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Connecting => Some("connecting"),
            Self::Connected => None,
            Self::Blocked => Some(Self::BLOCKED),
            Self::Down { problem } => Some(problem),
        }
    }
}

/// One link and how long it has been as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// What the link is for.
    pub role: LinkRole,
    /// How it is.
    pub state: LinkState,
    /// How long it has been connected, or how long it has not been.
    pub lasting: Duration,
}

impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.problem().unwrap_or("connected");
        write!(f, "{}: {state} (for {} s)", self.role.as_str(), self.lasting.as_secs())
    }
}

/// How the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerStatus {
    /// Every open link; empty for the in-process broker, which has none.
    pub links: Vec<LinkStatus>,
    /// How many wire messages were dead-lettered since the start of this process, by reason.
    pub poisoned: [(PoisonReason, u64); PoisonReason::ALL.len()],
    /// How many times a link that had been connected was connected again, since the start of this process.
    pub reconnects: u64,
}

impl BrokerStatus {
    /// Whether every link works.
    pub fn is_connected(&self) -> bool {
        self.links.iter().all(|link| link.state == LinkState::Connected)
    }

    /// What is wrong, one sentence for each link that doesn't work; `None` if all do.
    pub fn problem(&self) -> Option<String> {
        let broken: Vec<String> =
            self.links.iter().filter(|link| link.state != LinkState::Connected).map(ToString::to_string).collect();
        (!broken.is_empty()).then(|| broken.join("; "))
    }
}

/// Where links report to and [`BrokerStatus`] is read from.
#[derive(Debug, Default)]
pub(crate) struct Board {
    links: Mutex<Links>,
    poisoned: [AtomicU64; PoisonReason::ALL.len()],
    reconnects: AtomicU64,
}

#[derive(Debug, Default)]
struct Links {
    next: u64,
    open: BTreeMap<u64, OpenLink>,
}

#[derive(Debug)]
struct OpenLink {
    role: LinkRole,
    state: LinkState,
    since: Instant,
    was_connected: bool,
}

impl Board {
    /// Adds a link, which stays until its reporter is dropped.
    pub(crate) fn open(self: &Arc<Self>, role: LinkRole) -> LinkReporter {
        let mut links = self.lock();
        let key = links.next;
        links.next += 1;
        links.open.insert(key, OpenLink { role, state: LinkState::Connecting, since: Instant::now(), was_connected: false });
        LinkReporter { board: Arc::clone(self), role, key }
    }

    /// Counts and logs one wire message that is dead-lettered. `message_id` is a stranger's text: it is logged only if it is a UUID.
    pub(crate) fn poisoned(&self, role: LinkRole, reason: PoisonReason, message_id: Option<&str>) {
        self.poisoned[reason as usize].fetch_add(1, Ordering::Relaxed);
        let message_id = message_id.and_then(|text| text.parse::<uuid::Uuid>().ok());
        warn!(queue = role.as_str(), reason = reason.as_str(), ?message_id, "broker.dead_lettered");
    }

    pub(crate) fn status(&self) -> BrokerStatus {
        let links = self.lock();
        let link = |link: &OpenLink| LinkStatus { role: link.role, state: link.state.clone(), lasting: link.since.elapsed() };
        BrokerStatus {
            links: links.open.values().map(link).collect(),
            poisoned: PoisonReason::ALL.map(|reason| (reason, self.poisoned[reason as usize].load(Ordering::Relaxed))),
            reconnects: self.reconnects.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One link's pen on the [`Board`].
#[derive(Debug)]
pub(crate) struct LinkReporter {
    board: Arc<Board>,
    role: LinkRole,
    key: u64,
}

impl LinkReporter {
    pub(crate) fn role(&self) -> LinkRole {
        self.role
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Writes the link's state and logs it if it is news: an outage is logged once, and again only when its cause changes.
    pub(crate) fn set(&self, state: &LinkState) {
        {
            let mut links = self.board.lock();
            let Some(link) = links.open.get_mut(&self.key) else { return };
            if link.state == *state {
                return;
            }
            if link.state == LinkState::Connected || *state == LinkState::Connected {
                link.since = Instant::now();
            }
            if *state == LinkState::Connected {
                // A server that takes nothing for a while is still connected.
                let is_again = link.was_connected && link.state != LinkState::Blocked;
                self.board.reconnects.fetch_add(u64::from(is_again), Ordering::Relaxed);
                link.was_connected = true;
            }
            link.state = state.clone();
        }
        match state.problem() {
            None => info!(link = self.role.as_str(), "broker.connected"),
            Some(problem) => warn!(link = self.role.as_str(), problem, "broker.not_connected"),
        }
    }
}

impl Drop for LinkReporter {
    fn drop(&mut self) {
        self.board.lock().open.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_connected_when_every_open_link_is() {
        let board = Arc::new(Board::default());
        assert!(board.status().is_connected(), "a broker without links has nothing to wait for");
        let publish = board.open(LinkRole::Publish);
        let hints = board.open(LinkRole::Hints);
        publish.set(&LinkState::Connected);
        assert_eq!(board.status().problem().as_deref(), Some("hints: connecting (for 0 s)"));
        assert_eq!(board.status().reconnects, 0, "the first time is none");
        hints.set(&LinkState::Down { problem: "nothing listens there".to_owned() });
        assert_eq!(board.status().problem().as_deref(), Some("hints: nothing listens there (for 0 s)"));
        drop(hints);
        assert!(board.status().is_connected());
        publish.set(&LinkState::Blocked);
        assert!(!board.status().is_connected());
        publish.set(&LinkState::Connected);
        assert_eq!(board.status().reconnects, 0, "it was connected all the time");
        publish.set(&LinkState::Down { problem: "gone".to_owned() });
        publish.set(&LinkState::Connected);
        assert_eq!(board.status().reconnects, 1);
    }

    #[test]
    fn poison_is_counted_by_reason() {
        let board = Board::default();
        board.poisoned(LinkRole::Hints, PoisonReason::Schema, Some("not a uuid"));
        board.poisoned(LinkRole::Hints, PoisonReason::Schema, None);
        board.poisoned(LinkRole::Ticks, PoisonReason::Body, None);
        assert_eq!(board.status().poisoned, [(PoisonReason::Type, 0), (PoisonReason::Schema, 2), (PoisonReason::Body, 1)]);
    }
}
