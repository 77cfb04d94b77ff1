//! What a storyboard will cost: storyboard and prices → steps and an estimate. Pure.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::OperationKind;
use crate::ledger::prices::{Price, PriceMismatch};
use crate::providers::sold_duration;
use crate::studio::brief::Brief;
use crate::studio::storyboard::{Shot, Storyboard};

/// The prices and lengths that a plan is reckoned with.
#[derive(Debug, Clone, Copy)]
pub struct Tariff<'a> {
    /// The price of a keyframe.
    pub image: &'a Price,
    /// The price of a clip.
    pub clip: &'a Price,
    /// The lengths in seconds that the clip's endpoint sells, rising.
    pub durations: &'a [u32],
    /// Whether clips have sound.
    pub audio: bool,
}

/// What will be bought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// One entry for each shot, in order.
    pub shots: Vec<PlannedShot>,
}

/// What will be bought for one shot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedShot {
    /// The shot's number, from 1.
    pub number: u32,
    /// The length that is bought, in seconds; it is trimmed in the cut.
    pub clip_seconds: u32,
    /// Price of its keyframe, USD.
    pub image_usd: Usd,
    /// Price of its clip, USD.
    pub clip_usd: Usd,
}

/// What a video may cost before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// The price of the asked shots alone, USD.
    pub low_usd: Usd,
    /// The same and all that the language work may cost, USD.
    pub high_usd: Usd,
}

impl Plan {
    /// Prices a storyboard.
    pub fn new(storyboard: &Storyboard, tariff: Tariff<'_>) -> Result<Self, PriceMismatch> {
        let shots = storyboard
            .shots
            .iter()
            .map(|shot| plan_shot(shot, tariff))
            .collect::<Result<_, _>>()?;
        Ok(Self { shots })
    }

    /// The plan without what is bought already: given as shot numbers with the kind of take.
    #[must_use]
    pub fn without(mut self, bought: &[(i32, OperationKind)]) -> Self {
        for shot in &mut self.shots {
            let has = |kind| {
                bought.iter().any(|&(number, bought)| {
                    i64::from(number) == i64::from(shot.number) && bought == kind
                })
            };
            if has(OperationKind::Image) {
                shot.image_usd = Usd::ZERO;
            }
            if has(OperationKind::Clip) {
                shot.clip_usd = Usd::ZERO;
            }
        }
        self
    }

    /// Price of all images and clips, USD.
    pub fn total(&self) -> Usd {
        self.shots.iter().map(|shot| shot.image_usd + shot.clip_usd).sum()
    }
}

fn plan_shot(shot: &Shot, tariff: Tariff<'_>) -> Result<PlannedShot, PriceMismatch> {
    let (clip_seconds, image_usd, clip_usd) = price_shot(shot.duration_seconds, tariff)?;
    Ok(PlannedShot { number: shot.number, clip_seconds, image_usd, clip_usd })
}

fn price_shot(
    wanted_seconds: Decimal,
    tariff: Tariff<'_>,
) -> Result<(u32, Usd, Usd), PriceMismatch> {
    let seconds = sold_duration(tariff.durations, wanted_seconds).unwrap_or_default();
    let image = tariff.image.amount(&Quantity::Images(1))?;
    let clip = tariff.clip.amount(&Quantity::VideoSeconds { seconds, audio: tariff.audio })?;
    Ok((seconds, image, clip))
}

/// What the asked shots, evenly long, and the language work may cost.
pub fn quote(brief: &Brief, language_cap: Usd, tariff: Tariff<'_>) -> Result<Quote, PriceMismatch> {
    let each = brief.duration_seconds / Decimal::from(brief.shots.max(1));
    let (_, image, clip) = price_shot(each, tariff)?;
    let low_usd = (image + clip) * Decimal::from(brief.shots);
    Ok(Quote { low_usd, high_usd: low_usd + language_cap })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::prices::PriceBook;
    use crate::studio::brief::Aspect;
    use jiff::civil::date;
    use proptest::prelude::*;
    use rust_decimal_macros::dec;

    fn prices() -> (Price, Price) {
        let (book, day) = (PriceBook::shipped(), date(2026, 11, 22));
        let image = book.find("kie", "midjourney-7-fast", day).unwrap().clone();
        let clip = book.find("fal", "kling-2.6-pro", day).unwrap().clone();
        (image, clip)
    }

    fn shot(number: u32, duration_seconds: Decimal) -> Shot {
        Shot {
            number,
            image_prompt: "a bowl".to_owned(),
            motion_prompt: "steam rises".to_owned(),
            duration_seconds,
            on_screen_text: String::new(),
            narration: String::new(),
            references: Vec::new(),
        }
    }

    #[test]
    fn a_shot_buys_the_next_length_that_is_sold() {
        let (image, clip) = prices();
        let tariff = Tariff { image: &image, clip: &clip, durations: &[5, 10], audio: false };
        let storyboard = Storyboard {
            title: "Soup".to_owned(),
            shots: vec![shot(1, dec!(2.5)), shot(2, dec!(5.1))],
        };
        let plan = Plan::new(&storyboard, tariff).unwrap();
        assert_eq!(plan.shots[0].clip_seconds, 5);
        assert_eq!(plan.shots[1].clip_seconds, 10);
        assert_eq!(plan.total(), Usd::new(dec!(1.13)));
    }

    #[test]
    fn the_default_video_is_quoted_as_the_price_book_says() {
        let (image, clip) = prices();
        let tariff = Tariff { image: &image, clip: &clip, durations: &[5, 10], audio: false };
        let brief = Brief {
            text: "food video".parse().unwrap(),
            duration_seconds: dec!(30),
            shots: 6,
            aspect: Aspect::Portrait9x16,
            files: Vec::new(),
        };
        let quote = quote(&brief, Usd::new(dec!(0.50)), tariff).unwrap();
        assert_eq!(quote.low_usd, Usd::new(dec!(2.34)));
        assert_eq!(quote.high_usd, Usd::new(dec!(2.84)));
    }

    proptest! {
        #[test]
        fn a_plan_is_the_sum_of_its_shots_and_covers_every_second(
            lengths in prop::collection::vec(10_i64..100, 1..20),
        ) {
            let (image, clip) = prices();
            let tariff = Tariff { image: &image, clip: &clip, durations: &[5, 10], audio: true };
            let shots = lengths.iter().zip(1..).map(|(tenths, number)| shot(number, Decimal::new(*tenths, 1))).collect();
            let storyboard = Storyboard { title: "x".to_owned(), shots };
            let plan = Plan::new(&storyboard, tariff).unwrap();
            for (planned, shot) in plan.shots.iter().zip(&storyboard.shots) {
                prop_assert!(Decimal::from(planned.clip_seconds) >= shot.duration_seconds);
                prop_assert_eq!(planned.clip_usd, Usd::new(dec!(0.14)) * Decimal::from(planned.clip_seconds));
            }
        }
    }
}
