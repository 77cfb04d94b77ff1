//! Finding many phrases in a text in one pass, as whole words, and putting something in their
//! place.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::Redaction;
use crate::letters::{begins_word, ends_word};

/// What stands for words that are gone.
pub(super) const MARK: &str = "…";
/// By so many characters of their beginnings phrases are looked up.
const BEGINNING: usize = 4;
/// From so many hexadecimal digits on, with a decimal one among them, a word is a hash or an id.
const SHORTEST_HASH: usize = 8;

/// Phrases to be taken out of texts.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    all: Vec<Phrase>,
    /// The phrases by their beginnings, the longest first.
    by_beginning: HashMap<Vec<char>, Vec<usize>>,
}

#[derive(Debug)]
struct Phrase {
    /// In lower case, with one space for any white space.
    letters: Vec<char>,
    instead: String,
}

/// A character in lower case, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Letter {
    lower: char,
    written: char,
    start: usize,
    end: usize,
}

impl Phrases {
    /// Phrases without a letter or digit are left out: they are no words.
    pub(super) fn new<'a>(redactions: impl Iterator<Item = &'a Redaction>) -> Self {
        let mut phrases = Self::default();
        let mut seen = HashSet::new();
        for redaction in redactions {
            let letters: Vec<char> =
                letters(redaction.words.trim()).into_iter().map(|letter| letter.lower).collect();
            if letters.iter().any(|letter| letter.is_alphanumeric()) && seen.insert(letters.clone())
            {
                phrases.all.push(Phrase { letters, instead: redaction.instead.clone() });
            }
        }
        for (place, phrase) in phrases.all.iter().enumerate() {
            let beginning: Vec<char> = phrase.letters.iter().copied().take(BEGINNING).collect();
            phrases.by_beginning.entry(beginning).or_default().push(place);
        }
        for places in phrases.by_beginning.values_mut() {
            places.sort_by_key(|&place| std::cmp::Reverse(phrases.all[place].letters.len()));
        }
        phrases
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The text without the phrases; none where it has none of them. Afterwards it has none,
    /// whatever was put in their place and whatever came to stand side by side.
    pub(super) fn taken_out_of(&self, text: &str) -> Option<String> {
        let mut rest = self.pass(text, true)?;
        // Each round leaves fewer letters, so this ends.
        while let Some(less) = self.pass(&rest, false) {
            rest = less;
        }
        Some(rest)
    }

    /// Whether a text has one of the phrases.
    #[cfg(test)]
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.pass(text, false).is_some()
    }

    fn pass(&self, text: &str, with_their_own: bool) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let letters = letters(text);
        let mut names: Option<Vec<Range<usize>>> = None;
        let mut rest = String::new();
        let (mut copied, mut at) = (0, 0);
        while at < letters.len() {
            let Some((place, end)) = self.phrase_at(text, &letters, at, &mut names) else {
                at += 1;
                continue;
            };
            rest.push_str(&text[copied..letters[at].start]);
            rest.push_str(if with_their_own { &self.all[place].instead } else { MARK });
            copied = letters[end - 1].end;
            at = end;
        }
        if copied == 0 {
            return None;
        }
        rest.push_str(&text[copied..]);
        Some(rest)
    }

    /// The longest phrase that stands at a place, and where it ends.
    fn phrase_at(
        &self,
        text: &str,
        letters: &[Letter],
        at: usize,
        names: &mut Option<Vec<Range<usize>>>,
    ) -> Option<(usize, usize)> {
        let first = letters[at];
        let before = at.checked_sub(1).map(|before| letters[before]);
        // One character can be two in lower case.
        if before.is_some_and(|before| before.start == first.start)
            || !begins_word(before.map(|before| before.written), first.written)
        {
            return None;
        }
        let near = &letters[at..letters.len().min(at + BEGINNING)];
        let mut beginning = [' '; BEGINNING];
        for (place, letter) in beginning.iter_mut().zip(near) {
            *place = letter.lower;
        }
        for length in (1..=near.len()).rev() {
            for &place in self.by_beginning.get(&beginning[..length]).into_iter().flatten() {
                let phrase = &self.all[place].letters;
                let end = at + phrase.len();
                let Some(window) = letters.get(at..end) else { continue };
                if window.iter().zip(phrase).any(|(letter, wanted)| letter.lower != *wanted) {
                    continue;
                }
                let (last, after) = (letters[end - 1], letters.get(end));
                if after.is_some_and(|after| after.start == last.start)
                    || !ends_word(last.written, after.map(|after| after.written))
                {
                    continue;
                }
                let found = first.start..last.end;
                let names = names.get_or_insert_with(|| names_of_machines(text));
                if names.iter().all(|name| may_go(&found, name)) {
                    return Some((place, end));
                }
            }
        }
        None
    }
}

/// Whether words may be taken out although a name of machines stands there: if it stands wholly
/// among them, and is not all that they are.
fn may_go(found: &Range<usize>, name: &Range<usize>) -> bool {
    let is_apart = found.end <= name.start || name.end <= found.start;
    is_apart || found.start <= name.start && name.end <= found.end && found != name
}

/// The characters of a text in lower case, white space as one space.
fn letters(text: &str) -> Vec<Letter> {
    let mut found: Vec<Letter> = Vec::with_capacity(text.len());
    for (start, written) in text.char_indices() {
        let end = start + written.len_utf8();
        if written.is_whitespace() {
            match found.last_mut() {
                Some(last) if last.lower == ' ' => last.end = end,
                _ => found.push(Letter { lower: ' ', written: ' ', start, end }),
            }
        } else {
            let lower = written.to_lowercase();
            found.extend(lower.map(|lower| Letter { lower, written, start, end }));
        }
    }
    found
}

