//! What a provider's own list of prices says of the price book, and the entries that follow. Pure.

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::ledger::prices::{Origin, Price, Rates};
use crate::providers::fal::{Audio, KnownVideoModel, ListedPrice};

/// What came of comparing one model's price with the listed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The book holds the listed price.
    Same,
    /// It does not, and this entry would.
    Differs {
        /// The new entry.
        entry: Price,
        /// Whether the price with sound is unknown by it, so that sound is no longer sold.
        loses_sound: bool,
    },
    /// The user's own entry is in force, and stays.
    Own,
    /// The two cannot be compared, for this reason.
    NotCompared(String),
}

/// One model's price in the book and on the list.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The model.
    pub model: &'static str,
    /// fal's id of the endpoint.
    pub endpoint: &'static str,
    /// The silent price in force, USD a second; none where the model has no price.
    pub book: Option<Decimal>,
    /// The base price that fal lists, in its own unit.
    pub listed: Option<Decimal>,
    /// What follows.
    pub outcome: Outcome,
}

/// Compares the price in force with the listed one.
///
/// What fal lists is the base price, without sound. A price with sound is kept beside a new base as
/// long as it is not below it; below it, nobody knows what sound costs, and it is no longer sold
/// until somebody says. A model whose clips always have sound has one price for both.
pub fn compare(
    known: &KnownVideoModel,
    in_force: Option<&Price>,
    listed: Option<&ListedPrice>,
    today: Date,
) -> Comparison {
    let rates = in_force.map(|price| &price.rates);
    let (book, sound) = match rates {
        Some(Rates::Video { silent, audio }) => (Some(*silent), *audio),
        _ => (None, None),
    };
    let outcome = match listed {
        None => Outcome::NotCompared("fal does not list it".to_owned()),
        Some(_) if !known.has_the_listed_price() => {
            Outcome::NotCompared("fal lists the price of another resolution".to_owned())
        }
        Some(listed) if !listed.is_usd_per_second() => {
            Outcome::NotCompared(format!("fal lists it in {} per {}", listed.currency, listed.unit))
        }
        Some(listed) if book == Some(listed.unit_price) => Outcome::Same,
        Some(_) if in_force.is_some_and(|price| price.origin == Origin::Config) => Outcome::Own,
        Some(listed) => {
            let base = listed.unit_price;
            let audio = match known.audio {
                Audio::Never => None,
                Audio::Always => Some(base),
                Audio::Asked => sound.filter(|sound| *sound >= base),
            };
            Outcome::Differs {
                loses_sound: sound.is_some() && audio.is_none(),
                entry: Price {
                    provider: "fal".to_owned(),
                    model: known.name.to_owned(),
                    from: today,
                    source: "fal.ai /models/pricing".to_owned(),
                    origin: Origin::Refreshed,
                    rates: Rates::Video { silent: base, audio },
                },
            }
        }
    };
    Comparison {
        model: known.name,
        endpoint: known.endpoint,
        book,
        listed: listed.map(|listed| listed.unit_price),
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use rust_decimal_macros::dec;

    use super::*;
    use crate::ledger::prices::PriceBook;
    use crate::providers::fal::VIDEO_MODELS;

    const TODAY: Date = date(2026, 11, 27);

    fn outcome(model: &str, unit_price: Decimal, unit: &str) -> Outcome {
        let known = VIDEO_MODELS.iter().find(|known| known.name == model).unwrap();
        let book = PriceBook::shipped();
        let listed = ListedPrice {
            endpoint: known.endpoint.to_owned(),
            unit_price,
            unit: unit.to_owned(),
            currency: "USD".to_owned(),
        };
        compare(known, book.find("fal", model, TODAY), Some(&listed), TODAY).outcome
    }

    fn entry(model: &str, unit_price: Decimal) -> (Rates, bool) {
        match outcome(model, unit_price, "seconds") {
            Outcome::Differs { entry, loses_sound } => {
                assert_eq!((entry.from, entry.origin), (TODAY, Origin::Refreshed));
                (entry.rates, loses_sound)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sound_is_kept_only_where_it_is_not_below_the_base() {
        let video = |silent, audio| Rates::Video { silent, audio };
        assert_eq!(outcome("kling-2.6-pro", dec!(0.070), "second"), Outcome::Same);
        let kept = video(dec!(0.09), Some(dec!(0.14)));
        assert_eq!(entry("kling-2.6-pro", dec!(0.09)), (kept, false));
        assert_eq!(entry("kling-2.6-pro", dec!(0.15)), (video(dec!(0.15), None), true));
        let both = video(dec!(0.12), Some(dec!(0.12)));
        assert_eq!(entry("kling-3-turbo-standard", dec!(0.12)), (both, false));
        // What had no price has one now, silent.
        assert_eq!(entry("kling-o3-pro", dec!(0.10)), (video(dec!(0.10), None), false));
    }

    #[test]
    fn what_is_sold_otherwise_is_not_compared() {
        assert!(matches!(outcome("kling-4-720p", dec!(0.2), "seconds"), Outcome::NotCompared(_)));
        assert!(matches!(outcome("kling-2.6-pro", dec!(0.35), "videos"), Outcome::NotCompared(_)));
    }

    #[test]
    fn the_users_own_entry_stays() {
        let known = &VIDEO_MODELS[0];
        let own = Price {
            origin: Origin::Config,
            ..PriceBook::shipped().find("fal", known.name, TODAY).unwrap().clone()
        };
        let listed = ListedPrice {
            endpoint: known.endpoint.to_owned(),
            unit_price: dec!(0.5),
            unit: "seconds".to_owned(),
            currency: "USD".to_owned(),
        };
        assert_eq!(compare(known, Some(&own), Some(&listed), TODAY).outcome, Outcome::Own);
    }
}
