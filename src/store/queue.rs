//! The queue: runs that wait for a worker on any host, in the runs' own rows.
//!
//! A worker takes a run by taking its lease, past the rows that others are just taking (`SKIP LOCKED`). A run
//! keeps its place while it is driven, so that one whose host died is found again when its lease has run out.

use sqlx::PgConnection;

use super::StoreError;
use super::runs::LEASE;
use crate::ids::{BatchId, RunId};
use crate::ledger::budget::Scope;
use crate::ledger::money::Usd;

/// Which runs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Everybody's.
    All,
    /// Those of one batch.
    Batch(BatchId),
}

impl Which {
    const fn batch(self) -> Option<BatchId> {
        match self {
            Self::All => None,
            Self::Batch(batch) => Some(batch),
        }
    }
}

/// A run whose lease was taken from the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Leased {
    /// The run.
    pub id: RunId,
    /// How often it was put back because of passing trouble.
    pub tries: i32,
    /// Whether somebody has worked on it before.
    pub resumed: bool,
}

/// Takes the lease of the next run for `owner`, if one waits. Users take turns: whoever has the fewest runs
/// under way comes first, then who has waited longest.
pub async fn next(
    connection: &mut PgConnection,
    owner: &str,
    which: Which,
) -> Result<Option<Leased>, StoreError> {
    Ok(sqlx::query_as(
        "UPDATE runs SET owner = $1, owner_until = clock_timestamp() + $3, stop_asked = false
         WHERE id = (
             SELECT runs.id FROM runs
                    LEFT JOIN (SELECT user_id, count(*) AS films FROM runs
                               WHERE queued_at IS NOT NULL AND owner_until >= clock_timestamp()
                               GROUP BY user_id) AS driven ON driven.user_id = runs.user_id
             WHERE queued_at IS NOT NULL AND ($2::uuid IS NULL OR batch_id = $2)
               AND state NOT IN ('done', 'failed')
               AND (owner IS NULL OR owner_until < clock_timestamp())
               AND (queue_after IS NULL OR queue_after <= clock_timestamp())
             ORDER BY coalesce(driven.films, 0), queued_at, queue_place, runs.id
             LIMIT 1 FOR UPDATE OF runs SKIP LOCKED)
         RETURNING id, queue_tries AS tries,
                   (stopped_by IS NOT NULL OR state <> 'writing'
                    OR EXISTS (SELECT 1 FROM operations WHERE operations.run_id = runs.id)) AS resumed",
    )
    .bind(owner)
    .bind(which.batch())
    .bind(LEASE)
    .fetch_optional(connection)
    .await?)
}

/// How many runs wait or are driven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Depth {
    /// In the queue, and nobody drives them.
    pub waiting: i64,
    /// Driven just now.
    pub driven: i64,
}

/// How full the queue is.
pub async fn depth(connection: &mut PgConnection, which: Which) -> Result<Depth, StoreError> {
    Ok(sqlx::query_as(
        "SELECT count(*) FILTER (WHERE owner IS NULL OR owner_until < clock_timestamp()) AS waiting,
                count(*) FILTER (WHERE owner_until >= clock_timestamp()) AS driven
         FROM runs WHERE queued_at IS NOT NULL AND state NOT IN ('done', 'failed')
                     AND ($1::uuid IS NULL OR batch_id = $1)",
    )
    .bind(which.batch())
    .fetch_one(connection)
    .await?)
}

/// Puts a run that can go on into the queue, at its end. One that only a plan was asked for, which is there,
/// is shot. Says whether it is in the queue now.
pub async fn put(connection: &mut PgConnection, run: RunId) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET queued_at = coalesce(queued_at, clock_timestamp()), queue_after = NULL, queue_tries = 0,
                stop_asked = false,
                options = CASE state WHEN 'planned' THEN options - 'plan_only' ELSE options END
         WHERE id = $1 AND state NOT IN ('done', 'failed')",
    )
    .bind(run)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a run out of the queue, and asks whoever drives it to stop.
