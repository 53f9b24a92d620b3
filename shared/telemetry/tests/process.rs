//! The frame of a service as a process: its exit codes, its signals, what it prints. This file starts itself as the service.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

use regua_telemetry::config::Service;
use regua_telemetry::health::Readiness;
use regua_telemetry::service::{self, Failure, Process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How the service behaves; set only in the processes that this file starts.
const BEHAVIOUR: &str = "TEST_BEHAVIOUR";
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if let Ok(behaviour) = std::env::var(BEHAVIOUR) {
        return service::main(Service::Dispatcher, "A service under test.", |process| run(behaviour, process));
    }
    let tests: [(&str, fn()); 8] = [
        ("help_and_version_end_well", help_and_version_end_well),
        ("an_unknown_argument_is_misuse", an_unknown_argument_is_misuse),
        ("a_wrong_environment_is_misuse_and_tells_everything", a_wrong_environment_is_misuse_and_tells_everything),
        ("the_exit_code_says_whose_fault_it_was", the_exit_code_says_whose_fault_it_was),
        ("it_is_ready_when_its_checks_are_and_drains_on_sigterm", it_is_ready_when_its_checks_are_and_drains_on_sigterm),
        ("a_service_that_does_not_drain_ends_by_its_grace_period", a_service_that_does_not_drain_ends_by_its_grace_period),
        ("a_second_signal_ends_it_at_once", a_second_signal_ends_it_at_once),
        ("an_address_that_is_taken_is_a_failure", an_address_that_is_taken_is_a_failure),
    ];
    for (name, test) in tests {
        // A failing test panics, which ends this process with its message and code 101.
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// The service under test.
async fn run(behaviour: String, process: Process) -> Result<(), Failure> {
    match behaviour.as_str() {
        "end" => Ok(()),
        "fault" => Err(Failure::fault(std::io::Error::other("the disk is full"))),
        "misconfigured" => Err(Failure::configuration("line 3: no such stage")),
        "drain" => {
            process.health.set("ledger", Readiness::Ready);
            process.shutdown.begun().await;
            Ok(())
        }
        "hang" => {
            process.health.set("ledger", Readiness::Ready);
            std::future::pending().await
        }
        other => Err(Failure::configuration(format!("no such behaviour: {other}"))),
    }
}

fn command(behaviour: &str, pairs: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env(BEHAVIOUR, behaviour).env("REGUA_HTTP_ADDR", "127.0.0.1:0").env("REGUA_LOG_FORMAT", "json");
    command.env("REGUA_DATABASE_URL", "postgres://regua:s3cret@db/regua").env("REGUA_BROKER_URL", "amqp://regua:s3cret@mq");
    command.envs(pairs.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn end(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A service that is up: it has said where it listens.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    addr: String,
}

impl Running {
    fn start(behaviour: &str, pairs: &[(&str, &str)]) -> Self {
        let mut child = command(behaviour, pairs).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("http ").expect("it prints where it listens").to_owned();
        let running = Self { child, stdout, stderr, addr };
        running.wait_for("/readyz", "HTTP/1.1 200");
        running.wait_for("/readyz", "\"ledger\"");
        running
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn wait_for(&self, path: &str, part: &str) -> String {
        let before = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.contains(part) {
                return answer;
            }
            assert!(before.elapsed() < DEADLINE, "no {part} in {answer}");
            std::thread::yield_now();
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    fn end(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.read_to_string(&mut err).unwrap();
        Ended { code: self.child.wait().unwrap().code().unwrap(), stdout: out, stderr: err }
    }
}

fn help_and_version_end_well() {
    let help = end(command("end", &[]).arg("--help"));
    assert_eq!(help.code, 0);
    assert!(
        help.stdout.starts_with("A service under test.\n\nUsage: dispatcher") && help.stdout.contains("REGUA_TIMEZONE"),
        "{}",
        help.stdout
    );
    let version = end(command("end", &[]).arg("--version"));
    assert_eq!((version.code, version.stdout.as_str()), (0, concat!("dispatcher ", env!("CARGO_PKG_VERSION"), "\n")));
}

fn an_unknown_argument_is_misuse() {
    let ended = end(command("end", &[]).arg("--port=1"));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("dispatcher: --port=1 is not an argument"), "{}", ended.stderr);
}

fn a_wrong_environment_is_misuse_and_tells_everything() {
    let ended = end(&mut command("end", &[("REGUA_TIMEZONE", "Brasilia"), ("REGUA_DATABASE_URL", ""), ("REGUA_LOG", "loud")]));
    assert_eq!(ended.code, 2);
    for part in [
        "dispatcher: 3 variables are not usable",
        "REGUA_TIMEZONE: \"Brasilia\"",
        "REGUA_DATABASE_URL: its default",
        "REGUA_LOG: \"loud\"",
    ] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
}

fn the_exit_code_says_whose_fault_it_was() {
    for (behaviour, code, told) in
        [("end", 0, "\"ended\""), ("fault", 1, "the disk is full"), ("misconfigured", 2, "line 3: no such stage")]
    {
        let ended = end(&mut command(behaviour, &[]));
        assert_eq!(ended.code, code, "{behaviour}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{behaviour}: {}", ended.stderr);
        assert!(!ended.stderr.contains("s3cret"), "no password is logged: {}", ended.stderr);
    }
}

fn it_is_ready_when_its_checks_are_and_drains_on_sigterm() {
    let running = Running::start("drain", &[]);
    let metrics = running.get("/metrics");
    assert!(
        metrics.contains(concat!("regua_build_info{service=\"dispatcher\",version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")),
        "{metrics}"
    );
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("\"signal\":\"SIGTERM\""), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "logs go to standard error");
}

fn a_service_that_does_not_drain_ends_by_its_grace_period() {
    let running = Running::start("hang", &[("REGUA_SHUTDOWN_GRACE_S", "1")]);
    running.signal("INT");
    running.wait_for("/readyz", "the process is shutting down");
    let ended = running.end();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("it did not drain within 1 s (REGUA_SHUTDOWN_GRACE_S)"), "{}", ended.stderr);
}

fn a_second_signal_ends_it_at_once() {
    let running = Running::start("hang", &[("REGUA_SHUTDOWN_GRACE_S", "600")]);
    running.signal("TERM");
    running.wait_for("/readyz", "HTTP/1.1 503");
    running.signal("TERM");
    assert_eq!(running.end().code, 130);
}

fn an_address_that_is_taken_is_a_failure() {
    let running = Running::start("drain", &[]);
    let ended = end(&mut command("end", &[("REGUA_HTTP_ADDR", &running.addr)]));
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("can't serve HTTP on") && ended.stderr.contains("in use"), "{}", ended.stderr);
    running.signal("TERM");
    assert_eq!(running.end().code, 0);
}
