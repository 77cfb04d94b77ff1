//! One file per subcommand: its arguments with their help, then `run`: a call into a room below,
//! and a report.

pub mod batch;
pub mod budget;
pub mod campaigns;
pub mod completions;
pub mod config;
mod context;
pub mod costs;
pub mod create_video;
pub mod database;
mod failures;
pub mod feedback;
pub mod files;
pub mod health;
mod lock;
pub mod making;
pub mod man;
pub mod memory;
pub mod migrate;
pub mod preferences;
pub mod prices;
pub mod read_pdf;
pub mod recover;
pub mod resume;
pub mod retake;
pub mod search;
mod services;
pub mod show;
pub mod why;
pub mod work;

pub use context::{Context, Service};

use crate::cli::args::{Command, GlobalArgs};
use crate::error::Error;
use lock::NamedLock;

/// Runs a subcommand that works with settings, under a named lock where one is asked for.
pub async fn run(command: &Command, global: &GlobalArgs, context: &Context) -> Result<(), Error> {
    let Some(name) = &global.lock else { return work(command, context).await };
    let lock = NamedLock::take(context, name, global.lock_wait.unwrap_or_default()).await?;
    let result = work(command, context).await;
    lock.give_back().await;
    result
}

async fn work(command: &Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::CreateVideo(arguments) => create_video::run(arguments, context).await,
        Command::Batch(arguments) => batch::run(arguments, context).await,
        Command::Resume(arguments) => resume::run(arguments, context).await,
        Command::Retake(arguments) => retake::run(arguments, context).await,
        Command::Show(arguments) => show::run(arguments, context).await,
        Command::Recover(arguments) => recover::run(arguments, context).await,
        Command::Work(arguments) => work::run(arguments, context).await,
        Command::Why(arguments) => why::run(arguments, context).await,
        Command::Search(arguments) => search::run(arguments, context).await,
        Command::Files(arguments) => files::run(arguments, context).await,
        Command::Memory(arguments) => memory::run(arguments, context).await,
        Command::Campaigns(arguments) => campaigns::run(arguments, context).await,
        Command::Feedback(arguments) => feedback::run(arguments, context).await,
        Command::Preferences(arguments) => preferences::run(arguments, context).await,
        Command::Budget(arguments) => budget::run(arguments, context).await,
        Command::Costs(arguments) => costs::run(arguments, context).await,
        Command::Prices(arguments) => prices::run(arguments, context).await,
        Command::Health(arguments) => health::run(arguments, context).await,
        Command::Migrate(arguments) => migrate::run(arguments, context).await,
        Command::Config(arguments) => config::run(arguments, context).await,
        #[cfg(feature = "serve")]
        Command::Serve(_) => Err(Error::internal("serve stands beside the commands")),
        Command::Completions(_) | Command::Man(_) | Command::Database(_) | Command::ReadPdf(_) => {
            Err(Error::internal("this command runs without settings"))
        }
    }
}
