//! Images and clips: a job leaves a trace at the provider, so nothing is ever bought again by itself.

use std::time::Instant;

use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    Admission, CAP_PATIENCE, Component, Confirmed, Purpose, Reservation, Submission, Till,
    TillError, failure_json, fingerprint, milliseconds, new_operation, traced, unknown_charge,
};
use crate::ids::{OperationId, RunId};
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::prices::CacheEffect;
use crate::ledger::reconcile;
use crate::process;
use crate::providers::{Job, JobResult, MoneyState, Provider, ProviderError};
use crate::spans;
use crate::store::StoreError;
use crate::store::operations::{self, Change, NewOperation, Operation};
use crate::store::settlements::NewCharge;
use crate::store::takes::Take;

/// What is sent for an image or clip.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The exact body.
    pub payload: &'a Value,
    /// The provider's balance just before, in its own unit, where it has one.
    pub balance_before: Option<Decimal>,
    /// The process that drives the run, as the run's lease names it.
    pub owner: Option<&'a str>,
}

impl Till {
    /// A planned image or clip, with its price: the row that stands before anything is sent.
    pub fn plan(
        &self,
        purpose: &Purpose,
        kind: OperationKind,
        (provider, model, endpoint): (Provider, &str, &str),
        quantity: Quantity,
    ) -> Result<NewOperation, TillError> {
        let price = self.price(provider, model)?;
        let amount = price.amount(&quantity)?;
        Ok(new_operation(purpose, kind, price, endpoint, quantity, amount))
    }

    /// Sends a planned image or clip: takes the reservation, stores and journals the payload,
    /// calls `send` once, and stores the provider's id of the job. Where others under the same cap
    /// may still cost less than they may, this waits for them.
    pub async fn submit<Send, Sending>(
        &self,
        operation: &Operation,
        parcel: Parcel<'_>,
        cancel: &CancellationToken,
        send: Send,
    ) -> Result<Submission, TillError>
    where
        Send: FnOnce(Reservation) -> Sending,
        Sending: Future<Output = Result<Job, ProviderError>>,
    {
        let Operation { kind, provider, model, component, .. } = operation;
        let span = spans::call(*kind, provider, model, component);
        traced(span, Box::pin(self.send(operation, parcel, cancel, send))).await
    }

    async fn send<Send, Sending>(
        &self,
        operation: &Operation,
        parcel: Parcel<'_>,
        cancel: &CancellationToken,
        send: Send,
    ) -> Result<Submission, TillError>
    where
        Send: FnOnce(Reservation) -> Sending,
        Sending: Future<Output = Result<Job, ProviderError>>,
    {
        let asked = Instant::now();
        loop {
            if cancel.is_cancelled() {
                return Err(TillError::Cancelled);
            }
            match self.take(operation, parcel).await {
                Ok(Admission::Taken) => break,
                Ok(Admission::Wait(time)) => return Ok(Submission::Wait(time)),
                Err(refusal) if refusal.may_fit_later() && asked.elapsed() < CAP_PATIENCE => {
                    let ceiling = operation.estimated_usd;
                    self.wait_for_room(operation.payer(), ceiling, asked, cancel).await?;
                }
                Err(error) => return Err(error),
            }
        }
        match send(Reservation::plain(operation.id)).await {
            Ok(job) => {
                // The database may be away just now, and the id must not be lost.
                if let Err(error) = self.answers.keep(operation.id, &job).await {
                    tracing::warn!(operation = %operation.id, %error, "an answer was not kept beside the database");
                }
                self.accepted(operation.id, &job).await?;
                Ok(Submission::Accepted(job))
            }
            Err(failure) => {
                self.fail(operation, OperationState::Submitting, &failure).await?;
                if failure.money == MoneyState::NotCharged {
                    Ok(Submission::Refused(failure))
                } else {
                    Ok(Submission::Lost(failure))
                }
            }
        }
    }

    /// Takes the reservation of a planned image or clip and stores what will be sent.
    async fn take(
        &self,
        operation: &Operation,
        parcel: Parcel<'_>,
    ) -> Result<Admission, TillError> {
        let now = self.clock.now();
        let ceiling = operation.estimated_usd;
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        let admission = self
            .admit(&mut transaction, operation.kind, operation.payer(), parcel.owner, ceiling)
            .await;
        if !matches!(admission, Ok(Admission::Taken)) {
            // At once: others wait for the caps.
            transaction.rollback().await?;
            session.close().await;
            return admission;
        }
        self.keep_price_of(&mut transaction, operation, now).await?;
        let change = Change {
            owner: Some(parcel.owner.map_or_else(process::owner, str::to_owned)),
            reserved_usd: Some(ceiling),
            request: Some(parcel.payload.clone()),
            request_sha256: Some(fingerprint(parcel.payload)),
            balance_before: parcel.balance_before,
            ..Change::default()
        };
        let (from, to) = (OperationState::Planned, OperationState::Submitting);
        operations::transition(&mut transaction, operation.id, from, to, change, now).await?;
        let confirmed =
            Confirmed::renewed(&mut transaction, operation.payer(), parcel.owner).await?;
        transaction.commit().await?;
        self.store.journal(&mut session, operation.id).await?;
        session.close().await;
        self.is_in_time(operation.id, confirmed).await?;
        Ok(Admission::Taken)
    }

