//! Reading the books for reports. Each report is one statement, and the grouping is done in it.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::store::StoreError;

/// Which charges are looked at.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only this user's; everybody's if none.
    pub user_id: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only those of the last videos by first charge, this many.
    pub last_videos: Option<i64>,
}

/// What the charges are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// The video that they are for.
    Project,
    /// The campaigns that the video is in; a charge counts in each of them.
    Campaign,
    /// The part of the work.
    Component,
    /// The provider.
    Provider,
    /// The provider and its model.
    Model,
    /// The day, UTC.
    Day,
}

/// The sums of one group, or of everything. Amounts are USD, exact.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Sums {
    /// Whether these are the sums of everything, in which each charge counts once.
    pub is_total: bool,
    /// What tells the group from the others; none for charges that belong to no such thing.
    pub key: Option<String>,
    /// Its name for people, where the key is none.
    pub label: Option<String>,
    /// Whether the video has a kept clip. Meaningful for [`Grouping::Project`].
    pub kept: bool,
    /// When its first charge was made.
    pub first_charge_at: Option<jiff_sqlx::Timestamp>,
    /// Number of charges.
    pub calls: i64,
    /// Number of charges whose outcome is unknown.
    pub unknown_calls: i64,
    /// Settled for conversation, writer and director.
    pub language_usd: Decimal,
    /// Settled for keyframes.
    pub image_usd: Decimal,
    /// Settled for clips.
    pub video_usd: Decimal,
    /// Settled for everything else.
    pub other_usd: Decimal,
    /// Settled in all.
    pub settled_usd: Decimal,
    /// The ceilings of the charges whose outcome is unknown.
    pub unknown_usd: Decimal,
    /// What was estimated beforehand.
    pub estimated_usd: Decimal,
    /// What the providers say they billed, as far as they said it.
    pub billed_usd: Option<Decimal>,
    /// Settled for results that were not kept.
    pub wasted_usd: Decimal,
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
    /// Tokens that were embedded; they cannot be cached.
    pub embedding_tokens: i64,
    /// Image jobs.
    pub images: i64,
    /// Seconds of video.
    pub video_seconds: i64,
    /// Promised to calls that are under way now, whatever the selection.
    pub in_flight_usd: Decimal,
}

/// The charges that `$1` (user), `$2` (since) and `$3` (number of videos) select. All three may
/// be null.
macro_rules! selected {
    () => {
        "WITH scoped AS (
             SELECT * FROM charges
             WHERE ($1::text IS NULL OR user_id = $1)
               AND ($2::timestamptz IS NULL OR created_at >= $2)
         ), selected AS (
             SELECT * FROM scoped
             WHERE $3::bigint IS NULL
                OR project_id IN (SELECT project_id FROM scoped
                                  WHERE project_id IS NOT NULL
                                  GROUP BY project_id
                                  ORDER BY min(created_at) DESC, project_id DESC
                                  LIMIT $3::bigint)
         )"
    };
}

/// The sums over a group of `selected`. Sums of bigint are numeric and are brought back.
macro_rules! sums {
    () => {
        "min(selected.created_at) AS first_charge_at,
         count(*) AS calls,
         count(*) FILTER (WHERE state = 'unknown') AS unknown_calls,
         coalesce(sum(settled_usd) FILTER (WHERE selected.component IN ('conversation', 'writer', 'director')), 0)
             AS language_usd,
         coalesce(sum(settled_usd) FILTER (WHERE selected.component = 'image'), 0) AS image_usd,
         coalesce(sum(settled_usd) FILTER (WHERE selected.component = 'video'), 0) AS video_usd,
         coalesce(sum(settled_usd) FILTER (WHERE selected.component NOT IN
             ('conversation', 'writer', 'director', 'image', 'video')), 0) AS other_usd,
         coalesce(sum(settled_usd), 0) AS settled_usd,
         coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) AS unknown_usd,
         coalesce(sum(estimated_usd), 0) AS estimated_usd,
         sum(billed_usd) AS billed_usd,
         coalesce(sum(settled_usd) FILTER (WHERE wasted), 0) AS wasted_usd,
         coalesce(sum(uncached_input_tokens), 0)::bigint AS uncached_input_tokens,
         coalesce(sum(cache_write_5m_tokens), 0)::bigint AS cache_write_5m_tokens,
         coalesce(sum(cache_write_1h_tokens), 0)::bigint AS cache_write_1h_tokens,
         coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
         coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
         coalesce(sum(embedding_tokens), 0)::bigint AS embedding_tokens,
         coalesce(sum(images), 0)::bigint AS images,
         coalesce(sum(video_seconds), 0)::bigint AS video_seconds,
         (SELECT coalesce(sum(operations.reserved_usd), 0) FROM operations
          WHERE operations.state IN ('submitting', 'submitted', 'ready')
            AND ($1::text IS NULL OR operations.user_id = $1)) AS in_flight_usd"
    };
}

