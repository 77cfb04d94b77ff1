//! What was spent, on what, and how well the prompt cache did.

mod cache;
mod overview;
pub mod period;

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use sqlx::PgConnection;

use crate::clock::Zone;
use crate::ids::{CampaignId, ProjectId};
use crate::ledger::money::Usd;
use crate::store::StoreError;
use crate::store::charges::{self, Grouping, Selection, Sums};

pub use crate::store::charges::Level;
pub use cache::{AgentCacheReport, CacheReport, OverSeveral, ReasonMet};
pub use overview::{
    AgentCache, Bill, BudgetLeft, CacheMoney, Estimates, FilmCosts, Forecast, Overview,
};

use period::Calendar;

/// The version of the JSON report; it rises when a field changes its meaning or goes away.
/// 2: `by` may name two levels, days are those of `time_zone`.
pub const SCHEMA: u32 = 2;

/// A report of costs.
#[derive(Debug, Clone, Serialize)]
pub struct CostReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the rows are, as the command line has it: one level such as `model`, or two such as
    /// `day,model`.
    pub by: String,
    /// Whose charges; everybody's if null.
    pub user: Option<String>,
    /// From when on; from the beginning if null.
    pub since: Option<Timestamp>,
    /// The last how many videos; all charges if null.
    pub last: Option<u32>,
    /// Where days begin and end.
    pub time_zone: String,
    /// The groups of the last level.
    pub rows: Vec<CostRow>,
    /// Everything that was selected; each charge counts once.
    pub totals: CostRow,
    /// Promised to calls that are under way now, USD, whatever the selection.
    pub in_flight_usd: Usd,
    /// How the prompt cache did against its target.
    pub cache: CacheResult,
    /// Before when, exclusive; until now if null.
    pub until: Option<Timestamp>,
    /// Only this video; all if null.
    pub project: Option<ProjectId>,
    /// Only the videos of this campaign; all if null.
    pub campaign: Option<CampaignId>,
    /// Only this provider; all if null.
    pub provider: Option<String>,
    /// The groups of the first level where there are two; else empty.
    pub groups: Vec<CostRow>,
    /// The figures at a glance, where they were asked for.
    pub overview: Option<Overview>,
    /// The levels of the rows.
    #[serde(skip)]
    pub levels: Vec<Level>,
    /// The keys of all days, weeks or months of the report if its first level is one of them,
    /// with charges or without, the oldest first.
    #[serde(skip)]
    pub stretches: Vec<String>,
    /// Whether the user has any charges at all, selected or not.
    #[serde(skip)]
    pub has_books: bool,
}

/// One group of charges. Amounts are exact decimals of USD; estimated, settled, unknown and
/// billed money are never added to each other.
#[derive(Debug, Clone, Serialize)]
pub struct CostRow {
    /// What tells the group from the others: a project's or campaign's id, or the name of a
    /// day, component, provider and so on. Null for charges that belong to none.
    pub key: Option<String>,
    /// Its name for people.
    pub label: Option<String>,
    /// `kept` for videos with a kept clip, else `draft`; null for groups of another kind.
    pub status: Option<&'static str>,
    /// When its first charge was made.
    pub first_charge_at: Option<Timestamp>,
    /// Number of charges.
    pub calls: i64,
    /// Settled for writing and directing.
    pub language_usd: Usd,
    /// Settled for keyframes.
    pub image_usd: Usd,
    /// Settled for clips.
    pub video_usd: Usd,
    /// Settled for everything else.
    pub other_usd: Usd,
    /// Settled in all.
    pub settled_usd: Usd,
    /// Number of calls whose outcome is unknown.
    pub unknown_calls: i64,
    /// The most that those may have cost.
    pub unknown_usd: Usd,
    /// Estimated beforehand.
    pub estimated_usd: Usd,
    /// What the providers say they billed, as far as they said it; null where they said nothing.
    pub billed_usd: Option<Usd>,
    /// Settled for results that were not kept.
    pub wasted_usd: Usd,
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
    /// Share of input tokens read from the cache, 0 to 1 with four digits; null where there
    /// were no input tokens.
    pub cache_hit_rate: Option<Decimal>,
    /// Like `key`, of the second level; null where there is one level.
    pub second_key: Option<String>,
    /// Like `label`, of the second level.
    pub second_label: Option<String>,
    /// Settled for results that were kept.
    pub kept_usd: Usd,
    /// Settled for those charges whose bill is known: what `billed_usd` is to be compared with.
    pub billed_settled_usd: Usd,
    /// What the tokens read from the prompt cache would have cost more as uncached input.
    pub cache_saved_usd: Usd,
    /// What writing tokens to the prompt cache cost more than uncached input.
    pub cache_premium_usd: Usd,
    /// The price of what was not bought because a kept take was used again.
    pub reuse_saved_usd: Usd,
}

