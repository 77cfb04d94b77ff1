//! The till: `reserve → call → settle`. Nothing else can make a [`Reservation`], and no
//! provider's paid method can be called without one.
//!
//! What the till guarantees, for every paid call:
//!
//! - its row says `submitting`, and the operations journal has it, before anything is sent;
//! - the caps that it falls under were checked, and the ceiling of the call taken, in one transaction;
//! - nothing that was sent is sent again: what is lost on the way is `unknown` and booked at its ceiling;
//! - no transaction is open while a provider is talked to.

mod admission;
mod answers;
mod bill;
mod jobs;
mod line;
mod pricing;
mod recovery;
mod reuse;
mod uploads;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::clock::SharedClock;
use crate::ids::{OperationId, ProjectId, RunId, ShotId};
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::prices::{CacheEffect, Price, PriceBook, PriceMismatch};
use crate::providers::{CachePlan, Job, Provider, ProviderError};
use crate::spans;
use crate::store::operations::{Change, NewOperation, Operation};
use crate::store::settlements::NewCharge;
use crate::store::takes::Take;
use crate::store::{Store, StoreError, operations, settlements, takes};

use admission::{Admission, CAP_PATIENCE, Confirmed};
use answers::Answers;
pub use jobs::Parcel;
use line::Lines;
pub use line::Turn;
pub use recovery::{Decision, Seller, Verdict};
pub use reuse::{Instead, UsedAgain};
pub use words::Embedded;

/// How often a provider's answer is offered to a database that does not take it.
const STORE_ATTEMPTS: u32 = 6;

/// The right to make one paid call, whose row stands in the database. Consumed by the call.
#[derive(Debug)]
pub struct Reservation {
    operation: OperationId,
    cache: CachePlan,
}

impl Reservation {
    /// The operation that this pays for.
    pub const fn operation(&self) -> OperationId {
        self.operation
    }

    /// What of a prompt is to be cached, which is a matter of money.
    pub const fn cache(&self) -> &CachePlan {
        &self.cache
    }

    /// The right to a call whose prompt, if it has one, is cached as the provider does by itself.
    fn plain(operation: OperationId) -> Self {
        Self { operation, cache: CachePlan::default() }
    }

    /// A reservation that stands for no money, for the providers' own tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::plain(OperationId::new())
    }
}

/// Which part of the work a call belongs to; the names that the books and `cost_tracking` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The Orchestrator's own turns.
    Conversation,
    /// The Writer's turns.
    Writer,
    /// The Director's turns.
    Director,
    /// Keyframes.
    Image,
    /// Clips.
    Video,
    /// Vectors.
    Embedding,
    /// Descriptions of the user's pictures.
    Vision,
    /// Uploads of keyframes, which are free.
    Upload,
}

impl Component {
    /// The name in the books.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Writer => "writer",
            Self::Director => "director",
            Self::Image => "image",
            Self::Video => "video",
            Self::Embedding => "embedding",
            Self::Vision => "vision",
            Self::Upload => "upload",
        }
    }
}

/// For whom and for what a call is made.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// Who pays.
    pub user_id: String,
    /// The video, if it is for one.
    pub project: Option<ProjectId>,
    /// The run, if it is part of one.
    pub run: Option<RunId>,
    /// The shot, if it is for one.
    pub shot: Option<ShotId>,
    /// The part of the work.
    pub component: Component,
    /// The process that drives the run, as the run's lease names it. A call for a run that another
    /// process has taken over is not made.
    pub owner: Option<String>,
}

/// Why the till did not yield what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TillError {
    /// A cap would be passed. Nothing was sent.
    #[error("{what} is capped at {cap}; {taken} of it is taken, and this call may cost {asked}")]
    OverBudget {
        /// Which cap, in words.
        what: String,
        /// The cap, USD.
        cap: Usd,
        /// Settled, reserved and unknown so far, USD.
        taken: Usd,
        /// The ceiling of the refused call, USD.
        asked: Usd,
        /// The command that raises the cap, with `USD` for the new amount.
        raise: String,
        /// Whether it fits if the calls under way cost less than they may.
        may_fit_later: bool,
    },
    /// Another process drives the run now. Nothing was sent.
    #[error("another process has taken the run over")]
    TakenOver,
    /// There is no price for this. Nothing was sent.
    #[error("there is no price for {provider} {model}")]
    NoPrice {
        /// The provider.
        provider: String,
        /// The model.
        model: String,
    },
    /// The price does not cover what was asked. Nothing was sent.
    #[error(transparent)]
    PriceMismatch(#[from] PriceMismatch),
    /// The provider failed; its error says what became of the money, and the books follow it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database or the operations journal failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run was asked to stop.
    #[error("stopped before the work was done")]
    Cancelled,
}

