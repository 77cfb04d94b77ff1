//! aida turns a brief into a finished short film, and keeps exact books of what it cost.
//!
//! The rooms, from the street inwards. Calls and `use` lines run downwards only:
//!
//! - [`cli`]: what a person types and sees.
//! - `serve`: the same work over HTTP, where it is built in.
//! - [`commands`]: one file per subcommand.
//! - [`studio`]: one video, from brief to film.
//! - [`memory`]: what earlier work taught us.
//! - [`ledger`]: money; the only way to a paid call.
//! - [`providers`] and [`store`]: the outside world, and Postgres.
//!
//! Plain types ([`ids`], `letters`, [`clock`], [`printable`], [`process`], [`spans`], `ledger::money`,
//! `ledger::operation`, `ledger::budget`, `studio::brief`, `studio::script`, `studio::storyboard`) may
//! be used by every room.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod error;
pub mod ids;
pub mod ledger;
mod letters;
pub mod memory;
pub mod printable;
pub mod process;
pub mod providers;
#[cfg(feature = "serve")]
pub mod serve;
pub mod signals;
pub mod spans;
pub mod store;
pub mod studio;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use crate::cli::args::{Cli, Command};
use crate::cli::environment::Environment;
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::telemetry::Telemetry;
use crate::clock::SystemClock;
use crate::commands::files::FilesCommand;
use crate::commands::memory::MemoryCommand;
use crate::commands::{Context, completions, config, database, man, read_pdf};
use crate::error::{Error, Kind};
use crate::signals::{Signals, Stop};

/// Runs one command line: settings, log, services, command, and the exit code of what came of it.
pub fn run(cli: &Cli, environment: Environment) -> ExitCode {
    let started = Instant::now();
    let output = Output::of_this_process(&environment, cli.format(), cli.global.quiet);
    let result = dispatch(cli, environment, &output, started).and_then(|()| output.finish());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// What needs neither settings nor a runtime is done at once; the rest gets both.
fn dispatch(
    cli: &Cli,
    environment: Environment,
    output: &Output,
    started: Instant,
) -> Result<(), Error> {
    match &cli.command {
        Command::Completions(arguments) => {
            completions::run(arguments, output);
            Ok(())
        }
        Command::Man(arguments) => man::run(arguments, output),
        Command::Database(arguments) => database::run(arguments),
        Command::ReadPdf(arguments) => read_pdf::run(arguments),
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .max_blocking_threads(16)
                .enable_all()
                .build()
                .map_err(|error| Error::internal("the runtime did not start").because(error))?;
            let result = runtime.block_on(with_runtime(cli, environment, output, started));
            // A prompt that was given up still waits on its thread; nothing waits for it.
            runtime.shutdown_background();
            result
        }
    }
}

/// Runs the command, and logs what came of it.
async fn with_runtime(
    cli: &Cli,
    environment: Environment,
    output: &Output,
    started: Instant,
) -> Result<(), Error> {
    let signals = Signals::listen()?;
    let stop = Stop::default();
    let command = async {
        let flags = cli.flags();
        if let Command::Config(arguments) = &cli.command
            && config::run_without_settings(arguments, &flags, &environment, output, &stop.cancel)
                .await?
        {
            return Ok(());
        }
        let settings = Settings::resolve(&flags, &environment)?;
        let telemetry = Telemetry::to(settings.otlp_endpoint.as_ref())?;
        cli::log::start(settings.log, settings.log_file.as_ref(), telemetry.as_ref(), output)?;
        for warning in &settings.warnings {
            output.warning(warning);
        }
        if settings.otlp_endpoint.is_some() && telemetry.is_none() {
            output.warning("otlp_endpoint is set, but this aida was built without the feature otel: it sends nothing");
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), user = settings.user, "aida begins");
        let context = Context::new(
            settings,
            (flags, environment),
            output.clone(),
            Arc::new(SystemClock),
            stop.clone(),
            started,
        );
        let result = match &cli.command {
            #[cfg(feature = "serve")]
            Command::Serve(arguments) => Box::pin(serve::run(arguments, &context)).await,
            command => Box::pin(commands::run(command, &cli.global, &context)).await,
        };
        if let Some(telemetry) = telemetry {
            telemetry.finish().await;
        }
        result
    };
    // A panic is a fault in aida like any other: it is told, and has its exit code.
    let command = AssertUnwindSafe(command).catch_unwind();
    let result = beside_the_signals(cli, output, started, &stop, signals, command).await;
    let seconds = started.elapsed().as_secs_f64();
    match &result {
        Ok(()) => tracing::info!(exit_code = 0, seconds, "aida ends"),
        Err(error) => {
            let (exit_code, kind) = (error.kind().exit_code(), error.kind().as_str());
            tracing::error!(exit_code, kind, seconds, causes = ?error.causes(), "{error}");
        }
    }
    result
}

