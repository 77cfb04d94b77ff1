//! US dollars as exact decimals, and the quantities that are paid for.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// An amount of US dollars. Never a float; stored as `NUMERIC(20,12)`, never rounded there;
/// an exact decimal string in JSON.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Usd(#[serde(with = "rust_decimal::serde::str")] Decimal);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// An amount of dollars.
    pub const fn new(dollars: Decimal) -> Self {
        Self(dollars)
    }

    /// The exact number of dollars.
    pub const fn dollars(self) -> Decimal {
        self.0
    }

    /// Whether there is nothing to pay.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The amount as people read it, rounded half-even: cents from ten cents up, else as many
    /// digits as show two significant ones, at most six unless nothing of it would be seen.
    pub fn human(self) -> String {
        let magnitude = self.0.abs();
        let digits = if magnitude.is_zero() || magnitude >= Decimal::new(1, 1) {
            2
        } else if magnitude >= Decimal::new(1, 3) {
            4
        } else if magnitude >= Decimal::new(1, 6) {
            6
        } else {
            let first = magnitude.scale() - magnitude.mantissa().unsigned_abs().ilog10();
            (first + 1).min(Decimal::MAX_SCALE)
        };
        let rounded = self.0.round_dp_with_strategy(digits, RoundingStrategy::MidpointNearestEven);
        format!("${rounded:.*}", digits as usize)
    }

    /// The amount with every digit that it has, and cents at least.
    pub fn exact(self) -> String {
        let mut dollars = self.0.normalize();
        dollars.rescale(dollars.scale().max(2));
        format!("${dollars}")
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.human())
    }
}

impl FromStr for Usd {
    type Err = rust_decimal::Error;

    /// Reads `5`, `5.00` or `$5.00`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        Decimal::from_str_exact(text.strip_prefix('$').unwrap_or(text)).map(Self)
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Usd {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<Decimal> for Usd {
    type Output = Self;

    fn mul(self, factor: Decimal) -> Self {
        Self(self.0 * factor)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Tokens of a language call in five disjoint classes: no token is counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Input tokens neither read from nor written to the cache.
    pub uncached_input: u64,
    /// Input tokens written to the five-minute cache.
    pub cache_write_5m: u64,
    /// Input tokens written to the one-hour cache.
    pub cache_write_1h: u64,
    /// Input tokens read from the cache.
    pub cache_read: u64,
    /// Output tokens, thinking included.
    pub output: u64,
}

impl TokenCounts {
    /// All input tokens.
    pub const fn input(self) -> u64 {
        self.uncached_input + self.cache_write_5m + self.cache_write_1h + self.cache_read
    }
}

/// What was, or will be, bought with one call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Language tokens.
    Tokens(TokenCounts),
    /// Tokens to embed.
    EmbeddingTokens(u64),
    /// Uploads, which are free.
    Uploads(u32),
    /// Image jobs; one Midjourney job yields four images and is one unit.
    Images(u32),
    /// Seconds of video as the endpoint sells them, with or without sound.
    VideoSeconds {
        /// Length in seconds.
        seconds: u32,
        /// Whether the clip has sound, which costs more.
        audio: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal_macros::dec;

    #[test]
    fn people_read_two_significant_digits() {
        let human = |dollars| Usd::new(dollars).human();
        assert_eq!(human(dec!(0)), "$0.00");
        assert_eq!(human(dec!(2.345)), "$2.34");
        assert_eq!(human(dec!(2.355)), "$2.36");
        assert_eq!(human(dec!(0.04)), "$0.0400");
        assert_eq!(human(dec!(0.00000132)), "$0.000001");
        assert_eq!(human(dec!(0.0000001)), "$0.00000010");
        assert_eq!(human(dec!(-0.000000000400)), "$-0.00000000040");
    }

    #[test]
    fn exact_amounts_have_cents_and_every_digit() {
        for (dollars, shown) in [
            (dec!(0), "$0.00"),
            (dec!(100), "$100.00"),
            (dec!(2.8), "$2.80"),
            (dec!(0.012345678900), "$0.0123456789"),
            (dec!(0.000000000001), "$0.000000000001"),
        ] {
            assert_eq!(Usd::new(dollars).exact(), shown);
        }
    }

    #[test]
    fn json_keeps_every_digit() {
        let amount = Usd::new(dec!(0.0000001000));
        assert_eq!(serde_json::to_string(&amount).unwrap(), "\"0.0000001000\"");
    }
}
