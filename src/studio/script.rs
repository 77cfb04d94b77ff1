//! What the film says: the Writer's work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::studio::storyboard::{Shot, Storyboard};

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 80;
/// The longest on-screen text of a beat, in characters.
pub const LONGEST_BEAT_TEXT: usize = 60;

/// The script of a film.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The film's title, at most 80 characters.
    pub title: String,
    /// The film in one sentence.
    pub logline: String,
    /// One beat for each shot, in order.
    pub beats: Vec<Beat>,
}

/// What one shot tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// What happens.
    pub action: String,
    /// What a voice would say over it; empty where nobody speaks.
    pub narration: String,
    /// Words shown on the screen, at most 60 characters; empty for none.
    pub on_screen_text: String,
}

/// Why a script was not taken, in words that its author (often a model) can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(pub String);

impl Script {
    /// The script that a storyboard implies, where nobody wrote one.
    pub fn implied_by(storyboard: &Storyboard) -> Self {
        let beat = |shot: &Shot| Beat {
            action: shot.image_prompt.clone(),
            narration: shot.narration.clone(),
            on_screen_text: shot.on_screen_text.clone(),
        };
        Self {
            title: storyboard.title.clone(),
            logline: storyboard.title.clone(),
            beats: storyboard.shots.iter().map(beat).collect(),
        }
    }

    /// Checks the script: a title and a logline, beats with something happening in each, and
    /// texts short enough for the screen. One beat for each shot is asked for and not insisted on:
    /// the storyboard decides what is shot.
    pub fn check(&self) -> Result<(), ScriptError> {
        let wrong = |message: String| Err(ScriptError(message));
        if self.title.trim().is_empty() {
            return wrong("the title is empty".to_owned());
        }
        let length = self.title.chars().count();
        if length > LONGEST_TITLE {
            return wrong(format!(
                "the title has {length} characters; at most {LONGEST_TITLE} are taken"
            ));
        }
        if self.logline.trim().is_empty() {
            return wrong("the logline is empty".to_owned());
        }
        if self.beats.is_empty() {
            return wrong("the script has no beats".to_owned());
        }
        for (beat, number) in self.beats.iter().zip(1..) {
            if beat.action.trim().is_empty() {
                return wrong(format!("the action of beat {number} is empty"));
            }
            let length = beat.on_screen_text.chars().count();
            if length > LONGEST_BEAT_TEXT {
                return wrong(format!(
                    "the on_screen_text of beat {number} has {length} characters; at most {LONGEST_BEAT_TEXT} are taken"
                ));
            }
        }
        Ok(())
    }
}
