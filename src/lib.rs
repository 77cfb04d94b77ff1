//! aida turns a brief into a finished short film, and keeps exact books of what it cost.
//!
//! The rooms, from the street inwards. Calls and `use` lines run downwards only:
//!
//! - [`cli`]: what a person types and sees.
//! - [`commands`]: one file per subcommand.
//! - [`studio`]: one video, from brief to film.
//! - [`memory`]: what earlier work taught us.
//! - [`ledger`]: money; the only way to a paid call.
//! - [`providers`] and [`store`]: the outside world, and Postgres.
//!
//! Plain types ([`ids`], [`clock`], `ledger::money`, `ledger::operation`, `studio::brief`,
//! `studio::script`, `studio::storyboard`) may be used by every room.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod error;
pub mod ids;
pub mod ledger;
pub mod memory;
pub mod providers;
pub mod signals;
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
use crate::clock::SystemClock;
use crate::commands::{Context, completions, config, database, man};
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

/// Runs the command beside the signals: the first asks it to stop, the second does not ask.
async fn with_runtime(
    cli: &Cli,
    environment: Environment,
    output: &Output,
    started: Instant,
) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
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
        cli::log::start(settings.log, output);
        for warning in &settings.warnings {
            output.warning(warning);
        }
        let context = Context::new(
            settings,
            output.clone(),
            Arc::new(SystemClock),
            stop.clone(),
            started,
            environment.executable.clone(),
        );
        Box::pin(commands::run(&cli.command, &context)).await
    };
    // A panic is a fault in aida like any other: it is told, and has its exit code.
    let command = AssertUnwindSafe(command).catch_unwind();
    tokio::pin!(command);
    let stops_by_itself = matches!(cli.command, Command::CreateVideo(_) | Command::Resume(_));
    loop {
        tokio::select! {
            result = &mut command => {
                let result = result.unwrap_or_else(|_| Err(Error::internal("aida broke down")));
                return match (result, stop.kind()) {
                    (Err(error), Some(kind)) if error.kind() == Kind::Interrupted => {
                        Err(error.with_kind(kind))
                    }
                    (result, _) => result,
                };
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
