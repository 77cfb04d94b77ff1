//! The text of the statements that read the books. It is put together from constants; whatever
//! a user typed is bound.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::{Grouping, Level, Selection};

/// Which table answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `charges`: one row for each charge.
    Charges,
    /// `charge_sums`, and `charges` where the selection cuts a quarter of an hour.
    Sums,
}

/// What is summed, as one charge has it.
const OF_A_CHARGE: &str = "1::bigint AS calls,
    CASE WHEN state = 'unknown' THEN 1::bigint ELSE 0::bigint END AS unknown_calls,
    settled_usd,
    CASE WHEN state = 'unknown' THEN reserved_usd END AS unknown_usd,
    CASE WHEN wasted THEN settled_usd END AS wasted_usd,
    estimated_usd, billed_usd,
    CASE WHEN billed_usd IS NOT NULL THEN settled_usd END AS billed_settled_usd,
    cache_saved_usd, cache_premium_usd, reuse_saved_usd,
    uncached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, output_tokens,
    embedding_tokens, images::bigint AS images, video_seconds::bigint AS video_seconds";

/// The same as a quarter of an hour has it.
const OF_A_QUARTER_HOUR: &str = "calls, unknown_calls, settled_usd, unknown_usd, wasted_usd,
    estimated_usd, billed_usd, billed_settled_usd, cache_saved_usd, cache_premium_usd, reuse_saved_usd,
    uncached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, output_tokens,
    embedding_tokens, images, video_seconds";

/// The sums over a group. Sums of bigint are numeric and are brought back.
const SUMS: &str = "min(moment) FILTER (WHERE calls > 0) AS first_moment,
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(unknown_calls), 0)::bigint AS unknown_calls,
    coalesce(sum(settled_usd) FILTER (WHERE component IN ('conversation', 'writer', 'director')), 0) AS language_usd,
    coalesce(sum(settled_usd) FILTER (WHERE component = 'image'), 0) AS image_usd,
    coalesce(sum(settled_usd) FILTER (WHERE component = 'video'), 0) AS video_usd,
    coalesce(sum(settled_usd) FILTER (WHERE component NOT IN
        ('conversation', 'writer', 'director', 'image', 'video')), 0) AS other_usd,
    coalesce(sum(settled_usd), 0) AS settled_usd,
    coalesce(sum(unknown_usd), 0) AS unknown_usd,
    coalesce(sum(estimated_usd), 0) AS estimated_usd,
    coalesce(sum(billed_usd), 0) AS billed_usd,
    coalesce(sum(billed_settled_usd), 0) AS billed_settled_usd,
    coalesce(sum(wasted_usd), 0) AS wasted_usd,
    coalesce(sum(cache_saved_usd), 0) AS cache_saved_usd,
    coalesce(sum(cache_premium_usd), 0) AS cache_premium_usd,
    coalesce(sum(reuse_saved_usd), 0) AS reuse_saved_usd,
    coalesce(sum(uncached_input_tokens), 0)::bigint AS uncached_input_tokens,
    coalesce(sum(uncached_input_tokens) FILTER (WHERE component = 'vision'), 0)::bigint AS uncacheable_input_tokens,
    coalesce(sum(cache_write_5m_tokens), 0)::bigint AS cache_write_5m_tokens,
    coalesce(sum(cache_write_1h_tokens), 0)::bigint AS cache_write_1h_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(embedding_tokens), 0)::bigint AS embedding_tokens,
    coalesce(sum(images), 0)::bigint AS images,
    coalesce(sum(video_seconds), 0)::bigint AS video_seconds";

/// The last videos by first charge among the selected charges.
const LAST_VIDEOS: &str = "SELECT project_id FROM scoped WHERE project_id IS NOT NULL
    GROUP BY project_id ORDER BY min(created_at) DESC, project_id DESC LIMIT $7::bigint";

/// The whole quarters of an hour in a selection, as a half-open interval whose ends may be open.
/// It is empty, its end before its beginning, where a selection lies within one quarter.
pub(super) fn whole_quarters(selection: &Selection) -> (Option<Timestamp>, Option<Timestamp>) {
    let quarter = |moment: Timestamp, mode| {
        let rounding = TimestampRound::new().smallest(Unit::Minute).increment(15).mode(mode);
        // Only the first and the last minutes of the calendar cannot be rounded.
        moment.round(rounding).unwrap_or(moment)
    };
    (
        selection.since.map(|since| quarter(since, RoundMode::Ceil)),
        selection.until.map(|until| quarter(until, RoundMode::Floor)),
    )
}

