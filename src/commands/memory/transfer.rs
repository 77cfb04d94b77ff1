//! `aida memory export` and `aida memory import`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::moves;
use crate::cli::output::Output;
use crate::commands::{Context, campaigns};
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;
use crate::memory::reindex::Survey;
use crate::memory::transfer::{Checked, Defaults, ExportScope, Import, ImportError};
use crate::memory::{Memory, MemoryError};
use crate::store::embeddings::moving::MovedScope;
use crate::store::past::PastScope;
use crate::studio::film::{slug, temporary_beside};

/// Arguments of `aida memory export`.
#[derive(Debug, Clone, Args)]
#[command(
    long_about = "Write projects as JSONL: one project a line, the oldest first, with its brief, script, \
        shots, campaigns and feedback. What was made here (films, takes, charges) stays behind. \
        docs/projects.md describes the format. The same projects are the same bytes.",
    after_help = "\
Examples:
  aida memory export > projects.jsonl
  aida memory export projects.jsonl --vectors
  aida memory export --campaign \"Spring launch\" spring.jsonl"
)]
pub struct ExportArgs {
    /// Where to; - or nothing for standard output
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Take the vectors along, so that nothing need be paid for elsewhere
    #[arg(long)]
    pub vectors: bool,
    /// Only the projects of this campaign, by name or id
    #[arg(long, value_name = "CAMPAIGN", conflicts_with = "all_users")]
    pub campaign: Option<String>,
    /// Of every user
    #[arg(long)]
    pub all_users: bool,
    /// Replace the file if there is one
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `aida memory import`.
#[derive(Debug, Clone, Args)]
#[command(
    long_about = "Take projects in from JSONL: one project a line, as docs/projects.md describes it and \
        `aida memory export` writes it.\n\n\
        Every line is checked first, and every problem named by its line; then nothing is stored. \
        Dates and ratings are kept. A line without an id always becomes the same project, so that \
        importing twice adds nothing. Texts without a vector are embedded at the end, priced first; \
        until then they are found by their words.",
    after_help = "\
Examples:
  aida memory import projects.jsonl --dry-run
  aida memory import projects.jsonl --yes
  aida memory import - --user-map bob=ada --user-map '*=team' < projects.jsonl"
)]
pub struct ImportArgs {
    /// Where from; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Give the projects of FROM to TO (can be repeated; FROM may be *)
    #[arg(long = "user-map", value_name = "FROM=TO", value_parser = user_map)]
    pub user_map: Vec<(String, String)>,
    /// Change projects that are there and differ, if nothing was made of them here
    #[arg(long)]
    pub update: bool,
    /// Check, and tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Agree beforehand to what the embedding may cost
    #[arg(long, short)]
    pub yes: bool,
}

fn user_map(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.trim().is_empty() && !to.trim().is_empty() => {
            Ok((from.trim().to_owned(), to.trim().to_owned()))
        }
        _ => Err("it is written FROM=TO, such as bob=ada".to_owned()),
    }
}

/// Standard output as a place to write to.
struct StandardOutput<'a>(&'a Output);

impl Write for StandardOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes projects.
pub(super) async fn export(arguments: &ExportArgs, context: &Context) -> Result<(), Error> {
    let user = &context.settings.user;
    let campaign = match &arguments.campaign {
        Some(reference) => {
            let mut session = context.store().await?.session().await?;
            let campaign = campaigns::find_campaign(&mut session, user, reference).await?;
            session.close().await;
            Some(campaign.id)
        }
        None => None,
    };
    let user_id = (!arguments.all_users).then(|| user.clone());
    let projects = PastScope { user_id, campaign };
    let scope = ExportScope { projects, with_vectors: arguments.vectors };
    let memory = context.memory().await?;
    let output = &context.output;
    let file = arguments.file.as_deref().filter(|file| *file != Path::new("-"));
    let Some(file) = file else {
        let mut writer = BufWriter::with_capacity(256 * 1024, StandardOutput(output));
        let exported = memory.export(&scope, &mut writer).await?;
        writer.flush().map_err(MemoryError::Output)?;
        output.status(format!("{} projects, {} vectors", exported.projects, exported.vectors));
        return Ok(());
    };
    if file.exists() && !arguments.force {
        return Err(Error::usage(format!("{} exists already", file.display()))
            .hint("choose another name, or replace it with --force"));
    }
    let begun = Begun(temporary_beside(file));
    let beside = &begun.0;
    let written = async {
        let mut writer = BufWriter::new(File::create(beside).map_err(MemoryError::Output)?);
        let exported = memory.export(&scope, &mut writer).await?;
        writer.flush().map_err(MemoryError::Output)?;
        writer.get_ref().sync_all().map_err(MemoryError::Output)?;
        std::fs::rename(beside, file).map_err(MemoryError::Output)?;
        Ok::<_, MemoryError>(exported)
    };
    let exported = written.await?;
    drop(begun);
    if output.is_json() {
        output.json(&json!({
            "path": file, "projects": exported.projects, "vectors": exported.vectors,
        }));
    } else {
        output.status(format!("{} projects, {} vectors", exported.projects, exported.vectors));
        output.data(file.display().to_string());
    }
    Ok(())
}

