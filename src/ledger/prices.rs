//! The price book: dated prices, and what a quantity costs by them. Pure.
//!
//! The book that ships with aida is `prices.toml` beside this file. A model that has no entry
//! has no price, and what has no price is not bought.

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ledger::money::{Quantity, TokenCounts, Usd};

const PER_MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

/// Prices by provider, model and day.
#[derive(Debug, Clone)]
pub struct PriceBook {
    prices: Vec<Price>,
}

/// What one model of one provider costs from one day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The provider's name, as in the books.
    pub provider: String,
    /// The model's name, as in the books.
    pub model: String,
    /// The first day of this price.
    pub from: Date,
    /// Where the figure was read.
    pub source: String,
    /// The figures.
    #[serde(flatten)]
    pub rates: Rates,
}

/// How a model is priced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// Language: USD per million tokens of each class.
    Tokens(TokenRates),
    /// Embedding: USD per million tokens.
    Embedding(Decimal),
    /// Image: USD for each job.
    Image(Decimal),
    /// Clip: USD per second.
    Video {
        /// Without sound.
        silent: Decimal,
        /// With sound, where the model has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audio: Option<Decimal>,
    },
}

/// USD per million tokens, for each of the five disjoint classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRates {
    /// Input neither read from nor written to the cache.
    pub input: Decimal,
    /// Output, thinking included.
    pub output: Decimal,
    /// Input written to the five-minute cache.
    pub cache_write_5m: Decimal,
    /// Input written to the one-hour cache.
    pub cache_write_1h: Decimal,
    /// Input read from the cache.
    pub cache_read: Decimal,
    /// Dearer rates for every token of a request with a long prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Box<TokenBand>>,
}

/// The rates of requests whose prompt has more than `input_tokens` tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBand {
    /// The length of prompt above which these rates apply, in tokens.
    pub input_tokens: u64,
    /// The rates.
    #[serde(flatten)]
    pub rates: TokenRates,
}

/// A price of one kind was asked about a quantity of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the price of {provider} {model} does not cover {what}")]
pub struct PriceMismatch {
    provider: String,
    model: String,
    what: &'static str,
}

impl PriceBook {
    /// The book that ships with aida.
    ///
    /// # Panics
    /// Never with the book as shipped; a test reads it.
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    pub fn shipped() -> Self {
        #[derive(Deserialize)]
        struct File {
            price: Vec<Price>,
        }
        let file: File =
            toml::from_str(include_str!("prices.toml")).expect("the shipped price book is valid");
        Self { prices: file.price }
    }

    /// The price of a model on a day, if it has one.
    pub fn find(&self, provider: &str, model: &str, day: Date) -> Option<&Price> {
        self.prices
            .iter()
            .filter(|price| price.provider == provider && price.model == model && price.from <= day)
            .max_by_key(|price| price.from)
    }

    /// The price that a row refers to.
    pub fn by_id(&self, id: &str) -> Option<&Price> {
        self.prices.iter().find(|price| price.id() == id)
    }
}

impl Price {
    /// The name under which a charge remembers this price.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.provider, self.model, self.from)
    }

    /// What `quantity` costs by this price.
    pub fn amount(&self, quantity: &Quantity) -> Result<Usd, PriceMismatch> {
        let mismatch = |what| PriceMismatch {
            provider: self.provider.clone(),
            model: self.model.clone(),
            what,
        };
        let dollars = match (&self.rates, quantity) {
            (Rates::Tokens(rates), Quantity::Tokens(tokens)) => rates.amount(*tokens),
            (Rates::Embedding(rate), Quantity::EmbeddingTokens(tokens)) => {
                Decimal::from(*tokens) * rate / PER_MILLION
            }
            (Rates::Image(each), Quantity::Images(jobs)) => Decimal::from(*jobs) * each,
            (Rates::Video { silent, .. }, Quantity::VideoSeconds { seconds, audio: false }) => {
                Decimal::from(*seconds) * silent
            }
            (Rates::Video { audio, .. }, Quantity::VideoSeconds { seconds, audio: true }) => {
                Decimal::from(*seconds) * audio.ok_or_else(|| mismatch("clips with sound"))?
            }
            (_, Quantity::Tokens(_)) => return Err(mismatch("language tokens")),
            (_, Quantity::EmbeddingTokens(_)) => return Err(mismatch("embedding tokens")),
            (_, Quantity::Images(_)) => return Err(mismatch("images")),
            (_, Quantity::VideoSeconds { .. }) => return Err(mismatch("clips")),
        };
        Ok(Usd::new(dollars))
    }

    /// The most that a language call can cost with at most `input_tokens` of prompt, all of it
    /// written to the dearest cache, and `output_tokens` of answer.
    pub fn language_ceiling(
        &self,
        input_tokens: u64,
        output_tokens: u64,
    ) -> Result<Usd, PriceMismatch> {
        let all_in_one_class = |tokens: TokenCounts| self.amount(&Quantity::Tokens(tokens));
        let output = output_tokens;
        let classes = [
            TokenCounts { uncached_input: input_tokens, output, ..TokenCounts::default() },
            TokenCounts { cache_write_5m: input_tokens, output, ..TokenCounts::default() },
        ];
        let mut ceiling = Usd::ZERO;
        for tokens in classes {
            ceiling = ceiling.max(all_in_one_class(tokens)?);
        }
        Ok(ceiling)
    }
}

