//! Runs: which stage a project is in, who drives it, and what it was allowed to cost.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::postgres::PgQueryResult;
use sqlx::{Connection as _, PgConnection, Row};

use super::{StoreError, taste};
use crate::ids::{BatchId, ProjectId, RunId};
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
    /// Until when the owner's lease lasts, by the database's clock.
    pub owner_until: Option<Timestamp>,
    /// Since when it waits for a worker; none where its own process drives it.
    pub queued_at: Option<Timestamp>,
    /// The batch that it is part of.
    pub batch_id: Option<BatchId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last went on or was let go of.
    pub updated_at: Timestamp,
}

pub(super) const COLUMNS: &str = "id, project_id, user_id, kind, state, options, quote_high_usd, plan_usd, accepted_usd, \
                       video_path, video_seconds, stopped_by, stop_message, owner, owner_until, queued_at, batch_id, created_at, \
                       updated_at";

pub(super) fn run(row: &sqlx::postgres::PgRow) -> Result<Run, sqlx::Error> {
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
        owner_until: moment(row, "owner_until")?,
        queued_at: moment(row, "queued_at")?,
        batch_id: row.try_get("batch_id")?,
        created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
        updated_at: row.try_get::<jiff_sqlx::Timestamp, _>("updated_at")?.to_jiff(),
    })
}

fn moment(row: &sqlx::postgres::PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    let moment: Option<jiff_sqlx::Timestamp> = row.try_get(column)?;
    Ok(moment.map(jiff_sqlx::Timestamp::to_jiff))
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
    /// What the whole video will probably cost, USD.
    pub estimate_usd: Option<Usd>,
    /// Price of the storyboard's images and clips, USD, where it is known already.
    pub plan_usd: Option<Usd>,
    /// The price up to which the user has said yes, USD.
    pub accepted_usd: Option<Usd>,
    /// Where it waits for a worker; none where its own process drives it.
    pub queue: Option<QueuePlace>,
}

/// Where a run waits for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePlace {
    /// The batch that it is part of, with the line of the file that it stands for.
    pub batch: Option<(BatchId, i32)>,
    /// Its place among those that were queued at the same moment, from 0.
    pub place: i32,
}

/// How long a lease lasts that is not kept alive. Whoever holds one may pay for that long after the
/// database has confirmed it, and no longer.
pub const LEASE: Duration = Duration::from_secs(15);

/// Inserts a run.
pub async fn insert(
    connection: &mut PgConnection,
    new: &NewRun,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO runs (id, project_id, user_id, kind, state, options, quote_low_usd, quote_high_usd,
                           accepted_usd, created_at, updated_at, estimate_usd, plan_usd,
                           batch_id, batch_line, queued_at, queue_place)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13, $14, $15, $16)",
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
    .bind(new.estimate_usd)
    .bind(new.plan_usd)
    .bind(new.queue.and_then(|queue| queue.batch).map(|(batch, _)| batch))
    .bind(new.queue.and_then(|queue| queue.batch).map(|(_, line)| line))
    .bind(new.queue.map(|_| now.to_sqlx()))
    .bind(new.queue.map_or(0, |queue| queue.place))
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

/// A user's latest run, if there is one.
pub async fn latest(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Option<Run>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1"
    )))
    .bind(user_id)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(run).transpose()?)
}

/// A run, if it is the user's.
pub async fn of_user(
    connection: &mut PgConnection,
    user_id: &str,
    id: RunId,
) -> Result<Option<Run>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs WHERE id = $1 AND user_id = $2"
    )))
    .bind(id)
    .bind(user_id)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(run).transpose()?)
}

/// A user's latest runs, newest first, at most so many.
pub async fn latest_of(
    connection: &mut PgConnection,
    user_id: &str,
    most: i64,
) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
    )))
    .bind(user_id)
    .bind(most)
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

/// The runs of a project, newest first.
pub async fn of_project(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM runs WHERE project_id = $1 ORDER BY created_at DESC, id DESC"
    )))
    .bind(project)
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

