//! Which kept take may stand in for one that is about to be bought. What is decided here is pure;
//! `matching` asks the store and the embedder.

mod likeness;
mod matching;
mod ranking;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::reuse::KeptTake;

pub use ranking::{Assigned, assign};

/// Whether kept takes are used again instead of buying new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReusePolicy {
    /// What is the same or nearly the same is used again without a word.
    Auto,
    /// What is alike is offered, and the user says which of it is used again.
    Ask,
    /// Everything is bought; nothing is looked up.
    Never,
}

impl ReusePolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Ask, Self::Never];

    /// The name on the command line and in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ask => "ask",
            Self::Never => "never",
        }
    }

    /// What a chosen policy comes to: nobody can be asked without a terminal, and whoever said yes to
    /// everything beforehand without a word about reuse is not asked either.
    pub const fn in_force(chosen: Option<Self>, can_be_asked: bool, said_yes: bool) -> Self {
        match chosen {
            Some(Self::Auto) => Self::Auto,
            Some(Self::Ask) if can_be_asked => Self::Ask,
            None if can_be_asked && !said_yes => Self::Ask,
            Some(Self::Ask | Self::Never) | None => Self::Never,
        }
    }
}

impl fmt::Display for ReusePolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for ReusePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| format!("'{text}' is none of auto, ask, never"))
    }
}

/// How a take was found to be alike, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alike {
    /// Everything that determines the result is equal.
    Exact,
    /// The same words but for a few, their order and their style.
    Near,
    /// The same said in other words, as the embedder sees it.
    Meaning,
}

impl Alike {
    /// The name for people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Near => "near",
            Self::Meaning => "meaning",
        }
    }
}

/// A shot that lacks a take.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The shot's number, from 1.
    pub shot: u32,
    /// What its keyframe shows.
    pub image_prompt: String,
    /// How it moves.
    pub motion_prompt: String,
    /// How long it stands in the film, in seconds.
    pub seconds: Decimal,
    /// The length that would be bought, in seconds.
    pub bought_seconds: u32,
    /// Whether the clip must have sound.
    pub audio: bool,
    /// The model that would draw.
    pub image_model: String,
    /// The model that would move.
    pub video_model: String,
    /// The shape of the picture, such as `9:16`.
    pub aspect: String,
    /// What it is to look like, see [`references`].
    pub references: Vec<String>,
    /// The SHA-256 of the keyframe that it has already; then only a clip of that very picture will do.
    pub keyframe: Option<String>,
}

impl Wanted {
    /// Whether it is to look like a picture of which only the name is known, see [`references`].
    fn names_unknown_pictures(&self) -> bool {
        self.references.iter().any(|reference| reference.starts_with("name "))
    }
}

/// A kept take that may stand in for what a shot lacks: a keyframe, from which a new clip is made, or a
/// clip with the picture that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The keyframe; of a clip the picture that it was made from. None where the shot has it already.
    pub image: Option<KeptTake>,
    /// The clip.
    pub clip: Option<KeptTake>,
    /// How it was found; of a clip the worse of its picture and its motion.
    pub alike: Alike,
    /// From 0 to 1: of words the part that is shared, by meaning the cosine.
    pub similarity: f64,
    /// Whether it may be taken without asking.
    pub is_safe: bool,
}

impl Candidate {
    /// The take that one looks at to judge it.
    pub fn shown(&self) -> Option<&KeptTake> {
        self.clip.as_ref().or(self.image.as_ref())
    }

    /// The similarity in hundredths, rounded down: 100 is said of what is equal alone.
    pub fn percent(&self) -> u8 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 100 by the clamp"
        )]
        let percent = (self.similarity * 100.0).clamp(0.0, 100.0) as u8;
        if self.alike == Alike::Exact { 100 } else { percent.min(99) }
    }
}

/// How long ago something was kept, in words.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let days = now.duration_since(then).as_hours().max(0) / 24;
    match days {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        2..=59 => format!("{days} days ago"),
        60..=729 => format!("{} months ago", days / 30),
        _ => format!("{} years ago", days / 365),
    }
}

