//! The piece of a passage that shows why it was found.

use std::collections::HashSet;

use crate::memory::words::{Word, words};

/// The piece of `text`, at most `most_characters` long, that has the most of the query's words,
/// on one line, with an ellipsis where something was left out.
pub(crate) fn snippet(text: &str, query: &str, most_characters: usize) -> String {
    let text = one_line(text);
    if text.chars().count() <= most_characters {
        return text;
    }
    let wanted: HashSet<String> =
        words(query).into_iter().filter(|word| !word.common).map(|word| word.stem).collect();
    let words = words(&text);
    let start = best_start(&words, &wanted, most_characters);
    let (before, room) =
        if start == 0 { ("", most_characters) } else { ("…", most_characters - 1) };
    format!("{before}{}", shortened(&text[start..], room))
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

/// Where the window with the most different wanted words starts; the first of several, with a
/// little of what stands before it.
fn best_start(words: &[Word<'_>], wanted: &HashSet<String>, most_characters: usize) -> usize {
    let matching: Vec<usize> =
        (0..words.len()).filter(|&index| wanted.contains(&words[index].stem)).collect();
    let mut best = (0, 0);
    for (at, &first) in matching.iter().enumerate() {
        let from = words[first].start;
        let inside = matching[at..]
            .iter()
            // Bytes stand for characters here: a window that is a little short harms nobody.
            .take_while(|&&index| {
                words[index].start + words[index].written.len() <= from + most_characters * 3 / 4
            })
            .map(|&index| words[index].stem.as_str())
            .collect::<HashSet<_>>()
            .len();
        if inside > best.0 {
            best = (inside, first);
        }
    }
    let (count, first) = best;
    // Four words of context, unless the text starts there anyway.
    if count == 0 || first <= 6 { 0 } else { words[first - 4].start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_shown_whole_on_one_line() {
        assert_eq!(snippet("Dough\n\nrises.", "dough", 40), "Dough rises.");
    }

    #[test]
    fn the_window_moves_to_the_words() {
        let text = format!(
            "{}Then the barista pours LATTE art slowly. {}",
            "Filler goes here. ".repeat(30),
            "More filler. ".repeat(30)
        );
        let snippet = snippet(&text, "the lattes", 60);
        assert!(snippet.contains("LATTE art"), "{snippet}");
        assert!(snippet.starts_with('…') && snippet.ends_with('…'));
        assert!(snippet.chars().count() <= 60);
    }

    #[test]
    fn without_a_word_of_the_query_it_is_the_beginning() {
        let text = "Огни города ".repeat(40);
        let snippet = snippet(&text, "coffee", 50);
        assert!(snippet.starts_with("Огни города"));
        assert!(snippet.chars().count() <= 50);
    }

    #[test]
    fn shortening_never_splits_a_character() {
        for most in 1..12 {
            let short = shortened("äöü 夜景 café au lait", most);
            assert!(short.chars().count() <= most, "{short}");
        }
    }
}
