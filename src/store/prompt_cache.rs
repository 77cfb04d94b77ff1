//! The books of the prompt cache: what of each language call's prompt was to be remembered, what
//! was read of it, and why not more. Fingerprints and lengths only.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::StoreError;
use super::charges::Selection;
use crate::ids::{OperationId, ProjectId};

/// How many calls of the same beginning a call is compared with.
const SAME_PREFIX: i64 = 150;
/// How many calls of the same agent it is compared with.
const SAME_AGENT: i64 = 60;

/// A place in a prompt that can be marked for the cache, and what was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What stands in front of it: `shared`, `taste`, `assignment` or `conversation`.
    pub place: String,
    /// The fingerprint of everything up to there.
    pub sha: String,
    /// How long that is, in bytes.
    pub bytes: u64,
    /// How many blocks that is.
    pub block: u32,
    /// For how many minutes it is marked; none where that was not worth it.
    pub minutes: Option<u64>,
    /// From how many known waits that was chosen.
    pub waits: u32,
    /// How many of them were shorter than five minutes.
    pub within_5_minutes: u32,
    /// How many of them were shorter than an hour.
    pub within_1_hour: u32,
    /// What nine of ten waits that ended were not longer than, in seconds.
    pub usual_wait_seconds: Option<u64>,
}

/// A language call in the books of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its operation.
    pub operation: OperationId,
    /// Who pays.
    pub user_id: String,
    /// The video, if it is for one.
    pub project_id: Option<ProjectId>,
    /// The part of the work.
    pub component: String,
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// When it was sent.
    pub started_at: Timestamp,
    /// When it was answered; none while it is under way, and for one that failed or was lost.
    pub answered_at: Option<Timestamp>,
    /// Whether it was being sent when this was read.
    pub under_way: bool,
    /// The version of aida.
    pub aida_version: String,
    /// Fingerprint of what the key depends on beside the texts.
    pub settings: String,
    /// Fingerprint of the tools.
    pub tools: String,
    /// Fingerprint of the system text.
    pub system: String,
    /// Fingerprint of model, tools and system text.
    pub prefix: String,
    /// Fingerprint of the first message.
    pub opening: String,
    /// How many answers of the model the conversation had.
    pub turn: u32,
    /// How many blocks the prompt had.
    pub blocks: u32,
    /// How long the prompt was, in bytes.
    pub bytes: u64,
    /// Its places, in their order.
    pub marks: Vec<Mark>,
    /// Input tokens neither read from nor written to the cache.
    pub uncached_tokens: Option<u64>,
    /// Input tokens written to the cache.
    pub written_tokens: Option<u64>,
    /// Input tokens read from the cache.
    pub read_tokens: Option<u64>,
}

/// What a call's answer says of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Input tokens neither read from nor written to the cache.
    pub uncached_tokens: u64,
    /// Input tokens written to the cache.
    pub written_tokens: u64,
    /// Input tokens read from the cache.
    pub read_tokens: u64,
    /// What became of the cache since the last call.
    pub reason: &'static str,
    /// The numbers behind it.
    pub detail: Value,
}

#[derive(FromRow)]
struct Row {
    operation_id: OperationId,
    user_id: String,
    project_id: Option<ProjectId>,
    component: String,
    provider: String,
    model: String,
    started_at: jiff_sqlx::Timestamp,
    answered_at: Option<jiff_sqlx::Timestamp>,
    under_way: bool,
    aida_version: String,
    settings: String,
    tools: String,
    system: String,
    prefix: String,
    opening: String,
    turn: i32,
    blocks: i32,
    bytes: i64,
    marks: Json<Vec<Mark>>,
    uncached_tokens: Option<i64>,
    written_tokens: Option<i64>,
    read_tokens: Option<i64>,
}

const COLUMNS: &str = "operation_id, user_id, project_id, component, provider, model, started_at, answered_at, \
                       answered_at IS NULL AND EXISTS (SELECT 1 FROM operations \
                           WHERE id = operation_id AND state = 'submitting') AS under_way, aida_version, settings, tools, system, prefix, opening, turn, blocks, bytes, marks, \
                       uncached_tokens, written_tokens, read_tokens";

