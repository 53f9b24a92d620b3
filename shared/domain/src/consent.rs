//! Opt-outs: who asked not to be written to. A stop request ends the channel, not the debt; date, source and scope are its proof (contracts §4).

use crate::ids::{BusinessId, ChannelId};
use crate::message::{SkipReason, names};
use crate::pilot::Pilot;
use crate::render::Rendered;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

names! {
    /// How it became known that somebody asked not to be written to.
    OptOutSource {
        /// An operator noted it.
        Command = "command",
        /// A file was imported.
        File = "file",
        /// The platform reported it.
        Webhook = "webhook",
        /// The ERP says so.
        Erp = "erp",
    }
}

/// Whose messages an opt-out ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptOutScope {
    /// Every business's.
    All,
    /// Those of one business, through whichever of its channels.
    Business(BusinessId),
}

/// Whom messages reach: what holds of ours, their consent and a pilot leave of those that are called for.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// The channels through which this customer asked not to be written to.
    pub opted_out: &'a BTreeSet<ChannelId>,
    /// The last day of the longest hold on the invoice or its customer; it may be over. Holds are not asked of events.
    pub held_until: Option<NaiveDate>,
    /// The pilot.
    pub pilot: &'a Pilot,
}

impl Reach<'static> {
    /// Nobody asked for anything, and there is no pilot.
    pub const EVERYBODY: Self = Reach { opted_out: &BTreeSet::new(), held_until: None, pilot: &Pilot::Off };
}

impl Reach<'_> {
    /// What is sent through `channel` in place of `text`.
    ///
    /// # Errors
    /// Why nothing is sent.
    pub fn admit(&self, text: Rendered, channel: ChannelId) -> Result<Rendered, SkipReason> {
        if self.opted_out.contains(&channel) { Err(SkipReason::OptedOut) } else { self.pilot.admit(text) }
    }
}
