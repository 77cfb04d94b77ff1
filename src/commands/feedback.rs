//! `aida feedback`: rates films and shots, and keeps remarks on them.

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::commands::campaigns::find_project;
use crate::error::Error;
use crate::ids::{FeedbackId, ProjectId, ShotId};
use crate::memory::taste::Learnt;
use crate::store::feedback::{self, Feedback, LONGEST_NOTE};
use crate::store::projects::{self, Project};
use crate::store::{StoreError, taste};
use crate::studio::storyboard::counted_shots;

/// Arguments of `aida feedback`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Rate a film or a shot, or remark on it",
    long_about = "Rate a film or a shot, or remark on it; without a rating or note, show what was \
        said.\n\n\
        Ratings and notes are what aida learns your taste from: `aida preferences` shows what it \
        believes, and why. Notes are read in plain words, such as \"too dark\", \"love the slow \
        pace\" or \"no more text\". A later rating of the same film or shot counts instead of the \
        earlier one; notes add up.",
    after_help = "\
Examples:
  aida feedback 23456789 --rating 4
  aida feedback --last --rating 2 --note \"too dark, and no drone shots please\"
  aida feedback 23456789 --shot 3 --rating 5
  aida feedback 23456789                       what was said so far
  aida feedback 23456789 --remove 9abcdef0     takes something back",
    group = ArgGroup::new("which").required(true).args(["project", "last"])
)]
pub struct FeedbackArgs {
    /// The project, by its id, the end of it, or its slug
    #[arg(value_name = "PROJECT")]
    pub project: Option<String>,
    /// The latest project
    #[arg(long)]
    pub last: bool,
    /// From 1 (bad) to 5 (just right)
    #[arg(long, value_name = "1-5", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub rating: Option<u8>,
    /// What is good or bad about it, in your own words
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub note: Option<String>,
    /// Only this shot, by its number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub shot: Option<u32>,
    /// Take back a rating or remark, by its id or the end of it
    #[arg(long, value_name = "ID", conflicts_with_all = ["rating", "note", "shot"])]
    pub remove: Option<String>,
}

/// Something that was said.
#[derive(Debug, Serialize)]
struct SaidLine {
    feedback_id: FeedbackId,
    shot: Option<i32>,
    rating: Option<i16>,
    note: String,
    /// Whether it counts: a later rating of the same thing does instead.
    counts: bool,
    created_at: Timestamp,
}

/// Everything that was said about a film.
#[derive(Debug, Serialize)]
struct SaidReport {
    project_id: ProjectId,
    title: String,
    feedback: Vec<SaidLine>,
}

