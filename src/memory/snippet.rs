//! The piece of a passage that shows why it was found.

use std::collections::HashSet;

use crate::memory::query::parts;
use crate::memory::words::{Word, fold, is_ideograph, words};

/// What a search looks for in the passages that it shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    stems: HashSet<String>,
    folded: Vec<String>,
    /// Neighbouring characters of scripts without spaces.
    pairs: Vec<Vec<char>>,
}

/// The shortest word that is also recognised by its beginning: stems of most languages differ
/// from the word at its end alone.
const SHORTEST_BEGINNING: usize = 5;
/// The most characters that two forms of one word differ by, at the end of each.
const LONGEST_ENDING: usize = 3;

impl Wanted {
    /// The telling words of a query, and the words that it was read as besides.
    pub(crate) fn new<'text>(query: &'text str, also: impl Iterator<Item = &'text str>) -> Self {
        let mut wanted = Self::default();
        let asked: Vec<Word<'_>> = words(query);
        let only_common = asked.iter().all(|word| word.common);
        let telling = asked.into_iter().filter(|word| only_common || !word.common);
        for word in telling.chain(also.flat_map(words)) {
            for part in parts(word.written) {
                if part.chars().any(is_ideograph) {
                    wanted.pairs.push(part.chars().collect());
                }
            }
            wanted.folded.push(fold(word.written));
            wanted.stems.insert(word.stem);
        }
        wanted
    }

    /// Whether a word of a passage is one of those that are looked for, in whatever form.
    fn has(&self, word: &Word<'_>) -> bool {
        self.stems.contains(&word.stem) || {
            let folded = fold(word.written);
            self.folded.iter().any(|wanted| are_forms(wanted, &folded))
        }
    }
}

/// Whether two words differ by their endings alone, or the one is a part of the other as in
/// compounds.
fn are_forms(one: &str, other: &str) -> bool {
    let (one_length, other_length) = (one.chars().count(), other.chars().count());
    let common = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let longer = one_length.max(other_length);
    common >= SHORTEST_BEGINNING && longer - common <= LONGEST_ENDING && common * 2 > longer
}

/// A piece of a text and where it has what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub text: String,
    /// From and to, in characters.
    pub marks: Vec<(usize, usize)>,
}

/// The piece of `text`, at most `most_characters` long, that has the most of what is wanted,
/// on one line, with an ellipsis where something was left out.
pub(crate) fn snippet(text: &str, wanted: &Wanted, most_characters: usize) -> Snippet {
    let text = one_line(text);
    let piece = if text.chars().count() <= most_characters {
        text
    } else {
        let start = best_start(&text, wanted, most_characters);
        let (before, room) =
            if start == 0 { ("", most_characters) } else { ("…", most_characters - 1) };
        format!("{before}{}", shortened(&text[start..], room))
    };
    let marks = marks(&piece, wanted)
        .into_iter()
        .map(|(from, to)| (piece[..from].chars().count(), piece[..to].chars().count()))
        .collect();
    Snippet { text: piece, marks }
}

