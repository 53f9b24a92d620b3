//! What came of it, by kind of fault.

use crate::verdict::{Finding, Wound};
use std::collections::BTreeMap;
use std::fmt;

/// What one kind of fault did.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// How often it struck.
    pub times: usize,
    /// How often it was drawn and found nothing to strike.
    pub missed: usize,
    /// Notices lost in rounds in which it struck.
    pub lost: usize,
    /// Notices duplicated in rounds in which it struck.
    pub duplicated: usize,
    /// Doubts that it explains.
    pub in_doubt: usize,
    /// From its healing until all was worked off, in seconds of the ledger's clock.
    pub recoveries_s: Vec<i64>,
}

/// A row per kind, and the totals.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: BTreeMap<&'static str, Row>,
    /// Notices lost.
    pub lost: usize,
    /// Notices duplicated.
    pub duplicated: usize,
    /// Doubts without a cause.
    pub unexplained: usize,
    /// Everything else that isn't as promised.
    pub other: usize,
}

impl Table {
    /// The row of a kind.
    pub fn row(&mut self, kind: &'static str) -> &mut Row {
        self.rows.entry(kind).or_default()
    }

    /// How many faults struck.
    pub fn struck(&self) -> usize {
        self.rows.values().map(|row| row.times).sum()
    }

    /// Takes in what a verdict over everything so far says: `findings`, each with the round of its invoice if it has one.
    pub fn judge(&mut self, wounds: &[Wound], explained: &[usize], findings: &[(Finding, Option<usize>)]) {
        for row in self.rows.values_mut() {
            row.in_doubt = 0;
        }
        for (wound, doubts) in wounds.iter().zip(explained) {
            self.row(wound.kind).in_doubt += doubts;
        }
        for (finding, round) in findings {
            let kinds: Vec<&'static str> =
                wounds.iter().filter(|wound| Some(wound.round) == *round).map(|wound| wound.kind).collect();
            match finding {
                Finding::Lost { .. } => {
                    self.lost += 1;
                    for kind in kinds {
                        self.row(kind).lost += 1;
                    }
                }
                Finding::Duplicated { .. } => {
                    self.duplicated += 1;
                    for kind in kinds {
                        self.row(kind).duplicated += 1;
                    }
                }
                Finding::UnexplainedDoubt { .. } => self.unexplained += 1,
                Finding::SentAfterPaid(_)
                | Finding::Undue(_)
                | Finding::Stuck { .. }
                | Finding::TooMuchDoubt { .. }
                | Finding::SentAfterWaking(_)
                | Finding::NotConserved(_)
                | Finding::NotRecovered(_)
                | Finding::BadRun { .. } => self.other += 1,
            }
        }
    }

    /// Nothing lost, nothing duplicated, everything explained.
    pub fn holds(&self) -> bool {
        self.lost + self.duplicated + self.unexplained + self.other == 0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["struck", "missed", "lost", "duplicated", "in doubt"];
        writeln!(
            f,
            "{:<32}{:>8}{:>8}{:>6}{:>12}{:>10}   recovered within, s",
            "fault", head[0], head[1], head[2], head[3], head[4]
        )?;
        for (kind, row) in &self.rows {
            let Row { times, missed, lost, duplicated, in_doubt, recoveries_s } = row;
            writeln!(
                f,
                "{kind:<32}{times:>8}{missed:>8}{lost:>6}{duplicated:>12}{in_doubt:>10}   {}",
                median_and_most(recoveries_s)
            )?;
        }
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let all: Vec<i64> = self.rows.values().flat_map(|row| row.recoveries_s.iter().copied()).collect();
        writeln!(
            f,
            "{:<32}{:>8}{:>8}{:>6}{:>12}{:>10}   {}",
            "all",
            self.struck(),
            sum(|row| row.missed),
            self.lost,
            self.duplicated,
            sum(|row| row.in_doubt),
            median_and_most(&all)
        )?;
        write!(f, "doubts without a cause: {}; other findings: {}", self.unexplained, self.other)
    }
}

fn median_and_most(seconds: &[i64]) -> String {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(most)) => format!("{median} (median), {most} (most)"),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Doubts;

    fn judged(finding: Finding, round: Option<usize>) -> Table {
        let mut table = Table::default();
        let wound = |kind, round| Wound { kind, round, from: 0, until: 1, doubts: Doubts::Nobodys };
        table.judge(&[wound("a", 1), wound("b", 2)], &[0, 3], &[(finding, round)]);
        table
    }

    #[test]
    fn a_finding_of_any_kind_breaks_the_promise() {
        assert!(Table::default().holds());
        let invoice = || "7".to_owned();
        let findings = [
            Finding::Lost { invoice: invoice(), instead: invoice() },
            Finding::Duplicated { invoice: invoice(), times: 2 },
            Finding::UnexplainedDoubt { message: regua_domain::ids::MessageId(uuid::Uuid::nil()), process: 1 },
            Finding::SentAfterPaid(invoice()),
            Finding::NotRecovered(invoice()),
        ];
        for finding in findings {
            assert!(!judged(finding.clone(), None).holds(), "{finding}");
        }
    }

    #[test]
    fn a_loss_counts_for_the_faults_of_its_round_and_doubts_for_what_explains_them() {
        let mut table = judged(Finding::Lost { invoice: "7".into(), instead: "held".into() }, Some(2));
        assert_eq!((table.row("a").lost, table.row("b").lost, table.lost), (0, 1, 1));
        assert_eq!((table.row("a").in_doubt, table.row("b").in_doubt), (0, 3));
    }
}
