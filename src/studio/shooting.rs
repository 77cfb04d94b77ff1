//! Shooting: every shot goes image → clip on its own, side by side with the others.
//!
//! Each step is a loop over the state of its operation: whatever a crash left behind is where
//! the loop goes on. What has a request id is asked about and fetched, never bought again; what was
//! caught between sending and hearing back is `unknown` and stops its shot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::poll_interval;
use crate::ids::ShotId;
use crate::ledger::money::Quantity;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::till::back_off;
use crate::ledger::{Component, Purpose, Submission, TillError};
use crate::providers::{
    ClipRequest, FailureClass, ImageRequest, Job, JobState, MoneyState, ProviderError,
    sold_duration,
};
use crate::store::operations::{self, Change, Operation};
use crate::store::takes;
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::events::{Event, Progress, Step};
use crate::studio::producer::{Media, Producer};
use crate::studio::storyboard::Shot;

/// How often an image or clip that failed free of charge is bought anew before its shot is given up.
const ATTEMPTS: u32 = 3;
/// How long a job may take before this run stops asking; it can be asked again by a later one.
const LONGEST_JOB: Duration = Duration::from_mins(45);
/// How long a provider may answer nothing but errors about a job before this run stops asking.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

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
pub(super) struct Errand<'a> {
    pub(super) producer: &'a Producer,
    pub(super) media: &'a Media,
    pub(super) claim: &'a Claim,
    /// Set when the run as a whole cannot go on: nothing more is sent.
    halt: &'a CancellationToken,
    pub(super) shot_id: ShotId,
    pub(super) shot: &'a Shot,
    pub(super) step: Step,
    pub(super) kind: OperationKind,
    /// The keyframe that a clip starts from.
    keyframe: Option<PathBuf>,
}

