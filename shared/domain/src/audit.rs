//! What people and checks do to a running Régua, by name: the audit log's closed set.

use crate::message::names;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// An intervention: something that wasn't decided by the schedule.
    Action {
        /// A configuration was applied.
        ConfigurationApplied = "configuration_applied",
        /// A file of the ERP's was imported.
        Imported = "imported",
        /// A run was planned by hand.
        RunPlanned = "run_planned",
        /// A run that waited for consent was approved.
        RunApproved = "run_approved",
        /// A stop was raised.
        StopRaised = "stop_raised",
        /// A stop was lifted.
        StopLifted = "stop_lifted",
        /// A doubtful message was settled.
        DoubtResolved = "doubt_resolved",
        /// A failed message was sent back to be tried again.
        FailureReplayed = "failure_replayed",
        /// A failed message was set aside for good.
        FailureDiscarded = "failure_discarded",
        /// Somebody opted out.
        OptOutAdded = "opt_out_added",
        /// An opt-out was taken back.
        OptOutRemoved = "opt_out_removed",
        /// A customer or an invoice is left alone for a while.
        HoldSet = "hold_set",
        /// A hold was lifted.
        HoldLifted = "hold_lifted",
        /// A changed template was accepted.
        TemplateAccepted = "template_accepted",
        /// A test message was sent.
        TestSent = "test_sent",
        /// A backup was said to be restored.
        Restored = "restored",
        /// A secret was written into the ledger.
        SecretSet = "secret_set",
        /// A secret was removed from the ledger.
        SecretRemoved = "secret_removed",
        /// The secrets were sealed under another key.
        SecretsRotated = "secrets_rotated",
        /// The kept counts of messages were set to what the rows say.
        CountsMended = "counts_mended",
    }
}
