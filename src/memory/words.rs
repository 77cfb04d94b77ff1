//! Words, as the built-in embedder, the word search and the snippets see them: folded, so that
//! `Café` and `cafe` are one, and stripped of their commonest endings.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'text> {
    /// As it stands in the text.
    pub written: &'text str,
    /// Where it starts, in bytes.
    pub start: usize,
    /// Folded and stemmed.
    pub stem: String,
    /// Whether it is one of the words that carry little meaning.
    pub common: bool,
}

/// Function words of English and of the languages that aida's fonts cover, folded. They stay
/// in the index, because in a brief they may matter; they only weigh little.
const COMMON: &[&str] = &[
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "find", "for", "from", "had", "has", "have", "how", "i", "if",
    "in", "into", "is", "it", "its", "made", "make", "me", "my", "no", "not", "of", "on", "or",
    "our", "out", "over", "please", "s", "she", "show", "so", "some", "t", "than", "that", "the",
    "their", "them", "then", "there", "these", "they", "this", "those", "to", "up", "us", "was",
    "we", "were", "what", "when", "where", "which", "while", "who", "why", "will", "with", "would",
    "you", "your", // German
    "aber", "als", "auf", "aus", "bei", "das", "dem", "den", "der", "des", "die", "ein", "eine",
    "einem", "einen", "einer", "es", "fur", "ich", "im", "ist", "mit", "nicht", "oder", "sich",
    "sie", "und", "uns", "von", "war", "was", "wie", "wir", "zu", "zum", "zur",
    // French and Spanish
    "au", "aux", "avec", "ce", "ces", "con", "dans", "de", "del", "du", "el", "en", "est", "et",
    "il", "la", "las", "le", "les", "lo", "los", "mais", "nous", "ou", "para", "par", "pas",
    "pero", "por", "pour", "que", "qui", "se", "son", "su", "sur", "un", "una", "une", "vous", "y",
    // Russian
    "а", "без", "бы", "в", "во", "вы", "для", "до", "его", "ее", "же", "за", "и", "из", "или", "их",
    "к", "как", "мы", "на", "не", "но", "о", "об", "он", "она", "они", "от", "по", "при", "с",
    "со", "так", "то", "у", "что", "это", "я",
];

/// Endings of Russian nouns, adjectives and verbs, folded (`й` is `и`, `ё` is `е`), the longest
/// first.
const RUSSIAN_ENDINGS: &[&str] = &[
    "иями", "ями", "ами", "ого", "его", "ому", "ему", "ыми", "ими", "иям", "иях", "ах", "ях", "ов",
    "ев", "еи", "ои", "ыи", "ии", "ая", "яя", "ое", "ее", "ые", "ие", "ую", "юю", "ом", "ем", "ам",
    "ям", "ия", "ью", "ть", "а", "я", "о", "е", "ы", "и", "у", "ю", "ь",
];

/// The words of `text`, in order.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    for (position, character) in text.char_indices() {
        if character.is_alphanumeric() || is_combining_mark(character) {
            start.get_or_insert(position);
        } else if let Some(start) = start.take() {
            found.extend(word(&text[start..position], start));
        }
    }
    if let Some(start) = start {
        found.extend(word(&text[start..], start));
    }
    found
}

fn word(written: &str, start: usize) -> Option<Word<'_>> {
    let folded = fold(written);
    if folded.is_empty() {
        return None;
    }
    let common = COMMON.contains(&folded.as_str());
    let stem = if common { folded } else { stem(&folded) };
    Some(Word { written, start, stem, common })
}

/// Lower case without accents. Ligatures and full-width forms become their plain letters.
pub(crate) fn fold(text: &str) -> String {
    text.nfkd()
        .filter(|&character| !is_combining_mark(character))
        .flat_map(char::to_lowercase)
        .flat_map(|character| match character {
            'ß' => ['s', 's'].into_iter().take(2),
            'ø' => ['o', ' '].into_iter().take(1),
            'ł' => ['l', ' '].into_iter().take(1),
            'đ' => ['d', ' '].into_iter().take(1),
            'ς' => ['σ', ' '].into_iter().take(1),
            other => [other, ' '].into_iter().take(1),
        })
        .collect()
}

