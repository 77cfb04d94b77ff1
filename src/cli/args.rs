//! Every subcommand and flag. Parsing has no effects; what a subcommand takes stands in its own
//! file under [`crate::commands`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::cli::output::Format;
use crate::cli::settings::{Flags, Override};
use crate::commands::{
    campaigns::CampaignsArgs, completions::CompletionsArgs, config::ConfigArgs, costs::CostsArgs,
    create_video::CreateVideoArgs, database::DatabaseArgs, health::HealthArgs, man::ManArgs,
    migrate::MigrateArgs, resume::ResumeArgs, search::SearchArgs,
};

/// Help is as wide as the narrowest terminal that everything fits.
const HELP_WIDTH: usize = 80;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "aida",
    version,
    about = "Turns a brief into a finished short film",
    long_about = "Turns a brief into a finished short film, remembers what it learnt, and keeps \
                  exact books of what it paid.",
    max_term_width = HELP_WIDTH,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "Start here, without keys and without paying:\n  \
                  aida create-video \"food video\" --preview\n\
                  With keys:\n  \
                  aida config init\n  \
                  aida health\n  \
                  aida create-video \"food video\"\n\n\
                  `aida COMMAND --help` shows each command with examples."
)]
pub struct Cli {
    /// Flags that every subcommand takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every subcommand takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Read settings from this file
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Read variables from a dotenv file; the environment's own come first
    #[arg(long, global = true, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// Keep working files and the embedded database here
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Act for this user
    #[arg(long, global = true, value_name = "ID")]
    pub user: Option<String>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log what is done to standard error; twice for more
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The subcommands. What each does is said, once, on its arguments.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help of the arguments")]
pub enum Command {
    CreateVideo(CreateVideoArgs),
    Resume(ResumeArgs),
    Search(SearchArgs),
    Campaigns(CampaignsArgs),
    Costs(CostsArgs),
    Health(HealthArgs),
    Migrate(MigrateArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(name = "__database", hide = true)]
    Database(DatabaseArgs),
}

impl Cli {
    /// Who listens.
    pub fn format(&self) -> Format {
        if self.global.json { Format::Json } else { Format::Human }
    }

    /// What the command line says about settings.
    pub fn flags(&self) -> Flags {
        let mut overrides = Vec::new();
        let mut set = |name, flag, value: Option<String>| {
            overrides.extend(value.map(|value| Override { name, flag, value }));
        };
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        set("data_dir", "--data-dir", self.global.data_dir.as_ref().map(text));
        set("user", "--user", self.global.user.clone());
        let level = match self.global.verbose {
            0 => None,
            1 => Some("info"),
            _ => Some("debug"),
        };
        set("log", "--verbose", level.map(str::to_owned));
        if let Command::CreateVideo(arguments) = &self.command {
            overrides.extend(arguments.overrides());
        }
        Flags {
            config: self.global.config.clone(),
            env_file: self.global.env_file.clone(),
            overrides,
        }
    }
}

/// Parses a command line. The error may also be the help or the version that was asked for.
pub fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments)
}

/// Prints what [`parse`] could not turn into a command: help and the version on standard output
/// with exit code 0, wrong usage on standard error with exit code 2.
pub fn explain(unparsed: &clap::Error) -> ExitCode {
    // A reader that has left is content with what it read.
    let _ = unparsed.print();
    ExitCode::from(u8::try_from(unparsed.exit_code()).unwrap_or(2))
}

/// The whole command line, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_help_fits_and_teaches() {
        fn check(command: &mut clap::Command, path: &str, is_leaf_worth_examples: bool) {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(
                    console::measure_text_width(line) <= HELP_WIDTH,
                    "{path}: too wide: {line}"
                );
            }
            if is_leaf_worth_examples {
                assert!(help.contains("Example"), "{path} --help has no examples");
            }
        }
        let mut root = command().term_width(HELP_WIDTH);
        root.build();
        check(&mut root, "aida", false);
        for subcommand in root.get_subcommands_mut() {
            let name = subcommand.get_name().to_owned();
            let hidden = subcommand.is_hide_set();
            check(subcommand, &name, !hidden);
        }
    }

    #[test]
    fn flags_become_settings() {
        let cli = parse([
            "aida",
            "create-video",
            "food video",
            "--user",
            "ada",
            "-vv",
            "--aspect",
            "1:1",
            "--audio",
        ])
        .unwrap();
        let overrides = cli.flags().overrides;
        let value = |name| {
            overrides.iter().find(|entry| entry.name == name).map(|entry| entry.value.as_str())
        };
        assert_eq!(value("user"), Some("ada"));
        assert_eq!(value("log"), Some("debug"));
        assert_eq!(value("aspect"), Some("1:1"));
        assert_eq!(value("audio"), Some("true"));
        assert_eq!(value("data_dir"), None);
    }
}
