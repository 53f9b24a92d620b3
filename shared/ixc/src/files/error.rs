//! What people are told about a file: why it can't be read at all, what is wrong with a line, what is worth knowing.

use super::records::{Broken, FIELDS_MAX, RECORD_LINES_MAX};
use crate::problem::FieldProblem;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The file as a whole can't be read, or not to its end.
#[derive(Debug, Error)]
pub enum FileError {
    /// The disk says no.
    #[error("{file} can't be read")]
    Io {
        /// The file's name.
        file: Arc<str>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("{file} is empty; expected a header with the ERP's column names, or JSON Lines")]
    Empty {
        /// The file's name.
        file: Arc<str>,
    },
    /// UTF-16, a spreadsheet, or otherwise no text.
    #[error("{file} is not text in UTF-8 or Windows-1252 (UTF-16, or a spreadsheet?); save it as CSV in UTF-8")]
    NotText {
        /// The file's name.
        file: Arc<str>,
    },
    /// A JSON array.
    #[error("{file} is one JSON list; expected JSON Lines: one object per line, without brackets and commas around them")]
    JsonArray {
        /// The file's name.
        file: Arc<str>,
    },
    /// The header can't be taken apart.
    #[error("{file}, line {line}: the header is {found}, expected {expected}")]
    BrokenHeader {
        /// The file's name.
        file: Arc<str>,
        /// The header's line.
        line: u64,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Columns that must be there.
    #[error("{file}, line {line}: the header has {found} columns, but not {missing}; expected the ERP's own column names")]
    MissingColumns {
        /// The file's name.
        file: Arc<str>,
        /// The header's line.
        line: u64,
        /// How many columns were found.
        found: usize,
        /// Those that are missing, as text: `id, telefone_celular or whatsapp`.
        missing: String,
    },
    /// A column twice.
    #[error("{file}, line {line}: the header has the column {column} twice; leave one")]
    DuplicateColumn {
        /// The file's name.
        file: Arc<str>,
        /// The header's line.
        line: u64,
        /// Which.
        column: &'static str,
    },
    /// More records than allowed.
    #[error("{file} has more than {rows_max} records; split it")]
    TooManyRows {
        /// The file's name.
        file: Arc<str>,
        /// The bound.
        rows_max: u64,
    },
}

/// One line that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// The file's name.
    pub file: Arc<str>,
    /// The record's first line, 1-based.
    pub line: u64,
    /// The ERP's column name; `None` where the line as a whole is wrong.
    pub field: Option<&'static str>,
    /// The shape of what was found: digits as `9`, letters as `a`.
    pub found: String,
    /// What was expected.
    pub expected: Cow<'static, str>,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, field, found, expected } = self;
        match field {
            Some(field) => write!(f, "{file}, line {line}: {field} is {found}, expected {expected}"),
            None => write!(f, "{file}, line {line}: found {found}, expected {expected}"),
        }
    }
}

impl LineProblem {
    /// The problem of one column.
    pub(super) fn of_field(file: Arc<str>, line: u64, problem: FieldProblem) -> Self {
        Self { file, line, field: Some(problem.field), found: problem.shape, expected: Cow::Borrowed(problem.expected) }
    }
}

/// What is wrong with a line as a whole.
pub(super) struct Unreadable {
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: Cow<'static, str>,
}

impl Broken {
    /// What was found and what was expected.
    pub(super) fn in_words(self, bytes_max: usize) -> (String, Cow<'static, str>) {
        match self {
            Self::TooLong => (format!("more than {bytes_max} bytes"), format!("at most {bytes_max}").into()),
            Self::NotUtf8 => ("bytes that are not UTF-8".to_owned(), "UTF-8, as in the rest of the file".into()),
            Self::OpenQuote => (
                format!("a quote that is not closed within {RECORD_LINES_MAX} lines or {bytes_max} bytes"),
                "a closing quote, and quotes inside quotes written twice".into(),
            ),
            Self::TooManyFields => (format!("more than {FIELDS_MAX} fields"), "one field per column".into()),
        }
    }
}

/// Something worth knowing that is no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Columns that are not read; their values were skipped.
    IgnoredColumns {
        /// The line that names them first.
        line: u64,
        /// Their names.
        names: Vec<String>,
        /// Those among them that carry personal data and had better not be exported.
        personal: Vec<String>,
    },
    /// A column that the file lacks and what that is taken for.
    AbsentColumn {
        /// The ERP's column name.
        column: &'static str,
        /// What is assumed.
        taken_for: &'static str,
    },
    /// The id was there before: this later line wins.
    DuplicateId {
        /// The later line.
        line: u64,
        /// The ERP's id.
        id: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IgnoredColumns { line, names, personal } => {
                write!(f, "line {line}: columns that are not read: {}", names.join(", "))?;
                if personal.is_empty() {
                    return Ok(());
                }
                write!(f, " (leave personal data out of the file: {})", personal.join(", "))
            }
            Self::AbsentColumn { column, taken_for } => write!(f, "there is no column {column}: {taken_for}"),
            Self::DuplicateId { line, id } => write!(f, "line {line}: id {id} was there before; this later line wins"),
        }
    }
}
