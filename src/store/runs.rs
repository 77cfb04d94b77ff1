//! Runs: which stage a project is in, who drives it, and what it was allowed to cost.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::ids::{ProjectId, RunId};
use crate::ledger::money::Usd;

/// A run's row.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The project it works on.
    pub project_id: ProjectId,
    /// Whose it is.
    pub user_id: String,
    /// `film` or `preview`.
    pub kind: String,
    /// Its stage: `writing`, `planned`, `shooting`, `cutting`, `done`, `partial` or `failed`.
    pub state: String,
    /// What the user chose, as JSON.
    pub options: Value,
    /// Upper end of the quote, USD.
    pub quote_high_usd: Option<Usd>,
    /// Price of the storyboard's images and clips, USD.
    pub plan_usd: Option<Usd>,
    /// The price up to which the user has said yes, USD.
    pub accepted_usd: Option<Usd>,
    /// Where the film lies.
    pub video_path: Option<String>,
    /// Its length in seconds.
    pub video_seconds: Option<Decimal>,
    /// Why it stopped last, in a word.
    pub stopped_by: Option<String>,
    /// Why it stopped last, in a sentence.
    pub stop_message: Option<String>,
    /// The process that drives it.
    pub owner: Option<String>,
    /// Until when the owner's lease lasts.
    pub owner_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "id, project_id, user_id, kind, state, options, quote_high_usd, plan_usd, accepted_usd, \
                       video_path, video_seconds, stopped_by, stop_message, owner, owner_until, created_at";

fn run(row: &sqlx::postgres::PgRow) -> Result<Run, sqlx::Error> {
    Ok(Run {
        id: row.try_get("id")?,
        project_id: row.try_get("project_id")?,
        user_id: row.try_get("user_id")?,
        kind: row.try_get("kind")?,
        state: row.try_get("state")?,
        options: row.try_get("options")?,
        quote_high_usd: row.try_get("quote_high_usd")?,
        plan_usd: row.try_get("plan_usd")?,
        accepted_usd: row.try_get("accepted_usd")?,
        video_path: row.try_get("video_path")?,
        video_seconds: row.try_get("video_seconds")?,
        stopped_by: row.try_get("stopped_by")?,
        stop_message: row.try_get("stop_message")?,
        owner: row.try_get("owner")?,
        owner_until: row
            .try_get::<Option<jiff_sqlx::Timestamp>, _>("owner_until")?
            .map(jiff_sqlx::Timestamp::to_jiff),
        created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
    })
}

/// A run that is about to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The project it works on.
    pub project_id: ProjectId,
    /// Whose it is.
    pub user_id: String,
    /// `film` or `preview`.
    pub kind: &'static str,
    /// Its first stage.
    pub state: &'static str,
    /// What the user chose, as JSON.
    pub options: Value,
    /// The quote's two ends, USD.
    pub quote: Option<(Usd, Usd)>,
    /// The price up to which the user has said yes, USD.
    pub accepted_usd: Option<Usd>,
}

/// Inserts a run.
pub async fn insert(
    connection: &mut PgConnection,
    new: &NewRun,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO runs (id, project_id, user_id, kind, state, options, quote_low_usd, quote_high_usd,
                           accepted_usd, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
    )
    .bind(new.id)
    .bind(new.project_id)
    .bind(&new.user_id)
    .bind(new.kind)
    .bind(new.state)
    .bind(&new.options)
    .bind(new.quote.map(|(low, _)| low))
    .bind(new.quote.map(|(_, high)| high))
    .bind(new.accepted_usd)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Loads a run.
pub async fn load(connection: &mut PgConnection, id: RunId) -> Result<Run, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM runs WHERE id = $1")))
        .bind(id)
        .fetch_one(connection)
        .await?;
    Ok(run(&row)?)
}

/// A user's runs that can be gone on with, newest first.
pub async fn unfinished(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs
         WHERE user_id = $1 AND state NOT IN ('done', 'failed') ORDER BY created_at DESC, id DESC LIMIT 200"
    )))
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| run(row).map_err(StoreError::from)).collect()
}

