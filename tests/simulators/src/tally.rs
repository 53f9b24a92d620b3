//! Counters that both simulators keep of what they answered.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::StatusCode;

use crate::mix::locked;

/// Answers by status, apart from the admin routes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    by_status: Mutex<BTreeMap<u16, u64>>,
}

impl Tally {
    pub fn answered(&self, status: StatusCode) {
        *locked(&self.by_status).entry(status.as_u16()).or_default() += 1;
    }

    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        locked(&self.by_status).clone()
    }
}