pub async fn stop(connection: &mut PgConnection, run: RunId) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET queued_at = NULL, stop_asked = owner IS NOT NULL WHERE id = $1")
        .bind(run)
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts the runs of a batch that can go on into the queue again, films that lack shots among them. Plans that
/// are there, and were all that was asked for, stay what they are.
pub async fn put_batch(connection: &mut PgConnection, batch: BatchId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE runs SET queued_at = coalesce(queued_at, clock_timestamp()), queue_after = NULL, queue_tries = 0
         WHERE batch_id = $1 AND state NOT IN ('done', 'failed')
           AND NOT (state = 'planned' AND coalesce((options ->> 'plan_only')::boolean, false))",
    )
    .bind(batch)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the runs of a batch that nobody drives out of the queue, unless another process is at work on the batch.
pub async fn take_out_batch(
    connection: &mut PgConnection,
    batch: BatchId,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE runs SET queued_at = NULL
         WHERE batch_id = $1
           AND NOT EXISTS (SELECT FROM runs AS driven
                           WHERE driven.batch_id = $1 AND driven.owner_until >= clock_timestamp())",
    )
    .bind(batch)
    .execute(connection)
    .await?;
    Ok(())
}

/// The run that a user's program asked for under this name, if there is one.
pub async fn asked_for(
    connection: &mut PgConnection,
    user_id: &str,
    request_key: &str,
) -> Result<Option<RunId>, StoreError> {
    Ok(sqlx::query_scalar("SELECT id FROM runs WHERE user_id = $1 AND request_key = $2")
        .bind(user_id)
        .bind(request_key)
        .fetch_optional(connection)
        .await?)
}

/// Remembers what a user's program calls the request that a run was begun for.
pub async fn name_request(
    connection: &mut PgConnection,
    run: RunId,
    request_key: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET request_key = $2 WHERE id = $1")
        .bind(run)
        .bind(request_key)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets one process at a time put runs into the queue, until the transaction ends, so that its bound holds.
pub async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('aida queue', 0))")
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the asking program said yes to a run up to a price.
pub async fn accept(
    connection: &mut PgConnection,
    run: RunId,
    price: Usd,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET accepted_usd = greatest(accepted_usd, $2) WHERE id = $1")
        .bind(run)
        .bind(price)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the queued runs that a cap is for may still cost by what was agreed to, USD: promised to nobody yet, and
/// not to be promised once more. What one provider may be paid of it is not known.
pub async fn still_agreed(
    connection: &mut PgConnection,
    (scope, subject): (Scope, &str),
) -> Result<Usd, StoreError> {
    let which = match scope {
        Scope::Everything => "$1::text IS NOT NULL",
        Scope::User => "runs.user_id = $1",
        Scope::Campaign => {
            "runs.project_id IN (SELECT project_id FROM project_campaigns WHERE campaign_id = $1::uuid)"
        }
        Scope::Run | Scope::RunLanguage | Scope::Batch | Scope::Provider => return Ok(Usd::ZERO),
    };
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT coalesce(sum(greatest(runs.accepted_usd - booked.usd, 0)), 0)
         FROM runs CROSS JOIN LATERAL (
                  SELECT coalesce((SELECT sum(coalesce(settled_usd, reserved_usd)) FROM charges
                                   WHERE charges.run_id = runs.id), 0)
                       + coalesce((SELECT sum(reserved_usd) FROM operations
                                   WHERE operations.run_id = runs.id AND state IN ('submitting', 'submitted', 'ready')
                                     AND NOT EXISTS (SELECT 1 FROM charges WHERE charges.operation_id = operations.id)), 0)
                         AS usd) AS booked
         WHERE runs.queued_at IS NOT NULL AND {which}"
    )))
    .bind(subject)
    .fetch_one(connection)
    .await?)
}
