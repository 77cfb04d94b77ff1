//! One ranking out of two: what is near by vector, and what has the words.

use serde::Serialize;
use uuid::Uuid;

/// What brought a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// Its vector is near.
    Meaning,
    /// It has the words.
    Words,
    /// Both.
    Both,
}

impl MatchedBy {
    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meaning => "meaning",
            Self::Words => "words",
            Self::Both => "both",
        }
    }
}

/// What speaks for a passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The passage.
    pub id: Uuid,
    /// The cosine of its vector and the query's; none where either has no vector.
    pub similarity: Option<f64>,
    /// Which part of the query's words it has, weighed by rarity, 0 to 1; none for no word.
    pub words: Option<f64>,
}

impl Evidence {
    /// Nothing yet.
    pub const fn of(id: Uuid) -> Self {
        Self { id, similarity: None, words: None }
    }
}

/// How the two are weighed.
#[derive(Debug, Clone, Copy)]
pub struct Weighing {
    /// What the vectors count, out of 1; the words count the rest.
    pub meaning: f64,
    /// The cosine under which a vector is not a hit.
    pub least_similarity: f64,
    /// How far over the unrelated a cosine counts as a perfect one, at most.
    pub full_span: f64,
    /// The same at least, for a model whose cosines lie close together.
    pub least_span: f64,
}

impl Weighing {
    /// For the built-in embedder. Its scale is known, so nothing is read from what was found.
    #[cfg(feature = "semantic")]
    pub const BUILTIN: Self =
        Self { meaning: 0.6, least_similarity: 0.15, full_span: 0.35, least_span: 0.35 };
    /// For the built-in embedder.
    #[cfg(not(feature = "semantic"))]
    pub const BUILTIN: Self =
        Self { meaning: 0.4, least_similarity: 0.12, full_span: 0.4, least_span: 0.4 };
    /// For OpenAI's third generation, where unrelated English texts lie around 0.1 and related
    /// ones above 0.3, and for models of other scales.
    pub const PAID: Self =
        Self { meaning: 0.6, least_similarity: 0.22, full_span: 0.4, least_span: 0.2 };
}

/// A passage in the common ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fused {
    /// The passage.
    pub id: Uuid,
    /// 0 to 1: how well it fits.
    pub score: f64,
    /// What brought it here.
    pub matched_by: MatchedBy,
}

/// So many near passages tell where the unrelated ones of a model begin.
const ENOUGH_TO_TELL: usize = 20;

