//! Why a video could not be made, or not yet.

use std::io;
use std::path::PathBuf;

use crate::ids::RunId;
use crate::ledger::TillError;
use crate::ledger::prices::PriceMismatch;
use crate::memory::MemoryError;
use crate::providers::FailureClass;
use crate::providers::http::DownloadError;
use crate::store::StoreError;
use crate::studio::agents::AgentError;
use crate::studio::animatic::AnimaticError;
use crate::studio::brief::BriefError;
use crate::studio::film::FilmError;

/// Why a video could not be made, or not yet. Unless it says otherwise, the run can be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum StudioError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The till refused, a provider failed, or the run was asked to stop.
    #[error(transparent)]
    Till(#[from] TillError),
    /// The team did not come to a storyboard.
    #[error(transparent)]
    Team(#[from] AgentError),
    /// Recall failed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The cut failed; the clips are untouched.
    #[error(transparent)]
    Film(#[from] FilmError),
    /// The preview could not be drawn.
    #[error(transparent)]
    Animatic(#[from] AnimaticError),
    /// The kept brief is not one.
    #[error("the kept brief cannot be read: {0}")]
    Brief(BriefError),
    /// A row of the database does not say what it must.
    #[error("the run's row is damaged: {0}")]
    Damaged(String),
    /// Another process drives the run.
    #[error("another aida is at work on run {}", .run.short())]
    Busy {
        /// The run.
        run: RunId,
    },
    /// A folder or file of aida's own cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A result that is paid for could not be fetched. It is fetched again by `resume`, free of charge.
    #[error("the {what} of shot {shot} is made and paid for, but could not be fetched: {source}")]
    Download {
        /// The shot's number.
        shot: u32,
        /// `image` or `clip`.
        what: &'static str,
        /// Why.
        source: DownloadError,
    },
    /// A result was fetched and is not what it must be.
    #[error("the {what} of shot {shot} was fetched and cannot be used: {message}")]
    BadResult {
        /// The shot's number.
        shot: u32,
        /// `image` or `clip`.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A job takes longer than a run waits. It can be asked about again.
    #[error("{provider} has worked on shot {shot} for more than {minutes} minutes")]
    TooSlow {
        /// The provider.
        provider: String,
        /// The shot's number.
        shot: u32,
        /// How long was waited.
        minutes: u64,
    },
    /// Nobody knows what became of some paid calls.
    #[error("nobody knows what became of a paid call for shot {}", list(shots))]
    UnknownMoney {
        /// The shots that they are for.
        shots: Vec<u32>,
    },
    /// A shot is to look like more pictures than the image model is shown at once. Nothing was spent
    /// on pictures.
    #[error("shot {shot} is to look like {count} pictures; {model} can be shown {most}")]
    TooManyReferences {
        /// The image model.
        model: String,
        /// The shot's number.
        shot: u32,
        /// What it is to look like.
        count: usize,
        /// The most that the model takes.
        most: usize,
    },
    /// A picture that a shot is to look like cannot be read any more.
    #[error("the reference {reference} cannot be shown: {reason}")]
    LostReference {
        /// Its name.
        reference: String,
        /// Why.
        reason: String,
    },
    /// No shot could be made.
    #[error("no shot could be made; {first}")]
    NothingShot {
        /// The first shot's failure.
        first: String,
    },
}

impl StudioError {
    /// How grave it is beside the troubles of other shots. That a shot stopped because the run
    /// did says least.
    pub fn gravity(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Till(TillError::Store(_)) => 6,
            Self::Till(TillError::NoPrice { .. } | TillError::PriceMismatch(_)) => 5,
            Self::Till(TillError::Provider(error)) if error.class == FailureClass::Credentials => 5,
            Self::UnknownMoney { .. } => 4,
            Self::Till(TillError::OverBudget { .. }) => 3,
            Self::Till(TillError::Cancelled) => 0,
            _ => 2,
        }
    }

    /// Whether the run was stopped from outside, and nothing is wrong with it.
    pub fn is_an_interrupt(&self) -> bool {
        matches!(self.word(), "interrupted" | "taken_over")
    }

    /// Whether it is trouble that passes by itself: a network, a provider or a database that is away for a
    /// while.
    pub fn passes(&self) -> bool {
        match self {
            Self::Till(error)
            | Self::Team(AgentError::Till(error))
            | Self::Memory(MemoryError::Till(error)) => match error {
                TillError::Provider(error) => error.class.is_transient(),
                TillError::Store(_) => true,
                _ => false,
            },
            Self::Store(_) | Self::Memory(MemoryError::Store(_)) | Self::TooSlow { .. } => true,
            Self::Download { source, .. } => !source.needs_fresh_url(),
            _ => false,
        }
    }

    /// Whether a file of a finished job is gone or useless for good, so that fetching it again is
    /// no help.
    pub const fn is_a_lost_file(&self) -> bool {
        match self {
            Self::Download { source, .. } => source.needs_fresh_url(),
            Self::BadResult { .. } => true,
            _ => false,
        }
    }

    /// The reason in a word, for the run's row; `studio::why` knows each.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Till(error)
            | Self::Team(AgentError::Till(error))
            | Self::Memory(MemoryError::Till(error)) => till_word(error),
            Self::Film(FilmError::Cancelled) | Self::Animatic(AnimaticError::Cancelled) => {
                "interrupted"
            }
            Self::Store(StoreError::TakenOver) | Self::Busy { .. } => "taken_over",
            Self::Store(_) | Self::Memory(MemoryError::Store(_)) => "database",
            Self::TooSlow { .. } => "too_slow",
            Self::Download { .. } => "download",
            Self::BadResult { .. } => "bad_result",
            Self::NothingShot { .. } => "provider",
            Self::Team(_) => "team",
            Self::UnknownMoney { .. } => "unknown_money",
            Self::Memory(_) => "memory",
            Self::Brief(_) | Self::Damaged(_) => "damaged",
            Self::Film(_)
            | Self::Animatic(_)
            | Self::Folder { .. }
            | Self::TooManyReferences { .. }
            | Self::LostReference { .. } => "local",
        }
    }

    /// The reason in a sentence, for the run's row: with the command that raises the cap, where a
    /// cap is the reason.
    pub fn stop_message(&self) -> String {
        match self {
            Self::Till(TillError::OverBudget { raise, .. })
            | Self::Team(AgentError::Till(TillError::OverBudget { raise, .. })) => {
                format!("{self}{}{raise}", super::why::RAISE)
            }
            _ => self.to_string(),
        }
    }
}

const fn till_word(error: &TillError) -> &'static str {
    match error {
        TillError::Cancelled => "interrupted",
        TillError::OverBudget { .. } => "budget",
        // Somebody else has gone on with an operation, who drives the run by now.
        TillError::TakenOver
        | TillError::Store(StoreError::StateMoved { .. } | StoreError::TakenOver) => "taken_over",
        TillError::Store(_) => "database",
        TillError::NoPrice { .. } | TillError::PriceMismatch(_) => "unpriced",
        TillError::Provider(error) => match error.class {
            FailureClass::Credentials => "credentials",
            FailureClass::Funds => "funds",
            FailureClass::Network => "network",
            _ => "provider",
        },
    }
}

fn list(numbers: &[u32]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

impl From<PriceMismatch> for StudioError {
    fn from(error: PriceMismatch) -> Self {
        Self::Till(error.into())
    }
}