/// From which cosine on two prompts count as the same picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Thresholds {
    /// For an offer that the user looks at.
    ask: f64,
    /// For taking it without asking; none where the embedder cannot be trusted with that.
    auto: Option<f64>,
}

/// The built-in embedder's were measured on the pairs of this module's tests: from 0.7 on it offers 14 of
/// 16 pictures that are the same in other words, and 2 of 24 that are not. It sees words and no
/// meaning, so a high cosine with one telling word exchanged is another picture: it only ever offers.
/// OpenAI's are not measured here, but set with a margin over what its third generation gives two
/// different pictures of one topic. What contradicts in number, colour, time of day and the like is not
/// alike, whatever its cosine.
fn thresholds(model: &str) -> Thresholds {
    match model {
        "builtin-lexical-1" => Thresholds { ask: 0.7, auto: None },
        "text-embedding-3-small" | "text-embedding-3-large" => {
            Thresholds { ask: 0.78, auto: Some(0.93) }
        }
        _ => Thresholds { ask: 0.85, auto: None },
    }
}

/// What a shot is to look like, in a form in which equal things are equal: a file by its content, an
/// earlier shot by what it shows, sorted. `for_all` are the SHA-256 of what every keyframe of the film
/// is to look like; `file` knows the SHA-256 of the run's files by name, `shot` the image prompts of the
/// storyboard by number.
pub fn references<'sha256>(
    names: &[String],
    for_all: impl IntoIterator<Item = &'sha256 str>,
    file: impl Fn(&str) -> Option<String>,
    shot: impl Fn(u32) -> Option<String>,
) -> Vec<String> {
    let mut keys: Vec<String> = names
        .iter()
        .map(|name| {
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            let is_shot = name.trim().to_lowercase().starts_with("shot");
            let prompt = digits.parse().ok().filter(|_| is_shot).and_then(&shot);
            match (file(name), prompt) {
                (Some(sha256), _) => format!("file {sha256}"),
                (None, Some(prompt)) => format!("shot {}", likeness::normal(&prompt)),
                (None, None) => format!("name {}", likeness::normal(name)),
            }
        })
        .chain(for_all.into_iter().map(|sha256| format!("file {sha256}")))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Whether a storyboard's reference names a file: case and quotation marks do not matter.
pub fn is_named(file: &str, name: &str) -> bool {
    file.to_lowercase() == name.trim().trim_matches(['"', '“', '”']).to_lowercase()
}

/// The fingerprint of everything that determines a keyframe.
pub fn fingerprint_of_image(
    model: &str,
    prompt: &str,
    aspect: &str,
    references: &[String],
) -> String {
    digest(&["image", model, &likeness::normal(prompt), aspect, &references.join("\n")])
}

/// The fingerprint of everything that determines a clip: the picture by its SHA-256, the length that
/// was bought in seconds.
pub fn fingerprint_of_clip(
    model: &str,
    keyframe: &str,
    motion: &str,
    seconds: u32,
    audio: bool,
) -> String {
    let sound = if audio { "sound" } else { "silent" };
    digest(&["clip", model, keyframe, &likeness::normal(motion), &seconds.to_string(), sound])
}

/// What must be equal before prompts are compared at all.
fn frame(aspect: &str, references: &[String]) -> String {
    digest(&["frame", aspect, &references.join("\n")])
}

/// SHA-256 of some texts, hexadecimal; no two lists of texts share one by running together.
fn digest(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(u64::try_from(part.len()).unwrap_or_default().to_le_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::lexical;

    #[test]
    fn nobody_is_asked_who_cannot_answer() {
        use ReusePolicy::{Ask, Auto, Never};
        for (chosen, can_be_asked, said_yes, expected) in [
            (None, true, false, Ask),
            (None, true, true, Never),
            (None, false, false, Never),
            (None, false, true, Never),
            (Some(Ask), true, true, Ask),
            (Some(Ask), false, true, Never),
            (Some(Auto), false, true, Auto),
            (Some(Auto), true, false, Auto),
            (Some(Never), true, false, Never),
        ] {
            assert_eq!(ReusePolicy::in_force(chosen, can_be_asked, said_yes), expected);
        }
    }

    #[test]
    fn whatever_changes_the_picture_changes_its_fingerprint() {
        let references = vec!["file 00ff".to_owned()];
        let image = |model, prompt, aspect, references: &[String]| {
            fingerprint_of_image(model, prompt, aspect, references)
        };
        let one = image("mj", "A bowl of soup", "9:16", &references);
        assert_eq!(one, image("mj", " a bowl of  SOUP.", "9:16", &references));
        for other in [
            image("nb", "A bowl of soup", "9:16", &references),
            image("mj", "A bowl of stew", "9:16", &references),
            image("mj", "A bowl of soup", "1:1", &references),
            image("mj", "A bowl of soup", "9:16", &[]),
        ] {
            assert_ne!(one, other);
        }
        let clip = fingerprint_of_clip("kling", "aa", "steam rises", 5, false);
        for other in [
            fingerprint_of_clip("kling-3", "aa", "steam rises", 5, false),
            fingerprint_of_clip("kling", "ab", "steam rises", 5, false),
            fingerprint_of_clip("kling", "aa", "steam sinks", 5, false),
            fingerprint_of_clip("kling", "aa", "steam rises", 10, false),
            fingerprint_of_clip("kling", "aa", "steam rises", 5, true),
        ] {
            assert_ne!(clip, other);
        }
    }

    #[test]
    fn references_are_known_by_what_they_are() {
        let file = |name: &str| (name == "logo.png").then(|| "abc".to_owned());
        let shot = |number| (number == 1).then(|| "A bowl of Soup".to_owned());
        let names = ["Shot 1", "logo.png", "grandma"].map(str::to_owned);
        assert_eq!(
            references(&names, [], file, shot),
            ["file abc", "name grandma", "shot a bowl of soup"]
        );
    }

    #[test]
    fn ages_are_said_as_people_say_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (then, said) in [
            ("2026-11-22T11:00:00Z", "today"),
            ("2026-11-21T11:00:00Z", "yesterday"),
            ("2026-11-10T11:00:00Z", "12 days ago"),
            ("2026-05-10T11:00:00Z", "6 months ago"),
            ("2023-05-10T11:00:00Z", "3 years ago"),
            ("2026-11-22T13:00:00Z", "today"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now), said);
        }
    }

    /// Pairs of prompts: whether they ask for the same picture.
    const LABELLED: &[(bool, &str, &str)] = include!("labelled.in");

    #[test]
    fn the_built_in_embedders_threshold_lies_where_the_labelled_pairs_say() {
        let cosine = |one: &str, other: &str| -> f64 {
            let pairs = lexical::embed(one).into_iter().zip(lexical::embed(other));
            pairs.map(|(one, other)| f64::from(one) * f64::from(other)).sum()
        };
        let Thresholds { ask, auto } = thresholds(lexical::MODEL);
        assert_eq!(auto, None);
        let (mut offered_right, mut same, mut offered_wrong, mut different) = (0, 0, 0, 0);
        for (is_same, one, other) in LABELLED {
            let cosine = cosine(one, other);
            let contradicts = likeness::Saying::of(one).contradicts(&likeness::Saying::of(other));
            let is_offered = cosine >= ask && !contradicts;
            if *is_same {
                same += 1;
                offered_right += usize::from(is_offered);
            } else {
                different += 1;
                offered_wrong += usize::from(is_offered);
            }
        }
        let figures = [offered_right, same, offered_wrong, different];
        assert_eq!(figures, [14, 16, 2, 24], "offered, same; offered, different");
    }

    #[test]
    fn no_labelled_pair_of_two_pictures_is_taken_without_asking() {
        for (is_same, one, other) in LABELLED {
            let (one_saying, other_saying) =
                (likeness::Saying::of(one), likeness::Saying::of(other));
            if !is_same {
                assert_eq!(one_saying.nearness(&other_saying), None, "{one} | {other}");
            }
        }
    }
}
