//! What was measured: a pair of rates per repetition, and the table of their minima, medians and maxima.

use crate::world::Backend;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Invoices per second, from the tick to the last commit.
    Evaluate,
    /// Hints per second, from the watermark to the last confirm.
    Release,
    /// Messages per second with one dispatcher, from published hints to the last `sent`.
    DispatchOne,
    /// The same with two.
    DispatchTwo,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Evaluate => "invoices evaluated/s",
            Self::Release => "hints released/s",
            Self::DispatchOne => "messages sent/s, 1 dispatcher",
            Self::DispatchTwo => "messages sent/s, 2 dispatchers",
        })
    }
}

/// Least, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Triple {
    /// The least.
    pub min: f64,
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Triple {
    /// The triple of some figures; all zero for none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Self { min: 0.0, median: 0.0, max: 0.0 };
        };
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Self { min: *min, median, max: *max }
    }

    fn show(self, decimals: usize) -> String {
        format!("{:.decimals$}/{:.decimals$}/{:.decimals$}", self.min, self.median, self.max)
    }
}

/// One repetition: Régua's rate and the raw loop's, in the same minute on the same servers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Per second, Régua.
    pub ours: f64,
    /// Per second, the raw loop.
    pub raw: f64,
}

/// One part on one backend.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Ledger and broker.
    pub backend: Backend,
    /// What.
    pub part: Part,
    /// Each repetition.
    pub pairs: Vec<Pair>,
    /// Régua's rates.
    pub ours: Triple,
    /// The raw loop's.
    pub raw: Triple,
    /// Ours over raw, pair by pair: what holds when the machine's speed drifts.
    pub ratio: Triple,
    /// Attempts per message, for a dispatch.
    pub attempts_per_message: Option<Triple>,
}

impl Figure {
    /// The figure of some repetitions.
    pub fn of(backend: Backend, part: Part, pairs: Vec<Pair>, attempts: &[f64]) -> Self {
        Self {
            backend,
            part,
            ours: Triple::of(pairs.iter().map(|pair| pair.ours)),
            raw: Triple::of(pairs.iter().map(|pair| pair.raw)),
            ratio: Triple::of(pairs.iter().map(|pair| pair.ours / pair.raw)),
            attempts_per_message: (!attempts.is_empty()).then(|| Triple::of(attempts.iter().copied())),
            pairs,
        }
    }
}

/// What it was measured on and with.
#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    /// Invoices, and so messages, of each repetition.
    pub invoices: u32,
    /// Repetitions.
    pub repetitions: u32,
    /// Processors, shared by everything that is measured.
    pub processors: usize,
    /// The system's load averages when it began and when it ended: other work makes every figure smaller.
    pub load_average: [String; 2],
    /// Versions of Régua, the databases and RabbitMQ.
    pub versions: Vec<(String, String)>,
    /// Sizes of batches and bounds.
    pub sizes: Vec<(String, usize)>,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// On and with what.
    pub setup: Setup,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { invoices, repetitions, processors, load_average: [before, after], versions, sizes } = &self.setup;
        let list = |pairs: Vec<String>| pairs.join(", ");
        writeln!(f, "{invoices} invoices, repetitions: {repetitions} (min/median/max), processors: {processors}")?;
        writeln!(f, "load average before: {before}; after: {after}")?;
        writeln!(f, "{}", list(versions.iter().map(|(name, version)| format!("{name} {version}")).collect()))?;
        writeln!(f, "{}", list(sizes.iter().map(|(name, size)| format!("{name}: {size}")).collect()))?;
        for figure in &self.figures {
            let mut line = format!(
                "{:<22} {:<31} ours {:>17}  raw {:>20}  ratio {}",
                figure.backend.to_string(),
                figure.part,
                figure.ours.show(0),
                figure.raw.show(0),
                figure.ratio.show(2)
            );
            if let Some(attempts) = figure.attempts_per_message {
                write!(line, "  attempts/message {}", attempts.show(2))?;
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(figures: &[f64], min: f64, median: f64, max: f64) {
        assert_eq!(Triple::of(figures.iter().copied()), Triple { min, median, max }, "{figures:?}");
    }

    #[test]
    fn a_triple_is_least_middle_and_greatest_in_any_order() {
        check(&[], 0.0, 0.0, 0.0);
        check(&[5.0], 5.0, 5.0, 5.0);
        check(&[3.0, 1.0], 1.0, 2.0, 3.0);
        check(&[3.0, 1.0, 2.0], 1.0, 2.0, 3.0);
    }

    #[test]
    fn the_ratio_is_taken_pair_by_pair() {
        let pairs = vec![Pair { ours: 10.0, raw: 20.0 }, Pair { ours: 30.0, raw: 30.0 }];
        let figure = Figure::of(Backend::Sqlite, Part::Release, pairs, &[]);
        assert_eq!(figure.ratio, Triple { min: 0.5, median: 0.75, max: 1.0 });
    }
}
