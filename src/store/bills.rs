//! Charges one by one: each with all that it hangs on, and what the providers say they billed for it.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgConnection;

use super::StoreError;
use crate::ids::{ChargeId, OperationId, ProjectId, RunId};
use crate::ledger::money::Usd;
use crate::store::settlements::NewCharge;

/// An operation, its charge if it has one, and the price that it was made with.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Line {
    /// The operation.
    pub operation_id: OperationId,
    /// Its charge; none where nothing was booked.
    pub charge_id: Option<ChargeId>,
    /// Who pays.
    pub user_id: String,
    /// The video.
    pub project_id: Option<ProjectId>,
    /// The video's title, or its brief while it has none.
    pub project: Option<String>,
    /// The run.
    pub run_id: Option<RunId>,
    /// The shot's number.
    pub shot: Option<i32>,
    /// `language`, `embedding`, `upload`, `image` or `clip`.
    pub kind: String,
    /// The part of the work.
    pub component: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
    /// Where the operation stands.
    pub operation_state: String,
    /// `settled` or `unknown`.
    pub charge_state: Option<String>,
    /// What was bought, as it was planned.
    pub quantity: Value,
    /// Why the operation failed.
    pub failure: Option<Value>,
    /// The name of the price.
    pub price_id: String,
    /// Its figures; none where the price is not kept.
    pub rates: Option<Value>,
    /// Where they were read.
    pub price_source: Option<String>,
    /// Input tokens neither read from nor written to the cache.
    pub uncached_input_tokens: i64,
    /// Input tokens written to the five-minute cache.
    pub cache_write_5m_tokens: i64,
    /// Input tokens written to the one-hour cache.
    pub cache_write_1h_tokens: i64,
    /// Input tokens read from the cache.
    pub cache_read_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Tokens that were embedded.
    pub embedding_tokens: i64,
    /// Image jobs.
    pub images: i32,
    /// Seconds of video.
    pub video_seconds: i32,
    /// What was estimated, USD.
    pub estimated_usd: Usd,
    /// What was reserved, USD.
    pub reserved_usd: Usd,
    /// What it cost, USD; none while that is unknown.
    pub settled_usd: Option<Usd>,
    /// What the provider says it billed, USD.
    pub billed_usd: Option<Usd>,
    /// The same in the provider's own unit.
    pub billed_units: Option<Decimal>,
    /// When the bill was read.
    pub billed_at: Option<jiff_sqlx::Timestamp>,
    /// How the bill was read, and why it differs.
    pub bill_note: Option<String>,
    /// The price of what was not bought because a kept take was used again, USD.
    pub reuse_saved_usd: Usd,
    /// Whether it was paid for and not kept.
    pub wasted: bool,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// When the operation was sent.
    pub sent_at: Option<jiff_sqlx::Timestamp>,
    /// When the operation was made.
    pub created_at: jiff_sqlx::Timestamp,
}

macro_rules! lines {
    ($rest:literal) => {
        concat!(
            "SELECT operations.id AS operation_id, charges.id AS charge_id, operations.user_id,
                    operations.project_id, coalesce(nullif(projects.title, ''), projects.brief) AS project,
                    operations.run_id, shots.number AS shot, operations.kind, operations.component,
                    operations.provider, operations.model, operations.endpoint,
                    operations.state AS operation_state, charges.state AS charge_state,
                    operations.quantity, operations.failure,
                    coalesce(charges.price_id, operations.price_id) AS price_id,
                    prices.rates, prices.source AS price_source,
                    coalesce(uncached_input_tokens, 0) AS uncached_input_tokens,
                    coalesce(cache_write_5m_tokens, 0) AS cache_write_5m_tokens,
                    coalesce(cache_write_1h_tokens, 0) AS cache_write_1h_tokens,
                    coalesce(cache_read_tokens, 0) AS cache_read_tokens,
                    coalesce(output_tokens, 0) AS output_tokens,
                    coalesce(embedding_tokens, 0) AS embedding_tokens,
                    coalesce(images, 0) AS images, coalesce(video_seconds, 0) AS video_seconds,
                    operations.estimated_usd, operations.reserved_usd, settled_usd, billed_usd, billed_units,
                    billed_at, bill_note, coalesce(reuse_saved_usd, 0) AS reuse_saved_usd,
                    coalesce(wasted, false) AS wasted,
                    coalesce(operations.request_id, charges.request_id) AS request_id,
                    operations.sent_at, operations.created_at
             FROM operations
             LEFT JOIN charges ON charges.operation_id = operations.id
             LEFT JOIN prices ON prices.id = coalesce(charges.price_id, operations.price_id)
             LEFT JOIN projects ON projects.id = operations.project_id
             LEFT JOIN shots ON shots.id = operations.shot_id ",
            $rest
        )
    };
}