/// A file that is being written, removed unless it has been given its name, also where the work is
/// left by a signal.
struct Begun(PathBuf);

impl Drop for Begun {
    fn drop(&mut self) {
        // What was begun is of no use, and may not be there.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What an import came to.
#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    projects: u64,
    new: u64,
    updated: u64,
    unchanged: u64,
    /// Vectors that were not taken, because nothing here compares with their model's.
    left_out_vectors: u64,
    embedder: String,
    /// Passages that were given a vector now.
    embedded: u64,
    settled_usd: Usd,
    /// Passages of these users that have no vector yet.
    waiting_rows: u64,
}

/// Takes projects in.
pub(super) async fn import(arguments: &ImportArgs, context: &Context) -> Result<(), Error> {
    let output = &context.output;
    let mut file = spooled(&arguments.file, context).await?;
    let memory = context.memory().await?;
    let defaults =
        Defaults { user: &context.settings.user, user_map: &arguments.user_map, slug_of: slug };
    let import = Import { defaults, update: arguments.update };
    let checked = memory.check_import(file.reader()?, import, &context.cancel).await?;
    if !checked.is_sound() {
        return Err(refuse(&checked, output));
    }
    tell_left_out(&checked, output);
    let mut report = Report {
        status: "checked",
        projects: checked.projects,
        new: checked.new,
        updated: checked.changed,
        unchanged: checked.projects - checked.new - checked.changed,
        left_out_vectors: checked.left_out.values().sum::<u64>() + checked.more_left_out,
        embedder: memory.embedder().to_owned(),
        embedded: 0,
        settled_usd: Usd::ZERO,
        waiting_rows: 0,
    };
    if arguments.dry_run {
        show(&report, output);
        return Ok(());
    }
    let imported = memory
        .import(file.reader()?, import, &checked, &context.cancel, |done| {
            if output.is_json() && !output.is_quiet() {
                output
                    .json(&json!({"event": "imported", "projects": done, "of": checked.projects}));
            }
        })
        .await
        .map_err(|error| moves_on(error, context))?;
    drop(file);
    (report.new, report.updated, report.unchanged) =
        (imported.new, imported.updated, imported.unchanged);
    embed(arguments, context, &memory, &checked, &mut report).await
}

/// Embeds what came without a vector, and tells what the import came to.
async fn embed(
    arguments: &ImportArgs,
    context: &Context,
    memory: &Memory,
    checked: &Checked,
    report: &mut Report,
) -> Result<(), Error> {
    let output = &context.output;
    let scopes: Vec<MovedScope> = checked
        .users
        .iter()
        .map(|user| MovedScope { user_id: Some(user.clone()), only_without_vector: true })
        .collect();
    let survey = surveyed(memory, &scopes).await?;
    report.waiting_rows = survey.rows;
    moves::tell(memory, survey, output);
    if let Err(refused) = moves::ask(context, memory, survey, arguments.yes).await {
        report.status = "waiting";
        show(report, output);
        return Err(refused
            .hint("the projects are stored and found by their words")
            .hint("embed them with: aida memory reindex")
            .reported());
    }
    let moved = moves::embed(memory, &scopes, survey.rows, context).await?;
    report.embedded = moved.rows;
    report.settled_usd = moved.settled_usd;
    report.waiting_rows = surveyed(memory, &scopes).await?.rows;
    report.status = if moved.trouble.is_some() { "waiting" } else { "done" };
    show(report, output);
    match moved.trouble {
        Some(trouble) => Err(moves::stopped(trouble.into(), context)
            .hint("the projects are stored and found by their words")
            .reported()),
        None => Ok(()),
    }
}

async fn surveyed(memory: &Memory, scopes: &[MovedScope]) -> Result<Survey, Error> {
    let mut whole = Survey { rows: 0, most_tokens: 0, most_usd: Usd::ZERO };
    for scope in scopes {
        let survey = memory.survey(scope).await?;
        whole.rows += survey.rows;
        whole.most_tokens += survey.most_tokens;
        whole.most_usd += survey.most_usd;
    }
    Ok(whole)
}

/// Says which vectors are not taken.
fn tell_left_out(checked: &Checked, output: &Output) {
    for (model, count) in &checked.left_out {
        output.warning(format!(
            "{count} vectors of {model} are left out: no search here uses that model; their texts get new ones"
        ));
    }
    if checked.more_left_out > 0 {
        output.warning(format!("and {} vectors of more models", checked.more_left_out));
    }
}

/// Names every problem by its line.
fn refuse(checked: &Checked, output: &Output) -> Error {
    let count = checked.problems.len() as u64 + checked.more_problems;
    for problem in &checked.problems {
        output.warning(format!("line {}: {}", problem.line, problem.problem));
    }
    if checked.more_problems > 0 {
        output.warning(format!("and {} problems more", checked.more_problems));
    }
    if output.is_json() {
        output.json(&json!({
            "status": "refused", "problems": checked.problems, "more_problems": checked.more_problems,
        }));
    }
    let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    let error = Error::usage(format!("{problems} in the file; nothing was imported"))
        .hint("docs/projects.md describes the format");
    if output.is_json() { error.reported() } else { error }
}

fn moves_on(error: ImportError, context: &Context) -> Error {
    let error = Error::from(error);
    match error.kind() {
        Kind::Interrupted if context.was_terminated() => {
            Error::new(Kind::Terminated, error.to_string())
        }
        _ => error,
    }
    .hint("what was imported stays; the same command imports the rest")
}

fn show(report: &Report, output: &Output) {
    if output.is_json() {
        output.json(report);
        return;
    }
    let verb = if report.status == "checked" { "would be " } else { "" };
    output.data(format!(
        "{} projects: {} {verb}new, {} {verb}changed, {} unchanged",
        report.projects, report.new, report.updated, report.unchanged
    ));
    if report.embedded > 0 {
        output.status(format!(
            "{} passages embedded by {} for {}",
            report.embedded, report.embedder, report.settled_usd
        ));
    }
    if report.status == "waiting" {
        output.status(format!("{} passages wait for a vector", report.waiting_rows));
    }
}

/// Opens what is imported. Standard input and pipes are waited for on a thread of their own, so that
/// signals are heard meanwhile; one that is given up stays behind there until the process ends.
async fn spooled(path: &Path, context: &Context) -> Result<Spooled, Error> {
    let (path, data_dir) = (path.to_owned(), context.settings.data_dir.clone());
    let opened = tokio::task::spawn_blocking(move || Spooled::open(&path, &data_dir));
    tokio::select! {
        opened = opened => opened.map_err(|error| {
            Error::internal("the thread that reads the file broke down").because(error)
        })?,
        () = context.cancel.cancelled() => {
            Err(Error::new(Kind::Interrupted, "stopped while the file was read; nothing was imported"))
        }
    }
}

/// A file that can be read twice: what can be read only once is kept on the disk meanwhile.
struct Spooled {
    file: File,
    /// Where it was kept, if that is still to be removed.
    kept: Option<PathBuf>,
}

impl Spooled {
    fn open(path: &Path, data_dir: &Path) -> Result<Self, Error> {
        if path != Path::new("-") {
            let file = File::open(path).map_err(|error| unreadable(path, error))?;
            // A pipe can be read once only.
            if file.metadata().is_ok_and(|facts| facts.is_file()) {
                return Ok(Self { file, kept: None });
            }
            return Self::keep(file, data_dir).map_err(|error| unreadable(path, error));
        }
        Self::keep(io::stdin().lock(), data_dir).map_err(|error| unreadable(path, error))
    }

    fn keep(mut from: impl io::Read, data_dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data_dir)?;
        let path = data_dir.join(format!("import-{}.jsonl", uuid::Uuid::now_v7().simple()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        // Where an open file can lose its name at once, nothing of it stays however the process ends.
        let kept = std::fs::remove_file(&path).err().map(|_| path);
        let mut spooled = Self { file, kept };
        io::copy(&mut from, &mut spooled.file)?;
        Ok(spooled)
    }

    fn reader(&mut self) -> Result<BufReader<&File>, Error> {
        self.file.rewind().map_err(|error| unreadable(Path::new("the file"), error))?;
        Ok(BufReader::with_capacity(256 * 1024, &self.file))
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Some(path) = &self.kept {
            // It is of no use any more; nothing is lost if it stays.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("{} cannot be read", path.display()))
        .because(error)
        .hint("check the path and the right to read it; - stands for standard input")
}
