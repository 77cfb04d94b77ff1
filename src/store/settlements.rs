//! What the till writes: caps in use, prices that charges refer to, and the charges themselves.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::StoreError;
use crate::ids::{ChargeId, OperationId, ProjectId, RunId};
use crate::ledger::money::{Quantity, TokenCounts, Usd};
use crate::ledger::operation::OperationKind;
use crate::ledger::prices::{CacheEffect, Price};
use crate::store::bills::Bill;

/// Keeps the price that charges are about to refer to.
pub async fn keep_price(
    connection: &mut PgConnection,
    price: &Price,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO prices (id, provider, model, effective_from, rates, source, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(price.id())
    .bind(&price.provider)
    .bind(&price.model)
    .bind(price.from.to_sqlx())
    .bind(sqlx::types::Json(&price.rates))
    .bind(&price.source)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a price is kept under this name.
pub async fn has_price(connection: &mut PgConnection, id: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM prices WHERE id = $1)")
        .bind(id)
        .fetch_one(connection)
        .await?)
}

/// A line for the books.
#[derive(Debug, Clone)]
pub struct NewCharge {
    /// What was bought.
    pub quantity: Quantity,
    /// What it cost, USD; none while that is unknown.
    pub settled_usd: Option<Usd>,
    /// What the prompt cache did to its price.
    pub cache: CacheEffect,
    /// The price of what was not bought because a kept take was used again, USD.
    pub reuse_saved_usd: Usd,
    /// What the provider says it billed, in its own unit.
    pub billed_units: Option<Decimal>,
    /// What the provider has said it billed, where that is known for certain already.
    pub bill: Option<Bill>,
    /// Whether it was paid for and not kept.
    pub wasted: bool,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// From the send to the result, in milliseconds.
    pub latency_ms: Option<i64>,
}

/// Writes a line of the books for an operation; an unknown line becomes a settled one, a
/// settled one stays as it is.
pub async fn charge(
    connection: &mut PgConnection,
    operation: OperationId,
    charge: &NewCharge,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (mut tokens, mut embedded, mut images, mut seconds) =
        (TokenCounts::default(), 0_u64, 0_u32, 0_u32);
    match charge.quantity {
        // How many tokens a lost reply had is not known, and a guess would spoil the hit rate.
        Quantity::Tokens(_) | Quantity::EmbeddingTokens(_) if charge.settled_usd.is_none() => {}
        Quantity::Uploads(_) => {}
        Quantity::Tokens(counts) => tokens = counts,
        Quantity::EmbeddingTokens(count) => embedded = count,
        Quantity::Images(count) => images = count,
        Quantity::VideoSeconds { seconds: length, .. } => seconds = length,
    }
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO charges (id, operation_id, user_id, project_id, run_id, component, provider, model, state, price_id,
                              uncached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens,
                              output_tokens, embedding_tokens, images, video_seconds, estimated_usd, reserved_usd, settled_usd,
                              billed_units, wasted, request_id, latency_ms, created_at,
                              cache_saved_usd, cache_premium_usd, reuse_saved_usd, billed_usd, bill_note, billed_at)
         SELECT $1, id, user_id, project_id, run_id, component, provider, model, $3, price_id,
                $4, $5, $6, $7, $8, $9, $10, $11, estimated_usd, reserved_usd, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                $21, $22, CASE WHEN $21::numeric IS NOT NULL THEN $17 END
         FROM operations WHERE id = $2
         ON CONFLICT (operation_id) DO UPDATE
         SET state = excluded.state, settled_usd = excluded.settled_usd, billed_units = excluded.billed_units,
             wasted = excluded.wasted, request_id = excluded.request_id, latency_ms = excluded.latency_ms,
             uncached_input_tokens = excluded.uncached_input_tokens, output_tokens = excluded.output_tokens,
             cache_write_5m_tokens = excluded.cache_write_5m_tokens, cache_read_tokens = excluded.cache_read_tokens,
             cache_write_1h_tokens = excluded.cache_write_1h_tokens, embedding_tokens = excluded.embedding_tokens,
             images = excluded.images, video_seconds = excluded.video_seconds,
             cache_saved_usd = excluded.cache_saved_usd, cache_premium_usd = excluded.cache_premium_usd,
             billed_usd = excluded.billed_usd, bill_note = excluded.bill_note, billed_at = excluded.billed_at
         WHERE charges.state = 'unknown' AND excluded.state = 'settled'",
    )
    .bind(ChargeId::new())
    .bind(operation)
    .bind(if charge.settled_usd.is_some() { "settled" } else { "unknown" })
    .bind(whole(tokens.uncached_input))
    .bind(whole(tokens.cache_write_5m))
    .bind(whole(tokens.cache_write_1h))
    .bind(whole(tokens.cache_read))
    .bind(whole(tokens.output))
    .bind(whole(embedded))
    .bind(i32::try_from(images).unwrap_or(i32::MAX))
    .bind(i32::try_from(seconds).unwrap_or(i32::MAX))
    .bind(charge.settled_usd)
    .bind(charge.billed_units)
    .bind(charge.wasted)
    .bind(&charge.request_id)
    .bind(charge.latency_ms)
    .bind(now.to_sqlx())
    .bind(charge.cache.saved)
    .bind(charge.cache.premium)
    .bind(charge.reuse_saved_usd)
    .bind(charge.bill.as_ref().and_then(|bill| bill.usd))
    .bind(charge.bill.as_ref().map(|bill| &bill.note))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether an operation has a line in the books.