impl TokenRates {
    fn amount(&self, tokens: TokenCounts) -> Decimal {
        if let Some(band) = &self.above
            && tokens.input() > band.input_tokens
        {
            return band.rates.amount(tokens);
        }
        let classes = [
            (tokens.uncached_input, self.input),
            (tokens.cache_write_5m, self.cache_write_5m),
            (tokens.cache_write_1h, self.cache_write_1h),
            (tokens.cache_read, self.cache_read),
            (tokens.output, self.output),
        ];
        classes.into_iter().map(|(count, rate)| Decimal::from(count) * rate).sum::<Decimal>()
            / PER_MILLION
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;
    use rust_decimal_macros::dec;

    fn sonnet() -> Price {
        PriceBook::shipped()
            .find("anthropic", "claude-sonnet-5-5", date(2026, 11, 22))
            .unwrap()
            .clone()
    }

    #[test]
    fn one_cached_token_is_not_lost() {
        let tokens = TokenCounts { cache_read: 1, ..TokenCounts::default() };
        assert_eq!(sonnet().amount(&Quantity::Tokens(tokens)).unwrap(), Usd::new(dec!(0.0000001)));
    }

    #[test]
    fn a_price_is_not_found_before_its_day() {
        let book = PriceBook::shipped();
        assert!(book.find("anthropic", "claude-sonnet-5-5", date(2026, 10, 6)).is_none());
        assert!(book.find("anthropic", "claude-unheard-of", date(2026, 11, 22)).is_none());
    }

    #[test]
    fn long_prompts_of_haiku_cost_the_band_for_every_token() {
        let book = PriceBook::shipped();
        let haiku = book.find("anthropic", "claude-haiku-5-5", date(2026, 11, 22)).unwrap();
        let tokens = |uncached_input| {
            Quantity::Tokens(TokenCounts {
                uncached_input,
                output: 1_000_000,
                ..TokenCounts::default()
            })
        };
        assert_eq!(haiku.amount(&tokens(100_000)).unwrap(), Usd::new(dec!(0.51)));
        assert_eq!(haiku.amount(&tokens(100_001)).unwrap(), Usd::new(dec!(2.5500005)));
    }

    #[test]
    fn sound_costs_more_and_silence_is_not_sold_as_sound() {
        let book = PriceBook::shipped();
        let day = date(2026, 11, 22);
        let clip = |audio| Quantity::VideoSeconds { seconds: 5, audio };
        let kling = book.find("fal", "kling-2.6-pro", day).unwrap();
        assert_eq!(kling.amount(&clip(false)).unwrap(), Usd::new(dec!(0.35)));
        assert_eq!(kling.amount(&clip(true)).unwrap(), Usd::new(dec!(0.70)));
        let turbo = book.find("fal", "kling-2.5-turbo-pro", day).unwrap();
        assert!(turbo.amount(&clip(true)).is_err());
        assert!(turbo.amount(&Quantity::Images(1)).is_err());
    }

    proptest! {
        #[test]
        fn the_ceiling_covers_every_mix_of_classes(
            uncached_input in 0_u64..200_000,
            cache_write_5m in 0_u64..200_000,
            cache_read in 0_u64..200_000,
            output in 0_u64..20_000,
            model in prop::sample::select(vec!["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5"]),
        ) {
            let book = PriceBook::shipped();
            let price = book.find("anthropic", model, date(2026, 11, 22)).unwrap();
            let tokens = TokenCounts { uncached_input, cache_write_5m, cache_read, output, cache_write_1h: 0 };
            let ceiling = price.language_ceiling(tokens.input(), output).unwrap();
            prop_assert!(price.amount(&Quantity::Tokens(tokens)).unwrap() <= ceiling);
        }
    }
}