impl From<Row> for Call {
    fn from(row: Row) -> Self {
        let count = |tokens: Option<i64>| tokens.map(|tokens| tokens.try_into().unwrap_or(0));
        Self {
            operation: row.operation_id,
            user_id: row.user_id,
            project_id: row.project_id,
            component: row.component,
            provider: row.provider,
            model: row.model,
            started_at: row.started_at.to_jiff(),
            answered_at: row.answered_at.map(jiff_sqlx::Timestamp::to_jiff),
            under_way: row.under_way,
            aida_version: row.aida_version,
            settings: row.settings,
            tools: row.tools,
            system: row.system,
            prefix: row.prefix,
            opening: row.opening,
            turn: row.turn.try_into().unwrap_or(0),
            blocks: row.blocks.try_into().unwrap_or(0),
            bytes: row.bytes.try_into().unwrap_or(0),
            marks: row.marks.0,
            uncached_tokens: count(row.uncached_tokens),
            written_tokens: count(row.written_tokens),
            read_tokens: count(row.read_tokens),
        }
    }
}

/// Keeps a call that is about to be sent. It must have its operation.
pub async fn begin(connection: &mut PgConnection, call: &Call) -> Result<(), StoreError> {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let small = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    sqlx::query(
        "INSERT INTO prompt_cache_calls (operation_id, user_id, project_id, component, provider, model, started_at,
                                         aida_version, settings, tools, system, prefix, opening, turn, blocks, bytes, marks)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(call.operation)
    .bind(&call.user_id)
    .bind(call.project_id)
    .bind(&call.component)
    .bind(&call.provider)
    .bind(&call.model)
    .bind(call.started_at.to_sqlx())
    .bind(&call.aida_version)
    .bind(&call.settings)
    .bind(&call.tools)
    .bind(&call.system)
    .bind(&call.prefix)
    .bind(&call.opening)
    .bind(small(call.turn))
    .bind(small(call.blocks))
    .bind(whole(call.bytes))
    .bind(Json(&call.marks))
    .execute(connection)
    .await?;
    Ok(())
}

/// Completes a call that was answered.
pub async fn answer(
    connection: &mut PgConnection,
    operation: OperationId,
    answered: &Answered,
    now: Timestamp,
) -> Result<(), StoreError> {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE prompt_cache_calls
         SET answered_at = $2, uncached_tokens = $3, written_tokens = $4, read_tokens = $5, reason = $6, detail = $7
         WHERE operation_id = $1",
    )
    .bind(operation)
    .bind(now.to_sqlx())
    .bind(whole(answered.uncached_tokens))
    .bind(whole(answered.written_tokens))
    .bind(whole(answered.read_tokens))
    .bind(answered.reason)
    .bind(&answered.detail)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets one process at a time, until the end of its transaction, begin a call whose beginning is not
/// in the cache, and says since when another one with the same beginning has been under way that
/// was sent at `since` or later.
pub async fn writer_since(
    connection: &mut PgConnection,
    prefix: &str,
    since: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('aida prompt cache ' || $1, 0))")
        .bind(prefix)
        .execute(&mut *connection)
        .await?;
    let started: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(
        "SELECT started_at FROM prompt_cache_calls
         WHERE prefix = $1 AND started_at >= $2 AND answered_at IS NULL
           AND EXISTS (SELECT 1 FROM operations WHERE id = operation_id AND state = 'submitting')
         ORDER BY started_at DESC LIMIT 1",
    )
    .bind(prefix)
    .bind(since.to_sqlx())
    .fetch_optional(connection)
    .await?;
    Ok(started.map(jiff_sqlx::Timestamp::to_jiff))
}

/// The calls that one is compared with: the latest of the same beginning, whoever made them, and
/// the latest of the same user's agent. In no order; some may come twice.
pub async fn history(
    connection: &mut PgConnection,
    prefix: &str,
    user_id: &str,
    component: &str,
) -> Result<Vec<Call>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(format!(
        "(SELECT {COLUMNS} FROM prompt_cache_calls WHERE prefix = $1 ORDER BY started_at DESC LIMIT $4)
         UNION ALL
         (SELECT {COLUMNS} FROM prompt_cache_calls WHERE component = $3 AND user_id = $2
          ORDER BY started_at DESC LIMIT $5)"
    )))
    .bind(prefix)
    .bind(user_id)
    .bind(component)
    .bind(SAME_PREFIX)
    .bind(SAME_AGENT)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Call::from).collect())
}

/// How often an agent met a reason.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Met {
    /// The agent.
    pub component: String,
    /// The reason.
    pub reason: String,
    /// How many calls met it.
    pub calls: i64,
    /// How many of those were the first turn of a conversation.
    pub openings: i64,
    /// When the last of them was made.
    pub last_at: jiff_sqlx::Timestamp,
}

