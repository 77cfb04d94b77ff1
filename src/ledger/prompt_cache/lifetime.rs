//! The cheapest marks: where to ask the cache to remember, and for how long. Pure.

use rust_decimal::Decimal;

use super::waits::Waits;
use crate::ledger::prices::TokenRates;
use crate::providers::CacheLifetime;

/// What a place can be asked: not to be remembered, or for how long.
const CHOICES: [Option<CacheLifetime>; 3] =
    [None, Some(CacheLifetime::FiveMinutes), Some(CacheLifetime::OneHour)];

/// What lies between a place and the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// How long it is. Any unit will do that is the same for all stretches.
    pub bytes: u64,
    /// How soon everything up to its end is read again.
    pub waits: Waits,
}

/// What a million tokens of a stretch cost each time they are sent, in the long run, USD.
///
/// A stretch that is sent again and again is read where the wait since the last time was shorter than
/// its lifetime, and written anew where it was longer, or where nothing came before. With `p` for the
/// share of waits that are short enough:
///
/// ```text
/// cost of a use = p × read + (1 − p) × write        not marked: input
/// ```
///
/// A place that is never read again has `p = 0`, and marking it costs the premium of the write for
/// nothing. An hour beats five minutes where enough waits lie between the two to pay for the dearer
/// write of those that are longer than an hour.
pub fn cost_of_a_use(
    waits: &Waits,
    lifetime: Option<CacheLifetime>,
    rates: &TokenRates,
) -> Decimal {
    let Some(lifetime) = lifetime else { return rates.input };
    let write = match lifetime {
        CacheLifetime::FiveMinutes => rates.cache_write_5m,
        CacheLifetime::OneHour => rates.cache_write_1h,
    };
    let read_again = waits.share_within(lifetime);
    read_again * rates.cache_read + (Decimal::ONE - read_again) * write
}

/// What all stretches cost each time they are sent, by [`cost_of_a_use`] weighted by their lengths.
/// One that is not marked is remembered with the next one behind it that is, and only as long as that
/// is read. None where an hour would come after five minutes, which the vendor refuses.
pub fn expected_cost(
    stretches: &[Stretch],
    lifetimes: &[Option<CacheLifetime>],
    rates: &TokenRates,
) -> Option<Decimal> {
    let marked: Vec<_> = lifetimes.iter().flatten().collect();
    if marked.windows(2).any(|pair| pair[0] < pair[1]) {
        return None;
    }
    let mut behind: Option<(&Waits, CacheLifetime)> = None;
    let mut cost = Decimal::ZERO;
    for (stretch, lifetime) in stretches.iter().zip(lifetimes).rev() {
        if let Some(lifetime) = lifetime {
            behind = Some((&stretch.waits, *lifetime));
        }
        let each = match behind {
            Some((waits, lifetime)) => cost_of_a_use(waits, Some(lifetime), rates),
            None => rates.input,
        };
        cost += Decimal::from(stretch.bytes) * each;
    }
    Some(cost)
}

