//! The console's bounds.

use std::time::Duration;

/// The longest body of a webhook.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long a body may take to come.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// Calls that wait for the ledger at once; the next one is asked to come again.
pub const WAITING_MAX: usize = 256;
/// How long calls are let come together: a commit costs the same for one as for many.
pub const GATHER: Duration = Duration::from_millis(20);
/// How long a call waits for the ledger before it is asked to come again.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a caller is asked to wait before it comes again, in seconds.
pub const AGAIN_AFTER_S: &str = "5";
/// Calls of ERPs that are written at once.
pub const ERP_AT_ONCE: usize = 4;
/// How often it is looked for early receipts whose turn has come.
pub const EARLY_EVERY: Duration = Duration::from_secs(1);
/// How often the secrets are read again.
pub const FRESH_EVERY: Duration = Duration::from_secs(5);
