//! Shooting: every shot goes image → clip on its own, side by side with the others.
//!
//! Each step is a loop over the state of its operation: whatever a crash left behind is where
//! the loop goes on. What has a request id is asked about and fetched, never bought again; what was
//! caught between sending and hearing back is `unknown` and stops its shot.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::clock::poll_interval;
use crate::ids::ShotId;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::{Component, Purpose, TillError};
use crate::providers::{FailureClass, Job, JobState, MoneyState, ProviderError};
use crate::spans;
use crate::store::operations::{self, Operation};
use crate::store::takes;
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::events::{Event, Progress, Step};
use crate::studio::producer::{Media, Producer};
use crate::studio::references::References;
use crate::studio::storyboard::Shot;

/// How often an image or clip that failed free of charge is bought anew before its shot is given up.
pub(super) const ATTEMPTS: u32 = 3;
/// How long a job may take before this run stops asking; it can be asked again by a later one.
const LONGEST_JOB: Duration = Duration::from_mins(45);
/// How long a provider may answer nothing but errors about a job before this run stops asking.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Why a shot is given up whose take of an earlier film is not on the disk any more.
const REUSED_AND_GONE: &str =
    "the kept take that it uses is gone from the disk (`aida retake` buys another)";

/// What came of shooting.
#[derive(Debug, Default)]
pub struct Shooting {
    /// The clips that are there, in the order of the film.
    pub clips: Vec<ShotClip>,
    /// The shots that failed for good, with the reason.
    pub failed: Vec<(u32, String)>,
    /// The shots that an operation of unknown outcome holds up.
    pub unknown: Vec<u32>,
    /// What stopped the run as a whole, the gravest first.
    pub stopped: Vec<StudioError>,
}

/// A shot's clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShotClip {
    /// The shot's number, from 1.
    pub number: u32,
    /// Where the clip lies.
    pub path: PathBuf,
    /// How much of it the film shows, in seconds.
    pub seconds: Decimal,
}

/// How a shot's step ended without a take.
pub(super) enum End {
    /// The shot is given up; the others go on.
    Failed(String),
    /// Nobody knows what became of an operation.
    Unknown,
    /// The run as a whole cannot go on.
    Stopped(StudioError),
}

impl From<TillError> for End {
    fn from(error: TillError) -> Self {
        Self::Stopped(error.into())
    }
}

impl From<crate::store::StoreError> for End {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Stopped(error.into())
    }
}

/// Where an image or clip is bought, and where it goes.
#[derive(Clone)]
pub(super) struct Errand<'a> {
    pub(super) producer: &'a Producer,
    pub(super) media: &'a Media,
    pub(super) claim: &'a Claim,
    /// Set when the run as a whole cannot go on: nothing more is sent.
    pub(super) halt: &'a CancellationToken,
    pub(super) shot_id: ShotId,
    pub(super) shot: &'a Shot,
    pub(super) step: Step,
    pub(super) kind: OperationKind,
    /// What shots are to look like.
    pub(super) references: &'a References,
    /// The keyframe that a clip starts from.
    pub(super) keyframe: Option<PathBuf>,
}

impl Producer {
    /// Buys and fetches what the storyboard still lacks.
    pub async fn shoot(&self, claim: &Claim, media: &Media, shots: &[(ShotId, Shot)]) -> Shooting {
        let halt = claim.cancel.child_token();
        let pictures = match self.pictures(claim, shots).await {
            Ok(pictures) => pictures,
            Err(error) => return Shooting { stopped: vec![error], ..Shooting::default() },
        };
        let references = References::new(pictures, self.vault.clone(), shots);
        let mut work: FuturesUnordered<_> =
            shots
                .iter()
                .map(|(id, shot)| {
                    let (halt, references) = (&halt, &references);
                    async move {
                        (shot, self.shoot_one(claim, media, halt, references, *id, shot).await)
                    }
                })
                .collect();
        let mut shooting = Shooting::default();
        while let Some((shot, end)) = work.next().await {
            match end {
                Ok(path) => shooting.clips.push(ShotClip {
                    number: shot.number,
                    path,
                    seconds: shot.duration_seconds,
                }),
                Err(End::Failed(message)) => shooting.failed.push((shot.number, message)),
                Err(End::Unknown) => shooting.unknown.push(shot.number),
                Err(End::Stopped(error)) => {
                    halt.cancel();
                    shooting.stopped.push(error);
                }
            }
        }
        shooting.clips.sort_by_key(|clip| clip.number);
        shooting.failed.sort_by_key(|(number, _)| *number);
        shooting.unknown.sort_unstable();
        shooting
    }