/// The statement of a report. `$1` to `$9` are the selection, `$10` and `$11` when the stretches
/// of time of the two levels begin.
pub(super) fn report(selection: &Selection, groupings: &[Grouping], source: Source) -> String {
    let (scoped, rows) = match source {
        Source::Charges => {
            (format!("scoped AS ({}), ", scoped(selection)), rows_of_charges(selection))
        }
        Source::Sums => (String::new(), rows_of_sums(selection)),
    };
    let aggregates = aggregates(groupings);
    let level = |place: usize| groupings.get(place).map(|grouping| grouping.level);
    let (first_label, second_label) = (label(level(0), "first_id"), label(level(1), "second_id"));
    let kept = if level(0) == Some(Level::Project) {
        "EXISTS (SELECT 1 FROM operations
                 WHERE project_id = first_id AND kind = 'clip' AND state = 'kept')"
    } else {
        "false"
    };
    let first_charge = match source {
        Source::Charges => "first_moment".to_owned(),
        Source::Sums => first_charge(selection, groupings),
    };
    format!(
        "WITH {scoped}booked AS ({rows}), grouped AS ({aggregates})
         SELECT grouped.*, first_id::text AS first_key, {first_label} AS first_label,
                second_id::text AS second_key, {second_label} AS second_label,
                {kept} AS kept, {first_charge} AS first_charge_at,
                (SELECT coalesce(sum(reserved_usd), 0) FROM operations
                 WHERE state IN ('submitting', 'submitted', 'ready') AND ($1::text IS NULL OR user_id = $1)
                   AND NOT EXISTS (SELECT 1 FROM charges WHERE operation_id = operations.id)) AS in_flight_usd
         FROM grouped"
    )
}

/// The statement on the films that were finished in a selection's time.
pub(super) fn films(selection: &Selection) -> String {
    let mut conditions = vec![
        "kind = 'film' AND state IN ('done', 'partial') AND finished_at IS NOT NULL".to_owned(),
    ];
    conditions.extend(selection.user_id.as_ref().map(|_| "user_id = $1".to_owned()));
    conditions.extend(selection.since.map(|_| "finished_at >= $2".to_owned()));
    conditions.extend(selection.until.map(|_| "finished_at < $3".to_owned()));
    conditions.extend(of_videos(selection));
    conditions.extend(selection.last_videos.map(|_| format!("project_id IN ({LAST_VIDEOS})")));
    let conditions = conditions.join(" AND ");
    let scoped = scoped(selection);
    format!(
        "WITH scoped AS ({scoped}), finished AS (
             SELECT id, project_id, video_seconds, estimate_usd,
                    row_number() OVER (PARTITION BY project_id ORDER BY finished_at DESC, id DESC) = 1 AS is_latest
             FROM runs WHERE {conditions}
         )
         SELECT count(*) FILTER (WHERE is_latest) AS films,
                coalesce(sum(video_seconds) FILTER (WHERE is_latest), 0) AS seconds,
                count(estimate_usd) AS estimated_films,
                coalesce(sum(estimate_usd), 0) AS estimated_usd,
                coalesce(sum(cost.settled_usd), 0) AS estimated_settled_usd
         FROM finished
         LEFT JOIN LATERAL (SELECT sum(settled_usd) AS settled_usd FROM charges
                            WHERE project_id = finished.project_id AND run_id = finished.id) AS cost
             ON estimate_usd IS NOT NULL"
    )
}

/// The selected charges, before the last videos are picked from them.
fn scoped(selection: &Selection) -> String {
    let mut conditions = owners(selection);
    conditions.extend(selection.since.map(|_| "created_at >= $2".to_owned()));
    conditions.extend(selection.until.map(|_| "created_at < $3".to_owned()));
    conditions.extend(of_videos(selection));
    format!("SELECT * FROM charges WHERE {}", conditions.join(" AND "))
}

/// What a selection says of who paid and who was paid, for both tables.
fn owners(selection: &Selection) -> Vec<String> {
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(selection.user_id.as_ref().map(|_| "user_id = $1".to_owned()));
    conditions.extend(selection.provider.as_ref().map(|_| "provider = $4".to_owned()));
    conditions
}

/// What a selection says of the video.
fn of_videos(selection: &Selection) -> Vec<String> {
    let mut conditions = Vec::new();
    conditions.extend(selection.project_id.map(|_| "project_id = $5".to_owned()));
    conditions.extend(selection.campaign_id.map(|_| {
        "project_id IN (SELECT project_id FROM project_campaigns WHERE campaign_id = $6)".to_owned()
    }));
    conditions
}

/// The columns by which rows are told apart, beside the moment.
const WHO: &str = "user_id, component, provider, model";

fn rows_of_charges(selection: &Selection) -> String {
    let last = selection
        .last_videos
        .map(|_| format!("WHERE project_id IN ({LAST_VIDEOS})"))
        .unwrap_or_default();
    format!(
        "SELECT created_at AS moment, {WHO}, project_id,
                CASE WHEN state = 'unknown' THEN 'unknown' WHEN wasted THEN 'wasted' ELSE 'kept' END AS status,
                {OF_A_CHARGE}
         FROM scoped {last}"
    )
}

