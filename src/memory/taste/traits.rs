//! The lexicon: what shots can have that a user may like or dislike, in the words of prompts and
//! of notes, and in the sentences in which it is told.
//!
//! Most traits stand alone ("drone shots"). Some are one end of a scale ("warm light", whose other
//! end is cold light): to dislike one end is to like the other, so that both count as one trait.

mod lexicon;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::memory::words::{Word, words};

pub use lexicon::TRAITS;

/// A trait of a picture, a shot or a film.
#[derive(Debug)]
pub struct Trait {
    /// Its name in the database. It stays the same for good.
    pub name: &'static str,
    /// What is told of a user who likes it.
    pub liked: &'static str,
    /// What is told of a user who dislikes it, or likes the other end of its scale.
    pub disliked: &'static str,
    /// Words of prompts and notes that show it.
    shown: &'static [&'static str],
    /// Words of prompts and notes that show the other end.
    shown_other: &'static [&'static str],
    /// Words that notes alone use for it, where a prompt would mean something else by them.
    said: &'static [&'static str],
    /// Words that notes alone use for the other end.
    said_other: &'static [&'static str],
    /// Words for an image prompt that has it; empty for none.
    pub picture: &'static str,
    /// Words for an image prompt that has the other end; empty for none.
    pub picture_other: &'static str,
    /// Words for a motion prompt that has it; empty for none.
    pub motion: &'static str,
    /// Words for a motion prompt that has the other end; empty for none.
    pub motion_other: &'static str,
    /// Whether it is a matter of how, and not of what is shown: only such traits are read from a
    /// brief, which names its subject for its own sake.
    pub is_manner: bool,
}

/// The trait of a name.
pub fn named(name: &str) -> Option<&'static Trait> {
    TRAITS.iter().find(|known| known.name == name)
}

impl Trait {
    /// Its place in the order in which traits are told.
    pub fn place(&self) -> usize {
        TRAITS.iter().position(|known| known.name == self.name).unwrap_or(TRAITS.len())
    }

    /// Words of prompts that show it, or its other end.
    pub const fn words(&self, is_other: bool) -> &'static [&'static str] {
        if is_other { self.shown_other } else { self.shown }
    }
}

/// Where a text speaks of a trait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mention {
    /// The trait.
    pub(super) of: &'static Trait,
    /// Whether it is the other end of its scale.
    pub(super) is_other: bool,
    /// The first of its words.
    pub(super) first: usize,
    /// The word after its last.
    pub(super) end: usize,
    /// Whether it is said in comparison: "warmer".
    pub(super) is_compared: bool,
}

/// What tells a trait, by the first stem of the phrase; longer phrases first.
type Phrases = HashMap<String, Vec<Phrase>>;

struct Phrase {
    stems: Vec<String>,
    of: &'static Trait,
    is_other: bool,
}

static IN_PROMPTS: LazyLock<Phrases> = LazyLock::new(|| phrases(false));
static IN_NOTES: LazyLock<Phrases> = LazyLock::new(|| phrases(true));

fn phrases(with_said: bool) -> Phrases {
    let mut phrases = Phrases::new();
    for of in TRAITS {
        let ends = [(of.shown, of.said, false), (of.shown_other, of.said_other, true)];
        for (shown, said, is_other) in ends {
            let said: &[&str] = if with_said { said } else { &[] };
            for text in shown.iter().chain(said) {
                let stems: Vec<String> = words(text).into_iter().map(|word| word.stem).collect();
                let Some(first) = stems.first().cloned() else { continue };
                phrases.entry(first).or_default().push(Phrase { stems, of, is_other });
            }
        }
    }
    for known in phrases.values_mut() {
        known.sort_by_key(|phrase| std::cmp::Reverse(phrase.stems.len()));
    }
    phrases
}

