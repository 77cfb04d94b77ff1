//! A run from where it stands to its report: written, priced, agreed to, shot, cut, remembered.
//!
//! Who is asked before something is bought is a [`Consent`]: somebody at a terminal, or nobody.

mod reuse;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::reuse::Settled;
pub use self::reuse::{ReuseLine, ReusedLine, reuse_lines};
use crate::error::{Error, Kind};
use crate::ids::{ProjectId, RunId, ShotId};
use crate::ledger::money::Usd;
use crate::memory::reuse::ReusePolicy;
use crate::providers::LanguageModel;
use crate::spans;
use crate::store::runs::Afterwards;
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::events::Event;
use crate::studio::plan::Plan;
use crate::studio::producer::{Finished, Media, Producer, storyboard_of};
use crate::studio::reusing::Offer;
use crate::studio::run::{Retake, RunState};
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
    /// Of a plan: the kept takes that could be used again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reuse: Vec<ReuseLine>,
    /// The kept takes that are used again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reused: Vec<ReusedLine>,
    /// The shots that are missing, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_shots: Vec<FailedShot>,
    /// Of a plan: what stands in `reuse`, for people.
    #[serde(skip)]
    pub offered: Offered,
}

/// The kept takes that a plan could do with.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    /// The takes.
    pub offers: Vec<Offer>,
    /// Whether the plan's price is without what they stand in for.
    pub counts: bool,
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
    /// What is done with kept takes where the run itself does not say.
    pub reuse: Option<ReusePolicy>,
    /// When a run in the queue is taken up again after trouble that passes; none if it leaves the queue.
    pub try_again_after: Option<Duration>,
}

/// A storyboard and its price, about which somebody is asked.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// The film's title.
    pub title: &'a str,
    /// Its shots.
    pub shots: &'a [(ShotId, Shot)],
    /// What is to be bought.
    pub plan: &'a Plan,
}

/// Who is asked before something is bought.
#[async_trait]
pub trait Consent: Send + Sync {
    /// Whether somebody can be asked at all.
    fn can_be_asked(&self) -> bool;

