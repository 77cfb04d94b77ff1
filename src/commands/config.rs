//! `aida config`: writes, shows and finds the settings.

mod init;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::environment::Environment;
use crate::cli::output::Output;
use crate::cli::settings::{self, Flags, Origin, keys};
use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::error::Error;

pub use init::{InitArgs, init};

/// Arguments of `aida config`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Write, show and find the settings",
    long_about = "Write, show and find the settings.\n\n\
        A flag beats an environment variable, which beats config.toml, which beats the default.",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aida config init            asks, and writes config.toml
  aida config show            what is in force, and who said so
  aida config path            where config.toml is
  aida config example         every key with its default"
)]
pub struct ConfigArgs {
    /// What to do with the settings
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with the settings.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Ask for the settings and write config.toml, readable by its owner only
    Init(InitArgs),
    /// Show every setting with its source; keys are masked
    Show,
    /// Print where config.toml is
    Path,
    /// Print config.toml with every key, its default and what it does
    Example,
}

/// Runs what needs no valid settings; answers whether that was it.
pub async fn run_without_settings(
    arguments: &ConfigArgs,
    flags: &Flags,
    environment: &Environment,
    output: &Output,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<bool, Error> {
    match &arguments.command {
        ConfigCommand::Init(arguments) => {
            init(arguments, flags, environment, output, cancel).await?;
        }
        ConfigCommand::Path => path(flags, environment, output)?,
        ConfigCommand::Example => output.data(keys::example()),
        ConfigCommand::Show => return Ok(false),
    }
    Ok(true)
}

/// Shows the settings.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(_arguments: &ConfigArgs, context: &Context) -> Result<(), Error> {
    show(context);
    Ok(())
}

fn path(flags: &Flags, environment: &Environment, output: &Output) -> Result<(), Error> {
    let path = settings::config_path(flags, environment)?.ok_or_else(|| {
        Error::settings("there is no place for config.toml: the user has no home")
            .hint("name one with --config PATH or AIDA_CONFIG")
    })?;
    if output.is_json() {
        output.json(&json!({ "path": path, "exists": path.exists() }));
    } else {
        output.data(path.display().to_string());
        if !path.exists() {
            output.status("it does not exist yet; `aida config init` writes it");
        }
    }
    Ok(())
}

fn show(context: &Context) {
    let (output, origins) = (&context.output, &context.settings.origins);
    if output.is_json() {
        let settings: serde_json::Map<_, _> = origins
            .iter()
            .map(|origin| {
                let entry = json!({
                    "value": origin.value,
                    "set": origin.is_set,
                    "source": origin.source.to_string(),
                    "variable": origin.key.variable,
                });
                (origin.key.name.to_owned(), entry)
            })
            .collect();
        output.json(&json!({ "config": context.settings.config_path, "settings": settings }));
        return;
    }
    let mut grid = Grid::new([
        Column::left("setting"),
        Column::flexible("value", 20),
        Column::flexible("source", 12),
    ]);
    for origin in origins {
        grid.row([
            origin.key.name.to_owned(),
            shown(origin),
            if origin.is_set { origin.source.to_string() } else { String::new() },
        ]);
    }
    output.data(grid.render(output.width()));
}

/// The value for people. Of a secret only whether there is one.
fn shown(origin: &Origin) -> String {
    match (&origin.value, origin.is_set) {
        (Some(value), _) => value.clone(),
        (None, true) => "set".to_owned(),
        (None, false) => "not set".to_owned(),
    }
}
