//! What can go wrong with the ledger: always a fault of ours or of the database, never of a message.

use thiserror::Error;

/// A failure of the ledger. It costs no message an attempt.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// `REGUA_DATABASE_URL` names no database that Régua knows.
    #[error("REGUA_DATABASE_URL: expected {expected}")]
    Url {
        /// The forms that are understood.
        expected: &'static str,
    },
    /// The database failed or can't be reached.
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
    /// A statement that must return a row returned none.
    #[error("a row that must exist is missing")]
    MissingRow,
    /// A stored value that this version doesn't understand.
    #[error("column {column} holds {found}, which this version of Régua can't read")]
    Unreadable {
        /// The column.
        column: String,
        /// Its value's shape.
        found: String,
    },
    /// The work ran on after somebody else had taken it over.
    #[error("the lease is lost: somebody else has taken the work over")]
    LeaseLost,
    /// Another transaction wrote at the same moment what this one was about to; repeating it meets what that one wrote.
    #[error("another transaction was faster")]
    Overtaken,
    /// The transaction took longer than its bound.
    #[error("the transaction took too long and was given up")]
    TimedOut,
    /// The transaction's body panicked: a fault of ours, logged where it happened.
    #[error("the transaction panicked and was rolled back")]
    Panicked,
    /// A newer Régua has taken away from the schema what this one needs.
    #[error(
        "the ledger is at migration {found}, for binaries that know {runs_from}; this one knows {known}: start the newer Régua"
    )]
    Newer {
        /// The migration that the database is at.
        found: i64,
        /// How many migrations a binary must know to run on it.
        runs_from: i64,
        /// The newest that this binary knows.
        known: i64,
    },
    /// A migration found its tables in use for as long as it was tried.
    #[error(
        "the ledger's schema could not be brought up to date, for its tables were in use all the time: is a dump (pg_dump) or another long \
         transaction running? Try again when it has ended"
    )]
    HeldUp(#[source] Box<LedgerError>),
    /// Something asked for by a person isn't there or isn't allowed.
    #[error("{0}")]
    Refused(String),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// A stored value that can't be read.
    pub(crate) fn unreadable(column: &str, found: &str) -> Self {
        Self::Unreadable { column: column.to_owned(), found: found.chars().take(40).collect() }
    }

    /// Whether a constraint of the schema, or a column's type, refused what was to be written: repeating it as it is helps only if something else
    /// moves. Class 22 is PostgreSQL's of data that no column can hold.
    pub fn is_violation(&self) -> bool {
        use sqlx::error::ErrorKind;
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        matches!(
            error.kind(),
            ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation
                | ErrorKind::ExclusionViolation
        ) || error.code().is_some_and(|code| code.len() == 5 && code.starts_with("22"))
    }

    /// What was just checked to be the only one and isn't was written meanwhile: repeated, the transaction sees it.
    pub(crate) fn or_overtaken(self) -> Self {
        match &self {
            Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation() => Self::Overtaken,
            _ => self,
        }
    }

    /// Whether repeating the whole transaction can help: deadlock, serialisation failure, busy, a statement prepared before a migration.
    pub(crate) fn asks_for_repeat(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                matches!(
                    error.code().as_deref(),
                    Some("40001" | "40P01" | "55P03" | "5" | "6" | "261" | "517" | crate::database::OLD_PLAN)
                )
            }
            Self::Overtaken => true,
            _ => false,
        }
    }

    /// Whether the database could not be reached at all.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Database(error) => {
                matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_))
            }
            Self::TimedOut | Self::Closed => true,
            _ => false,
        }
    }
}