    /// Whether images and clips are bought for what they cost.
    async fn buys(&self, proposal: Proposal<'_>, cancel: &CancellationToken)
    -> Result<bool, Error>;

    /// Which of the kept takes are used again.
    async fn uses_again(
        &self,
        offers: Vec<Offer>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Offer>, Error>;
}

/// Nobody can be asked: what was said beforehand decides.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

#[async_trait]
impl Consent for Nobody {
    fn can_be_asked(&self) -> bool {
        false
    }

    async fn buys(&self, _: Proposal<'_>, _: &CancellationToken) -> Result<bool, Error> {
        Ok(false)
    }

    async fn uses_again(&self, _: Vec<Offer>, _: &CancellationToken) -> Result<Vec<Offer>, Error> {
        Ok(Vec::new())
    }
}

/// Why a run stops: trouble in the studio, or something that is already said as the user reads it.
#[derive(Debug)]
pub enum Stop {
    /// Trouble.
    Studio(StudioError),
    /// Not agreed to, or not answered.
    Said(Box<Error>),
}

impl Stop {
    /// The reason in a word, as the run's row has it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Studio(error) => error.word(),
            Self::Said(error) => error.kind().as_str(),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Studio(error) => error.fmt(formatter),
            Self::Said(error) => error.fmt(formatter),
        }
    }
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

impl Producer {
    /// Drives a claimed run from where it stands to its end, and gives the lease back.
    pub async fn make(
        &self,
        mut claim: Claim,
        language: Option<&dyn LanguageModel>,
        media: Option<&Media>,
        consent: &dyn Consent,
        orders: Orders<'_>,
    ) -> Result<VideoReport, Stop> {
        let span = spans::run(claim.run.id, claim.project.id, &claim.run.kind);
        let result = stages(self, &mut claim, language, media, consent, orders)
            .instrument(span.clone())
            .await;
        if let Err(stop) = &result {
            spans::failed(&span, stop.word());
        }
        let afterwards = afterwards(result.as_ref().err(), orders.try_again_after);
        let reason = result.as_ref().err().map(|stop| {
            let message = match stop {
                Stop::Studio(error) => error.stop_message(),
                // What was not agreed to waits for a yes, and says so.
                Stop::Said(error) => error.to_string(),
            };
            (stop.word(), message)
        });
        let reason = reason.as_ref().map(|(word, message)| (*word, message.as_str()));
        let released = self.release(claim, reason, afterwards).await;
        let report = result?;
        released?;
        Ok(report)
    }
}

/// The longest pause after which money of unknown state is looked for once more.
const ONE_MORE_LOOK: Duration = Duration::from_secs(30);

/// What becomes of a run's place in the queue. One that was interrupted keeps it; one that passing trouble
/// stopped is taken up again; what waits for somebody leaves it.
fn afterwards(stop: Option<&Stop>, try_again_after: Option<Duration>) -> Afterwards {
    match stop {
        Some(Stop::Studio(error)) if error.is_an_interrupt() => Afterwards::Unchanged,
        Some(Stop::Studio(error)) if error.passes() => {
            try_again_after.map_or(Afterwards::Leaves, Afterwards::Again)
        }
        // A host that was paused may still hear what became of its call, and a provider may still list it:
        // that is looked for once more, and then somebody is asked.
        Some(Stop::Studio(StudioError::UnknownMoney { .. })) => try_again_after
            .filter(|wait| *wait <= ONE_MORE_LOOK)
            .map_or(Afterwards::Leaves, Afterwards::Again),
        _ => Afterwards::Leaves,
    }
}

async fn stages(
    producer: &Producer,
    claim: &mut Claim,
    language: Option<&dyn LanguageModel>,
    media: Option<&Media>,
    consent: &dyn Consent,
    orders: Orders<'_>,
) -> Result<VideoReport, Stop> {
    if claim.state() == RunState::Writing {
        match language {
            Some(language) => {
                let most = media.map_or(0, |media| media.image.most_references());
                producer.write(claim, language, orders.clip_lengths, most).await?;
            }
            None => producer.write_outline(claim, orders.clip_lengths).await?,
        }
    }
    if claim.run.kind == "preview" {
        return preview(producer, claim).await;
    }
    let media = media.ok_or_else(|| Error::new(Kind::Internal, "a film needs media"))?;
    let shots = producer.shots(claim).await?;
    producer.check_references(claim, media.image.as_ref(), &shots).await?;
    if let Some(retake) = claim.options.retake {
        retake_costs_what_was_agreed(producer, claim, media, &shots, retake, orders)?;
        return shoot_and_cut(producer, claim, media, &shots).await;
    }
    let plan = producer.plan(claim, media, &shots).await?;
    let settled = reuse::settle(producer, claim, media, &shots, consent, orders).await?;
    let plan = reuse::reduced(producer, claim, plan, &settled).await?;
    claim.tell(Event::Planned { plan_usd: plan.total() });
    if orders.plan_only {
        return Ok(planned(producer, claim, &shots, &plan, settled).await?);
    }
    approve(producer, claim, &shots, &plan, consent, orders).await?;
    if !producer.use_again(claim, media, &shots, &settled.offers).await? {
        // What cannot be used again after all is bought, and that was not agreed to.
        let plan = producer.plan(claim, media, &shots).await?;
        claim.tell(Event::Planned { plan_usd: plan.total() });
        approve(producer, claim, &shots, &plan, consent, orders).await?;
    }
    shoot_and_cut(producer, claim, media, &shots).await
}

/// A retake that goes on after its price has risen needs another yes.
fn retake_costs_what_was_agreed(
    producer: &Producer,
    claim: &Claim,
    media: &Media,
    shots: &[(ShotId, Shot)],
    retake: Retake,
    orders: Orders<'_>,
) -> Result<(), Stop> {
    let tariff =
        producer.tariff(media.image.as_ref(), media.video.as_ref(), claim.options.audio)?;
    let plan = Plan::new(&storyboard_of(&claim.project.title, shots), tariff)?;
    let (price, agreed) = (plan.price_of(retake), claim.run.accepted_usd.unwrap_or(Usd::ZERO));
    if orders.yes || price <= agreed {
        return Ok(());
    }
    let why = format!("the retake costs {price} by now, more than the {agreed} that was agreed to");
    Err(Error::new(Kind::NeedsYes, why)
        .hint(format!("accept the price with: aida resume {} --yes", claim.run.id.short()))
        .into())
}

/// Buys and fetches what is missing, cuts the film, and makes it findable.
async fn shoot_and_cut(
    producer: &Producer,
    claim: &mut Claim,
    media: &Media,
    shots: &[(ShotId, Shot)],
) -> Result<VideoReport, Stop> {
    producer.enter(claim, RunState::Shooting).await?;
    let shooting = producer.shoot(claim, media, shots).await;
    let shooting = judge(shooting)?;
    producer.enter(claim, RunState::Cutting).await?;
    let finished = producer.cut(claim, media, &shooting.clips).await?;
    producer.remember(claim).await;
    let state = if shooting.failed.is_empty() { RunState::Done } else { RunState::Partial };
    producer.enter(claim, state).await?;
    producer.learn(claim).await;
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
    producer.learn(claim).await;
    Ok(report(producer, claim, &finished, Vec::new()).await?)
}

async fn planned(
    producer: &Producer,
    claim: &Claim,
    shots: &[(ShotId, Shot)],
    plan: &Plan,
    settled: Settled,
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
        reuse: reuse_lines(&settled.offers),
        reused: Vec::new(),
        failed_shots: Vec::new(),
        offered: Offered { offers: settled.offers, counts: settled.counts },
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
        reuse: Vec::new(),
        reused: reuse::reused_lines(producer, claim).await?,
        failed_shots,
        offered: Offered::default(),
    })
}

/// Gets a yes for the plan, or ends with what to type to give one.
async fn approve(
    producer: &Producer,
    claim: &mut Claim,
    shots: &[(ShotId, Shot)],
    plan: &Plan,
    consent: &dyn Consent,
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
    if consent.can_be_asked() {
        let proposal = Proposal { title: &claim.project.title, shots, plan };
        if consent.buys(proposal, &claim.cancel).await? {
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