/// Takes the lease of a run for `owner`, if it is free, has run out by the database's clock, or belongs to
/// `dead_owner`. Says whether it was taken. Waits for who forgets the user's taste just now.
pub async fn claim(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
    dead_owner: Option<&str>,
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    taste::wait_for_run(&mut transaction, id).await?;
    let done = sqlx::query(
        "UPDATE runs SET owner = $2, owner_until = clock_timestamp() + $4, stop_asked = false
         WHERE id = $1 AND (owner IS NULL OR owner = $2 OR owner = $3 OR owner_until < clock_timestamp())",
    )
    .bind(id)
    .bind(owner)
    .bind(dead_owner)
    .bind(LEASE)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// A user's runs that have an owner, whatever their stage, the newest first: the run, the owner, and
/// until when the owner's lease lasts.
pub async fn owned(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<(RunId, String, Option<Timestamp>)>, StoreError> {
    let rows: Vec<(RunId, String, Option<jiff_sqlx::Timestamp>)> = sqlx::query_as(
        "SELECT id, owner, owner_until FROM runs WHERE user_id = $1 AND owner IS NOT NULL
         ORDER BY created_at DESC, id DESC",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(run, owner, until)| (run, owner, until.map(jiff_sqlx::Timestamp::to_jiff)))
        .collect())
}

/// A user's runs whose lease lasts by the database's clock, and who holds each.
pub async fn held(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<(RunId, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, owner FROM runs
         WHERE user_id = $1 AND owner IS NOT NULL AND owner_until >= clock_timestamp()",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?)
}

/// What the database says to a process that keeps a lease alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It holds the lease for another [`LEASE`].
    Held,
    /// The same, and somebody has asked for the run to stop.
    StopAsked,
    /// The lease belongs to another process, or to none.
    Lost,
}

/// Keeps the lease alive.
pub async fn keep_claim(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
) -> Result<Kept, StoreError> {
    let stop_asked: Option<bool> = sqlx::query_scalar(
        "UPDATE runs SET owner_until = clock_timestamp() + $3 WHERE id = $1 AND owner = $2
         RETURNING stop_asked",
    )
    .bind(id)
    .bind(owner)
    .bind(LEASE)
    .fetch_optional(connection)
    .await?;
    Ok(match stop_asked {
        None => Kept::Lost,
        Some(false) => Kept::Held,
        Some(true) => Kept::StopAsked,
    })
}

/// Whether a run in the queue stays there when its driver lets go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It has its place as before.
    Unchanged,
    /// Nobody drives it before somebody asks for it.
    Leaves,
    /// It is taken up again after this time.
    Again(Duration),
}

/// Gives the lease back, and records why the run stopped if it did not finish.
pub async fn release(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
    stopped: Option<(&str, &str)>,
    afterwards: Afterwards,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (stays, again) = match afterwards {
        Afterwards::Unchanged => (true, None),
        Afterwards::Leaves => (false, None),
        Afterwards::Again(wait) => (true, Some(wait)),
    };
    sqlx::query(
        "UPDATE runs SET owner = NULL, owner_until = NULL, stopped_by = $3, stop_message = $4, updated_at = $5,
                queued_at = CASE WHEN $6 THEN queued_at END,
                queue_after = clock_timestamp() + $7,
                queue_tries = CASE WHEN $7 IS NULL THEN queue_tries ELSE queue_tries + 1 END
         WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(stopped.map(|(word, _)| word))
    .bind(stopped.map(|(_, message)| message))
    .bind(now.to_sqlx())
    .bind(stays)
    .bind(again)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives the lease back and leaves everything else of the run as it is.
pub async fn give_back(
    connection: &mut PgConnection,
    id: RunId,
    owner: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET owner = NULL, owner_until = NULL WHERE id = $1 AND owner = $2")
        .bind(id)
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a run's driver writes is only written while the lease is its own: a host that slept through
/// its lease and wakes up changes nothing.
fn fenced(done: &PgQueryResult) -> Result<(), StoreError> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::TakenOver) }
}

/// Puts a run into another stage.
pub async fn enter(
    connection: &mut PgConnection,
    (id, owner): (RunId, &str),
    state: &'static str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET state = $3, updated_at = $4,
                finished_at = CASE WHEN $3 IN ('done', 'partial', 'failed') THEN $4 END,
                queued_at = CASE WHEN $3 IN ('done', 'partial', 'failed') THEN NULL ELSE queued_at END
         WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(state)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    fenced(&done)
}

/// Replaces what is kept of the user's choices.
pub async fn set_options(
    connection: &mut PgConnection,
    (id, owner): (RunId, &str),
    options: &Value,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE runs SET options = $3 WHERE id = $1 AND owner = $2")
        .bind(id)
        .bind(owner)
        .bind(options)
        .execute(connection)
        .await?;
    fenced(&done)
}

/// Records the price of the storyboard.
pub async fn set_plan(
    connection: &mut PgConnection,
    (id, owner): (RunId, &str),
    plan: Usd,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE runs SET plan_usd = $3 WHERE id = $1 AND owner = $2")
        .bind(id)
        .bind(owner)
        .bind(plan)
        .execute(connection)
        .await?;
    fenced(&done)
}

/// Records that the user said yes up to a price.
pub async fn accept(
    connection: &mut PgConnection,
    (id, owner): (RunId, &str),
    price: Usd,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET accepted_usd = greatest(accepted_usd, $3) WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(price)
    .execute(connection)
    .await?;
    fenced(&done)
}

/// Records where the film lies and how long it is, in seconds.
pub async fn set_video(
    connection: &mut PgConnection,
    (id, owner): (RunId, &str),
    path: &str,
    seconds: Decimal,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET video_path = $3, video_seconds = $4 WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(path)
    .bind(seconds)
    .execute(connection)
    .await?;
    fenced(&done)
}
