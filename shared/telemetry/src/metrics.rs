//! Metrics in Prometheus's text format: counters, gauges and histograms of the process, and families read from elsewhere at scrape time.
//!
//! The writer is ours: the format is a page, and what we expose is mostly counts read from the ledger when asked, which the
//! client libraries' registries of live instruments serve only through a detour.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

mod instruments;
mod process;
mod text;

pub use instruments::{Counter, Distribution, Gauge, Histogram, LONG, SHORT};
pub use text::CONTENT_TYPE;

/// A source that takes longer is left out of the scrape. It is less than any scraper waits: what one source lacks must not cost the others'
/// families, and make the process look dead.
const SOURCE_MAX: Duration = Duration::from_secs(2);

/// How a family's values move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only upwards, or back to zero at a restart.
    Counter,
    /// Up and down.
    Gauge,
    /// How many durations fell under each of some bounds.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The labels of one sample: names and values. Values come from closed enums or configured names, never from customers.
pub type Labels = Vec<(&'static str, String)>;

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`, its unit last, counters ending in `_total`.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its samples; of two with equal labels the first is shown.
    pub samples: Vec<(Labels, Reading)>,
}

/// What one sample says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The value of a counter or a gauge.
    Number(f64),
    /// What a histogram counted.
    Distribution(Distribution),
}

impl MetricFamily {
    /// A family of counters, yet empty.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    /// A family of gauges, yet empty.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    /// Adds a sample.
    #[must_use]
    pub fn sample(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.samples.push((owned(labels), Reading::Number(value)));
        self
    }

    /// Adds a count.
    #[must_use]
    pub fn count(self, labels: &[(&'static str, &str)], value: u64) -> Self {
        self.sample(labels, real(value))
    }
}

/// Why a source could not be read.
pub type SourceError = Box<dyn Error + Send + Sync>;
type Families = Result<Vec<MetricFamily>, SourceError>;
type Source = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Families> + Send>> + Send + Sync>;

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Registry>);

struct Registry {
    started_at: SystemTime,
    own: Mutex<BTreeMap<&'static str, Own>>,
    sources: Mutex<Vec<(&'static str, Source)>>,
    /// One scrape at a time, so that a crowd of scrapers costs the ledger no more than one.
    scraping: tokio::sync::Mutex<()>,
}

/// A family of the process's own.
struct Own {
    help: &'static str,
    kind: Kind,
    series: BTreeMap<Labels, Cell>,
}

#[derive(Clone)]
enum Cell {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Only what the process itself shows: start time, memory, open files.
    pub fn new() -> Self {
        Self(Arc::new(Registry {
            started_at: SystemTime::now(),
            own: Mutex::default(),
            sources: Mutex::default(),
            scraping: tokio::sync::Mutex::default(),
        }))
    }

    /// The counter of this name and these labels; asking again gives the same one. A name of another kind gives a counter nobody sees.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match self.cell(name, help, Kind::Counter, labels, || Cell::Counter(Counter::default())) {
            Cell::Counter(counter) => counter,
            Cell::Gauge(_) | Cell::Histogram(_) => Counter::default(),
        }
    }

    /// The gauge of this name and these labels; asking again gives the same one. A name of another kind gives a gauge nobody sees.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        match self.cell(name, help, Kind::Gauge, labels, || Cell::Gauge(Gauge::default())) {
            Cell::Gauge(gauge) => gauge,
            Cell::Counter(_) | Cell::Histogram(_) => Gauge::default(),
        }
    }

    /// The histogram of this name and these labels; asking again gives the same one. `bounds` are in seconds and ascend; those of the first who
    /// asks hold. A name of another kind gives a histogram nobody sees.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: &[(&'static str, &str)],
    ) -> Histogram {
        match self.cell(name, help, Kind::Histogram, labels, || Cell::Histogram(Histogram::new(bounds))) {
            Cell::Histogram(histogram) => histogram,
            Cell::Counter(_) | Cell::Gauge(_) => Histogram::new(bounds),
        }
    }

    /// Adds families that are read when somebody asks, such as counts of the ledger. A source that fails or takes longer than 2 s is
    /// left out, which `regua_metrics_source_up` tells. One name is one source: adding it again replaces it.
    pub fn source<F, Fut>(&self, name: &'static str, read: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Families> + Send + 'static,
    {
        let mut sources = lock(&self.0.sources);
        sources.retain(|(known, _)| *known != name);
        sources.push((name, Arc::new(move || Box::pin(read()))));
    }

    /// Everything in the text format, families by name.
    pub async fn render(&self) -> String {
        let _one_at_a_time = self.0.scraping.lock().await;
        let mut families = process::families(self.0.started_at);
        families.extend(self.own_families());
        families.extend(self.read_sources().await);
        text::write(families)
    }

    async fn read_sources(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        let mut up = MetricFamily::gauge("regua_metrics_source_up", "Whether a source of metrics could be read at this scrape.");
        let sources = lock(&self.0.sources).clone();
        for (name, read) in sources {
            let read = match tokio::time::timeout(SOURCE_MAX, read()).await {
                Ok(Ok(read)) => Some(read),
                Ok(Err(error)) => {
                    tracing::debug!(source = name, error = %crate::logging::Chain(error.as_ref()), "a source of metrics can't be read");
                    None
                }
                Err(_) => {
                    tracing::debug!(source = name, "a source of metrics takes too long");
                    None
                }
            };
            up = up.count(&[("source", name)], u64::from(read.is_some()));
            families.extend(read.into_iter().flatten());
        }
        if !up.samples.is_empty() {
            families.push(up);
        }
        families
    }

    fn own_families(&self) -> Vec<MetricFamily> {
        let own = lock(&self.0.own);
        let family = |(name, own): (&&'static str, &Own)| MetricFamily {
            name,
            help: own.help,
            kind: own.kind,
            samples: own.series.iter().map(|(labels, cell)| (labels.clone(), cell.reading())).collect(),
        };
        own.iter().map(family).collect()
    }

    fn cell(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&'static str, &str)],
        new: impl FnOnce() -> Cell,
    ) -> Cell {
        let mut own = lock(&self.0.own);
        let family = own.entry(name).or_insert_with(|| Own { help, kind, series: BTreeMap::new() });
        if family.kind != kind {
            tracing::error!(metric = name, "one name is used for metrics of two kinds");
            return new();
        }
        family.series.entry(owned(labels)).or_insert_with(new).clone()
    }
}

impl Cell {
    fn reading(&self) -> Reading {
        match self {
            Self::Counter(counter) => Reading::Number(real(counter.get())),
            #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floats, and gauges stay far below 2^53")]
            Self::Gauge(gauge) => Reading::Number(gauge.get() as f64),
            Self::Histogram(histogram) => Reading::Distribution(histogram.get()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format's numbers are floats; a count beyond 2^53 loses its last digit")]
fn real(number: u64) -> f64 {
    number as f64
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in ops/prometheus/prometheus.yml.
    const SCRAPE_TIMEOUT: Duration = Duration::from_secs(4);

    #[tokio::test]
    async fn the_same_name_and_labels_are_the_same_instrument() {
        let metrics = Metrics::new();
        metrics.counter("sends_total", "Sends.", &[("outcome", "sent")]).increment();
        metrics.clone().counter("sends_total", "Sends.", &[("outcome", "sent")]).add(2);
        metrics.counter("sends_total", "Sends.", &[("outcome", "failed")]).increment();
        let gauge = metrics.gauge("in_flight", "In flight.", &[]);
        gauge.set(5);
        gauge.add(-7);
        metrics.gauge("sends_total", "Not a gauge.", &[]).set(99);
        metrics.histogram("sends_total", "Not a histogram.", SHORT, &[]).observe(Duration::from_secs(99));
        for _ in 0..2 {
            metrics.histogram("wait_seconds", "Waits.", SHORT, &[]).observe(Duration::from_millis(30));
        }
        let text = metrics.render().await;
        for line in [
            "sends_total{outcome=\"sent\"} 3",
            "sends_total{outcome=\"failed\"} 1",
            "in_flight -2",
            "# TYPE sends_total counter",
            "wait_seconds_bucket{le=\"0.05\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("sends_total 99"), "{text}");
        assert_eq!(gauge.get(), -2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_or_hangs_is_left_out_and_told() {
        let metrics = Metrics::new();
        metrics.source("good", || async { Ok(vec![MetricFamily::gauge("old", "Old.").count(&[], 1)]) });
        metrics.source("good", || async { Ok(vec![MetricFamily::gauge("new", "New.").count(&[], 7)]) });
        metrics.source("bad", || async { Err("no ledger".into()) });
        metrics.source("slow", std::future::pending);
        let asked_at = tokio::time::Instant::now();
        let text = metrics.render().await;
        assert!(asked_at.elapsed() <= SCRAPE_TIMEOUT / 2, "{:?}", asked_at.elapsed());
        for line in [
            "new 7",
            "regua_metrics_source_up{source=\"good\"} 1",
            "regua_metrics_source_up{source=\"bad\"} 0",
            "regua_metrics_source_up{source=\"slow\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.lines().any(|line| line.starts_with("old")), "a source of the same name replaces it: {text}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_process_shows_its_memory() {
        let text = Metrics::new().render().await;
        let value = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
        assert!(value.parse::<u64>().unwrap() > 100 * 1024, "{value}");
    }
}