/// How the prompt cache did.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CacheResult {
    /// Share of the input tokens that could be cached which were read from the cache, weighted by volume; null
    /// where there were none.
    pub hit_rate: Option<Decimal>,
    /// What it should be.
    pub target: Decimal,
    /// Whether it is above its target; null where nothing was cacheable.
    pub met: Option<bool>,
}

impl CacheResult {
    /// Compares a hit rate with its target. The contract says *above* the target.
    pub fn new(hit_rate: Option<Decimal>, target: Decimal) -> Self {
        Self { hit_rate, target, met: hit_rate.map(|rate| rate > target) }
    }
}

/// What a report is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose charges; everybody's if none.
    pub user: Option<String>,
    /// From when on.
    pub since: Option<Timestamp>,
    /// Before when.
    pub until: Option<Timestamp>,
    /// The last how many videos.
    pub last: Option<u32>,
    /// Only this video.
    pub project: Option<ProjectId>,
    /// Only the videos of this campaign.
    pub campaign: Option<CampaignId>,
    /// Only this provider.
    pub provider: Option<String>,
    /// By what: one level, or two.
    pub levels: Vec<Level>,
    /// Where days, weeks and months begin.
    pub zone: Zone,
    /// The time now.
    pub now: Timestamp,
    /// What the cache hit rate should be, 0 to 1.
    pub cache_hit_target: Decimal,
}

impl Question {
    /// Everybody's charges of all time by one level, days in UTC.
    pub fn of_everything(level: Level, now: Timestamp, cache_hit_target: Decimal) -> Self {
        Self {
            user: None,
            since: None,
            until: None,
            last: None,
            project: None,
            campaign: None,
            provider: None,
            levels: vec![level],
            zone: Zone::utc(),
            now,
            cache_hit_target,
        }
    }

    /// Reads the books.
    pub async fn ask(&self, connection: &mut PgConnection) -> Result<CostReport, StoreError> {
        let bounds = charges::bounds(connection, self.user.as_deref()).await?;
        let calendars: Vec<_> =
            self.levels.iter().map(|&level| self.calendar(level, bounds)).collect();
        let groupings: Vec<Grouping> = self
            .levels
            .iter()
            .zip(&calendars)
            .map(|(&level, calendar)| calendar.grouping(level))
            .collect();
        let mut sums = charges::sums(connection, &self.selection(), &groupings).await?;
        for row in &mut sums {
            let keys = [&mut row.first_key, &mut row.second_key];
            for (key, (level, calendar)) in keys.into_iter().zip(self.levels.iter().zip(&calendars))
            {
                if level.is_time() {
                    *key = key.take().and_then(|place| calendar.key(&place));
                }
            }
        }
        let total = sums.iter().position(|row| row.depth == 0).map(|place| sums.remove(place));
        // The statement always has the row of everything.
        let totals = total.ok_or(sqlx::Error::RowNotFound)?;
        let in_flight_usd = Usd::new(totals.in_flight_usd);
        let totals = CostRow { status: None, ..self.row(totals) };
        let (rows, groups) = self.sorted(sums);
        Ok(CostReport {
            schema: SCHEMA,
            by: self.levels.iter().map(|level| level.as_str()).collect::<Vec<_>>().join(","),
            user: self.user.clone(),
            since: self.since,
            until: self.until,
            last: self.last,
            project: self.project,
            campaign: self.campaign,
            provider: self.provider.clone(),
            time_zone: self.zone.name().to_owned(),
            rows,
            groups,
            in_flight_usd,
            cache: CacheResult::new(totals.cache_hit_rate, self.cache_hit_target),
            totals,
            overview: None,
            levels: self.levels.clone(),
            stretches: calendars
                .first()
                .map(|calendar| calendar.keys().to_vec())
                .unwrap_or_default(),
            has_books: bounds.is_some(),
        })
    }

