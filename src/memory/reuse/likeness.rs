//! Whether two prompts ask for the same picture, by their words alone. Pure.
//!
//! A prompt is a set of words without order of clauses. Words of style ("cinematic", "soft") may be
//! exchanged, and a word in ten may be added or left out. A telling word that stands in for another one
//! (a cat for a dog) makes another picture, however much else is equal; so does a number, a colour, a
//! time of day or a "without" that only one of the two has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;

use crate::memory::words::{fold, words};

/// The part of the telling words that two near-duplicates share, at least.
const LEAST_TELLING: f64 = 0.8;
/// The part of all words with a meaning that they share, at least.
const LEAST_SHARED: f64 = 0.7;
/// The part of all pairs of neighbours that they share, at least: who does what to whom.
const LEAST_PAIRS: f64 = 0.5;

/// Bands of a sketch, and hashes in each: of two prompts that share 0.8 of their telling words
/// one pair in five hundred has no band in common, of two that share 0.1 one in six thousand has one.
const BANDS: usize = 16;
const ROWS: usize = 5;

/// Words whose exchange leaves the picture as it is.
const STYLE: &str = "beautiful stunning gorgeous lovely amazing epic cinematic cinema film filmic movie photo photograph \
    photography photographic photorealistic realistic hyperrealistic realism natural soft gentle subtle delicate rich \
    crisp sharp detail detailed intricate texture textured quality high highly ultra professional elegant \
    atmospheric atmosphere ambient ambience mood style stylish aesthetic look feel feeling \
    composition composed shot frame framing image picture scene render rendered hd uhd 4k 8k hdr bokeh blurred blur \
    shallow depth field focus focused lens light lighting lit illuminated glow glowing background quietly softly gently \
    smooth smoothly steady subtly camera move movement motion";

/// Words of which two exclude each other, unless they stand side by side with a slash; and, in the last
/// list, words that decide by being there at all.
const DECISIVE: &[&str] = &[
    "red/crimson/scarlet orange yellow green blue/navy turquoise/teal purple/violet pink brown/beige black white \
     grey/gray/silver gold/golden",
    "zero one/single two/pair/couple three four five six seven eight nine ten eleven twelve/dozen hundred thousand \
     several/many/crowd few empty/alone",
    "dawn/sunrise/morning noon/midday/day/daylight afternoon evening/sunset/dusk/twilight night/midnight",
    "spring summer autumn/fall winter",
    "rain/rainy/raining snow/snowy/snowing fog/foggy/mist/misty sunny cloudy storm/stormy",
    "man/men/male woman/women/female boy girl child/children/kid/kids baby",
    "old/elderly young",
    "close/closeup/macro wide/panoramic aerial/overhead/above below",
    "left right front back/behind inside/indoor/indoors outside/outdoor/outdoors",
    "warm cool cold/icy hot",
    "open closed",
    "out down zoom pan tilt push/dolly pull orbit static/still",
    "fast/quick/rapid slow/slowly",
    "no not without never nothing nobody",
];

static STYLE_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| stems(STYLE).collect());
/// Every decisive word with the number of its list and its place there.
static DECISIVE_WORDS: LazyLock<HashMap<String, (usize, usize)>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for (class, list) in DECISIVE.iter().enumerate() {
        for (place, same) in list.split_whitespace().enumerate() {
            all.extend(stems(same).map(|stem| (stem, (class, place))));
        }
    }
    all
});

fn stems(list: &str) -> impl Iterator<Item = String> {
    words(list).into_iter().map(|word| word.stem).collect::<Vec<_>>().into_iter()
}

/// A prompt in the form in which equal ones are equal: case, accents, white space and what punctuation
/// stands at its ends do not matter.
pub(super) fn normal(prompt: &str) -> String {
    let folded = fold(&prompt.nfc().collect::<String>());
    let text = folded.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_matches(|character: char| ".,;:!… ".contains(character)).to_owned()
}

/// The words of a prompt, sorted by what they say.
#[derive(Debug, Clone, Default)]
pub(super) struct Saying {
    /// Every word with a meaning.
    all: BTreeSet<String>,
    /// Those of them that say what is to be seen.
    telling: BTreeSet<String>,
    /// Neighbours within a clause.
    pairs: BTreeSet<(String, String)>,
}

