//! Evidence: what single ratings, notes, retakes and briefs say of single traits.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::decay::WHOLE;
use super::reading::{Liking, Matter, remarks};
use super::traits::Trait;
use crate::ids::{FeedbackId, ProjectId, ShotId};
use crate::store::taste::{Film, Said};

/// What a remark in the user's own words weighs.
const NOTE: u32 = 2 * WHOLE;
/// What a remark weighs that says what, and leaves it to the rating whether it was good.
const RATED_NOTE: u32 = WHOLE;
/// What a wish in a brief weighs: it is for this film first.
const BRIEF: u32 = WHOLE / 4;

/// Where a piece of evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// The user wrote it about a film or shot.
    Note,
    /// Films or shots that have it were rated otherwise than those that lack it.
    Rating,
    /// A shot that has it was taken again.
    Retake,
    /// A shot that has it was kept where others were taken again.
    Kept,
    /// The user asked for it in a brief.
    Brief,
}

impl EvidenceKind {
    const ALL: [Self; 5] = [Self::Note, Self::Rating, Self::Retake, Self::Kept, Self::Brief];

    /// The name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Rating => "rating",
            Self::Retake => "retake",
            Self::Kept => "kept",
            Self::Brief => "brief",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for EvidenceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a kind of evidence"))
    }
}

/// What evidence is about.
#[derive(Debug, Clone)]
pub enum Topic {
    /// A trait of the lexicon.
    Trait(&'static Trait),
    /// Something in the user's own words, by the stems of its words.
    Words(Vec<String>),
}

impl Topic {
    /// What tells it from other topics, in the database.
    pub fn key(&self) -> String {
        match self {
            Self::Trait(of) => format!("trait:{}", of.name),
            Self::Words(stems) => format!("words:{}", stems.join(" ")),
        }
    }
}

/// One piece of evidence.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What it is about.
    pub topic: Topic,
    /// Whether it speaks for liking it.
    pub liking: Liking,
    /// Where it comes from.
    pub kind: EvidenceKind,
    /// What it weighs fresh, in thousandths of a plain rating.
    pub weight: u32,
    /// The film.
    pub project: ProjectId,
    /// The shot, where it is about one.
    pub shot: Option<ShotId>,
    /// The rating or note that it was read from.
    pub feedback: Option<FeedbackId>,
    /// What the user wrote, or where in the film it was seen.
    pub words: String,
    /// When.
    pub at: Timestamp,
}

/// What a note says.
pub fn of_note(said: &Said) -> impl Iterator<Item = Evidence> {
    remarks(&said.note, said.rating).into_iter().map(|remark| Evidence {
        topic: match remark.matter {
            Matter::Trait(of) => Topic::Trait(of),
            Matter::Words { stems, .. } => Topic::Words(stems),
        },
        liking: remark.liking,
        kind: EvidenceKind::Note,
        weight: if remark.is_explicit { NOTE } else { RATED_NOTE },
        project: said.project,
        shot: said.shot,
        feedback: Some(said.id),
        words: remark.clause,
        at: said.at,
    })
}

/// How a brief wants its film to be. What the film is about is no taste.
pub fn of_brief(film: &Film) -> impl Iterator<Item = Evidence> {
    let mut seen = Vec::new();
    remarks(&film.brief, Some(5)).into_iter().filter_map(move |remark| {
        let Matter::Trait(of) = remark.matter else { return None };
        if !of.is_manner || seen.contains(&of.name) {
            return None;
        }
        seen.push(of.name);
        Some(Evidence {
            topic: Topic::Trait(of),
            liking: remark.liking,
            kind: EvidenceKind::Brief,
            weight: BRIEF,
            project: film.project,
            shot: None,
            feedback: None,
            words: remark.clause,
            at: film.created_at,
        })
    })
}
