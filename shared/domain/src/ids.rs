//! Identifiers. Régua's own are UUIDv7 (text in interfaces, so that they sort by creation); the ERP's are its own text.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

uuid_id! {
    /// The ledger itself: random, made by the first migration, kept by backups. Hints and `metadata` carry it.
    LedgerId;
    /// One Opa! Suite base.
    IntegrationId;
    /// One WhatsApp number of an integration.
    ChannelId;
    /// The WhatsApp business whose 24-hour recipient budget several channels share.
    BusinessId;
    /// What to say.
    NoticeId;
    /// Filters, priority, and the notices of the stages.
    PolicyId;
    /// A schedule.
    TaskId;
    /// Where customers and invoices are read from.
    SourceId;
    /// One execution of a task.
    RunId;
    /// The unit that is queued, sent and counted.
    MessageId;
    /// One HTTP try of a message; the fence of its result.
    AttemptId;
    /// One stop record: a pause by a person or a stop by an answer.
    StopId;
    /// One hold of our own on a customer or an invoice.
    HoldId;
}

macro_rules! erp_id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

erp_id! {
    /// `cliente.id` of the ERP: unique within one source.
    CustomerId;
    /// `fn_areceber.id` of the ERP: unique within one source.
    InvoiceId;
}