/// Finds a user's charges by what a person types: the id of a charge or of its operation, the last
/// eight digits of either, or the provider's id of the request. The newest comes first.
pub async fn find(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as(lines!(
        "WHERE operations.user_id = $1
           AND (operations.id::text = lower($2) OR right(replace(operations.id::text, '-', ''), 8) = lower($2)
                OR charges.id::text = lower($2) OR right(replace(charges.id::text, '-', ''), 8) = lower($2)
                OR operations.request_id = $2 OR charges.request_id = $2)
         ORDER BY operations.created_at DESC, operations.id DESC LIMIT 20"
    ))
    .bind(user_id)
    .bind(typed.trim())
    .fetch_all(connection)
    .await?)
}

/// All operations of a run, oldest first.
pub async fn of_run(connection: &mut PgConnection, run: RunId) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as(lines!(
        "WHERE operations.run_id = $1 ORDER BY operations.created_at, operations.id"
    ))
    .bind(run)
    .fetch_all(connection)
    .await?)
}

/// Whose bills are read, and from when on.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// Only this user's charges; everybody's if none.
    pub user_id: Option<&'a str>,
    /// Only what was made since.
    pub since: Timestamp,
}

/// Settled charges whose request a provider can be asked about and whose bill is not known, and
/// operations that failed and were not charged although the provider had the request; oldest first.
pub async fn unbilled(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
    provider: &str,
) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as(lines!(
        "WHERE operations.provider = $1 AND operations.kind IN ('image', 'clip')
           AND ($2::text IS NULL OR operations.user_id = $2) AND operations.created_at >= $3
           AND coalesce(operations.request_id, charges.request_id) IS NOT NULL
           AND billed_usd IS NULL
           AND (charges.state = 'settled' OR operations.state = 'failed_not_charged')
         ORDER BY operations.created_at, operations.id"
    ))
    .bind(provider)
    .bind(scope.user_id)
    .bind(scope.since.to_sqlx())
    .fetch_all(connection)
    .await?)
}

/// Charges whose bill is known and is not what was settled, oldest first.
pub async fn differing(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as(lines!(
        "WHERE charges.billed_usd <> charges.settled_usd
           AND ($1::text IS NULL OR charges.user_id = $1) AND charges.created_at >= $2
         ORDER BY charges.created_at, charges.id"
    ))
    .bind(scope.user_id)
    .bind(scope.since.to_sqlx())
    .fetch_all(connection)
    .await?)
}

/// What is known of the bills of a time.
#[derive(Debug, Clone, Copy, Default, sqlx::FromRow)]
pub struct Known {
    /// Charges whose bill is known.
    pub charges: i64,
    /// What was settled for those, USD.
    pub settled_usd: Usd,
    /// What was billed for those, USD.
    pub billed_usd: Usd,
    /// Of those, the charges whose bill is what was settled.
    pub equal: i64,
    /// Settled charges whose bill can be read and has not been.
    pub open: i64,
    /// Settled charges of providers that have no bill to read.
    pub without_a_bill: i64,
}

/// What is known of the bills of a time.
pub async fn known(connection: &mut PgConnection, scope: &Scope<'_>) -> Result<Known, StoreError> {
    Ok(sqlx::query_as(
        "SELECT count(billed_usd) AS charges,
                coalesce(sum(settled_usd) FILTER (WHERE billed_usd IS NOT NULL), 0) AS settled_usd,
                coalesce(sum(billed_usd), 0) AS billed_usd,
                count(*) FILTER (WHERE billed_usd = settled_usd) AS equal,
                count(*) FILTER (WHERE billed_usd IS NULL AND request_id IS NOT NULL
                                   AND provider IN ('kie', 'fal')) AS open,
                count(*) FILTER (WHERE provider NOT IN ('kie', 'fal')) AS without_a_bill
         FROM charges
         WHERE state = 'settled' AND ($1::text IS NULL OR user_id = $1) AND created_at >= $2",
    )
    .bind(scope.user_id)
    .bind(scope.since.to_sqlx())
    .fetch_one(connection)
    .await?)
}

/// What a provider's bill says of one charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// What was billed, USD; none where that cannot be told.
    pub usd: Option<Usd>,
    /// The same in the provider's own unit.
    pub units: Option<Decimal>,
    /// How it was read, and why it differs where it does.
    pub note: String,
}

/// Keeps what the bill says of a charge, unless it is known already.
pub async fn keep_bill(
    connection: &mut PgConnection,
    charge: ChargeId,
    bill: &Bill,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE charges SET billed_usd = $2, billed_units = coalesce($3, billed_units), bill_note = $4,
                billed_at = CASE WHEN $2::numeric IS NULL THEN billed_at ELSE $5 END
         WHERE id = $1 AND billed_usd IS NULL",
    )
    .bind(charge)
    .bind(bill.usd)
    .bind(bill.units)
    .bind(&bill.note)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Books what a provider billed for an operation that was taken to be free. A line that says so
/// already is replaced.
pub async fn charge_after_all(
    connection: &mut PgConnection,
    operation: OperationId,
    charge: &NewCharge,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM charges WHERE operation_id = $1 AND settled_usd = 0")
        .bind(operation)
        .execute(&mut *connection)
        .await?;
    super::settlements::charge(connection, operation, charge, now).await
}
