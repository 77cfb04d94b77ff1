//! How evidence fades: taste changes, and what was said long ago says less of today.

use jiff::Timestamp;

/// After how many days a piece of evidence counts half.
pub const HALF_LIFE_DAYS: f64 = 180.0;
/// What a plain rating weighs when it is fresh; weights are thousandths of it.
pub const WHOLE: u32 = 1_000;
/// From this strength on a preference is told to the team.
pub const TOLD: f64 = 1.0;
/// From this strength on it is told before others. Only these two marks decide what is told in
/// which order, so that one more rating seldom changes a byte.
pub const STRONG: f64 = 3.0;

/// A piece of evidence as it counts: for or against, its weight when fresh, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Whether it speaks for the preference.
    pub supports: bool,
    /// In thousandths of a plain rating.
    pub weight: u32,
    /// When it was observed.
    pub at: Timestamp,
}

/// What of a fresh weight is left at a time: all of it when new, half after
/// [`HALF_LIFE_DAYS`]. What lies in the future, by a clock that went wrong, counts as new.
pub fn left(weight: u32, at: Timestamp, now: Timestamp) -> f64 {
    let days = now.duration_since(at).as_secs_f64().max(0.0) / 86_400.0;
    f64::from(weight) / f64::from(WHOLE) * (-days / HALF_LIFE_DAYS).exp2()
}

/// What speaks for a preference less what speaks against it, at a time; never below 0.
pub fn strength(evidence: impl IntoIterator<Item = Counted>, now: Timestamp) -> f64 {
    let mut sum = 0.0;
    for counted in evidence {
        let left = left(counted.weight, counted.at, now);
        sum += if counted.supports { left } else { -left };
    }
    // The sum of floats depends on their order in the last digits, and nothing told may.
    ((sum * 1e6).round() / 1e6_f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    fn day(days: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days)
    }

    fn evidence() -> impl Strategy<Value = Vec<Counted>> {
        let one = (any::<bool>(), 1_u32..3_000, -900_i64..1);
        prop::collection::vec(one, 0..20).prop_map(|all| {
            all.into_iter()
                .map(|(supports, weight, days)| Counted { supports, weight, at: day(days) })
                .collect()
        })
    }

    #[test]
    fn half_is_left_after_the_half_life() {
        assert!((left(WHOLE, day(0), day(180)) - 0.5).abs() < 1e-9);
        assert!((left(WHOLE, day(5), day(0)) - 1.0).abs() < 1e-9, "from the future");
    }

    proptest! {
        #[test]
        fn what_is_left_never_grows(weight in 1_u32..5_000, earlier in 0_i64..2_000, more in 0_i64..2_000) {
            prop_assert!(left(weight, day(0), day(earlier + more)) <= left(weight, day(0), day(earlier)));
        }

        #[test]
        fn the_order_of_the_evidence_does_not_matter(evidence in evidence(), turn in 0_usize..20) {
            let mut other = evidence.clone();
            other.reverse();
            let turn = turn % other.len().max(1);
            other.rotate_left(turn);
            prop_assert!((strength(evidence, day(1)) - strength(other, day(1))).abs() < 2e-6);
        }

        #[test]
        fn more_support_makes_it_stronger_and_contradiction_weaker(
            evidence in evidence(),
            weight in 1_u32..3_000,
        ) {
            let with = |supports| {
                let more = Counted { supports, weight, at: day(0) };
                strength(evidence.iter().copied().chain([more]), day(1))
            };
            let plain = strength(evidence.iter().copied(), day(1));
            prop_assert!(with(true) >= plain && with(false) <= plain);
        }
    }
}