    /// Which charges are meant.
    pub fn selection(&self) -> Selection {
        Selection {
            user_id: self.user.clone(),
            since: self.since,
            until: self.until,
            provider: self.provider.clone(),
            project_id: self.project,
            campaign_id: self.campaign,
            last_videos: self.last.map(i64::from),
        }
    }

    /// The stretches of a level that may hold charges.
    fn calendar(&self, level: Level, bounds: Option<(Timestamp, Timestamp)>) -> Calendar {
        // Where a clock went wrong, charges may lie after now.
        let (first, last) = bounds.unwrap_or((self.now, self.now));
        let from = self.since.map_or(first, |since| since.max(first));
        let end = last.max(self.now);
        // The end is exclusive: what is until midnight has no part of the next day.
        let to =
            self.until.map_or(end, |until| (until - jiff::SignedDuration::from_nanos(1)).min(end));
        Calendar::new(level, &self.zone, from, to)
    }

    fn row(&self, sums: Sums) -> CostRow {
        let is_video = self.levels.first() == Some(&Level::Project)
            && sums.depth == 1
            && sums.first_key.is_some();
        CostRow::new(sums, is_video)
    }

    /// The rows of the last level, and those of the first where there are two, as they are read:
    /// times and videos from the newest, everything else from the dearest.
    fn sorted(&self, sums: Vec<Sums>) -> (Vec<CostRow>, Vec<CostRow>) {
        let deepest = i32::try_from(self.levels.len()).unwrap_or(i32::MAX);
        let first_level = self.levels.first().copied().unwrap_or(Level::Day);
        let (last, mut first): (Vec<Sums>, Vec<Sums>) =
            sums.into_iter().partition(|row| row.depth == deepest);
        if deepest < 2 {
            let mut last = last;
            last.sort_by(|a, b| order(first_level, a, b, |row| row.first_key.as_deref()));
            return (last.into_iter().map(|sums| self.row(sums)).collect(), Vec::new());
        }
        first.sort_by(|a, b| order(first_level, a, b, |row| row.first_key.as_deref()));
        let places: HashMap<Option<&str>, usize> = first
            .iter()
            .enumerate()
            .map(|(place, row)| (row.first_key.as_deref(), place))
            .collect();
        let second_level = self.levels.get(1).copied().unwrap_or(first_level);
        let mut last = last;
        last.sort_by(|a, b| {
            let place = |row: &Sums| places.get(&row.first_key.as_deref()).copied();
            place(a)
                .cmp(&place(b))
                .then_with(|| order(second_level, a, b, |row| row.second_key.as_deref()))
        });
        let rows = |sums: Vec<Sums>| sums.into_iter().map(|sums| self.row(sums)).collect();
        (rows(last), rows(first))
    }
}

