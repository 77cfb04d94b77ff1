//! Which candidate goes to which shot. Pure.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::memory::reuse::{Alike, Candidate};

/// A candidate that was given to a shot: their places in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The place of the shot.
    pub shot: usize,
    /// The place of the candidate in the shot's list.
    pub candidate: usize,
}

/// Gives to each shot at most one of its candidates, and no take, nor a copy of it, to two shots: the
/// best pairs first. `refused` are pairs that turned out to be of no use; `numbers` are the shots' own.
///
/// Whoever orders two shots with the same prompt wants two pictures, so they do not share a take
/// either: the second one gets another take, or is bought.
pub fn assign(
    shots: &[Vec<Candidate>],
    numbers: &[u32],
    taken: &BTreeSet<String>,
    refused: &BTreeSet<(usize, usize)>,
) -> Vec<Assigned> {
    let mut pairs: Vec<(usize, usize, &Candidate)> = Vec::new();
    for (shot, candidates) in shots.iter().enumerate() {
        for (place, candidate) in candidates.iter().enumerate() {
            if !refused.contains(&(shot, place)) {
                pairs.push((shot, place, candidate));
            }
        }
    }
    pairs.sort_by(|(shot, place, one), (other_shot, other_place, other)| {
        let is_namesake = |shot: usize, candidate: &Candidate| {
            let number = numbers.get(shot).copied();
            candidate.shown().is_some_and(|take| u32::try_from(take.shot).ok() == number)
        };
        better(one, other)
            .then_with(|| is_namesake(*other_shot, other).cmp(&is_namesake(*shot, one)))
            .then_with(|| newer(one, other))
            .then_with(|| (shot, place).cmp(&(other_shot, other_place)))
    });
    let mut taken = taken.clone();
    let mut served = BTreeSet::new();
    let mut assigned = Vec::new();
    for (shot, candidate, what) in pairs {
        let files = || [&what.image, &what.clip].into_iter().flatten().map(|take| &take.sha256);
        if served.contains(&shot) || files().any(|sha256| taken.contains(sha256)) {
            continue;
        }
        taken.extend(files().cloned());
        served.insert(shot);
        assigned.push(Assigned { shot, candidate });
    }
    assigned.sort_by_key(|assigned| assigned.shot);
    assigned
}

/// The better candidate first: what is the same or nearly so before what is alike by meaning, a clip
/// before a mere picture because it saves most, then the likest, what the film uses, the best rated.
fn better(one: &Candidate, other: &Candidate) -> Ordering {
    let by_meaning = |candidate: &Candidate| candidate.alike == Alike::Meaning;
    let chosen = |candidate: &Candidate| candidate.shown().is_some_and(|take| take.chosen);
    let rating =
        |candidate: &Candidate| candidate.shown().and_then(|take| take.rating).unwrap_or(3);
    by_meaning(one)
        .cmp(&by_meaning(other))
        .then(other.clip.is_some().cmp(&one.clip.is_some()))
        .then(one.alike.cmp(&other.alike))
        .then(other.percent().cmp(&one.percent()))
        .then(chosen(other).cmp(&chosen(one)))
        .then(rating(other).cmp(&rating(one)))
}

