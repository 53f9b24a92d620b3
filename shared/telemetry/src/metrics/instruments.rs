//! The instruments of a process: all of them atomics, so that counting waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `number`.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, number: i64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Adds `number`, which may be negative.
    pub fn add(&self, number: i64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bounds in seconds for what takes milliseconds: a request, a transaction.
pub const SHORT: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds in seconds for what takes minutes: a sync, a run.
pub const LONG: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0];

/// How long things took, counted by bounds that are given once.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Upper bounds in seconds, ascending.
    bounds: &'static [f64],
    /// How many fell under each bound and over the one before; the last one counts what is over all of them.
    counts: Box<[AtomicU64]>,
    /// Whole microseconds: they last for more than 500 000 years of waiting, added up.
    sum_us: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Each bound with how many were not over it; the infinite one, which counts all, is the last.
    pub buckets: Vec<(f64, u64)>,
    /// All durations added up, in seconds.
    pub sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum_us: AtomicU64::new(0) }))
    }

    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.0.bounds.partition_point(|bound| *bound < seconds);
        self.0.counts[place].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far. Whoever counts meanwhile may be in the buckets and not yet in the sum.
    pub fn get(&self) -> Distribution {
        let mut below = 0;
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds
            .zip(&self.0.counts)
            .map(|(bound, count)| {
                below += count.load(Ordering::Relaxed);
                (bound, below)
            })
            .collect();
        Distribution { buckets, sum: Duration::from_micros(self.0.sum_us.load(Ordering::Relaxed)).as_secs_f64() }
    }
}

impl Distribution {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, all)| *all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_at_a_bound_is_under_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for ms in [0, 100, 101, 1000, 1001, 9000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let counted = histogram.get();
        assert_eq!(counted.buckets, [(0.1, 2), (1.0, 4), (f64::INFINITY, 6)]);
        assert!((counted.sum - 11.202).abs() < 1e-9, "{}", counted.sum);
        assert_eq!(counted.count(), 6);
    }

    proptest! {
        #[test]
        fn nothing_that_many_threads_count_is_lost(durations in prop::collection::vec(0u64..40_000_000, 0..200)) {
            let histogram = Histogram::new(SHORT);
            std::thread::scope(|scope| {
                for part in durations.chunks(50) {
                    let histogram = histogram.clone();
                    scope.spawn(move || part.iter().for_each(|us| histogram.observe(Duration::from_micros(*us))));
                }
            });
            let counted = histogram.get();
            for (bound, count) in &counted.buckets {
                let under = durations.iter().filter(|us| Duration::from_micros(**us).as_secs_f64() <= *bound).count();
                prop_assert_eq!(*count, under as u64);
            }
            let sum = Duration::from_micros(durations.iter().sum()).as_secs_f64();
            prop_assert!((counted.sum - sum).abs() < 1e-6);
        }
    }
}
