//! `regua import`: files in the ERP's own column names, written into the mirror of the `files` source.
//!
//! Importing the same file again changes nothing: rows are known by id, and only newer looks overwrite older ones.

use chrono::NaiveDate;
use regua_domain::ids::CustomerId;
use regua_domain::mirror::{Customer, Invoice};
use regua_ixc::files::{FileError, FileOptions, FileRecord, LineProblem, Note, Parsed, parse_customers, parse_invoices};
use regua_ledger::audit::By;
use regua_ledger::mirror::{BATCH_MAX, Source, Sync};
use regua_ledger::{Ledger, LedgerError, new_id};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// `cliente`.
    Customers,
    /// `fn_areceber`.
    Invoices,
}

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct Import {
    /// What the file holds.
    pub kind: ImportKind,
    /// The file.
    pub path: PathBuf,
    /// Keep nothing unless every line is good.
    pub all_or_nothing: bool,
    /// The file has every open title: what it lacks may not be charged any more.
    pub full: bool,
    /// Who imports it, and why.
    pub by: By,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that were read.
    pub good: usize,
    /// Lines that can't be read.
    pub bad: usize,
    /// Titles that a full file lacked.
    pub withdrawn: usize,
    /// Whether anything was kept.
    pub kept: bool,
}

/// Something to tell about a line.
#[derive(Clone, Debug)]
pub enum Remark {
    /// It can't be read.
    Problem(LineProblem),
    /// It was read, but.
    Note(Note),
}