fn newer(one: &Candidate, other: &Candidate) -> Ordering {
    let made = |candidate: &Candidate| candidate.shown().map(|take| take.created_at);
    made(other).cmp(&made(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProjectId, TakeId};
    use crate::ledger::operation::OperationKind;
    use crate::store::reuse::KeptTake;
    use proptest::prelude::*;

    fn take(kind: OperationKind, sha256: &str, shot: i32) -> KeptTake {
        KeptTake {
            id: TakeId::new(),
            kind,
            project_id: ProjectId::new(),
            project: "Soup".to_owned(),
            shot,
            path: "a/b".to_owned(),
            sha256: sha256.to_owned(),
            bytes: 1,
            width: Some(9),
            height: Some(16),
            duration_seconds: None,
            model: "m".to_owned(),
            chosen: true,
            rating: None,
            keyframe_sha256: None,
            fingerprint: None,
            frame: None,
            sketch: None,
            image_prompt: String::new(),
            motion_prompt: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn image(sha256: &str, alike: Alike, similarity: f64) -> Candidate {
        let image = Some(take(OperationKind::Image, sha256, 1));
        Candidate { image, clip: None, alike, similarity, is_safe: true }
    }

    fn clip(sha256: &str, alike: Alike, similarity: f64) -> Candidate {
        let clip = Some(take(OperationKind::Clip, sha256, 1));
        Candidate { clip, ..image(&format!("picture of {sha256}"), alike, similarity) }
    }

    fn first_of(candidates: &[Candidate]) -> usize {
        let none = BTreeSet::new();
        assign(&[candidates.to_vec()], &[1], &none, &BTreeSet::new())[0].candidate
    }

    #[test]
    fn the_best_comes_first() {
        let near = Alike::Near;
        assert_eq!(first_of(&[image("a", Alike::Exact, 1.0), clip("b", near, 0.9)]), 1, "a clip");
        assert_eq!(first_of(&[clip("a", Alike::Meaning, 0.9), image("b", near, 0.8)]), 1, "words");
        assert_eq!(first_of(&[clip("a", near, 0.9), clip("b", Alike::Exact, 1.0)]), 1, "equal");
        let rated = |sha256, rating| {
            let mut candidate = clip(sha256, near, 0.9);
            candidate.clip.as_mut().unwrap().rating = rating;
            candidate
        };
        assert_eq!(first_of(&[rated("a", None), rated("b", Some(5)), rated("c", Some(3))]), 1);
    }

    #[test]
    fn two_equal_shots_get_two_takes_and_each_its_namesake() {
        let of_shot = |sha256: &str, shot: i32| {
            let mut candidate = clip(sha256, Alike::Exact, 1.0);
            candidate.clip.as_mut().unwrap().shot = shot;
            candidate
        };
        let both = vec![of_shot("b", 2), of_shot("a", 1)];
        let assigned = assign(
            &[both.clone(), both.clone(), both],
            &[1, 2, 3],
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        let expected = [(0, 1), (1, 0)].map(|(shot, candidate)| Assigned { shot, candidate });
        assert_eq!(assigned, expected, "the third is bought");
    }

    proptest! {
        #[test]
        fn no_take_serves_two_shots_and_nothing_refused_or_taken_is_given(
            lists in prop::collection::vec(
                prop::collection::vec((0_u8..6, 0_u8..3, any::<bool>()), 0..6), 1..6),
            taken in prop::collection::btree_set(0_u8..6, 0..3),
            refused in prop::collection::btree_set((0_usize..6, 0_usize..6), 0..6),
        ) {
            let shots: Vec<Vec<Candidate>> = lists.iter().map(|list| {
                list.iter().map(|(file, alike, is_clip)| {
                    let alike = [Alike::Exact, Alike::Near, Alike::Meaning][usize::from(*alike)];
                    let file = file.to_string();
                    if *is_clip { clip(&file, alike, 0.9) } else { image(&file, alike, 0.9) }
                }).collect()
            }).collect();
            let numbers: Vec<u32> = (1..).take(shots.len()).collect();
            let taken: BTreeSet<String> = taken.iter().map(u8::to_string).collect();
            let assigned = assign(&shots, &numbers, &taken, &refused);
            let mut used = taken.clone();
            for Assigned { shot, candidate } in &assigned {
                prop_assert!(!refused.contains(&(*shot, *candidate)));
                let what = &shots[*shot][*candidate];
                for file in [&what.image, &what.clip].into_iter().flatten() {
                    prop_assert!(used.insert(file.sha256.clone()), "{} twice", file.sha256);
                }
            }
            let mut places: Vec<_> = assigned.iter().map(|assigned| assigned.shot).collect();
            places.dedup();
            prop_assert_eq!(places.len(), assigned.len());
        }
    }
}
