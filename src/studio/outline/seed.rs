//! Choices that look free and are always the same for the same brief.

use sha2::{Digest, Sha256};

/// A stream of numbers that depends on the brief alone (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Seed(u64);

impl Seed {
    /// White space and capitals do not matter.
    pub(super) fn of(brief: &str) -> Self {
        let words: Vec<_> = brief.split_whitespace().map(str::to_lowercase).collect();
        let digest = Sha256::digest(words.join(" "));
        Self(digest.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if the limit is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// One of the choices, which must not be empty.
    pub(super) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