    async fn shoot_one(
        &self,
        claim: &Claim,
        media: &Media,
        halt: &CancellationToken,
        references: &References,
        shot_id: ShotId,
        shot: &Shot,
    ) -> Result<PathBuf, End> {
        let image = Errand {
            producer: self,
            media,
            claim,
            halt,
            shot_id,
            shot,
            step: Step::Image,
            kind: OperationKind::Image,
            references,
            keyframe: None,
        };
        let clip = Errand { step: Step::Clip, kind: OperationKind::Clip, ..image.clone() };
        let Some(retake) = claim.options.retake else {
            // A clip that is there, or paid for, needs no keyframe: none is bought for it.
            let (path, made) = clip.look().await?;
            if path.is_some() || made.as_ref().is_some_and(is_paid_for) {
                let keyframe = image.without_buying().await;
                references.tell(shot.number, keyframe.as_ref().ok().cloned().flatten());
                return Errand { keyframe: keyframe?, ..clip }.run().await;
            }
            let keyframe = image.run().await;
            references.tell(shot.number, keyframe.as_ref().ok().cloned());
            return Errand { keyframe: Some(keyframe?), ..clip }.run().await;
        };
        // Of the other shots, and of the other step, a retake takes what there is.
        let keyframe = if retake.buys(shot.number, OperationKind::Image) {
            Some(image.run().await?)
        } else {
            None
        };
        if !retake.buys(shot.number, OperationKind::Clip) {
            return clip.found().await;
        }
        let keyframe = match keyframe {
            Some(keyframe) => keyframe,
            None => image.found().await?,
        };
        Errand { keyframe: Some(keyframe), ..clip }.run().await
    }
}

/// Whether something was bought, or may have been, or is used again.
const fn is_paid_for(operation: &Operation) -> bool {
    use OperationState::{Kept, Ready, Submitted, Submitting, Unknown};
    matches!(operation.state, Submitting | Submitted | Ready | Kept | Unknown)
}

