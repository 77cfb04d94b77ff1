//! Claude's models: their rules and prices (providers.md 1.5 and 1.13).

use rust_decimal::Decimal;
use rust_decimal_macros::dec;

use super::cache::Counts;

/// One model.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Its id.
    pub id: &'static str,
    /// Whether it belongs to the newest generation: no forced tool choice, no prefill, no
    /// `thinking: enabled`.
    pub is_newest: bool,
    /// Whether `thinking: disabled` is taken all the same.
    pub thinking_can_be_disabled: bool,
    /// A shorter beginning is not cached, in tokens (providers.md 1.7; where sources differ, the
    /// longest that they name).
    pub least_cached_tokens: u64,
    /// USD for a million tokens: input, output, write for 5 minutes, write for an hour, read.
    prices: [Decimal; 5],
}

const fn newest(id: &'static str, prices: [Decimal; 5]) -> Model {
    Model { id, is_newest: true, thinking_can_be_disabled: false, least_cached_tokens: 512, prices }
}

const fn older(id: &'static str, least_cached_tokens: u64, prices: [Decimal; 5]) -> Model {
    Model { id, is_newest: false, thinking_can_be_disabled: true, least_cached_tokens, prices }
}

/// Every model that this stand-in serves.
pub const MODELS: [Model; 8] = [
    newest("claude-sonnet-5-5", [dec!(2), dec!(10), dec!(2.50), dec!(4), dec!(0.10)]),
    newest("claude-opus-5-5", [dec!(4), dec!(20), dec!(5), dec!(8), dec!(0.20)]),
    newest("claude-fable-5-1", [dec!(10), dec!(50), dec!(12.50), dec!(20), dec!(0.25)]),
    Model {
        id: "claude-haiku-5-5",
        is_newest: true,
        thinking_can_be_disabled: true,
        least_cached_tokens: 512,
        prices: [dec!(0.10), dec!(0.50), dec!(0.125), dec!(0.20), dec!(0.01)],
    },
    older("claude-sonnet-5", 1_024, [dec!(2), dec!(10), dec!(2.50), dec!(4), dec!(0.20)]),
    older("claude-opus-5", 512, [dec!(5), dec!(25), dec!(6.25), dec!(10), dec!(0.50)]),
    older("claude-sonnet-4-6", 2_048, [dec!(3), dec!(15), dec!(3.75), dec!(6), dec!(0.30)]),
    older("claude-haiku-4-5", 4_096, [dec!(1), dec!(5), dec!(1.25), dec!(2), dec!(0.10)]),
];

impl Model {
    /// The model with this id.
    pub fn find(id: &str) -> Option<Self> {
        MODELS.into_iter().find(|model| model.id == id)
    }

    /// What a turn costs, in USD.
    pub fn price(&self, input: Counts, output: u64) -> Decimal {
        let mut prices = self.prices;
        if self.id == "claude-haiku-5-5" && input.total() > 100_000 {
            // Above 100,000 tokens every token of the request costs five times as much.
            prices = prices.map(|price| price * dec!(5));
        }
        let tokens = [
            input.uncached,
            output,
            input.written_for_5_minutes,
            input.written_for_1_hour,
            input.read,
        ];
        let sum: Decimal =
            prices.iter().zip(tokens).map(|(price, tokens)| price * Decimal::from(tokens)).sum();
        sum / dec!(1_000_000)
    }
}