/// Where a text has addresses, paths, hashes and ids: machines go by them, letter by letter.
fn names_of_machines(text: &str) -> Vec<Range<usize>> {
    let is_around = |character: char| {
        matches!(
            character,
            '.' | ','
                | ';'
                | ':'
                | '!'
                | '?'
                | '('
                | ')'
                | '['
                | ']'
                | '<'
                | '>'
                | '"'
                | '\''
                | '“'
                | '”'
                | '„'
                | '«'
                | '»'
                | '`'
                | '…'
        )
    };
    let mut found = Vec::new();
    for token in text.split_whitespace() {
        let core = token.trim_end_matches(is_around);
        let core = core.trim_start_matches(|character| is_around(character) && character != '.');
        if is_name_of_machines(core) {
            // Both are pieces of the same text.
            let start = core.as_ptr().addr() - text.as_ptr().addr();
            found.push(start..start + core.len());
        }
    }
    found
}

/// Whether a word is an address, a path, a hash or an id.
pub(super) fn is_name_of_machines(token: &str) -> bool {
    let has_digit = token.contains(|character: char| character.is_ascii_digit());
    let is_hash = token.len() >= SHORTEST_HASH
        && has_digit
        && token.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    let is_path = ["/", "~/", "./", "../"].iter().any(|start| token.starts_with(start))
        && token.len() > 1
        || token.rsplit_once('/').is_some_and(|(folder, name)| {
            !folder.is_empty()
                && name.rsplit_once('.').is_some_and(|(stem, ending)| {
                    !stem.is_empty() && !ending.is_empty() && ending.len() <= 5
                })
        });
    token.contains("://") || is_hash || is_path || has_digit && token.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(words: &[&str]) -> Phrases {
        let redactions: Vec<Redaction> = words
            .iter()
            .map(|words| Redaction {
                words: (*words).to_owned(),
                instead: MARK.to_owned(),
                is_everywhere: false,
            })
            .collect();
        Phrases::new(redactions.iter())
    }

    fn without(words: &[&str], text: &str) -> String {
        phrases(words).taken_out_of(text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn whole_words_alone_are_taken_out() {
        for (words, text, expected) in [
            ("Warm", "warm light, WARM!", "… light, …!"),
            (
                "warm",
                "warmer, swarm, warm_light, warm2, lukewarm",
                "warmer, swarm, warm_light, warm2, lukewarm",
            ),
            ("Too dark (really)", "It was too\n dark  (REALLY).", "It was …."),
            ("zu düster", "Zu DÜSTER, nicht zu düsterer", "…, nicht zu düsterer"),
            ("cafe", "cafe\u{301}", "cafe\u{301}"),
            ("暗すぎる", "この絵は暗すぎるので", "この絵は…ので"),
            ("มืด", "ภาพมืดเกินไป", "ภาพ…เกินไป"),
            ("조명", "조명이 좋다, 보조명", "…이 좋다, 보조명"),
            ("…", "a … b", "a … b"),
            ("i", "İ i", "İ …"),
        ] {
            assert_eq!(without(&[words], text), expected, "{words} in {text}");
        }
    }

    #[test]
    fn the_longest_of_several_phrases_goes() {
        assert_eq!(
            without(&["too dark", "too dark for me", "dark"], "Too dark for me, too dark, dark."),
            "…, …, …."
        );
        assert_eq!(without(&["a b", "a"], "a c a b"), "… c …");
    }

    #[test]
    fn addresses_paths_and_hashes_stay() {
        for text in [
            "https://f.example/warm/light.png",
            "see https://f.example/warm-light?warm=1, please",
            "/home/warm/light.png",
            "takes/warm.mp4",
            "deadbeef00",
            "0d3f5c2e-7b11-4a0e-9c1d-2f6a8b3c4d5e",
            "toolu_01_warm",
        ] {
            let words = ["warm", "light", "deadbeef00", "0d3f5c2e", "7b11", "toolu", "01"];
            assert_eq!(without(&words, text), text);
        }
        // A sentence that holds an address goes with it.
        let sentence = "as in https://f.example/warm please";
        assert_eq!(
            without(&[sentence], "Make it as in https://f.example/warm please."),
            "Make it …."
        );
        assert_eq!(without(&["warm cold"], "and/or warm/cold, warm cold"), "and/or warm/cold, …");
    }

    #[test]
    fn what_is_put_in_their_place_holds_none_of_them() {
        let redactions = [
            Redaction {
                words: "too dark and warm".to_owned(),
                instead: "warm".to_owned(),
                is_everywhere: false,
            },
            Redaction { words: "warm".to_owned(), instead: MARK.to_owned(), is_everywhere: false },
            Redaction {
                words: "x … y".to_owned(), instead: MARK.to_owned(), is_everywhere: false
            },
        ];
        let phrases = Phrases::new(redactions.iter());
        assert_eq!(phrases.taken_out_of("Too dark and warm!").as_deref(), Some("…!"));
        assert_eq!(phrases.taken_out_of("x warm y"), Some("…".to_owned()));
        assert_eq!(phrases.taken_out_of("nothing of it"), None);
    }
}
