//! One process per SQLite ledger: `regua up` holds the file's lock, and the command line sees that it does.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The lock of a SQLite ledger, held while it lives.
pub struct LedgerLock {
    _file: File,
}

/// Whether the lock is ours.
pub enum LockAnswer {
    /// Nobody else has it.
    Ours(LedgerLock),
    /// Another process has it.
    Held,
}

impl LedgerLock {
    /// Takes the lock of the ledger at `database_url`; `None` for a ledger that several processes share.
    ///
    /// # Errors
    /// The lock's file can't be made beside the ledger's.
    pub fn take(database_url: &str) -> io::Result<Option<LockAnswer>> {
        let Some(path) = sqlite_path(database_url) else { return Ok(None) };
        let mut name = path.into_os_string();
        name.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(Path::new(&name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(LockAnswer::Ours(Self { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(Some(LockAnswer::Held)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The file of a SQLite ledger.
pub fn sqlite_path(database_url: &str) -> Option<PathBuf> {
    let rest = database_url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    Some(PathBuf::from(rest.split('?').next().unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_finds_the_lock_held_and_an_ended_one_leaves_it_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("regua.db").display());
        let first = LedgerLock::take(&url).expect("a lock");
        assert!(matches!(first, Some(LockAnswer::Ours(_))));
        assert!(matches!(LedgerLock::take(&url), Ok(Some(LockAnswer::Held))));
        drop(first);
        assert!(matches!(LedgerLock::take(&url), Ok(Some(LockAnswer::Ours(_)))));
    }

    #[test]
    fn a_ledger_that_processes_share_has_no_lock() {
        assert!(matches!(LedgerLock::take("postgres://regua@localhost/regua"), Ok(None)));
    }
}
