//! What the film says: the Writer's work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
