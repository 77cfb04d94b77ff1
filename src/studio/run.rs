//! A run and its legal transitions, and what the user chose for it. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CampaignId, FileId, TakeId};
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;
use crate::memory::reuse::{Alike, ReusePolicy};
use crate::store::campaign_styles::CampaignStyle;
use crate::store::files::UserFile;
use crate::studio::wording::Wording;

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The team is writing script and storyboard.
    Writing,
    /// The storyboard is kept and priced; images and clips wait for a yes.
    Planned,
    /// Images and clips are being bought and fetched.
    Shooting,
    /// The clips are there; the film is being cut.
    Cutting,
    /// The film is there.
    Done,
    /// The film is there without some of its shots.
    Partial,
    /// The team could not agree on a storyboard; what it cost is booked, and a new run starts afresh.
    Failed,
}

impl RunState {
    /// Every stage, in order.
    pub const ALL: [Self; 7] = [
        Self::Writing,
        Self::Planned,
        Self::Shooting,
        Self::Cutting,
        Self::Done,
        Self::Partial,
        Self::Failed,
    ];

    /// Whether a run may go from here to `next`. Entering a stage again is always allowed,
    /// because a step that is repeated after a crash must be safe.
    pub const fn may_become(self, next: Self) -> bool {
        use RunState::{Cutting, Done, Failed, Partial, Planned, Shooting, Writing};
        matches!(
            (self, next),
            (Writing, Writing | Planned | Cutting | Failed)
                | (Planned, Planned | Shooting | Cutting)
                | (Shooting | Cutting, Shooting | Cutting)
                | (Cutting, Done | Partial)
                | (Partial, Shooting | Partial)
                | (Done, Done)
        )
    }

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writing => "writing",
            Self::Planned => "planned",
            Self::Shooting => "shooting",
            Self::Cutting => "cutting",
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a stage of a run"))
    }
}

/// What the user chose for a run; stored with it, so that `resume` needs to be told nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// The model of all three roles; none where the built-in outline writer writes.
    pub language_model: Option<String>,
    /// The model that draws.
    pub image_model: String,
    /// The model that moves.
    pub video_model: String,
    /// Whether clips have sound.
    pub audio: bool,
    /// The campaign that the video belongs to.
    pub campaign: Option<CampaignId>,
    /// The user's files that were given for it, by id and by name.
    #[serde(default)]
    pub files: Vec<(FileId, String)>,
    /// The pictures that every keyframe is to look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<RunReference>,
    /// The folder that the film is written to, absolute.
    pub folder: PathBuf,
    /// The most that the language work may cost, USD.
    pub language_budget_usd: Usd,
    /// The shot that this run takes again; none for a run that makes the whole film.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retake: Option<Retake>,
    /// Whether a run in the queue stops when its storyboard is priced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan_only: bool,
    /// Whether kept takes are used again; none where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ReusePolicy>,
    /// Which kept takes are used again, once that is decided: a run that goes on asks no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<Vec<Reused>>,
    /// The style of the campaign as it was when the video was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<CampaignStyle>,
    /// The names of the pictures that the storyboard may name, kept for the same reason as what recall
    /// found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<Vec<String>>,
    /// What recall found, kept so that a run that goes on asks the same questions again and
    /// is answered from its own books.
    #[serde(default)]
    pub recalled: Option<Recalled>,
}

impl RunOptions {
    /// The words that the video's campaign wants and avoids.
    pub fn wording(&self) -> Wording {
        self.style.as_ref().map_or_else(Wording::default, |style| Wording {
            to_use: style.words_to_use.clone(),
            to_avoid: style.words_to_avoid.clone(),
        })
    }
}

/// A picture of the user's that every keyframe of a run is to look like: enough to find its bytes
/// whatever becomes of its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReference {
    /// The file.
    pub file: FileId,
    /// Its name, by which the team knows it.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Where it lay when it was given, absolute.
    pub path: PathBuf,
}

impl RunReference {
    /// A reference to a stored picture.
    pub fn to(file: &UserFile) -> Self {
        Self {
            file: file.id,
            name: file.name.clone(),
            sha256: file.sha256.clone(),
            path: PathBuf::from(&file.path),
        }
    }
}

/// What of a shot is bought again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retake {
    /// The shot's number, from 1.
    pub shot: u32,
    /// Whether it gets a new keyframe.
    pub image: bool,
    /// Whether it gets a new clip.
    pub clip: bool,
}

impl Retake {
    /// Whether a step of a shot is bought again.
    pub fn buys(self, shot: u32, kind: OperationKind) -> bool {
        self.shot == shot
            && match kind {
                OperationKind::Image => self.image,
                OperationKind::Clip => self.clip,
                _ => false,
            }
    }
}

/// A kept take that a shot uses instead of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reused {
    /// The shot's number, from 1.
    pub shot: u32,
    /// The take of another project that is its keyframe.
    pub image: Option<TakeId>,
    /// The take of another project that is its clip.
    pub clip: Option<TakeId>,
    /// How it was found.
    pub alike: Alike,
    /// How alike it is, 0 to 100.
    pub percent: u8,
}

/// What recall told the team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// Similar work and files, as text.
    pub work: String,
    /// What the user likes, as text.
    pub preferences: String,
    /// The campaign, as text.
    pub campaign: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stage_leads_back_to_writing() {
        for state in RunState::ALL {
            if state != RunState::Writing {
                assert!(!state.may_become(RunState::Writing), "{state}");
            }
        }
    }

    #[test]
    fn a_finished_film_is_not_shot_again() {
        assert!(!RunState::Done.may_become(RunState::Shooting));
        assert!(RunState::Partial.may_become(RunState::Shooting));
    }

    #[test]
    fn names_round_trip() {
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse::<RunState>(), Ok(state));
        }
    }
}