/// Ranks passages by both: a weighted mean of how near the vector is, between unrelated and
/// perfect, and of what part of the asked words, weighed by rarity, the passage has.
///
/// A query whose words nothing has is so decided by the vectors, and a rare name by the words,
/// without a guess at what kind of query it is; ranks, which forget how good a match is, cannot
/// do that. Equal scores are ordered by id, so that the same search always answers the same.
pub fn fuse(evidence: &[Evidence], weighing: Weighing) -> Vec<Fused> {
    let is_near = |similarity: &f64| *similarity >= weighing.least_similarity;
    let mut near: Vec<f64> =
        evidence.iter().filter_map(|evidence| evidence.similarity).filter(is_near).collect();
    near.sort_by(f64::total_cmp);
    let (floor, span) = match (near.first(), near.last()) {
        (Some(lowest), Some(highest)) if near.len() >= ENOUGH_TO_TELL => {
            (*lowest, (highest - lowest).clamp(weighing.least_span, weighing.full_span))
        }
        _ => (weighing.least_similarity, weighing.full_span),
    };
    let mut fused: Vec<Fused> = evidence
        .iter()
        .filter_map(|evidence| {
            let near = evidence.similarity.filter(is_near);
            let words = evidence.words.filter(|words| *words > 0.0);
            let matched_by = match (near, words) {
                (Some(_), Some(_)) => MatchedBy::Both,
                (Some(_), None) => MatchedBy::Meaning,
                (None, Some(_)) => MatchedBy::Words,
                (None, None) => return None,
            };
            let near = near.map_or(0.0, |near| ((near - floor) / span).clamp(0.0, 1.0));
            let words = words.unwrap_or(0.0).min(1.0);
            let score = weighing.meaning * near + (1.0 - weighing.meaning) * words;
            Some(Fused { id: evidence.id, score, matched_by })
        })
        .collect();
    fused.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.id.cmp(&other.id)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEIGHING: Weighing =
        Weighing { meaning: 0.6, least_similarity: 0.2, full_span: 0.5, least_span: 0.2 };

    fn evidence(id: u128, similarity: f64, words: f64) -> Evidence {
        Evidence {
            id: Uuid::from_u128(id),
            similarity: Some(similarity),
            words: Some(words).filter(|words| *words > 0.0),
        }
    }

    #[test]
    fn what_both_find_comes_first_and_what_neither_finds_not_at_all() {
        let fused = fuse(
            &[
                evidence(1, 0.6, 0.0),
                evidence(2, 0.55, 0.9),
                evidence(3, 0.19, 0.0),
                evidence(4, 0.0, 1.0),
            ],
            WEIGHING,
        );
        let seen: Vec<_> =
            fused.iter().map(|fused| (fused.id.as_u128(), fused.matched_by)).collect();
        assert_eq!(seen, [(2, MatchedBy::Both), (1, MatchedBy::Meaning), (4, MatchedBy::Words)]);
        assert!((fuse(&[evidence(1, 0.9, 1.0)], WEIGHING)[0].score - 1.0).abs() < 1e-9);
        assert!(fuse(&[], WEIGHING).is_empty());
    }

    fn all() -> impl Strategy<Value = Vec<Evidence>> {
        let one = (prop::option::of(-0.2..1.0_f64), prop::option::of(0.0..=1.0_f64));
        prop::collection::vec(one, 0..60).prop_map(|all| {
            (1..)
                .zip(all)
                .map(|(id, (similarity, words))| Evidence {
                    id: Uuid::from_u128(id),
                    similarity,
                    words,
                })
                .collect()
        })
    }

    fn score_of(fused: &[Fused], id: Uuid) -> f64 {
        fused.iter().find(|fused| fused.id == id).map_or(0.0, |fused| fused.score)
    }

    proptest! {
        #[test]
        fn each_passage_comes_at_most_once_with_a_score_between_nothing_and_one(all in all()) {
            let fused = fuse(&all, WEIGHING);
            let ids: std::collections::HashSet<Uuid> = fused.iter().map(|fused| fused.id).collect();
            prop_assert_eq!(ids.len(), fused.len());
            prop_assert!(fused.iter().all(|fused| (0.0..=1.0).contains(&fused.score)));
            prop_assert!(fused.is_sorted_by(|one, next| one.score >= next.score));
        }

        #[test]
        fn the_order_of_what_comes_in_does_not_matter(mut all in all(), seed in any::<u64>()) {
            let fused = fuse(&all, WEIGHING);
            all.sort_by_key(|evidence| evidence.id.as_u128().wrapping_mul(u128::from(seed | 1)));
            prop_assert_eq!(fuse(&all, WEIGHING), fused);
        }

        /// A passage that has more of the words, all else equal, never sinks.
        #[test]
        fn more_words_never_count_less(all in all(), at in any::<prop::sample::Index>(), more in 0.0..=1.0_f64) {
            prop_assume!(!all.is_empty());
            let at = at.index(all.len());
            let before = score_of(&fuse(&all, WEIGHING), all[at].id);
            let mut after = all.clone();
            after[at].words = Some(after[at].words.unwrap_or(0.0).max(more));
            prop_assert!(score_of(&fuse(&after, WEIGHING), all[at].id) >= before - 1e-12);
        }

        /// Of two passages with the same words, the nearer one never comes after the other.
        #[test]
        fn nearer_never_counts_less(all in all(), words in prop::option::of(0.0..=1.0_f64),
                                    one in 0.0..1.0_f64, other in 0.0..1.0_f64) {
            let mut all = all;
            let (low, high) = (one.min(other), one.max(other));
            let (lower, upper) = (Uuid::from_u128(1_000), Uuid::from_u128(1_001));
            all.push(Evidence { id: lower, similarity: Some(low), words });
            all.push(Evidence { id: upper, similarity: Some(high), words });
            let fused = fuse(&all, WEIGHING);
            prop_assert!(score_of(&fused, upper) >= score_of(&fused, lower));
        }

        /// A model whose cosines all lie higher, at the same distances, ranks the same.
        #[test]
        fn where_the_cosines_of_a_model_lie_does_not_matter(all in all(), lift in 0.0..2.0_f64) {
            let near: Vec<Evidence> = all
                .into_iter()
                .map(|evidence| Evidence { similarity: Some(evidence.similarity.unwrap_or(0.3).max(0.25)), ..evidence })
                .collect();
            prop_assume!(near.len() >= ENOUGH_TO_TELL);
            let lifted: Vec<Evidence> = near
                .iter()
                .map(|evidence| Evidence { similarity: evidence.similarity.map(|near| near + lift), ..*evidence })
                .collect();
            for (one, other) in fuse(&near, WEIGHING).iter().zip(fuse(&lifted, WEIGHING)) {
                prop_assert!((one.score - other.score).abs() < 1e-9);
            }
        }
    }
}