impl Errand<'_> {
    /// The take of this step as far as it is there or can be fetched; nothing is bought.
    async fn without_buying(&self) -> Result<Option<PathBuf>, End> {
        let (path, made) = self.look().await?;
        let is_fetchable = made.is_some_and(|made| {
            use OperationState::{Kept, Ready, Submitted};
            let has_job = made.job.is_some() || made.result.is_some();
            has_job && matches!(made.state, Submitted | Ready | Kept)
        });
        if path.is_none() && !is_fetchable {
            return Ok(None);
        }
        match self.run().await {
            Ok(path) => Ok(Some(path)),
            Err(End::Failed(_)) => Ok(None),
            Err(end) => Err(end),
        }
    }

    async fn run(&self) -> Result<PathBuf, End> {
        let span = spans::step(self.shot.number, self.kind);
        let end = self.take().instrument(span.clone()).await;
        match &end {
            Ok(_) => {}
            Err(End::Failed(_)) => spans::failed(&span, "failed"),
            Err(End::Unknown) => spans::failed(&span, "money_unknown"),
            Err(End::Stopped(_)) => spans::failed(&span, "stopped"),
        }
        if let Err(End::Failed(message)) = &end {
            self.tell(Progress::Failed { message: message.clone() });
        }
        end
    }

    /// The chosen take of this step: found, fetched or bought.
    async fn take(&self) -> Result<PathBuf, End> {
        let (found, mut operation) = self.look().await?;
        if let Some(path) = found {
            self.tell(Progress::Done { already: true });
            return Ok(path);
        }
        self.tell(Progress::Waiting);
        let mut attempt = 0;
        loop {
            let Some(current) = operation.take() else {
                operation = Some(self.plan().await?);
                continue;
            };
            operation = match current.state {
                OperationState::Planned
                    if current.model != self.model()
                        || !self.producer.till.is_priced_as_today(&current) =>
                {
                    self.give_up_plan(&current).await?;
                    None
                }
                OperationState::Planned => {
                    attempt += 1;
                    self.submit(current, attempt).await?
                }
                OperationState::Submitted => self.wait_for(current, attempt).await?,
                OperationState::Kept if current.job.is_none() && current.result.is_none() => {
                    return Err(End::Failed(REUSED_AND_GONE.to_owned()));
                }
                OperationState::Ready | OperationState::Kept => return self.fetch(&current).await,
                OperationState::FailedNotCharged => None,
                // It is paid for: buying another one is for the user to order.
                OperationState::FailedCharged => return Err(End::Failed(charged_before(&current))),
                OperationState::Unknown => Some(self.recover(current).await?),
                OperationState::Submitting => return Err(End::Unknown),
            };
        }
    }

    /// What there is already: the take, if its file is on the disk, and the latest operation. Of a step
    /// that is taken again only what this run has done counts.
    async fn look(&self) -> Result<(Option<PathBuf>, Option<Operation>), End> {
        let retake = self.claim.options.retake;
        let is_retaken = retake.is_some_and(|retake| retake.buys(self.shot.number, self.kind));
        let mut session = self.producer.store.session().await?;
        let take = takes::chosen(&mut session, self.shot_id, self.kind).await?;
        let of_run = is_retaken.then_some(self.claim.run.id);
        let operation =
            operations::latest_for_shot(&mut session, self.shot_id, self.kind, of_run).await?;
        session.close().await;
        let counts = !is_retaken
            || operation.as_ref().is_some_and(|found| found.state == OperationState::Kept);
        let path =
            take.filter(|_| counts).map(|take| self.producer.projects_folder.join(take.path));
        Ok((path.filter(|path| path.is_file()), operation))
    }

    /// The take that the film uses, which this run does not buy.
    pub(super) async fn found(&self) -> Result<PathBuf, End> {
        let mut session = self.producer.store.session().await?;
        let take = takes::chosen(&mut session, self.shot_id, self.kind).await?;
        session.close().await;
        let path = take.map(|take| self.producer.projects_folder.join(take.path));
        let found = path.filter(|path| path.is_file());
        found.ok_or_else(|| End::Failed(format!("it has no {} yet", self.kind.as_str())))
    }

    /// Asks about a job until it is done.
    async fn wait_for(&self, operation: Operation, attempt: u32) -> Result<Option<Operation>, End> {
        let Some(job) =
            operation.job.clone().and_then(|job| serde_json::from_value::<Job>(job).ok())
        else {
            return Err(End::Unknown);
        };
        let clock = &self.producer.clock;
        let since = operation.submitted_at.unwrap_or_else(|| clock.now());
        let started = tokio::time::Instant::now();
        let mut heard = started;
        loop {
            let elapsed = clock.now().duration_since(since).unsigned_abs().max(started.elapsed());
            self.pause_unless_cancelled(poll_interval(elapsed)).await?;
            let state = if self.kind == OperationKind::Image {
                self.media.image_of(&operation.model).state(&job).await
            } else {
                self.media.video_of(&operation.model).state(&job).await
            };
            match state {
                Ok(JobState::Done(result)) => {
                    self.producer.till.ready(operation.id, &result).await?;
                    let result = serde_json::to_value(&result).ok();
                    return Ok(Some(Operation {
                        state: OperationState::Ready,
                        result,
                        ..operation
                    }));
                }
                Ok(JobState::Queued { .. }) => {
                    heard = tokio::time::Instant::now();
                    self.tell(Progress::Submitted);
                }
                Ok(JobState::Running { percent }) => {
                    heard = tokio::time::Instant::now();
                    self.tell(Progress::Running { percent });
                }
                Err(failure) if says_nothing_of_the_job(&failure) => {
                    if failure.class == FailureClass::Credentials
                        || heard.elapsed() > LONGEST_SILENCE
                    {
                        return Err(End::Stopped(TillError::from(failure).into()));
                    }
                    tracing::debug!(operation = %operation.id, %failure, "could not ask about a job; asking again");
                }
                Err(failure) => {
                    self.producer
                        .till
                        .fail(&operation, OperationState::Submitted, &failure)
                        .await?;
                    self.after_failure(&failure, attempt).await?;
                    return Ok(None);
                }
            }
            if started.elapsed() > LONGEST_JOB {
                return Err(End::Stopped(StudioError::TooSlow {
                    provider: operation.provider,
                    shot: self.shot.number,
                    minutes: LONGEST_JOB.as_secs() / 60,
                }));
            }
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.producer
            .projects_folder
            .join(self.claim.project.id.to_string())
            .join(format!("shot-{:02}", self.shot.number))
    }

    pub(super) fn purpose(&self) -> Purpose {
        let component =
            if self.kind == OperationKind::Image { Component::Image } else { Component::Video };
        Purpose { shot: Some(self.shot_id), ..self.claim.purpose(component) }
    }

    pub(super) fn stop_if_asked(&self) -> Result<(), End> {
        if self.claim.cancel.is_cancelled() || self.halt.is_cancelled() {
            return Err(End::Stopped(TillError::Cancelled.into()));
        }
        Ok(())
    }

    /// Waits before something is sent: ends when the run is asked to stop or cannot go on.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), End> {
        self.unless_stopped(tokio::time::sleep(time)).await
    }

    /// Waits for something before something is sent: ends when the run is asked to stop or cannot go on.
    pub(super) async fn unless_stopped<T>(
        &self,
        waiting: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::select! {
            waited = waiting => Ok(waited),
            () = self.halt.cancelled() => Err(End::Stopped(TillError::Cancelled.into())),
            () = self.claim.cancel.cancelled() => Err(End::Stopped(TillError::Cancelled.into())),
        }
    }

    /// Waits for something that is paid for: ends only when the run is asked to stop.
    async fn pause_unless_cancelled(&self, time: Duration) -> Result<(), End> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.claim.cancel.cancelled() => Err(End::Stopped(TillError::Cancelled.into())),
        }
    }

    pub(super) fn tell(&self, progress: Progress) {
        self.claim.tell(Event::Shot { shot: self.shot.number, step: self.step, progress });
    }
}