/// The traits that a prompt shows. What it says is not there does not count.
pub(super) fn in_prompt(text: &str) -> Vec<Mention> {
    let words = words(text);
    let mut found = mentions(&words, &IN_PROMPTS);
    found.retain(|mention| {
        let before = mention.first.checked_sub(1).map(|place| words[place].stem.as_str());
        !matches!(before, Some("no" | "not" | "without" | "never"))
    });
    found
}

/// The traits that a note speaks of.
pub(super) fn in_note(words: &[Word<'_>]) -> Vec<Mention> {
    mentions(words, &IN_NOTES)
}

/// The longest phrases first, none inside another.
fn mentions(words: &[Word<'_>], phrases: &Phrases) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut place = 0;
    while place < words.len() {
        let stem = words[place].stem.as_str();
        let fits = |known: &&Phrase, first: &str| {
            known.stems[0] == first
                && known.stems[1..].iter().enumerate().all(|(index, stem)| {
                    words.get(place + 1 + index).is_some_and(|word| word.stem == *stem)
                })
        };
        let plain = phrases.get(stem).and_then(|all| all.iter().find(|known| fits(known, stem)));
        let compared = || {
            positives(&words[place]).into_iter().find_map(|positive| {
                let known = phrases.get(&positive)?;
                known.iter().find(|known| known.stems.len() == 1)
            })
        };
        let (phrase, is_compared) = if let Some(phrase) = plain {
            (phrase, false)
        } else if let Some(phrase) = compared() {
            (phrase, true)
        } else {
            place += 1;
            continue;
        };
        let end = place + phrase.stems.len();
        // "closer" and "wider" are told as such.
        let is_compared = is_compared || matches!(stem, "closer" | "wider" | "dunkler");
        found.push(Mention {
            of: phrase.of,
            is_other: phrase.is_other,
            first: place,
            end,
            is_compared,
        });
        place = end;
    }
    found
}

/// What a comparative may be made of: warmer, calmer, sunnier, dimmer.
fn positives(word: &Word<'_>) -> Vec<String> {
    let folded = crate::memory::words::fold(word.written);
    let Some(base) = folded.strip_suffix("er").filter(|base| base.len() >= 3) else {
        return Vec::new();
    };
    let mut all = vec![base.to_owned(), format!("{base}e")];
    if let Some(base) = base.strip_suffix('i') {
        all.push(format!("{base}y"));
    }
    if let [.., before, last] = base.as_bytes()
        && before == last
    {
        all.push(base[..base.len() - 1].to_owned());
    }
    all.iter().flat_map(|text| words(text)).map(|word| word.stem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(&'static str, bool)> {
        in_prompt(text).into_iter().map(|mention| (mention.of.name, mention.is_other)).collect()
    }

    #[test]
    fn prompts_show_their_traits() {
        assert_eq!(
            shown("Extreme close-up, warm candle light, slow push-in, no text, without people"),
            [
                ("size.close", false),
                ("light.warm", false),
                ("light.warm", false),
                ("pace.slow", false),
                ("camera.zoom", false),
            ]
        );
        assert_eq!(shown("Slow-motion drone shot, bird's-eye view").len(), 3);
        assert_eq!(shown("a kitchen"), []);
    }

    #[test]
    fn the_lexicon_is_well_formed() {
        let mut names = std::collections::HashSet::new();
        for known in TRAITS {
            assert!(names.insert(known.name), "{} twice", known.name);
            for sentence in [known.liked, known.disliked] {
                assert!(sentence.ends_with('.') && sentence.len() < 80, "{sentence}");
            }
            assert_ne!(known.liked, known.disliked);
            // What is added to a prompt for a trait must show that trait, or it could not be learnt.
            for (text, is_other) in [(known.picture, false), (known.picture_other, true)] {
                let has_it = text.is_empty() || shown(text).contains(&(known.name, is_other));
                assert!(has_it, "{}: {text} shows {:?}", known.name, shown(text));
            }
        }
    }
}
