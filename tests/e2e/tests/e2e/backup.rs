//! A dump of PostgreSQL that is put back: what was sent after it is not sent again, and nothing is lost.

use chrono::TimeDelta;
use regua_e2e::{Crew, World, WorldOptions, own_postgres, until};
use regua_test_servers::Postgres;
use std::collections::BTreeSet;
use std::time::Duration;

/// REGUA_SHUTDOWN_GRACE_S by default.
const GRACE: Duration = Duration::from_secs(25);

/// A world on a server of its own, whose crew has sent a part of the day.
async fn sending() -> (Postgres, World, Crew) {
    let server = tokio::task::spawn_blocking(own_postgres).await.unwrap();
    let options = WorldOptions { database_url: Some(server.url().to_owned()), ..WorldOptions::customers(900) };
    let world = World::set(options).await;
    let crew = world.crew(2).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(60).await;
    (server, world, crew)
}

async fn end(mut crew: Crew) {
    for service in crew.all() {
        service.terminate();
    }
    for service in crew.all() {
        assert_eq!(service.end(GRACE).await, Some(0));
    }
}

async fn told_to(server: Postgres, work: impl FnOnce(&Postgres) -> std::io::Result<()> + Send + 'static) -> Postgres {
    let worked = tokio::task::spawn_blocking(move || work(&server).map(|()| server)).await.unwrap();
    worked.unwrap()
}

/// (source, subject, stage, occasion) of every message.
async fn decided(world: &World) -> BTreeSet<Vec<String>> {
    let keys = "SELECT CAST(source_id AS TEXT), subject, stage, occasion FROM messages";
    world.database.texts(keys).await.into_iter().collect()
}

/// A crew starts on a ledger that stands elsewhere, and every service says that everything is stopped.
async fn stopped_crew(world: &World) -> Crew {
    let mut crew = world.crew(2).await;
    for service in crew.all() {
        let told = until("/readyz tells", async || service.problem("stops").await).await;
        assert!(told.contains("another database") && told.contains("regua restored"), "{told}");
    }
    crew
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_a_dump_that_is_put_back_stops_everything_by_itself_and_doubles_and_loses_nothing() {
    let (server, world, crew) = sending().await;
    let dumped_at = world.ledger.now().await.unwrap();
    let server = told_to(server, Postgres::dump).await;
    let at_dump = world.opa.stats().accepted;
    world.accepted(at_dump + 100).await;
    end(crew).await;
    let decided_before = decided(&world).await;
    let sent: BTreeSet<String> = world.requests().iter().filter_map(|request| Some(request.message?.to_string())).collect();
    world.queues.clear().await;
    let server = told_to(server, Postgres::put_back).await;
    let known = until("the dump is there", async || Some(world.in_state("sent").await).filter(|known| *known > 0)).await;
    assert!(usize::try_from(known).unwrap() + 100 <= sent.len(), "{known} of {} are known", sent.len());

    // Nobody has said anything, and no queue has a hint that the ledger doesn't know.
    let crew = stopped_crew(&world).await;
    world.cli().run(&["resume"]).await.refused(1, "regua restored --lost-since");
    world.database.pass(TimeDelta::seconds(61)).await;
    world.run("send-queued-messages").await;
    assert_eq!(world.requests().len(), sent.len(), "nothing is sent while it stands");

    world.cli().run(&["restored", "--lost-since", &dumped_at.to_rfc3339()]).await.good();
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.settled().await;
    assert_eq!(world.requests().len(), sent.len(), "nothing goes out twice");
    world.conserved().await;
    assert_eq!(decided(&world).await, decided_before, "nothing is lost");
    let rows = world.database.texts("SELECT CAST(id AS TEXT) FROM messages WHERE state = 'in_doubt'").await;
    let doubtful: BTreeSet<String> = rows.into_iter().map(|mut row| row.remove(0)).collect();
    let known = world.database.texts("SELECT CAST(id AS TEXT) FROM messages WHERE state = 'sent'").await;
    let known: BTreeSet<String> = known.into_iter().map(|mut row| row.remove(0)).collect();
    assert!(sent.iter().all(|id| known.contains(id) || doubtful.contains(id)), "what was sent is known or in doubt");
    println!("{} sent, {} known, {} in doubt", sent.len(), known.len(), doubtful.len());

    // A person who asked the customer lets one go that never left.
    let unsent = doubtful.difference(&sent).next().expect("some had not been sent");
    world.database.pass(TimeDelta::minutes(15)).await;
    world.cli().run(&["in-doubt", "resolve", unsent, "--resend", "--why", "the customer has nothing"]).await.good();
    world.settled().await;
    assert_eq!(world.requests().len(), sent.len() + 1);
    world.conserved().await;
    end(crew).await;
    drop((world, server));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_moved_with_everything_in_it_goes_on_once_a_person_says_so() {
    let (server, world, crew) = sending().await;
    end(crew).await;
    let server = told_to(server, Postgres::dump).await;
    let server = told_to(server, Postgres::put_back).await;
    let sent = world.requests().len();
    let crew = stopped_crew(&world).await;
    assert_eq!(world.requests().len(), sent);
    world.cli().run(&["restored"]).await.refused(2, "--lost-since");
    world.cli().run(&["restored", "--nothing-lost"]).await.good();
    world.settled().await;
    world.conserved().await;
    assert!(world.requests().len() > sent + 100, "the rest is sent");
    assert_eq!(world.in_state("in_doubt").await, 0);
    end(crew).await;
    drop((world, server));
}

/// Nobody has raised a stop yet: `regua check` tells it by itself.
#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_dump_that_was_put_back_before_any_service_has_run_on_it() {
    let server = tokio::task::spawn_blocking(own_postgres).await.unwrap();
    let options = WorldOptions { database_url: Some(server.url().to_owned()), ..WorldOptions::customers(1) };
    let world = World::set(options).await;
    let file = world.environment["REGUA_CONFIG"].clone();
    world.cli().run(&["config", "apply", &file]).await.good();
    let told = async || {
        let done = world.cli().run(&["check"]).await;
        (done.code, done.out.lines().find(|line| line.contains("where the ledger stands")).map(str::to_owned))
    };
    assert_eq!(told().await.1, None);
    let server = told_to(server, Postgres::dump).await;
    let server = told_to(server, Postgres::put_back).await;
    let (code, row) = told().await;
    assert_eq!(code, Some(1));
    assert!(row.as_ref().is_some_and(|row| row.contains("PROBLEM") && row.contains("regua restored --lost-since")), "{row:?}");
    assert_eq!(world.database.count("stops").await, 0, "a check changes nothing");
    world.cli().run(&["restored", "--nothing-lost"]).await.good();
    assert_eq!(told().await.1, None);
    drop((world, server));
}
