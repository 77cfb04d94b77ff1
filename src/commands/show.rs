//! `aida show`: the projects, or one of them: script, shots, takes, files, costs.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use console::Style;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid, wrap};
use crate::commands::Context;
use crate::commands::campaigns::find_project;
use crate::error::Error;
use crate::ids::{ProjectId, RunId, TakeId};
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;
use crate::store::feedback::{self, Feedback};
use crate::store::projects::{self, ProjectLine};
use crate::store::reuse::{self, Reuse};
use crate::store::takes::{self, TakeOfShot};
use crate::store::{runs, settlements};
use crate::studio::run::RunOptions;
use crate::studio::script::Script;
use crate::studio::storyboard::{Shot, counted_shots};

/// Arguments of `aida show`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "List projects, or show one: script, shots, takes, costs",
    long_about = "List projects, or show one: script, shots, takes, files, costs.\n\n\
        A take marked with * is the one that the film uses. Any other one can be used instead, \
        for nothing, with `aida retake PROJECT --shot N --use TAKE`.",
    after_help = "\
Examples:
  aida show                     the latest projects
  aida show 23456789            one of them
  aida show food-video --json"
)]
pub struct ShowArgs {
    /// The project, by its id, the end of it, or its slug
    #[arg(value_name = "PROJECT")]
    pub project: Option<String>,
    /// The most projects that are listed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// One project in the list of `--json`.
#[derive(Debug, Serialize)]
struct Line {
    project_id: ProjectId,
    title: String,
    brief: String,
    slug: String,
    aspect: String,
    shots: i32,
    duration_seconds: Decimal,
    status: String,
    video: Option<String>,
    settled_usd: Usd,
    unknown_usd: Usd,
    /// What the user rated it, 1 to 5.
    rating: Option<i16>,
    created_at: Timestamp,
}

/// A whole project for `--json`.
#[derive(Debug, Serialize)]
struct Sheet {
    project_id: ProjectId,
    title: String,
    brief: String,
    aspect: String,
    duration_seconds: Decimal,
    created_at: Timestamp,
    script_author: Option<String>,
    script: Option<Script>,
    shots: Vec<SheetShot>,
    files: Vec<String>,
    runs: Vec<SheetRun>,
    costs: Vec<SheetCost>,
    settled_usd: Usd,
    unknown_usd: Usd,
    /// What the user rated the film, 1 to 5.
    rating: Option<i16>,
    /// What the user remarked on the film, the oldest first.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SheetShot {
    #[serde(flatten)]
    shot: Shot,
    /// What the user rated it, 1 to 5.
    rating: Option<i16>,
    /// What the user remarked on it, the oldest first.
    notes: Vec<String>,
    takes: Vec<SheetTake>,
}

#[derive(Debug, Serialize)]
struct SheetTake {
    take_id: TakeId,
    kind: OperationKind,
    /// Whether the film uses it.
    chosen: bool,
    model: String,
    /// What the job that yielded it cost, USD; null while unknown, and for the further pictures of
    /// one job, which cost nothing more.
    settled_usd: Option<Usd>,
    width: Option<i32>,
    height: Option<i32>,
    duration_seconds: Option<Decimal>,
    bytes: i64,
    sha256: String,
    path: PathBuf,
    created_at: Timestamp,
    /// The take of another project that it is the same file as; none where it was made for this one.
    reused_from: Option<SheetOrigin>,
}

#[derive(Debug, Serialize)]
struct SheetOrigin {
    take_id: TakeId,
    project_id: Option<ProjectId>,
    project: Option<String>,
    shot: Option<i32>,
    saved_usd: Usd,
    #[serde(skip)]
    words: String,
}

#[derive(Debug, Serialize)]
struct SheetRun {
    run_id: RunId,
    kind: String,
    state: String,
    stopped_by: Option<String>,
    video: Option<String>,
    created_at: Timestamp,
}

#[derive(Debug, Serialize)]
struct SheetCost {
    component: String,
    settled_usd: Usd,
    unknown_usd: Usd,
}

/// Lists, or shows one.
pub async fn run(arguments: &ShowArgs, context: &Context) -> Result<(), Error> {
    match &arguments.project {
        Some(typed) => show(typed, context).await,
        None => list(arguments.limit, context).await,
    }
}

async fn list(limit: u32, context: &Context) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let found = projects::latest(&mut session, &context.settings.user, limit.into()).await;
    session.close().await;
    let lines: Vec<Line> = found?.into_iter().map(Line::from).collect();
    let output = &context.output;
    if output.is_json() {
        output.json(&serde_json::json!({ "projects": lines }));
    } else if lines.is_empty() {
        output.status("There is no project yet.");
        output.hint("make one: aida create-video \"food video\" --preview");
    } else {
        let zone = &context.settings.time_zone;
        let mut grid = Grid::new([
            Column::left("project"),
            Column::left("made"),
            Column::flexible("title", 16),
            Column::right("shots"),
            Column::right("length"),
            Column::left("status"),
            Column::right("cost"),
            Column::right("rated"),
        ]);
        for line in &lines {
            let unknown = if line.unknown_usd.is_zero() { "" } else { " ?" };
            let title = if line.title.is_empty() { &line.brief } else { &line.title };
            grid.row([
                line.project_id.short(),
                zone.at(line.created_at).strftime("%Y-%m-%d").to_string(),
                title.clone(),
                line.shots.to_string(),
                format!("{} s", line.duration_seconds.normalize()),
                line.status.clone(),
                format!("{}{unknown}", line.settled_usd),
                line.rating.map(|rating| rating.to_string()).unwrap_or_default(),
            ]);
        }
        output.data(grid.render(output.width()));
        output.hint("show one with: aida show PROJECT");
    }
    Ok(())
}

