//! Batches: many briefs that were given, priced and admitted as a whole.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::ids::{BatchId, ProjectId, RunId};
use crate::ledger::money::Usd;

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub user_id: String,
    /// The file that it came from, or `-`.
    pub source: String,
    /// SHA-256 of what its rows ask for.
    pub fingerprint: String,
    /// What all of it may cost at least, USD.
    pub quote_low_usd: Usd,
    /// What all of it may cost at most, USD.
    pub quote_high_usd: Usd,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How far one row of a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowState {
    /// The line of the file, from 1.
    pub line: i32,
    /// The video.
    pub project_id: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// What was asked for.
    pub brief: String,
    /// The run's stage.
    pub state: String,
    /// Whether only a plan was asked for.
    pub plan_only: bool,
    /// Whether it waits in the queue, or is driven from there.
    pub is_queued: bool,
    /// Why it stopped last, in a word.
    pub stopped_by: Option<String>,
    /// The same in a sentence.
    pub stop_message: Option<String>,
    /// Where the film lies.
    pub video: Option<String>,
    /// Its length in seconds.
    pub video_seconds: Option<Decimal>,
    /// What it may cost at most, USD.
    pub quote_high_usd: Option<Usd>,
    /// What it has cost, USD.
    pub settled_usd: Usd,
    /// Ceilings of its calls of unknown outcome, USD.
    pub unknown_usd: Usd,
}

const COLUMNS: &str = "id, user_id, source, fingerprint, quote_low_usd, quote_high_usd, created_at";

fn batch(row: &sqlx::postgres::PgRow) -> Result<Batch, sqlx::Error> {
    Ok(Batch {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        source: row.try_get("source")?,
        fingerprint: row.try_get("fingerprint")?,
        quote_low_usd: row.try_get("quote_low_usd")?,
        quote_high_usd: row.try_get("quote_high_usd")?,
        created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
    })
}

/// Inserts a batch.
pub async fn insert(connection: &mut PgConnection, new: &Batch) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO batches (id, user_id, source, fingerprint, quote_low_usd, quote_high_usd, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id)
    .bind(&new.user_id)
    .bind(&new.source)
    .bind(&new.fingerprint)
    .bind(new.quote_low_usd)
    .bind(new.quote_high_usd)
    .bind(new.created_at.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets one process at a time make batches for a user, until the transaction ends.
pub async fn lock(connection: &mut PgConnection, user_id: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('batches ' || $1, 0))")
        .bind(user_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// The user's latest batch of these very rows.
pub async fn with_fingerprint(
    connection: &mut PgConnection,
    user_id: &str,
    fingerprint: &str,
) -> Result<Option<Batch>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM batches WHERE user_id = $1 AND fingerprint = $2
         ORDER BY created_at DESC LIMIT 1"
    )))
    .bind(user_id)
    .bind(fingerprint)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(batch).transpose()?)
}

/// A batch with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchTotals {
    /// The batch.
    pub batch: Batch,
    /// How many films it has.
    pub films: i64,
    /// How many of them are done.
    pub done: i64,
    /// What they have cost, USD.
    pub settled_usd: Usd,
}

/// A user's batches, newest first.
pub async fn list(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<BatchTotals>, StoreError> {
    let rows = sqlx::query(
        "SELECT batches.*, films.films, films.done, spent.settled
         FROM batches
              CROSS JOIN LATERAL (SELECT count(*) AS films, count(*) FILTER (WHERE state = 'done') AS done
                                  FROM runs WHERE batch_id = batches.id) AS films
              CROSS JOIN LATERAL (SELECT coalesce(sum(settled_usd), 0) AS settled
                                  FROM runs JOIN charges ON charges.run_id = runs.id
                                  WHERE runs.batch_id = batches.id) AS spent
         WHERE batches.user_id = $1 ORDER BY batches.created_at DESC, batches.id DESC LIMIT 100",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(BatchTotals {
                batch: batch(row)?,
                films: row.try_get("films")?,
                done: row.try_get("done")?,
                settled_usd: row.try_get("settled")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}

/// A user's batches whose id, or its last eight digits, was typed.
pub async fn find(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Vec<Batch>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM batches
         WHERE user_id = $1
           AND (id::text = lower($2) OR right(replace(id::text, '-', ''), 8) = lower($2))
         ORDER BY created_at DESC"
    )))
    .bind(user_id)
    .bind(typed)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| batch(row).map_err(StoreError::from)).collect()
}

/// How far a batch's rows are, in the order of the file.
pub async fn rows(
    connection: &mut PgConnection,
    batch: BatchId,
) -> Result<Vec<RowState>, StoreError> {
    let rows = sqlx::query(
        "SELECT runs.batch_line, runs.project_id, runs.id, projects.brief, runs.state, runs.queued_at,
                coalesce((runs.options ->> 'plan_only')::boolean, false) AS plan_only,
                runs.stopped_by, runs.stop_message, runs.video_path, runs.video_seconds, runs.quote_high_usd,
                coalesce(booked.settled, 0) AS settled_usd, coalesce(booked.unknown, 0) AS unknown_usd
         FROM runs JOIN projects ON projects.id = runs.project_id
              LEFT JOIN LATERAL (
                  SELECT sum(settled_usd) AS settled,
                         sum(reserved_usd) FILTER (WHERE state = 'unknown') AS unknown
                  FROM charges WHERE charges.run_id = runs.id) AS booked ON true
         WHERE runs.batch_id = $1 ORDER BY runs.batch_line, runs.id",
    )
    .bind(batch)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RowState {
                line: row.try_get::<Option<i32>, _>("batch_line")?.unwrap_or_default(),
                project_id: row.try_get("project_id")?,
                run_id: row.try_get("id")?,
                brief: row.try_get("brief")?,
                state: row.try_get("state")?,
                plan_only: row.try_get("plan_only")?,
                is_queued: row.try_get::<Option<jiff_sqlx::Timestamp>, _>("queued_at")?.is_some(),
                stopped_by: row.try_get("stopped_by")?,
                stop_message: row.try_get("stop_message")?,
                video: row.try_get("video_path")?,
                video_seconds: row.try_get("video_seconds")?,
                quote_high_usd: row.try_get("quote_high_usd")?,
                settled_usd: row.try_get("settled_usd")?,
                unknown_usd: row.try_get("unknown_usd")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}

/// Records the user's yes to what the storyboards of a batch's waiting runs cost, beside what their words
/// did. Answers how many there are, and what their images and clips cost in all, USD.
pub async fn accept_plans(
    connection: &mut PgConnection,
    batch: BatchId,
) -> Result<(i64, Usd), StoreError> {
    Ok(sqlx::query_as(
        "WITH accepted AS (
             UPDATE runs SET accepted_usd = greatest(accepted_usd, plan_usd + coalesce((
                    SELECT sum(coalesce(settled_usd, reserved_usd)) FROM charges
                    WHERE charges.run_id = runs.id AND component NOT IN ('image', 'video')), 0))
             WHERE batch_id = $1 AND plan_usd IS NOT NULL AND stopped_by = 'needs_yes'
             RETURNING plan_usd)
         SELECT count(*), coalesce(sum(plan_usd), 0) FROM accepted",
    )
    .bind(batch)
    .fetch_one(connection)
    .await?)
}
