//! Reading the books for reports. Each report is one statement, and the grouping is done in it.
//!
//! What days, weeks, months, components, providers, models and users can tell is read from
//! `charge_sums`, which holds a quarter of an hour of charges in a few rows; what needs the video
//! or the fate of a charge is read from `charges`. Both give the same figures to the last digit.

mod statement;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres};

use crate::ids::{CampaignId, ProjectId};
use crate::store::StoreError;

pub use statement::Source;

/// Which charges are looked at. Everything that is none or empty selects all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only this user's; everybody's if none.
    pub user_id: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only those before this time.
    pub until: Option<Timestamp>,
    /// Only those of this provider.
    pub provider: Option<String>,
    /// Only those of this video.
    pub project_id: Option<ProjectId>,
    /// Only those of the videos in this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Only those of the last videos by first charge, this many.
    pub last_videos: Option<i64>,
}

impl Selection {
    /// Whether single videos are selected, of which the sums know nothing.
    pub const fn is_of_videos(&self) -> bool {
        self.project_id.is_some() || self.campaign_id.is_some() || self.last_videos.is_some()
    }
}

/// What charges are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The day in a time zone.
    Day,
    /// The week in a time zone; it begins on Monday.
    Week,
    /// The month in a time zone.
    Month,
    /// The campaigns that the video is in; a charge counts in each of them.
    Campaign,
    /// The video that they are for.
    Project,
    /// The part of the work.
    Component,
    /// The provider.
    Provider,
    /// The provider and its model.
    Model,
    /// Who paid.
    User,
    /// Whether what was paid for was kept, was wasted, or is unknown.
    Status,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 10] = [
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Campaign,
        Self::Project,
        Self::Component,
        Self::Provider,
        Self::Model,
        Self::User,
        Self::Status,
    ];

    /// The name on the command line and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Campaign => "campaign",
            Self::Project => "project",
            Self::Component => "component",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::User => "user",
            Self::Status => "status",
        }
    }

    /// Whether it is a stretch of time.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month)
    }

    /// Whether `charge_sums` knows it.
    pub const fn is_summed(self) -> bool {
        !matches!(self, Self::Campaign | Self::Project | Self::Status)
    }
}

/// A level with what the statement needs to know of it.
#[derive(Debug, Clone)]
pub struct Grouping {
    /// The level.
    pub level: Level,
    /// For a stretch of time: when each of them begins, ascending. The key of a group is then
    /// its place in this list, counted from 1. Empty for other levels.
    pub starts: Vec<Timestamp>,
}

impl From<Level> for Grouping {
    /// A level that is not a stretch of time.
    fn from(level: Level) -> Self {
        Self { level, starts: Vec::new() }
    }
}

/// The sums of one group, or of everything. Amounts are USD, exact.
#[derive(Debug, Clone, FromRow)]
pub struct Sums {
    /// How many levels tell the group from others: 0 for the sums of everything, in which each
    /// charge counts once.
    pub depth: i32,
    /// What tells the group from the others of the first level; none for charges that belong to
    /// no such thing.
    pub first_key: Option<String>,
    /// Its name for people, where the key is none.
    pub first_label: Option<String>,
    /// The same of the second level.
    pub second_key: Option<String>,
    /// Its name for people, where the key is none.
    pub second_label: Option<String>,
    /// Whether the video has a kept clip. Meaningful for groups by [`Level::Project`] alone.
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
    pub billed_usd: Decimal,
    /// Settled for those charges whose bill is known.
    pub billed_settled_usd: Decimal,
    /// Settled for results that were not kept.
    pub wasted_usd: Decimal,
    /// What tokens read from the prompt cache would have cost more as uncached input.
    pub cache_saved_usd: Decimal,
    /// What writing tokens to the prompt cache cost more than uncached input.
    pub cache_premium_usd: Decimal,
    /// The price of what was not bought because a kept take was used again.
    pub reuse_saved_usd: Decimal,
    /// Input tokens neither read from nor written to the cache.
    pub uncached_input_tokens: i64,
    /// Those of them that no cache could serve: pictures that are described once.
    pub uncacheable_input_tokens: i64,
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
    /// Promised to calls of the selected user that are under way now, whatever else is selected.
    pub in_flight_usd: Decimal,
}

/// Sums the selected charges by one or two levels, from wherever that is fastest. The groups are
/// in no order; exactly one row has depth 0 and holds the sums of everything.
pub async fn sums(
    connection: &mut PgConnection,
    selection: &Selection,
    groupings: &[Grouping],
) -> Result<Vec<Sums>, StoreError> {
    let summed = groupings.iter().all(|grouping| grouping.level.is_summed());
    let source = if summed && !selection.is_of_videos() { Source::Sums } else { Source::Charges };
    sums_from(connection, selection, groupings, source).await
}