impl From<ProjectLine> for Line {
    fn from(line: ProjectLine) -> Self {
        let ProjectLine { project, run, video_path, settled_usd, unknown_usd, rating } = line;
        let status = match run {
            None => "empty".to_owned(),
            Some((kind, state)) if kind == "preview" => match state.as_str() {
                "done" => "preview".to_owned(),
                state => format!("preview {state}"),
            },
            Some((_, state)) => match state.as_str() {
                "done" => "film".to_owned(),
                "partial" => "film in part".to_owned(),
                state => state.to_owned(),
            },
        };
        Self {
            project_id: project.id,
            title: project.title,
            brief: project.brief,
            slug: project.slug,
            aspect: project.aspect,
            shots: project.shot_count,
            duration_seconds: project.duration_seconds,
            status,
            video: video_path,
            settled_usd,
            unknown_usd,
            rating,
            created_at: project.created_at,
        }
    }
}

async fn show(typed: &str, context: &Context) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let project = find_project(&mut session, &context.settings.user, typed).await?;
    let shots = projects::shots(&mut session, project.id).await?;
    let takes = takes::of_project(&mut session, project.id).await?;
    let found = runs::of_project(&mut session, project.id).await?;
    let costs = settlements::spent_by_component(&mut session, project.id).await?;
    let reused = reuse::of_project(&mut session, project.id).await?;
    let said = feedback::of_project(&mut session, &context.settings.user, project.id).await?;
    session.close().await;
    let folder = context.settings.data_dir.join("projects");
    let files = found
        .iter()
        .filter_map(|run| serde_json::from_value::<RunOptions>(run.options.clone()).ok())
        .flat_map(|options| options.files.into_iter().map(|(_, name)| name))
        .collect();
    let sheet = Sheet {
        project_id: project.id,
        title: project.title,
        brief: project.brief,
        aspect: project.aspect,
        duration_seconds: project.duration_seconds.normalize(),
        created_at: project.created_at,
        script: project.script.and_then(|script| serde_json::from_value(script).ok()),
        script_author: project.script_author,
        shots: shots
            .into_iter()
            .map(|(_, shot)| SheetShot {
                rating: rating(&said, i32::try_from(shot.number).ok()),
                notes: notes(&said, i32::try_from(shot.number).ok()),
                takes: takes
                    .iter()
                    .filter(|found| u32::try_from(found.shot) == Ok(shot.number))
                    .map(|found| SheetTake::new(found, &folder, &reused))
                    .collect(),
                shot,
            })
            .collect(),
        files,
        rating: rating(&said, None),
        notes: notes(&said, None),
        runs: found
            .into_iter()
            .map(|run| SheetRun {
                run_id: run.id,
                kind: run.kind,
                state: run.state,
                stopped_by: run.stopped_by,
                video: run.video_path,
                created_at: run.created_at,
            })
            .collect(),
        settled_usd: costs.iter().map(|(_, settled, _)| *settled).sum(),
        unknown_usd: costs.iter().map(|(.., unknown)| *unknown).sum(),
        costs: costs
            .into_iter()
            .map(|(component, settled_usd, unknown_usd)| SheetCost {
                component,
                settled_usd,
                unknown_usd,
            })
            .collect(),
    };
    if context.output.is_json() {
        context.output.json(&sheet);
    } else {
        context.output.data(page(&sheet, context));
    }
    Ok(())
}

