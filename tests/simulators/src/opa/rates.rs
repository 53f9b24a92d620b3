//! WhatsApp's two rates (contracts §3.1), on the simulator's clock. Memory is bounded by what fits in a window.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const SECOND_US: i64 = 1_000_000;

/// Messages per second of one channel, over a sliding window.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    recent: HashMap<String, VecDeque<i64>>,
}

impl Throughput {
    /// Whether `channel` may send at `at_us`: fewer than `per_second` were accepted in the second that ends there.
    pub fn allows(&mut self, channel: &str, per_second: u32, at_us: i64) -> bool {
        let Some(recent) = self.recent.get_mut(channel) else { return per_second > 0 };
        while recent.front().is_some_and(|accepted| *accepted <= at_us - SECOND_US) {
            recent.pop_front();
        }
        recent.len() < usize::try_from(per_second).unwrap_or(usize::MAX)
    }

    pub fn accepted(&mut self, channel: &str, at_us: i64) {
        self.recent.entry(channel.to_owned()).or_default().push_back(at_us);
    }
}

/// The least time between two messages to one phone.
#[derive(Debug, Default)]
pub(crate) struct PairRate {
    last: HashMap<String, i64>,
    order: VecDeque<(i64, String)>,
}

impl PairRate {
    /// Whether `phone` may get another message at `at_us`.
    pub fn allows(&mut self, phone: &str, interval: Duration, at_us: i64) -> bool {
        let horizon = at_us - i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        while self.order.front().is_some_and(|(accepted, _)| *accepted <= horizon) {
            if let Some((accepted, phone)) = self.order.pop_front()
                && self.last.get(&phone) == Some(&accepted)
            {
                self.last.remove(&phone);
            }
        }
        self.last.get(phone).is_none_or(|accepted| *accepted <= horizon)
    }

    pub fn accepted(&mut self, phone: &str, at_us: i64) {
        self.last.insert(phone.to_owned(), at_us);
        self.order.push_back((at_us, phone.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_gets_its_limit_in_any_second_and_no_more() {
        let mut throughput = Throughput::default();
        for at_us in [0, 10, 20] {
            assert!(throughput.allows("c", 3, at_us));
            throughput.accepted("c", at_us);
        }
        assert!(!throughput.allows("c", 3, SECOND_US - 1));
        assert!(throughput.allows("other", 3, SECOND_US - 1));
        assert!(throughput.allows("c", 3, SECOND_US));
    }

    #[test]
    fn a_phone_waits_out_its_interval_and_is_then_forgotten() {
        let mut pairs = PairRate::default();
        let six = Duration::from_secs(6);
        assert!(pairs.allows("+551", six, 0));
        pairs.accepted("+551", 0);
        assert!(!pairs.allows("+551", six, 6 * SECOND_US - 1));
        assert!(pairs.allows("+552", six, 1));
        assert!(pairs.allows("+551", six, 6 * SECOND_US));
        assert!(pairs.last.is_empty() && pairs.order.is_empty());
    }
}
