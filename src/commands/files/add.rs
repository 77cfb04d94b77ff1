//! `aida files add`: read and check all, ask where it costs more than a little, keep, describe, embed.

use std::path::Path;

use serde::Serialize;

use super::{AddArgs, FileReport, counted, forget_what_nothing_needs};
use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::campaigns::find_project;
use crate::commands::{Context, Service};
use crate::error::Error;
use crate::ids::{FileId, ProjectId};
use crate::ledger::TillError;
use crate::ledger::till::{Component, Purpose};
use crate::memory::files::{
    self, Described, FileError, FileProblem, FilesCeiling, FoundFile, Gathered, ReadFile, Skipped,
    Vision,
};
use crate::memory::{Memory, MemoryError};
use crate::printable::{printable, printable_path};
use crate::store::StoreError;
use crate::store::files as rows;
use crate::studio::StudioError;

/// How one file fared.
#[derive(Debug, Serialize)]
struct Added {
    /// `added`, `unchanged`, `renamed` or `replaced`: whether its bytes, its name or the file under
    /// its path are new.
    status: &'static str,
    #[serde(flatten)]
    file: FileReport,
    /// Its name before, where that has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_name: Option<String>,
    /// The path that was given, where this file still lies where it lay and that is a copy of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<String>,
    /// The files whose place it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replaces: Vec<FileId>,
    /// Why a picture has no description, where one was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_described: Option<String>,
    /// Why passages have no vector, where they were to get one.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_embedded: Option<String>,
}

/// A file that cannot be used.
#[derive(Debug, Serialize)]
struct Refused {
    /// Where it lies.
    path: String,
    /// The reason in a word.
    code: &'static str,
    /// The reason in a sentence.
    reason: String,
    hint: &'static str,
}

impl Refused {
    /// Tells at once that a file is refused, and why.
    fn told(path: &Path, problem: &FileProblem, output: &Output) -> Self {
        let refused = Self {
            path: path_for_scripts(path),
            code: problem.word(),
            reason: problem.to_string(),
            hint: problem.hint(),
        };
        output.warning(format!("refused: {} {}", printable_path(path), refused.reason));
        refused
    }
}

/// A path as it is; one that is no text, which JSON cannot hold, with its other bytes escaped.
fn path_for_scripts(path: &Path) -> String {
    path.to_str().map_or_else(|| printable_path(path), str::to_owned)
}

/// What came of it all.
#[derive(Debug, Serialize)]
struct Report {
    files: Vec<Added>,
    refused: Vec<Refused>,
    skipped: Vec<SkippedReport>,
    /// The model that makes the vectors.
    embedder: String,
    /// The model that describes pictures; null where none does.
    vision_model: Option<String>,
}

#[derive(Debug, Serialize)]
struct SkippedReport {
    path: String,
    reason: &'static str,
}

/// Adds files.
pub(super) async fn run(arguments: &AddArgs, context: &Context) -> Result<(), Error> {
    let (output, reader) = (&context.output, context.reader());
    let Gathered { found, refused, skipped } = reader.gather(&arguments.paths).await?;
    let mut refused: Vec<Refused> =
        refused.iter().map(|(path, problem)| Refused::told(path, problem, output)).collect();
    tell_skipped(&skipped, output);
    if found.is_empty() && refused.is_empty() {
        return Err(Error::usage("there is no file to keep there").hint(
            "hidden files and links inside a folder are passed over; give them by their own paths",
        ));
    }
    let project = project(arguments, context).await?;
    let memory = context.memory().await?;
    let till = context.till().await?;
    let language = if arguments.no_describe || context.key(Service::Anthropic).is_none() {
        None
    } else {
        Some(context.language_model()?)
    };
    let vision = language.as_deref().map(|provider| Vision {
        provider,
        model: &context.settings.vision_model,
        till: &till,
    });
    agree(arguments, context, &memory, vision.as_ref(), &found).await?;

    let mut files = Vec::new();
    // One after the other: what each of them says is let go before the next one is read.
    for found in found {
        if context.cancel.is_cancelled() {
            return Err(StudioError::from(TillError::Cancelled).into());
        }
        let kept = match reader.again(found).await {
            Ok(file) => keep(context, &memory, vision.as_ref(), project, &file).await,
            Err(error) => Err(error.into()),
        };
        match kept {
            Ok(added) => files.push(added),
            // It changed since it was looked at, or went away; the others are kept all the same.
            Err(NotKept::File(FileError::Refused { path, problem })) => {
                refused.push(Refused::told(&path, &problem, output));
            }
            Err(NotKept::File(error)) => return Err(error.into()),
            Err(NotKept::Other(error)) => return Err(error),
        }
    }
    let mut session = context.store().await?.session().await?;
    forget_what_nothing_needs(&mut session, context).await?;
    session.close().await;
    let report = Report {
        files,
        refused,
        skipped: skipped
            .iter()
            .map(|Skipped { path, reason }| SkippedReport { path: path_for_scripts(path), reason })
            .collect(),
        embedder: memory.embedder().to_owned(),
        vision_model: vision.map(|vision| vision.model.to_owned()),
    };
    show(&report, arguments, output);
    finish(&report)
}

