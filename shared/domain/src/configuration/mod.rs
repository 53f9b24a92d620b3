//! The configuration file: TOML in, a checked [`Configuration`] out, or every problem with its line and its mend.
//!
//! Secrets are only referred to: by environment variable, by file, or by their name in the ledger, which has them sealed. Names are resolved, addresses normalised, schedules
//! tried, and relations that can't hold are refused here, so that whoever applies a [`Configuration`] checks nothing again.
//! No file is opened and no environment read: both come as arguments.

mod connections;
mod difference;
mod export;
mod identity;
mod model;
mod names;
mod nearest;
mod notices;
mod parse;
mod problem;
mod reader;
mod retention;
mod rules;
mod sending;
mod times;
pub mod url;
mod window_settings;

pub use connections::is_secret_name;
pub use difference::{Change, ChangeKind, FieldChange, diff};
pub use export::export;
pub use model::{
    Approval, Business, Caps, Channel, Configuration, Expiry, Gateway, Integration, LastLook, Notice, Policy, PolicyStage, Price,
    Release, SecretRef, Source, SourceKind, Task, Unanswered,
};
pub use parse::{Defaults, FILE_BYTES_MAX};
pub use problem::{ConfigurationErrors, Fault, Note, PROBLEMS_MAX, Problem};
pub use retention::Retention;
pub use window_settings::{StateHours, StatesRule, WindowSettings};
