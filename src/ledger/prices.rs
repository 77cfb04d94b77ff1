//! The price book: dated prices, and what a quantity costs by them. Pure.
//!
//! The book that ships with aida is `prices.toml` beside this file. A model that has no entry
//! has no price, and what has no price is not bought. Over it lie the entries that were read from a
//! provider, and over those the user's own.

use std::fmt;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::money::{Quantity, TokenCounts, Usd};

const PER_MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

/// Prices by provider, model and day.
#[derive(Debug, Clone, Default)]
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
    /// Who put it into the book.
    #[serde(skip)]
    pub origin: Origin,
    /// The figures.
    #[serde(flatten)]
    pub rates: Rates,
}

/// Who put a price into the book; later ones count before earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It came with aida.
    #[default]
    Shipped,
    /// It was read from a provider by `aida prices refresh`.
    Refreshed,
    /// It stands in the user's config.toml.
    Config,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Shipped => "shipped",
            Self::Refreshed => "refreshed",
            Self::Config => "config",
        })
    }
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

/// What the prompt cache did to the price of a call, USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheEffect {
    /// What the tokens that were read would have cost more as uncached input.
    pub saved: Usd,
    /// What writing cost more than uncached input.
    pub premium: Usd,
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

    /// The same book with other entries laid over it. One for the same provider, model and day takes
    /// the place of what was there.
    #[must_use]
    pub fn with(mut self, entries: impl IntoIterator<Item = Price>) -> Self {
        for entry in entries {
            self.prices.retain(|price| {
                (&price.provider, &price.model, price.from)
                    != (&entry.provider, &entry.model, entry.from)
            });
            self.prices.push(entry);
        }
        self
    }

    /// Every entry, past and future ones too.
    pub fn entries(&self) -> &[Price] {
        &self.prices
    }

    /// Whether a price is the one that its model has on a day.
    pub fn is_in_force(&self, price: &Price, day: Date) -> bool {
        self.find(&price.provider, &price.model, day).is_some_and(|found| found.id() == price.id())
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
    /// The name under which a charge remembers this price. One that did not come with aida has a
    /// fingerprint of its figures in it: a charge that was made with another figure for the same
    /// day keeps its own.
    pub fn id(&self) -> String {
        let name = format!("{}/{}/{}", self.provider, self.model, self.from);
        if self.origin == Origin::Shipped {
            return name;
        }
        let rates = serde_json::to_vec(&self.rates).unwrap_or_default();
        let digest = Sha256::digest(rates);
        let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
        format!("{name}+{:08x}", u32::from_be_bytes([a, b, c, d]))
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
            (_, Quantity::Uploads(_)) => Decimal::ZERO,
            (_, Quantity::Tokens(_)) => return Err(mismatch("language tokens")),
            (_, Quantity::EmbeddingTokens(_)) => return Err(mismatch("embedding tokens")),
            (_, Quantity::Images(_)) => return Err(mismatch("images")),
            (_, Quantity::VideoSeconds { .. }) => return Err(mismatch("clips")),
        };
        Ok(Usd::new(dollars))
    }

    /// What the prompt cache did to the price of a language call; nothing for other prices.
    pub fn cache_effect(&self, tokens: TokenCounts) -> CacheEffect {
        let Rates::Tokens(rates) = &self.rates else { return CacheEffect::default() };
        let rates = rates.of(tokens);
        let more = |count: u64, rate: Decimal| Decimal::from(count) * (rate - rates.input);
        let saved = -more(tokens.cache_read, rates.cache_read);
        let premium = more(tokens.cache_write_5m, rates.cache_write_5m)
            + more(tokens.cache_write_1h, rates.cache_write_1h);
        CacheEffect {
            saved: Usd::new(saved / PER_MILLION),
            premium: Usd::new(premium / PER_MILLION),
        }
    }

    /// The most that a language call can cost with at most `input_tokens` of prompt, all of it
    /// written to the five-minute cache, and `output_tokens` of answer.
    pub fn language_ceiling(
        &self,
        input_tokens: u64,
        output_tokens: u64,
    ) -> Result<Usd, PriceMismatch> {
        self.language_ceiling_with_an_hour(input_tokens, 0, output_tokens)
    }

    /// The same where up to `hour_tokens` of the prompt may be written to the one-hour cache.
    pub fn language_ceiling_with_an_hour(
        &self,
        input_tokens: u64,
        hour_tokens: u64,
        output_tokens: u64,
    ) -> Result<Usd, PriceMismatch> {
        let hour = hour_tokens.min(input_tokens);
        let (rest, output) = (input_tokens - hour, output_tokens);
        let mixes = [
            TokenCounts { uncached_input: input_tokens, output, ..TokenCounts::default() },
            TokenCounts { cache_write_5m: input_tokens, output, ..TokenCounts::default() },
            TokenCounts {
                cache_write_1h: hour,
                cache_write_5m: rest,
                output,
                ..TokenCounts::default()
            },
        ];
        let mut ceiling = Usd::ZERO;
        for tokens in mixes {
            ceiling = ceiling.max(self.amount(&Quantity::Tokens(tokens))?);
        }
        Ok(ceiling)
    }
}

