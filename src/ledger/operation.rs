//! An operation is one paid call. This is its state machine: pure, and the only place that
//! knows which transitions are legal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of call an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A turn of a language model.
    Language,
    /// An embedding call.
    Embedding,
    /// An upload of a keyframe: free, and made anew for every clip.
    Upload,
    /// A keyframe.
    Image,
    /// A clip.
    Clip,
}

impl OperationKind {
    /// Whether a lost reply may be asked for again: language and embedding replies leave
    /// nothing behind that could be adopted, images and clips do.
    pub const fn may_be_asked_again(self) -> bool {
        matches!(self, Self::Language | Self::Embedding)
    }

    /// Whether it costs nothing.
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Upload)
    }

    /// Whether it leaves a job at the provider that can be asked about.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::Image | Self::Clip)
    }

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Language => "language",
            Self::Embedding => "embedding",
            Self::Upload => "upload",
            Self::Image => "image",
            Self::Clip => "clip",
        }
    }
}

impl FromStr for OperationKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Language, Self::Embedding, Self::Upload, Self::Image, Self::Clip]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a kind of operation"))
    }
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It has a row and has not been sent.
    Planned,
    /// It is being sent. Nothing in this state is ever sent again by itself.
    Submitting,
    /// The provider answered with a request id.
    Submitted,
    /// The provider finished; the result is not yet on this disk.
    Ready,
    /// The result is kept: on disk, checked and hashed, or stored in the row.
    Kept,
    /// It failed and the provider does not charge for it.
    FailedNotCharged,
    /// It failed and the provider charges for it all the same.
    FailedCharged,
    /// It was sent and nobody knows what became of it.
    Unknown,
}

impl OperationState {
    /// Every state, in the order of a good life.
    pub const ALL: [Self; 8] = [
        Self::Planned,
        Self::Submitting,
        Self::Submitted,
        Self::Ready,
        Self::Kept,
        Self::FailedNotCharged,
        Self::FailedCharged,
        Self::Unknown,
    ];

    /// Whether an operation may go from here to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        use OperationState::{
            FailedCharged, FailedNotCharged, Kept, Planned, Ready, Submitted, Submitting, Unknown,
        };
        matches!(
            (self, next),
            // Planned and kept without being sent: a kept take is used again.
            (Planned, Submitting | Kept | FailedNotCharged)
                | (Submitting, Submitted | Kept | FailedNotCharged | FailedCharged | Unknown)
                | (Submitted, Ready | FailedNotCharged | FailedCharged | Unknown)
                | (Ready, Kept | FailedCharged)
                | (Unknown, Submitted | Ready | Kept | FailedNotCharged | FailedCharged)
                // The bill knows better than what the provider said when it failed.
                | (FailedNotCharged, FailedCharged)
        )
    }

    /// Whether nothing more will happen to an operation in this state by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Kept | Self::FailedNotCharged | Self::FailedCharged)
    }

    /// Whether the money of an operation in this state is still only promised.
    pub const fn holds_reservation(self) -> bool {
        matches!(self, Self::Submitting | Self::Submitted | Self::Ready)
    }

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Submitting => "submitting",
            Self::Submitted => "submitted",
            Self::Ready => "ready",
            Self::Kept => "kept",
            Self::FailedNotCharged => "failed_not_charged",
            Self::FailedCharged => "failed_charged",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for OperationState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a state of an operation"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_never_planned_again() {
        for state in OperationState::ALL {
            assert!(!state.may_become(OperationState::Planned), "{state}");
            if state != OperationState::Planned {
                assert!(!state.may_become(OperationState::Submitting), "{state}");
            }
        }
    }

    #[test]
    fn final_states_are_final() {
        for state in OperationState::ALL.into_iter().filter(|state| state.is_final()) {
            for next in OperationState::ALL {
                let is_billed_after_all = state == OperationState::FailedNotCharged
                    && next == OperationState::FailedCharged;
                assert_eq!(state.may_become(next), is_billed_after_all, "{state} -> {next}");
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for state in OperationState::ALL {
            assert_eq!(state.as_str().parse::<OperationState>(), Ok(state));
        }
    }
}
