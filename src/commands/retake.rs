//! `aida retake`: buys one image or clip of a film again, and cuts the film anew.

use clap::{ArgGroup, Args};

use crate::cli::progress::Bars;
use crate::commands::campaigns::find_project;
use crate::commands::create_video::dollars;
use crate::commands::making;
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ids::ShotId;
use crate::ledger::Component;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::process::{self, Liveness};
use crate::providers::sold_duration;
use crate::store::operations::{self, Operation};
use crate::store::projects::{self, Project};
use crate::store::runs::{self, Run};
use crate::store::takes::{self, TakeOfShot};
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::making::Orders;
use crate::studio::plan::{Plan, PlannedShot};
use crate::studio::producer::{Media, Producer, storyboard_of};
use crate::studio::run::{Retake, RunOptions};
use crate::studio::storyboard::{Shot, counted_shots};

/// Arguments of `aida retake`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Buy one image or clip of a film again, for its price alone",
    long_about = "Buy one image or clip of a film again, for its price alone, and cut the film anew.\n\n\
        The price is shown before. Old takes stay, and can be used again for nothing; `aida show \
        PROJECT` lists them. The new film lies beside the old one.",
    after_help = "\
Examples:
  aida retake 23456789 --shot 3               a new clip from the same keyframe
  aida retake 23456789 --shot 3 --image       a new keyframe; look at it, then:
  aida retake 23456789 --shot 3 --clip        move it
  aida retake 23456789 --shot 3 --image --clip
  aida retake 23456789 --shot 3 --use 9abcdef0    a kept take again, for nothing",
    group = ArgGroup::new("paid").args(["image", "clip"]).multiple(true).conflicts_with("kept")
)]
pub struct RetakeArgs {
    /// The project, by its id, the end of it, or its slug
    #[arg(value_name = "PROJECT")]
    pub project: String,
    /// The shot's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub shot: u32,
    /// Draw its keyframe again
    #[arg(long)]
    pub image: bool,
    /// Make its clip again; what is done if nothing else is said
    #[arg(long)]
    pub clip: bool,
    /// Use this kept take of the shot, by its id or the end of it
    #[arg(long = "use", value_name = "TAKE", id = "kept")]
    pub kept: Option<String>,
    /// Draw with this model instead
    #[arg(long, value_name = "MODEL")]
    pub image_model: Option<String>,
    /// Move with this model instead
    #[arg(long, value_name = "MODEL")]
    pub video_model: Option<String>,
    /// Stop before passing this, in USD
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub budget: Option<Usd>,
    /// Agree beforehand to the price
    #[arg(long, short)]
    pub yes: bool,
}

/// A film and the shot of it that is taken again.
struct Scene {
    project: Project,
    /// The latest run that made the film.
    run: Run,
    shots: Vec<(ShotId, Shot)>,
    shot_id: ShotId,
    takes: Vec<TakeOfShot>,
    /// Results of the shot that are paid for and could not be fetched: a new take replaces them.
    unfetched: Vec<Operation>,
}