/// Where `text` has what is wanted, in bytes, in order and apart from each other.
fn marks(text: &str, wanted: &Wanted) -> Vec<(usize, usize)> {
    let mut marks: Vec<(usize, usize)> = Vec::new();
    for word in words(text) {
        if wanted.has(&word) {
            marks.push((word.start, word.start + word.written.len()));
        } else if word.written.contains(is_ideograph) {
            for pair in &wanted.pairs {
                let pair: String = pair.iter().collect();
                marks.extend(
                    word.written
                        .match_indices(&pair)
                        .map(|(at, found)| (word.start + at, word.start + at + found.len())),
                );
            }
        }
    }
    marks.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::with_capacity(marks.len());
    for (from, to) in marks {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The text on one line, every run of white space a single space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text if it has at most `most_characters`, else what of its whole words fits before an ellipsis.
pub(crate) fn shortened(text: &str, most_characters: usize) -> String {
    if text.chars().count() <= most_characters {
        return text.to_owned();
    }
    let end = text
        .char_indices()
        .nth(most_characters.saturating_sub(1))
        .map_or(text.len(), |(position, _)| position);
    let cut = &text[..end];
    let at_word = cut.rfind(char::is_whitespace).filter(|at| *at > end / 2).unwrap_or(end);
    format!(
        "{}…",
        cut[..at_word].trim_end_matches(|c: char| c.is_whitespace() || ",;:–—-".contains(c))
    )
}

/// Where the window with the most different marks starts; the first of several, with a little of
/// what stands before it.
fn best_start(text: &str, wanted: &Wanted, most_characters: usize) -> usize {
    let marks = marks(text, wanted);
    let mut best = (0, 0);
    for (at, &(from, _)) in marks.iter().enumerate() {
        let inside = marks[at..]
            .iter()
            // Bytes stand for characters here: a window that is a little short harms nobody.
            .take_while(|&&(_, to)| to <= from + most_characters * 3 / 4)
            .map(|&(from, to)| fold(&text[from..to]))
            .collect::<HashSet<_>>()
            .len();
        if inside > best.0 {
            best = (inside, from);
        }
    }
    let (count, from) = best;
    if count == 0 {
        return 0;
    }
    // Four words of context, unless the text starts there anyway.
    let before: Vec<usize> =
        words(&text[..from]).iter().rev().take(7).map(|word| word.start).collect();
    if before.len() < 7 { 0 } else { before[3] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, query: &str, most: usize) -> String {
        snippet(text, &Wanted::new(query, [].into_iter()), most).text
    }

    fn marked(text: &str, query: &str, also: &[&str]) -> Vec<String> {
        let snippet = snippet(text, &Wanted::new(query, also.iter().copied()), 160);
        let characters: Vec<char> = snippet.text.chars().collect();
        snippet.marks.iter().map(|&(from, to)| characters[from..to].iter().collect()).collect()
    }

    #[test]
    fn a_short_text_is_shown_whole_on_one_line() {
        assert_eq!(found("Dough\n\nrises.", "dough", 40), "Dough rises.");
    }

    #[test]
    fn the_window_moves_to_the_words() {
        let text = format!(
            "{}Then the barista pours LATTE art slowly. {}",
            "Filler goes here. ".repeat(30),
            "More filler. ".repeat(30)
        );
        let snippet = found(&text, "the lattes", 60);
        assert!(snippet.contains("LATTE art"), "{snippet}");
        assert!(snippet.starts_with('…') && snippet.ends_with('…'));
        assert!(snippet.chars().count() <= 60);
    }

    #[test]
    fn without_a_word_of_the_query_it_is_the_beginning() {
        let text = "Огни города ".repeat(40);
        let snippet = found(&text, "coffee", 50);
        assert!(snippet.starts_with("Огни города"));
        assert!(snippet.chars().count() <= 50);
    }

    #[test]
    fn marks_show_every_form_that_matched() {
        let text = "A baker scores the loaf; bakers score loaves.";
        assert_eq!(marked(text, "the bakers", &[]), ["baker", "bakers"]);
        assert_eq!(
            marked("Die Möbel der Tischlerei", "mobel tischlerrei", &["tischlerei"]),
            ["Möbel", "Tischlerei"]
        );
        assert_eq!(marked("ночной город, города", "городами", &[]), ["город", "города"]);
        assert_eq!(marked("夜の東京タワー", "東京の夜", &[]), ["東京"]);
        assert!(marked("nothing here", "coffee", &[]).is_empty());
    }

    #[test]
    fn shortening_never_splits_a_character() {
        for most in 1..12 {
            let short = shortened("äöü 夜景 café au lait", most);
            assert!(short.chars().count() <= most, "{short}");
        }
    }
}
