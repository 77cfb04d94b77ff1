//! `aida costs`: what was spent, on what, and how well the prompt cache did.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use console::Style;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::cli::output::Output;
use crate::cli::tables::{self, Column, Grid};
use crate::commands::{Context, create_video::dollars};
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;
use crate::ledger::report::{self, CacheResult, CostReport, CostRow, Question};
use crate::store::charges::Grouping;

/// Arguments of `aida costs`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Show what was spent, on what, and how well the prompt cache did",
    long_about = "Show what was spent, on what, and how well the prompt cache did.\n\n\
        Amounts are US dollars; days are UTC. Money of unknown outcome is shown apart, at its \
        ceiling, and never added to what is known. JSON and CSV carry exact decimals; CSV has \
        no row of totals.",
    after_help = "\
Examples:
  aida costs                       everything, by component
  aida costs --last 10             the last ten videos, one line each
  aida costs --since 7d --by day
  aida costs --since 2026-11-01 --by model --csv > november.csv
  aida costs --since today --fail-over 20 --min-cache-hit 0.6    for cron"
)]
pub struct CostsArgs {
    /// Only the last N videos
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: Option<u32>,
    /// Only from this time on: today, yesterday, 24h, 7d, 2w, a date or a time
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// What each row is [default: project with --last, else component]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Charges of all users, not only one's own
    #[arg(long)]
    pub all_users: bool,
    /// Print CSV on standard output
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Exit with 10 if more than this was spent, unknown money included
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub fail_over: Option<Usd>,
    /// Exit with 10 if the cache hit rate is below this, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub min_cache_hit: Option<Decimal>,
}

/// What each row of the report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Videos
    Project,
    /// Parts of the work
    Component,
    /// Providers
    Provider,
    /// Models
    Model,
    /// Days, UTC
    Day,
    /// Campaigns; a video in two of them counts in both
    Campaign,
}

impl From<By> for Grouping {
    fn from(by: By) -> Self {
        match by {
            By::Project => Self::Project,
            By::Component => Self::Component,
            By::Provider => Self::Provider,
            By::Model => Self::Model,
            By::Day => Self::Day,
            By::Campaign => Self::Campaign,
        }
    }
}

/// Reads a share for a flag.
fn share(text: &str) -> Result<Decimal, String> {
    Decimal::from_str_exact(text)
        .ok()
        .filter(|share| (Decimal::ZERO..=Decimal::ONE).contains(share))
        .ok_or_else(|| "not a share from 0 to 1, such as 0.6".to_owned())
}

/// Prints the report.
pub async fn run(arguments: &CostsArgs, context: &Context) -> Result<(), Error> {
    let since = arguments
        .since
        .as_deref()
        .map(|text| report::since(text, context.clock.now()))
        .transpose()
        .map_err(|problem| Error::usage(format!("--since: {problem}")))?;
    let by =
        arguments.by.unwrap_or(if arguments.last.is_some() { By::Project } else { By::Component });
    let question = Question {
        user: (!arguments.all_users).then(|| context.settings.user.clone()),
        since,
        last: arguments.last,
        grouping: by.into(),
        cache_hit_target: context.settings.cache_hit_target,
    };
    let mut session = context.store().await?.session().await?;
    let report = question.ask(&mut session).await;
    session.close().await;
    let report = report?;
    let output = &context.output;
    if arguments.csv {
        output.bytes(&tables::csv(&report.rows)?);
    } else if output.is_json() {
        output.json(&report);
    } else {
        output.data(page(&report, output));
    }
    check(arguments, &report)
}

/// The checks that a script may ask for.
fn check(arguments: &CostsArgs, report: &CostReport) -> Result<(), Error> {
    let spent = report.totals.settled_usd + report.totals.unknown_usd;
    if let Some(limit) = arguments.fail_over
        && spent > limit
    {
        return Err(Error::new(
            Kind::Check,
            format!("{spent} was spent, which is more than --fail-over {limit}"),
        )
        .reported());
    }
    if let (Some(least), Some(rate)) = (arguments.min_cache_hit, report.cache.hit_rate)
        && rate < least
    {
        return Err(Error::new(
            Kind::Check,
            format!(
                "the cache hit rate is {}, below --min-cache-hit {}",
                percent(rate),
                percent(least)
            ),
        )
        .reported());
    }
    Ok(())
}

/// The report for people.
fn page(report: &CostReport, output: &Output) -> String {
    if report.rows.is_empty() {
        return match (report.since, report.last) {
            (None, _) => "Nothing has been spent yet.".to_owned(),
            (Some(since), _) => format!("Nothing has been spent since {since}."),
        };
    }
    let table = if report.by == "project" { videos(report) } else { groups(report) };
    let mut page = table.render(output.width());
    page.push('\n');
    let totals = &report.totals;
    let _ = writeln!(page, "Spent {} in {}.", totals.settled_usd, plural(totals.calls, "call"));
    if totals.unknown_calls > 0 {
        let warning = format!(
            "? At most {} more in {} of unknown outcome; see `aida resume`.",
            totals.unknown_usd,
            plural(totals.unknown_calls, "call")
        );
        let _ = writeln!(page, "{}", output.data_style(&Style::new().yellow(), &warning));
    }
    if !totals.wasted_usd.is_zero() {
        let _ = writeln!(page, "{} of it paid for results that were not kept.", totals.wasted_usd);
    }
    if !report.in_flight_usd.is_zero() {
        let _ = writeln!(page, "{} is promised to calls under way now.", report.in_flight_usd);
    }
    let _ = writeln!(page, "{}", cache_line(report.cache, output));
    page
}

