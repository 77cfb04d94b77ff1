//! What `create-video` and `resume` share: from a claimed run to its report.

use std::path::PathBuf;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::cli::progress;
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ids::{ProjectId, RunId, ShotId};
use crate::ledger::TillError;
use crate::ledger::money::Usd;
use crate::providers::LanguageModel;
use crate::providers::{FailureClass, Provider};
use crate::studio::StudioError;
use crate::studio::agents::AgentError;
use crate::studio::claim::Claim;
use crate::studio::events::Event;
use crate::studio::plan::Plan;
use crate::studio::producer::{Finished, Media, Producer, storyboard_of};
use crate::studio::run::RunState;
use crate::studio::shooting::Shooting;
use crate::studio::storyboard::Shot;

/// What a run came to: the final object of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct VideoReport {
    /// The video.
    pub project_id: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// `done`, `partial` or `planned`.
    pub status: &'static str,
    /// Where the film lies.
    pub video: Option<PathBuf>,
    /// Its length in seconds; of a plan, the storyboard's.
    #[serde(with = "rust_decimal::serde::float")]
    pub duration_seconds: Decimal,
    /// Shots in it; of a plan, shots planned.
    pub shots: usize,
    /// What it cost.
    pub cost: Cost,
    /// The shots that are missing, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_shots: Vec<FailedShot>,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// What the plan said and the language work has cost, USD.
    pub estimated_usd: Usd,
    /// What is settled, USD.
    pub settled_usd: Usd,
    /// Ceilings of calls whose outcome is unknown, USD.
    pub unknown_usd: Usd,
}

/// A shot that is missing in the film.
#[derive(Debug, Clone, Serialize)]
pub struct FailedShot {
    /// Its number, from 1.
    pub shot: u32,
    /// Why.
    pub reason: String,
}

/// How far a run is to go, and what the user has said to its price.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    /// `--yes`: whatever the plan costs is accepted, as long as nothing below says otherwise.
    pub yes: bool,
    /// `--yes` answers only for a plan under what was accepted with the quote.
    pub yes_is_for_the_quote: bool,
    /// Stop when the storyboard is priced.
    pub plan_only: bool,
    /// The lengths in seconds that the video model sells, rising.
    pub clip_lengths: &'a [u32],
}

/// Drives a claimed run from where it stands to its end, and gives the lease back.
pub async fn drive(
    context: &Context,
    producer: &Producer,
    mut claim: Claim,
    language: Option<&dyn LanguageModel>,
    media: Option<&Media>,
    bars: progress::Bars,
    orders: Orders<'_>,
) -> Result<VideoReport, Error> {
    let run = claim.run.id;
    let result = stages(context, producer, &mut claim, language, media, &bars, orders).await;
    bars.finish().await;
    let stopped = match &result {
        Err(Stop::Studio(error)) => Some(error),
        _ => None,
    };
    let released = producer.release(claim, stopped).await;
    match result {
        Ok(report) => {
            released.map_err(Error::from)?;
            Ok(report)
        }
        Err(Stop::Studio(error)) => Err(explain(error, run)),
        Err(Stop::Said(error)) => Err(*error),
    }
}

/// Why a run stops: trouble in the studio, or something that is already said as the user reads it.
enum Stop {
    Studio(StudioError),
    Said(Box<Error>),
}

impl<E: Into<StudioError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Studio(error.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Said(Box::new(error))
    }
}