/// Takes a shot again.
pub async fn run(arguments: &RetakeArgs, context: &Context) -> Result<(), Error> {
    let chosen_image = arguments.image_model.as_deref();
    let chosen_image = chosen_image.map(|name| context.image_model_of_flag(name)).transpose()?;
    let chosen_video = arguments.video_model.as_deref();
    let chosen_video = chosen_video.map(|name| context.video_model_of_flag(name)).transpose()?;
    let scene = scene(arguments, context).await?;
    let mut options: RunOptions = serde_json::from_value(scene.run.options.clone())
        .map_err(|error| Error::internal("the film's run is damaged").because(error))?;
    let image = match chosen_image {
        Some(image) => image,
        None => context.image_model_named(&options.image_model)?,
    };
    let video = match chosen_video {
        Some(video) => video,
        None => context.video_model_named(&options.video_model)?,
    };
    image.model().clone_into(&mut options.image_model);
    video.model().clone_into(&mut options.video_model);
    let kept = kept_take(arguments, &scene)?;
    let retake = what(arguments, &scene);
    is_heard(arguments, retake)?;
    options.retake = Some(retake);
    let producer = context.producer().await?;
    let tariff = producer.tariff(image.as_ref(), video.as_ref(), options.audio)?;
    let storyboard = storyboard_of(&scene.project.title, &scene.shots);
    let plan = Plan::new(&storyboard, tariff).map_err(StudioError::from)?;
    let planned = plan
        .shots
        .iter()
        .find(|planned| planned.number == arguments.shot)
        .ok_or_else(|| Error::internal("the shot is not in its own plan"))?;
    let price = plan.price_of(retake);
    agree(arguments, context, &options, planned, price).await?;
    let mut services = Vec::new();
    services.extend(retake.image.then_some(Service::Kie));
    services.extend(retake.clip.then_some(Service::Fal));
    context.require(&services)?;
    let lengths = video.durations().to_vec();
    let media = context.media(image, video).await?;
    let run = producer.begin_retake(&scene.project, &options, price, arguments.budget).await?;
    let (events, bars) = Bars::start(&context.output);
    let claim = producer.claim(run, events, &context.cancel, false).await?;
    for operation in &scene.unfetched {
        if retake.buys(arguments.shot, operation.kind) {
            producer.till.give_up(operation).await.map_err(StudioError::from)?;
        }
    }
    if let Some(kept) = kept {
        use_again(kept, context, &producer, &claim, &media, &scene).await?;
    }
    let orders = Orders {
        yes: true,
        yes_is_for_the_quote: false,
        plan_only: false,
        clip_lengths: &lengths,
        reuse: context.settings.reuse,
        try_again_after: None,
    };
    let report = making::drive(context, &producer, claim, None, Some(&media), bars, orders).await?;
    if retake.image && !retake.clip {
        let project = scene.project.id.short();
        context.output.hint(format!(
            "the film still shows the old clip; move the new keyframe with: aida retake {project} --shot {} --clip",
            arguments.shot
        ));
    }
    making::finish(context, &report)
}

/// The film, its shot, and whether the shot can be taken again now.
async fn scene(arguments: &RetakeArgs, context: &Context) -> Result<Scene, Error> {
    let mut session = context.store().await?.session().await?;
    let project = find_project(&mut session, &context.settings.user, &arguments.project).await?;
    let found = runs::of_project(&mut session, project.id).await?;
    let shots = projects::shots(&mut session, project.id).await?;
    let takes = takes::of_project(&mut session, project.id).await?;
    let id = project.id.short();
    let run = found.into_iter().find(|run| run.kind == "film").ok_or_else(|| {
        Error::usage(format!("project {id} has no film yet"))
            .hint(format!("shoot it with: aida create-video --from {id}"))
    })?;
    let shot = shots.iter().find(|(_, shot)| shot.number == arguments.shot);
    let (shot_id, _) = shot.ok_or_else(|| {
        Error::usage(format!(
            "project {id} has {}, and no shot {}",
            counted_shots(shots.len()),
            arguments.shot
        ))
    })?;
    let shot_id = *shot_id;
    let mut unfetched = Vec::new();
    for kind in [OperationKind::Image, OperationKind::Clip] {
        let latest = operations::latest_for_shot(&mut session, shot_id, kind, None).await?;
        match latest {
            Some(latest) if latest.state == OperationState::Unknown => {
                let (kind, shot) = (kind.as_str(), arguments.shot);
                return Err(Error::new(
                    Kind::MoneyUnknown,
                    format!("nobody knows yet what became of the {kind} of shot {shot}"),
                )
                .hint(format!("find out first with: aida recover {}", run.id.short())));
            }
            Some(latest) if latest.state == OperationState::Ready => unfetched.push(latest),
            _ => {}
        }
    }
    // What another process is fetching just now is not given up.
    let is_driven = run.owner.as_deref().is_some_and(|owner| {
        process::liveness(owner) == Liveness::Alive
            || run.owner_until.is_some_and(|until| until > context.clock.now())
    });
    if is_driven {
        return Err(Error::from(StudioError::Busy { run: run.id }));
    }
    if !matches!(run.state.as_str(), "done" | "partial") && unfetched.is_empty() {
        return Err(Error::usage(format!("the film of project {id} is not finished"))
            .hint(format!("finish it first with: aida resume {}", run.id.short())));
    }
    session.close().await;
    Ok(Scene { project, run, shots, shot_id, takes, unfetched })
}

/// What is bought: the clip unless something else is said, and the keyframe with it where there is
/// none to move.
fn what(arguments: &RetakeArgs, scene: &Scene) -> Retake {
    let shot = arguments.shot;
    if arguments.kept.is_some() {
        return Retake { shot, image: false, clip: false };
    }
    let has_keyframe = scene.takes.iter().any(|found| {
        u32::try_from(found.shot) == Ok(shot)
            && found.kind == OperationKind::Image
            && found.take.chosen
    });
    let clip = arguments.clip || !arguments.image;
    Retake { shot, image: arguments.image || (clip && !has_keyframe), clip }
}

