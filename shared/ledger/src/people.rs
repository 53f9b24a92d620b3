//! Opt-outs: who asked not to be written to.

use crate::Ledger;
use crate::error::LedgerError;
use chrono::{DateTime, Utc};
use regua_domain::phone::PhoneKey;

/// A recipient who asked not to be written to.
#[derive(Clone, Debug)]
pub struct OptOut {
    /// The canonical phone: area code and last eight digits.
    pub phone_key: String,
    /// Since when.
    pub since_at: DateTime<Utc>,
    /// Who wrote it down.
    pub added_by: String,
    /// Why.
    pub why: String,
}

impl Ledger {
    /// Adds opt-outs; one that exists stays as it is. How many are new. They hold from the next start on.
    pub async fn add_opt_outs(&self, phones: Vec<PhoneKey>, added_by: String, why: String) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                let (phones, added_by, why) = (phones.clone(), added_by.clone(), why.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let mut added = 0;
                    for phone in &phones {
                        added += tx
                            .execute(
                                sql!("INSERT INTO opt_outs (phone_key, since_at, added_by, why) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"),
                                values![phone.as_str(), now, &added_by, &why],
                            )
                            .await?;
                    }
                    Ok(added)
                })
            })
            .await
    }

    /// Removes an opt-out; whether there was one.
    pub async fn remove_opt_out(&self, phone: PhoneKey) -> Result<bool, LedgerError> {
        self.db
            .write(move |tx| {
                let phone = phone.as_str().to_owned();
                Box::pin(
                    async move { Ok(tx.execute(sql!("DELETE FROM opt_outs WHERE phone_key = $1"), values![phone]).await? == 1) },
                )
            })
            .await
    }

    /// A page of opt-outs, by phone, after `after`.
    pub async fn opt_outs(&self, after: &str, limit: u32) -> Result<Vec<OptOut>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(sql!("SELECT * FROM opt_outs WHERE phone_key > $1 ORDER BY phone_key LIMIT $2"), values![after, limit])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(OptOut {
                    phone_key: row.text("phone_key")?,
                    since_at: row.instant("since_at")?,
                    added_by: row.text("added_by")?,
                    why: row.text("why")?,
                })
            })
            .collect()
    }
}
