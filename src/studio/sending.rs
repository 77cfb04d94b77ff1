//! Sending: what a shot lacks is planned, paid for and sent once; what was cut off is found out about.

use std::path::Path;

use serde_json::Value;

use crate::ledger::money::Quantity;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::till::{Seller, Turn, back_off};
use crate::ledger::{Component, Parcel, Purpose, Submission, TillError};
use crate::providers::{
    ClipRequest, FailureClass, ImageRequest, MoneyState, Provider, ProviderError, sold_duration,
};
use crate::store::operations::{self, Change, Operation};
use crate::studio::events::Progress;
use crate::studio::shooting::{ATTEMPTS, End, Errand};

/// Why a clip is not bought whose picture is gone.
const NO_KEYFRAME: &str =
    "the picture that the clip was to move is gone; `aida retake` draws it anew";

impl Errand<'_> {
    /// Plans the operation of this step: its row stands before anything is sent.
    pub(super) async fn plan(&self) -> Result<Operation, End> {
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
    pub(super) fn model(&self) -> &str {
        if self.kind == OperationKind::Image {
            self.media.image.model()
        } else {
            self.media.video.model()
        }
    }

    /// What was planned for a model that the run no longer uses, or at a price that is no longer in
    /// force, is not bought.
    pub(super) async fn give_up_plan(&self, operation: &Operation) -> Result<(), End> {
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
    pub(super) async fn submit(
        &self,
        operation: Operation,
        attempt: u32,
    ) -> Result<Option<Operation>, End> {
        self.stop_if_asked()?;
        if self.kind == OperationKind::Clip && self.keyframe.is_none() {
            return Err(End::Failed(NO_KEYFRAME.to_owned()));
        }
        let payload = if self.kind == OperationKind::Image {
            match self.reference_urls().await? {
                Ok(reference_urls) => self.media.image.payload(&ImageRequest {
                    prompt: self.shot.image_prompt.clone(),
                    aspect: self.claim.aspect,
                    reference_urls,
                }),
                Err(failure) => return self.after_refusal(operation, &failure, attempt).await,
            }
        } else {
            match self.clip_payload().await {
                Ok(payload) => payload,
                Err(TillError::Provider(failure)) => {
                    return self.after_refusal(operation, &failure, attempt).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        // Waiting for one's turn is not an attempt that failed.
        let turn = self.turn().await?;
        let submission = loop {
            // Uploads and turns take a while: who has asked for a stop meanwhile buys nothing.
            self.stop_if_asked()?;
            match self.send(&operation, &payload).await? {
                Submission::Wait(time) => self.unless_stopped(turn.wait(time)).await?,
                submission => break submission,
            }
        };
        drop(turn);
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
            Submission::Lost(failure) if failure.money == MoneyState::Unknown => {
                self.reload(&operation).await.map(Some)
            }
            // It was charged: it is not bought again without being told to.
            Submission::Lost(failure) => Err(End::Failed(failure.message)),
        }
    }

    /// Waits until it is this shot's turn to ask the provider for room.
    async fn turn(&self) -> Result<Turn, End> {
        let (image, video) = (&self.media.image, &self.media.video);
        let provider = match self.kind {
            OperationKind::Image => image.provider(),
            _ => video.provider(),
        };
        self.unless_stopped(self.producer.till.turn(provider)).await
    }

    async fn reload(&self, operation: &Operation) -> Result<Operation, End> {
        let mut session = self.producer.store.session().await?;
        let operation = operations::load(&mut session, operation.id).await?;
        session.close().await;
        Ok(operation)
    }

    /// Finds out what became of an operation of unknown outcome, as far as asking tells, and answers it
    /// in the state that it is in then.
    pub(super) async fn recover(&self, operation: Operation) -> Result<Operation, End> {
        let seller = if self.kind == OperationKind::Image {
            Seller::Image(self.media.image_of(&operation.model))
        } else {
            Seller::Clip(self.media.video_of(&operation.model))
        };
        let (till, patience) = (&self.producer.till, self.producer.recover_patience);
        let (verdict, state) =
            till.recover(&operation, seller, patience, &self.claim.cancel).await?;
        tracing::info!(operation = %operation.id, ?verdict, %state, "asked what became of it");
        if state == OperationState::Unknown {
            return Err(End::Unknown);
        }
        self.reload(&operation).await
    }

    /// Sends a payload through the till once, unless the provider has no room just now.
    async fn send(&self, operation: &Operation, payload: &Value) -> Result<Submission, End> {
        let (till, halt) = (&self.producer.till, self.halt);
        let parcel = Parcel { payload, balance_before: None, owner: Some(self.claim.owner()) };
        let submission = if self.kind == OperationKind::Image {
            let model = &self.media.image;
            let balance_before = model.balance().await.unwrap_or_default();
            let parcel = Parcel { balance_before, ..parcel };
            till.submit(operation, parcel, halt, |reservation| model.submit(reservation, payload))
                .await?
        } else {
            let model = &self.media.video;
            till.submit(operation, parcel, halt, |reservation| model.submit(reservation, payload))
                .await?
        };
        Ok(submission)
    }

    /// Uploads the keyframe anew, for this operation alone, and makes the payload from its address.
    async fn clip_payload(&self) -> Result<Value, TillError> {
        let model = &self.media.video;
        let keyframe = self.keyframe.as_deref().unwrap_or_else(|| Path::new(""));
        let purpose = Purpose { component: Component::Upload, ..self.purpose() };
        let keyframe_url = self
            .producer
            .till
            .upload(&purpose, (model.provider(), model.model()), model.upload(keyframe))
            .await?;
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
    pub(super) async fn after_failure(
        &self,
        failure: &ProviderError,
        attempt: u32,
    ) -> Result<(), End> {
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
                if failure.money == MoneyState::NotCharged
                    && attempt < ATTEMPTS
                    && !may_be_billed_after_all(failure) =>
            {
                self.pause(back_off(attempt, failure.retry_after)).await
            }
            FailureClass::Policy
            | FailureClass::Input
            | FailureClass::Generation
            | FailureClass::Malformed => Err(End::Failed(failure.message.clone())),
        }
    }
}

/// Whether a failure that is taken to be free may stand on the bill: fal bills some 422s after its
/// machines have worked. Another try is then for the user to order.
fn may_be_billed_after_all(failure: &ProviderError) -> bool {
    failure.provider == Provider::Fal && failure.status == Some(422)
}
