//! Sync: lists a source's open titles, re-reads by id those that the list no longer has, and writes both into the mirror.
//!
//! Absence is never an event: only a title that was read by its id can be seen as paid, cancelled or renegotiated (F7). A failed
//! page, a `total` that disagrees, or more than one bad row in a hundred fail the whole sync; the mirror then stays as old as it was.

use crate::counters::Counters;
use chrono::{DateTime, Days, NaiveDate, Utc};
use futures::stream::{self, StreamExt as _};
use regua_domain::configuration::LastLook;
use regua_domain::decide::due_dates;
use regua_domain::ids::{CustomerId, InvoiceId, SourceId};
use regua_domain::mirror::Invoice;
use regua_ixc::webservice::{ConfigError, IxcClient, IxcConfig, IxcError, Page, Pix, Places, Refusal};
use regua_ixc::{BadRowBudget, RowProblem, TooManyBadRows};
use regua_ledger::looks;
use regua_ledger::mirror::{Source, Sync};
use regua_ledger::{Ledger, LedgerError};
use regua_pipeline::{TokenError, Tokens, allows_private_urls, story};
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::Process;
use regua_telemetry::shutdown::Shutdown;
use regua_telemetry::spans::{self, note};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

/// Titles or customers that are re-read in one go.
const REREAD: u32 = 200;
/// Questions for a Pix that are open at once.
const PIX_AT_ONCE: usize = 8;
/// Questions for a Pix for which the ERP may be away, whatever their share.
const PIX_AWAY_MIN: u64 = 5;
/// Of so many questions the ERP may be away for one.
const PIX_AWAY_SHARE: u64 = 10;
/// Bad rows that one sync logs one by one.
const PROBLEMS_LOGGED: usize = 20;

