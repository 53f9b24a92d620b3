//! `[retention]`: how long personal data is kept after its message's last change.

use super::reader::{Reported, Section};
use crate::decide::{CATCH_UP_DAYS, CLOSED_DAYS_MAX};
use crate::events::EVENT_DAYS_MAX;
use crate::frequency::CAP_DAYS;
use serde::{Deserialize, Serialize};

/// The fewest days: longer than any rule looks back at what it could no longer see. Caps keep twice their days, a stage may be caught up after
/// the longest row of closed days, and thirty days may lie between two stages.
const PERSONAL_DATA_DAYS_MIN: u16 = 30;
/// The most: ten years, twice the civil limitation of a debt.
const PERSONAL_DATA_DAYS_MAX: u16 = 3660;

const _: () = {
    let min = PERSONAL_DATA_DAYS_MIN as u64;
    assert!(min > 2 * CAP_DAYS);
    assert!(min > CLOSED_DAYS_MAX + CATCH_UP_DAYS);
    assert!(min > EVENT_DAYS_MAX);
    assert!(min >= super::rules::DAYS_BETWEEN_MAX as u64);
};

/// How long personal data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Days after its last change until a finished message loses its phone and its text, and until events and holds that are over are deleted;
    /// 30 to 3660.
    pub personal_data_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self { personal_data_days: 180 }
    }
}

pub(super) fn retention(section: Option<Section<'_, '_>>) -> Result<Retention, Reported> {
    let Some(mut section) = section else { return Ok(Retention::default()) };
    let days = section.whole("personal_data_days", PERSONAL_DATA_DAYS_MIN, PERSONAL_DATA_DAYS_MAX);
    section.finish();
    Ok(days?.map_or_else(Retention::default, |days| Retention { personal_data_days: days.value }))
}