/// The lifetimes with the lowest [`expected_cost`]. Of two that cost the same, the one that marks more
/// places, because what others share of the prompt can be read by them only where it is marked; and
/// then the one that marks for a shorter time. There are at most four places, and so every choice is
/// looked at.
pub fn cheapest(stretches: &[Stretch], rates: &TokenRates) -> Vec<Option<CacheLifetime>> {
    let places = u32::try_from(stretches.len()).unwrap_or(0);
    let mut best = (None, vec![None; stretches.len()]);
    for number in 0..CHOICES.len().pow(places) {
        let mut rest = number;
        let lifetimes: Vec<_> = stretches
            .iter()
            .map(|_| {
                let choice = CHOICES[rest % CHOICES.len()];
                rest /= CHOICES.len();
                choice
            })
            .collect();
        let Some(cost) = expected_cost(stretches, &lifetimes, rates) else { continue };
        let count = |wanted| lifetimes.iter().filter(|lifetime| **lifetime == wanted).count();
        let rank = (cost, count(None), count(Some(CacheLifetime::OneHour)));
        if best.0.is_none_or(|least| rank < least) {
            best = (Some(rank), lifetimes);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::prices::{PriceBook, Rates};

    const FIVE: Option<CacheLifetime> = Some(CacheLifetime::FiveMinutes);
    const HOUR: Option<CacheLifetime> = Some(CacheLifetime::OneHour);

    fn rates(model: &str) -> TokenRates {
        let book = PriceBook::shipped();
        let price = book.find("anthropic", model, date(2026, 11, 22)).unwrap();
        let Rates::Tokens(rates) = &price.rates else { panic!("no price by tokens") };
        rates.clone()
    }

    /// Of ten waits so many were shorter than five minutes, and so many than an hour.
    fn of_ten(within_5_minutes: u32, within_1_hour: u32) -> Waits {
        Waits::observed(10, within_5_minutes, within_1_hour)
    }

    fn choice(waits: &Waits, model: &str) -> Option<CacheLifetime> {
        cheapest(&[Stretch { bytes: 1_000, waits: waits.clone() }], &rates(model))[0]
    }

    #[test]
    fn the_lifetime_follows_the_waits() {
        for (within_5_minutes, within_1_hour, expected) in [
            // Never read again: marking it would pay a premium for nothing.
            (0, 0, None),
            (2, 2, None),
            // Read again at once.
            (10, 10, FIVE),
            (8, 8, FIVE),
            // One video a few minutes after the other.
            (8, 10, HOUR),
            (7, 9, HOUR),
            (0, 10, HOUR),
            // A video now, the next one tomorrow.
            (4, 5, FIVE),
        ] {
            let waits = of_ten(within_5_minutes, within_1_hour);
            for model in ["claude-sonnet-5-5", "claude-opus-5-5"] {
                assert_eq!(choice(&waits, model), expected, "{model}: {waits:?}");
            }
        }
    }

    #[test]
    fn what_others_share_is_marked_where_that_costs_nothing() {
        let stretch = |bytes| Stretch { bytes, waits: of_ten(8, 8) };
        let chosen =
            cheapest(&[stretch(9_000), stretch(500), stretch(900)], &rates("claude-opus-5-5"));
        assert_eq!(chosen, [FIVE; 3]);
    }

    #[test]
    fn an_hour_never_comes_after_five_minutes() {
        let stretches = [(of_ten(10, 10), 10), (of_ten(5, 10), 1_000)]
            .map(|(waits, bytes)| Stretch { bytes, waits });
        let chosen = cheapest(&stretches, &rates("claude-sonnet-5-5"));
        assert_eq!(chosen[1], HOUR);
        assert_ne!(chosen[0], FIVE);
        assert!(cheapest(&[], &rates("claude-sonnet-5-5")).is_empty());
    }

    proptest! {
        /// Whatever the waits, no other legal choice of marks would be expected to cost less; with
        /// one place that is: neither five minutes, nor an hour, nor no mark.
        #[test]
        fn nothing_is_cheaper_than_what_is_chosen(
            stretches in prop::collection::vec((1_u64..40_000, 0_u32..=20, 0_u32..=20), 1..=4),
            others in prop::collection::vec(0_usize..3, 4),
            model in prop::sample::select(vec![
                "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-haiku-4-5",
            ]),
        ) {
            let stretches: Vec<Stretch> = stretches
                .into_iter()
                .map(|(bytes, one, other)| {
                    let waits = Waits::observed(20, one.min(other), one.max(other));
                    Stretch { bytes, waits }
                })
                .collect();
            let rates = rates(model);
            let chosen = cheapest(&stretches, &rates);
            let least = expected_cost(&stretches, &chosen, &rates).unwrap();
            let other: Vec<_> = stretches.iter().zip(others).map(|(_, other)| CHOICES[other]).collect();
            if let Some(cost) = expected_cost(&stretches, &other, &rates) {
                prop_assert!(least <= cost, "{chosen:?} at {least}, {other:?} at {cost}");
            }
            for all in CHOICES {
                let cost = expected_cost(&stretches, &vec![all; stretches.len()], &rates).unwrap();
                prop_assert!(least <= cost);
            }
        }
    }
}
