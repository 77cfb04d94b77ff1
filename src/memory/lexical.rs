//! Hashed words: two texts are near each other when they share words, forms of words, or pieces
//! of words. That knows no meaning, and reads every script. It is a part of the built-in
//! embedder, and all of it in a build without the feature `semantic`.

use std::collections::BTreeMap;

use crate::memory::words::{is_ideograph, words};
use crate::store::embeddings::VECTOR_WIDTH;

/// Its name in the database and in every output. The number rises when its vectors change.
pub const MODEL: &str = "builtin-lexical-1";

/// What a word that carries little meaning weighs, against 1 for any other.
const COMMON_WORD: f32 = 0.12;
/// What the pieces of a word weigh together.
const PIECES: f32 = 0.7;
/// The same for a word of a script without spaces, which may be a whole sentence.
const IDEOGRAPHIC_PIECES: f32 = 2.0;
/// What two words in a row weigh.
const PAIR: f32 = 0.35;

/// The vector of a text: [`VECTOR_WIDTH`] wide and of length 1, or all zeros for a text without
/// words.
///
/// Words, pairs of words and pieces of words (three and four characters) are hashed to a place
/// and a sign, so that collisions cancel out on average; the tenth mention counts little more
/// than the first.
pub fn embed(text: &str) -> Vec<f32> {
    embed_to(text, VECTOR_WIDTH)
}

/// The same with another width.
pub(super) fn embed_to(text: &str, width: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; width];
    for (feature, Mentions { weight, count }) in features(text) {
        let place = usize::try_from(feature % width as u64).unwrap_or_default();
        let sign = if feature >> 63 == 0 { 1.0 } else { -1.0 };
        vector[place] += sign * weight * (1.0 + count.ln());
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value /= length;
        }
    }
    vector
}

struct Mentions {
    weight: f32,
    count: f32,
}

/// Hashed features in a fixed order, so that rounding is the same on every run.
fn features(text: &str) -> BTreeMap<u64, Mentions> {
    let mut features = BTreeMap::<u64, Mentions>::new();
    let mut mention = |feature: u64, weight: f32| {
        features
            .entry(feature)
            .and_modify(|mentions| mentions.count += 1.0)
            .or_insert(Mentions { weight, count: 1.0 });
    };
    let mut previous: Option<String> = None;
    for word in words(text) {
        mention(hash("word", &word.stem), if word.common { COMMON_WORD } else { 1.0 });
        if word.common {
            continue;
        }
        let (pieces, weight) = pieces(&word.stem);
        #[expect(clippy::cast_precision_loss, reason = "a word has few pieces")]
        let share = weight / (pieces.len() as f32).sqrt();
        for piece in &pieces {
            mention(hash("piece", piece), share);
        }
        if let Some(previous) = &previous {
            mention(hash("pair", &format!("{previous} {}", word.stem)), PAIR);
        }
        previous = Some(word.stem);
    }
    features
}

/// All runs of three and four characters of the word between its borders, and what they weigh
/// together. Scripts without spaces get runs of one and two, because their words are that
/// short.
fn pieces(stem: &str) -> (Vec<String>, f32) {
    let is_ideographic = stem.chars().any(is_ideograph);
    let (border, lengths, weight) =
        if is_ideographic { (None, 1..=2, IDEOGRAPHIC_PIECES) } else { (Some('|'), 3..=4, PIECES) };
    let characters: Vec<char> = border.into_iter().chain(stem.chars()).chain(border).collect();
    let pieces = lengths
        .flat_map(|length| characters.windows(length))
        .map(|window| window.iter().collect())
        .collect();
    (pieces, weight)
}

/// FNV-1a, and then the finish of SplitMix64, because the low bits of FNV alone are too regular
/// to choose a place by. Rust's own hashers may change between releases; this must not.
fn hash(kind: &str, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in kind.bytes().chain(std::iter::once(0)).chain(text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(one: &str, other: &str) -> f32 {
        embed(one).iter().zip(embed(other)).map(|(one, other)| one * other).sum()
    }

    const COFFEE: &str = "Close-up of a barista pouring latte art in a small coffee bar, steam \
        rising, warm morning light through the window, shallow depth of field";
    const SHOES: &str = "A runner laces bright running shoes at dawn, wet asphalt, low angle, the \
        city still asleep behind her, breath in the cold air";
    const CITY: &str = "Night traffic draws ribbons of light under a bridge, neon reflected in \
        puddles, slow aerial view over the harbour";

    #[test]
    fn related_texts_are_nearer_than_unrelated_ones() {
        for (query, near, far) in [
            ("coffee shop advert", COFFEE, [SHOES, CITY]),
            ("runners and their shoe", SHOES, [COFFEE, CITY]),
            ("a city at night, neon lights", CITY, [COFFEE, SHOES]),
        ] {
            for far in far {
                let (near, far) = (similarity(query, near), similarity(query, far));
                assert!(near > far + 0.03, "{query}: {near} against {far}");
            }
        }
    }

    #[test]
    fn the_floor_lies_between_related_and_unrelated() {
        let floor = 0.12;
        for (query, passage) in [("latte art", COFFEE), ("running shoes", SHOES), ("neon", CITY)] {
            let similarity = f64::from(similarity(query, passage));
            assert!(similarity > floor, "{query}: {similarity}");
        }
        for query in ["quantum chromodynamics lecture", "xyzzy plugh", "tax return form 1040"] {
            for passage in [COFFEE, SHOES, CITY] {
                let similarity = f64::from(similarity(query, passage));
                assert!(similarity < floor, "{query}: {similarity}");
            }
        }
    }

    #[test]
    fn accents_case_and_forms_do_not_matter_much() {
        assert!(similarity("Crème brûlée", "creme brulee") > 0.999);
        assert!(similarity("baking bread", "baked breads") > 0.99);
        assert!(similarity("photography", "photographer") > 0.25);
    }

    #[test]
    fn other_scripts_work() {
        assert!(similarity("ночной город", "город ночью, огни и мосты") > 0.3);
        assert!(similarity("реклама кроссовок", "новые кроссовки") > 0.15);
        assert!(similarity("реклама кроссовок", "паста с базиликом") < 0.1);
        assert!(similarity("東京の夜", "夜の東京タワー") > 0.1);
    }

    #[test]
    fn vectors_have_length_one_or_none() {
        let length = |text: &str| embed(text).iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length(COFFEE) - 1.0).abs() < 1e-5);
        assert!(embed("").iter().chain(&embed("…!")).all(|value| *value == 0.0));
        assert_eq!(embed("").len(), VECTOR_WIDTH);
    }

    /// Stored vectors must stay comparable with new ones: whoever changes these numbers must
    /// change the model's name as well.
    #[test]
    fn vectors_never_change_under_one_name() {
        let vector = embed("food video");
        let mut set: Vec<_> = vector
            .iter()
            .enumerate()
            .filter(|(_, value)| value.abs() > 0.5)
            .map(|(place, value)| (place, (value * 1000.0).round()))
            .collect();
        set.sort_by_key(|(place, _)| *place);
        assert_eq!((MODEL, set), ("builtin-lexical-1", vec![(1166, -568.0), (1515, -568.0)]));
    }
}
