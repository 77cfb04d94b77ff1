//! Operations. Every change of state goes through [`transition`], which
//! refuses an illegal one, so that two processes cannot both send the same operation.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::StoreError;
use super::budgets::Payer;
use super::prompt_cache::{self, Answered};
use crate::ids::{OperationId, ProjectId, RunId, ShotId};
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::{OperationKind, OperationState};

/// An operation that is about to be planned or sent.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its id.
    pub id: OperationId,
    /// Who pays.
    pub user_id: String,
    /// The video, if it is for one.
    pub project_id: Option<ProjectId>,
    /// The run, if it is part of one.
    pub run_id: Option<RunId>,
    /// The shot, if it is for one.
    pub shot_id: Option<ShotId>,
    /// What kind of call it is.
    pub kind: OperationKind,
    /// The part of the work.
    pub component: &'static str,
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// The endpoint that is called.
    pub endpoint: String,
    /// The price it will be charged by.
    pub price_id: String,
    /// What is bought, as far as it is known before the call.
    pub quantity: Quantity,
    /// What it probably costs, USD.
    pub estimated_usd: Usd,
}

impl NewOperation {
    /// Under which caps it falls.
    pub fn payer(&self) -> Payer<'_> {
        Payer {
            user_id: &self.user_id,
            provider: &self.provider,
            project: self.project_id,
            run: self.run_id,
            is_language: self.kind == OperationKind::Language,
        }
    }
}

impl Operation {
    /// Under which caps it falls.
    pub fn payer(&self) -> Payer<'_> {
        Payer {
            user_id: &self.user_id,
            provider: &self.provider,
            project: self.project_id,
            run: self.run_id,
            is_language: self.kind == OperationKind::Language,
        }
    }
}

/// An operation's row.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// Who pays.
    pub user_id: String,
    /// The video, if it is for one.
    pub project_id: Option<ProjectId>,
    /// The run, if it is part of one.
    pub run_id: Option<RunId>,
    /// The shot, if it is for one.
    pub shot_id: Option<ShotId>,
    /// What kind of call it is.
    pub kind: OperationKind,
    /// The part of the work.
    pub component: String,
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// The endpoint that is called.
    pub endpoint: String,
    /// Where it stands.
    pub state: OperationState,
    /// The price it is charged by.
    pub price_id: String,
    /// What is bought.
    pub quantity: Value,
    /// What it probably costs, USD.
    pub estimated_usd: Usd,
    /// The ceiling that is held for it, USD.
    pub reserved_usd: Usd,
    /// What was or will be sent.
    pub request: Option<Value>,
    /// The provider's job, once it answered.
    pub job: Option<Value>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// What came back.
    pub result: Option<Value>,
    /// Why it failed.
    pub failure: Option<Value>,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When the provider accepted it.
    pub submitted_at: Option<Timestamp>,
    /// The process that sends it.
    pub owner: Option<String>,
    /// The provider's balance before the send, in its own unit.
    pub balance_before: Option<Decimal>,
    /// When its row was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "id, user_id, project_id, run_id, shot_id, kind, component, provider, model, endpoint, state, \
                       price_id, quantity, estimated_usd, reserved_usd, request, job, request_id, result, failure, \
                       sent_at, submitted_at, owner, balance_before, created_at";

fn operation(row: &sqlx::postgres::PgRow) -> Result<Operation, sqlx::Error> {
    let time = |column| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row
            .try_get::<Option<jiff_sqlx::Timestamp>, _>(column)?
            .map(jiff_sqlx::Timestamp::to_jiff))
    };
    Ok(Operation {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        project_id: row.try_get("project_id")?,
        run_id: row.try_get("run_id")?,
        shot_id: row.try_get("shot_id")?,
        kind: row
            .try_get::<&str, _>("kind")?
            .parse()
            .map_err(|message: String| sqlx::Error::Decode(message.into()))?,
        component: row.try_get("component")?,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        endpoint: row.try_get("endpoint")?,
        state: row
            .try_get::<&str, _>("state")?
            .parse()
            .map_err(|message: String| sqlx::Error::Decode(message.into()))?,
        price_id: row.try_get("price_id")?,
        quantity: row.try_get("quantity")?,
        estimated_usd: row.try_get("estimated_usd")?,
        reserved_usd: row.try_get("reserved_usd")?,
        request: row.try_get("request")?,
        job: row.try_get("job")?,
        request_id: row.try_get("request_id")?,
        result: row
            .try_get::<Option<&str>, _>("result")?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        failure: row.try_get("failure")?,
        sent_at: time("sent_at")?,
        submitted_at: time("submitted_at")?,
        owner: row.try_get("owner")?,
        balance_before: row.try_get("balance_before")?,
        created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
    })
}

