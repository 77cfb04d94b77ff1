//! The outside services as stand-ins, to try aida by hand without keys and without paying:
//!
//! ```console
//! $ cargo run --example standins -- --speed 20 > standins.env
//! $ source standins.env && aida create-video "food video" --yes
//! ```
//!
//! It prints the variables that aida needs, serves until it is interrupted, and then prints what
//! the services would have charged and which requests they would have refused.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use support::World;

/// Stand-ins of Claude, OpenAI, Voyage, an Ollama, KIE.AI and fal.ai.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many times faster than in life jobs are done
    #[arg(long, default_value_t = 20.0)]
    speed: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { speed } = Arguments::parse();
    if !speed.is_finite() || speed <= 0.0 {
        let _ = writeln!(std::io::stderr(), "error: --speed must be a positive number");
        return ExitCode::from(2);
    }
    let world = World::start(speed);
    let mut stdout = std::io::stdout();
    for (name, value) in world.variables() {
        let _ = writeln!(stdout, "export {name}='{value}'");
    }
    let _ = stdout.flush();
    let _ = writeln!(std::io::stderr(), "serving; Ctrl-C ends it and prints the bill");
    if let Err(error) = tokio::signal::ctrl_c().await {
        let _ = writeln!(std::io::stderr(), "error: cannot wait for Ctrl-C: {error}");
        return ExitCode::FAILURE;
    }
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "\n{}", world.bill());
    for violation in world.violations() {
        let _ = writeln!(stderr, "refused: {violation}");
    }
    ExitCode::SUCCESS
}
