//! The till: `reserve → call → settle`. Nothing else can make a [`Reservation`], and no
//! provider's paid method can be called without one.

use serde::{Deserialize, Serialize};

use crate::ids::{OperationId, ProjectId, RunId, ShotId};
use crate::ledger::money::Usd;
use crate::providers::ProviderError;
use crate::store::StoreError;

/// The right to make one paid call, whose row stands in the database. Consumed by the call.
#[derive(Debug)]
pub struct Reservation {
    operation: OperationId,
}

impl Reservation {
    /// The operation that this pays for.
    pub const fn operation(&self) -> OperationId {
        self.operation
    }

    /// A reservation that stands for no money, for the providers' own tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self { operation: OperationId::new() }
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
}

/// Why the till did not yield what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TillError {
    /// A cap would be passed. Nothing was sent.
    #[error("{scope} is capped at {cap}; {taken} of it is taken, and this call may cost {asked}")]
    OverBudget {
        /// Which cap, in words: `this run`, `the language work of this run`.
        scope: String,
        /// The cap, USD.
        cap: Usd,
        /// Settled, reserved and unknown so far, USD.
        taken: Usd,
        /// The ceiling of the refused call, USD.
        asked: Usd,
    },
    /// There is no price for this. Nothing was sent.
    #[error("there is no price for {provider} {model}")]
    NoPrice {
        /// The provider.
        provider: String,
        /// The model.
        model: String,
    },
    /// The provider failed; its error says what became of the money, and the books follow it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database or the operations journal failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run was asked to stop before the call was sent.
    #[error("stopped before the call was sent")]
    Cancelled,
}

/// The till.
#[derive(Debug, Clone)]
pub struct Till {}
