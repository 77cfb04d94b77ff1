//! Which words of the memory a word that it does not know may mean: a slip of the keyboard, or a
//! part of a compound.

use crate::memory::words::fold;

/// The most words that one unknown word is taken for.
const MOST_ALTERNATIVES: usize = 4;
/// The shortest word that is looked for within compounds.
const SHORTEST_PART: usize = 4;
/// What a match in a compound counts, against 1 for the word itself.
const COMPOUND: f64 = 0.6;

/// A word that was probably meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alternative {
    /// The word as the memory has it.
    pub word: String,
    /// How far a match counts, under 1 for a match of the word itself.
    pub quality: f64,
}

/// What `written` may mean, of the words that look like it; the likeliest first.
pub(crate) fn alternatives(written: &str, similar: &[String]) -> Vec<Alternative> {
    let word = fold(written);
    let mut found: Vec<Alternative> = similar
        .iter()
        .filter_map(|known| {
            let folded = fold(known);
            let quality = slip(&word, &folded).or_else(|| compound(&word, &folded))?;
            Some(Alternative { word: known.clone(), quality })
        })
        .collect();
    found.sort_by(|one, other| {
        other.quality.total_cmp(&one.quality).then_with(|| one.word.cmp(&other.word))
    });
    // Next to a slip of one letter, one of two is a coincidence.
    if let Some(best) = found.first().map(|found| found.quality) {
        found.retain(|found| found.quality > best - 0.1);
    }
    found.truncate(MOST_ALTERNATIVES);
    found
}

/// How likely it is that two words are one, misspelt. A short word is another word after one
/// slip, the first letter is rarely missed, and letters are swapped more often than mistaken.
fn slip(word: &str, known: &str) -> Option<f64> {
    let length = word.chars().count();
    let distance = strsim::osa_distance(word, known);
    let same_start = word.chars().next() == known.chars().next();
    let swapped = distance == 1 && strsim::levenshtein(word, known) == 2;
    let is_likely = match (distance, length) {
        (1, 0..5) => swapped && same_start,
        (1, 5..7) | (2, 8..) => same_start,
        (distance, _) => distance < 2,
    };
    // The quotient of two small numbers.
    #[expect(clippy::cast_precision_loss, reason = "words are short")]
    let share = if swapped { 0.5 } else { distance as f64 } / length.max(1) as f64;
    is_likely.then(|| (1.0 - 1.5 * share).clamp(0.0, 0.9))
}

/// Whether one word is the beginning or the end of the other, as in `Stuhl` and `Bürostuhl`.
fn compound(word: &str, known: &str) -> Option<f64> {
    let (short, long) = if word.len() < known.len() { (word, known) } else { (known, word) };
    let is_part = short.chars().count() >= SHORTEST_PART
        && (long.starts_with(short) || long.ends_with(short));
    is_part.then_some(COMPOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(written: &str, similar: &[&str]) -> Vec<String> {
        let similar: Vec<String> = similar.iter().map(|word| (*word).to_owned()).collect();
        alternatives(written, &similar).into_iter().map(|found| found.word).collect()
    }

    #[test]
    fn slips_find_the_word_that_was_meant() {
        assert_eq!(best("Cappucino", &["cappuccino", "captain"]), ["cappuccino"]);
        assert_eq!(best("resturant", &["restaurant", "restaurants", "resting"]), ["restaurant"]);
        assert_eq!(best("noodels", &["noodles", "models"]), ["noodles"]);
        assert_eq!(best("vetenarian", &["veterinarian", "vegan"]), ["veterinarian"]);
        assert_eq!(best("Нчной", &["ночной"]), ["ночной"]);
    }

    #[test]
    fn other_words_are_left_alone() {
        assert!(best("lecture", &["texture", "structure"]).is_empty());
        assert!(best("cat", &["car", "bat"]).is_empty());
        assert!(best("lake", &["make", "rake", "lane"]).is_empty());
        assert!(best("weather", &["wither"]).is_empty());
        assert!(best("quantum", &["quarter"]).is_empty());
    }

    #[test]
    fn parts_of_compounds_are_found() {
        assert_eq!(best("Stuhl", &["burostuhl"]), ["burostuhl"]);
        assert_eq!(best("Kirschholztisch", &["kirschholz", "tisch"]), ["kirschholz", "tisch"]);
        assert_eq!(best("train", &["rain"]), ["rain"]);
    }
}
