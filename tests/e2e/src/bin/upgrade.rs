//! Does an earlier commit's crew go on while today's migrates its ledger, send beside today's, and go without a trace?
//!
//! `cargo xtask upgrade REV` builds the earlier commit's programs and runs this with their checkout. It tells what each step came to, and ends with
//! 1 unless the earlier programs went on sending and deciding on today's schema, and nothing was lost, doubled or left in doubt.

use chrono::TimeDelta;
use regua_e2e::{Crew, Program, Service, World, WorldOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// About two in three have a notice on the demo's day.
const CUSTOMERS: u32 = 6000;
/// What each step has for its sends.
const STEP: u64 = 100;
/// How long the earlier crew has for them, and for a run.
const STEP_MAX: Duration = Duration::from_secs(90);
/// `REGUA_SHUTDOWN_GRACE_S` by default, and what a process needs beside it.
const END_MAX: Duration = Duration::from_secs(30);
/// Different failures that are told.
const FAILURES_TOLD: usize = 12;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(checkout) = std::env::args().nth(1).map(PathBuf::from).filter(|path| path.join("target/debug/regua").is_file())
    else {
        eprintln!("usage: upgrade CHECKOUT, a folder in which `cargo build --workspace --bins` was run");
        return ExitCode::from(2);
    };
    if upgrade(&Earlier { checkout }).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The programs of an earlier commit, with the configuration of then.
struct Earlier {
    checkout: PathBuf,
}

impl Earlier {
    fn environment(&self, world: &World) -> BTreeMap<String, String> {
        let mut environment = world.environment.clone();
        let file = self.checkout.join("ops/examples/demo.toml").display().to_string();
        environment.insert("REGUA_CONFIG".into(), file);
        environment
    }

    fn path(&self, program: Program) -> PathBuf {
        self.checkout.join("target/debug").join(program.name())
    }

    fn spawn(&self, world: &World, program: Program) -> Service {
        Service::spawn_at(&self.path(program), program, &[], &self.environment(world), &world.folder())
    }

    async fn crew(&self, world: &World) -> Crew {
        let mut scheduler = self.spawn(world, Program::Scheduler);
        scheduler.ready().await;
        let evaluator = self.spawn(world, Program::BillingEvaluator);
        let dispatchers = vec![self.spawn(world, Program::Dispatcher), self.spawn(world, Program::Dispatcher)];
        let mut crew = Crew { scheduler, evaluator, dispatchers };
        for service in crew.all() {
            service.ready().await;
        }
        crew
    }

    /// Runs a task by the command line of then, to its end or for as long as a step may take.
    async fn run(&self, world: &World, task: &str) -> Result<(), String> {
        command(&self.path(Program::Regua), &["run", task, "--json"], &self.environment(world), &world.folder()).await
    }
}

async fn command(path: &Path, arguments: &[&str], environment: &BTreeMap<String, String>, folder: &Path) -> Result<(), String> {
    let mut command = tokio::process::Command::new(path);
    command.args(arguments).env_clear().envs(environment).current_dir(folder).kill_on_drop(true);
    let ended = tokio::time::timeout(STEP_MAX, command.output()).await;
    let output = ended.map_err(|_| format!("not done within {} s", STEP_MAX.as_secs()))?.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(format!("{}: {last}", output.status)) }
}

async fn upgrade(earlier: &Earlier) -> bool {
    let mut world = World::set(WorldOptions::customers(CUSTOMERS)).await;
    let mut crew = earlier.crew(&world).await;
    let ran = [earlier.run(&world, "update-collections").await, earlier.run(&world, "send-queued-messages").await];
    if let Some(why) = ran.into_iter().find_map(Result::err) {
        println!("the earlier crew can't be tried, it fails alone: {why}");
        return false;
    }
    println!("the earlier crew sends, at migration {}: {}", schema(&world).await, told(sends(&world).await));

    // What today's demo configures may not be understood by the earlier programs: theirs stays.
    world.environment.remove("REGUA_CONFIG");
    world.cli().run(&["status"]).await.good();
    println!("today's `regua status` has migrated the ledger to {}", schema(&world).await);
    let sends_on = sends(&world).await;
    println!("  the earlier crew alone goes on sending: {}", told(sends_on.clone()));
    world.ixc.pay_open(25, regua_simulators::ixc::Payment::Full);
    // The earlier evaluator is the only one; the earlier command line may refuse the schema.
    let path = Program::Regua.path();
    let decides_on = command(&path, &["run", "update-collections", "--json"], &world.environment, &world.folder()).await;
    println!("  and deciding: {}", told(decides_on.clone()));

    let both = beside(&world).await;
    println!("an earlier and a new crew together: {}", told(both.clone()));
    let ended = end(&mut crew).await;
    println!("the earlier crew is told to end: exit codes {ended:?}");
    let mut back = earlier.spawn(&world, Program::Dispatcher);
    let again = starts(&mut back).await;
    println!("an earlier dispatcher starts again: {}", told(again));
    drop(back);
    let today = world.crew(2).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    // Leases of whatever the earlier crew left.
    world.database.pass(TimeDelta::seconds(61)).await;
    world.settled().await;
    drop(today);
    let is_whole = verdict(&world).await;
    failures(&mut crew);
    sends_on.is_ok() && decides_on.is_ok() && both.is_ok() && is_whole && ended.iter().all(|code| *code == Some(0))
}

