//! The built-in embedder that compares meanings: a small sentence encoder whose weights are a
//! part of the binary, beside the hashed words of [`lexical`].
//!
//! The encoder read English alone. What it cannot read (names, numbers, misspellings, other
//! scripts) the hashed words can, so a vector is the two side by side, and the cosine of two
//! vectors is the weighted mean of the two cosines.

use pocket_encoder::Encoder;

use crate::memory::lexical;
use crate::store::embeddings::VECTOR_WIDTH;

/// Its name in the database and in every output. The number rises when its vectors change.
pub const MODEL: &str = "builtin-semantic-1";

/// Width of the encoder's vectors.
const ENCODER_WIDTH: usize = 384;
/// What the meaning counts for a text of Latin letters; the hashed words count the rest.
const MEANING: f32 = 0.7;
/// The longest piece of text that is encoded at once, in bytes: the encoder reads 128 tokens, which
/// are hardly ever fewer bytes than this.
const LONGEST_PIECE: usize = 400;

/// The vectors of some texts, each [`VECTOR_WIDTH`] wide and of length 1, or all zeros for a
/// text without words. Takes some milliseconds for each text, and the first time some more for
/// the weights.
pub fn embed(texts: &[String]) -> Result<Vec<Vec<f32>>, String> {
    let encoder = Encoder::new().map_err(|error| error.to_string())?;
    texts.iter().map(|text| embed_one(&encoder, text)).collect()
}

fn embed_one(encoder: &Encoder, text: &str) -> Result<Vec<f32>, String> {
    let words = lexical::embed_to(text, VECTOR_WIDTH - ENCODER_WIDTH);
    if words.iter().all(|value| *value == 0.0) {
        return Ok(vec![0.0; VECTOR_WIDTH]);
    }
    let weight = MEANING * latin_share(text);
    let meaning = if weight > 0.0 { meaning(encoder, text)? } else { vec![0.0; ENCODER_WIDTH] };
    let (of_meaning, of_words) = (weight.sqrt(), (1.0 - weight).sqrt());
    Ok(meaning
        .iter()
        .map(|value| value * of_meaning)
        .chain(words.iter().map(|value| value * of_words))
        .collect())
}

/// The mean of what the pieces of a text mean, of length 1.
fn meaning(encoder: &Encoder, text: &str) -> Result<Vec<f32>, String> {
    let pieces = pieces(text);
    let mut sum = vec![0.0_f32; ENCODER_WIDTH];
    for vector in encoder.embed(&pieces).map_err(|error| error.to_string())? {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += value;
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut sum {
            *value /= length;
        }
    }
    Ok(sum)
}

/// The text in runs of whole words, each of at most [`LONGEST_PIECE`] bytes unless one word is
/// longer, and of about the same length.
fn pieces(text: &str) -> Vec<String> {
    let count = text.len().div_ceil(LONGEST_PIECE).max(1);
    let each = text.len().div_ceil(count);
    let mut pieces: Vec<String> = Vec::with_capacity(count);
    for word in text.split_whitespace() {
        match pieces.last_mut() {
            Some(piece) if piece.len() + word.len() < each || piece.len() < each / 2 => {
                piece.push(' ');
                piece.push_str(word);
            }
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// Which part of a text's letters and digits the encoder can read, 0 to 1.
fn latin_share(text: &str) -> f32 {
    let (mut latin, mut all) = (0_u16, 0_u16);
    for character in text.chars().filter(|character| character.is_alphanumeric()) {
        all = all.saturating_add(1);
        if character < '\u{250}' {
            latin = latin.saturating_add(1);
        }
    }
    if all == 0 { 0.0 } else { f32::from(latin) / f32::from(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(one: &str, other: &str) -> f32 {
        let vectors = embed(&[one.to_owned(), other.to_owned()]).unwrap();
        vectors[0].iter().zip(&vectors[1]).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn meanings_meet_without_a_shared_word() {
        let latte = "Milk is poured into espresso, a rosetta forms on the surface";
        let shoes = "A runner laces bright shoes at dawn on wet asphalt";
        assert!(similarity("a cup of coffee", latte) > similarity("a cup of coffee", shoes) + 0.1);
        assert!(similarity("jogging", shoes) > similarity("jogging", latte) + 0.1);
    }

    #[test]
    fn names_misspellings_and_other_scripts_still_meet() {
        assert!(similarity("HR-1042", "SKU HR-1042 Espresso Nocturne") > 0.2);
        assert!(similarity("ночной город", "город ночью, огни и мосты") > 0.3);
        assert!(similarity("реклама кроссовок", "паста с базиликом") < 0.1);
        assert!(similarity("東京の夜", "夜の東京タワー") > 0.1);
    }

    #[test]
    fn vectors_have_length_one_or_none() {
        let texts = ["A loaf", "", "…!", "Ein Satz über Käse", "夜"].map(str::to_owned);
        let lengths: Vec<f32> = embed(&texts)
            .unwrap()
            .iter()
            .map(|vector| {
                assert_eq!(vector.len(), VECTOR_WIDTH);
                vector.iter().map(|value| value * value).sum::<f32>().sqrt()
            })
            .collect();
        for (length, wanted) in lengths.into_iter().zip([1.0, 0.0, 0.0, 1.0, 1.0]) {
            assert!((length - wanted).abs() < 1e-3, "{length}");
        }
    }

    /// What stands after the encoder's hundred and twenty-eighth token is read as well.
    #[test]
    fn the_end_of_a_long_text_counts() {
        let filler = "The committee discussed the minutes of the previous meeting. ".repeat(20);
        let with_end = format!("{filler} A puppy sleeps on a knitted blanket beside the boy.");
        assert!(
            similarity("a sleeping young dog", &with_end)
                > similarity("a sleeping young dog", &filler) + 0.03
        );
        for piece in pieces(&with_end) {
            assert!(piece.len() <= LONGEST_PIECE + 20, "{}", piece.len());
        }
        assert_eq!(
            pieces(&with_end).join(" "),
            with_end.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
}