/// The statement that reads the operations of which a condition holds, oldest first.
fn where_is(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM operations WHERE {condition} ORDER BY created_at, id"
    ))
}

fn all(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<Operation>, StoreError> {
    rows.iter().map(|row| operation(row).map_err(StoreError::from)).collect()
}

/// Inserts a planned operation.
pub async fn plan(
    connection: &mut PgConnection,
    new: &NewOperation,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO operations (id, user_id, project_id, run_id, shot_id, kind, component, provider, model, endpoint,
                                 state, price_id, quantity, estimated_usd, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'planned', $11, $12, $13, $14)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id)
    .bind(&new.user_id)
    .bind(new.project_id)
    .bind(new.run_id)
    .bind(new.shot_id)
    .bind(new.kind.as_str())
    .bind(new.component)
    .bind(&new.provider)
    .bind(&new.model)
    .bind(&new.endpoint)
    .bind(&new.price_id)
    .bind(sqlx::types::Json(new.quantity))
    .bind(new.estimated_usd)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// What a change of state records beside the state itself; absent fields stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The ceiling that is held, USD.
    pub reserved_usd: Option<Usd>,
    /// What is sent.
    pub request: Option<Value>,
    /// The fingerprint of what is sent.
    pub request_sha256: Option<String>,
    /// The process that sends it.
    pub owner: Option<String>,
    /// The provider's balance before the send, in its own unit.
    pub balance_before: Option<Decimal>,
    /// The provider's job.
    pub job: Option<Value>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// What came back.
    pub result: Option<Value>,
    /// Why it failed.
    pub failure: Option<Value>,
    /// What its answer says of the prompt cache.
    pub prompt_cache: Option<Answered>,
}

/// Moves an operation from one state to another, if it is in the first one.
///
/// # Errors
/// [`StoreError::StateMoved`] when it is not there any more: another process was faster.
pub async fn transition(
    connection: &mut PgConnection,
    id: OperationId,
    from: OperationState,
    to: OperationState,
    change: Change,
    now: Timestamp,
) -> Result<(), StoreError> {
    debug_assert!(from.may_become(to), "{from} -> {to}");
    let sent = (to == OperationState::Submitting).then_some(now);
    let submitted = (to == OperationState::Submitted).then_some(now);
    let finished = to.is_final().then_some(now);
    let done = sqlx::query(
        "UPDATE operations
         SET state = $3, revision = revision + 1,
             reserved_usd = coalesce($4, reserved_usd), request = coalesce($5, request),
             request_sha256 = coalesce($6, request_sha256), balance_before = coalesce($7, balance_before),
             job = coalesce($8, job), request_id = coalesce($9, request_id), result = coalesce($10, result),
             failure = coalesce($11, failure), sent_at = coalesce($12, sent_at),
             submitted_at = coalesce($13, submitted_at), finished_at = coalesce($14, finished_at),
             owner = coalesce($15, owner)
         WHERE id = $1 AND state = $2",
    )
    .bind(id)
    .bind(from.as_str())
    .bind(to.as_str())
    .bind(change.reserved_usd)
    .bind(change.request)
    .bind(change.request_sha256)
    .bind(change.balance_before)
    .bind(change.job)
    .bind(change.request_id)
    .bind(change.result.map(|result| result.to_string()))
    .bind(change.failure)
    .bind(sent.map(ToSqlx::to_sqlx))
    .bind(submitted.map(ToSqlx::to_sqlx))
    .bind(finished.map(ToSqlx::to_sqlx))
    .bind(change.owner)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        if let Some(answered) = &change.prompt_cache {
            prompt_cache::answer(connection, id, answered, now).await?;
        }
        Ok(())
    } else {
        Err(StoreError::StateMoved { operation: id.to_string(), from: from.as_str() })
    }
}

