//! `aida resume`: goes on with runs that were cut off.

use clap::{ArgGroup, Args};
use sqlx::PgConnection;

use crate::cli::progress::Bars;
use crate::cli::tables::{Column, Grid};
use crate::commands::making;
use crate::commands::{Context, create_video::dollars};
use crate::error::Error;
use crate::ids::RunId;
use crate::ledger::money::Usd;
use crate::process::{self, Liveness};
use crate::store::projects::{self, Project};
use crate::store::runs::{self, Afterwards, Run};
use crate::studio::claim::Claim;
use crate::studio::floor::Cast;
use crate::studio::making::Orders;
use crate::studio::producer::Producer;
use crate::studio::run::RunState;

/// Arguments of `aida resume`.
#[derive(Debug, Clone, Args)]
#[command(about = "Go on with runs that were cut off", 
    long_about = "Go on with runs that were cut off, by Ctrl-C, a crash, a budget or a provider.\n\n\
        Nothing that was bought is bought again. Without a run, the runs that can go on are \
        listed.",
    after_help = "\
Examples:
  aida resume                          lists what can go on
  aida resume --last                   goes on with the latest
  aida resume 23456789 --budget 8.00   with a higher cap
  aida resume --all --yes              for cron
  aida resume --last --reuse auto      with kept takes, where they fit",
    group = ArgGroup::new("which").args(["run", "last", "all"])
)]
pub struct ResumeArgs {
    /// The run, by its id or the end of it
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The latest run that can go on and that nobody makes now
    #[arg(long)]
    pub last: bool,
    /// Every run that can go on, one after another
    #[arg(long)]
    pub all: bool,
    /// Set the run's cap to this, in USD
    #[arg(long, value_name = "USD", value_parser = dollars, requires = "which")]
    pub budget: Option<Usd>,
    /// Draw what is still missing with this model instead
    #[arg(long, value_name = "MODEL", requires = "which", conflicts_with = "all")]
    pub image_model: Option<String>,
    /// Move what is still missing with this model instead
    #[arg(long, value_name = "MODEL", requires = "which", conflicts_with = "all")]
    pub video_model: Option<String>,
    /// Use kept images and clips again: auto, ask or never; decides anew what was decided before
    #[arg(long, value_name = "WHEN", requires = "which", hide_possible_values = true,
          value_parser = ["auto", "ask", "never"])]
    pub reuse: Option<String>,
    /// Agree beforehand to the plan's price
    #[arg(long, short, requires = "which")]
    pub yes: bool,
}

/// Goes on with runs, or lists them.
pub async fn run(arguments: &ResumeArgs, context: &Context) -> Result<(), Error> {
    check_models(arguments, context)?;
    let user = &context.settings.user;
    let mut session = context.store().await?.session().await?;
    let unfinished = match &arguments.run {
        Some(typed) => runs::find(&mut session, user, typed).await?,
        None => runs::unfinished(&mut session, user).await?,
    };
    let driven = driven(&mut session, user).await?;
    session.close().await;

    if let Some(typed) = &arguments.run {
        return resume(arguments, context, pick(typed, &unfinished)?.id).await;
    }
    if arguments.last {
        let latest = unfinished.iter().find(|run| !driven.contains(&run.id));
        let latest = latest.ok_or_else(|| nothing_to_resume(&unfinished))?;
        return resume(arguments, context, latest.id).await;
    }
    if arguments.all {
        return resume_all(arguments, context, &unfinished).await;
    }
    list(context, &unfinished, &driven).await
}

/// The user's runs that a process makes now: it holds the lease, and is not known to be dead.
async fn driven(connection: &mut PgConnection, user_id: &str) -> Result<Vec<RunId>, Error> {
    let mut held = runs::held(connection, user_id).await?;
    held.retain(|(_, owner)| process::liveness(owner) != Liveness::Dead);
    Ok(held.into_iter().map(|(run, _)| run).collect())
}

/// Whether the models that flags name exist, before a run is taken up.
fn check_models(arguments: &ResumeArgs, context: &Context) -> Result<(), Error> {
    if let Some(model) = &arguments.image_model {
        context.image_model_of_flag(model)?;
    }
    if let Some(model) = &arguments.video_model {
        context.video_model_of_flag(model)?;
    }
    Ok(())
}

/// A user's run that was typed: by its own id, or by its project's.
pub async fn find_run(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Run, Error> {
    let found = runs::find(connection, user_id, typed).await?;
    Ok(pick(typed, &found)?.clone())
}

/// The run that was typed: by its own id, or by its project's, the latest that can go on.
fn pick<'a>(typed: &str, found: &'a [Run]) -> Result<&'a Run, Error> {
    found.iter().find(|run| can_go_on(run)).or_else(|| found.first()).ok_or_else(|| {
        Error::usage(format!("there is no run '{typed}'"))
            .hint("`aida resume` lists the runs that can go on")
    })
}

fn can_go_on(run: &Run) -> bool {
    !matches!(run.state.as_str(), "done" | "failed")
}

fn nothing_to_resume(driven: &[Run]) -> Error {
    let error = Error::usage("there is no run that can go on");
    match driven.first() {
        Some(run) => error.hint(format!("`aida why {}` says who makes it now", run.id.short())),
        None => error,
    }
}

