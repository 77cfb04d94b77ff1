//! `aida files`: the user's own documents and pictures, kept for search, for the team and as
//! references.

mod add;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::commands::campaigns::find_project;
use crate::error::Error;
use crate::ids::{FileId, ProjectId};
use crate::memory::files as memory;
use crate::printable::{printable, printable_lines};
use crate::store::files::{self, Facts, ListedFile, NeededFile, UserFile};

/// How much of a document's text is shown to people, in characters.
const LONGEST_EXTRACT: usize = 800;

/// Arguments of `aida files`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Keep your own documents and pictures for the films to come",
    long_about = "Keep your own documents and pictures for the films to come.\n\n\
        What is kept is found by `aida search`, told to the team where it fits a brief, and pictures \
        can be shown to the image model. Text, Markdown, CSV, JSON, PDF, DOCX, SRT and VTT are \
        read, and PNG, JPEG and WebP pictures. What a file is, its bytes decide.",
    after_help = "\
Examples:
  aida files add brand/ price-list.csv
  aida files add logo.png --no-describe
  aida files list
  aida files show 23456789
  aida files remove 23456789
  aida create-video \"spring launch\" --reference logo.png"
)]
pub struct FilesArgs {
    /// What to do; lists the files if not said
    #[command(subcommand)]
    pub command: Option<FilesCommand>,
}

/// What can be done with files. Files are named by id, the end of one, or name.
#[derive(Debug, Clone, Subcommand)]
pub enum FilesCommand {
    /// Read files and keep them
    #[command(
        about = "Read files, and whole folders, and keep them",
        long_about = "Read files, and whole folders, and keep them.\n\n\
            Everything is read and checked before anything is kept. What can be used is kept; what \
            cannot is named with its reason, and the exit code is then 2. Hidden files are passed \
            over, and no link inside a folder is followed. The same bytes are kept once and paid \
            for once, whatever they are called. A file that has changed takes the place of the \
            one that lay under its path: search finds the new one only, and runs that use the old \
            one go on with it.\n\n\
            With an Anthropic key pictures are described by Claude (vision_model), once each; \
            without one they are found by their name, size and colours."
    )]
    Add(AddArgs),
    /// List the files, the latest first
    List {
        /// Only those given for this project
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// Those that were replaced, too
        #[arg(long)]
        all: bool,
    },
    /// Show a file: what is known of it, and its words
    Show {
        /// The file
        file: String,
    },
    /// Forget files and what they replaced; the originals are not touched
    Remove {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
        /// Even if a run that may go on needs them, or a campaign has them as its logo
        #[arg(long)]
        force: bool,
    },
}

/// Arguments of `aida files add`.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Keep them for this project, and book what they cost with it
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Have no picture described
    #[arg(long)]
    pub no_describe: bool,
    /// Agree beforehand to what describing and embedding may cost
    #[arg(long, short)]
    pub yes: bool,
}

/// Works on files.
pub async fn run(arguments: &FilesArgs, context: &Context) -> Result<(), Error> {
    let nothing_said = FilesCommand::List { project: None, all: false };
    let command = arguments.command.as_ref().unwrap_or(&nothing_said);
    if let FilesCommand::Add(arguments) = command {
        return add::run(arguments, context).await;
    }
    let mut session = context.store().await?.session().await?;
    let result = work(command, context, &mut session).await;
    session.close().await;
    result
}

async fn work(
    command: &FilesCommand,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let (user, output) = (&context.settings.user, &context.output);
    match command {
        FilesCommand::Add(_) => {}
        FilesCommand::List { project, all } => {
            let project = match project {
                Some(reference) => Some(find_project(connection, user, reference).await?.id),
                None => None,
            };
            let found = files::list(connection, user, project, *all).await?;
            show_list(&found.iter().map(FileReport::from).collect::<Vec<_>>(), *all, output);
        }
        FilesCommand::Show { file } => {
            let file = find_file(connection, user, file).await?;
            show_file(&file, output);
        }
        FilesCommand::Remove { files, force } => {
            remove(files, *force, context, connection).await?;
        }
    }
    Ok(())
}

/// The user's file that is meant: by id, short id, or name where only one has it.
pub async fn find_file(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<UserFile, Error> {
    let mut found = files::find(connection, user_id, reference.trim()).await?;
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => Ok(file),
        (Some(last), false) => {
            found.push(last);
            let ids: Vec<_> = found
                .iter()
                .map(|file| format!("{} ({})", file.id.short(), printable(&file.path)))
                .collect();
            Err(Error::usage(format!("'{reference}' may mean several files"))
                .hint(format!("name one by its id: {}", ids.join(", "))))
        }
        (None, _) => Err(Error::usage(format!("there is no file '{reference}'"))
            .hint("`aida files list` lists the files with their ids")),
    }
}

