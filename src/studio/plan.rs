//! What a storyboard will cost: storyboard and prices → steps and an estimate. Pure.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::ledger::estimate::Basis;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::OperationKind;
use crate::ledger::prices::{Price, PriceMismatch};
use crate::providers::sold_duration;
use crate::studio::brief::Brief;
use crate::studio::run::Retake;
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

impl Plan {
    /// What taking a shot again costs: the price of the steps that are bought, USD.
    pub fn price_of(&self, retake: Retake) -> Usd {
        let shots = self.shots.iter().filter(|shot| shot.number == retake.shot);
        shots
            .map(|shot| {
                let image = if retake.image { shot.image_usd } else { Usd::ZERO };
                let clip = if retake.clip { shot.clip_usd } else { Usd::ZERO };
                image + clip
            })
            .sum()
    }

    /// What an estimate starts from; `words_cap` is the most that the words may still cost.
    pub fn basis(&self, words_cap: Usd) -> Basis {
        Basis {
            shots: u32::try_from(self.shots.len()).unwrap_or(u32::MAX),
            images: self.shots.iter().map(|shot| shot.image_usd).sum(),
            clips: self.shots.iter().map(|shot| shot.clip_usd).sum(),
            words_cap,
        }
    }
}

/// The plan of a brief whose shots are evenly long.
pub fn even(brief: &Brief, tariff: Tariff<'_>) -> Result<Plan, PriceMismatch> {
    let each = brief.duration_seconds / Decimal::from(brief.shots.max(1));
    let (clip_seconds, image_usd, clip_usd) = price_shot(each, tariff)?;
    let shot = |number| PlannedShot { number, clip_seconds, image_usd, clip_usd };
    Ok(Plan { shots: (1..=brief.shots).map(shot).collect() })
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

    /// The plan without what is bought or used again already: given as shot numbers with the kind of take.
    /// A clip that is there needs no keyframe.
    #[must_use]
    pub fn without(mut self, bought: &[(i32, OperationKind)]) -> Self {
        for shot in &mut self.shots {
            let has = |kind| {
                bought.iter().any(|&(number, bought)| {
                    i64::from(number) == i64::from(shot.number) && bought == kind
                })
            };
            if has(OperationKind::Image) || has(OperationKind::Clip) {
                shot.image_usd = Usd::ZERO;
            }
            if has(OperationKind::Clip) {
                shot.clip_usd = Usd::ZERO;
            }
        }
        self
    }

    /// What is bought, in words.
    pub fn to_buy(&self) -> String {
        let count = |of: fn(&PlannedShot) -> Usd, name: &str| {
            let number = self.shots.iter().filter(|shot| !of(shot).is_zero()).count();
            match number {
                0 => None,
                1 => Some(format!("1 {name}")),
                _ => Some(format!("{number} {name}s")),
            }
        };
        let parts = [count(|shot| shot.image_usd, "image"), count(|shot| shot.clip_usd, "clip")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
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

impl Quote {
    /// What a plan and at most `words_cap` of language work may cost.
    pub fn new(plan: &Plan, words_cap: Usd) -> Self {
        let low_usd = plan.total();
        Self { low_usd, high_usd: low_usd + words_cap }
    }
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
        let quote = Quote::new(&even(&brief, tariff).unwrap(), Usd::new(dec!(0.50)));
        assert_eq!(quote.low_usd, Usd::new(dec!(2.34)));
        assert_eq!(quote.high_usd, Usd::new(dec!(2.84)));
    }

    proptest! {
        #[test]
        fn what_a_plan_is_cheaper_by_is_what_reuse_saves(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 10_i64..100), 1..20),
        ) {
            let (image, clip) = prices();
            let tariff = Tariff { image: &image, clip: &clip, durations: &[5, 10], audio: false };
            let shots = steps.iter().zip(1..)
                .map(|((.., tenths), number)| shot(number, Decimal::new(*tenths, 1))).collect();
            let plan = Plan::new(&Storyboard { title: "x".to_owned(), shots }, tariff).unwrap();
            let (mut reused, mut saved) = (Vec::new(), Usd::ZERO);
            for ((has_image, has_clip, _), planned) in steps.iter().zip(&plan.shots) {
                let number = i32::try_from(planned.number).unwrap();
                if *has_image {
                    reused.push((number, OperationKind::Image));
                }
                if *has_clip {
                    reused.push((number, OperationKind::Clip));
                    saved += planned.clip_usd;
                }
                // A clip that is used again needs no picture either.
                if *has_image || *has_clip {
                    saved += planned.image_usd;
                }
            }
            let reduced = plan.clone().without(&reused);
            prop_assert_eq!(reduced.total() + saved, plan.total());
            prop_assert_eq!(reduced.clone().without(&reused), reduced);
            let cap = Usd::new(dec!(0.50));
            let (before, after) = (Quote::new(&plan, cap), Quote::new(&plan.clone().without(&reused), cap));
            prop_assert_eq!(after.high_usd + saved, before.high_usd);
        }

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
