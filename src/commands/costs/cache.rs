//! `aida costs --cache`: how the prompt cache did, what it is asked to remember, and what broke it.

use console::{Style, truncate_str};

use super::figures::{percent, percent_or_none, plural, short, stretch};
use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid, one_line, wrap};
use crate::clock::Zone;
use crate::ledger::money::Usd;
use crate::ledger::report::{AgentCacheReport, CacheReport};

/// Columns of the names of the figures.
const NAMES: usize = 14;

/// The report as a page of at most as many columns as the terminal has.
pub(super) fn page(report: &CacheReport, zone: &Zone, output: &Output) -> String {
    if report.calls == 0 && report.unknown_calls == 0 {
        let when = stretch(report.since, report.until, zone);
        let when = when.map(|when| format!(" ({when})")).unwrap_or_default();
        return if report.has_books {
            format!("Nothing was asked of a language model{when}.")
        } else {
            "Nothing has been spent yet.".to_owned()
        };
    }
    let mut lines = vec![heading(report, zone, output), String::new()];
    rate(report, output, &mut lines);
    money(report, output, &mut lines);
    let mut page = lines.join("\n") + "\n\n";
    page += &agents(report).render(output.width());
    let mut lines = vec![String::new()];
    for (index, agent) in report.agents.iter().enumerate() {
        lifetime(agent, report.agents[..index].last(), zone, output, &mut lines);
    }
    page += &(lines.join("\n") + "\n");
    if !report.reasons.is_empty() {
        page.push('\n');
        page += &reasons(report, zone).render(output.width());
    }
    page
}

fn heading(report: &CacheReport, zone: &Zone, output: &Output) -> String {
    let who = report.user.clone().map_or_else(|| "all users".to_owned(), one_line);
    let when = stretch(report.since, report.until, zone).unwrap_or_else(|| "all time".to_owned());
    let what = match report.last {
        Some(last) => format!(", last {}", plural(i64::from(last), "video")),
        None if report.project.is_some() => ", one video".to_owned(),
        None if report.campaign.is_some() => ", one campaign".to_owned(),
        None => String::new(),
    };
    let zone = &report.time_zone;
    let heading = format!("Prompt cache of {}, {when}{what}, {zone}", truncate_str(&who, 24, "…"));
    let heading = truncate_str(&heading, usize::from(output.width()), "…").into_owned();
    output.data_style(&Style::new().bold(), &heading)
}

/// Adds a figure; its text is broken into lines beside its name.
fn figure(name: &str, text: &str, style: &Style, output: &Output, lines: &mut Vec<String>) {
    let width = usize::from(output.width()).saturating_sub(NAMES);
    for (index, line) in wrap(text, width).into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        lines.push(format!("{name:<NAMES$}{}", output.data_style(style, &line)));
    }
}

/// The hit rate beside its targets.
fn rate(report: &CacheReport, output: &Output, lines: &mut Vec<String>) {
    let cache = report.result;
    let (Some(rate), Some(is_met)) = (cache.hit_rate, cache.met) else {
        return figure("Hit rate", "N/A: nothing could be cached", &Style::new(), output, lines);
    };
    let against = |is_met: bool, target| {
        let (mark, word) = if is_met { ("✓", "above") } else { ("✗", "not above") };
        format!("{mark} {word} {}", percent(target))
    };
    let mut text =
        format!("{} of the input was read; {}", percent(rate), against(is_met, cache.target));
    let mut is_all_met = is_met;
    if let Some(several) = report.over_several {
        let videos = plural(report.videos, "video");
        let over_several = against(several.met, several.target);
        text = format!("{text}; {over_several} over {videos}");
        is_all_met &= several.met;
    }
    let style = match (is_met, is_all_met) {
        (true, true) => Style::new().green(),
        (true, false) => Style::new().yellow(),
        _ => Style::new().red(),
    };
    figure("Hit rate", &text, &style, output, lines);
}

/// What the cache saved, and what no figure counts.
fn money(report: &CacheReport, output: &Output, lines: &mut Vec<String>) {
    let plain = Style::new();
    let text = format!(
        "{} by reading, {} more for writing: {} net",
        report.saved_usd,
        report.premium_usd,
        signed(report.net_usd)
    );
    figure("Saved", &text, &plain, output, lines);
    if report.unknown_calls > 0 {
        let text = format!("? {} of unknown outcome", plural(report.unknown_calls, "call"));
        figure("Left out", &text, &Style::new().yellow(), output, lines);
    }
    if report.unrecorded_calls > 0 {
        let text = format!(
            "{} from before these books: no reasons are known",
            plural(report.unrecorded_calls, "call")
        );
        figure("Unrecorded", &text, &plain, output, lines);
    }
}

