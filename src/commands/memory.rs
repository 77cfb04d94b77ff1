//! `aida memory`: what is kept, moved to another embedder, and carried from place to place.

mod moves;
mod transfer;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::error::Error;
use crate::store::embeddings::models::{self, ModelRows};

/// Arguments of `aida memory`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Move what is remembered to another embedder; carry projects in and out",
    long_about = "What is remembered, and by which embedder; moving it to another one, and carrying \
        projects from place to place.\n\n\
        Only vectors of one model are compared. After a change of `embedder`, what has no vector of \
        the new model is found by its words only, until `reindex` has moved it.",
    after_help = "\
Examples:
  aida memory
  aida memory reindex --dry-run
  AIDA_EMBEDDER=voyage-4 aida memory reindex --yes
  aida memory export projects.jsonl --vectors
  aida memory import projects.jsonl --user-map bob=ada"
)]
pub struct MemoryArgs {
    /// What to do; tells what is kept if not said
    #[command(subcommand)]
    pub command: Option<MemoryCommand>,
}

/// What can be done with the memory.
#[derive(Debug, Clone, Subcommand)]
pub enum MemoryCommand {
    /// Tell what is kept, by the model of its vectors
    Status {
        /// Of every user
        #[arg(long)]
        all_users: bool,
    },
    /// Move what is kept to the embedder that is set, or to another
    Reindex(moves::ReindexArgs),
    /// Write projects as JSONL, the oldest first
    Export(transfer::ExportArgs),
    /// Take projects in from JSONL
    Import(transfer::ImportArgs),
}

/// Works on the memory.
pub async fn run(arguments: &MemoryArgs, context: &Context) -> Result<(), Error> {
    let command = arguments.command.as_ref();
    match command.unwrap_or(&MemoryCommand::Status { all_users: false }) {
        MemoryCommand::Status { all_users } => status(*all_users, context).await,
        MemoryCommand::Reindex(arguments) => moves::reindex(arguments, context).await,
        MemoryCommand::Export(arguments) => transfer::export(arguments, context).await,
        MemoryCommand::Import(arguments) => transfer::import(arguments, context).await,
    }
}

/// What is kept.
#[derive(Debug, Serialize)]
struct Status {
    embedder: String,
    rows: u64,
    waiting_rows: u64,
    models: Vec<ModelStatus>,
}

/// What is kept of one model.
#[derive(Debug, Serialize)]
struct ModelStatus {
    model: Option<String>,
    rows: u64,
    text_bytes: u64,
}

async fn status(all_users: bool, context: &Context) -> Result<(), Error> {
    let memory = context.memory().await?;
    let user = (!all_users).then_some(context.settings.user.as_str());
    let mut session = context.store().await?.session().await?;
    let rows = models::rows_by_model(&mut session, user).await?;
    session.close().await;
    show(&Status::new(memory.embedder(), rows), &context.output);
    if memory.lacks_index().await? {
        context.output.warning(format!(
            "{} has no index, so every search compares all its vectors; build it with: aida memory reindex",
            memory.embedder()
        ));
    }
    Ok(())
}

impl Status {
    fn new(embedder: &str, kept: Vec<ModelRows>) -> Self {
        let rows = kept.iter().map(|kept| kept.rows).sum();
        let ours: u64 = kept
            .iter()
            .filter(|kept| kept.model.as_deref() == Some(embedder))
            .map(|kept| kept.rows)
            .sum();
        let models = kept
            .into_iter()
            .map(|kept| ModelStatus { model: kept.model, rows: kept.rows, text_bytes: kept.bytes })
            .collect();
        Self { embedder: embedder.to_owned(), rows, waiting_rows: rows - ours, models }
    }
}

fn show(status: &Status, output: &Output) {
    if output.is_json() {
        output.json(status);
        return;
    }
    output.status(format!("embedder: {}", status.embedder));
    if status.models.is_empty() {
        output.status("nothing is kept yet");
        return;
    }
    let mut grid = Grid::new([
        Column::flexible("model", 16),
        Column::right("passages"),
        Column::right("bytes"),
    ]);
    for kept in &status.models {
        let model = kept.model.clone().unwrap_or_else(|| "(no vector yet)".to_owned());
        grid.row([model, kept.rows.to_string(), kept.text_bytes.to_string()]);
    }
    output.data(grid.render(output.width()));
    if status.waiting_rows > 0 {
        output.hint(format!(
            "{} have no vector of {}; move them with: aida memory reindex",
            status.waiting_rows, status.embedder
        ));
    }
}
