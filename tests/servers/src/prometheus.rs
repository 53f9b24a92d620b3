//! A private Prometheus that scrapes what a test names, and its tool for text formats.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::ports::free_port;
use crate::programs::{self, Missing};
use crate::wait;

const START_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often a start is tried when another process took the port first.
const START_TRIES: u32 = 5;

/// One sample that a query found: its labels, `__name__` among them where the query kept it, and its value.
pub type Sample = (BTreeMap<String, String>, f64);

/// One private Prometheus on 127.0.0.1. Dropping it ends the server and removes its data.
pub struct Prometheus {
    folder: Folder,
    address: SocketAddr,
    server: Option<Child>,
}

impl Prometheus {
    /// Starts a server that scrapes `targets` (the name of a job, `host:port`) and evaluates the rules of `rule_files` every `scrape_every`, and
    /// waits until it answers. Of one job several targets may be named.
    ///
    /// # Errors
    /// `NotFound` when a program is [missing](Self::missing); else what kept the server from starting, with the end of its log: among others a
    /// file of rules that it can't read.
    pub fn start(targets: &[(&str, &str)], rule_files: &[PathBuf], scrape_every: Duration) -> io::Result<Self> {
        let programs = Programs::find().map_err(|missing| {
            io::Error::new(io::ErrorKind::NotFound, format!("Prometheus is not installed, missing: {missing:?}"))
        })?;
        let folder = Folder::new("regua-prometheus-", "KILL")?;
        // JSON is YAML.
        fs::write(folder.path().join("prometheus.yml"), configuration(targets, rule_files, scrape_every).to_string())?;
        let mut server = Self { folder, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), server: None };
        let mut tries = 1;
        loop {
            server.address.set_port(free_port()?);
            match server.boot(&programs.prometheus) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < START_TRIES => tries += 1,
                started => return started.map(|()| server),
            }
        }
    }

    /// The programs that are needed and not installed: Prometheus with its tool, and Alertmanager's tool.
    pub fn missing() -> Vec<Missing> {
        Programs::find().err().unwrap_or_default()
    }

    /// Where it serves its page and its HTTP API.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an expression says now: the samples of a vector, or the one of a scalar, without labels.
    ///
    /// # Errors
    /// The server doesn't answer, or refuses the expression: then with its words.
    pub fn query(&self, expression: &str) -> io::Result<Vec<Sample>> {
        let answer = self.get(&format!("/api/v1/query?query={}", percent_encoded(expression)))?;
        let refused = || io::Error::new(io::ErrorKind::InvalidData, format!("{expression}: {answer}"));
        let result = &answer["data"]["result"];
        match answer["data"]["resultType"].as_str() {
            Some("vector") => {
                let samples = result.as_array().ok_or_else(refused)?;
                samples.iter().map(|sample| read_sample(sample).ok_or_else(refused)).collect()
            }
            Some("scalar") => Ok(vec![(BTreeMap::new(), read_value(result).ok_or_else(refused)?)]),
            _ => Err(refused()),
        }
    }

    /// The rules that it evaluates: name and expression.
    ///
    /// # Errors
    /// The server doesn't answer.
    pub fn rules(&self) -> io::Result<Vec<(String, String)>> {
        let answer = self.get("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let read = |rule: &Value| Some((rule["name"].as_str()?.to_owned(), rule["query"].as_str()?.to_owned()));
        let garbled = || io::Error::new(io::ErrorKind::InvalidData, format!("rules: {answer}"));
        rules.map(|rule| read(rule).ok_or_else(garbled)).collect()
    }

    /// Has `promtool check metrics` read a text as a process exposes it.
    ///
    /// # Errors
    /// What it complains about: a text that isn't in the format, or a name that isn't as names should be.
    pub fn check_metrics(text: &str) -> io::Result<()> {
        let programs = Programs::find().map_err(|missing| io::Error::new(io::ErrorKind::NotFound, format!("{missing:?}")))?;
        let folder = tempfile::tempdir()?;
        let exposed = folder.path().join("metrics");
        fs::write(&exposed, text)?;
        let mut command = programs::command(programs.promtool, folder.path());
        programs::run(command.args(["check", "metrics"]).stdin(Stdio::from(File::open(exposed)?))).map(drop)
    }

    fn boot(&mut self, program: &Path) -> io::Result<()> {
        let folder = self.folder.path();
        let log = folder.join("log");
        let printed = File::create(&log)?;
        let mut command = programs::command(program, folder);
        command
            .arg(format!("--web.listen-address={}", self.address))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .stdout(printed.try_clone()?)
            .stderr(printed);
        let mut server = command.spawn()?;
        let started = wait::until("Prometheus's start", START_LIMIT, || match server.try_wait()? {
            Some(status) => Err(io::Error::other(format!("Prometheus ended while starting: {status}"))),
            None => Ok(http_get(self.address, "/-/ready").ok().filter(|(status, _)| *status == 200).map(drop)),
        });
        self.server = Some(server);
        started.map_err(|error| {
            let text = programs::tail(&log);
            let kind = if text.contains("address already in use") { io::ErrorKind::AddrInUse } else { error.kind() };
            self.end();
            io::Error::new(kind, format!("{error}\n{text}"))
        })
    }

    /// The JSON at a path of the HTTP API.
    fn get(&self, path: &str) -> io::Result<Value> {
        let (status, body) = http_get(self.address, path)?;
        serde_json::from_str(&body).map_err(|error| io::Error::other(format!("{path}: HTTP {status}, {error}: {body}")))
    }

    fn end(&mut self) {
        if let Some(mut server) = self.server.take()
            && let Err(error) = server.kill().and_then(|()| server.wait())
        {
            eprintln!("Prometheus at {} could not be ended: {error}", self.address);
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.folder.clear();
        self.end();
    }
}

fn configuration(targets: &[(&str, &str)], rule_files: &[PathBuf], scrape_every: Duration) -> Value {
    let every = format!("{}ms", scrape_every.as_millis());
    let mut jobs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (job, address) in targets {
        jobs.entry(job).or_default().push(address);
    }
    let jobs: Vec<Value> =
        jobs.iter().map(|(job, targets)| json!({ "job_name": job, "static_configs": [{ "targets": targets }] })).collect();
    json!({
        "global": { "scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every },
        "rule_files": rule_files,
        "scrape_configs": jobs,
    })
}

fn read_sample(sample: &Value) -> Option<Sample> {
    let labels = sample["metric"].as_object()?.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Some((labels.collect::<Option<_>>()?, read_value(&sample["value"])?))
}

/// The number of a pair of an instant and a number as text.
fn read_value(pair: &Value) -> Option<f64> {
    pair[1].as_str()?.parse().ok()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The status and the body at a path. By HTTP 1.0, whose answer ends with the connection and isn't cut in chunks.
fn http_get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, format!("{path}: not HTTP: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(garbled)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    Ok((status, body.to_owned()))
}

struct Programs {
    prometheus: PathBuf,
    promtool: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, Vec<Missing>> {
        Self::find_in(&programs::path_folders())
    }

    fn find_in(folders: &[PathBuf]) -> Result<Self, Vec<Missing>> {
        let found = [("prometheus", "prometheus"), ("promtool", "prometheus"), ("amtool", "prometheus-alertmanager")]
            .map(|(program, package)| programs::find(program, folders).ok_or(Missing { program, package }));
        match found {
            [Ok(prometheus), Ok(promtool), Ok(_)] => Ok(Self { prometheus, promtool }),
            some_missing => Err(some_missing.into_iter().filter_map(Result::err).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(200);

    #[test]
    fn a_server_scrapes_evaluates_rules_and_goes_without_a_trace() {
        let rules = tempfile::NamedTempFile::new().unwrap();
        let record = json!({ "groups": [{ "name": "g", "rules": [{ "record": "twice", "expr": "2 * vector(21)" }] }] });
        fs::write(rules.path(), record.to_string()).unwrap();
        // Nobody listens there: a target that is down is a sample, too.
        let server = Prometheus::start(&[("none", "127.0.0.1:1")], &[rules.path().to_owned()], EVERY).unwrap();
        let down = wait::until("the first scrape and rule", START_LIMIT, || {
            let found = [server.query("up{job=\"none\"}")?, server.query("twice")?];
            Ok(found.iter().all(|samples| !samples.is_empty()).then_some(found))
        });
        let [up, twice] = down.unwrap();
        assert_eq!((up[0].0["instance"].as_str(), up[0].1, twice[0].1), ("127.0.0.1:1", 0.0, 42.0));
        assert_eq!(server.rules().unwrap(), [("twice".to_owned(), "2 * vector(21)".to_owned())]);
        assert_eq!(server.query("scalar(twice)").unwrap(), [(BTreeMap::new(), 42.0)]);
        assert!(server.query("up{").unwrap_err().to_string().contains("parse error"));

        let (folder, id) = (server.folder.path().to_owned(), server.server.as_ref().unwrap().id());
        drop(server);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn rules_that_cannot_be_read_keep_it_from_starting() {
        let rules = tempfile::NamedTempFile::new().unwrap();
        fs::write(rules.path(), "groups: [{ name: g, rules: [{ record: r, expr: 'up{' }] }]").unwrap();
        let error = Prometheus::start(&[], &[rules.path().to_owned()], EVERY).err().unwrap();
        assert!(error.to_string().contains("parse expression"), "{error}");
    }

    #[test]
    fn the_tool_complains_about_a_counter_that_is_not_named_as_one() {
        Prometheus::check_metrics("# HELP sends_total Sends.\n# TYPE sends_total counter\nsends_total 1\n").unwrap();
        for bad in ["# HELP sends Sends.\n# TYPE sends counter\nsends 1\n", "no metric\n"] {
            assert!(Prometheus::check_metrics(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let missing = Programs::find_in(&[PathBuf::from("/nonexistent")]).err().unwrap();
        let packages: Vec<_> = missing.iter().map(|missing| (missing.program, missing.package)).collect();
        assert_eq!(packages, [("prometheus", "prometheus"), ("promtool", "prometheus"), ("amtool", "prometheus-alertmanager")]);
    }
}