/// A dispatcher and a scheduler of today's join the earlier ones, and both crews send.
async fn beside(world: &World) -> Result<(), String> {
    let mut joined = [world.spawn(Program::Scheduler), world.spawn(Program::Dispatcher)];
    for service in &mut joined {
        starts(service).await?;
    }
    let before = shares(world).await;
    sends(world).await?;
    let sent = |counts: &BTreeMap<String, i64>, name: &str| counts.get(name).copied().unwrap_or(0);
    let after = shares(world).await;
    let grown: Vec<String> = after.keys().map(|name| format!("{}", sent(&after, name) - sent(&before, name))).collect();
    println!("  sent meanwhile, by each dispatcher: {}", grown.join(", "));
    for service in &mut joined {
        service.terminate();
        service.end(END_MAX).await;
    }
    Ok(())
}

async fn shares(world: &World) -> BTreeMap<String, i64> {
    let by = "SELECT dispatcher, count(*) FROM attempts WHERE outcome = 'sent' GROUP BY dispatcher";
    world.database.counts(by).await.into_iter().collect()
}

async fn schema(world: &World) -> i64 {
    world.database.number("SELECT MAX(version) FROM migrations").await.unwrap_or(0)
}

/// Whether so many more requests are accepted in time.
async fn sends(world: &World) -> Result<(), String> {
    let before = world.opa.stats().accepted;
    let began = Instant::now();
    while world.opa.stats().accepted < before + STEP {
        if began.elapsed() > STEP_MAX {
            let sent = world.opa.stats().accepted - before;
            return Err(format!("{sent} of {STEP} within {} s", STEP_MAX.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Whether it gets ready, or with which words it ends.
async fn starts(service: &mut Service) -> Result<(), String> {
    let began = Instant::now();
    loop {
        if service.ended().is_some() {
            let log = service.log();
            let last = log.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            return Err(last.map_or(log, |line| line["error"].to_string()));
        }
        let answer = if service.printed().contains("http ") { service.get("/readyz").await } else { None };
        match answer {
            Some((200, _)) => return Ok(()),
            Some((_, why)) if began.elapsed() > STEP_MAX => return Err(why),
            Some(_) | None => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn end(crew: &mut Crew) -> Vec<Option<i32>> {
    let mut codes = Vec::new();
    for service in crew.all() {
        service.terminate();
        codes.push(service.end(END_MAX).await);
    }
    codes
}

async fn verdict(world: &World) -> bool {
    let violations = world.violations().await;
    let stats = world.opa.stats();
    let (sent, doubtful) = (world.in_state("sent").await, world.in_state("in_doubt").await);
    println!(
        "in the end: {sent} sent, {} accepted, {} of them different, {doubtful} in doubt, conservation {violations:?}",
        stats.accepted, stats.distinct_messages
    );
    violations.is_empty() && stats.accepted == stats.distinct_messages && doubtful == 0
}

/// What the earlier crew complained of, each thing once.
fn failures(crew: &mut Crew) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for service in crew.all() {
        for line in service.log().lines() {
            let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            if let Some(error) = line["error"].as_str() {
                *found.entry(error.to_owned()).or_default() += 1;
            }
        }
    }
    for (error, times) in found.iter().take(FAILURES_TOLD) {
        println!("  the earlier crew complained {times} times: {error}");
    }
}

fn told(result: Result<(), String>) -> String {
    result.map_or_else(|why| format!("NO, {why}"), |()| "yes".into())
}