impl Saying {
    pub(super) fn of(prompt: &str) -> Self {
        let mut saying = Self::default();
        let mut before: Option<(usize, String)> = None;
        for word in words(prompt) {
            if word.common && !is_decisive(&word.stem) {
                continue;
            }
            if let Some((end, previous)) = before.take()
                && !prompt[end..word.start]
                    .contains([',', '.', ';', ':', '–', '—', '|', '\n', '(', ')'])
            {
                saying.pairs.insert((previous, word.stem.clone()));
            }
            before = Some((word.start + word.written.len(), word.stem.clone()));
            if is_decisive(&word.stem) || !STYLE_WORDS.contains(&word.stem) {
                saying.telling.insert(word.stem.clone());
            }
            saying.all.insert(word.stem);
        }
        saying
    }

    /// How near a duplicate the other is: the part of their words that both have, if that is what
    /// this module calls the same picture.
    pub(super) fn nearness(&self, other: &Self) -> Option<f64> {
        let telling = share(&self.telling, &other.telling);
        let shared = share(&self.all, &other.all);
        let only_here: Vec<_> = self.telling.difference(&other.telling).collect();
        let only_there: Vec<_> = other.telling.difference(&self.telling).collect();
        let most = (self.telling.len().max(other.telling.len()) / 10).max(1);
        let is_exchanged = !only_here.is_empty() && !only_there.is_empty();
        let mut unmatched = only_here.iter().chain(&only_there);
        if self.telling.is_empty()
            || telling < LEAST_TELLING
            || shared < LEAST_SHARED
            || is_exchanged
            || only_here.len() + only_there.len() > most
            || unmatched.any(|word| is_decisive(word))
            || share(&self.pairs, &other.pairs) < LEAST_PAIRS
        {
            return None;
        }
        Some(f64::midpoint(telling, shared))
    }

    /// Whether the two exclude each other: other numbers, another colour, another time of day.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let of_class = |saying: &Self, class: usize| -> BTreeSet<usize> {
            let words = saying.all.iter().filter_map(|word| DECISIVE_WORDS.get(word));
            words.filter(|(of, _)| *of == class).map(|(_, place)| *place).collect()
        };
        let numbers = |saying: &Self| -> BTreeSet<String> {
            saying.all.iter().filter(|word| has_digit(word)).cloned().collect()
        };
        let negations = DECISIVE.len() - 1;
        (0..negations).any(|class| {
            let (here, there) = (of_class(self, class), of_class(other, class));
            !here.is_empty() && !there.is_empty() && here.is_disjoint(&there)
        }) || numbers(self) != numbers(other)
            || of_class(self, negations).is_empty() != of_class(other, negations).is_empty()
    }

    /// The sketch of the telling words, in which `owner` is mixed: whoever has another owner shares nothing.
    pub(super) fn sketch(&self, owner: &str) -> Vec<i64> {
        if self.telling.is_empty() {
            return Vec::new();
        }
        let owner = hash(0, owner);
        let hashes: Vec<u64> = self.telling.iter().map(|word| hash(1, word)).collect();
        (0..BANDS)
            .map(|band| {
                let rows = (0..ROWS).map(|row| {
                    let seed = mix(u64::try_from(band * ROWS + row).unwrap_or_default() + 1);
                    hashes.iter().map(|word| mix(word ^ seed)).min().unwrap_or_default()
                });
                let start = mix(owner ^ u64::try_from(band).unwrap_or_default());
                rows.fold(start, |sum, least| mix(sum.rotate_left(7) ^ least)).cast_signed()
            })
            .collect()
    }
}

fn is_decisive(stem: &str) -> bool {
    DECISIVE_WORDS.contains_key(stem) || (has_digit(stem) && !STYLE_WORDS.contains(stem))
}

fn has_digit(word: &str) -> bool {
    word.contains(|character: char| character.is_numeric()) && !STYLE_WORDS.contains(word)
}