async fn remove(
    references: &[String],
    force: bool,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let user = &context.settings.user;
    let mut doomed: Vec<UserFile> = Vec::new();
    for reference in references {
        let file = find_file(connection, user, reference).await?;
        if doomed.iter().all(|known| known.id != file.id) {
            doomed.push(file);
        }
    }
    let ids: Vec<FileId> = doomed.iter().map(|file| file.id).collect();
    if !force && let Some(needed) = files::needed(connection, &ids).await?.first() {
        return Err(still_needed(needed));
    }
    let removal = files::remove(connection, &ids, force).await?;
    memory::forget_copies(connection, &context.vault(), &removal.unused).await?;
    forget_what_nothing_needs(connection, context).await?;
    let (output, kept) = (&context.output, &removal.kept);
    let removed = doomed.iter().filter(|file| kept.iter().all(|kept| kept.id != file.id));
    if output.is_json() {
        let removed: Vec<_> =
            removed.map(|file| serde_json::json!({ "id": file.id, "name": file.name })).collect();
        let kept: Vec<_> = kept
            .iter()
            .map(|file| {
                serde_json::json!({
                    "id": file.id, "name": file.name, "run_id": file.run, "campaign": file.campaign,
                })
            })
            .collect();
        output.json(&serde_json::json!({ "removed": removed, "kept": kept }));
        return Ok(());
    }
    for file in removed {
        output.status(format!("removed {} ({})", file.name, file.id.short()));
    }
    for file in kept {
        output.status(format!(
            "an earlier {} ({}) stays until nothing needs it: {}",
            file.name,
            file.id.short(),
            need(file)
        ));
    }
    Ok(())
}

/// Why a file is needed, such as "the run 23456789 may go on with it".
fn need(file: &NeededFile) -> String {
    match (&file.run, &file.campaign) {
        (Some(run), _) => format!("the run {} may go on with it", run.short()),
        (None, Some(campaign)) => format!("it is the logo of the campaign '{campaign}'"),
        (None, None) => "something needs it".to_owned(),
    }
}

fn still_needed(file: &NeededFile) -> Error {
    let error = Error::usage(match (&file.run, &file.campaign) {
        (None, Some(campaign)) => format!(
            "{} is still the logo of the campaign '{campaign}'; nothing was removed",
            file.name
        ),
        _ => format!("{} is still needed: {}; nothing was removed", file.name, need(file)),
    });
    let error = match (&file.run, &file.campaign) {
        (Some(run), _) => {
            error.hint(format!("finish the run first with: aida resume {}", run.short()))
        }
        (None, Some(campaign)) => error.hint(format!(
            "give it another one with: aida campaigns style \"{campaign}\" --logo FILE"
        )),
        (None, None) => error,
    };
    error.hint("or remove it all the same with --force")
}

/// Forgets the user's files that were removed while something needed them, and that nothing needs
/// any more.
async fn forget_what_nothing_needs(
    connection: &mut PgConnection,
    context: &Context,
) -> Result<(), Error> {
    let removed = files::removed(connection, &context.settings.user).await?;
    if !removed.is_empty() {
        let removal = files::remove(connection, &removed, false).await?;
        memory::forget_copies(connection, &context.vault(), &removal.unused).await?;
    }
    Ok(())
}

/// A file as scripts see it.
#[derive(Debug, Serialize)]
struct FileReport {
    id: FileId,
    name: String,
    path: String,
    media_type: String,
    bytes: i64,
    sha256: String,
    project_id: Option<ProjectId>,
    facts: Facts,
    /// What a model saw in a picture; null where none has described it, and for documents.
    description: Option<String>,
    described_by: Option<String>,
    replaced_by: Option<FileId>,
    /// Whether it was removed, and stays only until nothing needs it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    /// Pieces that a search finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    passages: Option<i64>,
    /// Those of them that have no vector yet: words find them.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_passages: Option<i64>,
    created_at: Timestamp,
}

impl From<&UserFile> for FileReport {
    fn from(file: &UserFile) -> Self {
        Self {
            id: file.id,
            name: file.name.clone(),
            path: file.path.clone(),
            media_type: file.media_type.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            project_id: file.project_id,
            facts: file.facts.clone(),
            description: file.described_by.is_some().then(|| file.description.clone()),
            described_by: file.described_by.clone(),
            replaced_by: file.replaced_by.filter(|_| !file.is_removed()),
            removed: file.is_removed(),
            passages: None,
            waiting_passages: None,
            created_at: file.created_at,
        }
    }
}

