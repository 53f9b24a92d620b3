//! Messages of earlier days, as a ledger has them that has been in use for long.

use sqlx::{Connection as _, PgConnection};

/// The last 48 bits of an id's time are an hour earlier, so that ids ascend with time as the ledger's own do.
const EARLIER: &str = "CREATE FUNCTION pg_temp.earlier(id UUID) RETURNS UUID LANGUAGE sql IMMUTABLE AS $$
    SELECT CAST(lpad(to_hex(CAST(CAST('x' || substr(replace(CAST(id AS TEXT), '-', ''), 1, 12) AS BIT(48)) AS BIGINT) - 3600000), 12, '0')
                || substr(replace(CAST(id AS TEXT), '-', ''), 13) AS UUID) $$";

/// Copies of what there is, to copy from.
const COPIES: &str = "
    CREATE TEMP TABLE old_messages AS SELECT * FROM messages;
    CREATE TEMP TABLE old_texts AS SELECT * FROM message_texts;
    CREATE TEMP TABLE old_attempts AS SELECT * FROM attempts";

/// A day earlier: each copy is another message, about another invoice, to the same person.
const ONE_DAY: &str = "
    UPDATE old_messages SET id = pg_temp.earlier(id), attempt_id = pg_temp.earlier(attempt_id), subject = subject || '-';
    UPDATE old_texts SET message_id = pg_temp.earlier(message_id);
    UPDATE old_attempts SET id = pg_temp.earlier(id), message_id = pg_temp.earlier(message_id);
    INSERT INTO messages SELECT * FROM old_messages;
    INSERT INTO message_texts SELECT * FROM old_texts;
    INSERT INTO attempts SELECT * FROM old_attempts";

/// Writes what stands in the ledger so many times again, each time as of another day; never timed. Runs count what they wrote: these belong to
/// the same run, and nobody adds up.
pub(crate) async fn repeat(url: &str, days: u32) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(EARLIER).execute(&mut connection).await?;
    sqlx::raw_sql(COPIES).execute(&mut connection).await?;
    for _ in 0..days {
        sqlx::raw_sql(ONE_DAY).execute(&mut connection).await?;
    }
    // As autovacuum has done long since: no measurement waits for it.
    sqlx::raw_sql("VACUUM ANALYZE messages, message_texts, attempts").execute(&mut connection).await?;
    Ok(connection.close().await?)
}