async fn stages(
    context: &Context,
    producer: &Producer,
    claim: &mut Claim,
    language: Option<&dyn LanguageModel>,
    media: Option<&Media>,
    bars: &progress::Bars,
    orders: Orders<'_>,
) -> Result<VideoReport, Stop> {
    if claim.state() == RunState::Writing {
        match language {
            Some(language) => producer.write(claim, language, orders.clip_lengths).await?,
            None => producer.write_outline(claim, orders.clip_lengths).await?,
        }
    }
    if claim.run.kind == "preview" {
        return preview(producer, claim).await;
    }
    let media = media.ok_or_else(|| Error::new(Kind::Internal, "a film needs media"))?;
    let shots = producer.shots(claim).await?;
    let plan = producer.plan(claim, media, &shots).await?;
    claim.tell(Event::Planned { plan_usd: plan.total() });
    if orders.plan_only {
        return Ok(planned(producer, claim, &shots, &plan).await?);
    }
    approve(context, producer, claim, &shots, &plan, bars, orders).await?;
    producer.enter(claim, RunState::Shooting).await?;
    let shooting = producer.shoot(claim, media, &shots).await;
    let shooting = judge(shooting)?;
    producer.enter(claim, RunState::Cutting).await?;
    let finished = producer.cut(claim, media, &shooting.clips).await?;
    producer.remember(claim).await;
    let state = if shooting.failed.is_empty() { RunState::Done } else { RunState::Partial };
    producer.enter(claim, state).await?;
    let failed_shots =
        shooting.failed.into_iter().map(|(shot, reason)| FailedShot { shot, reason }).collect();
    Ok(report(producer, claim, &finished, failed_shots).await?)
}

/// Decides what shooting came to: the gravest trouble stops the run, shots that failed do not.
fn judge(mut shooting: Shooting) -> Result<Shooting, StudioError> {
    if !shooting.unknown.is_empty() {
        shooting.stopped.push(StudioError::UnknownMoney { shots: shooting.unknown.clone() });
    }
    if let Some(gravest) = shooting.stopped.drain(..).max_by_key(StudioError::gravity) {
        return Err(gravest);
    }
    match (shooting.clips.is_empty(), shooting.failed.first()) {
        (true, Some((_, first))) => Err(StudioError::NothingShot { first: first.clone() }),
        _ => Ok(shooting),
    }
}

/// Draws the preview film.
async fn preview(producer: &Producer, claim: &mut Claim) -> Result<VideoReport, Stop> {
    producer.enter(claim, RunState::Cutting).await?;
    let shots = producer.shots(claim).await?;
    let finished = producer.draw(claim, &storyboard_of(&claim.project.title, &shots)).await?;
    producer.remember(claim).await;
    producer.enter(claim, RunState::Done).await?;
    Ok(report(producer, claim, &finished, Vec::new()).await?)
}

async fn planned(
    producer: &Producer,
    claim: &Claim,
    shots: &[(ShotId, Shot)],
    plan: &Plan,
) -> Result<VideoReport, StudioError> {
    let spent = producer.spent(claim.run.id).await?;
    Ok(VideoReport {
        project_id: claim.project.id,
        run_id: claim.run.id,
        status: "planned",
        video: None,
        duration_seconds: shots.iter().map(|(_, shot)| shot.duration_seconds).sum(),
        shots: shots.len(),
        cost: Cost {
            estimated_usd: plan.total() + spent.words,
            settled_usd: spent.settled,
            unknown_usd: spent.unknown,
        },
        failed_shots: Vec::new(),
    })
}

async fn report(
    producer: &Producer,
    claim: &Claim,
    finished: &Finished,
    failed_shots: Vec<FailedShot>,
) -> Result<VideoReport, StudioError> {
    let spent = producer.spent(claim.run.id).await?;
    Ok(VideoReport {
        project_id: claim.project.id,
        run_id: claim.run.id,
        status: if failed_shots.is_empty() { "done" } else { "partial" },
        video: Some(finished.video.clone()),
        duration_seconds: finished.seconds,
        shots: finished.shots,
        cost: Cost {
            estimated_usd: claim.run.plan_usd.unwrap_or(Usd::ZERO) + spent.words,
            settled_usd: spent.settled,
            unknown_usd: spent.unknown,
        },
        failed_shots,
    })
}

