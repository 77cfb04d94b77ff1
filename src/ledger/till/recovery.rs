//! Recovery: what became of an image or clip whose send was cut off. The provider is asked as far as
//! it can be asked; what that cannot decide, the user decides. Nothing is ever sent again here.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::jobs::quantity_of;
use super::{FREE_AFTER_ALL, Till, TillError, pause};
use crate::clock::poll_interval;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::providers::{ImageModel, Job, ProviderError, VideoModel};
use crate::store::operations::{self, Change, Operation};
use crate::store::settlements::NewCharge;

/// How much before an operation the list of a provider's requests is begun: clocks differ.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);
/// After this long, what fal still does not list never arrived.
const LISTED_BY: Duration = Duration::from_hours(24);
/// After this long, a job that KIE had would have ended, and been paid for or given back.
const ENDED_BY: Duration = Duration::from_mins(30);

/// Who was to make it.
#[derive(Clone, Copy)]
pub enum Seller<'a> {
    /// An image.
    Image(&'a dyn ImageModel),
    /// A clip.
    Clip(&'a dyn VideoModel),
}

/// What the provider's words and the books say of an operation of unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The provider has the job.
    Found(Job),
    /// It was not bought: why that is certain.
    NotCharged(String),
    /// It was bought and cannot be fetched: why that is certain.
    Charged(String),
    /// It cannot be told yet; asking again may help.
    NotYet(String),
    /// It cannot be told by asking.
    Undecided(String),
}

/// What a user says of an operation that nobody can be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It was not bought.
    NotCharged,
    /// It was bought, and its result is lost.
    Charged,
    /// It is this job of the provider's.
    Adopt(String),
}

