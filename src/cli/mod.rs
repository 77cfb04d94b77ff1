//! What a person types and sees: the only room that touches the terminal.
//!
//! - [`args`]: every subcommand and flag.
//! - [`environment`]: what the surrounding process says, handed in as plain data.
//! - [`settings`]: flag > environment > file > default, merged once.
//! - [`output`]: standard output is data, standard error is talk.
//! - [`progress`]: events as bars, plain lines or JSON lines.
//! - [`charts`]: amounts as bars.
//! - [`tables`]: reports as tables and CSV.
//! - [`log`]: the program's own log, for those who ask for it.
//! - [`telemetry`]: traces and metrics for a collector, in builds with the feature `otel`.

pub mod args;
pub mod charts;
pub mod environment;
pub mod log;
pub mod output;
pub mod progress;
pub mod settings;
pub mod tables;
pub mod telemetry;