/// Gets a yes for the plan, or ends with what to type to give one.
async fn approve(
    context: &Context,
    producer: &Producer,
    claim: &mut Claim,
    shots: &[(ShotId, Shot)],
    plan: &Plan,
    bars: &progress::Bars,
    orders: Orders<'_>,
) -> Result<(), Stop> {
    let price = plan.total();
    let spent = producer.spent(claim.run.id).await?;
    let whole = price + spent.settled + spent.unknown;
    let accepted = claim.run.accepted_usd.unwrap_or(Usd::ZERO);
    if price.is_zero() || whole <= accepted {
        return Ok(());
    }
    if orders.yes && !orders.yes_is_for_the_quote {
        return Ok(producer.accept(claim, whole).await?);
    }
    let run = claim.run.id.short();
    if context.output.can_prompt() {
        let question = format!("Buy {} images and clips for {price}?", shots.len());
        let (title, output) = (claim.project.title.clone(), &context.output);
        let yes = bars
            .suspend(async {
                output.status(storyboard_text(&title, shots, plan));
                output.confirm(&question, &claim.cancel).await
            })
            .await?;
        if yes {
            return Ok(producer.accept(claim, whole).await?);
        }
        return Err(Error::new(Kind::NeedsYes, "nothing more was bought; the storyboard is kept")
            .hint(format!("shoot it later with: aida resume {run}"))
            .into());
    }
    let why = if orders.yes {
        format!(
            "the storyboard costs {whole} in all, more than the {accepted} that --yes was given for"
        )
    } else {
        format!("images and clips for {price} need a yes, and nobody can be asked here")
    };
    Err(Error::new(
        Kind::NeedsYes,
        format!("{why}; the storyboard is kept and no image or clip was bought"),
    )
    .hint(format!("accept the price with: aida resume {run} --yes"))
    .into())
}

/// The storyboard as people read it before they pay for it.
fn storyboard_text(title: &str, shots: &[(ShotId, Shot)], plan: &Plan) -> String {
    let mut lines = vec![title.to_owned()];
    for ((_, shot), planned) in shots.iter().zip(&plan.shots) {
        let price = planned.image_usd + planned.clip_usd;
        let picture = shorten(&shot.image_prompt, 52);
        lines.push(format!(
            "{:>3}. {:>4} s  {price:>7}  {picture}",
            shot.number, shot.duration_seconds
        ));
        if !shot.on_screen_text.is_empty() {
            lines.push(format!("{:23}“{}”", "", shorten(&shot.on_screen_text, 50)));
        }
    }
    lines.join("\n")
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Adds to an error what to type to go on with the run.
fn explain(error: StudioError, run: RunId) -> Error {
    let run = run.short();
    let go_on = match &error {
        StudioError::Team(AgentError::Till(_)) => Some(format!("aida resume {run}")),
        StudioError::Team(_) => None,
        StudioError::Till(TillError::OverBudget { .. }) => {
            Some(format!("aida resume {run} --budget USD"))
        }
        StudioError::Till(TillError::Provider(failure))
            if failure.class == FailureClass::NotOffered =>
        {
            let flag =
                if failure.provider == Provider::Kie { "--image-model" } else { "--video-model" };
            Some(format!("aida resume {run} {flag} MODEL"))
        }
        _ => Some(format!("aida resume {run}")),
    };
    let shown = Error::from(error);
    match go_on {
        Some(command) => shown.hint(format!("go on where it stopped with: {command}")),
        None => shown,
    }
}

/// Prints what a run came to. A film without some of its shots ends with exit code 6.
pub fn finish(context: &Context, report: &VideoReport) -> Result<(), Error> {
    let output = &context.output;
    let shots =
        if report.shots == 1 { "1 shot".to_owned() } else { format!("{} shots", report.shots) };
    let seconds = report.duration_seconds.normalize();
    if output.is_json() {
        output.json(report);
    } else if let Some(video) = &report.video {
        output.status(format!("{seconds} s, {shots}, {} settled", report.cost.settled_usd));
        output.data(video.to_string_lossy());
    } else {
        let price = report.cost.estimated_usd;
        output.status(format!("storyboard kept: {shots}, {seconds} s, about {price} in all"));
        output.data(report.run_id.short());
        output.hint(format!("shoot it with: aida resume {}", report.run_id.short()));
    }
    if report.failed_shots.is_empty() {
        return Ok(());
    }
    let mut error = Error::new(
        Kind::Partial,
        format!(
            "{} of the shots could not be made; the film was cut without them",
            report.failed_shots.len()
        ),
    );
    for failed in &report.failed_shots {
        error = error.hint(format!("shot {}: {}", failed.shot, failed.reason));
    }
    let go_on = format!("try these shots again with: aida resume {}", report.run_id.short());
    Err(error.hint(go_on).reported())
}
