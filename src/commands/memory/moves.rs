//! `aida memory reindex`, and the embedding that an import ends with.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::cli::output::Output;
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;
use crate::memory::Memory;
use crate::memory::reindex::{Moved, Survey};
use crate::store::embeddings::moving::MovedScope;

/// Arguments of `aida memory reindex`.
#[derive(Debug, Clone, Args)]
#[command(
    long_about = "Move what is kept to the embedder that is set, or to another.\n\n\
        It says beforehand how many passages there are and what they may cost at most, and asks above \
        ask_above_usd. Each batch is stored as it arrives: called again, it goes on where it stopped, and \
        what is stored is not paid for again. Stopped by Ctrl-C or a deadline, it stores what is under \
        way; killed, it may pay once more for that: four calls at most. Search goes on meanwhile.",
    after_help = "\
Examples:
  aida memory reindex --dry-run
  aida memory reindex --to voyage-4 --yes
  aida memory reindex --all-users --json"
)]
pub struct ReindexArgs {
    /// An embedder as in the settings, for this time
    #[arg(long, value_name = "EMBEDDER")]
    pub to: Option<String>,
    /// Of every user; each pays for their own
    #[arg(long)]
    pub all_users: bool,
    /// Tell what it would take, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Agree beforehand to what it may cost
    #[arg(long, short)]
    pub yes: bool,
}

/// What a move came to.
#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    embedder: String,
    /// Passages that were to be moved.
    rows: u64,
    /// The most tokens that their texts can have.
    most_tokens: u64,
    most_usd: Usd,
    /// Passages that were moved.
    moved: u64,
    settled_usd: Usd,
    /// Passages that still wait.
    waiting_rows: u64,
}

/// Moves what is kept.
pub(super) async fn reindex(arguments: &ReindexArgs, context: &Context) -> Result<(), Error> {
    let setting = arguments.to.as_ref().unwrap_or(&context.settings.embedder);
    let memory = context.memory_with(setting).await.map_err(|error| match &arguments.to {
        Some(_) if error.kind() == Kind::Settings => error.hint("--to names the embedder"),
        _ => error,
    })?;
    let scope = MovedScope {
        user_id: (!arguments.all_users).then(|| context.settings.user.clone()),
        only_without_vector: false,
    };
    let survey = memory.survey(&scope).await?;
    let output = &context.output;
    tell(&memory, survey, output);
    let mut report = Report {
        status: "planned",
        embedder: memory.embedder().to_owned(),
        rows: survey.rows,
        most_tokens: survey.most_tokens,
        most_usd: survey.most_usd,
        moved: 0,
        settled_usd: Usd::ZERO,
        waiting_rows: survey.rows,
    };
    if arguments.dry_run {
        show(&report, output);
        return Ok(());
    }
    ask(context, &memory, survey, arguments.yes).await?;
    let moved = embed(&memory, std::slice::from_ref(&scope), survey.rows, context).await?;
    report.waiting_rows = memory.survey(&scope).await?.rows;
    report.moved = moved.rows;
    report.settled_usd = moved.settled_usd;
    report.status = if moved.trouble.is_some() { "stopped" } else { "done" };
    show(&report, output);
    if let Some(trouble) = moved.trouble {
        return Err(stopped(trouble.into(), context).reported());
    }
    if setting != &context.settings.embedder && report.moved > 0 {
        let setting = setting.trim();
        output.hint(format!("search uses it once embedder = \"{setting}\" is set in config.toml"));
    }
    Ok(())
}

/// Says what a move would take.
pub(super) fn tell(memory: &Memory, survey: Survey, output: &Output) {
    if survey.rows == 0 {
        output.status(format!("embedder: {}; nothing waits for it", memory.embedder()));
        return;
    }
    let price = if survey.most_usd == Usd::ZERO {
        "free".to_owned()
    } else {
        format!("at most {} tokens, {}", survey.most_tokens, survey.most_usd)
    };
    output.status(format!("{} passages for {}: {price}", survey.rows, memory.embedder()));
}

/// Asks where it may cost more than small change.
pub(super) async fn ask(
    context: &Context,
    memory: &Memory,
    survey: Survey,
    yes: bool,
) -> Result<(), Error> {
    if survey.most_usd <= context.settings.ask_above {
        return Ok(());
    }
    let question = format!(
        "Embedding {} passages with {} may cost up to {}. Go on?",
        survey.rows,
        memory.embedder(),
        survey.most_usd
    );
    context.need_yes(yes, &question).await
}

/// Embeds what waits in each scope, and shows how it goes.
pub(super) async fn embed(
    memory: &Memory,
    scopes: &[MovedScope],
    rows: u64,
    context: &Context,
) -> Result<Moved, Error> {
    let output = &context.output;
    let bar = output.bars().add(ProgressBar::new(rows));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} passages  {eta} left") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    let mut whole = Moved::default();
    for scope in scopes {
        let before = whole.rows;
        let moved = memory
            .reindex(scope, &context.cancel, |done| {
                bar.set_position(before + done);
                if output.is_json() && !output.is_quiet() {
                    output.json(&json!({"event": "embedded", "rows": before + done, "of": rows}));
                }
            })
            .await?;
        whole.rows += moved.rows;
        whole.settled_usd += moved.settled_usd;
        whole.trouble = moved.trouble;
        if whole.trouble.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(whole)
}

/// Why it stopped, and that nothing is lost.
pub(super) fn stopped(error: Error, context: &Context) -> Error {
    let error = if error.kind() == Kind::Interrupted && context.was_terminated() {
        Error::new(Kind::Terminated, error.to_string())
    } else {
        error
    };
    error.hint("what was moved stays moved; go on with: aida memory reindex")
}

fn show(report: &Report, output: &Output) {
    if output.is_json() {
        output.json(report);
    } else if report.status == "planned" {
        output.data(format!(
            "{} passages, at most {} tokens, {}",
            report.rows, report.most_tokens, report.most_usd
        ));
    } else {
        output.data(format!(
            "{} passages moved to {} for {}; {} wait",
            report.moved, report.embedder, report.settled_usd, report.waiting_rows
        ));
    }
}
