//! What will be drawn and moved, shot by shot: the Director's work, and the plan of the film.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::studio::brief::Brief;

/// The shortest shot, in seconds.
pub const SHORTEST_SHOT_SECONDS: Decimal = Decimal::ONE;
/// The longest image or motion prompt, in characters. Midjourney takes 2,000 and Kling 2.6
/// through fal works best under 2,500.
pub const LONGEST_PROMPT: usize = 1_800;
/// The longest on-screen text, in characters.
pub const LONGEST_SCREEN_TEXT: usize = 120;

/// The plan of a film, shot by shot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storyboard {
    /// The film's title.
    pub title: String,
    /// The shots, in order; the first is number 1.
    pub shots: Vec<Shot>,
}

/// One shot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// Its place in the film, from 1.
    pub number: u32,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// How the picture moves.
    pub motion_prompt: String,
    /// How long it stands in the film, in seconds.
    pub duration_seconds: Decimal,
    /// Words for the screen; empty for none.
    pub on_screen_text: String,
    /// What a voice would say over it; empty for none.
    pub narration: String,
    /// Names of earlier shots or files that it should look like.
    #[serde(default)]
    pub references: Vec<String>,
}

/// Why a storyboard was not taken, in words that its author (often a model) can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoryboardError(pub String);

impl Storyboard {
    /// Length of the film in seconds.
    pub fn duration_seconds(&self) -> Decimal {
        self.shots.iter().map(|shot| shot.duration_seconds).sum()
    }

    /// Checks the storyboard against the brief: shots numbered from 1 without gaps, as many as
    /// asked, prompts present and short enough, durations at least
    /// [`SHORTEST_SHOT_SECONDS`] and no longer than `longest_shot_seconds`.
    pub fn check(&self, brief: &Brief, longest_shot_seconds: u32) -> Result<(), StoryboardError> {
        let wrong = |message: String| Err(StoryboardError(message));
        if self.title.trim().is_empty() {
            return wrong("the title is empty".to_owned());
        }
        if self.shots.len() != brief.shots as usize {
            return wrong(format!(
                "the storyboard has {} shots; {} were asked for",
                self.shots.len(),
                brief.shots
            ));
        }
        for (index, shot) in self.shots.iter().enumerate() {
            let number = index + 1;
            if shot.number as usize != number {
                return wrong(format!("shot {number} carries the number {}", shot.number));
            }
            for (name, prompt) in
                [("image_prompt", &shot.image_prompt), ("motion_prompt", &shot.motion_prompt)]
            {
                let length = prompt.chars().count();
                if prompt.trim().is_empty() {
                    return wrong(format!("the {name} of shot {number} is empty"));
                }
                if length > LONGEST_PROMPT {
                    return wrong(format!(
                        "the {name} of shot {number} has {length} characters; at most {LONGEST_PROMPT} are taken"
                    ));
                }
            }
            if shot.on_screen_text.chars().count() > LONGEST_SCREEN_TEXT {
                return wrong(format!(
                    "the on_screen_text of shot {number} is longer than {LONGEST_SCREEN_TEXT} characters"
                ));
            }
            if shot.duration_seconds < SHORTEST_SHOT_SECONDS
                || shot.duration_seconds > Decimal::from(longest_shot_seconds)
            {
                return wrong(format!(
                    "shot {number} lasts {} s; it must last {SHORTEST_SHOT_SECONDS} to {longest_shot_seconds} s",
                    shot.duration_seconds
                ));
            }
        }
        let (length, asked) = (self.duration_seconds(), brief.duration_seconds);
        if (length - asked).abs() > Decimal::new(5, 1) {
            return wrong(format!(
                "the shots last {length} s together; the film must last {asked} s"
            ));
        }
        Ok(())
    }
}