/// Rates, remarks, takes back, or shows.
pub async fn run(arguments: &FeedbackArgs, context: &Context) -> Result<(), Error> {
    let user = &context.settings.user;
    let note = checked_note(arguments.note.as_deref())?;
    let is_said = arguments.rating.is_some() || !note.is_empty();
    if arguments.shot.is_some() && !is_said {
        return Err(Error::usage("--shot needs --rating or --note")
            .hint("as in: aida feedback PROJECT --shot 3 --rating 5"));
    }
    let mut session = context.store().await?.session().await?;
    let project = match &arguments.project {
        Some(typed) => find_project(&mut session, user, typed).await?,
        None => latest(&mut session, user).await?,
    };
    let shot = match arguments.shot {
        Some(number) => Some(shot_of(&mut session, &project, number).await?),
        None => None,
    };
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    taste::lock(&mut transaction, user).await?;
    if let Some(typed) = &arguments.remove {
        let all = feedback::of_project(&mut transaction, user, project.id).await?;
        let said = meant(&all, typed, &project)?;
        feedback::remove(&mut transaction, user, said.id).await?;
    } else if is_said {
        let now = context.clock.now();
        feedback::keep(&mut transaction, user, project.id, shot, arguments.rating, &note, now)
            .await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    let all = feedback::of_project(&mut session, user, project.id).await?;
    session.close().await;
    let learns = is_said || arguments.remove.is_some();
    let learnt =
        if learns { context.memory().await?.learn(user).await? } else { Learnt::default() };
    let report = SaidReport {
        project_id: project.id,
        title: if project.title.is_empty() { project.brief } else { project.title },
        feedback: all.into_iter().map(said_line).collect(),
    };
    if context.output.is_json() {
        context.output.json(&report);
    } else if learns {
        let done = if arguments.remove.is_some() { "removed from" } else { "kept for" };
        context.output.status(format!("{done} '{}'", report.title));
        if learnt.preferences > 0 {
            context.output.hint("see what was learnt with: aida preferences");
        }
    } else {
        show(&report, context, &context.output);
    }
    Ok(())
}

pub(crate) fn checked_note(note: Option<&str>) -> Result<String, Error> {
    let Some(note) = note else { return Ok(String::new()) };
    let note = note.trim();
    let length = note.chars().count();
    if note.is_empty() {
        return Err(Error::usage("the note is empty")
            .hint("say what is good or bad about it: --note \"too dark\""));
    }
    if length > LONGEST_NOTE {
        return Err(Error::usage(format!(
            "the note has {length} characters; at most {LONGEST_NOTE} are taken"
        )));
    }
    let is_wrong = |character: &char| character.is_control() && !matches!(character, '\n' | '\t');
    if let Some(character) = note.chars().find(is_wrong) {
        return Err(Error::usage(format!("the note holds the control character {character:?}")));
    }
    Ok(note.to_owned())
}

/// The user's latest project.
async fn latest(connection: &mut PgConnection, user_id: &str) -> Result<Project, Error> {
    let found = projects::latest(connection, user_id, 1).await?;
    found.into_iter().next().map(|line| line.project).ok_or_else(|| {
        Error::usage("there is no project yet")
            .hint("make one: aida create-video \"food video\" --preview")
    })
}

async fn shot_of(
    connection: &mut PgConnection,
    project: &Project,
    number: u32,
) -> Result<ShotId, Error> {
    let shots = projects::shots(connection, project.id).await?;
    let found = shots.iter().find(|(_, shot)| shot.number == number).map(|(id, _)| *id);
    found.ok_or_else(|| {
        let id = project.id.short();
        let has = counted_shots(shots.len());
        Error::usage(format!("project {id} has {has}, and no shot {number}"))
            .hint(format!("aida show {id}"))
    })
}

fn meant<'all>(
    all: &'all [Feedback],
    typed: &str,
    project: &Project,
) -> Result<&'all Feedback, Error> {
    let typed = typed.trim().to_lowercase();
    all.iter().find(|said| said.id.to_string() == typed || said.id.short() == typed).ok_or_else(
        || {
            let id = project.id.short();
            Error::usage(format!("nothing that was said about project {id} has the id '{typed}'"))
                .hint(format!("aida feedback {id}"))
        },
    )
}

fn said_line(said: Feedback) -> SaidLine {
    SaidLine {
        feedback_id: said.id,
        shot: said.shot,
        rating: said.rating,
        note: said.note,
        counts: said.superseded_at.is_none(),
        created_at: said.created_at,
    }
}

fn show(report: &SaidReport, context: &Context, output: &Output) {
    if report.feedback.is_empty() {
        output.status(format!("nothing was said about '{}' yet", report.title));
        let id = report.project_id.short();
        output.hint(format!("aida feedback {id} --rating 4 --note \"love the warm light\""));
        return;
    }
    let zone = &context.settings.time_zone;
    let mut grid = Grid::new([
        Column::left("id"),
        Column::left("when"),
        Column::left("of"),
        Column::left("rating"),
        Column::flexible("note", 16),
    ]);
    for said in &report.feedback {
        let of = said.shot.map_or_else(|| "film".to_owned(), |shot| format!("shot {shot}"));
        let rating = match (said.rating, said.counts) {
            (None, _) => String::new(),
            (Some(rating), true) => format!("{rating} of 5"),
            (Some(rating), false) => format!("({rating})"),
        };
        grid.row([
            said.feedback_id.short(),
            zone.at(said.created_at).strftime("%Y-%m-%d").to_string(),
            of,
            rating,
            said.note.clone(),
        ]);
    }
    output.data(grid.render(output.width()));
    if report.feedback.iter().any(|said| !said.counts) {
        output.status("in brackets: a later rating counts instead");
    }
}