/// Chinese characters, kana and Hangul.
pub(crate) const fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// The word without its commonest endings: English by a few rules, Russian by a list, other
/// scripts untouched. What matters is only that forms of one word meet.
fn stem(folded: &str) -> String {
    if folded.is_ascii() {
        return stem_english(folded);
    }
    let is_cyrillic =
        folded.chars().all(|character| ('\u{0400}'..='\u{052f}').contains(&character));
    if is_cyrillic {
        return stem_russian(folded).to_owned();
    }
    folded.to_owned()
}

fn stem_russian(word: &str) -> &str {
    let without = |word: &'_ str, endings: &[&str], least: usize| -> Option<usize> {
        endings
            .iter()
            .filter_map(|ending| word.strip_suffix(ending))
            .find(|rest| rest.chars().count() >= least)
            .map(str::len)
    };
    let stem = without(word, RUSSIAN_ENDINGS, 3).map_or(word, |length| &word[..length]);
    // The fleeting vowel of кроссовки, кроссовок.
    without(stem, &["ок", "ек", "к"], 4).map_or(stem, |length| &stem[..length])
}

fn stem_english(word: &str) -> String {
    let long_enough = |rest: &str| rest.len() >= 3 && rest.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    if word.len() < 4 || word.contains(|character: char| character.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut stem = word.to_owned();
    if let Some(rest) = stem.strip_suffix("ies") {
        stem = format!("{rest}y");
    } else if let Some(rest) = stem.strip_suffix('s')
        && !rest.ends_with(['s', 'u', 'i'])
    {
        stem = rest.to_owned();
    }
    for ending in ["ing", "edly", "ed", "ly"] {
        if let Some(rest) = stem.strip_suffix(ending)
            && long_enough(rest)
        {
            stem = undouble(rest).to_owned();
            break;
        }
    }
    if let Some(rest) = stem.strip_suffix('e')
        && rest.len() >= 3
    {
        stem = rest.to_owned();
    }
    stem
}

/// `runn` is `run`, but `fall` stays `fall`.
fn undouble(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    match bytes {
        [.., before, last] if before == last && !b"lsz".contains(last) => &rest[..rest.len() - 1],
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.stem).collect()
    }

    #[test]
    fn forms_of_one_word_meet() {
        for (one, other) in [
            ("running", "runs"),
            ("baked", "baking"),
            ("Cities", "city"),
            ("shoe", "shoes"),
            ("Café", "cafe"),
            ("STRASSE", "Straße"),
            ("городом", "город"),
            ("ночной", "ночная"),
            ("Ёлка", "елки"),
            ("кроссовки", "кроссовок"),
            ("ＳＡＬＥ", "sale"),
        ] {
            assert_eq!(stems(one), stems(other), "{one} / {other}");
        }
    }

    #[test]
    fn different_words_stay_apart() {
        for (one, other) in [("glass", "glas"), ("bus", "bu"), ("bring", "br"), ("50mm", "50m")] {
            assert_ne!(stems(one), stems(other), "{one} / {other}");
        }
    }

    #[test]
    fn words_know_where_they_stand() {
        let text = "A cosy—Café, at 5!";
        let found: Vec<_> = words(text).iter().map(|word| (word.start, word.written)).collect();
        assert_eq!(found, [(0, "A"), (2, "cosy"), (9, "Café"), (16, "at"), (19, "5")]);
        assert!(words(text)[0].common && !words(text)[1].common);
    }

    #[test]
    fn a_text_without_words_has_none() {
        assert!(words("").is_empty());
        assert!(words(" …!? \u{301}").is_empty());
    }
}