pub async fn is_booked(
    connection: &mut PgConnection,
    operation: OperationId,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM charges WHERE operation_id = $1)")
        .bind(operation)
        .fetch_one(connection)
        .await?)
}

/// What a run has cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Known cost, USD.
    pub settled: Usd,
    /// Ceilings of the calls whose outcome is unknown, USD.
    pub unknown: Usd,
    /// What of the known cost went into words and vectors, USD.
    pub words: Usd,
}

/// What a run has cost so far.
pub async fn spent(connection: &mut PgConnection, run: RunId) -> Result<Spent, StoreError> {
    let (settled, unknown, words) = sqlx::query_as(
        "SELECT coalesce(sum(settled_usd), 0), coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0),
                coalesce(sum(settled_usd) FILTER (WHERE images = 0 AND video_seconds = 0), 0)
         FROM charges WHERE run_id = $1",
    )
    .bind(run)
    .fetch_one(connection)
    .await?;
    Ok(Spent { settled, unknown, words })
}

/// What a project has cost, by the part of the work: component, settled, and ceilings of the
/// unknown, USD.
pub async fn spent_by_component(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<(String, Usd, Usd)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT component, coalesce(sum(settled_usd), 0), coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0)
         FROM charges WHERE project_id = $1 GROUP BY component ORDER BY 2 DESC, 1",
    )
    .bind(project)
    .fetch_all(connection)
    .await?)
}

/// What of each shot of a project is bought or under way, so that it is not to be paid for again:
/// the shot's number, and whether it is its image or its clip.
pub async fn bought_shots(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<(i32, OperationKind)>, StoreError> {
    let rows: Vec<(i32, String)> = sqlx::query_as(
        "SELECT DISTINCT shots.number, operations.kind
         FROM operations JOIN shots ON shots.id = operations.shot_id
         WHERE operations.project_id = $1 AND operations.kind IN ('image', 'clip')
           AND operations.state IN ('submitting', 'submitted', 'ready', 'kept', 'unknown', 'failed_charged')",
    )
    .bind(project)
    .fetch_all(connection)
    .await?;
    let kind =
        |name: &str| if name == "image" { OperationKind::Image } else { OperationKind::Clip };
    Ok(rows.into_iter().map(|(number, name)| (number, kind(&name))).collect())
}
