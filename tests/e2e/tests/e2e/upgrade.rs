//! What a binary does on a schema that a newer one has changed.

use regua_e2e::{Program, World, WorldOptions, until};
use std::time::Duration;

/// REGUA_SHUTDOWN_GRACE_S by default.
const GRACE: Duration = Duration::from_secs(25);
/// The exit code of what is wrong by itself.
const MISUSED: i32 = 2;

/// As a newer binary would: an addition, and its row.
const EXPANSION: &str = "ALTER TABLE messages ADD COLUMN of_a_later_release TEXT;
    INSERT INTO migrations (version, applied_at) VALUES (998, 0)";
/// What takes away asks for binaries that know it.
const CONTRACTION: &str = "INSERT INTO migrations (version, applied_at, runs_from) VALUES (999, 0, 998)";

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_goes_on_and_starts_again_over_additions_and_ends_without_doubt_at_a_contraction() {
    let world = World::set(WorldOptions::customers(900)).await;
    let mut crew = world.crew(1).await;
    world.run("update-collections").await;
    world.database.execute(EXPANSION).await;
    // A release is taken back: its predecessor starts on what it left.
    let mut restarted = world.spawn(Program::Dispatcher);
    restarted.ready().await;
    crew.dispatchers.push(restarted);
    world.run("send-queued-messages").await;
    world.accepted(100).await;

    world.database.execute(CONTRACTION).await;
    for service in crew.all() {
        assert_eq!(service.end(GRACE).await, Some(MISUSED));
        assert!(service.log().contains("the ledger is at migration 999, for binaries that know 998"), "{}", service.log());
    }
    assert_eq!(world.database.count("attempts WHERE outcome IS NULL").await, 0, "every attempt has its end");
    assert_eq!(world.in_state("in_doubt").await, 0);
    world.conserved().await;
    let mut late = world.spawn(Program::Dispatcher);
    assert_eq!(late.end(GRACE).await, Some(MISUSED));
    assert!(late.log().contains("start the newer Régua"), "{}", late.log());
    world.cli().run(&["status"]).await.refused(1, "start the newer Régua");

    world.database.execute("DELETE FROM migrations WHERE version = 999").await;
    let crew = world.crew(2).await;
    until("the others have gone on", async || (!world.ledger.is_busy().await.unwrap()).then_some(())).await;
    world.conserved().await;
    assert!(world.in_state("sent").await > 300);
    drop(crew);
}
