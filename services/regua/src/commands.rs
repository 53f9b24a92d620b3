//! What each command of the operator does.

mod audit;
mod changes;
mod checks;
mod configuration;
mod explain;
mod failures;
mod forecast;
mod holds;
mod lists;
mod notices;
mod plain;
mod secrets;
mod session;
mod status;
mod times;
mod webhooks;

pub use checks::{check, support_bundle};
pub use configuration::config_check;
pub use failures::FilterNames;
pub(crate) use forecast::{ChannelOutlook, Outlook, Waiting};
pub use holds::Held;
pub(crate) use lists::{run_json, task_json};
pub(crate) use notices::{not_as_accepted, tests_json};
pub use plain::{phone, schedule_next};
pub use secrets::{SecretFrom, new_key};
pub use session::Session;
pub use times::PlaceArgs;

/// How a command went.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: 0.
    Done,
    /// It did not hold: 1.
    DidNotHold,
    /// Usage or configuration: 2.
    Misused(String),
}
