//! Parses the command line, runs it, and answers the exit code. It decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    match aida::cli::args::parse(std::env::args_os()) {
        Ok(cli) => aida::run(&cli, aida::cli::environment::Environment::of_this_process()),
        Err(unparsed) => aida::cli::args::explain(&unparsed, std::env::args_os()),
    }
}