impl TokenRates {
    /// The rates that a request of this length falls under.
    pub fn of(&self, tokens: TokenCounts) -> &Self {
        match &self.above {
            Some(band) if tokens.input() > band.input_tokens => band.rates.of(tokens),
            _ => self,
        }
    }

    fn amount(&self, tokens: TokenCounts) -> Decimal {
        let rates = self.of(tokens);
        let classes = [
            (tokens.uncached_input, rates.input),
            (tokens.cache_write_5m, rates.cache_write_5m),
            (tokens.cache_write_1h, rates.cache_write_1h),
            (tokens.cache_read, rates.cache_read),
            (tokens.output, rates.output),
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
    fn what_the_cache_saved_and_what_writing_it_cost_are_told_apart() {
        let tokens = TokenCounts {
            uncached_input: 5,
            cache_write_5m: 1_000_000,
            cache_write_1h: 100_000,
            cache_read: 2_000_000,
            output: 9,
        };
        let effect = sonnet().cache_effect(tokens);
        assert_eq!(effect.saved, Usd::new(dec!(3.80)));
        assert_eq!(effect.premium, Usd::new(dec!(0.70)));
        let none = TokenCounts { uncached_input: 1_000, output: 10, ..TokenCounts::default() };
        assert_eq!(sonnet().cache_effect(none), CacheEffect::default());
    }

    #[test]
    fn a_price_is_not_found_before_its_day() {
        let book = PriceBook::shipped();
        assert!(book.find("anthropic", "claude-sonnet-5-5", date(2026, 10, 6)).is_none());
        assert!(book.find("anthropic", "claude-unheard-of", date(2026, 11, 22)).is_none());
    }

    #[test]
    fn entries_lie_over_each_other_and_have_names_of_their_own() {
        let shipped = PriceBook::shipped();
        let day = date(2026, 11, 22);
        let old = shipped.find("kie", "nano-banana-2", day).unwrap().clone();
        let own = Price {
            origin: Origin::Config,
            rates: Rates::Image(dec!(0.03)),
            source: "config.toml".to_owned(),
            ..old.clone()
        };
        let later =
            Price { from: date(2027, 1, 1), rates: Rates::Image(dec!(0.05)), ..own.clone() };
        let book = shipped.clone().with([own.clone(), later.clone()]);
        let found = book.find("kie", "nano-banana-2", day).unwrap();
        assert_eq!(found.rates, Rates::Image(dec!(0.03)));
        assert!(found.id().starts_with("kie/nano-banana-2/2026-09-01+"), "{}", found.id());
        assert_eq!(found.id().len(), "kie/nano-banana-2/2026-09-01+1a2b3c4d".len());
        assert_ne!(found.id(), old.id());
        assert_eq!(book.entries().len(), shipped.entries().len() + 1);
        assert!(book.is_in_force(&own, day) && !book.is_in_force(&later, day));
        assert!(book.by_id(&old.id()).is_none() && book.by_id(&own.id()).is_some());
        let other = Price { rates: Rates::Image(dec!(0.031)), ..own.clone() };
        assert_ne!(other.id(), own.id());
    }

    /// The models that the clients know and the book does not price, with the reason.
    const UNPRICED: [(&str, &str, &str); 15] = [
        ("anthropic", "claude-fable-5-2", "what a cache read costs is not published"),
        ("anthropic", "claude-mythos-5-2", "not on the price page"),
        ("anthropic", "claude-mythos-5", "not on the price page"),
        ("kie", "nano-banana-2-lite", "no price was found"),
        ("kie", "nano-banana", "no price was found"),
        ("kie", "imagen4", "no price was found"),
        ("kie", "imagen4-fast", "no price was found"),
        ("kie", "imagen4-ultra", "no price was found"),
        ("kie", "seedream-5-pro", "no price was found"),
        ("kie", "seedream-4.5", "no price was found"),
        ("kie", "flux-2-pro", "no price was found"),
        ("fal", "kling-1.6-pro", "no price was found; `aida prices refresh` reads it"),
        ("fal", "kling-2.1-standard", "no price was found; `aida prices refresh` reads it"),
        ("fal", "kling-2.1-master", "no price was found; `aida prices refresh` reads it"),
        ("fal", "kling-o3-pro", "no price was found; `aida prices refresh` reads it"),
    ];

    #[test]
    fn every_model_that_the_clients_know_is_priced_or_known_not_to_be() {
        use crate::providers::{anthropic::LANGUAGE_MODELS, fal::VIDEO_MODELS, kie::IMAGE_MODELS};
        let known = LANGUAGE_MODELS
            .iter()
            .map(|name| ("anthropic", *name))
            .chain(IMAGE_MODELS.iter().map(|known| ("kie", known.name)))
            .chain(VIDEO_MODELS.iter().map(|known| ("fal", known.name)));
        let book = PriceBook::shipped();
        for (provider, model) in known {
            let is_priced = book.find(provider, model, date(2026, 11, 22)).is_some();
            let is_excused = UNPRICED.iter().any(|(of, name, _)| (*of, *name) == (provider, model));
            assert_ne!(is_priced, is_excused, "{provider} {model}");
        }
        let sold = book
            .entries()
            .iter()
            .filter(|price| !["openai", "voyage"].contains(&price.provider.as_str()));
        assert_eq!(sold.count() + UNPRICED.len(), 21 + IMAGE_MODELS.len() + VIDEO_MODELS.len());
    }

    #[test]
    fn each_entry_has_a_name_of_its_own_() {
        let book = PriceBook::shipped();
        let names: std::collections::BTreeSet<_> = book.entries().iter().map(Price::id).collect();
        assert_eq!(names.len(), book.entries().len());
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
            cache_write_1h in 0_u64..50_000,
            cache_read in 0_u64..200_000,
            output in 0_u64..20_000,
            model in prop::sample::select(vec!["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5"]),
        ) {
            let book = PriceBook::shipped();
            let price = book.find("anthropic", model, date(2026, 11, 22)).unwrap();
            let mut tokens = TokenCounts { uncached_input, cache_write_5m, cache_read, output, cache_write_1h: 0 };
            let ceiling = price.language_ceiling(tokens.input(), output).unwrap();
            prop_assert!(price.amount(&Quantity::Tokens(tokens)).unwrap() <= ceiling);
            tokens.cache_write_1h = cache_write_1h;
            let ceiling =
                price.language_ceiling_with_an_hour(tokens.input(), cache_write_1h, output).unwrap();
            prop_assert!(price.amount(&Quantity::Tokens(tokens)).unwrap() <= ceiling);
        }
    }
}