/// Whole quarters of an hour from the sums, and what a selection cuts off from the charges.
fn rows_of_sums(selection: &Selection) -> String {
    let (from, to) = whole_quarters(selection);
    let owners = owners(selection).join(" AND ");
    let mut whole = owners.clone();
    if from.is_some() {
        whole += " AND quarter_hour >= $8";
    }
    if to.is_some() {
        whole += " AND quarter_hour < $9";
    }
    let mut cut = Vec::new();
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        cut.push("created_at >= $2 AND created_at < $3");
    } else {
        cut.extend((selection.since != from).then_some("created_at >= $2 AND created_at < $8"));
        cut.extend((selection.until != to).then_some("created_at >= $9 AND created_at < $3"));
    }
    let mut rows = format!(
        "SELECT quarter_hour AS moment, {WHO}, {OF_A_QUARTER_HOUR} FROM charge_sums WHERE {whole}"
    );
    for cut in cut {
        let _ = write!(
            rows,
            " UNION ALL SELECT created_at, {WHO}, {OF_A_CHARGE} FROM charges WHERE {owners} AND {cut}"
        );
    }
    rows
}

/// The expression that tells the groups of a level apart, and its type. `starts` is the
/// parameter that holds when stretches of time begin.
fn key(level: Level, starts: &str) -> (String, &'static str) {
    match level {
        Level::Day | Level::Week | Level::Month => {
            (format!("width_bucket(moment, {starts}::timestamptz[])"), "integer")
        }
        Level::Campaign => ("project_campaigns.campaign_id".to_owned(), "uuid"),
        Level::Project => ("booked.project_id".to_owned(), "uuid"),
        Level::Component => ("component".to_owned(), "text"),
        Level::Provider => ("provider".to_owned(), "text"),
        Level::Model => ("provider || ' ' || model".to_owned(), "text"),
        Level::User => ("user_id".to_owned(), "text"),
        Level::Status => ("status".to_owned(), "text"),
    }
}

/// The groups of every depth: everything, the first level, and the first with the second.
///
/// A video in two campaigns counts in both, and yet once in what stands above them: therefore
/// what is grouped by campaign is summed over another set of rows than what is not.
fn aggregates(groupings: &[Grouping]) -> String {
    let keys: Vec<_> = groupings
        .iter()
        .zip(["$10", "$11"])
        .map(|(grouping, starts)| (grouping.level, key(grouping.level, starts)))
        .collect();
    let campaign = keys.iter().position(|(level, _)| *level == Level::Campaign);
    // How many depths leave the campaign out.
    let plain = campaign.map_or(keys.len() + 1, |place| place + 1);
    let names = ["first_id", "second_id"];
    let over = |depths: Range<usize>, joined: &str| {
        let deepest = depths.end - 1;
        let mut columns = vec!["booked.*".to_owned()];
        columns.extend(
            keys[..deepest]
                .iter()
                .zip(names)
                .map(|((_, (expression, _)), name)| format!("{expression} AS {name}")),
        );
        let columns = columns.join(", ");
        // Keys that no depth here has are null, and of one type with those of the other rows.
        let shown = [0, 1]
            .map(|place| match keys.get(place) {
                Some(_) if place < deepest => names[place].to_owned(),
                Some((_, (_, kind))) => format!("NULL::{kind} AS {}", names[place]),
                None => format!("NULL::text AS {}", names[place]),
            })
            .join(", ");
        let sets: Vec<_> = depths.map(|depth| format!("({})", names[..depth].join(", "))).collect();
        let rolled_up: Vec<_> =
            names[..deepest].iter().map(|name| format!("grouping({name})")).collect();
        let depth =
            [deepest.to_string()].into_iter().chain(rolled_up).collect::<Vec<_>>().join(" - ");
        let sets = sets.join(", ");
        format!(
            "SELECT {depth} AS depth, {shown}, {SUMS}
             FROM (SELECT {columns} FROM booked {joined}) AS keyed
             GROUP BY GROUPING SETS ({sets})"
        )
    };
    let mut statement = over(0..plain, "");
    if plain <= keys.len() {
        let joined =
            "LEFT JOIN project_campaigns ON project_campaigns.project_id = booked.project_id";
        let _ = write!(statement, " UNION ALL {}", over(plain..keys.len() + 1, joined));
    }
    statement
}

fn label(level: Option<Level>, id: &str) -> String {
    match level {
        Some(Level::Project) => {
            format!(
                "(SELECT coalesce(nullif(title, ''), slug) FROM projects WHERE projects.id = {id})"
            )
        }
        Some(Level::Campaign) => format!("(SELECT name FROM campaigns WHERE campaigns.id = {id})"),
        _ => "NULL::text".to_owned(),
    }
}

/// When the first charge of a group was made, looked up in the quarter of an hour that it is
/// known to lie in.
fn first_charge(selection: &Selection, groupings: &[Grouping]) -> String {
    let mut conditions = owners(selection);
    for (place, grouping) in groupings.iter().enumerate() {
        // A quarter of an hour lies in one day, week or month as a whole.
        if !grouping.level.is_time() {
            let (expression, _) = key(grouping.level, "");
            let id = if place == 0 { "first_id" } else { "second_id" };
            conditions.push(format!("(depth <= {place} OR {expression} = {id})"));
        }
    }
    format!(
        "(SELECT min(created_at) FROM charges
          WHERE created_at >= first_moment
            AND created_at < aida_quarter_hour(first_moment) + interval '15 minutes' AND {})",
        conditions.join(" AND ")
    )
}