    /// Refuses to send a call whose reservation is taken, and gives that up, where its run's lease may have run out
    /// since it was confirmed.
    pub(super) async fn is_in_time(
        &self,
        operation: OperationId,
        confirmed: Option<Confirmed>,
    ) -> Result<(), TillError> {
        if confirmed.is_none_or(Confirmed::stands) {
            return Ok(());
        }
        self.not_sent(operation).await?;
        Err(TillError::TakenOver)
    }

    /// Gives up a call whose reservation is taken and that was not sent, for it came too late. Another
    /// process may have found it meanwhile and call it unknown; this one knows.
    async fn not_sent(&self, operation: OperationId) -> Result<(), TillError> {
        let change = || Change {
            failure: Some(serde_json::json!({
                "class": "taken_over",
                "message": "not sent: this process slept through its lease",
            })),
            ..Change::default()
        };
        let (submitting, unknown, failed) =
            (OperationState::Submitting, OperationState::Unknown, OperationState::FailedNotCharged);
        match self.close(operation, submitting, failed, change(), None, &[]).await {
            Err(TillError::Store(StoreError::StateMoved { .. })) => {
                self.close(operation, unknown, failed, change(), None, &[]).await
            }
            closed => closed,
        }
    }

    /// Stores a job's id. Another process may have given the operation up for lost meanwhile: then
    /// it is found again.
    pub(super) async fn accepted(
        &self,
        operation: OperationId,
        job: &Job,
    ) -> Result<(), TillError> {
        let change = || Change {
            job: Some(serde_json::to_value(job).unwrap_or_default()),
            request_id: Some(job.request_id.clone()),
            ..Change::default()
        };
        let (submitting, unknown, submitted) =
            (OperationState::Submitting, OperationState::Unknown, OperationState::Submitted);
        match self.close(operation, submitting, submitted, change(), None, &[]).await {
            Err(TillError::Store(StoreError::StateMoved { .. })) => {
                self.close(operation, unknown, submitted, change(), None, &[]).await?;
            }
            stored => stored?,
        }
        self.answers.forget(operation);
        Ok(())
    }

    /// An upload: free, with a row of its own, so that a run that stops there can say so. What was
    /// cut off is made anew.
    pub async fn upload(
        &self,
        purpose: &Purpose,
        seller: (Provider, &str),
        uploading: impl Future<Output = Result<String, ProviderError>>,
    ) -> Result<String, TillError> {
        self.upload_of(purpose, seller, None, uploading).await
    }

    /// The same of bytes whose SHA-256 is known, by which the upload can be found again.
    pub(super) async fn upload_of(
        &self,
        purpose: &Purpose,
        (provider, model): (Provider, &str),
        sha256: Option<&str>,
        uploading: impl Future<Output = Result<String, ProviderError>>,
    ) -> Result<String, TillError> {
        let now = self.clock.now();
        let new = NewOperation {
            id: OperationId::new(),
            user_id: purpose.user_id.clone(),
            project_id: purpose.project,
            run_id: purpose.run,
            shot_id: purpose.shot,
            kind: OperationKind::Upload,
            component: Component::Upload.as_str(),
            provider: provider.to_string(),
            model: model.to_owned(),
            endpoint: "/storage/upload".to_owned(),
            price_id: "free".to_owned(),
            quantity: Quantity::Uploads(1),
            estimated_usd: Usd::ZERO,
        };
        let (planned, submitting) = (OperationState::Planned, OperationState::Submitting);
        let change = Change {
            owner: purpose.owner.clone(),
            request_sha256: sha256.map(str::to_owned),
            ..Change::default()
        };
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        operations::plan(&mut transaction, &new, now).await?;
        operations::transition(&mut transaction, new.id, planned, submitting, change, now).await?;
        transaction.commit().await?;
        session.close().await;
        let uploaded = uploading.await;
        let (to, change) = match &uploaded {
            Ok(url) => {
                let result = Some(serde_json::json!({ "url": url }));
                (OperationState::Kept, Change { result, ..Change::default() })
            }
            Err(failure) => {
                let failure = Some(failure_json(failure));
                (OperationState::FailedNotCharged, Change { failure, ..Change::default() })
            }
        };
        self.close(new.id, submitting, to, change, None, &[]).await?;
        Ok(uploaded?)
    }

    /// The provider has finished: its result's addresses are stored before anything is fetched.
    pub async fn ready(&self, operation: OperationId, result: &JobResult) -> Result<(), TillError> {
        let change = Change {
            result: Some(serde_json::to_value(result).unwrap_or_default()),
            ..Change::default()
        };
        self.close(operation, OperationState::Submitted, OperationState::Ready, change, None, &[])
            .await?;
        self.lines.freed();
        Ok(())
    }

