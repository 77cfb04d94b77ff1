//! The figures at a glance: one screen of 80 columns and 24 lines.

use console::{Style, truncate_str};
use jiff::civil::Date;

use super::figures::{amount, percent, percent_or_none, plural, stretch};
use super::table::nothing;
use crate::cli::charts;
use crate::cli::output::Output;
use crate::cli::tables::{one_line, wrap};
use crate::clock::Zone;
use crate::ledger::money::Usd;
use crate::ledger::report::{CostReport, Overview};

/// Lines that a page may have, so that it stands on a terminal of 24 with the prompt under it.
const LINES: usize = 23;

/// The fewest days that are shown, however much there is to say above them.
const LEAST_DAYS: usize = 3;

/// Columns of the names of the figures.
const NAMES: usize = 14;

/// Caps that are shown; `aida budget list` shows all.
const BUDGETS: usize = 2;

/// What a screen is made of.
pub(super) struct Screen<'a> {
    /// The report by day.
    pub(super) report: &'a CostReport,
    /// Its figures at a glance.
    pub(super) overview: &'a Overview,
    /// Where days begin.
    pub(super) zone: &'a Zone,
    /// The command that shows all its days.
    pub(super) all_days: String,
}

/// Lines in the making.
struct Page<'a> {
    lines: Vec<String>,
    output: &'a Output,
}

impl Page<'_> {
    /// Adds a figure; its text is broken into lines beside its name, and has one style.
    fn figure(&mut self, name: &str, text: &str, style: &Style) {
        let width = usize::from(self.output.width()).saturating_sub(NAMES);
        for (index, line) in wrap(text, width).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let line = self.output.data_style(style, &line);
            self.lines.push(format!("{name:<NAMES$}{line}"));
        }
    }

    fn plain(&mut self, name: &str, text: &str) {
        self.figure(name, text, &Style::new());
    }
}

