//! What queued runs told, in order, so that anybody can follow one from any host.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::ids::RunId;

/// One thing that a run told.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldEvent {
    /// Rises with every event; not one by one.
    pub number: i64,
    /// The event, as `--json` prints it.
    pub event: Value,
}

/// Adds what a run has told, in one statement, unless another than `owner` drives it by now.
pub async fn add(
    connection: &mut PgConnection,
    (run, owner): (RunId, &str),
    events: &[(Timestamp, Value)],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let (moments, values): (Vec<_>, Vec<_>) =
        events.iter().map(|(told_at, event)| (told_at.to_sqlx(), event)).unzip();
    sqlx::query(
        "INSERT INTO run_events (run_id, told_at, event)
         SELECT $1, told_at, event FROM unnest($2::timestamptz[], $3::jsonb[]) WITH ORDINALITY
             AS told (told_at, event, place)
         WHERE EXISTS (SELECT 1 FROM runs WHERE id = $1 AND (owner IS NULL OR owner = $4))
         ORDER BY place",
    )
    .bind(run)
    .bind(moments)
    .bind(values)
    .bind(owner)
    .execute(connection)
    .await?;
    Ok(())
}

/// What a run told after an event, oldest first, at most so many.
pub async fn after(
    connection: &mut PgConnection,
    run: RunId,
    number: i64,
    most: i64,
) -> Result<Vec<ToldEvent>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, event FROM run_events WHERE run_id = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(run)
    .bind(number)
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(ToldEvent { number: row.try_get("number")?, event: row.try_get("event")? }))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}