    /// The result is on this disk: its takes are kept and the operation is settled.
    pub async fn keep(
        &self,
        operation: &Operation,
        result: &JobResult,
        takes: &[Take],
    ) -> Result<(), TillError> {
        let charge = self.job_charge(operation, result.billed_units, false);
        self.close(
            operation.id,
            OperationState::Ready,
            OperationState::Kept,
            Change::default(),
            Some(charge),
            takes,
        )
        .await
    }

    /// A result that is paid for and cannot be fetched is given up for a new take: booked as wasted.
    pub async fn give_up(&self, operation: &Operation) -> Result<(), TillError> {
        let charge = self.job_charge(operation, None, true);
        let failure = serde_json::json!({
            "provider": operation.provider,
            "class": "network",
            "money": "charged",
            "message": "its result could not be fetched, and another take was ordered",
        });
        let change = Change { failure: Some(failure), ..Change::default() };
        let (from, to) = (OperationState::Ready, OperationState::FailedCharged);
        self.close(operation.id, from, to, change, Some(charge), &[]).await
    }

    /// An image or clip failed; the books follow what the provider said of the money.
    pub async fn fail(
        &self,
        operation: &Operation,
        from: OperationState,
        failure: &ProviderError,
    ) -> Result<(), TillError> {
        let change = Change {
            failure: Some(failure_json(failure)),
            // The job's own id stays: what asking about it was answered with is another's.
            request_id: failure.request_id.clone().filter(|_| operation.request_id.is_none()),
            ..Change::default()
        };
        let (to, charge) = match failure.money {
            MoneyState::NotCharged => (OperationState::FailedNotCharged, None),
            MoneyState::Charged => {
                (OperationState::FailedCharged, Some(self.job_charge(operation, None, true)))
            }
            MoneyState::Unknown => {
                let quantity = quantity_of(operation);
                (OperationState::Unknown, Some(unknown_charge(quantity, None, None)))
            }
        };
        self.close(operation.id, from, to, change, charge, &[]).await?;
        self.lines.freed();
        Ok(())
    }

    /// After a crash: what a dead process of this run was just sending becomes `unknown`, booked
    /// at its ceiling, unless the provider's answer was kept. Answers the operations that became
    /// unknown.
    pub async fn close_interrupted(&self, run: RunId) -> Result<Vec<Operation>, TillError> {
        let mut session = self.store.session().await?;
        let interrupted =
            operations::in_state(&mut session, run, OperationState::Submitting).await?;
        let unknown = operations::in_state(&mut session, run, OperationState::Unknown).await?;
        session.close().await;
        for operation in unknown {
            if let Some(job) = self.answers.find(operation.id) {
                self.accepted(operation.id, &job).await?;
            }
        }
        let mut lost = Vec::new();
        for operation in interrupted {
            if self.close_one(&operation).await? {
                lost.push(operation);
            }
        }
        Ok(lost)
    }

    /// The same for what dead processes were sending outside any run, such as the embedding of a
    /// search. `is_dead` says whether the owner of an operation has ended.
    pub async fn close_abandoned(
        &self,
        is_dead: impl Fn(&Operation) -> bool,
    ) -> Result<usize, TillError> {
        let mut session = self.store.session().await?;
        let sent = operations::sent_outside_runs(&mut session).await?;
        session.close().await;
        let mut closed = 0;
        for operation in sent.iter().filter(|operation| is_dead(operation)) {
            closed += usize::from(self.close_one(operation).await?);
        }
        Ok(closed)
    }

    /// Says whether the operation became unknown.
    async fn close_one(&self, operation: &Operation) -> Result<bool, TillError> {
        let submitting = OperationState::Submitting;
        if let Some(job) = self.answers.find(operation.id) {
            self.accepted(operation.id, &job).await?;
            return Ok(false);
        }
        let (to, charge) = if operation.kind.is_free() {
            (OperationState::FailedNotCharged, None)
        } else {
            let charge = unknown_charge(quantity_of(operation), None, None);
            (OperationState::Unknown, Some(charge))
        };
        let closed = self.close(operation.id, submitting, to, Change::default(), charge, &[]).await;
        match closed {
            // Its own process was faster after all.
            Err(TillError::Store(StoreError::StateMoved { .. })) => Ok(false),
            closed => closed.map(|()| to == OperationState::Unknown),
        }
    }

    /// What an image or clip cost: its price times what was bought. The reservation is the
    /// same amount, so a charge never passes it.
    pub(super) fn job_charge(
        &self,
        operation: &Operation,
        billed_units: Option<Decimal>,
        wasted: bool,
    ) -> NewCharge {
        let since_sent =
            operation.sent_at.map(|sent| self.clock.now().duration_since(sent).unsigned_abs());
        NewCharge {
            quantity: quantity_of(operation),
            settled_usd: Some(operation.estimated_usd),
            cache: CacheEffect::default(),
            reuse_saved_usd: Usd::ZERO,
            billed_units,
            bill: billed_units.and_then(|units| reconcile::bill_of_units(operation, units)),
            wasted,
            request_id: operation.request_id.clone(),
            latency_ms: since_sent.map(milliseconds),
        }
    }
}

pub(super) fn quantity_of(operation: &Operation) -> Quantity {
    serde_json::from_value(operation.quantity.clone()).unwrap_or(Quantity::Images(1))
}
