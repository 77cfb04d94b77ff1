//! What a video will probably cost: its prices, and what the user's own past videos needed beside
//! them. Pure.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::ledger::money::Usd;

/// The part of the language cap that a first video's words are expected to cost, in percent: nothing
/// is known of the user yet, and the team rarely needs more.
const FIRST_WORDS_PERCENT: i64 = 15;

/// What the past tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// For each of the latest finished videos: what its words cost for each shot, USD.
    pub words_per_shot: Vec<Usd>,
    /// Images that were paid for, and shots that they were for.
    pub images: Takes,
    /// Clips that were paid for, and shots that they were for.
    pub clips: Takes,
}

/// How many takes of a kind shots needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Takes {
    /// Jobs that were paid for.
    pub paid: i64,
    /// Shots that they were for.
    pub shots: i64,
}

impl Takes {
    /// Jobs for each shot: one where nothing is known.
    fn for_each_shot(self) -> Decimal {
        Decimal::from(self.paid)
            .checked_div(Decimal::from(self.shots))
            .map_or(Decimal::ONE, |each| each.max(Decimal::ONE))
    }
}

/// What a video will probably cost. Amounts are USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Nine of ten such videos cost more.
    pub low_usd: Usd,
    /// As many cost more as cost less. This is what a video's cost is later compared with.
    pub likely_usd: Usd,
    /// Nine of ten such videos cost less.
    pub high_usd: Usd,
    /// How many past videos it was learnt from.
    pub videos: usize,
}

/// The prices that an estimate starts from.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// Number of shots.
    pub shots: u32,
    /// Price of all keyframes, once each, USD.
    pub images: Usd,
    /// Price of all clips, once each, USD.
    pub clips: Usd,
    /// The most that the words may cost, USD; nothing where they are written already.
    pub words_cap: Usd,
}

impl Estimate {
    /// The same where the video cannot cost more than `most`, because nothing is bought beyond what was quoted.
    #[must_use]
    pub fn at_most(self, most: Usd) -> Self {
        Self {
            low_usd: self.low_usd.min(most),
            likely_usd: self.likely_usd.min(most),
            high_usd: self.high_usd.min(most),
            ..self
        }
    }

    /// Reckons from prices and the past.
    pub fn new(basis: Basis, past: &Past) -> Self {
        let once = basis.images + basis.clips;
        let usual =
            basis.images * past.images.for_each_shot() + basis.clips * past.clips.for_each_shot();
        let words = |tenths: usize| -> Usd {
            let known = quantile(&past.words_per_shot, tenths)
                .map(|each| each * Decimal::from(basis.shots));
            let guess = match tenths {
                0..5 => Usd::ZERO,
                5 => basis.words_cap * Decimal::new(FIRST_WORDS_PERCENT, 2),
                _ => basis.words_cap,
            };
            known.unwrap_or(guess).min(basis.words_cap)
        };
        Self {
            low_usd: once + words(1),
            likely_usd: usual + words(5),
            high_usd: usual + words(9),
            videos: past.words_per_shot.len(),
        }
    }
}

/// The amount that `tenths` tenths of some amounts do not pass.
fn quantile(amounts: &[Usd], tenths: usize) -> Option<Usd> {
    let mut sorted = amounts.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * tenths).div_ceil(10)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal_macros::dec;

    fn usd(cents: i64) -> Usd {
        Usd::new(Decimal::new(cents, 2))
    }

    const BASIS: Basis = Basis {
        shots: 6,
        images: Usd::new(dec!(0.24)),
        clips: Usd::new(dec!(2.10)),
        words_cap: Usd::new(dec!(0.50)),
    };

    #[test]
    fn a_first_video_is_a_guess_and_says_so() {
        let estimate = Estimate::new(BASIS, &Past::default());
        assert_eq!(estimate.low_usd, usd(234));
        assert_eq!(estimate.likely_usd, Usd::new(dec!(2.415)));
        assert_eq!(estimate.high_usd, usd(284));
        assert_eq!(estimate.videos, 0);
    }

    #[test]
    fn who_retakes_often_is_told_so() {
        let past = Past {
            words_per_shot: vec![usd(1); 10],
            images: Takes { paid: 90, shots: 60 },
            clips: Takes { paid: 66, shots: 60 },
        };
        let estimate = Estimate::new(BASIS, &past);
        assert_eq!(estimate.low_usd, usd(240));
        // Half as many images again, a tenth of the clips again, and the words.
        assert_eq!(estimate.likely_usd, Usd::new(dec!(2.73)));
        assert_eq!(estimate.videos, 10);
    }

    proptest! {
        #[test]
        fn the_range_holds_the_likely_amount(
            words in prop::collection::vec(0_i64..20, 0..12),
            paid in 0_i64..50,
            shots in 0_i64..50,
        ) {
            let past = Past {
                words_per_shot: words.into_iter().map(usd).collect(),
                images: Takes { paid, shots },
                clips: Takes { paid: shots, shots: paid },
            };
            let estimate = Estimate::new(BASIS, &past);
            prop_assert!(estimate.low_usd <= estimate.likely_usd);
            prop_assert!(estimate.likely_usd <= estimate.high_usd);
        }
    }
}