/// Loads an operation.
pub async fn load(connection: &mut PgConnection, id: OperationId) -> Result<Operation, StoreError> {
    let row =
        sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM operations WHERE id = $1")))
            .bind(id)
            .fetch_one(connection)
            .await?;
    Ok(operation(&row)?)
}

/// The latest operation of one kind for a shot, if there is one: of one run, or of any.
pub async fn latest_for_shot(
    connection: &mut PgConnection,
    shot: ShotId,
    kind: OperationKind,
    run: Option<RunId>,
) -> Result<Option<Operation>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM operations
         WHERE shot_id = $1 AND kind = $2 AND ($3::uuid IS NULL OR run_id = $3)
         ORDER BY created_at DESC, id DESC LIMIT 1"
    )))
    .bind(shot)
    .bind(kind.as_str())
    .bind(run)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(operation).transpose()?)
}

/// A run's operations in a state, oldest first.
pub async fn in_state(
    connection: &mut PgConnection,
    run: RunId,
    state: OperationState,
) -> Result<Vec<Operation>, StoreError> {
    let query = sqlx::query(where_is("run_id = $1 AND state = $2"));
    all(&query.bind(run).bind(state.as_str()).fetch_all(connection).await?)
}

/// The kept reply of a run's earlier call with the same request, if there is one.
pub async fn kept_reply(
    connection: &mut PgConnection,
    run: RunId,
    component: &str,
    request_sha256: &str,
) -> Result<Option<Value>, StoreError> {
    let reply: Option<String> = sqlx::query_scalar(
        "SELECT result FROM operations
         WHERE run_id = $1 AND component = $2 AND request_sha256 = $3 AND state = 'kept' AND result IS NOT NULL
         ORDER BY created_at DESC LIMIT 1",
    )
    .bind(run)
    .bind(component)
    .bind(request_sha256)
    .fetch_optional(connection)
    .await?;
    Ok(reply.and_then(|reply| serde_json::from_str(&reply).ok()))
}

/// The kept reply to the same request that a user made outside any run.
pub async fn kept_reply_outside_runs(
    connection: &mut PgConnection,
    user_id: &str,
    component: &str,
    request_sha256: &str,
) -> Result<Option<Value>, StoreError> {
    let reply: Option<String> = sqlx::query_scalar(
        "SELECT result FROM operations
         WHERE user_id = $1 AND run_id IS NULL AND component = $2 AND request_sha256 = $3 AND state = 'kept'
           AND result IS NOT NULL
         ORDER BY created_at DESC LIMIT 1",
    )
    .bind(user_id)
    .bind(component)
    .bind(request_sha256)
    .fetch_optional(connection)
    .await?;
    Ok(reply.and_then(|reply| serde_json::from_str(&reply).ok()))
}

/// The URL of a user's latest upload of some bytes to a provider, if it was begun after `since`.
pub async fn kept_upload(
    connection: &mut PgConnection,
    user_id: &str,
    provider: &str,
    sha256: &str,
    since: Timestamp,
) -> Result<Option<String>, StoreError> {
    let result: Option<String> = sqlx::query_scalar(
        "SELECT result FROM operations
         WHERE user_id = $1 AND kind = 'upload' AND provider = $2 AND request_sha256 = $3 AND state = 'kept'
           AND created_at > $4
         ORDER BY created_at DESC LIMIT 1",
    )
    .bind(user_id)
    .bind(provider)
    .bind(sha256)
    .bind(since.to_sqlx())
    .fetch_optional(connection)
    .await?;
    let result: Option<Value> = result.and_then(|result| serde_json::from_str(&result).ok());
    Ok(result.and_then(|result| Some(result["url"].as_str()?.to_owned())))
}

