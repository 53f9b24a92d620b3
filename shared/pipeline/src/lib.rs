//! What the three services stand on: the ledger and the broker, opened the same way everywhere, and the release of hints, which the
//! evaluator and the scheduler share.

mod alarm;
mod exposed;
mod open;
mod release;
mod stops;
pub mod story;
mod templates;
mod token;
mod watch;

pub use alarm::ledger_went_back;
pub use exposed::{contradicting_receipts, expose_ledger, hints_published};
pub use open::{ApplyError, NOTHING_CONFIGURED, Pipeline, allows_private_urls, open};
pub use release::{Released, release, release_channel};
pub use stops::{next_check_at, raise_answered_stop, raise_stop, stop_lifted, stop_name, stop_raised, what_ends};
pub use templates::{Look, Unseen, look_at_templates};
pub use token::{SecretKeys, TokenError, Tokens};
