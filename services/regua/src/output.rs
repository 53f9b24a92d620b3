//! What the command line prints: tables for people, one JSON object a line for programs.

use serde::Serialize;
use std::fmt::Display;
use std::io::Write as _;

pub use regua_pipeline::NOTHING_CONFIGURED;

/// Ids that a mend offers to choose from.
const CHOICES_MAX: usize = 20;

/// Prints a line of what was asked for. Whoever closes the pipe (`| head`) has seen enough: the process ends without a word. So nothing is
/// printed with it before a change is made; see [`before_a_change`].
pub fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}") {
        std::process::exit(i32::from(error.kind() != std::io::ErrorKind::BrokenPipe));
    }
}

/// Prints lines before the change that they speak of: who closes the pipe doesn't stop the change.
pub fn before_a_change(text: impl Display) {
    writeln!(std::io::stdout().lock(), "{text}").ok();
}

/// Prints a formatted line with [`line()`].
macro_rules! say {
    ($($part:tt)*) => { $crate::output::line(format_args!($($part)*)) };
}
pub(crate) use say;

/// Prints a line on standard error about what is being done or went wrong. It stops nothing if nobody reads it.
pub fn note(text: impl Display) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Prints a formatted line with [`note()`].
macro_rules! remark {
    ($($part:tt)*) => { $crate::output::note(format_args!($($part)*)) };
}
pub(crate) use remark;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    Human,
    /// For a program.
    Json,
}

/// Prints a list: JSON Lines, or a table with these headings and cells.
pub fn list<T: Serialize>(
    format: Format,
    items: &[T],
    headings: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            for item in items {
                line(serde_json::to_string(item)?);
            }
        }
        Format::Human => line(table(headings, &items.iter().map(cells).collect::<Vec<_>>()).trim_end()),
    }
    Ok(())
}

/// Ids of Opa! Suite's to choose from, with their names.
pub fn offer<'a>(ids: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut ids: Vec<String> = ids.map(|(id, name)| format!("{id} ({name})")).collect();
    let more = ids.len().saturating_sub(CHOICES_MAX);
    ids.truncate(CHOICES_MAX);
    match (ids.is_empty(), more) {
        (true, _) => "none: Opa! Suite has none".to_owned(),
        (false, 0) => ids.join(", "),
        (false, more) => format!("{} and {more} more", ids.join(", ")),
    }
}

/// A table as text: columns as wide as their widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "bbbb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&["x", "y"], &rows), "x    y\na    bbbb\nccc  d\n");
    }
}