/// The part of what either has that both have; 1 where neither has anything.
#[expect(clippy::cast_precision_loss, reason = "a prompt has some hundred words")]
fn share<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> f64 {
    let both = one.intersection(other).count();
    let either = one.len() + other.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// FNV-1a and the finish of SplitMix64: stored sketches must stay comparable with new ones.
fn hash(kind: u8, text: &str) -> u64 {
    let bytes = std::iter::once(kind).chain(text.bytes());
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATTE: &str = "Close-up of a barista pouring latte art in a small coffee bar, steam rising, \
        window light from the side, wooden counter, shallow depth of field";

    fn nearness(one: &str, other: &str) -> Option<f64> {
        Saying::of(one).nearness(&Saying::of(other))
    }

    #[test]
    fn case_punctuation_order_and_style_do_not_matter() {
        for (other, why) in [
            (LATTE.to_uppercase(), "case"),
            (LATTE.replace(',', ";") + ".", "punctuation"),
            (
                "Shallow depth of field, wooden counter, steam rising, close-up of a barista pouring latte art \
                 in a small coffee bar, window light from the side"
                    .to_owned(),
                "order of clauses",
            ),
            (LATTE.replace("shallow depth of field", "soft bokeh"), "style"),
            (LATTE.replace("a small coffee bar", "a small cosy coffee bar"), "a word more"),
            (LATTE.replace("wooden ", ""), "a word less"),
        ] {
            assert!(nearness(LATTE, &other).is_some(), "{why}: {other}");
            assert!(nearness(&other, LATTE).is_some(), "{why}, the other way: {other}");
        }
    }

    #[test]
    fn a_telling_word_makes_another_picture() {
        for (from, to) in [
            ("barista", "robot"),
            ("latte art", "green tea"),
            ("small coffee", "big coffee"),
            ("steam rising", "no steam rising"),
            ("wooden counter", "two wooden counters"),
            ("wooden counter", "red wooden counter"),
            ("window light", "night light"),
            ("Close-up", "Wide view"),
        ] {
            let other = LATTE.replace(from, to);
            assert_ne!(other, LATTE);
            assert_eq!(nearness(LATTE, &other), None, "{other}");
        }
        assert_eq!(nearness("a dog chases a cat", "a cat chases a dog"), None);
        assert_eq!(nearness("Shot 1 of 7, bread", "Shot 7 of 7, bread"), None);
        assert_eq!(nearness("…", "…"), None, "what has no words says nothing");
    }

    #[test]
    fn what_excludes_each_other_contradicts() {
        let contradicts = |one, other| Saying::of(one).contradicts(&Saying::of(other));
        assert!(contradicts("a red car on a road", "a blue car on a road"));
        assert!(contradicts("two cups", "three cups"));
        assert!(contradicts("a harbour at dawn", "the harbour by night"));
        assert!(contradicts("a street without people", "a street, people walking"));
        assert!(!contradicts("a red car on a road", "a car, red, seen on a country road"));
        assert!(!contradicts("a harbour at dawn", "boats in a harbour"));
    }

    #[test]
    fn equal_prompts_are_equal_in_their_normal_form() {
        assert_eq!(normal("  A bowl\nof SOUP. "), normal("a bowl of soup"));
        assert_eq!(normal("Crème brûlée"), normal("creme brulee"));
        assert_ne!(normal("a bowl of soup"), normal("a bowl, of soup"));
    }

    #[test]
    fn owners_share_nothing() {
        let saying = Saying::of(LATTE);
        let (ada, bob) = (saying.sketch("ada"), saying.sketch("bob"));
        assert_eq!(ada, saying.sketch("ada"));
        assert!(ada.iter().all(|band| !bob.contains(band)));
    }

    /// Stored sketches must stay comparable with new ones: whoever changes these numbers must have all
    /// takes marked anew.
    #[test]
    fn sketches_never_change() {
        let sketch = Saying::of("a bowl of soup, steam rising").sketch("ada");
        assert_eq!(sketch.len(), BANDS);
        assert_eq!(sketch[..2], [-5_647_519_022_122_651_865, 3_333_039_439_564_676_051]);
    }

    fn share_a_band(one: &Saying, other: &Saying) -> bool {
        let there = other.sketch("ada");
        one.sketch("ada").iter().any(|band| there.contains(band))
    }

    proptest! {
        #[test]
        fn near_duplicates_share_a_band(
            vocabulary in prop::collection::btree_set("[b-z]{5,9}", 12..40),
            left_out in 0_usize..12,
        ) {
            let all: Vec<String> = vocabulary.into_iter().collect();
            let fewer: Vec<&str> = all.iter().enumerate()
                .filter(|(place, _)| *place != left_out).map(|(_, word)| word.as_str()).collect();
            let (one, other) = (Saying::of(&all.join(", ")), Saying::of(&fewer.join(", ")));
            if one.nearness(&other).is_some() {
                prop_assert!(share_a_band(&one, &other));
            }
        }

        #[test]
        fn nearness_is_symmetric_and_complete_for_itself(one in "[a-e ,]{0,60}", other in "[a-e ,]{0,60}") {
            prop_assert_eq!(nearness(&one, &other), nearness(&other, &one));
            if Saying::of(&one).telling.is_empty() {
                prop_assert_eq!(nearness(&one, &one), None);
            } else {
                prop_assert_eq!(nearness(&one, &one), Some(1.0));
            }
        }
    }

    #[test]
    fn strangers_seldom_share_a_band() {
        let one = Saying::of(LATTE);
        let other = Saying::of(
            "A runner laces bright shoes at dawn, wet asphalt, low angle, breath in the cold air",
        );
        assert!(!share_a_band(&one, &other));
    }
}