/// Why an import failed as a whole.
#[derive(Debug, Error)]
pub enum ImportError {
    /// There isn't exactly one source to import into.
    #[error("the configuration has {0} sources with kind = \"files\"; importing needs exactly one")]
    Sources(usize),
    /// Another import is at work.
    #[error("another import is writing into source {0}; wait for it")]
    Busy(String),
    /// The file can't be opened.
    #[error("{path} can't be opened")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// The file as a whole can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

/// Imports a file; `tell` hears of each line worth a remark, in order.
///
/// # Errors
/// See [`ImportError`]; lines that can't be read are no error but counted.
pub async fn import(ledger: &Ledger, import: &Import, tell: &mut (dyn FnMut(&Remark) + Send)) -> Result<Imported, ImportError> {
    match import.kind {
        ImportKind::Customers => run(ledger, import, tell, parse_customers).await,
        ImportKind::Invoices => run(ledger, import, tell, parse_invoices).await,
    }
}

type Opened<T> = Parsed<T, BufReader<File>>;

async fn run<T: Mirrored>(
    ledger: &Ledger,
    import: &Import,
    tell: &mut (dyn FnMut(&Remark) + Send),
    parse: impl Fn(BufReader<File>, &FileOptions) -> Result<Opened<T>, FileError>,
) -> Result<Imported, ImportError> {
    let source = files_source(ledger).await?;
    let options = FileOptions::named(import.path.display().to_string());
    if import.all_or_nothing {
        let looked = look_through(parse(open(&import.path)?, &options)?, tell)?;
        if looked.bad > 0 {
            return Ok(looked);
        }
    }
    let mut rows = parse(open(&import.path)?, &options)?;
    let sync = ledger.begin_sync(source.id, new_id()).await?.ok_or_else(|| ImportError::Busy(source.name.clone()))?;
    let written = write(ledger, sync, &mut rows, import, tell).await;
    // Customers alone don't make the mirror young: what is owed is in the invoices.
    let complete = import.kind == ImportKind::Invoices;
    match written {
        Ok(imported) => ledger.end_import(sync, complete, told(import, &imported), import.by.clone()).await?,
        Err(_) => ledger.end_sync(sync, false).await?,
    }
    written
}

/// What the audit log says of an import.
fn told(import: &Import, imported: &Imported) -> serde_json::Value {
    let kind = match import.kind {
        ImportKind::Customers => "customers",
        ImportKind::Invoices => "invoices",
    };
    let file = import.path.file_name().map(|name| name.to_string_lossy());
    let Imported { good, bad, withdrawn, kept: _ } = imported;
    serde_json::json!({ "kind": kind, "file": file, "full": import.full, "good": good, "bad": bad, "withdrawn": withdrawn })
}

async fn files_source(ledger: &Ledger) -> Result<Source, ImportError> {
    let mut sources = ledger.sources().await?;
    sources.retain(|source| source.kind == "files");
    match (sources.len(), sources.pop()) {
        (1, Some(source)) => Ok(source),
        (number, _) => Err(ImportError::Sources(number)),
    }
}

fn open(path: &Path) -> Result<BufReader<File>, ImportError> {
    File::open(path).map(BufReader::new).map_err(|why| ImportError::Open { path: path.display().to_string(), why })
}

fn look_through<T: Mirrored>(mut rows: Opened<T>, tell: &mut (dyn FnMut(&Remark) + Send)) -> Result<Imported, ImportError> {
    let mut looked = Imported::default();
    while let Some(batch) = rows.next_batch(BATCH_MAX)? {
        looked.good += batch.rows.len();
        looked.bad += batch.problems.len();
        for problem in batch.problems {
            tell(&Remark::Problem(problem));
        }
    }
    Ok(looked)
}

async fn write<T: Mirrored>(
    ledger: &Ledger,
    sync: Sync,
    rows: &mut Opened<T>,
    import: &Import,
    tell: &mut (dyn FnMut(&Remark) + Send),
) -> Result<Imported, ImportError> {
    let mut imported = Imported { kept: true, ..Imported::default() };
    while let Some(batch) = rows.next_batch(ledger.mirror_batch())? {
        imported.good += batch.rows.len();
        imported.bad += batch.problems.len();
        for problem in batch.problems {
            tell(&Remark::Problem(problem));
        }
        for note in batch.notes {
            tell(&Remark::Note(note));
        }
        T::write(ledger, sync, batch.rows).await?;
    }
    if import.full && import.kind == ImportKind::Invoices {
        imported.withdrawn = withdraw_unseen(ledger, sync).await?;
    }
    Ok(imported)
}

/// Titles that a full file lacks are hidden: not charged any more, but no event, for nobody said what became of them.
async fn withdraw_unseen(ledger: &Ledger, sync: Sync) -> Result<usize, LedgerError> {
    let (mut withdrawn, mut after) = (0, None);
    loop {
        let unseen = ledger.unseen_titles(sync, NaiveDate::MIN, after, u32::try_from(BATCH_MAX).unwrap_or(u32::MAX)).await?;
        let Some(last) = unseen.last().cloned() else { return Ok(withdrawn) };
        let mut titles = ledger.invoices_by_id(sync.source_id, &unseen).await?;
        for title in &mut titles {
            title.released = false;
        }
        withdrawn += titles.len();
        ledger.write_invoices(sync, titles, ledger.now().await?).await?;
        after = Some(last);
    }
}

/// A record that the mirror keeps.
trait Mirrored: FileRecord + Sized {
    /// Writes a batch as it is seen now.
    async fn write(ledger: &Ledger, sync: Sync, rows: Vec<Self>) -> Result<(), LedgerError>;
}

impl Mirrored for Customer {
    async fn write(ledger: &Ledger, sync: Sync, rows: Vec<Self>) -> Result<(), LedgerError> {
        ledger.write_customers(sync, rows, ledger.now().await?).await.map(|_| ())
    }
}

impl Mirrored for Invoice {
    async fn write(ledger: &Ledger, sync: Sync, rows: Vec<Self>) -> Result<(), LedgerError> {
        warn_of_strangers(ledger, sync, &rows).await?;
        ledger.write_invoices(sync, rows, ledger.now().await?).await.map(|_| ())
    }
}

/// Invoices whose customer isn't there yet are kept; they send nothing until it is imported.
async fn warn_of_strangers(ledger: &Ledger, sync: Sync, rows: &[Invoice]) -> Result<(), LedgerError> {
    let mut ids: Vec<CustomerId> = rows.iter().filter_map(|row| row.customer_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let known = ledger.known_customers(sync.source_id, &ids).await?.len();
    if known < ids.len() {
        tracing::warn!(
            customers = ids.len() - known,
            "import.unknown_customers: import them too, their invoices send nothing until then"
        );
    }
    Ok(())
}
