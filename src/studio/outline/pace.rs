//! How long each shot stands.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::arc::{Beats, Phase};
use super::seed::Seed;
use super::{Direction, tenths};
use crate::studio::brief::Brief;

/// The shortest shot, in tenths of a second.
const SHORTEST: i64 = 10;

/// Lengths in seconds, in steps of a tenth, that add up to the brief's length exactly (what is
/// less than a tenth falls to one of the last shots).
pub(super) fn pace(
    brief: &Brief,
    direction: &Direction,
    beats: &Beats,
    seed: &mut Seed,
) -> Vec<Decimal> {
    let count = i64::try_from(beats.shots.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Vec::new();
    }
    let all = (brief.duration_seconds * Decimal::TEN).trunc().to_i64().unwrap_or(0);
    let rest = brief.duration_seconds - tenths(all);
    // The last shot must have room for what is less than a tenth.
    let most = longest(direction, all + i64::from(!rest.is_zero()), count);
    let weights: Vec<i64> = beats
        .shots
        .iter()
        .enumerate()
        .map(|(index, shot)| {
            let phase = match shot.phase {
                Phase::Hook => 70,
                Phase::Build if shot.is_second_look => 85,
                Phase::Build => 100,
                Phase::Turn => 115,
                Phase::Payoff => 125,
            };
            let last = if index + 1 == beats.shots.len() { 20 } else { 0 };
            phase + last + i64::try_from(seed.below(17)).unwrap_or(0) - 8
        })
        .collect();
    let weight: i64 = weights.iter().sum::<i64>().max(1);
    // Where the film is too short for its shots, none is kept up to the shortest length.
    let least = SHORTEST.min(all / count);
    let most = most.max(least);
    let mut lengths: Vec<i64> =
        weights.iter().map(|own| (all * own / weight).clamp(least, most)).collect();
    let mut missing = all - lengths.iter().sum::<i64>();
    let mut index = 0;
    let mut untouched = 0;
    while missing != 0 && untouched <= lengths.len() {
        let length = &mut lengths[index % weights.len()];
        let step = missing.signum();
        if (least..=most).contains(&(*length + step)) {
            *length += step;
            missing -= step;
            untouched = 0;
        } else {
            untouched += 1;
        }
        index += 1;
    }
    // What is less than a tenth goes to the last shot that has room for it.
    let roomy = lengths.iter().rposition(|&length| length < most).unwrap_or(lengths.len() - 1);
    let mut lengths: Vec<Decimal> = lengths.into_iter().map(tenths).collect();
    lengths[roomy] += rest + tenths(missing);
    lengths
}

/// The longest shot in tenths of a second.
fn longest(direction: &Direction, all: i64, count: i64) -> i64 {
    let even = (all + count - 1) / count;
    let sold = direction
        .sold_seconds
        .iter()
        .map(|&seconds| i64::from(seconds) * 10)
        .filter(|&length| length >= even)
        .min();
    let limit = match direction.longest_shot_seconds {
        0 => i64::MAX,
        seconds => i64::from(seconds) * 10,
    };
    // A shot more than twice the average makes a film limp.
    sold.unwrap_or(even * 2).min(limit)
}
