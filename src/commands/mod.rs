//! One file per subcommand: its arguments with their help, then `run`: a call into a room below,
//! and a report.

pub mod campaigns;
pub mod completions;
pub mod config;
mod context;
pub mod costs;
pub mod create_video;
pub mod database;
mod failures;
pub mod health;
pub mod making;
pub mod man;
pub mod migrate;
pub mod resume;
pub mod search;
mod services;

pub use context::{Context, Service};

use crate::cli::args::Command;
use crate::error::Error;

/// Runs a subcommand that works with settings.
pub async fn run(command: &Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::CreateVideo(arguments) => create_video::run(arguments, context).await,
        Command::Resume(arguments) => resume::run(arguments, context).await,
        Command::Search(arguments) => search::run(arguments, context).await,
        Command::Campaigns(arguments) => campaigns::run(arguments, context).await,
        Command::Costs(arguments) => costs::run(arguments, context).await,
        Command::Health(arguments) => health::run(arguments, context).await,
        Command::Migrate(arguments) => migrate::run(arguments, context).await,
        Command::Config(arguments) => config::run(arguments, context).await,
        Command::Completions(_) | Command::Man(_) | Command::Database(_) => {
            Err(Error::internal("this command runs without settings"))
        }
    }
}
