//! The report as a table, or as bars, with what must be known beside it.

use std::fmt::Write as _;

use console::{Style, measure_text_width, truncate_str};
use rust_decimal::Decimal;

use super::figures::{amount, percent, percent_or_none, plural, short, stretch};
use crate::cli::charts;
use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid, one_line};
use crate::clock::Zone;
use crate::ledger::money::Usd;
use crate::ledger::report::{CacheResult, CostReport, CostRow, Level};

/// The report as a table.
pub(super) fn page(report: &CostReport, zone: &Zone, output: &Output) -> String {
    if report.rows.is_empty() {
        return nothing(report, zone);
    }
    let width = output.width();
    let mut page = if report.levels == [Level::Project] {
        // What is spent on the side is the first to go where the line would be too long.
        [true, false]
            .into_iter()
            .map(|with_other| videos(report, zone, with_other))
            .find(|grid| grid.least_width() <= usize::from(width))
            .unwrap_or_else(|| videos(report, zone, false))
            .render(width)
    } else {
        groups(report).render(width)
    };
    page.push('\n');
    page + &beside(report, output)
}

/// The report as bars.
pub(super) fn chart(report: &CostReport, zone: &Zone, output: &Output) -> String {
    if report.rows.is_empty() {
        return nothing(report, zone);
    }
    let width = usize::from(output.width());
    let lines: Vec<_> = lines(report)
        .into_iter()
        .map(|(name, row)| {
            let mark = if row.unknown_calls > 0 { " ?" } else { "" };
            (one_line(name), amount(row.settled_usd), mark, row.settled_usd)
        })
        .collect();
    let widest = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(measure_text_width).max().unwrap_or_default()
    };
    let names = widest(&mut lines.iter().map(|(name, ..)| name.as_str())).min(width * 2 / 5);
    let amounts = widest(&mut lines.iter().map(|(_, amount, ..)| amount.as_str()));
    let marks = widest(&mut lines.iter().map(|(_, _, mark, _)| *mark));
    let bars = width.saturating_sub(names + 2 + amounts + marks + 2).max(1);
    let most = lines.iter().map(|(.., spent)| *spent).max().unwrap_or_default();
    let mut page = String::new();
    for (name, amount, mark, spent) in &lines {
        let name = truncate_str(name, names, "…");
        let fill = " ".repeat(names.saturating_sub(measure_text_width(&name)));
        let bar = charts::bar(spent.dollars(), most.dollars(), bars);
        let line = format!("{name}{fill}  {amount:>amounts$}{mark:<marks$}  {bar}");
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push('\n');
    page + &beside(report, output)
}

/// That there is nothing to show, and why.
pub(super) fn nothing(report: &CostReport, zone: &Zone) -> String {
    if !report.has_books {
        return "Nothing has been spent yet.".to_owned();
    }
    let when = stretch(report.since, report.until, zone)
        .map(|stretch| {
            // A lone end or beginning reads as it is; anything else lies in its time.
            let lone = report.since.is_none() || report.until.is_none();
            if lone { format!(" {stretch}") } else { format!(" from {stretch}") }
        })
        .unwrap_or_default();
    let filtered =
        report.project.is_some() || report.campaign.is_some() || report.provider.is_some();
    let what = if filtered || report.last.is_some() { " on what was asked for" } else { "" };
    format!("Nothing was spent{what}{when}.")
}

/// What stands under every table: what is known, what is not, and the prompt cache.
fn beside(report: &CostReport, output: &Output) -> String {
    let totals = &report.totals;
    let mut page = String::new();
    let _ = writeln!(page, "Spent {} in {}.", totals.settled_usd, plural(totals.calls, "call"));
    if totals.unknown_calls > 0 {
        let warning = format!(
            "? At most {} more in {} of unknown outcome; see `aida recover`.",
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
fn videos(report: &CostReport, zone: &Zone, with_other: bool) -> Grid {
    // Searches cost next to nothing, and a title says more than that.
    let other = with_other && report.totals.other_usd >= Usd::new(Decimal::new(1, 2));
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
        let date =
            row.first_charge_at.map(|time| zone.at(time).date().to_string()).unwrap_or_default();
        grid.row(cells(row, date, first_name(row, Level::Project)));
    }
    let videos = report.rows.iter().filter(|row| row.key.is_some()).count();
    let videos = plural(i64::try_from(videos).unwrap_or(i64::MAX), "video");
    grid.footer(cells(&report.totals, String::new(), videos));
    grid
}

/// One line for each group of another kind, with those of a second level indented.
fn groups(report: &CostReport) -> Grid {
    let title = match *report.levels {
        [first, second] => format!("{} / {}", first.as_str(), second.as_str()),
        _ => report.by.clone(),
    };
    let mut columns = vec![
        Column::flexible(title, 8),
        Column::right("calls"),
        Column::right("input"),
        Column::right("output"),
        Column::left("bought"),
    ];
    columns.extend(ending("USD", report));
    let tokens = |number: i64| if number == 0 { String::new() } else { short(number) };
    let cells = |row: &CostRow, name: String| {
        let mut cells = vec![
            name,
            short(row.calls),
            tokens(row.input_tokens() + row.embedding_tokens),
            tokens(row.output_tokens),
            bought(row),
        ];
        cells.extend(ending_cells(row, report));
        cells
    };
    let mut grid = Grid::new(columns);
    for (name, row) in lines(report) {
        grid.row(cells(row, name));
    }
    grid.footer(cells(&report.totals, "all".to_owned()));
    grid
}

/// The rows with their names in the order in which they are read: where there are two levels,
/// those of the second stand indented under their group.
fn lines(report: &CostReport) -> Vec<(String, &CostRow)> {
    let [first, second] = *report.levels else {
        let level = report.levels.first().copied().unwrap_or(Level::Day);
        return report.rows.iter().map(|row| (first_name(row, level), row)).collect();
    };
    let mut rows = report.rows.iter().peekable();
    let mut lines = Vec::new();
    for group in &report.groups {
        lines.push((first_name(group, first), group));
        while let Some(row) = rows.next_if(|row| row.key == group.key) {
            let name = name(row.second_key.as_deref(), row.second_label.as_deref(), second);
            lines.push((format!("  {name}"), row));
        }
    }
    lines
}

fn first_name(row: &CostRow, level: Level) -> String {
    name(row.key.as_deref(), row.label.as_deref(), level)
}

/// The name of a group.
fn name(key: Option<&str>, label: Option<&str>, level: Level) -> String {
    let key = key.map(|key| match (level, key.split_once(' ')) {
        // The model tells the provider; both would not fit.
        (Level::Model, Some((_, model))) => model,
        _ => key,
    });
    label.or(key).map_or_else(
        || if level == Level::Campaign { "(no campaign)" } else { "(no video)" }.to_owned(),
        str::to_owned,
    )
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
    cells.push(percent_or_none(row.cache_hit_rate));
    cells
}

/// Images and seconds of video, where there are any.
fn bought(row: &CostRow) -> String {
    let mut parts = Vec::new();
    if row.images > 0 {
        parts.push(format!(
            "{} image{}",
            short(row.images),
            if row.images == 1 { "" } else { "s" }
        ));
    }
    if row.video_seconds > 0 {
        parts.push(format!("{} s", short(row.video_seconds)));
    }
    parts.join(", ")
}