/// Why a source could not be synced.
#[derive(Debug, Error)]
pub enum SyncError {
    /// Another run is syncing it.
    #[error("another run is syncing it")]
    Busy,
    /// The shutdown began; the sync was given up, so that another may begin at once.
    #[error("the evaluator shut down")]
    Shutdown,
    /// Its token isn't there.
    #[error("its token can't be read")]
    Token(#[source] TokenError),
    /// Its address or token can't be used.
    #[error("its settings can't be used")]
    Settings(#[source] ConfigError),
    /// The webservice didn't give what was asked.
    #[error("the webservice failed")]
    Webservice(#[source] IxcError),
    /// Too many of its rows can't be understood.
    #[error("too many bad rows")]
    BadRows(#[source] TooManyBadRows),
    /// It didn't answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
}

/// How long a last look may take: half of what is left of its age when its message starts.
fn look_within(look: LastLook) -> Duration {
    let ahead = looks::AHEAD.to_std().unwrap_or_default();
    Duration::from_secs(look.max_age_s.into()).saturating_sub(ahead) / 2
}

impl From<LedgerError> for SyncError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<IxcError> for SyncError {
    fn from(error: IxcError) -> Self {
        Self::Webservice(error)
    }
}

/// A source's client with what it has learnt: the form of its date filters, the names of its places.
struct Reader {
    url: String,
    token: SecretString,
    client: IxcClient,
    places: Mutex<Places>,
}

/// How a run fares that asks a source for Pix codes.
#[derive(Debug)]
pub struct PixAsking {
    can_be_asked: bool,
    answered: u64,
    unanswered: u64,
    /// Of those, the ones for which the ERP was away: they cost time, while a wrong answer costs no more than a right one.
    away: u64,
}

impl PixAsking {
    /// Of a run that has asked nothing yet.
    pub fn of(source: &Source) -> Self {
        Self { can_be_asked: source.kind == "ixc", answered: 0, unanswered: 0, away: 0 }
    }

    /// Whether further questions are asked: not of a source that has no codes, and not of one that is away for more than one question in ten.
    pub const fn goes_on(&self) -> bool {
        self.can_be_asked && (self.away < PIX_AWAY_MIN || self.away * PIX_AWAY_SHARE <= self.answered)
    }

    fn note(&mut self, error: Option<&IxcError>) {
        let Some(error) = error else {
            self.answered += 1;
            return;
        };
        self.unanswered += 1;
        self.away += u64::from(error.is_away());
    }
}

/// Syncs sources, keeping their clients.
pub struct Syncer {
    ledger: Ledger,
    config: ServiceConfig,
    environment: Environment,
    shutdown: Shutdown,
    counters: Counters,
    readers: Mutex<HashMap<SourceId, Arc<Reader>>>,
}

/// Titles that are read again by their ids.
#[derive(Clone, Copy)]
enum Reread {
    /// Those that the mirror has as open and the list, of titles due from a date on, no longer had.
    Unseen { from: NaiveDate },
    /// Those that ended and that a waiting message speaks of: a payment may have been reversed since.
    Told,
}

/// The rows of one sync, good and bad.
#[derive(Default)]
struct Tally {
    budget: BadRowBudget,
    bad: usize,
    listed: usize,
    reread: usize,
    events: u64,
    /// The token's user may not list contracts: asked once per sync.
    contracts_refused: bool,
}

impl Tally {
    fn add<T>(&mut self, page: &Page<T>) {
        self.budget.add(page.rows_read, page.problems.len());
        for problem in page.problems.iter().take(PROBLEMS_LOGGED.saturating_sub(self.bad)) {
            log(problem);
        }
        self.bad += page.problems.len();
    }
}

fn log(problem: &RowProblem) {
    tracing::warn!(%problem, "sync.bad_row");
}

impl Syncer {
    /// A syncer of this process.
    pub fn new(ledger: Ledger, process: &Process) -> Self {
        Self {
            ledger,
            config: process.config.clone(),
            environment: process.environment.clone(),
            shutdown: process.shutdown.clone(),
            counters: Counters::new(&process.metrics),
            readers: Mutex::default(),
        }
    }

    /// Syncs one source whole. Sources of files are synced by `regua import`; for them there is nothing to do.
    ///
    /// # Errors
    /// See [`SyncError`]; the source can be synced again at once.
    pub async fn sync(&self, source: &Source, owner: Uuid) -> Result<(), SyncError> {
        if source.kind != "ixc" {
            return Ok(());
        }
        let span = story::sync(&source.name);
        let began = Instant::now();
        let synced = self.read_whole(source, owner).instrument(span.clone()).await;
        if synced.is_err() {
            spans::fail(&span, "not_synced");
        }
        self.counters.synced(&source.name, began.elapsed(), &synced);
        synced.map(drop)
    }

    /// How many titles it read.
    async fn read_whole(&self, source: &Source, owner: Uuid) -> Result<usize, SyncError> {
        let reader = self.reader(source).await?;
        let Some(sync) = self.ledger.begin_sync(source.id, owner).await? else { return Err(SyncError::Busy) };
        let result = tokio::select! {
            result = self.read_all(&reader, source, sync) => result,
            () = self.shutdown.begun() => Err(SyncError::Shutdown),
        };
        let ended = self.ledger.end_sync(sync, result.is_ok()).await;
        let tally = result?;
        ended?;
        let span = Span::current();
        note(&span, "regua.sync.listed", story::count(tally.listed as u64));
        note(&span, "regua.sync.reread", story::count(tally.reread as u64));
        tracing::info!(
            source = %source.name,
            generation = sync.generation,
            listed = tally.listed,
            reread = tally.reread,
            events = tally.events,
            bad_rows = tally.bad,
            contracts = !tally.contracts_refused,
            "sync.done"
        );
        Ok(tally.listed + tally.reread)
    }

    async fn read_all(&self, reader: &Reader, source: &Source, sync: Sync) -> Result<Tally, SyncError> {
        let today = self.ledger.settings().await?.times().date_at(sync.began_at);
        // Whatever a stage may speak of is looked at, however long ago it was due.
        let (from, to) = due_window(source, today);
        let stages = due_dates(&self.ledger.policies().await?, today);
        let (from, to) = stages.map_or((from, to), |(first, last)| (from.min(first), to.max(last)));
        let mut tally = Tally::default();
        self.list_open(reader, sync, (from, to), &mut tally).await?;
        self.reread(reader, sync, Reread::Unseen { from }, &mut tally).await?;
        self.reread(reader, sync, Reread::Told, &mut tally).await?;
        self.reread_listed(reader, sync, &mut tally).await?;
        tally.budget.verdict().map_err(SyncError::BadRows)?;
        Ok(tally)
    }

    /// Pages through the open titles by ascending id.
    async fn list_open(
        &self,
        reader: &Reader,
        sync: Sync,
        (from, to): (NaiveDate, NaiveDate),
        tally: &mut Tally,
    ) -> Result<(), SyncError> {
        let read = async |after: Option<InvoiceId>| -> Result<_, SyncError> {
            let issued_at = self.ledger.now().await?;
            Ok((reader.client.open_titles_page(after.as_ref(), from, to).await?, issued_at))
        };
        let mut listed = Some(read(None).await?);
        while let Some((page, issued_at)) = listed {
            let next = page.next.clone();
            tally.listed += page.rows.len();
            // The next page is on its way while this one is written.
            let write = async {
                self.write_customers(reader, sync, &page.rows, tally).await?;
                self.write_titles(reader, sync, page, issued_at, tally).await
            };
            let read_next = async { if next.is_some() { read(next).await.map(Some) } else { Ok(None) } };
            (listed, ()) = tokio::try_join!(read_next, write)?;
        }
        Ok(())
    }

    /// Re-reads titles by id, batch after batch.
    async fn reread(&self, reader: &Reader, sync: Sync, which: Reread, tally: &mut Tally) -> Result<(), SyncError> {
        let mut after = None;
        loop {
            let titles = match which {
                Reread::Unseen { from } => self.ledger.unseen_titles(sync, from, after, REREAD).await?,
                Reread::Told => self.ledger.titles_of_waiting_events(sync, after, REREAD).await?,
            };
            let Some(last) = titles.last().cloned() else { return Ok(()) };
            let issued_at = self.ledger.now().await?;
            let page = reader.client.titles_by_id(&titles).await?;
            tally.reread += page.rows.len();
            self.write_customers(reader, sync, &page.rows, tally).await?;
            self.write_titles(reader, sync, page, issued_at, tally).await?;
            after = Some(last);
        }
    }

    /// Writes titles, however they were read, with what their contracts say.
    async fn write_titles(
        &self,
        reader: &Reader,
        sync: Sync,
        mut page: Page<Invoice>,
        issued_at: DateTime<Utc>,
        tally: &mut Tally,
    ) -> Result<(), SyncError> {
        tally.add(&page);
        resolve_contracts(reader, &mut page.rows, tally).await?;
        tally.events += self.ledger.write_invoices(sync, page.rows, issued_at).await?.events;
        Ok(())
    }

    /// Re-reads by id the customers who are negatively listed and stand in no list of open titles.
    async fn reread_listed(&self, reader: &Reader, sync: Sync, tally: &mut Tally) -> Result<(), SyncError> {
        let mut after = None;
        loop {
            let listed = self.ledger.listed_customers(sync, after, REREAD).await?;
            let Some(last) = listed.last().cloned() else { return Ok(()) };
            self.read_customers(reader, sync, &listed, tally).await?;
            after = Some(last);
        }
    }

    async fn write_customers(
        &self,
        reader: &Reader,
        sync: Sync,
        invoices: &[Invoice],
        tally: &mut Tally,
    ) -> Result<(), SyncError> {
        let ids: BTreeSet<&CustomerId> = invoices.iter().filter_map(|invoice| invoice.customer_id.as_ref()).collect();
        let ids: Vec<CustomerId> = ids.into_iter().cloned().collect();
        if ids.is_empty() { Ok(()) } else { self.read_customers(reader, sync, &ids, tally).await }
    }

    async fn read_customers(&self, reader: &Reader, sync: Sync, ids: &[CustomerId], tally: &mut Tally) -> Result<(), SyncError> {
        let issued_at = self.ledger.now().await?;
        let mut page = reader.client.customers_by_id(ids).await?;
        tally.add(&page);
        let mut places = reader.places.lock().await;
        reader.client.resolve_places(&mut places, &mut page.rows).await?;
        drop(places);
        tally.events += self.ledger.write_customers(sync, page.rows, issued_at).await?.events;
        Ok(())
    }

    /// Reads titles once more that are wanted before their messages start, a batch of them; whether there were any.
    ///
    /// # Errors
    /// See [`SyncError`]; unless it was the ledger that failed, the ERP is left alone for a while.
    pub async fn last_look(&self, source: &Source) -> Result<bool, SyncError> {
        let Some(look) = self.ledger.take_looks(source.id).await? else { return Ok(false) };
        let read = async {
            let reader = self.reader(source).await?;
            let issued_at = self.ledger.now().await?;
            let mut page = reader.client.titles_by_id(&look.titles).await?;
            let mut tally = Tally::default();
            tally.add(&page);
            resolve_contracts(&reader, &mut page.rows, &mut tally).await?;
            Ok((page.rows, issued_at))
        };
        // An answer that is old when it comes would be asked for again and again.
        let limit = source.last_look.map_or(Duration::ZERO, look_within);
        match tokio::time::timeout(limit, read).await.unwrap_or(Err(SyncError::Slow(limit))) {
            Ok((titles, issued_at)) => {
                let (wanted, read) = (look.titles.len(), titles.len());
                let counts = self.ledger.write_look(look, titles, issued_at).await?;
                tracing::debug!(source = %source.name, wanted, read, events = counts.events, "last_look.done");
                Ok(true)
            }
            Err(SyncError::Ledger(error)) => Err(error.into()),
            Err(error) => {
                self.ledger.looks_failed(source.id).await?;
                Err(error)
            }
        }
    }

    /// Asks the ERP for the Pix of titles, a few at once; what it said of those that it spoke of. Without a code are those that have none that
    /// could be paid, and those that it refuses to speak of. A question without an answer leaves its own title out and no other, until
    /// `asking` says that no more are asked.
    ///
    /// # Errors
    /// [`SyncError`] where the source can't be asked at all.
    pub async fn pix(
        &self,
        source: &Source,
        titles: &[InvoiceId],
        asking: &mut PixAsking,
    ) -> Result<HashMap<InvoiceId, Option<Pix>>, SyncError> {
        let reader = self.reader(source).await?;
        let ask = |title: InvoiceId| {
            let client = reader.client.clone();
            async move {
                let answer = match client.pix(&title).await {
                    Err(IxcError::Refused { .. } | IxcError::IdNotNumeric { .. }) => Ok(None),
                    answer => answer,
                };
                (title, answer)
            }
        };
        let mut asked = stream::iter(titles.iter().cloned().map(ask)).buffered(PIX_AT_ONCE);
        let mut answers = HashMap::with_capacity(titles.len());
        while asking.goes_on()
            && let Some((title, answer)) = asked.next().await
        {
            asking.note(answer.as_ref().err());
            match answer {
                Ok(pix) => {
                    answers.insert(title, pix);
                }
                Err(error) if asking.unanswered <= PROBLEMS_LOGGED as u64 => {
                    tracing::warn!(source = %source.name, invoice = %title.0, error = %Chain(&error), "pix.not_answered");
                }
                Err(error) => {
                    tracing::debug!(source = %source.name, invoice = %title.0, error = %Chain(&error), "pix.not_answered");
                }
            }
        }
        if !asking.goes_on() {
            let unanswered = asking.unanswered;
            tracing::error!(source = %source.name, unanswered, "pix.gave_up: notices that say a Pix are skipped; the next run asks again");
        }
        Ok(answers)
    }

    /// The source's client: kept across syncs, made anew when its address or its token changed.
    async fn reader(&self, source: &Source) -> Result<Arc<Reader>, SyncError> {
        let tokens = Tokens::load(&self.ledger, &self.config, &self.environment).await?;
        let token = tokens.of(&source.token, &source.name).map_err(SyncError::Token)?;
        let mut readers = self.readers.lock().await;
        let is_same = |reader: &&Arc<Reader>| reader.url == source.url && reader.token.expose_secret() == token.expose_secret();
        if let Some(reader) = readers.get(&source.id).filter(is_same) {
            return Ok(Arc::clone(reader));
        }
        let mut config = IxcConfig::new(source.url.clone(), token.clone());
        config.allow_private = allows_private_urls(&self.ledger, &self.config).await?;
        config.page_size = config.page_size.min(u16::try_from(self.ledger.mirror_batch()).unwrap_or(u16::MAX));
        let client = IxcClient::new(&config).map_err(SyncError::Settings)?;
        let reader = Arc::new(Reader { url: source.url.clone(), token, client, places: Mutex::default() });
        readers.insert(source.id, Arc::clone(&reader));
        Ok(reader)
    }
}

/// Puts into titles what their contracts say. A user who may list titles but no contracts is told once per sync: then nothing is known of
/// them, and nothing restricts.
async fn resolve_contracts(reader: &Reader, titles: &mut Vec<Invoice>, tally: &mut Tally) -> Result<(), SyncError> {
    if tally.contracts_refused {
        return Ok(());
    }
    match reader.client.resolve_contracts(titles).await {
        Ok(page) => tally.add(&page),
        Err(IxcError::Refused { refusal: Refusal::ResourceUnavailable, resource }) => {
            tally.contracts_refused = true;
            tracing::warn!(
                resource,
                "sync.contracts_refused: aviso_atraso and nao_avisar_ate can't be honoured; allow the resource in the ERP's user group"
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The due dates whose open titles are listed.
fn due_window(source: &Source, today: NaiveDate) -> (NaiveDate, NaiveDate) {
    let days = |days: i64| Days::new(u64::try_from(days).unwrap_or(0));
    (
        today.checked_sub_days(days(source.days_back)).unwrap_or(NaiveDate::MIN),
        today.checked_add_days(days(source.days_ahead)).unwrap_or(NaiveDate::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a run goes on asking after these: `.` an answer, `h` a page of HTML, `x` nobody there.
    fn goes_on(answers: &str) -> bool {
        let mut asking = PixAsking { can_be_asked: true, answered: 0, unanswered: 0, away: 0 };
        for answer in answers.chars() {
            match answer {
                '.' => asking.note(None),
                'h' => asking.note(Some(&IxcError::Html)),
                _ => asking.note(Some(&IxcError::Status { status: 503 })),
            }
        }
        asking.goes_on()
    }

    #[test]
    fn an_erp_that_is_away_is_asked_no_more_and_titles_that_it_stumbles_over_cost_the_others_nothing() {
        assert!(goes_on("xxxx") && !goes_on("xxxxx"));
        assert!(!goes_on("x.x.x.x.x."), "every second one is too many, in a row or not");
        assert!(goes_on(&"..........x".repeat(30)), "one in eleven is not");
        assert!(goes_on(&"h".repeat(500)));
    }
}
