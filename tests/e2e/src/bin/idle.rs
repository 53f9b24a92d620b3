//! What does a provider cost for whom nothing is to be done?
//!
//! `cargo xtask idle` starts a crew over PostgreSQL and RabbitMQ, and then everything in one process on SQLite, with the demo's configuration and a
//! day that is sent, and prints what each process uses while it waits: how many providers a host holds beside those that send. An argument
//! is the number of seconds to watch.

use regua_e2e::memory::Steady;
use regua_e2e::{House, World, WorldOptions};
use regua_test_servers::processor;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const CUSTOMERS: u32 = 1000;
const WATCHED: Duration = Duration::from_mins(1);
/// The servers without anybody.
const ALONE: Duration = Duration::from_secs(20);

/// What a process uses.
struct Use {
    /// Processor time per second, in milliseconds.
    busy: f64,
    /// Memory, in kibibytes; of a server only its first process's.
    held: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let watched = match given.as_slice() {
        [] => Some(WATCHED),
        [seconds] => seconds.parse().ok().map(Duration::from_secs).filter(|time| !time.is_zero()),
        _ => None,
    };
    let Some(watched) = watched else {
        eprintln!("usage: idle [SECONDS]");
        return ExitCode::from(2);
    };
    println!("{:<34} {:>24} {:>10}", "", "of a processor's second", "memory");
    crew(watched).await;
    one_process(watched).await;
    ExitCode::SUCCESS
}

async fn crew(watched: Duration) {
    let world = World::set(WorldOptions::customers(CUSTOMERS)).await;
    let servers = [("PostgreSQL", "REGUA_DATABASE_URL"), ("RabbitMQ", "REGUA_BROKER_URL")]
        .map(|(name, variable)| (name, processor::server_of(&world.environment[variable])));
    let found: Vec<u32> = servers.iter().filter_map(|(_, process)| *process).collect();
    let alone = watch(&found, ALONE).await;
    let connections = || world.database.count("pg_stat_activity WHERE application_name = 'regua'");
    let connected = connections().await;
    let crew = world.crew(1).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.settled().await;
    let ours = [("scheduler", &crew.scheduler), ("billing-evaluator", &crew.evaluator), ("dispatcher", &crew.dispatchers[0])];
    let processes: Vec<u32> = ours.iter().map(|(_, service)| service.id()).chain(found.iter().copied()).collect();
    let used = watch(&processes, watched).await;
    for ((name, _), used) in ours.iter().zip(&used) {
        print(name, used.busy, Some(used.held));
    }
    let with = used[ours.len()..].iter().zip(&alone);
    for ((name, _), (with, alone)) in servers.iter().filter(|(_, process)| process.is_some()).zip(with) {
        print(&format!("{name}, more than without"), with.busy - alone.busy, None);
    }
    println!("connections to PostgreSQL: {}", connections().await - connected);
}

async fn one_process(watched: Duration) {
    let house = House::build(CUSTOMERS, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    let [used] = &watch(&[up.id()], watched).await[..] else { return };
    print("regua up on SQLite", used.busy, Some(used.held));
}

fn print(name: &str, busy: f64, held_kib: Option<u64>) {
    let held = held_kib.map_or_else(String::new, |held| format!("{} MiB", held / 1024));
    println!("{name:<34} {busy:>21.1} ms {held:>10}");
}

/// Watches processes for a while.
async fn watch(processes: &[u32], time: Duration) -> Vec<Use> {
    let read = || processes.iter().map(|process| processor::time_of(*process).unwrap_or_default()).collect::<Vec<_>>();
    let (before, began) = (read(), Instant::now());
    let mut held = vec![Steady::default(); processes.len()];
    let mut looks = tokio::time::interval(Steady::EVERY);
    while began.elapsed() < time {
        looks.tick().await;
        processes.iter().zip(&mut held).for_each(|(process, held)| held.look(*process));
    }
    let took = began.elapsed().as_secs_f64();
    let used = read().into_iter().zip(before).map(|(now, before)| now.saturating_sub(before).as_secs_f64() * 1e3 / took);
    used.zip(held).map(|(busy, held)| Use { busy, held: held.median_kib() }).collect()
}