/// Every run, that which nobody has worked on for longest first: where a deadline ends one round, the next
/// begins with what this one did not come to. One that stops does not keep the others from going on; the
/// gravest reason is the whole's.
async fn resume_all(
    arguments: &ResumeArgs,
    context: &Context,
    unfinished: &[Run],
) -> Result<(), Error> {
    let mut gravest: Option<Error> = None;
    let mut waiting: Vec<&Run> = unfinished.iter().collect();
    waiting.sort_by_key(|run| (run.updated_at, run.id));
    for run in waiting {
        if context.cancel.is_cancelled() {
            break;
        }
        if let Err(error) = resume(arguments, context, run.id).await {
            context.output.error(&error);
            if gravest.as_ref().is_none_or(|other| other.gravity() < error.gravity()) {
                gravest = Some(error);
            }
        }
    }
    gravest.map_or(Ok(()), |error| {
        let message = "not every run could be finished";
        Err(Error::new(error.kind(), message)
            .because(error)
            .hint("`aida resume` lists what is left"))
    })
}

async fn resume(arguments: &ResumeArgs, context: &Context, run: RunId) -> Result<(), Error> {
    let producer = context.producer().await?;
    let (events, bars) = Bars::start(&context.output);
    let mut claim = producer.claim(run, events, &context.cancel, true).await?;
    match claim.state() {
        RunState::Done => {
            producer.release(claim, None, Afterwards::Leaves).await?;
            bars.finish().await;
            return Err(Error::usage(format!("run {} is finished", run.short())).hint(
                "make another film of its storyboard with: aida create-video --from PROJECT",
            ));
        }
        RunState::Failed => {
            producer.release(claim, None, Afterwards::Leaves).await?;
            bars.finish().await;
            return Err(Error::usage(format!("run {} has failed for good", run.short()))
                .hint("begin anew with: aida create-video BRIEF"));
        }
        _ => {}
    }
    if let Some(budget) = arguments.budget {
        producer.set_budget(run, budget).await?;
    }
    if context.settings.language_budget > claim.options.language_budget_usd {
        producer.set_language_budget(run, context.settings.language_budget).await?;
    }
    if let Some(policy) = arguments.reuse.as_ref().and_then(|typed| typed.parse().ok()) {
        claim.options.reuse = Some(policy);
        claim.options.reused = None;
        producer.keep_options(&claim).await?;
    }
    let mut cast = context.cast_of(&claim).await?;
    change_models(arguments, context, &producer, &mut claim, &mut cast).await?;
    let orders = Orders {
        yes: arguments.yes,
        yes_is_for_the_quote: false,
        plan_only: false,
        clip_lengths: &cast.clip_lengths,
        reuse: context.settings.reuse,
        try_again_after: None,
    };
    let report = making::drive(
        context,
        &producer,
        claim,
        cast.language.as_deref(),
        cast.media.as_ref(),
        bars,
        orders,
    )
    .await?;
    making::finish(context, &report)
}

/// Other models where flags say so, which the run remembers. What was given to the former ones is still
/// asked about there.
async fn change_models(
    arguments: &ResumeArgs,
    context: &Context,
    producer: &Producer,
    claim: &mut Claim,
    cast: &mut Cast,
) -> Result<(), Error> {
    let Some(media) = &mut cast.media else { return Ok(()) };
    let former = (media.image.clone(), media.video.clone());
    let options = &mut claim.options;
    if let Some(model) = &arguments.image_model {
        media.image = context.image_model_of_flag(model)?;
    }
    if let Some(model) = &arguments.video_model {
        media.video = context.video_model_of_flag(model)?;
        cast.clip_lengths = media.video.durations().to_vec();
    }
    if media.image.model() != options.image_model || media.video.model() != options.video_model {
        media.image.model().clone_into(&mut options.image_model);
        media.video.model().clone_into(&mut options.video_model);
        producer.keep_options(claim).await?;
    }
    media.former = Some(former);
    Ok(())
}

async fn project_of(context: &Context, run: &Run) -> Result<Project, Error> {
    let mut session = context.store().await?.session().await?;
    let project = projects::load(&mut session, run.project_id).await?;
    session.close().await;
    Ok(project)
}

/// Lists the runs that can go on, and says which are being made now.
async fn list(context: &Context, unfinished: &[Run], driven: &[RunId]) -> Result<(), Error> {
    let output = &context.output;
    let mut grid = Grid::new([
        Column::left("run"),
        Column::left("started (UTC)"),
        Column::left("stage"),
        Column::flexible("brief", 16),
        Column::flexible("stopped by", 10),
    ]);
    let mut rows = Vec::new();
    for run in unfinished {
        let project = project_of(context, run).await?;
        let being_made = driven.contains(&run.id);
        let stopped = if being_made { Some("being made now") } else { run.stopped_by.as_deref() };
        grid.row([
            run.id.short(),
            run.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            run.state.clone(),
            project.brief.clone(),
            stopped.unwrap_or("-").to_owned(),
        ]);
        rows.push(serde_json::json!({
            "run_id": run.id,
            "project_id": run.project_id,
            "kind": run.kind,
            "state": run.state,
            "being_made": being_made,
            "brief": project.brief,
            "stopped_by": run.stopped_by,
            "stop_message": run.stop_message,
            "plan_usd": run.plan_usd,
            "created_at": run.created_at,
        }));
    }
    if output.is_json() {
        output.json(&serde_json::json!({ "runs": rows }));
    } else if grid.is_empty() {
        output.status("No run is waiting to go on.");
    } else {
        output.data(grid.render(output.width()));
        output.hint("go on with one: aida resume RUN");
    }
    Ok(())
}
