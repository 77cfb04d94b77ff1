//! What was spent, on what, and how well the prompt cache did.

use jiff::{Span, Timestamp, ToSpan, civil, tz::TimeZone};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use sqlx::PgConnection;

use crate::ledger::money::Usd;
use crate::store::StoreError;
use crate::store::charges::{self, Grouping, Selection, Sums};

/// The version of the JSON report; it rises when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A report of costs.
#[derive(Debug, Clone, Serialize)]
pub struct CostReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the rows are: `project`, `campaign`, `component`, `provider`, `model` or `day`.
    pub by: &'static str,
    /// Whose charges; everybody's if null.
    pub user: Option<String>,
    /// From when on; from the beginning if null.
    pub since: Option<Timestamp>,
    /// The last how many videos; all charges if null.
    pub last: Option<u32>,
    /// Where days begin and end.
    pub time_zone: &'static str,
    /// The groups.
    pub rows: Vec<CostRow>,
    /// Everything that was selected; each charge counts once.
    pub totals: CostRow,
    /// Promised to calls that are under way now, USD, whatever the selection.
    pub in_flight_usd: Usd,
    /// How the prompt cache did against its target.
    pub cache: CacheResult,
}

/// One group of charges. Amounts are exact decimals of USD; estimated, settled, unknown and
/// billed money are never added to each other.
#[derive(Debug, Clone, Serialize)]
pub struct CostRow {
    /// What tells the group from the others: a project's or campaign's id, or the name of a
    /// component, provider, model or day. Null for charges that belong to none.
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
    /// What the providers say they billed, as far as they said it.
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
}

/// How the prompt cache did.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CacheResult {
    /// Share of input tokens read from the cache, weighted by volume; null where there were none.
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
    /// The last how many videos.
    pub last: Option<u32>,
    /// By what.
    pub grouping: Grouping,
    /// What the cache hit rate should be, 0 to 1.
    pub cache_hit_target: Decimal,
}

impl Question {
    /// Reads the books.
    pub async fn ask(&self, connection: &mut PgConnection) -> Result<CostReport, StoreError> {
        let selection = Selection {
            user_id: self.user.clone(),
            since: self.since,
            last_videos: self.last.map(i64::from),
        };
        let mut sums = charges::sums(connection, &selection, self.grouping).await?;
        // The statement always ends in the row of totals.
        let totals = sums.pop().ok_or(sqlx::Error::RowNotFound)?;
        let in_flight_usd = Usd::new(totals.in_flight_usd);
        let row = |sums| CostRow::new(sums, self.grouping);
        let totals = CostRow { status: None, ..row(totals) };
        Ok(CostReport {
            schema: SCHEMA,
            by: name(self.grouping),
            user: self.user.clone(),
            since: self.since,
            last: self.last,
            time_zone: "UTC",
            rows: sums.into_iter().map(row).collect(),
            in_flight_usd,
            cache: CacheResult::new(totals.cache_hit_rate, self.cache_hit_target),
            totals,
        })
    }
}