/// Why a shot is given up whose image or clip was charged and failed before.
fn charged_before(operation: &Operation) -> String {
    let words = operation.failure.as_ref().and_then(|failure| failure["message"].as_str());
    format!("{} (it was charged; `aida retake` buys another)", words.unwrap_or("it failed"))
}

/// Whether an error from asking about a job leaves open how the job fares.
fn says_nothing_of_the_job(failure: &ProviderError) -> bool {
    failure.class.is_transient()
        || matches!(
            failure.class,
            FailureClass::Credentials | FailureClass::Malformed | FailureClass::Funds
        )
        || failure.money == MoneyState::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Provider;

    #[test]
    fn only_a_verdict_ends_a_job() {
        let failure = |class, money| ProviderError {
            provider: Provider::Fal,
            class,
            money,
            status: None,
            code: None,
            message: String::new(),
            request_id: None,
            retry_after: None,
        };
        assert!(says_nothing_of_the_job(&failure(FailureClass::Network, MoneyState::NotCharged)));
        assert!(says_nothing_of_the_job(&failure(
            FailureClass::Credentials,
            MoneyState::NotCharged
        )));
        assert!(says_nothing_of_the_job(&failure(FailureClass::Generation, MoneyState::Unknown)));
        assert!(!says_nothing_of_the_job(&failure(FailureClass::Policy, MoneyState::Charged)));
        assert!(!says_nothing_of_the_job(&failure(
            FailureClass::Generation,
            MoneyState::NotCharged
        )));
    }
}
