//! `aida completions`: a completion script for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::cli::args;
use crate::cli::output::Output;

/// Arguments of `aida completions`.
#[derive(Debug, Args)]
#[command(
    about = "Print a completion script for a shell",
    after_help = "\
Examples:
  aida completions bash > ~/.local/share/bash-completion/completions/aida
  aida completions zsh > ~/.zfunc/_aida
  aida completions fish > ~/.config/fish/completions/aida.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &CompletionsArgs, output: &Output) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut offered(), "aida", &mut script);
    output.bytes(&script);
}

/// The command line without what is hidden: some shells' scripts would offer it.
fn offered() -> clap::Command {
    let whole = args::command();
    clap::Command::new("aida")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}