/// Which of two groups of a level stands first.
fn order(level: Level, a: &Sums, b: &Sums, key: impl Fn(&Sums) -> Option<&str>) -> Ordering {
    let by_key = || key(a).cmp(&key(b));
    match level {
        level if level.is_time() => by_key().reverse(),
        Level::Project => {
            let begun = |row: &Sums| {
                let first = row.first_charge_at.map(jiff_sqlx::Timestamp::to_jiff);
                (key(row).is_none(), Reverse(first))
            };
            begun(a).cmp(&begun(b)).then_with(|| by_key().reverse())
        }
        _ => {
            let dear =
                |row: &Sums| (key(row).is_none(), Reverse(row.settled_usd + row.unknown_usd));
            dear(a).cmp(&dear(b)).then_with(by_key)
        }
    }
}

impl CostRow {
    fn new(sums: Sums, is_video: bool) -> Self {
        let has_bill = !(sums.billed_usd.is_zero() && sums.billed_settled_usd.is_zero());
        let input = sums.uncached_input_tokens - sums.uncacheable_input_tokens
            + sums.cache_write_5m_tokens
            + sums.cache_write_1h_tokens
            + sums.cache_read_tokens;
        Self {
            status: is_video.then_some(if sums.kept { "kept" } else { "draft" }),
            first_charge_at: sums.first_charge_at.map(jiff_sqlx::Timestamp::to_jiff),
            calls: sums.calls,
            language_usd: exact(sums.language_usd),
            image_usd: exact(sums.image_usd),
            video_usd: exact(sums.video_usd),
            other_usd: exact(sums.other_usd),
            settled_usd: exact(sums.settled_usd),
            unknown_calls: sums.unknown_calls,
            unknown_usd: exact(sums.unknown_usd),
            estimated_usd: exact(sums.estimated_usd),
            billed_usd: has_bill.then(|| exact(sums.billed_usd)),
            wasted_usd: exact(sums.wasted_usd),
            uncached_input_tokens: sums.uncached_input_tokens,
            cache_write_5m_tokens: sums.cache_write_5m_tokens,
            cache_write_1h_tokens: sums.cache_write_1h_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            output_tokens: sums.output_tokens,
            embedding_tokens: sums.embedding_tokens,
            images: sums.images,
            video_seconds: sums.video_seconds,
            cache_hit_rate: hit_rate(sums.cache_read_tokens, input),
            key: sums.first_key,
            label: sums.first_label,
            second_key: sums.second_key,
            second_label: sums.second_label,
            kept_usd: exact(sums.settled_usd - sums.wasted_usd),
            billed_settled_usd: exact(sums.billed_settled_usd),
            cache_saved_usd: exact(sums.cache_saved_usd),
            cache_premium_usd: exact(sums.cache_premium_usd),
            reuse_saved_usd: exact(sums.reuse_saved_usd),
        }
    }

    /// All input tokens.
    pub const fn input_tokens(&self) -> i64 {
        self.uncached_input_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
            + self.cache_read_tokens
    }
}

/// A sum as it is shown: nothing is `0`, whether it is the sum of no amounts or of amounts that
/// cancel out.
fn exact(sum: Decimal) -> Usd {
    if sum.is_zero() { Usd::ZERO } else { Usd::new(sum) }
}

/// The part of `input` that is `read`, with four digits; none where there was no input.
fn hit_rate(read: i64, input: i64) -> Option<Decimal> {
    Decimal::from(read).checked_div(Decimal::from(input)).map(|rate| {
        let mut rate = rate.round_dp_with_strategy(4, RoundingStrategy::MidpointNearestEven);
        rate.rescale(4);
        rate
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn nothing_cacheable_is_not_a_rate_of_zero() {
        assert_eq!(hit_rate(0, 0), None);
        assert_eq!(hit_rate(0, 10), Some(dec!(0)));
        assert_eq!(hit_rate(2, 3), Some(dec!(0.6667)));
        assert_eq!(CacheResult::new(None, dec!(0.6)).met, None);
        assert_eq!(CacheResult::new(Some(dec!(0.6)), dec!(0.6)).met, Some(false));
        assert_eq!(CacheResult::new(Some(dec!(0.6001)), dec!(0.6)).met, Some(true));
    }
}