impl CostRow {
    fn new(sums: Sums, grouping: Grouping) -> Self {
        let is_video = grouping == Grouping::Project && sums.key.is_some();
        Self {
            status: is_video.then_some(if sums.kept { "kept" } else { "draft" }),
            first_charge_at: sums.first_charge_at.map(jiff_sqlx::Timestamp::to_jiff),
            calls: sums.calls,
            language_usd: Usd::new(sums.language_usd),
            image_usd: Usd::new(sums.image_usd),
            video_usd: Usd::new(sums.video_usd),
            other_usd: Usd::new(sums.other_usd),
            settled_usd: Usd::new(sums.settled_usd),
            unknown_calls: sums.unknown_calls,
            unknown_usd: Usd::new(sums.unknown_usd),
            estimated_usd: Usd::new(sums.estimated_usd),
            billed_usd: sums.billed_usd.map(Usd::new),
            wasted_usd: Usd::new(sums.wasted_usd),
            uncached_input_tokens: sums.uncached_input_tokens,
            cache_write_5m_tokens: sums.cache_write_5m_tokens,
            cache_write_1h_tokens: sums.cache_write_1h_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            output_tokens: sums.output_tokens,
            embedding_tokens: sums.embedding_tokens,
            images: sums.images,
            video_seconds: sums.video_seconds,
            cache_hit_rate: hit_rate(
                sums.cache_read_tokens,
                sums.uncached_input_tokens
                    + sums.cache_write_5m_tokens
                    + sums.cache_write_1h_tokens
                    + sums.cache_read_tokens,
            ),
            key: sums.key,
            label: sums.label,
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

/// The part of `input` that is `read`, with four digits; none where there was no input.
fn hit_rate(read: i64, input: i64) -> Option<Decimal> {
    Decimal::from(read).checked_div(Decimal::from(input)).map(|rate| {
        let mut rate = rate.round_dp_with_strategy(4, RoundingStrategy::MidpointNearestEven);
        rate.rescale(4);
        rate
    })
}

/// The name of a grouping, as flags and JSON write it.
pub const fn name(grouping: Grouping) -> &'static str {
    match grouping {
        Grouping::Project => "project",
        Grouping::Campaign => "campaign",
        Grouping::Component => "component",
        Grouping::Provider => "provider",
        Grouping::Model => "model",
        Grouping::Day => "day",
    }
}

/// Reads when a report shall begin: `today`, `yesterday`, a number of hours, days or weeks back
/// (`24h`, `7d`, `2w`), a date (from its first moment, UTC) or a time with its offset.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        format!("'{text}' is none of: today, yesterday, 24h, 7d, 2w, 2026-11-01, 2026-11-01T09:30Z")
    };
    let start_of = |date: civil::Date| {
        date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
    };
    let today = now.to_zoned(TimeZone::UTC).date();
    match text.trim() {
        "today" => return start_of(today),
        "yesterday" => return start_of(today.yesterday().map_err(|_| wrong())?),
        _ => {}
    }
    let text = text.trim();
    if let Some(unit) = text.chars().last().filter(|unit| "hdw".contains(*unit)) {
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let hours_each = match unit {
            'h' => 1,
            'd' => 24,
            _ => 24 * 7,
        };
        let hours = i64::from(number).checked_mul(hours_each).ok_or_else(wrong)?;
        let back: Span = 0.hours().try_hours(hours).map_err(|_| wrong())?;
        return now.checked_sub(back).map_err(|_| wrong());
    }
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        // A date with a time but without an offset is refused: nobody knows whose time it is.
        Err(_) if text.len() > "2026-11-01".len() => return Err(wrong()),
        Err(_) => start_of(text.parse().map_err(|_| wrong())?)?,
    };
    if time > now {
        return Err(format!("'{text}' lies in the future"));
    }
    Ok(time)
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

    #[test]
    fn beginnings_are_read() {
        let now: Timestamp = "2026-11-22T11:30:00Z".parse().unwrap();
        let begins = |text| since(text, now).map(|time| time.to_string());
        assert_eq!(begins("today").unwrap(), "2026-11-22T00:00:00Z");
        assert_eq!(begins("yesterday").unwrap(), "2026-11-21T00:00:00Z");
        assert_eq!(begins("7d").unwrap(), "2026-11-15T11:30:00Z");
        assert_eq!(begins("24h").unwrap(), "2026-11-21T11:30:00Z");
        assert_eq!(begins("2w").unwrap(), "2026-11-08T11:30:00Z");
        assert_eq!(begins("2026-11-01").unwrap(), "2026-11-01T00:00:00Z");
        assert_eq!(begins("2026-11-01T09:30:00+02:00").unwrap(), "2026-11-01T07:30:00Z");
        for wrong in [
            "",
            "d",
            "-7d",
            "7 d",
            "7y",
            "2026-13-01",
            "soon",
            "2026-11-01T09:30",
            "99999999999w",
            "é",
        ] {
            assert!(begins(wrong).is_err(), "{wrong}");
        }
        assert!(begins("2027-01-01").unwrap_err().contains("future"));
        assert!(begins("4000000000w").is_err());
    }
}