impl TillError {
    /// The class of the failure, for traces.
    const fn class(&self) -> &'static str {
        match self {
            Self::Provider(failure) => failure.class.as_str(),
            Self::OverBudget { .. } => "budget",
            Self::TakenOver => "taken_over",
            Self::NoPrice { .. } | Self::PriceMismatch(_) => "price",
            Self::Store(_) => "database",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a cap may have room for the call once the calls under way are settled.
    const fn may_fit_later(&self) -> bool {
        matches!(self, Self::OverBudget { may_fit_later: true, .. })
    }
}

impl From<sqlx::Error> for TillError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a send was answered with, and what is to be done next.
#[derive(Debug)]
pub enum Submission {
    /// The provider has the job, and its id is stored.
    Accepted(Job),
    /// The provider does not take more just now; nothing was sent.
    Wait(Duration),
    /// The provider refused it, free of charge; `planned` again it may be sent as a new operation.
    Refused(ProviderError),
    /// It was charged and yielded nothing, or nobody knows what became of it; never sent again by itself.
    Lost(ProviderError),
}

/// The till. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Till {
    store: Store,
    prices: Arc<PriceBook>,
    clock: SharedClock,
    most_fal_jobs: u32,
    answers: Answers,
    lines: Lines,
}

impl Till {
    /// A till that keeps its books in `store` and reads prices from `prices`. fal is given
    /// at most `most_fal_jobs` jobs at a time, over all processes. In the folder `answers` a
    /// provider's answer is kept until the database has it.
    pub fn new(
        store: Store,
        prices: Arc<PriceBook>,
        clock: SharedClock,
        most_fal_jobs: u32,
        answers: PathBuf,
    ) -> Self {
        let answers = Answers::in_folder(answers);
        let (most_fal_jobs, lines) = (most_fal_jobs.max(1), Lines::default());
        Self { store, prices, clock, most_fal_jobs, answers, lines }
    }

    /// The price book.
    pub fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// The price of a model today.
    pub fn price(&self, provider: Provider, model: &str) -> Result<&Price, TillError> {
        let today = self.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        self.prices.find(provider.as_str(), model, today).ok_or_else(|| TillError::NoPrice {
            provider: provider.to_string(),
            model: model.to_owned(),
        })
    }

    /// Ends a step: state, charge and takes in one transaction, then the journal. What a provider
    /// has answered must not be lost to a database that is away for a moment, so this tries for
    /// a while.
    async fn close(
        &self,
        operation: OperationId,
        from: OperationState,
        to: OperationState,
        change: Change,
        charge: Option<NewCharge>,
        new_takes: &[Take],
    ) -> Result<(), TillError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let result =
                self.close_once(operation, from, to, &change, charge.as_ref(), new_takes).await;
            match result {
                // The commit of an attempt before this one went through and only its answer was lost.
                Err(TillError::Store(StoreError::StateMoved { .. }))
                    if attempt > 1 && self.is_in(operation, to).await? =>
                {
                    return Ok(());
                }
                Err(TillError::Store(StoreError::StateMoved { .. })) => return result,
                Err(TillError::Store(error)) if attempt < STORE_ATTEMPTS => {
                    tracing::warn!(%operation, %to, %error, "the database did not take a result; trying again");
                    tokio::time::sleep(back_off(attempt, None)).await;
                }
                _ => return result,
            }
        }
    }

    async fn is_in(
        &self,
        operation: OperationId,
        state: OperationState,
    ) -> Result<bool, TillError> {
        let mut session = self.store.session().await?;
        let row = operations::load(&mut session, operation).await?;
        session.close().await;
        Ok(row.state == state)
    }

    async fn close_once(
        &self,
        operation: OperationId,
        from: OperationState,
        to: OperationState,
        change: &Change,
        charge: Option<&NewCharge>,
        new_takes: &[Take],
    ) -> Result<(), TillError> {
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        operations::transition(&mut transaction, operation, from, to, change.clone(), now).await?;
        let mut booked = None;
        match charge {
            Some(charge) => {
                booked = Some((
                    self.write_charge(&mut transaction, operation, charge, now).await?,
                    charge,
                ));
            }
            // It was booked at its ceiling while nobody knew, and turned out to be free.
            None if to == OperationState::FailedNotCharged
                && settlements::is_booked(&mut transaction, operation).await? =>
            {
                self.write_charge(&mut transaction, operation, &FREE_AFTER_ALL, now).await?;
            }
            None => {}
        }
        takes::keep(&mut transaction, operation, new_takes, now).await?;
        transaction.commit().await?;
        // Only now is it so.
        if let Some((row, charge)) = booked {
            let (settled, ceiling) = (charge.settled_usd, row.reserved_usd);
            let whose = (row.provider.as_str(), row.model.as_str(), row.component.as_str());
            spans::charged(whose, &charge.quantity, settled, ceiling);
        }
        self.store.journal(&mut session, operation).await?;
        session.close().await;
        Ok(())
    }

    async fn write_charge(
        &self,
        transaction: &mut sqlx::PgConnection,
        operation: OperationId,
        charge: &NewCharge,
        now: Timestamp,
    ) -> Result<Operation, TillError> {
        let row = operations::load(transaction, operation).await?;
        self.keep_price_of(transaction, &row, now).await?;
        settlements::charge(transaction, operation, charge, now).await?;
        Ok(row)
    }
}