/// Groups that a charge names itself: `$4` says which.
const BY_OWN_COLUMN: &str = concat!(
    selected!(),
    ", keyed AS (
         SELECT selected.*,
                CASE $4::text WHEN 'component' THEN component
                              WHEN 'provider' THEN provider
                              WHEN 'model' THEN provider || ' ' || model
                              ELSE to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') END AS own_key
         FROM selected
     )
     SELECT * FROM (
         SELECT grouping(own_key) = 1 AS is_total, own_key AS key, NULL::text AS label, false AS kept, ",
    sums!(),
    " FROM keyed AS selected
         GROUP BY GROUPING SETS ((own_key), ())
     ) AS report
     ORDER BY is_total, CASE WHEN $4::text = 'day' THEN key END DESC, settled_usd + unknown_usd DESC, key"
);

/// One group for each video, the latest first.
const BY_PROJECT: &str = concat!(
    selected!(),
    ", kept AS (
         SELECT DISTINCT project_id FROM operations
         WHERE kind = 'clip' AND state = 'kept' AND project_id IN (SELECT project_id FROM selected)
     )
     SELECT * FROM (
         SELECT grouping(selected.project_id) = 1 AS is_total, selected.project_id::text AS key,
                coalesce(nullif(min(projects.title), ''), min(projects.slug)) AS label,
                coalesce(bool_or(kept.project_id IS NOT NULL), false) AS kept, ",
    sums!(),
    " FROM selected
         LEFT JOIN projects ON projects.id = selected.project_id
         LEFT JOIN kept ON kept.project_id = selected.project_id
         GROUP BY GROUPING SETS ((selected.project_id), ())
     ) AS report
     ORDER BY is_total, key IS NULL, first_charge_at DESC, key DESC"
);

/// One group for each campaign. A video in two campaigns counts in both, and once in the total.
const BY_CAMPAIGN: &str = concat!(
    selected!(),
    " SELECT * FROM (
         SELECT false AS is_total, campaigns.id::text AS key, min(campaigns.name) AS label, false AS kept, ",
    sums!(),
    " FROM selected
         LEFT JOIN project_campaigns ON project_campaigns.project_id = selected.project_id
         LEFT JOIN campaigns ON campaigns.id = project_campaigns.campaign_id
         GROUP BY campaigns.id
         UNION ALL
         SELECT true, NULL::text, NULL::text, false, ",
    sums!(),
    " FROM selected
     ) AS report
     ORDER BY is_total, key IS NULL, settled_usd + unknown_usd DESC, key"
);

/// Sums the selected charges by group; the last row holds the sums of everything.
pub async fn sums(
    connection: &mut PgConnection,
    selection: &Selection,
    grouping: Grouping,
) -> Result<Vec<Sums>, StoreError> {
    let (statement, own_column) = match grouping {
        Grouping::Project => (BY_PROJECT, None),
        Grouping::Campaign => (BY_CAMPAIGN, None),
        Grouping::Component => (BY_OWN_COLUMN, Some("component")),
        Grouping::Provider => (BY_OWN_COLUMN, Some("provider")),
        Grouping::Model => (BY_OWN_COLUMN, Some("model")),
        Grouping::Day => (BY_OWN_COLUMN, Some("day")),
    };
    let mut query = sqlx::query_as(statement)
        .bind(selection.user_id.as_deref())
        .bind(selection.since.map(ToSqlx::to_sqlx))
        .bind(selection.last_videos);
    if let Some(column) = own_column {
        query = query.bind(column);
    }
    Ok(query.fetch_all(connection).await?)
}

/// Number of paid calls whose outcome is unknown, and their ceilings in USD.
pub async fn unknown_operations(
    connection: &mut PgConnection,
) -> Result<(i64, Decimal), StoreError> {
    Ok(sqlx::query_as(
        "SELECT count(*), coalesce(sum(reserved_usd), 0) FROM operations WHERE state = 'unknown'",
    )
    .fetch_one(connection)
    .await?)
}