impl Screen<'_> {
    /// The page.
    pub(super) fn page(&self, output: &Output) -> String {
        let report = self.report;
        if report.totals.calls == 0 && report.in_flight_usd.is_zero() {
            return nothing(report, self.zone);
        }
        let mut page = Page { lines: vec![self.heading(output), String::new()], output };
        self.spend(&mut page);
        self.cache(&mut page);
        self.trust(&mut page);
        self.future(&mut page);
        self.days(&mut page);
        page.lines.join("\n") + "\n"
    }

    /// Whose money, of when, and whose days.
    fn heading(&self, output: &Output) -> String {
        let report = self.report;
        let who = report.user.clone().map_or_else(|| "all users".to_owned(), one_line);
        let when = stretch(report.since, report.until, self.zone);
        let when = when.unwrap_or_else(|| "all time".to_owned());
        let days = report
            .since
            .map(|since| self.zone.at(since).date())
            .zip(self.last_day())
            .and_then(|(first, last)| first.until(last).ok())
            .filter(|_| report.until.is_none())
            .map(|span| format!(" ({})", plural(i64::from(span.get_days()) + 1, "day")))
            .unwrap_or_default();
        let heading =
            format!("Costs of {}, {when}{days}, {}", truncate_str(&who, 24, "…"), report.time_zone);
        let heading = truncate_str(&heading, usize::from(output.width()), "…").into_owned();
        output.data_style(&Style::new().bold(), &heading)
    }

    /// The last day of the report, as its calendar has it.
    fn last_day(&self) -> Option<Date> {
        self.report.stretches.last()?.parse().ok()
    }

    /// What was spent, what of it is not certain, and what for.
    fn spend(&self, page: &mut Page<'_>) {
        let totals = &self.report.totals;
        let spent = format!("{} in {}", totals.settled_usd, plural(totals.calls, "call"));
        let promised = self.report.in_flight_usd;
        if promised.is_zero() {
            page.plain("Spent", &spent);
        } else {
            page.plain("Spent", &format!("{spent}; {promised} promised to calls under way"));
        }
        if totals.unknown_calls == 0 {
            page.plain("Unknown", "none");
        } else {
            let text = format!(
                "? at most {} more in {}: aida recover",
                totals.unknown_usd,
                plural(totals.unknown_calls, "call")
            );
            page.figure("Unknown", &text, &Style::new().yellow());
        }
        let share = totals.wasted_usd.dollars().checked_div(totals.settled_usd.dollars());
        let kept = match share.filter(|share| !share.is_zero()) {
            Some(share) => {
                let (kept, wasted) = (self.overview.kept_usd, self.overview.wasted_usd);
                format!("{kept} kept, {wasted} wasted ({})", percent(share))
            }
            None => "all of it was kept".to_owned(),
        };
        page.plain("Kept", &kept);
        let films = &self.overview.films;
        let second = match films.usd_per_second {
            Some(second) => format!(
                "{second} for each of {} usable seconds in {}",
                films.seconds,
                plural(films.finished, "finished film")
            ),
            None => "N/A: no film was finished".to_owned(),
        };
        page.plain("A second", &second);
    }

    /// The prompt cache and reuse.
    fn cache(&self, page: &mut Page<'_>) {
        let (cache, money) = (self.report.cache, &self.overview.cache);
        let target = percent(cache.target);
        let effect = format!("saved {}, writes cost {} more", money.saved_usd, money.premium_usd);
        let (text, style) = match (cache.hit_rate, cache.met) {
            (Some(rate), Some(true)) => (
                format!("✓ {} hit rate, above {target}; {effect}", percent(rate)),
                Style::new().green(),
            ),
            (Some(rate), _) => (
                format!("✗ {} hit rate, not above {target}; {effect}", percent(rate)),
                Style::new().red(),
            ),
            (None, _) => ("N/A: nothing was cacheable".to_owned(), Style::new()),
        };
        page.figure("Prompt cache", &text, &style);
        if cache.hit_rate.is_some() {
            let agents: Vec<_> = money
                .agents
                .iter()
                .map(|agent| format!("{} {}", agent.agent, percent_or_none(agent.result.hit_rate)))
                .collect();
            page.plain("", &agents.join(", "));
        }
        let reuse = self.overview.reuse_saved_usd;
        if reuse.is_zero() {
            page.plain("Reuse", "nothing was used again");
        } else {
            page.plain("Reuse", &format!("saved {reuse} by using kept takes again"));
        }
    }

    /// Whether estimates and bills agree with the books.
    fn trust(&self, page: &mut Page<'_>) {
        let estimates = match &self.overview.estimates {
            Some(estimates) => {
                let sign = if estimates.error.is_sign_negative() { "-" } else { "+" };
                format!(
                    "{sign}{}: {} for {} estimated at {}",
                    percent(estimates.error.abs()),
                    estimates.settled_usd,
                    plural(estimates.films, "film"),
                    estimates.estimated_usd
                )
            }
            None => "N/A: no film with an estimate was finished".to_owned(),
        };
        page.plain("Estimates", &estimates);
        let bill = &self.overview.bill;
        let unread = if bill.unread_usd.is_zero() {
            String::new()
        } else {
            format!(", {} without a bill: aida costs reconcile", bill.unread_usd)
        };
        let (billed, settled) = (bill.billed_usd, bill.settled_usd);
        match bill.matched {
            Some(true) => {
                page.figure("Bill", &format!("✓ {billed} matches{unread}"), &Style::new().green());
            }
            Some(false) => {
                let text = format!("✗ {billed} billed for {settled} settled{unread}");
                page.figure("Bill", &text, &Style::new().red());
            }
            None if bill.unread_usd.is_zero() => page.plain("Bill", "N/A: nothing to compare"),
            None => page.plain("Bill", "not read yet: aida costs reconcile"),
        }
    }

    /// What is left, and where the month will end.
    fn future(&self, page: &mut Page<'_>) {
        let budgets = &self.overview.budgets;
        if budgets.is_empty() {
            page.plain("Budget", "none set: aida budget set month USD");
        }
        for (index, budget) in budgets.iter().take(BUDGETS).enumerate() {
            let name = if index == 0 { "Budget" } else { "" };
            let what = one_line(budget.what.clone());
            let width = usize::from(page.output.width()).saturating_sub(NAMES);
            let text = if budget.left_usd > Usd::ZERO {
                format!("{} of {} left: {what}", budget.left_usd, budget.cap_usd)
            } else {
                format!("nothing of {} left: {what}", budget.cap_usd)
            };
            let style = if budget.left_usd > Usd::ZERO { Style::new() } else { Style::new().red() };
            page.figure(name, &truncate_str(&text, width, "…"), &style);
        }
        if budgets.len() > BUDGETS {
            let more = i64::try_from(budgets.len() - BUDGETS).unwrap_or(i64::MAX);
            page.plain("", &format!("{} with more room: aida budget list", plural(more, "cap")));
        }
        if let Some(forecast) = &self.overview.forecast {
            let text = format!(
                "{} in {}: {} so far, then last week's {} a day",
                forecast.month_end_usd, forecast.month, forecast.spent_usd, forecast.daily_usd
            );
            page.plain("Forecast", &text);
        }
    }

    /// All days at a glance, and the newest by amount.
    fn days(&self, page: &mut Page<'_>) {
        let report = self.report;
        let width = usize::from(page.output.width());
        let spent = |day: &str| {
            let row = report.rows.iter().find(|row| row.key.as_deref() == Some(day));
            row.map(|row| row.settled_usd.dollars()).unwrap_or_default()
        };
        let all: Vec<_> = report.stretches.iter().map(|day| spent(day)).collect();
        page.lines.push(String::new());
        let room = LINES.saturating_sub(page.lines.len());
        let is_long = all.len() > 1 && report.rows.len() > 1;
        let room = (if is_long { room.saturating_sub(1) } else { room }).max(LEAST_DAYS);
        // The line that names what is left out takes the place of a day.
        let shown = if report.rows.len() > room { room.saturating_sub(1) } else { room };
        if is_long {
            let line = charts::sparkline(&all, width.saturating_sub(NAMES));
            page.plain("By day", &line);
        }
        let rows: Vec<_> = report.rows.iter().take(shown).collect();
        let amounts: Vec<_> = rows.iter().map(|row| amount(row.settled_usd)).collect();
        let column = amounts.iter().map(String::len).max().unwrap_or_default();
        let most = rows.iter().map(|row| row.settled_usd).max().unwrap_or_default();
        let marked = rows.iter().any(|row| row.unknown_calls > 0);
        let bars = width.saturating_sub(NAMES + column + if marked { 4 } else { 2 });
        for (row, amount) in rows.iter().zip(&amounts) {
            let mark = match (marked, row.unknown_calls > 0) {
                (false, _) => "",
                (true, true) => " ?",
                (true, false) => "  ",
            };
            let bar = charts::bar(row.settled_usd.dollars(), most.dollars(), bars);
            let day = row.key.as_deref().unwrap_or_default();
            let line = format!("{day:<NAMES$}{amount:>column$}{mark}  {bar}");
            page.lines.push(line.trim_end().to_owned());
        }
        let left_out = report.rows.len().saturating_sub(rows.len());
        if left_out > 0 {
            let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
            let text = format!("{} before: {}", plural(left_out, "more day"), self.all_days);
            page.lines.push(truncate_str(&text, width, "…").into_owned());
        }
    }
}