/// The reasons that the selected calls met, from the sums of whole quarters of an hour where that is
/// possible. The last videos are those by first charge.
pub async fn reasons(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<Vec<Met>, StoreError> {
    const SUMS: &str =
        "sum(calls)::bigint AS calls, sum(openings)::bigint AS openings, max(last_at) AS last_at";
    const OF_A_CALL: &str = "component, reason, 1::bigint AS calls,
        CASE WHEN turn = 0 THEN 1::bigint ELSE 0::bigint END AS openings, started_at AS last_at";
    let whole = "($1::text IS NULL OR user_id = $1) AND ($4::text IS NULL OR provider = $4)";
    let since = "($2::timestamptz IS NULL OR started_at >= $2)";
    let until = "($3::timestamptz IS NULL OR started_at < $3)";
    let rows = if selection.is_of_videos() {
        format!(
            "SELECT {OF_A_CALL} FROM prompt_cache_calls
             WHERE reason IS NOT NULL AND {whole} AND {since} AND {until}
               AND ($5::uuid IS NULL OR project_id = $5)
               AND ($6::uuid IS NULL OR project_id IN
                   (SELECT project_id FROM project_campaigns WHERE campaign_id = $6))
               AND ($7::bigint IS NULL OR project_id IN
                   (SELECT project_id FROM charges
                    WHERE project_id IS NOT NULL AND {whole}
                      AND ($2::timestamptz IS NULL OR created_at >= $2)
                      AND ($3::timestamptz IS NULL OR created_at < $3)
                      AND ($5::uuid IS NULL OR project_id = $5)
                      AND ($6::uuid IS NULL OR project_id IN
                          (SELECT project_id FROM project_campaigns WHERE campaign_id = $6))
                    GROUP BY project_id ORDER BY min(created_at) DESC, project_id DESC LIMIT $7))"
        )
    } else {
        // Whole quarters of an hour from the sums; what a selection cuts off from the calls.
        format!(
            "SELECT component, reason, calls, openings, last_at FROM prompt_cache_sums
             WHERE {whole} AND ($5::uuid IS NULL AND $6::uuid IS NULL AND $7::bigint IS NULL)
               AND ($2::timestamptz IS NULL OR quarter_hour >= $2)
               AND ($3::timestamptz IS NULL OR quarter_hour + interval '15 minutes' <= $3)
             UNION ALL
             SELECT {OF_A_CALL} FROM prompt_cache_calls
             WHERE reason IS NOT NULL AND {whole} AND {since} AND {until}
               AND ((started_at >= $2 AND started_at < aida_quarter_hour($2) + interval '15 minutes'
                     AND aida_quarter_hour($2) < $2)
                 OR (started_at >= aida_quarter_hour($3) AND started_at < $3))"
        )
    };
    Ok(sqlx::query_as(AssertSqlSafe(format!(
        "SELECT component, reason, {SUMS} FROM ({rows}) AS met GROUP BY component, reason"
    )))
    .bind(selection.user_id.as_deref())
    .bind(selection.since.map(ToSqlx::to_sqlx))
    .bind(selection.until.map(ToSqlx::to_sqlx))
    .bind(selection.provider.as_deref())
    .bind(selection.project_id)
    .bind(selection.campaign_id)
    .bind(selection.last_videos)
    .fetch_all(connection)
    .await?)
}

/// The latest answered call of an agent, of one user or of anybody, and since when its beginning has
/// been in use, whoever used it first.
pub async fn latest(
    connection: &mut PgConnection,
    user_id: Option<&str>,
    component: &str,
) -> Result<Option<(Call, Timestamp)>, StoreError> {
    let row: Option<Row> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM prompt_cache_calls
         WHERE component = $1 AND ($2::text IS NULL OR user_id = $2) AND reason IS NOT NULL
         ORDER BY started_at DESC LIMIT 1"
    )))
    .bind(component)
    .bind(user_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let since: jiff_sqlx::Timestamp = sqlx::query_scalar(
        "SELECT started_at FROM prompt_cache_calls WHERE prefix = $1 ORDER BY started_at LIMIT 1",
    )
    .bind(&row.prefix)
    .fetch_one(connection)
    .await?;
    Ok(Some((row.into(), since.to_jiff())))
}