/// Why a file was not kept.
enum NotKept {
    /// It is the file.
    File(FileError),
    /// It is something else, and the others would not be kept either.
    Other(Error),
}

impl From<FileError> for NotKept {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<MemoryError> for NotKept {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::File(error) => Self::File(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

impl From<Error> for NotKept {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

async fn project(arguments: &AddArgs, context: &Context) -> Result<Option<ProjectId>, Error> {
    let Some(reference) = &arguments.project else { return Ok(None) };
    let mut session = context.store().await?.session().await?;
    let found = find_project(&mut session, &context.settings.user, reference).await;
    session.close().await;
    Ok(Some(found?.id))
}

/// Asks where what is to be described and embedded may cost more than what small commands may spend
/// without a word.
async fn agree(
    arguments: &AddArgs,
    context: &Context,
    memory: &Memory,
    vision: Option<&Vision<'_>>,
    found: &[FoundFile],
) -> Result<(), Error> {
    let FilesCeiling { most, pictures } =
        memory.files_ceiling(&context.settings.user, found, vision).await?;
    if most <= context.settings.ask_above {
        return Ok(());
    }
    let described = match (vision, pictures) {
        (Some(vision), 1..) => {
            format!(" (describing {} with {})", counted_pictures(pictures), vision.model)
        }
        _ => String::new(),
    };
    let question = format!("Keeping these files may cost up to {most}{described}. Go on?");
    context.need_yes(arguments.yes, &question).await
}

fn counted_pictures(pictures: usize) -> String {
    counted(i64::try_from(pictures).unwrap_or(i64::MAX), "picture")
}

/// Keeps one file, has it described if it is a picture, and makes its vectors.
async fn keep(
    context: &Context,
    memory: &Memory,
    vision: Option<&Vision<'_>>,
    project: Option<ProjectId>,
    file: &ReadFile,
) -> Result<Added, NotKept> {
    let (user, vault) = (&context.settings.user, context.vault());
    let mut session = context.store().await?.session().await?;
    let (embedder, now) = (memory.embedder(), context.clock.now());
    let stored = files::store(&mut session, &vault, user, project, file, embedder, now).await?;
    session.close().await;
    let purpose = Purpose {
        user_id: user.clone(),
        project,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    };
    let mut not_described = None;
    if let Some(vision) = vision.filter(|_| file.is_picture()) {
        let described =
            memory.describe_picture(&purpose, vision, &vault, stored.id, &context.cancel).await?;
        if let Described::Not(reason) = described {
            not_described = Some(reason);
        }
    }
    let remembered = memory.embed_file(&purpose, stored.id, &context.cancel).await?;
    let mut session = context.store().await?.session().await?;
    let row = rows::by_ids(&mut session, user, &[stored.id]).await?.pop();
    session.close().await;
    let row = row.ok_or_else(|| Error::internal("a file went missing"))?;
    let status = match (&stored.former_name, stored.is_new, stored.replaced.is_empty()) {
        (_, _, false) => "replaced",
        (_, true, _) => "added",
        (Some(_), ..) => "renamed",
        (None, ..) => "unchanged",
    };
    Ok(Added {
        status,
        file: FileReport {
            passages: i64::try_from(remembered.passages).ok(),
            waiting_passages: i64::try_from(remembered.waiting).ok(),
            ..FileReport::from(&row)
        },
        former_name: stored.former_name,
        copy: stored.is_copy.then(|| path_for_scripts(&file.path)),
        replaces: stored.replaced,
        not_described,
        not_embedded: remembered.trouble.map(|trouble| trouble.to_string()),
    })
}

fn tell_skipped(skipped: &[Skipped], output: &Output) {
    const SHOWN: usize = 10;
    for Skipped { path, reason } in skipped.iter().take(SHOWN) {
        output.status(format!("passed over: {} ({reason})", printable_path(path)));
    }
    if skipped.len() > SHOWN {
        output.status(format!("passed over: {} more", skipped.len() - SHOWN));
    }
}

fn show(report: &Report, arguments: &AddArgs, output: &Output) {
    let new: i64 = report
        .files
        .iter()
        .filter(|added| added.status != "unchanged")
        .filter_map(|added| added.file.passages)
        .sum();
    if new > 0 {
        output.status(format!("embedder: {}", report.embedder));
    }
    for added in &report.files {
        if let Some(reason) = &added.not_described {
            output.warning(format!("{} was not described: {reason}", added.file.name));
        }
    }
    if let Some(reason) = report.files.iter().find_map(|added| added.not_embedded.as_ref()) {
        output.warning(format!(
            "some passages have no vector yet, and only words find them: {reason}"
        ));
    }
    let undescribed = report.files.iter().filter(|added| {
        added.file.media_type.starts_with("image/") && added.file.described_by.is_none()
    });
    let undescribed = undescribed.count();
    if undescribed > 0 && report.vision_model.is_none() && !arguments.no_describe {
        output.status(format!(
            "{} found by name, size and colours; with an Anthropic key `aida files add` has them described",
            if undescribed == 1 { "1 picture is".to_owned() } else { format!("{undescribed} pictures are") }
        ));
    }
    if output.is_json() {
        output.json(report);
        return;
    }
    let mut grid = Grid::new([
        Column::left("id"),
        Column::flexible("name", 14),
        Column::left("what"),
        Column::right("passages"),
        Column::flexible("state", 10),
    ]);
    for added in &report.files {
        let mut state = vec![match (&added.former_name, &added.copy, added.status) {
            (Some(former), _, "renamed") => format!("renamed from {former}"),
            (_, Some(copy), "unchanged") => format!("the same as {}", printable(copy)),
            (.., status) => status.to_owned(),
        }];
        if !added.replaces.is_empty() {
            let ids: Vec<_> = added.replaces.iter().map(|id| id.short()).collect();
            state = vec![format!("replaces {}", ids.join(", "))];
        }
        state.extend(Some(added.file.state()).filter(|state| !state.is_empty()));
        grid.row([
            added.file.id.short(),
            printable(&added.file.name).into_owned(),
            added.file.what(),
            added.file.passages.unwrap_or_default().to_string(),
            state.join(", "),
        ]);
    }
    if !grid.is_empty() {
        output.data(grid.render(output.width()));
    }
}

/// Refused files make the command fail, whatever else was kept.
fn finish(report: &Report) -> Result<(), Error> {
    if report.refused.is_empty() {
        return Ok(());
    }
    let refused = i64::try_from(report.refused.len()).unwrap_or(i64::MAX);
    let mut message = format!("{} could not be used", counted(refused, "file"));
    if !report.files.is_empty() {
        message.push_str("; the others are kept");
    }
    let mut error = Error::usage(message);
    let mut hints: Vec<&str> = report.refused.iter().map(|file| file.hint).collect();
    hints.sort_unstable();
    hints.dedup();
    for hint in hints {
        error = error.hint(hint);
    }
    Err(error.reported())
}