impl Producer {
    /// Buys and fetches what the storyboard still lacks.
    pub async fn shoot(&self, claim: &Claim, media: &Media, shots: &[(ShotId, Shot)]) -> Shooting {
        let halt = CancellationToken::new();
        let mut work: FuturesUnordered<_> = shots
            .iter()
            .map(|(id, shot)| {
                let halt = &halt;
                async move { (shot, self.shoot_one(claim, media, halt, *id, shot).await) }
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
            keyframe: None,
        };
        let keyframe = image.run().await?;
        let clip = Errand {
            step: Step::Clip,
            kind: OperationKind::Clip,
            keyframe: Some(keyframe),
            ..image
        };
        clip.run().await
    }
}

impl Errand<'_> {
    async fn run(&self) -> Result<PathBuf, End> {
        let end = self.take().await;
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
                OperationState::Planned if current.model != self.model() => {
                    self.give_up_plan(&current).await?;
                    None
                }
                OperationState::Planned => {
                    attempt += 1;
                    self.submit(current, attempt).await?
                }
                OperationState::Submitted => self.wait_for(current, attempt).await?,
                OperationState::Ready | OperationState::Kept => return self.fetch(&current).await,
                OperationState::FailedNotCharged | OperationState::FailedCharged => None,
                OperationState::Unknown | OperationState::Submitting => return Err(End::Unknown),
            };
        }
    }

    /// What there is already: the take, if its file is on the disk, and the latest operation.
    async fn look(&self) -> Result<(Option<PathBuf>, Option<Operation>), End> {
        let mut session = self.producer.store.session().await?;
        let take = takes::chosen(&mut session, self.shot_id, self.kind).await?;
        let operation = operations::latest_for_shot(&mut session, self.shot_id, self.kind).await?;
        session.close().await;
        let path = take.map(|take| self.producer.projects_folder.join(take.path));
        Ok((path.filter(|path| path.is_file()), operation))
    }

    async fn plan(&self) -> Result<Operation, End> {
        self.stop_if_asked()?;
        let purpose = self.purpose();
        let (image, video) = (&self.media.image, &self.media.video);
        let new = if self.kind == OperationKind::Image {
            let seller = (image.provider(), image.model(), image.endpoint());
            self.producer.till.plan(&purpose, self.kind, seller, Quantity::Images(1))?
        } else {
            let seconds =
                sold_duration(video.durations(), self.shot.duration_seconds).unwrap_or_default();
            let quantity = Quantity::VideoSeconds { seconds, audio: self.claim.options.audio };
            let seller = (video.provider(), video.model(), video.endpoint());
            self.producer.till.plan(&purpose, self.kind, seller, quantity)?
        };
        let mut session = self.producer.store.session().await?;
        operations::plan(&mut session, &new, self.producer.clock.now()).await?;
        let operation = operations::load(&mut session, new.id).await?;
        session.close().await;
        Ok(operation)
    }

    /// The model that this step buys from.
    fn model(&self) -> &str {
        if self.kind == OperationKind::Image {
            self.media.image.model()
        } else {
            self.media.video.model()
        }
    }

    /// What was planned for a model that the run no longer uses is not bought.
    async fn give_up_plan(&self, operation: &Operation) -> Result<(), End> {
        let (from, to) = (OperationState::Planned, OperationState::FailedNotCharged);
        let mut session = self.producer.store.session().await?;
        let now = self.producer.clock.now();
        operations::transition(&mut session, operation.id, from, to, Change::default(), now)
            .await?;
        session.close().await;
        Ok(())
    }

    /// Sends a planned operation. Answers the operation to go on with, or none if a new one is to
    /// be planned.
    async fn submit(&self, operation: Operation, attempt: u32) -> Result<Option<Operation>, End> {
        self.stop_if_asked()?;
        let payload = if self.kind == OperationKind::Image {
            self.media.image.payload(&ImageRequest {
                prompt: self.shot.image_prompt.clone(),
                aspect: self.claim.aspect,
                reference_urls: Vec::new(),
            })
        } else {
            match self.clip_payload().await {
                Ok(payload) => payload,
                Err(failure) => return self.after_refusal(operation, &failure, attempt).await,
            }
        };
        // Waiting for one's turn is not an attempt that failed.
        let submission = loop {
            match self.send(&operation, &payload).await? {
                Submission::Wait(time) => self.pause(time).await?,
                submission => break submission,
            }
        };
        match submission {
            Submission::Accepted(job) => {
                self.tell(Progress::Submitted);
                let job = serde_json::to_value(&job).ok();
                let now = self.producer.clock.now();
                let submitted = Operation {
                    state: OperationState::Submitted,
                    request_id: job
                        .as_ref()
                        .and_then(|job| Some(job["request_id"].as_str()?.to_owned())),
                    job,
                    sent_at: operation.sent_at.or(Some(now)),
                    submitted_at: Some(now),
                    ..operation
                };
                Ok(Some(submitted))
            }
            Submission::Wait(_) => Ok(Some(operation)),
            // A provider that says at once that it could not make it may have tried; what it says of the
            // money is no proof, so it is not bought again without being told to.
            Submission::Refused(failure) if failure.class == FailureClass::Generation => {
                Err(End::Failed(failure.message))
            }
            Submission::Refused(failure) => {
                self.after_failure(&failure, attempt).await.map(|()| None)
            }
            Submission::Lost(failure) if failure.money == MoneyState::Unknown => Err(End::Unknown),
            // It was charged: it is not bought again without being told to.
            Submission::Lost(failure) => Err(End::Failed(failure.message)),
        }
    }

    /// Sends a payload through the till once, unless the provider has no room just now.
    async fn send(&self, operation: &Operation, payload: &Value) -> Result<Submission, End> {
        let (till, halt) = (&self.producer.till, self.halt);
        let submission = if self.kind == OperationKind::Image {
            let model = &self.media.image;
            let balance = model.balance().await.unwrap_or_default();
            till.submit(operation, payload, balance, halt, |reservation| {
                model.submit(reservation, payload)
            })
            .await?
        } else {
            let model = &self.media.video;
            till.submit(operation, payload, None, halt, |reservation| {
                model.submit(reservation, payload)
            })
            .await?
        };
        Ok(submission)
    }

    /// Uploads the keyframe anew, for this operation alone, and makes the payload from its address.
    async fn clip_payload(&self) -> Result<Value, ProviderError> {
        let model = &self.media.video;
        let keyframe = self.keyframe.as_deref().unwrap_or_else(|| Path::new(""));
        let keyframe_url = model.upload(keyframe).await?;
        let seconds =
            sold_duration(model.durations(), self.shot.duration_seconds).unwrap_or_default();
        Ok(model.payload(&ClipRequest {
            prompt: self.shot.motion_prompt.clone(),
            keyframe_url,
            seconds,
            audio: self.claim.options.audio,
        }))
    }

    /// The free upload before a send failed: the operation is still planned.
    async fn after_refusal(
        &self,
        operation: Operation,
        failure: &ProviderError,
        attempt: u32,
    ) -> Result<Option<Operation>, End> {
        self.after_failure(failure, attempt).await?;
        Ok(Some(operation))
    }

    /// Decides what a failure means: wait and try again, give up the shot, or stop the run.
    async fn after_failure(&self, failure: &ProviderError, attempt: u32) -> Result<(), End> {
        match failure.class {
            FailureClass::Credentials | FailureClass::Funds | FailureClass::NotOffered => {
                Err(End::Stopped(TillError::from(failure.clone()).into()))
            }
            FailureClass::RateLimited | FailureClass::Unavailable | FailureClass::Network => {
                if attempt >= ATTEMPTS + 2 {
                    return Err(End::Stopped(TillError::from(failure.clone()).into()));
                }
                self.pause(back_off(attempt, failure.retry_after)).await
            }
            FailureClass::Generation | FailureClass::Malformed
                if failure.money == MoneyState::NotCharged && attempt < ATTEMPTS =>
            {
                self.pause(back_off(attempt, failure.retry_after)).await
            }
            FailureClass::Policy
            | FailureClass::Input
            | FailureClass::Generation
            | FailureClass::Malformed => Err(End::Failed(failure.message.clone())),
        }
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

    fn purpose(&self) -> Purpose {
        let component =
            if self.kind == OperationKind::Image { Component::Image } else { Component::Video };
        Purpose { shot: Some(self.shot_id), ..self.claim.purpose(component) }
    }

    fn stop_if_asked(&self) -> Result<(), End> {
        if self.claim.cancel.is_cancelled() || self.halt.is_cancelled() {
            return Err(End::Stopped(TillError::Cancelled.into()));
        }
        Ok(())
    }

    /// Waits before something is sent: ends when the run is asked to stop or cannot go on.
    async fn pause(&self, time: Duration) -> Result<(), End> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
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
