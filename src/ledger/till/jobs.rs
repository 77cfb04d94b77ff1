//! Images and clips: a job leaves a trace at the provider, so nothing is ever bought again by itself.

use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    Admission, Purpose, Reservation, Submission, Till, TillError, failure_json, fingerprint,
    milliseconds, new_operation, unknown_charge,
};
use crate::ids::{OperationId, RunId};
use crate::ledger::money::Quantity;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::providers::{Job, JobResult, MoneyState, Provider, ProviderError};
use crate::store::operations::{self, Change, NewOperation, Operation};
use crate::store::settlements::NewCharge;
use crate::store::takes::Take;

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
    /// calls `send` once, and stores the provider's id of the job.
    pub async fn submit<Send, Sending>(
        &self,
        operation: &Operation,
        payload: &Value,
        balance_before: Option<Decimal>,
        cancel: &CancellationToken,
        send: Send,
    ) -> Result<Submission, TillError>
    where
        Send: FnOnce(Reservation) -> Sending,
        Sending: Future<Output = Result<Job, ProviderError>>,
    {
        if cancel.is_cancelled() {
            return Err(TillError::Cancelled);
        }
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        let ceiling = operation.estimated_usd;
        let kind = if operation.kind == OperationKind::Image.as_str() {
            OperationKind::Image
        } else {
            OperationKind::Clip
        };
        if let Admission::Wait(time) = self
            .admit(&mut transaction, operation.run_id, kind, &operation.provider, ceiling)
            .await?
        {
            transaction.rollback().await?;
            session.close().await;
            return Ok(Submission::Wait(time));
        }
        let change = Change {
            reserved_usd: Some(ceiling),
            request: Some(payload.clone()),
            request_sha256: Some(fingerprint(payload)),
            balance_before,
            ..Change::default()
        };
        let (from, to) = (OperationState::Planned, OperationState::Submitting);
        operations::transition(&mut transaction, operation.id, from, to, change, now).await?;
        transaction.commit().await?;
        self.store.journal(&mut session, operation.id).await?;
        session.close().await;

        let answer = send(Reservation { operation: operation.id }).await;

        let submitting = OperationState::Submitting;
        match answer {
            Ok(job) => {
                let change = Change {
                    job: Some(serde_json::to_value(&job).unwrap_or_default()),
                    request_id: Some(job.request_id.clone()),
                    ..Change::default()
                };
                self.close(operation.id, submitting, OperationState::Submitted, change, None, &[])
                    .await?;
                Ok(Submission::Accepted(job))
            }
            Err(failure) if failure.money == MoneyState::NotCharged => {
                self.fail(operation, submitting, &failure).await?;
                Ok(Submission::Refused(failure))
            }
            Err(failure) => {
                self.fail(operation, submitting, &failure).await?;
                Ok(Submission::Lost(failure))
            }
        }
    }

    /// The provider has finished: its result's addresses are stored before anything is fetched.
    pub async fn ready(&self, operation: OperationId, result: &JobResult) -> Result<(), TillError> {
        let change = Change {
            result: Some(serde_json::to_value(result).unwrap_or_default()),
            ..Change::default()
        };
        self.close(operation, OperationState::Submitted, OperationState::Ready, change, None, &[])
            .await
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

    /// An image or clip failed; the books follow what the provider said of the money.
    pub async fn fail(
        &self,
        operation: &Operation,
        from: OperationState,
        failure: &ProviderError,
    ) -> Result<(), TillError> {
        let change = Change {
            failure: Some(failure_json(failure)),
            request_id: failure.request_id.clone(),
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
        self.close(operation.id, from, to, change, charge, &[]).await
    }

    /// After a crash: what a dead process of this run was just sending becomes `unknown`, booked
    /// at its ceiling. Answers those operations.
    pub async fn close_interrupted(&self, run: RunId) -> Result<Vec<Operation>, TillError> {
        let mut session = self.store.session().await?;
        let interrupted =
            operations::in_state(&mut session, run, OperationState::Submitting).await?;
        session.close().await;
        for operation in &interrupted {
            let charge = unknown_charge(quantity_of(operation), None, None);
            let (from, to) = (OperationState::Submitting, OperationState::Unknown);
            self.close(operation.id, from, to, Change::default(), Some(charge), &[]).await?;
        }
        Ok(interrupted)
    }

    /// What an image or clip cost: its price times what was bought. The reservation is the
    /// same amount, so a charge never passes it.
    fn job_charge(
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
            billed_units,
            wasted,
            request_id: operation.request_id.clone(),
            latency_ms: since_sent.map(milliseconds),
        }
    }
}

fn quantity_of(operation: &Operation) -> Quantity {
    serde_json::from_value(operation.quantity.clone()).unwrap_or(Quantity::Images(1))
}