/// What replaces the line of an unknown call that turned out to be free.
const FREE_AFTER_ALL: NewCharge = NewCharge {
    quantity: Quantity::Uploads(0),
    settled_usd: Some(Usd::ZERO),
    cache: CacheEffect { saved: Usd::ZERO, premium: Usd::ZERO },
    reuse_saved_usd: Usd::ZERO,
    billed_units: None,
    bill: None,
    wasted: false,
    request_id: None,
    latency_ms: None,
};

fn new_operation(
    purpose: &Purpose,
    kind: OperationKind,
    price: &Price,
    endpoint: &str,
    quantity: Quantity,
    estimated_usd: Usd,
) -> NewOperation {
    NewOperation {
        id: OperationId::new(),
        user_id: purpose.user_id.clone(),
        project_id: purpose.project,
        run_id: purpose.run,
        shot_id: purpose.shot,
        kind,
        component: purpose.component.as_str(),
        provider: price.provider.clone(),
        model: price.model.clone(),
        endpoint: endpoint.to_owned(),
        price_id: price.id(),
        quantity,
        estimated_usd,
    }
}

fn unknown_charge(
    quantity: Quantity,
    request_id: Option<String>,
    latency_ms: Option<i64>,
) -> NewCharge {
    NewCharge {
        quantity,
        settled_usd: None,
        cache: CacheEffect::default(),
        reuse_saved_usd: Usd::ZERO,
        billed_units: None,
        bill: None,
        wasted: true,
        request_id,
        latency_ms,
    }
}

/// Waits, unless the work is asked to stop.
async fn pause(time: Duration, cancel: &CancellationToken) -> Result<(), TillError> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = cancel.cancelled() => Err(TillError::Cancelled),
    }
}

fn failure_json(failure: &ProviderError) -> Value {
    serde_json::to_value(failure).unwrap_or_default()
}

/// SHA-256 of a request's JSON, hexadecimal: what tells one request of a run from another.
fn fingerprint(request: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(request).unwrap_or_default();
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One second, two, four … at most thirty, or what the provider asked for, at most two minutes.
pub fn back_off(attempt: u32, asked: Option<Duration>) -> Duration {
    let own =
        Duration::from_secs(1_u64 << attempt.saturating_sub(1).min(5)).min(Duration::from_secs(30));
    asked.map_or(own, |asked| asked.min(Duration::from_mins(2)))
}

/// A paid call inside its span, which tells when it failed and of what class the failure is.
async fn traced<T>(
    span: Span,
    call: impl Future<Output = Result<T, TillError>>,
) -> Result<T, TillError> {
    let result = call.instrument(span.clone()).await;
    if let Err(error) = &result {
        spans::failed(&span, error.class());
    }
    result
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_obey_the_provider() {
        assert_eq!(back_off(1, None), Duration::from_secs(1));
        assert_eq!(back_off(4, None), Duration::from_secs(8));
        assert_eq!(back_off(40, None), Duration::from_secs(30));
        assert_eq!(back_off(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(back_off(1, Some(Duration::from_secs(7_000))), Duration::from_mins(2));
    }
}