impl From<&ListedFile> for FileReport {
    fn from(listed: &ListedFile) -> Self {
        Self {
            passages: Some(listed.passages),
            waiting_passages: Some(listed.waiting),
            ..Self::from(&listed.file)
        }
    }
}

impl FileReport {
    /// Its kind and its measure, in a few words.
    fn what(&self) -> String {
        let facts = &self.facts;
        let kind = match self.media_type.as_str() {
            "application/pdf" => "PDF",
            "text/markdown" => "Markdown",
            "text/csv" | "text/tab-separated-values" => "table",
            "application/json" | "application/jsonl" => "JSON",
            "application/x-subrip" | "text/vtt" => "subtitles",
            "text/plain" => "text",
            "image/png" => "PNG",
            "image/jpeg" => "JPEG",
            "image/webp" => "WebP",
            _ => "DOCX",
        };
        let measure = match (facts.pages, facts.rows, facts.width.zip(facts.height)) {
            (Some(pages), ..) => format!(", {}", counted(i64::from(pages), "page")),
            (_, Some(rows), _) => format!(", {}", counted(i64::from(rows), "row")),
            (.., Some((width, height))) => format!(", {width} × {height}"),
            _ => String::new(),
        };
        format!("{kind}{measure}")
    }

    /// What is to be known of it beside that.
    fn state(&self) -> String {
        let mut parts = Vec::new();
        if self.removed {
            parts.push("removed, still needed".to_owned());
        } else if self.replaced_by.is_some() {
            parts.push("replaced".to_owned());
        }
        if self.media_type.starts_with("image/") {
            let described = if self.described_by.is_some() { "described" } else { "not described" };
            parts.push(described.to_owned());
        }
        if let Some(waiting) = self.waiting_passages.filter(|waiting| *waiting > 0) {
            parts.push(format!("{waiting} without a vector"));
        }
        parts.join(", ")
    }
}

/// A number and its noun.
fn counted(number: i64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn show_list(found: &[FileReport], all: bool, output: &Output) {
    if output.is_json() {
        output.json(&serde_json::json!({ "files": found }));
        return;
    }
    if found.is_empty() {
        output.status(if all { "there are no files" } else { "no files are kept" });
        output.hint("aida files add PATH…");
        return;
    }
    let mut grid = Grid::new([
        Column::left("id"),
        Column::flexible("name", 14),
        Column::left("what"),
        Column::right("passages"),
        Column::flexible("state", 8),
    ]);
    for file in found {
        grid.row([
            file.id.short(),
            printable(&file.name).into_owned(),
            file.what(),
            file.passages.unwrap_or_default().to_string(),
            file.state(),
        ]);
    }
    output.data(grid.render(output.width()));
}

fn show_file(file: &UserFile, output: &Output) {
    let report = FileReport::from(file);
    if output.is_json() {
        let mut object = serde_json::to_value(&report).unwrap_or_default();
        object["content"] = file.content.clone().into();
        output.json(&object);
        return;
    }
    let mut lines = vec![
        format!("{} ({})", printable(&file.name), file.id.short()),
        format!("{}, {} bytes", report.what(), file.bytes),
        format!("from {}", printable(&file.path)),
        format!("kept {} UTC, SHA-256 {}", file.created_at.strftime("%Y-%m-%d %H:%M"), file.sha256),
    ];
    if let Some(encoding) = &file.facts.encoding {
        lines.push(format!("written in {encoding}"));
    }
    if let Some(pages) = file.facts.unreadable_pages {
        lines.push(format!("{} could not be read", counted(i64::from(pages), "page")));
    }
    if report.removed {
        lines.push("removed; it stays until nothing needs it".to_owned());
    }
    if let Some(newer) = report.replaced_by {
        lines.push(format!("replaced by {}", newer.short()));
    }
    if let Some(model) = &file.described_by {
        lines.push(format!("described by {model}"));
    } else if file.is_picture() {
        lines.push("not described".to_owned());
    }
    lines.push(String::new());
    let text = file.text();
    let extract: String = text.chars().take(LONGEST_EXTRACT).collect();
    let (shown, is_cut) = (printable_lines(&extract), extract.len() < text.len());
    lines.push(if is_cut { format!("{}…", shown.trim_end()) } else { shown.into_owned() });
    output.data(lines.join("\n"));
}