/// An amount that may be less than nothing.
fn signed(amount: Usd) -> String {
    if amount < Usd::ZERO {
        let amount = Usd::ZERO - amount;
        format!("-{amount}")
    } else {
        amount.to_string()
    }
}

fn agents(report: &CacheReport) -> Grid {
    let mut grid = Grid::new([
        Column::flexible("agent", 8),
        Column::right("calls"),
        Column::right("uncached"),
        Column::right("w 5 min"),
        Column::right("w 1 h"),
        Column::right("read"),
        Column::right("hit rate"),
        Column::right("net USD"),
    ]);
    let mut sums = [0; 4];
    for agent in &report.agents {
        let tokens = [
            agent.uncached_input_tokens,
            agent.cache_write_5m_tokens,
            agent.cache_write_1h_tokens,
            agent.cache_read_tokens,
        ];
        for (sum, tokens) in sums.iter_mut().zip(tokens) {
            *sum += tokens;
        }
        let rate = percent_or_none(agent.hit_rate);
        grid.row(row(agent.agent.clone(), agent.calls, tokens, rate, agent.net_usd));
    }
    if report.agents.len() > 1 {
        let rate = percent_or_none(report.result.hit_rate);
        grid.footer(row("all".to_owned(), report.calls, sums, rate, report.net_usd));
    }
    grid
}

fn row(name: String, calls: i64, tokens: [i64; 4], rate: String, net: Usd) -> Vec<String> {
    let mut cells = vec![name, short(calls)];
    cells.extend(tokens.map(short));
    cells.extend([rate, signed(net).replacen('$', "", 1)]);
    cells
}

/// What an agent's prompts begin with, for how long its parts are kept, and why.
fn lifetime(
    agent: &AgentCacheReport,
    before: Option<&AgentCacheReport>,
    zone: &Zone,
    output: &Output,
    lines: &mut Vec<String>,
) {
    let plain = Style::new();
    let (Some(prefix), Some(since)) = (&agent.prefix, agent.prefix_since) else { return };
    let since = zone.at(since).strftime("%Y-%m-%d %H:%M").to_string();
    let model = one_line(agent.model.clone().unwrap_or_default());
    let is_shared = before.is_some_and(|before| before.prefix.as_ref() == Some(prefix));
    let text = if is_shared {
        format!("the same beginning since {since}")
    } else {
        format!("begins with {prefix} since {since}, {model}")
    };
    let name = truncate_str(&agent.agent, NAMES - 1, "…").into_owned();
    figure(&name, &text, &plain, output, lines);
    if agent.waits.is_none() {
        return figure("", "nothing of it is marked", &plain, output, lines);
    }
    let kept = |minutes: Option<u64>| match minutes {
        None => "not kept".to_owned(),
        Some(60) => "1 h".to_owned(),
        Some(minutes) => format!("{minutes} min"),
    };
    let text = format!(
        "shared {}, assignment {}, conversation {}",
        kept(agent.shared_minutes),
        kept(agent.assignment_minutes),
        kept(agent.conversation_minutes)
    );
    figure("", &text, &plain, output, lines);
    let why = match (agent.waits, agent.waits_within_5_minutes, agent.waits_within_1_hour) {
        (Some(waits), Some(five), Some(hour)) if waits > 0 => {
            let usual = agent
                .usual_wait_seconds
                .map(|seconds| format!("; 9 of 10 within {}", length(seconds)))
                .unwrap_or_default();
            format!("of {waits} waits {five} under 5 min, {hour} under 1 h{usual}")
        }
        _ => "no wait is known yet: chosen by what is usual".to_owned(),
    };
    if !is_shared {
        figure("", &why, &plain, output, lines);
    }
}

/// A length of time in its largest unit that is not less than one.
fn length(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{} s", seconds.max(1)),
        60..3_600 => format!("{} min", seconds.div_ceil(60)),
        3_600..86_400 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// What became of the cache.
fn reasons(report: &CacheReport, zone: &Zone) -> Grid {
    let mut grid = Grid::new([
        Column::left("since the last call"),
        Column::right("calls"),
        Column::left("latest"),
        Column::flexible("what it means", 20),
    ]);
    for met in &report.reasons {
        let mark = if met.is_break { "✗ " } else { "  " };
        grid.row([
            format!("{mark}{}", met.reason),
            short(met.calls),
            zone.at(met.last_at).strftime("%m-%d %H:%M").to_string(),
            met.advice.to_owned(),
        ]);
    }
    grid
}
