//! The program's own log, on standard error, off unless asked for with `--verbose` or `AIDA_LOG`.
//!
//! Only aida's own lines are written: other crates may log headers and bodies, and a log never
//! shows prompts or secrets.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::output::Output;

/// Starts the log. A second call changes nothing.
pub fn start(level: LevelFilter, output: &Output) {
    if level == LevelFilter::OFF {
        return;
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(BesideTheBars(output.clone()))
        .with_ansi(false)
        .with_target(false)
        .with_filter(Targets::new().with_target("aida", level));
    // Fails only when a log was started before, which then goes on.
    let _ = tracing_subscriber::registry().with(lines).try_init();
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