/// Whether each model that is named makes something of what is bought.
fn is_heard(arguments: &RetakeArgs, retake: Retake) -> Result<(), Error> {
    let unheard = |flag: &str, nothing: &str, more: &str| {
        let error = Error::usage(format!("{flag} does nothing here: {nothing}"));
        if arguments.kept.is_some() {
            return error.hint("leave it out: a kept take is what it is");
        }
        error.hint(format!("leave it out, or add {more}"))
    };
    if arguments.image_model.is_some() && !retake.image {
        return Err(unheard("--image-model", "no keyframe is drawn", "--image"));
    }
    if arguments.video_model.is_some() && !retake.clip {
        return Err(unheard("--video-model", "no clip is made", "--clip"));
    }
    Ok(())
}

/// Shows the price, and asks where it passes what small commands may spend without a word.
async fn agree(
    arguments: &RetakeArgs,
    context: &Context,
    options: &RunOptions,
    planned: &PlannedShot,
    price: Usd,
) -> Result<(), Error> {
    let Some(retake) = options.retake.filter(|_| !price.is_zero()) else { return Ok(()) };
    let mut parts = Vec::new();
    if retake.image {
        parts.push(format!("a new keyframe ({}) for {}", options.image_model, planned.image_usd));
    }
    if retake.clip {
        parts.push(format!(
            "a new clip of {} s ({}) for {}",
            planned.clip_seconds, options.video_model, planned.clip_usd
        ));
    }
    context.output.status(format!("shot {}: {}", retake.shot, parts.join(", ")));
    if let Some(budget) = arguments.budget.filter(|budget| price > *budget) {
        return Err(Error::new(
            Kind::Budget,
            format!("that costs {price}, more than --budget {budget}; nothing was spent"),
        ));
    }
    if price <= context.settings.ask_above {
        return Ok(());
    }
    context.need_yes(arguments.yes, &format!("Buy it for {price}?")).await
}

/// The take of the shot that `--use` names.
fn kept_take<'a>(
    arguments: &RetakeArgs,
    scene: &'a Scene,
) -> Result<Option<&'a TakeOfShot>, Error> {
    let Some(typed) = &arguments.kept else { return Ok(None) };
    let of_shot: Vec<_> = scene
        .takes
        .iter()
        .filter(|found| u32::try_from(found.shot) == Ok(arguments.shot))
        .collect();
    let wanted = of_shot
        .iter()
        .find(|found| found.take.id.to_string() == *typed || found.take.id.short() == *typed);
    wanted.map(|found| Some(*found)).ok_or_else(|| {
        let known: Vec<_> = of_shot
            .iter()
            .map(|found| format!("{} ({})", found.take.id.short(), found.kind.as_str()))
            .collect();
        Error::usage(format!("shot {} has no take '{typed}'", arguments.shot))
            .hint(format!("it has: {}", known.join(", ")))
    })
}

/// Has the film use a kept take again, and books what buying it anew would have cost.
async fn use_again(
    wanted: &TakeOfShot,
    context: &Context,
    producer: &Producer,
    claim: &Claim,
    media: &Media,
    scene: &Scene,
) -> Result<(), Error> {
    if wanted.take.chosen {
        context.output.status("the film uses this take already");
        return Ok(());
    }
    let mut session = context.store().await?.session().await?;
    takes::choose(&mut session, wanted.take.id).await?;
    session.close().await;
    let shot = scene.shots.iter().find(|(id, _)| *id == scene.shot_id);
    let wanted_seconds = shot.map(|(_, shot)| shot.duration_seconds).unwrap_or_default();
    let (component, seller, quantity) = match wanted.kind {
        OperationKind::Image => (
            Component::Image,
            (media.image.provider(), media.image.model(), media.image.endpoint()),
            Quantity::Images(1),
        ),
        _ => (
            Component::Video,
            (media.video.provider(), media.video.model(), media.video.endpoint()),
            Quantity::VideoSeconds {
                seconds: sold_duration(media.video.durations(), wanted_seconds).unwrap_or_default(),
                audio: claim.options.audio,
            },
        ),
    };
    let saved =
        producer.till.reuse(&claim.purpose(component), wanted.kind, seller, quantity).await?;
    context.output.status(format!("used again instead of bought: {saved} saved"));
    Ok(())
}