/// The same as [`sums`] from a given table. [`Source::Sums`] cannot answer for single videos.
pub async fn sums_from(
    connection: &mut PgConnection,
    selection: &Selection,
    groupings: &[Grouping],
    source: Source,
) -> Result<Vec<Sums>, StoreError> {
    let starts = |place: usize| -> Vec<jiff_sqlx::Timestamp> {
        let grouping = groupings.get(place);
        grouping.map(|grouping| moments(&grouping.starts)).unwrap_or_default()
    };
    let query = sqlx::query_as(AssertSqlSafe(statement::report(selection, groupings, source)));
    let query = bind(query, selection).bind(starts(0)).bind(starts(1));
    let rows: Vec<Sums> = query.fetch_all(connection).await?;
    // A group all of whose charges went elsewhere leaves sums of nothing behind.
    Ok(rows.into_iter().filter(|row| row.depth == 0 || row.calls > 0).collect())
}

fn moments(moments: &[Timestamp]) -> Vec<jiff_sqlx::Timestamp> {
    moments.iter().map(|moment| moment.to_sqlx()).collect()
}

/// Binds `$1` to `$9`: the selection, and the whole quarters of an hour in it.
fn bind<'q, Row>(
    query: QueryAs<'q, Postgres, Row, PgArguments>,
    selection: &'q Selection,
) -> QueryAs<'q, Postgres, Row, PgArguments> {
    let (from, to) = statement::whole_quarters(selection);
    query
        .bind(selection.user_id.as_deref())
        .bind(selection.since.map(ToSqlx::to_sqlx))
        .bind(selection.until.map(ToSqlx::to_sqlx))
        .bind(selection.provider.as_deref())
        .bind(selection.project_id)
        .bind(selection.campaign_id)
        .bind(selection.last_videos)
        .bind(from.map(ToSqlx::to_sqlx))
        .bind(to.map(ToSqlx::to_sqlx))
}

/// When a user's first and last charge were made, to the quarter of an hour; everybody's if no
/// user is named. None where there are no charges.
pub async fn bounds(
    connection: &mut PgConnection,
    user_id: Option<&str>,
) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let (first, last): (Option<jiff_sqlx::Timestamp>, Option<jiff_sqlx::Timestamp>) =
        sqlx::query_as(
            "SELECT (SELECT quarter_hour FROM charge_sums
                     WHERE calls > 0 AND ($1::text IS NULL OR user_id = $1) ORDER BY quarter_hour LIMIT 1),
                    (SELECT quarter_hour FROM charge_sums
                     WHERE calls > 0 AND ($1::text IS NULL OR user_id = $1) ORDER BY quarter_hour DESC LIMIT 1)",
        )
        .bind(user_id)
        .fetch_one(connection)
        .await?;
    Ok(first.zip(last).map(|(first, last)| (first.to_jiff(), last.to_jiff())))
}

/// What was settled of a user's and a provider's charges since each of two moments, USD; without
/// them, of everybody's and every provider's. The moments begin a quarter of an hour.
pub async fn settled_since(
    connection: &mut PgConnection,
    selection: &Selection,
    moments: [Timestamp; 2],
) -> Result<[Decimal; 2], StoreError> {
    let (first, second) = sqlx::query_as(
        "SELECT coalesce(sum(settled_usd) FILTER (WHERE quarter_hour >= $3), 0),
                coalesce(sum(settled_usd) FILTER (WHERE quarter_hour >= $4), 0)
         FROM charge_sums
         WHERE quarter_hour >= least($3, $4) AND ($1::text IS NULL OR user_id = $1)
           AND ($2::text IS NULL OR provider = $2)",
    )
    .bind(selection.user_id.as_deref())
    .bind(selection.provider.as_deref())
    .bind(moments[0].to_sqlx())
    .bind(moments[1].to_sqlx())
    .fetch_one(connection)
    .await?;
    Ok([first, second])
}

/// The films that were finished in a selection's time, and how their estimates did.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Films {
    /// Videos with a finished film.
    pub films: i64,
    /// Seconds of film, counting the latest film of each video.
    pub seconds: Decimal,
    /// Finished films whose cost was estimated beforehand.
    pub estimated_films: i64,
    /// What those were expected to cost, USD.
    pub estimated_usd: Decimal,
    /// What is known that they did cost, USD.
    pub estimated_settled_usd: Decimal,
}

/// The films that were finished in a selection's time. The provider says nothing of a film and
/// is left out of account.
pub async fn films(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<Films, StoreError> {
    let query = sqlx::query_as(AssertSqlSafe(statement::films(selection)));
    Ok(bind(query, selection).fetch_one(connection).await?)
}

/// Number of images and clips whose outcome is unknown, and their ceilings in USD. The lost replies of
/// language models and embedders are left out: nothing waits for them and nobody can be asked.
pub async fn unknown_operations(
    connection: &mut PgConnection,
) -> Result<(i64, Decimal), StoreError> {
    Ok(sqlx::query_as(
        "SELECT count(*), coalesce(sum(reserved_usd), 0) FROM operations
         WHERE state = 'unknown' AND kind IN ('image', 'clip')",
    )
    .fetch_one(connection)
    .await?)
}
