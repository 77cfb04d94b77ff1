//! `aida health`: every dependency probed at once, with a deadline each.

mod probes;

use std::fmt::Write as _;

use clap::Args;
use console::Style;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::Output;
use crate::cli::tables::wrap;
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;

/// The version of the JSON report.
const SCHEMA: u32 = 1;

/// Arguments of `aida health`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Probe everything that aida stands on",
    long_about = "Probe everything that aida stands on, at once, without paying.\n\n\
        Exits with 0 only when everything that create-video needs works; else with 9 (the \
        database), 8 (settings, keys, ffmpeg) or 5 (a provider), the first of these that applies.",
    after_help = "\
Examples:
  aida health
  aida health --json
  aida health --quiet || echo \"something is wrong\""
)]
pub struct HealthArgs {}

/// How one dependency, or all of them together, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Ok,
    /// Films can be made, but something deserves a look.
    Degraded,
    /// It does not work, and create-video needs it.
    Down,
}

impl Status {
    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, Serialize)]
pub struct Dependency {
    /// Its name.
    pub name: &'static str,
    /// How it is doing.
    pub status: Status,
    /// What was found, in a line.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long the probe took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Money left in the account, USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_usd: Option<Usd>,
    /// Which kind of trouble it is, where it is down.
    #[serde(skip)]
    pub kind: Kind,
}

impl Dependency {
    fn new(name: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self {
            name,
            status,
            detail: detail.into(),
            hint: None,
            latency_ms: None,
            balance_usd: None,
            kind: Kind::Settings,
        }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail)
    }

    fn degraded(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Degraded, detail)
    }

    fn down(name: &'static str, kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, ..Self::new(name, Status::Down, detail) }
    }

    /// What an error says about a dependency.
    fn failed(name: &'static str, error: &Error) -> Self {
        let mut detail = error.to_string();
        if let Some(cause) = error.causes().first() {
            detail = format!("{detail}: {cause}");
        }
        Self::down(name, error.kind(), detail).with_hint(error.hints().first())
    }

    fn with_hint(mut self, hint: Option<&String>) -> Self {
        self.hint = hint.cloned();
        self
    }

    fn advising(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Everything that the probes found.
#[derive(Debug, Clone, Serialize)]
pub struct HealthReport {
    /// The version of this report's form.
    pub schema: u32,
    /// The worst of all dependencies.
    pub status: Status,
    /// aida's version.
    pub version: &'static str,
    /// How long this process has been running, in seconds.
    pub uptime: f64,
    /// When the probes ended.
    pub timestamp: Timestamp,
    /// One entry for each dependency.
    pub dependencies: Vec<Dependency>,
}

impl HealthReport {
    fn new(dependencies: Vec<Dependency>, context: &Context) -> Self {
        Self {
            schema: SCHEMA,
            status: dependencies
                .iter()
                .map(|dependency| dependency.status)
                .max()
                .unwrap_or(Status::Ok),
            version: env!("CARGO_PKG_VERSION"),
            uptime: (context.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            timestamp: context.clock.now(),
            dependencies,
        }
    }

    /// The error that the exit code stands for: the worst kind of all that is down.
    fn verdict(&self) -> Result<(), Error> {
        let down =
            || self.dependencies.iter().filter(|dependency| dependency.status == Status::Down);
        let Some(kind) = down().map(|dependency| dependency.kind).min_by_key(|kind| rank(*kind))
        else {
            return Ok(());
        };
        let names: Vec<_> = down().map(|dependency| dependency.name).collect();
        Err(Error::new(kind, format!("create-video cannot work without: {}", names.join(", ")))
            .reported())
    }
}

/// The order in which kinds of trouble win, by the contract: 9, 8, then 5.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Database => 0,
        Kind::Settings => 1,
        _ => 2,
    }
}

/// Probes everything.
pub async fn look(context: &Context) -> HealthReport {
    HealthReport::new(probes::all(context).await, context)
}

/// Probes and reports.
pub async fn run(_arguments: &HealthArgs, context: &Context) -> Result<(), Error> {
    let report = look(context).await;
    if context.output.is_json() {
        context.output.json(&report);
    } else if context.output.is_quiet() {
        context.output.data(report.status.as_str());
    } else {
        context.output.data(page(&report, &context.output));
    }
    report.verdict()
}

/// The report for people: one line for each dependency, with advice under what needs it.
fn page(report: &HealthReport, output: &Output) -> String {
    let mut page = format!(
        "aida {}  {}  {}  up {} s\n\n",
        report.version,
        painted(report.status, report.status.as_str(), output),
        report.timestamp.strftime("%Y-%m-%d %H:%M:%S UTC"),
        report.uptime
    );
    let indent = 2
        + report
            .dependencies
            .iter()
            .map(|dependency| dependency.name.len())
            .max()
            .unwrap_or_default()
        + 2;
    let width = usize::from(output.width()).saturating_sub(indent);
    for dependency in &report.dependencies {
        let mark = match dependency.status {
            Status::Ok => "✓",
            Status::Degraded => "!",
            Status::Down => "✗",
        };
        let mut detail = dependency.detail.clone();
        if let Some(balance) = dependency.balance_usd {
            let _ = write!(detail, ", {balance} left");
        }
        if let Some(latency) = dependency.latency_ms {
            let _ = write!(detail, " ({latency}ms)");
        }
        let advice = dependency
            .hint
            .as_ref()
            .filter(|_| dependency.status != Status::Ok)
            .map(|hint| format!("→ {hint}"));
        let lines = wrap(&detail, width)
            .into_iter()
            .chain(advice.iter().flat_map(|advice| wrap(advice, width)));
        for (number, line) in lines.enumerate() {
            if number == 0 {
                page.push_str(&painted(dependency.status, mark, output));
                let _ = write!(page, " {:<1$}", dependency.name, indent - 2);
            } else {
                page.push_str(&" ".repeat(indent));
            }
            page.push_str(&line);
            page.push('\n');
        }
    }
    page
}

fn painted(status: Status, text: &str, output: &Output) -> String {
    let style = match status {
        Status::Ok => Style::new().green(),
        Status::Degraded => Style::new().yellow(),
        Status::Down => Style::new().red().bold(),
    };
    output.data_style(&style, text)
}
