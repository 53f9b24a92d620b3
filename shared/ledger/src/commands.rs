//! Commands: what an operator asked for while `regua up` holds the SQLite file.

use crate::Ledger;
use crate::error::LedgerError;
use crate::new_id;
use uuid::Uuid;

/// A command that waits.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its id.
    pub id: Uuid,
    /// What to do, as JSON of the operator's command.
    pub command: String,
}

impl Ledger {
    /// Leaves a command for the process that holds the ledger; its id.
    pub async fn ask(&self, command: String) -> Result<Uuid, LedgerError> {
        let id = new_id();
        self.db
            .write(move |tx| {
                let command = command.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!("INSERT INTO commands (id, command, asked_at) VALUES ($1, $2, $3)"),
                        values![id, command, now],
                    )
                    .await?;
                    Ok(id)
                })
            })
            .await
    }

    /// The oldest command that waits.
    pub async fn next_command(&self) -> Result<Option<Command>, LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_optional(sql!("SELECT id, command FROM commands WHERE done_at IS NULL ORDER BY asked_at, id LIMIT 1"), vec![])
            .await?;
        row.map(|row| Ok(Command { id: row.id("id")?, command: row.text("command")? })).transpose()
    }

    /// Answers a command.
    pub async fn answer(&self, id: Uuid, answer: String) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let answer = answer.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!("UPDATE commands SET done_at = $2, answer = $3 WHERE id = $1 AND done_at IS NULL"),
                        values![id, now, answer],
                    )
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The answer to a command, once it is there.
    pub async fn answer_to(&self, id: Uuid) -> Result<Option<String>, LedgerError> {
        let row = self.db.read().await?.fetch_optional(sql!("SELECT answer FROM commands WHERE id = $1"), values![id]).await?;
        row.map_or(Ok(None), |row| row.opt_text("answer"))
    }
}