/// The rating of a shot, or of the whole film, that counts.
fn rating(said: &[Feedback], shot: Option<i32>) -> Option<i16> {
    let counts = said.iter().filter(|said| said.shot == shot && said.superseded_at.is_none());
    counts.filter_map(|said| said.rating).next_back()
}

/// What was remarked on a shot, or on the whole film.
fn notes(said: &[Feedback], shot: Option<i32>) -> Vec<String> {
    said.iter()
        .filter(|said| said.shot == shot && !said.note.is_empty())
        .map(|said| said.note.clone())
        .collect()
}

/// A rating and remarks as lines of a page; none where nothing was said.
fn said_lines(rating: Option<i16>, notes: &[String], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(rating.map(|rating| format!("rated {rating} of 5")));
    for note in notes {
        lines.extend(wrap(&format!("“{note}”"), width));
    }
    lines
}

impl SheetTake {
    fn new(found: &TakeOfShot, folder: &std::path::Path, reused: &[Reuse]) -> Self {
        let TakeOfShot { take, kind, model, settled_usd, created_at, .. } = found;
        Self {
            take_id: take.id,
            kind: *kind,
            chosen: take.chosen,
            model: model.clone(),
            settled_usd: settled_usd.filter(|_| take.position == 1),
            width: take.width,
            height: take.height,
            duration_seconds: take.duration_seconds,
            bytes: take.bytes,
            sha256: take.sha256.clone(),
            path: folder.join(&take.path),
            created_at: *created_at,
            reused_from: reused.iter().find(|reuse| reuse.take_id == take.id).map(|reuse| {
                SheetOrigin {
                    take_id: reuse.origin_id,
                    project_id: reuse.project_id,
                    project: reuse.project.clone(),
                    shot: reuse.origin_shot,
                    saved_usd: reuse.saved_usd,
                    words: reuse.origin(),
                }
            }),
        }
    }
}