/// The cache hit rate against its target, with a mark and in words.
fn cache_line(cache: CacheResult, output: &Output) -> String {
    let target = percent(cache.target);
    match (cache.hit_rate, cache.met) {
        (Some(rate), Some(true)) => output.data_style(
            &Style::new().green(),
            &format!("✓ Prompt cache hit rate {}, above the target of {target}.", percent(rate)),
        ),
        (Some(rate), _) => output.data_style(
            &Style::new().red(),
            &format!(
                "✗ Prompt cache hit rate {}, not above the target of {target}.",
                percent(rate)
            ),
        ),
        (None, _) => "Prompt cache hit rate N/A: nothing was cacheable.".to_owned(),
    }
}

/// One line for each video.
fn videos(report: &CostReport) -> Grid {
    let rows = || report.rows.iter().chain([&report.totals]);
    let other = rows().any(|row| !row.other_usd.is_zero());
    let mut columns = vec![
        Column::left("date"),
        Column::flexible("video", 8),
        Column::left("status"),
        Column::right("words"),
        Column::right("images"),
        Column::right("clips"),
    ];
    if other {
        columns.push(Column::right("other"));
    }
    columns.extend(ending("total", report));
    let cells = |row: &CostRow, date: String, name: String| {
        let mut cells = vec![
            date,
            name,
            row.status.unwrap_or_default().to_owned(),
            amount(row.language_usd),
            amount(row.image_usd),
            amount(row.video_usd),
        ];
        if other {
            cells.push(amount(row.other_usd));
        }
        cells.extend(ending_cells(row, report));
        cells
    };
    let mut grid = Grid::new(columns);
    for row in &report.rows {
        let date = row
            .first_charge_at
            .map(|time| time.strftime("%Y-%m-%d").to_string())
            .unwrap_or_default();
        grid.row(cells(row, date, name(row, report.by)));
    }
    let videos = report.rows.iter().filter(|row| row.key.is_some()).count();
    let videos = plural(i64::try_from(videos).unwrap_or(i64::MAX), "video");
    grid.footer(cells(&report.totals, String::new(), videos));
    grid
}

/// One line for each group of another kind.
fn groups(report: &CostReport) -> Grid {
    let mut columns = vec![
        Column::flexible(report.by, 12),
        Column::right("calls"),
        Column::right("input"),
        Column::right("output"),
        Column::left("bought"),
    ];
    columns.extend(ending("USD", report));
    let tokens = |number: i64| if number == 0 { String::new() } else { thousands(number) };
    let cells = |row: &CostRow, name: String| {
        let mut cells = vec![
            name,
            thousands(row.calls),
            tokens(row.input_tokens() + row.embedding_tokens),
            tokens(row.output_tokens),
            bought(row),
        ];
        cells.extend(ending_cells(row, report));
        cells
    };
    let mut grid = Grid::new(columns);
    for row in &report.rows {
        grid.row(cells(row, name(row, report.by)));
    }
    grid.footer(cells(&report.totals, "all".to_owned()));
    grid
}

/// The last columns of every table: what is known to be spent, a mark where more may have been,
/// and the cache hit rate.
fn ending(title: &'static str, report: &CostReport) -> Vec<Column> {
    let mut columns = vec![Column::right(title)];
    if report.totals.unknown_calls > 0 {
        columns.push(Column::left(""));
    }
    columns.push(Column::right("cache"));
    columns
}

fn ending_cells(row: &CostRow, report: &CostReport) -> Vec<String> {
    let mut cells = vec![amount(row.settled_usd)];
    if report.totals.unknown_calls > 0 {
        cells.push(if row.unknown_calls > 0 { "?" } else { "" }.to_owned());
    }
    cells.push(row.cache_hit_rate.map_or_else(|| "N/A".to_owned(), percent));
    cells
}

/// Images and seconds of video, where there are any.
fn bought(row: &CostRow) -> String {
    let mut parts = Vec::new();
    if row.images > 0 {
        parts.push(plural(row.images, "image"));
    }
    if row.video_seconds > 0 {
        parts.push(format!("{} s", thousands(row.video_seconds)));
    }
    parts.join(", ")
}

fn name(row: &CostRow, by: &str) -> String {
    let key = row.key.as_deref().map(|key| match (by, key.split_once(' ')) {
        // The model tells the provider; both would not fit.
        ("model", Some((_, model))) => model,
        _ => key,
    });
    row.label.as_deref().or(key).map_or_else(
        || if by == "campaign" { "(no campaign)" } else { "(no video)" }.to_owned(),
        str::to_owned,
    )
}

/// An amount without its sign, as it stands in a column of amounts.
fn amount(amount: Usd) -> String {
    let least = Usd::new(Decimal::new(1, 4));
    if amount > Usd::ZERO && amount < least {
        return "<0.0001".to_owned();
    }
    amount.human().trim_start_matches('$').to_owned()
}

/// A share as people read it. It is cut, not rounded, so that a rate under its target never
/// reads as if it had met it.
fn percent(share: Decimal) -> String {
    let percent = share * Decimal::ONE_HUNDRED;
    format!("{}%", percent.round_dp_with_strategy(1, RoundingStrategy::ToZero).normalize())
}

fn plural(number: i64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A whole number in groups of three digits.
fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}
