//! Every subcommand and flag. Parsing has no effects; what a subcommand takes stands in its own
//! file under [`crate::commands`].

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use jiff::SignedDuration;

use crate::cli::output::Format;
use crate::cli::settings::{Flags, Override};
use crate::commands::{
    batch::BatchArgs, budget::BudgetArgs, campaigns::CampaignsArgs, completions::CompletionsArgs,
    config::ConfigArgs, costs::CostsArgs, create_video::CreateVideoArgs, database::DatabaseArgs,
    feedback::FeedbackArgs, files::FilesArgs, health::HealthArgs, man::ManArgs, memory::MemoryArgs,
    migrate::MigrateArgs, preferences::PreferencesArgs, prices::PricesArgs, read_pdf::ReadPdfArgs,
    recover::RecoverArgs, resume::ResumeArgs, retake::RetakeArgs, search::SearchArgs,
    show::ShowArgs, why::WhyArgs, work::WorkArgs,
};
use crate::error::Error;
#[cfg(feature = "serve")]
use crate::serve::ServeArgs;

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
    /// Do nothing while another command holds the lock of this name
    #[arg(long, global = true, value_name = "NAME", value_parser = lock_name)]
    pub lock: Option<String>,
    /// Wait this long for the lock, such as 30s or 10m [default: 0s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, requires = "lock")]
    pub lock_wait: Option<Duration>,
    /// Stop cleanly after this long, such as 90s, 30m or 2h
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub deadline: Option<Duration>,
}

/// Reads the name of a lock.
fn lock_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("not a name of 1 to 100 characters, such as nightly".to_owned());
    }
    Ok(name.to_owned())
}

/// Reads a length of time, such as `90s`, `30m` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration <= LONGEST_DURATION)
        .ok_or_else(|| "not a length of time such as 90s, 30m or 2h, at most 7 days".to_owned())
}

/// The longest length of time that can be asked for.
const LONGEST_DURATION: Duration = Duration::from_hours(7 * 24);

/// The subcommands. What each does is said, once, on its arguments.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help of the arguments")]
pub enum Command {
    CreateVideo(CreateVideoArgs),
    Batch(BatchArgs),
    Resume(ResumeArgs),
    Recover(RecoverArgs),
    Why(WhyArgs),
    Retake(RetakeArgs),
    Show(ShowArgs),
    Work(WorkArgs),
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    Search(SearchArgs),
    Files(FilesArgs),
    Memory(MemoryArgs),
    Campaigns(CampaignsArgs),
    Feedback(FeedbackArgs),
    Preferences(PreferencesArgs),
    Costs(CostsArgs),
    Budget(BudgetArgs),
    Prices(PricesArgs),
    Health(HealthArgs),
    Migrate(MigrateArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(name = "__database", hide = true)]
    Database(DatabaseArgs),
    #[command(name = "__read-pdf", hide = true)]
    ReadPdf(ReadPdfArgs),
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
        match &self.command {
            Command::CreateVideo(arguments) => overrides.extend(arguments.overrides()),
            #[cfg(feature = "serve")]
            Command::Serve(arguments) => overrides.extend(arguments.overrides()),
            _ => {}
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
    let cli = Cli::try_parse_from(arguments)?;
    if cli.global.lock.is_some()
        && let Some(name) = cli.command.works_without_locks()
    {
        let message = format!(
            "--lock cannot be used with '{name}': it works where there is no database to lock in"
        );
        return Err(command().error(ErrorKind::ArgumentConflict, message));
    }
    Ok(cli)
}

impl Command {
    /// The name of a command that must work while no database can be used, and so takes no lock.
    const fn works_without_locks(&self) -> Option<&'static str> {
        match self {
            Self::Health(_) => Some("health"),
            Self::Migrate(_) => Some("migrate"),
            Self::Config(_) => Some("config"),
            Self::Completions(_) => Some("completions"),
            Self::Man(_) => Some("man"),
            Self::Database(_) => Some("__database"),
            Self::ReadPdf(_) => Some("__read-pdf"),
            _ => None,
        }
    }
}

/// Prints what [`parse`] could not turn into a command: help and the version on standard output
/// with exit code 0, wrong usage on standard error with exit code 2, and with `--json` as an object
/// on standard output as well.
pub fn explain(unparsed: &clap::Error, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A reader that has left is content with what it read.
    let _ = unparsed.print();
    // Nothing was parsed, so that only the words themselves tell who listens.
    let mut flags = arguments.into_iter().take_while(|word| word != "--");
    if unparsed.use_stderr() && flags.any(|word| word == "--json") {
        let _ = writeln!(std::io::stdout(), "{}", usage_error(unparsed).to_json());
    }
    ExitCode::from(u8::try_from(unparsed.exit_code()).unwrap_or(2))
}

/// What is wrong with a command line, as every other error is told: clap's first paragraph, its
/// tips, and where to read more.
fn usage_error(unparsed: &clap::Error) -> Error {
    if unparsed.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("a command is missing").hint("`aida --help` lists the commands");
    }
    let text = unparsed.to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let words: Vec<_> = first.trim_start_matches("error: ").split_whitespace().collect();
    paragraphs
        .flat_map(str::lines)
        .map(str::trim)
        .filter_map(|line| line.strip_prefix("tip: "))
        .fold(Error::usage(words.join(" ")), Error::hint)
        .hint("`aida COMMAND --help` shows what a command takes")
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
    fn lengths_of_time_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "90", "-5m", "soon", "8d", "200h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lock_is_refused_where_none_can_be_taken() {
        for line in ["health", "migrate", "config show", "completions bash", "man", "__database d"]
        {
            let words = ["aida"].into_iter().chain(line.split(' ')).chain(["--lock", "nightly"]);
            let refused = parse(words).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ArgumentConflict, "{line}: {refused}");
            assert_eq!(refused.exit_code(), 2, "{line}");
        }
        assert!(parse(["aida", "costs", "--lock", "nightly"]).is_ok());
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