/// A project for people.
fn page(sheet: &Sheet, context: &Context) -> String {
    let (output, zone) = (&context.output, &context.settings.time_zone);
    let width = usize::from(output.width());
    let bold = |text: &str| output.data_style(&Style::new().bold(), text);
    let mut page = String::new();
    let title = if sheet.title.is_empty() { &sheet.brief } else { &sheet.title };
    let made = zone.at(sheet.created_at).strftime("%Y-%m-%d %H:%M").to_string();
    let _ = writeln!(page, "{}", bold(title));
    let _ = writeln!(
        page,
        "project {}, made {made} ({}), {}, {} s, {}",
        sheet.project_id.short(),
        zone.name(),
        counted_shots(sheet.shots.len()),
        sheet.duration_seconds,
        sheet.aspect
    );
    for line in wrap(&format!("brief: {}", sheet.brief), width) {
        let _ = writeln!(page, "{line}");
    }
    if let (Some(script), Some(author)) = (&sheet.script, &sheet.script_author) {
        for line in wrap(&format!("script ({author}): {}", script.logline), width) {
            let _ = writeln!(page, "{line}");
        }
    }
    for line in said_lines(sheet.rating, &sheet.notes, width) {
        let _ = writeln!(page, "{line}");
    }
    for name in &sheet.files {
        let _ = writeln!(page, "file: {name}");
    }
    for shot in &sheet.shots {
        page.push('\n');
        page.push_str(&shot_text(shot, output, width));
    }
    let folder = context.settings.data_dir.join("projects").join(sheet.project_id.to_string());
    if sheet.shots.iter().any(|shot| !shot.takes.is_empty()) {
        let _ = writeln!(page, "\ntakes lie in {}", folder.display());
    }
    page.push('\n');
    for run in &sheet.runs {
        let when = zone.at(run.created_at).strftime("%Y-%m-%d %H:%M").to_string();
        let stopped =
            run.stopped_by.as_ref().map_or_else(String::new, |word| format!(", stopped by {word}"));
        let _ = writeln!(
            page,
            "run {}  {when}  {} {}{stopped}",
            run.run_id.short(),
            run.kind,
            run.state
        );
        if let Some(video) = &run.video {
            let _ = writeln!(page, "    {video}");
        }
    }
    let parts: Vec<_> = sheet
        .costs
        .iter()
        .filter(|cost| !cost.settled_usd.is_zero())
        .map(|cost| format!("{} {}", cost.component, cost.settled_usd))
        .collect();
    let _ = writeln!(page, "{}", bold(&format!("cost {}", sheet.settled_usd)));
    for line in wrap(&parts.join(" · "), width.saturating_sub(4)) {
        if !line.is_empty() {
            let _ = writeln!(page, "    {line}");
        }
    }
    if !sheet.unknown_usd.is_zero() {
        let _ = writeln!(
            page,
            "    at most {} more is of unknown outcome: aida recover",
            sheet.unknown_usd
        );
    }
    page
}

fn shot_text(shot: &SheetShot, output: &Output, width: usize) -> String {
    let mut text = String::new();
    let Shot {
        number,
        duration_seconds,
        image_prompt,
        motion_prompt,
        on_screen_text,
        narration,
        ..
    } = &shot.shot;
    let head = format!("shot {number}, {duration_seconds} s");
    let _ = writeln!(text, "{}", output.data_style(&Style::new().bold(), &head));
    for (name, words) in [
        ("image", image_prompt),
        ("motion", motion_prompt),
        ("text", on_screen_text),
        ("voice", narration),
    ] {
        if words.is_empty() {
            continue;
        }
        for (place, line) in wrap(words, width.saturating_sub(10)).into_iter().enumerate() {
            let name = if place == 0 { name } else { "" };
            let _ = writeln!(text, "  {name:<7} {line}");
        }
    }
    for line in said_lines(shot.rating, &shot.notes, width.saturating_sub(10)) {
        let _ = writeln!(text, "  {:<7} {line}", "");
    }
    for take in &shot.takes {
        let mark = if take.chosen { "*" } else { " " };
        let cost = take.settled_usd.map_or_else(String::new, |cost| cost.to_string());
        let size = match (take.width, take.height, take.duration_seconds) {
            (Some(width), Some(height), Some(seconds)) => {
                format!("{width}x{height} {} s", seconds.normalize())
            }
            (Some(width), Some(height), None) => format!("{width}x{height}"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "  {mark} {}  {:<5}  {:<20}  {size:<16}  {cost:>7}",
            take.take_id.short(),
            take.kind.as_str(),
            take.model
        );
        if let Some(origin) = &take.reused_from {
            let words = format!("reused from {}; {} saved", origin.words, origin.saved_usd);
            for line in wrap(&words, width.saturating_sub(14)) {
                let _ = writeln!(text, "{:14}{line}", "");
            }
        }
    }
    text
}