impl Till {
    /// Asks what became of an operation of unknown outcome. Free, and changes nothing.
    pub async fn look_up(
        &self,
        operation: &Operation,
        seller: Seller<'_>,
    ) -> Result<Verdict, TillError> {
        if let Some(job) = self.known_job(operation) {
            return Ok(Verdict::Found(job));
        }
        let now = self.clock.now();
        let sent = operation.sent_at.unwrap_or(operation.created_at);
        let age = now.duration_since(sent).unsigned_abs();
        match seller {
            Seller::Clip(model) => {
                let Some(payload) = &operation.request else {
                    return Ok(Verdict::Undecided("what was sent is not known".to_owned()));
                };
                let since = sent.checked_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::MIN);
                let found = model.find(payload, since).await?;
                self.judge_listing(operation, found, age).await
            }
            Seller::Image(model) => self.judge_balance(operation, model, age).await,
        }
    }

    /// Asks what became of an operation of unknown outcome, books what is found out, and asks again for
    /// as long as `patience` where that may help: what waits in a queue may be listed later. Answers
    /// the last verdict, and the state that the operation is in now.
    pub async fn recover(
        &self,
        operation: &Operation,
        seller: Seller<'_>,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<(Verdict, OperationState), TillError> {
        let started = Instant::now();
        loop {
            let verdict = match self.look_up(operation, seller).await {
                Err(TillError::Provider(error)) => error.into(),
                verdict => verdict?,
            };
            let state = self.resolve(operation, &verdict).await?;
            let may_help = matches!((&verdict, seller), (Verdict::NotYet(_), Seller::Clip(_)));
            if !may_help || started.elapsed() >= patience {
                return Ok((verdict, state));
            }
            pause(poll_interval(started.elapsed()), cancel).await?;
        }
    }

    /// The job that is known already: from an answer that the database did not take, or a row.
    fn known_job(&self, operation: &Operation) -> Option<Job> {
        self.answers
            .find(operation.id)
            .or_else(|| serde_json::from_value(operation.job.clone()?).ok())
    }

    async fn judge_listing(
        &self,
        operation: &Operation,
        found: Option<Job>,
        age: Duration,
    ) -> Result<Verdict, TillError> {
        let provider = &operation.provider;
        let Some(job) = found else {
            return Ok(if age > LISTED_BY {
                Verdict::NotCharged(format!("{provider} never listed it"))
            } else {
                Verdict::NotYet(format!("{provider} does not list it"))
            });
        };
        let mut session = self.store.session().await?;
        let other = operations::with_request_id(&mut session, provider, &job.request_id).await?;
        session.close().await;
        Ok(match other {
            Some(other) if other != operation.id => Verdict::Undecided(format!(
                "{provider} lists only a job of the same input that is accounted for"
            )),
            _ => Verdict::Found(job),
        })
    }

    /// KIE keeps no list. Its balance tells what happened only while nothing else happened.
    async fn judge_balance(
        &self,
        operation: &Operation,
        model: &dyn ImageModel,
        age: Duration,
    ) -> Result<Verdict, TillError> {
        let provider = &operation.provider;
        let undecided = |why: &str| {
            Ok(Verdict::Undecided(format!("{provider} cannot be asked for it, and {why}")))
        };
        let Some(before) = operation.balance_before else {
            return undecided("the balance before it is not known");
        };
        let Some(after) = model.balance().await? else {
            return undecided("the balance is not told");
        };
        // Looked at after the balance was read: whatever took part in it has its row by now.
        let mut session = self.store.session().await?;
        let overlaps = operations::overlaps_another(&mut session, operation).await?;
        session.close().await;
        if overlaps {
            return undecided("other jobs changed the balance at the same time");
        }
        let price = operation.estimated_usd.dollars() / model.balance_unit().dollars();
        let unit = |balance: Decimal| balance.normalize();
        Ok(if before - after == price {
            Verdict::Charged(format!(
                "the balance fell from {} to {}, by its price; {provider} has no list to fetch it from",
                unit(before),
                unit(after)
            ))
        } else if before == after && age > ENDED_BY {
            Verdict::NotCharged(format!("the balance is {} as before it", unit(before)))
        } else if before == after {
            Verdict::NotYet(format!(
                "the balance is {} as before it, but a job may be paid for when it ends",
                unit(before)
            ))
        } else {
            return undecided(&format!(
                "the balance went from {} to {}, which is not its price",
                unit(before),
                unit(after)
            ));
        })
    }

    /// Books what was found out about an operation of unknown outcome. What is not decided stays as
    /// it is. Answers the state that the operation is in now.
    pub async fn resolve(
        &self,
        operation: &Operation,
        verdict: &Verdict,
    ) -> Result<OperationState, TillError> {
        match verdict {
            Verdict::Found(job) => {
                self.accepted(operation.id, job).await?;
                Ok(OperationState::Submitted)
            }
            Verdict::NotCharged(why) => self.close_as_free(operation, why).await,
            Verdict::Charged(why) => self.close_as_charged(operation, why).await,
            Verdict::NotYet(_) | Verdict::Undecided(_) => Ok(operation.state),
        }
    }

    /// Books what the user says of an operation of unknown outcome.
    pub async fn decide(
        &self,
        operation: &Operation,
        decision: &Decision,
        user: &str,
    ) -> Result<OperationState, TillError> {
        match decision {
            Decision::NotCharged => {
                self.close_as_free(operation, &format!("{user} says that it was not charged")).await
            }
            Decision::Charged => {
                self.close_as_charged(operation, &format!("{user} says that it was charged")).await
            }
            Decision::Adopt(request_id) => {
                let job = Job::named(request_id);
                self.accepted(operation.id, &job).await?;
                Ok(OperationState::Submitted)
            }
        }
    }

    async fn close_as_free(
        &self,
        operation: &Operation,
        why: &str,
    ) -> Result<OperationState, TillError> {
        let (from, to) = (OperationState::Unknown, OperationState::FailedNotCharged);
        let change = decided(operation, "not_charged", why);
        self.close(operation.id, from, to, change, Some(FREE_AFTER_ALL), &[]).await?;
        Ok(to)
    }

    async fn close_as_charged(
        &self,
        operation: &Operation,
        why: &str,
    ) -> Result<OperationState, TillError> {
        let (from, to) = (OperationState::Unknown, OperationState::FailedCharged);
        let charge = NewCharge {
            // The most that it can have cost; of an image or clip that is its price.
            settled_usd: Some(operation.reserved_usd),
            ..self.job_charge(operation, None, true)
        };
        let charge = match operation.kind {
            // How many tokens a lost reply had is not known.
            OperationKind::Language | OperationKind::Embedding => {
                NewCharge { quantity: FREE_AFTER_ALL.quantity, ..charge }
            }
            _ => NewCharge { quantity: quantity_of(operation), ..charge },
        };
        let change = decided(operation, "charged", why);
        self.close(operation.id, from, to, change, Some(charge), &[]).await?;
        Ok(to)
    }
}

/// What is kept of a decision: the failure as it was, what became of the money, and why.
fn decided(operation: &Operation, money: &str, why: &str) -> Change {
    let mut failure = match operation.failure.clone() {
        Some(Value::Object(failure)) => Value::Object(failure),
        _ => json!({
            "provider": operation.provider,
            "class": "network",
            "message": "it was cut off while it was being sent",
        }),
    };
    failure["money"] = json!(money);
    failure["decision"] = json!(why);
    Change { failure: Some(failure), ..Change::default() }
}

impl From<ProviderError> for Verdict {
    /// A provider that cannot be asked now leaves everything open.
    fn from(error: ProviderError) -> Self {
        Self::NotYet(format!("{} cannot be asked now: {}", error.provider, error.message))
    }
}
