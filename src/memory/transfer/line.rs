//! A project as one line of JSON: format 1, described in `docs/projects.md`.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ids::ProjectId;
use crate::store::embeddings::PassageKind;
use crate::store::past::{PastFeedback, PastProject};
use crate::studio::storyboard::Shot;

/// The version of the format that is written and read.
pub const FORMAT: u32 = 1;
/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectLine {
    /// [`FORMAT`], also where it is not said.
    #[serde(default = "format")]
    pub format: u32,
    /// The project's id, a UUID; a UUID is made of any other id and the user, and of the rest where
    /// none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose it is; who imports it where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of its campaign, or a list of names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Campaigns>,
    /// When it was made.
    #[serde(deserialize_with = "time")]
    pub created_at: Timestamp,
    /// What was asked for.
    pub brief: String,
    /// The film's title.
    #[serde(default)]
    pub title: String,
    /// The shape of the picture, such as `9:16`.
    #[serde(default)]
    pub aspect: Option<String>,
    /// The length of the film in seconds; the sum of its shots where it is not said.
    #[serde(default, with = "rust_decimal::serde::float_option")]
    pub duration_seconds: Option<Decimal>,
    /// The number of shots that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shot_count: Option<u32>,
    /// `{"title", "logline", "beats": [{"action", "narration", "on_screen_text"}]}`, or plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Value>,
    /// Who wrote the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_author: Option<String>,
    /// The shots, in order.
    #[serde(default)]
    pub shots: Vec<ShotLine>,
    /// The latest rating of the whole film, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<i16>,
    /// Everything that was said about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feedback: Vec<FeedbackLine>,
    /// The brief as a part of a file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The project whose storyboard this one was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_project: Option<ProjectId>,
    /// Vectors of its texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<VectorLine>,
}

/// One name, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Campaigns {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// A shot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShotLine {
    /// Its place in the film, from 1; its place in the list where it is not said.
    #[serde(default)]
    pub number: Option<u32>,
    /// What the keyframe shows.
    #[serde(alias = "prompt")]
    pub image_prompt: String,
    /// How the picture moves.
    #[serde(default)]
    pub motion_prompt: String,
    /// Its length in seconds; 5 where it is not said.
    #[serde(default, with = "rust_decimal::serde::float_option")]
    pub duration_seconds: Option<Decimal>,
    /// Words on the screen.
    #[serde(default, alias = "text")]
    pub on_screen_text: String,
    /// What a voice says over it.
    #[serde(default)]
    pub narration: String,
    /// Names of what it should look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackLine {
    /// When.
    #[serde(deserialize_with = "time")]
    pub created_at: Timestamp,
    /// The number of the shot, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shot: Option<u32>,
    /// 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<i16>,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The vector of one passage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorLine {
    /// What the passage is taken from: `project`, `script` or `shot`.
    pub of: PassageKind,
    /// The number of the shot, of a shot's passage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shot: Option<u32>,
    /// Which part of a long text, from 0.
    #[serde(default)]
    pub part: i32,
    /// SHA-256 of the passage's text, hexadecimal: a vector of another text is not taken.
    pub sha256: String,
    /// The model.
    pub model: String,
    /// The numbers, at most 1536; the zeros at the end may be left out.
    pub numbers: Vec<f32>,
}

const fn format() -> u32 {
    FORMAT
}

/// A time, or a day: then its midnight in UTC.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    text.parse::<Timestamp>().ok().or_else(day).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "'{text}' is not a time, such as 2025-03-01T12:00:00Z or 2025-03-01"
        ))
    })
}

impl ProjectLine {
    /// The line of a project.
    pub fn of(project: PastProject, vectors: Vec<VectorLine>) -> Self {
        let rating = latest_rating(&project.feedback);
        let mut campaigns = project.campaigns;
        let campaign = match campaigns.len() {
            0 => None,
            1 => campaigns.pop().map(Campaigns::One),
            _ => Some(Campaigns::Many(campaigns)),
        };
        Self {
            format: FORMAT,
            id: Some(project.id.to_string()),
            user: Some(project.user_id),
            campaign,
            created_at: project.created_at,
            brief: project.brief,
            title: project.title,
            aspect: Some(project.aspect),
            duration_seconds: Some(project.duration_seconds),
            shot_count: u32::try_from(project.shot_count).ok(),
            script: project.script,
            script_author: project.script_author,
            shots: project.shots.into_iter().map(ShotLine::from).collect(),
            rating,
            feedback: project
                .feedback
                .into_iter()
                .map(|said| FeedbackLine {
                    created_at: said.created_at,
                    shot: said.shot,
                    rating: said.rating,
                    note: said.note,
                })
                .collect(),
            slug: Some(project.slug),
            source_project: project.source_project,
            vectors,
        }
    }
}

impl From<Shot> for ShotLine {
    fn from(shot: Shot) -> Self {
        Self {
            number: Some(shot.number),
            image_prompt: shot.image_prompt,
            motion_prompt: shot.motion_prompt,
            duration_seconds: Some(shot.duration_seconds),
            on_screen_text: shot.on_screen_text,
            narration: shot.narration,
            references: shot.references,
        }
    }
}

/// The latest rating of a whole film.
pub(super) fn latest_rating(feedback: &[PastFeedback]) -> Option<i16> {
    feedback.iter().rev().find_map(|said| said.rating.filter(|_| said.shot.is_none()))
}
