//! The operator, who settles doubt by the command line, knowing from the provider's log what is true.

use crate::stage::Stage;
use chrono::TimeDelta;
use regua_domain::ids::MessageId;
use std::collections::HashSet;

/// A lease and the grace in which its attempt may still report (10 min): before that nothing may be sent again.
const GRACE: TimeDelta = TimeDelta::minutes(12);

/// Settles every doubt: what the provider took was sent; of the others every second is sent again, the rest let go.
///
/// # Errors
/// What the command line said where it refused.
pub async fn settle(stage: &mut Stage) -> Result<(), String> {
    let doubtful = "SELECT CAST(id AS TEXT) FROM messages WHERE state = 'in_doubt' ORDER BY subject";
    let doubtful = stage.world.database.texts(doubtful).await;
    if doubtful.is_empty() {
        return Ok(());
    }
    stage.world.database.pass(GRACE).await;
    let taken: HashSet<String> =
        stage.log().iter().filter_map(|sent| sent.metadata["message"].as_str().map(str::to_owned)).collect();
    for (number, row) in doubtful.iter().enumerate() {
        let id = row[0].as_str();
        let how = match (taken.contains(id), number % 2) {
            (true, _) => "--sent",
            (false, 0) => "--resend",
            (false, _) => "--drop",
        };
        let done = stage.world.cli().run(&["in-doubt", "resolve", id, how, "--why", "the provider's log says so"]).await;
        if done.code != Some(0) {
            return Err(format!("`regua in-doubt resolve {id} {how}`: {done:?}"));
        }
        if how == "--drop" {
            stage.dropped.insert(id.parse::<MessageId>().expect("an id"));
        }
    }
    println!("           the operator settled {} doubts", doubtful.len());
    Ok(())
}
