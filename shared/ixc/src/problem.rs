//! What is wrong with one record, and how much of that a sync bears.

use thiserror::Error;

/// A column that can't be read. It tells the value's shape, never the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {shape}, expected {expected}")]
pub struct FieldProblem {
    /// The ERP's column name.
    pub field: &'static str,
    /// What was found: digits as `9`, letters as `a`, or `empty`, `absent`, `a list`, `an object`.
    pub shape: String,
    /// What was expected.
    pub expected: &'static str,
}

/// A record of the webservice that can't be read. The others of its page are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// The ERP's resource, e.g. `fn_areceber`.
    pub resource: &'static str,
    /// The record's id, where it has a readable one.
    pub id: Option<String>,
    /// The ERP's column name; `registros` where the record itself is not an object.
    pub field: &'static str,
    /// What was found: digits as `9`, letters as `a`, or `empty`, `absent`, `a list`, `an object`.
    pub shape: String,
    /// What was expected.
    pub expected: &'static str,
}

impl std::fmt::Display for RowProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, id, field, shape, expected } = self;
        match id {
            Some(id) => write!(f, "{resource} {id}: {field} is {shape}, expected {expected}"),
            None => write!(f, "{resource} without a readable id: {field} is {shape}, expected {expected}"),
        }
    }
}

/// Counts the records of one sync and says when too many of them are bad: more than 1% fails the sync (issue 2, item 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadRowBudget {
    rows: u64,
    bad: u64,
}

impl BadRowBudget {
    /// Adds `rows` records read, `bad` of them unreadable.
    pub fn add(&mut self, rows: usize, bad: usize) {
        self.rows = self.rows.saturating_add(rows as u64);
        self.bad = self.bad.saturating_add(bad as u64);
    }

    /// The verdict at the end of the sync (a page may exceed it that the whole does not).
    ///
    /// # Errors
    /// [`TooManyBadRows`] when more than 1% of the rows were bad.
    pub const fn verdict(self) -> Result<(), TooManyBadRows> {
        if self.bad > self.rows / 100 { Err(TooManyBadRows { rows: self.rows, bad: self.bad }) } else { Ok(()) }
    }
}

/// More than 1% of the records of a sync could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{bad} of {rows} records could not be read, more than 1%: the sync fails")]
pub struct TooManyBadRows {
    /// Records read.
    pub rows: u64,
    /// Those that were unreadable.
    pub bad: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: usize, bad: usize, holds: bool) {
        let mut budget = BadRowBudget::default();
        budget.add(rows, bad);
        assert_eq!(budget.verdict().is_ok(), holds, "{bad} of {rows}");
    }

    #[test]
    fn more_than_one_percent_of_bad_rows_fails() {
        check(0, 0, true);
        check(99, 1, false);
        check(100, 1, true);
        check(100, 2, false);
        check(30_000, 300, true);
        check(30_000, 301, false);
        check(usize::MAX, usize::MAX, false);
    }

    #[test]
    fn the_budget_adds_up_over_pages() {
        let mut budget = BadRowBudget::default();
        budget.add(50, 1);
        assert!(budget.verdict().is_err());
        budget.add(50, 0);
        assert_eq!(budget.verdict(), Ok(()));
    }
}
