//! What a query asks of the words.

use std::collections::HashSet;

use crate::memory::words::{Word, is_ideograph, words};

/// The most terms of a query that are looked for.
const MOST_TERMS: usize = 24;

/// What a query asks of the words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Any of these terms: words, numbers joined to words, neighbouring characters of a script
    /// without spaces.
    Freely {
        /// As they stand in the query, without marks that have a meaning in a search.
        terms: Vec<String>,
    },
    /// Exactly what the query says in web search syntax.
    Exactly,
}

impl Asked {
    /// Reads a query. Quotation marks or a `-word` anywhere have it taken at its word.
    pub(crate) fn from_query(query: &str) -> Self {
        let excludes = |word: &str| {
            word.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
        };
        if query.contains('"') || query.split_whitespace().any(excludes) {
            return Self::Exactly;
        }
        let all = words(query);
        let only_common = all.iter().all(|word| word.common);
        let mut seen = HashSet::new();
        let mut terms = Vec::new();
        for chunk in chunks(query, &all) {
            if let [first, .., last] = chunk
                && is_code(chunk)
            {
                let end = last.start + last.written.len();
                terms.push(query[first.start..end].to_owned());
            }
            for word in chunk.iter().filter(|word| only_common || !word.common) {
                for term in parts(word.written) {
                    let key = if term == word.written { word.stem.clone() } else { term.clone() };
                    if seen.insert(key) {
                        terms.push(term);
                    }
                }
            }
        }
        terms.truncate(MOST_TERMS);
        Self::Freely { terms }
    }
}

/// A query in the syntax of `websearch_to_tsquery` with nothing in it that Postgres' parser could
/// take for more than words: each phrase and each word with a mark in quotation marks, scripts
/// without spaces parted at every character.
pub(crate) fn exact_query(query: &str) -> String {
    let mut parts = Vec::new();
    for (index, piece) in query.split('"').enumerate() {
        // What stands between the first and the second mark is a phrase, and so on.
        if index % 2 == 1 {
            let excluded = parts.last().is_some_and(|part| part == "-");
            if excluded {
                parts.pop();
            }
            parts.extend(quoted(if excluded { "-" } else { "" }, piece));
            continue;
        }
        for chunk in piece.split_whitespace() {
            match chunk.strip_prefix('-') {
                Some("") if piece.ends_with('-') => parts.push("-".to_owned()),
                Some(rest) => parts.extend(quoted("-", rest)),
                None if chunk.eq_ignore_ascii_case("or") => parts.push("or".to_owned()),
                None => parts.extend(quoted("", chunk)),
            }
        }
    }
    parts.retain(|part| part != "-");
    parts.join(" ")
}

/// The words of `text` as one phrase, unless it has none.
fn quoted(sign: &str, text: &str) -> Option<String> {
    let mut phrase: Vec<String> = Vec::new();
    for word in words(text) {
        let characters: Vec<char> = word.written.chars().collect();
        for run in characters.chunk_by(|one, next| !is_ideograph(*one) && !is_ideograph(*next)) {
            phrase.push(run.iter().collect());
        }
    }
    (!phrase.is_empty()).then(|| format!("{sign}\"{}\"", phrase.join(" ")))
}

/// The words of the query, parted where there is a space between them.
fn chunks<'words, 'query>(
    query: &'query str,
    words: &'words [Word<'query>],
) -> Vec<&'words [Word<'query>]> {
    words
        .chunk_by(|one, next| {
            !query[one.start + one.written.len()..next.start].contains(char::is_whitespace)
        })
        .collect()
}

/// Whether these words, which stand together without a space, are a name such as `HR-1042`:
/// then they mean most in a row.
fn is_code(chunk: &[Word<'_>]) -> bool {
    chunk.iter().any(|word| word.written.contains(|character: char| character.is_ascii_digit()))
}

/// A word as it is looked for: whole, or in pairs of characters where no spaces part the words.
pub(crate) fn parts(written: &str) -> Vec<String> {
    let characters: Vec<char> = written.chars().collect();
    let mut parts = Vec::new();
    for run in characters.chunk_by(|one, next| is_ideograph(*one) == is_ideograph(*next)) {
        if run.len() > 2 && is_ideograph(run[0]) {
            parts.extend(run.windows(2).map(|pair| pair.iter().collect::<String>()));
        } else {
            parts.push(run.iter().collect());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(query: &str) -> Vec<String> {
        match Asked::from_query(query) {
            Asked::Freely { terms } => terms,
            Asked::Exactly => panic!("{query} was taken at its word"),
        }
    }

    #[test]
    fn natural_questions_are_asked_by_their_telling_words() {
        assert_eq!(terms("What did we make about coffee, and coffees?"), ["coffee"]);
        assert_eq!(terms("to be or not to be"), ["to", "be", "or", "not"]);
        assert_eq!(terms("a well-known lens"), ["well", "known", "lens"]);
        assert!(terms("…!?").is_empty());
    }

    #[test]
    fn a_code_is_asked_whole_and_in_parts() {
        assert_eq!(terms("error E-417!"), ["error", "E-417", "E", "417"]);
        assert_eq!(terms("a 50mm lens"), ["50mm", "lens"]);
    }

    #[test]
    fn scripts_without_spaces_are_asked_in_pairs() {
        assert_eq!(terms("東京の夜"), ["東京", "京の", "の夜"]);
        assert_eq!(terms("抹茶 100円"), ["抹茶", "100", "円"]);
        assert_eq!(terms("Ночной город"), ["Ночной", "город"]);
    }

    #[test]
    fn a_query_has_a_bound() {
        let long: Vec<String> = (0..400).map(|number| format!("word{number}")).collect();
        let long = long.join(" ");
        assert_eq!(terms(&long).len(), MOST_TERMS);
    }

    #[test]
    fn exact_queries_keep_their_operators_alone() {
        for (query, exact) in [
            ("\"latte art\" -barista", "\"latte art\" -\"barista\""),
            ("light or loaf -flour", "\"light\" or \"loaf\" -\"flour\""),
            ("\"HR-1042\" wet/dry", "\"HR 1042\" \"wet dry\""),
            ("-\"big city\" night", "-\"big city\" \"night\""),
            ("\"東京\"", "\"東 京\""),
            ("\"unclosed phrase", "\"unclosed phrase\""),
            ("- -- -x \"", "-\"x\""),
        ] {
            assert_eq!(exact_query(query), exact, "{query}");
        }
    }

    #[test]
    fn operators_are_taken_at_their_word() {
        assert_eq!(Asked::from_query("\"latte art\""), Asked::Exactly);
        assert_eq!(Asked::from_query("coffee -latte"), Asked::Exactly);
        assert_ne!(Asked::from_query("slow - motion"), Asked::Exactly);
    }
}