/// Finds a user's runs by what a person types: the id of a run or of its project, or the last
/// eight digits of either. The newest comes first.
pub async fn find(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs
         WHERE user_id = $1
           AND (id::text = lower($2) OR right(replace(id::text, '-', ''), 8) = lower($2)
                OR project_id::text = lower($2) OR right(replace(project_id::text, '-', ''), 8) = lower($2))
         ORDER BY created_at DESC, id DESC LIMIT 20"
    )))
    .bind(user_id)
    .bind(typed)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| run(row).map_err(StoreError::from)).collect()
}

/// Whether a project has a run that buys or has bought pictures.
pub async fn has_film(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM runs WHERE project_id = $1 AND kind = 'film')",
    )
    .bind(project)
    .fetch_one(connection)
    .await?)
}

/// Takes the lease of a run for `owner` until `until`, if it is free, has run out, or
/// belongs to `dead_owner`. Says whether it was taken.
pub async fn claim(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
    dead_owner: Option<&str>,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET owner = $2, owner_until = $5, updated_at = $4
         WHERE id = $1 AND (owner IS NULL OR owner = $2 OR owner = $3 OR owner_until < $4)",
    )
    .bind(id)
    .bind(owner)
    .bind(dead_owner)
    .bind(now.to_sqlx())
    .bind(until.to_sqlx())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the lease alive. Says whether it still belongs to `owner`.
pub async fn keep_claim(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE runs SET owner_until = $3 WHERE id = $1 AND owner = $2")
        .bind(id)
        .bind(owner)
        .bind(until.to_sqlx())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the lease back, and records why the run stopped if it did not finish.
pub async fn release(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
    stopped: Option<(&str, &str)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE runs SET owner = NULL, owner_until = NULL, stopped_by = $3, stop_message = $4, updated_at = $5
         WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(stopped.map(|(word, _)| word))
    .bind(stopped.map(|(_, message)| message))
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts a run into another stage.
pub async fn enter(
    connection: &mut PgConnection,
    id: RunId,
    state: &'static str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE runs SET state = $2, updated_at = $3,
                finished_at = CASE WHEN $2 IN ('done', 'partial', 'failed') THEN $3 END
         WHERE id = $1",
    )
    .bind(id)
    .bind(state)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces what is kept of the user's choices.
pub async fn set_options(
    connection: &mut PgConnection,
    id: RunId,
    options: &Value,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET options = $2 WHERE id = $1")
        .bind(id)
        .bind(options)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records the price of the storyboard.
pub async fn set_plan(
    connection: &mut PgConnection,
    id: RunId,
    plan: Usd,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET plan_usd = $2 WHERE id = $1")
        .bind(id)
        .bind(plan)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the user said yes up to a price.
pub async fn accept(
    connection: &mut PgConnection,
    id: RunId,
    price: Usd,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET accepted_usd = greatest(accepted_usd, $2) WHERE id = $1")
        .bind(id)
        .bind(price)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records where the film lies and how long it is, in seconds.
pub async fn set_video(
    connection: &mut PgConnection,
    id: RunId,
    path: &str,
    seconds: Decimal,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET video_path = $2, video_seconds = $3 WHERE id = $1")
        .bind(id)
        .bind(path)
        .bind(seconds)
        .execute(connection)
        .await?;
    Ok(())
}

/// Sets a cap for a run, USD: `run` for all its spend, `run_language` for its language work.
pub async fn set_cap(
    connection: &mut PgConnection,
    id: RunId,
    scope: &'static str,
    cap: Usd,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO budgets (id, scope, subject, cap_usd, created_at, updated_at)
         VALUES (gen_random_uuid(), $1, $2, $3, $4, $4)
         ON CONFLICT (scope, subject) DO UPDATE SET cap_usd = excluded.cap_usd, updated_at = excluded.updated_at",
    )
    .bind(scope)
    .bind(id.to_string())
    .bind(cap)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}
