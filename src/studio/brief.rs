//! What the user asks for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The longest brief, in bytes. A brief is a wish, not a document: documents are files.
pub const LONGEST_BRIEF_BYTES: usize = 20_000;
/// The most shots in one storyboard.
pub const MOST_SHOTS: u32 = 60;
/// The longest film, in seconds.
pub const LONGEST_FILM_SECONDS: u32 = 600;

/// The user's wish, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// What the video is about, in the user's words.
    pub text: BriefText,
    /// Length of the film in seconds.
    pub duration_seconds: Decimal,
    /// Number of shots.
    pub shots: u32,
    /// Shape of the picture.
    pub aspect: Aspect,
    /// Documents and pictures to use.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

impl Brief {
    /// One shot for each five seconds, at least one.
    pub fn default_shots(duration_seconds: Decimal) -> u32 {
        let shots = (duration_seconds / Decimal::from(5)).round();
        u32::try_from(shots).unwrap_or(MOST_SHOTS).clamp(1, MOST_SHOTS)
    }
}

/// The text of a brief: not blank, of a sane length, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BriefText(String);

impl BriefText {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BriefText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a brief was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BriefError {
    /// Nothing but white space.
    #[error("the brief is empty")]
    Empty,
    /// Longer than [`LONGEST_BRIEF_BYTES`].
    #[error("the brief has {bytes} bytes; at most {LONGEST_BRIEF_BYTES} are taken")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A control character other than tab and line feed.
    #[error("the brief holds binary data (the character {character:?} at byte {position})")]
    Binary {
        /// The first such character.
        character: char,
        /// Where it stands, in bytes from the start.
        position: usize,
    },
}

impl FromStr for BriefText {
    type Err = BriefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BriefError::Empty);
        }
        if text.len() > LONGEST_BRIEF_BYTES {
            return Err(BriefError::TooLong { bytes: text.len() });
        }
        let is_binary = |character: char| {
            character == char::REPLACEMENT_CHARACTER
                || (character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
        };
        if let Some((position, character)) =
            text.char_indices().find(|&(_, character)| is_binary(character))
        {
            return Err(BriefError::Binary { character, position });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The shape of the picture. Each of these is sold by Midjourney and by the unified image
/// models, and lies inside the range that Kling accepts (0.40 to 2.50).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Aspect {
    /// Upright, for phones.
    #[default]
    #[serde(rename = "9:16")]
    Portrait9x16,
    /// Wide, for screens.
    #[serde(rename = "16:9")]
    Landscape16x9,
    /// Square.
    #[serde(rename = "1:1")]
    Square,
    /// Upright, for feeds.
    #[serde(rename = "3:4")]
    Portrait3x4,
    /// Wide, the old screen.
    #[serde(rename = "4:3")]
    Landscape4x3,
    /// Upright, the photograph.
    #[serde(rename = "2:3")]
    Portrait2x3,
    /// Wide, the photograph.
    #[serde(rename = "3:2")]
    Landscape3x2,
}

impl Aspect {
    /// Every shape.
    pub const ALL: [Self; 7] = [
        Self::Portrait9x16,
        Self::Landscape16x9,
        Self::Square,
        Self::Portrait3x4,
        Self::Landscape4x3,
        Self::Portrait2x3,
        Self::Landscape3x2,
    ];

    /// As the vendors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Portrait9x16 => "9:16",
            Self::Landscape16x9 => "16:9",
            Self::Square => "1:1",
            Self::Portrait3x4 => "3:4",
            Self::Landscape4x3 => "4:3",
            Self::Portrait2x3 => "2:3",
            Self::Landscape3x2 => "3:2",
        }
    }

    /// Width and height of the finished film in pixels: the short side is 1080.
    pub const fn film_pixels(self) -> (u32, u32) {
        match self {
            Self::Portrait9x16 => (1080, 1920),
            Self::Landscape16x9 => (1920, 1080),
            Self::Square => (1080, 1080),
            Self::Portrait3x4 => (1080, 1440),
            Self::Landscape4x3 => (1440, 1080),
            Self::Portrait2x3 => (1080, 1620),
            Self::Landscape3x2 => (1620, 1080),
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Aspect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|aspect| aspect.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|aspect| aspect.as_str()).collect();
            format!(
                "'{text}' is not an aspect that can be made; choose one of {}",
                known.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn briefs_are_checked() {
        assert_eq!("  \n".parse::<BriefText>(), Err(BriefError::Empty));
        assert!(matches!("a\0b".parse::<BriefText>(), Err(BriefError::Binary { position: 1, .. })));
        assert!(matches!(
            "x".repeat(100_000).parse::<BriefText>(),
            Err(BriefError::TooLong { bytes: 100_000 })
        ));
        assert_eq!(" food video ".parse::<BriefText>().unwrap().as_str(), "food video");
    }

    #[test]
    fn film_pixels_are_even_and_of_the_named_shape() {
        for aspect in Aspect::ALL {
            let (width, height) = aspect.film_pixels();
            let (across, down) = aspect.as_str().split_once(':').unwrap();
            assert_eq!(width % 2 + height % 2, 0);
            assert_eq!(
                width * down.parse::<u32>().unwrap(),
                height * across.parse::<u32>().unwrap()
            );
        }
    }
}