/// Whether a command hears the wish to stop, and ends in order at the next good moment. Any other is
/// left at once, wherever it is.
const fn stops_by_itself(command: &Command) -> bool {
    match command {
        Command::CreateVideo(_)
        | Command::Batch(_)
        | Command::Work(_)
        | Command::Resume(_)
        | Command::Retake(_)
        | Command::Recover(_) => true,
        #[cfg(feature = "serve")]
        Command::Serve(_) => true,
        Command::Files(files) => matches!(files.command, Some(FilesCommand::Add(_))),
        Command::Memory(memory) => {
            matches!(memory.command, Some(MemoryCommand::Reindex(_) | MemoryCommand::Import(_)))
        }
        _ => false,
    }
}

/// Waits for the command beside the signals, of which the first asks it to stop and the second does not
/// ask, and beside the deadline.
async fn beside_the_signals(
    cli: &Cli,
    output: &Output,
    started: Instant,
    stop: &Stop,
    mut signals: Signals,
    command: impl Future<Output = std::thread::Result<Result<(), Error>>>,
) -> Result<(), Error> {
    tokio::pin!(command);
    let stops_by_itself = stops_by_itself(&cli.command);
    // What is left of the time that was given, from the start of the process on.
    let left = cli.global.deadline.map(|given| given.saturating_sub(started.elapsed()));
    let deadline = async {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let mut has_passed = false;
    loop {
        tokio::select! {
            result = &mut command => {
                let result = result.unwrap_or_else(|_| Err(Error::internal("aida broke down")));
                return match (result, stop.kind()) {
                    (Err(error), Some(kind)) if error.kind() == Kind::Interrupted => {
                        Err(error.stopped_by(kind))
                    }
                    (result, _) => result,
                };
            }
            () = &mut deadline, if !has_passed => {
                has_passed = true;
                if !stops_by_itself {
                    return Err(Error::new(Kind::Interrupted, "stopped").stopped_by(Kind::Deadline));
                }
                stop.ask(Kind::Deadline);
                output.status("the deadline has passed; stopping cleanly");
            }
            kind = signals.next() => {
                if stops_by_itself && stop.kind().is_none() {
                    stop.ask(kind);
                    output.status("stopping cleanly; once more stops at once");
                } else {
                    return Err(Error::new(stop.kind().unwrap_or(kind), "stopped"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hears_the_wish_to_stop_is_asked_and_the_rest_is_left_at_once() {
        for (line, by_itself) in [
            ("create-video bread", true),
            ("batch briefs.csv", true),
            ("work", true),
            ("resume --last", true),
            ("recover", true),
            ("files add menu.pdf", true),
            ("files list", false),
            ("files", false),
            ("memory import -", true),
            ("memory reindex", true),
            ("memory export", false),
            ("memory", false),
            ("search bread", false),
            ("costs", false),
        ] {
            let words = ["aida"].into_iter().chain(line.split(' '));
            let cli = cli::args::parse(words).unwrap();
            assert_eq!(stops_by_itself(&cli.command), by_itself, "{line}");
        }
    }
}
