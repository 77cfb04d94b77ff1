//! The program's own log: on standard error, off unless asked for with `--verbose` or `AIDA_LOG`,
//! and as JSON lines in a file that is begun anew each day, where the settings name one.
//!
//! Only aida's own lines are written: other crates may log headers and bodies, and a log never
//! shows prompts or secrets.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::output::Output;
use crate::cli::telemetry::Telemetry;
use crate::clock::{Clock as _, SystemClock};
use crate::error::Error;

/// A log in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file; the day is added to its name, as in `aida.log.2026-11-28`.
    pub path: PathBuf,
    /// How many days are kept.
    pub days: u32,
}

/// Starts the log: `level` for standard error, and for the file at least `info`. A second call
/// changes nothing. A file that cannot be written is a wrong setting.
pub fn start(
    level: LevelFilter,
    file: Option<&LogFile>,
    telemetry: Option<&Telemetry>,
    output: &Output,
) -> Result<(), Error> {
    if level == LevelFilter::OFF && file.is_none() && telemetry.is_none() {
        return Ok(());
    }
    let aida = |level| Targets::new().with_target("aida", level);
    let talk = tracing_subscriber::fmt::layer()
        .with_writer(BesideTheBars(output.clone()))
        .with_ansi(false)
        .with_target(false)
        .with_filter(aida(level));
    let lines = match file {
        None => None,
        Some(file) => Some(
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_writer(open(file)?)
                .with_filter(aida(level.max(LevelFilter::INFO))),
        ),
    };
    // Fails only when a log was started before, which then goes on.
    let _ = tracing_subscriber::registry()
        .with(telemetry.map(Telemetry::layer))
        .with(talk)
        .with(lines)
        .try_init();
    Ok(())
}

/// The appender, which makes the folder and the day's file.
fn open(file: &LogFile) -> Result<RollingFileAppender, Error> {
    let refused = |why: String| {
        Error::settings(format!("log_file: {} cannot be written", file.path.display()))
            .because(why)
            .hint("name a file in a folder that can be written, or leave log_file out")
    };
    let name = file.path.file_name().ok_or_else(|| refused("it names no file".to_owned()))?;
    let name = name.to_string_lossy();
    let folder = file.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| ".".as_ref());
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(&*name)
        .build(folder)
        .map_err(|error| refused(error.to_string()))?;
    prune(folder, &name, file.days, SystemClock.now().to_zoned(TimeZone::UTC).date());
    Ok(appender)
}

/// Removes the oldest of the log's files, so that `days` of them stay, today's among them. The
/// appender's own way would take every file that begins with the name, and today's for an old one.
/// A process that works past midnight leaves the pruning to the next one.
fn prune(folder: &Path, name: &str, days: u32, today: Date) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut former: Vec<(Date, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| Some((day_of(entry.file_name().to_str()?, name)?, entry.path())))
        .filter(|(day, _)| *day != today)
        .collect();
    former.sort();
    let kept = usize::try_from(days).unwrap_or(usize::MAX).saturating_sub(1);
    for (_, path) in former.iter().rev().skip(kept) {
        // One that stays is tried again by the next process; another may have been quicker.
        let _ = fs::remove_file(path);
    }
}

/// The day of a file that the appender made: exactly the name, a dot and `YYYY-MM-DD`.
fn day_of(file: &str, name: &str) -> Option<Date> {
    let text = file.strip_prefix(name)?.strip_prefix('.')?;
    let day: Date = text.parse().ok()?;
    (day.to_string() == text).then_some(day)
}

/// Writes log lines without tearing the bars.
struct BesideTheBars(Output);

impl<'writer> MakeWriter<'writer> for BesideTheBars {
    type Writer = Line<'writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        Line(&self.0)
    }
}

struct Line<'output>(&'output Output);

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log_line(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_days_stay_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let today = jiff::civil::date(2026, 11, 28);
        let files = [
            "aida.log.2026-11-28",
            "aida.log.2026-11-20",
            "aida.log.2026-11-27",
            "aida.log.2025-12-31",
            "aida.log",
            "aida.log.2025-01-01.gz",
            "aida.log.2025-1-1",
            "aida.log.20250101",
            "aida.log.old",
            "aida.logs.2025-01-01",
            "other.2025-01-01",
        ];
        for file in files {
            fs::write(folder.path().join(file), "line").unwrap();
        }
        let left = || -> Vec<&str> {
            files.into_iter().filter(|file| folder.path().join(file).exists()).collect()
        };
        prune(folder.path(), "aida.log", 4, today);
        assert_eq!(left(), files);
        prune(folder.path(), "aida.log", 2, today);
        let others = &files[4..];
        assert_eq!(left(), [&["aida.log.2026-11-28", "aida.log.2026-11-27"], others].concat());
        prune(folder.path(), "aida.log", 1, today);
        assert_eq!(left(), [&["aida.log.2026-11-28"], others].concat());
    }
}