/// The last kept reply of a run's language work.
pub async fn last_reply(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Option<Value>, StoreError> {
    let reply: Option<String> = sqlx::query_scalar(
        "SELECT result FROM operations
         WHERE run_id = $1 AND kind = 'language' AND state = 'kept' AND result IS NOT NULL
         ORDER BY created_at DESC, id DESC LIMIT 1",
    )
    .bind(run)
    .fetch_optional(connection)
    .await?;
    Ok(reply.and_then(|reply| serde_json::from_str(&reply).ok()))
}

/// How many operations may have reached a provider since a time, and when the oldest of them did at the latest.
///
/// One reaches it somewhere between its reservation and its answer. Counted by the answer, or as just
/// arriving while there is none, no window of the provider's ever holds more.
pub async fn sends_since(
    connection: &mut PgConnection,
    provider: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let row = sqlx::query(
        "SELECT count(*) AS sends, min(arrived_at) AS oldest
         FROM (SELECT coalesce(least(submitted_at, finished_at), $3) AS arrived_at FROM operations
               WHERE provider = $1 AND sent_at > $2::timestamptz - interval '2 minutes'
                 AND kind IN ('image', 'clip')) AS sent
         WHERE arrived_at > $2",
    )
    .bind(provider)
    .bind(since.to_sqlx())
    .bind(now.to_sqlx())
    .fetch_one(connection)
    .await?;
    let oldest: Option<jiff_sqlx::Timestamp> = row.try_get("oldest")?;
    Ok((row.try_get("sends")?, oldest.map(jiff_sqlx::Timestamp::to_jiff)))
}

/// How many jobs a provider was given since a time and still holds. Older ones belong to runs that
/// were left behind, and must not keep new ones waiting.
pub async fn jobs_under_way(
    connection: &mut PgConnection,
    provider: &str,
    since: Timestamp,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM operations
         WHERE provider = $1 AND state IN ('submitting', 'submitted') AND kind IN ('image', 'clip') AND sent_at > $2",
    )
    .bind(provider)
    .bind(since.to_sqlx())
    .fetch_one(connection)
    .await?)
}

/// Operations that no run drives and that are being sent, with the process that sends them.
pub async fn sent_outside_runs(
    connection: &mut PgConnection,
) -> Result<Vec<Operation>, StoreError> {
    let query = sqlx::query(where_is("state = 'submitting' AND run_id IS NULL"));
    all(&query.fetch_all(connection).await?)
}

/// A user's operations whose outcome is unknown, or that are being sent, oldest first.
pub async fn unsettled(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<Operation>, StoreError> {
    let query = sqlx::query(where_is("user_id = $1 AND state IN ('submitting', 'unknown')"));
    all(&query.bind(user_id).fetch_all(connection).await?)
}

/// Whether a provider was at work on another image or clip, or was sent one, since just before an
/// operation was sent: then the difference of two balances says nothing of this one.
pub async fn overlaps_another(
    connection: &mut PgConnection,
    operation: &Operation,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM operations
                        WHERE provider = $1 AND id <> $2 AND kind IN ('image', 'clip') AND sent_at IS NOT NULL
                          AND coalesce(finished_at, 'infinity') >= $3::timestamptz - interval '1 minute')",
    )
    .bind(&operation.provider)
    .bind(operation.id)
    .bind(operation.sent_at.unwrap_or(operation.created_at).to_sqlx())
    .fetch_one(connection)
    .await?)
}

/// The operation that a provider's job belongs to, if there is one.
pub async fn with_request_id(
    connection: &mut PgConnection,
    provider: &str,
    request_id: &str,
) -> Result<Option<OperationId>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT id FROM operations WHERE provider = $1 AND request_id = $2 LIMIT 1",
    )
    .bind(provider)
    .bind(request_id)
    .fetch_optional(connection)
    .await?)
}

/// Lets one process at a time reckon with a provider's limits, until the transaction ends.
pub async fn lock_provider(
    connection: &mut PgConnection,
    provider: &str,
) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('aida provider ' || $1))")
        .bind(provider)
        .execute(connection)
        .await?;
    Ok(())
}
