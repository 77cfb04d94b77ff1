//! One ranking out of two: what is near by vector, and what has the words.

use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;

use crate::store::embeddings::Found;

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

/// How the two rankings are weighed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighing {
    /// What the vectors count, out of 1; the words count the rest.
    pub meaning: f64,
    /// The cosine under which a vector is not a hit.
    pub least_similarity: f64,
    /// The cosine that counts as a perfect one.
    pub full_similarity: f64,
}

/// A passage in the common ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    pub id: Uuid,
    /// 0 to 1: how well it fits, where 1 is first in both rankings with a perfect match.
    pub score: f64,
    pub matched_by: MatchedBy,
}

/// How much the first ranks stand out, as is usual for reciprocal ranks.
const RANK_OFFSET: f64 = 60.0;

/// Merges the two rankings. Each contributes its weight times how strong the match is, falling
/// slowly with its rank, so that neither scale can drown the other. Equal scores are ordered by id, so that
/// the same search always answers the same.
pub(crate) fn fuse(by_vector: &[Found], by_words: &[Found], weighing: Weighing) -> Vec<Fused> {
    let mut merged: HashMap<Uuid, Fused> = HashMap::new();
    let range = weighing.full_similarity - weighing.least_similarity;
    let near = by_vector.iter().filter(|found| found.score >= weighing.least_similarity);
    for (rank, found) in (0_u32..).zip(near) {
        let strength = ((found.score - weighing.least_similarity) / range).clamp(0.05, 1.0);
        let score = weighing.meaning * strength * by_rank(rank);
        merged.insert(found.id, Fused { id: found.id, score, matched_by: MatchedBy::Meaning });
    }
    for (rank, found) in (0_u32..).zip(by_words) {
        let score = (1.0 - weighing.meaning) * found.score.clamp(0.0, 1.0) * by_rank(rank);
        merged
            .entry(found.id)
            .and_modify(|fused| {
                fused.score += score;
                fused.matched_by = MatchedBy::Both;
            })
            .or_insert(Fused { id: found.id, score, matched_by: MatchedBy::Words });
    }
    let mut fused: Vec<Fused> = merged.into_values().collect();
    fused.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.id.cmp(&other.id)));
    fused
}

/// 1 for the first, falling slowly.
fn by_rank(rank: u32) -> f64 {
    (RANK_OFFSET + 1.0) / (RANK_OFFSET + 1.0 + f64::from(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHING: Weighing =
        Weighing { meaning: 0.6, least_similarity: 0.2, full_similarity: 0.7 };

    fn found(id: u128, score: f64) -> Found {
        Found { id: Uuid::from_u128(id), score }
    }

    #[test]
    fn what_both_find_comes_first() {
        let fused = fuse(
            &[found(1, 0.6), found(2, 0.55), found(3, 0.19)],
            &[found(4, 1.0), found(2, 0.9)],
            WEIGHING,
        );
        let seen: Vec<_> =
            fused.iter().map(|fused| (fused.id.as_u128(), fused.matched_by)).collect();
        assert_eq!(
            seen,
            [(2, MatchedBy::Both), (1, MatchedBy::Meaning), (4, MatchedBy::Words)],
            "and what lies under the floor does not come at all"
        );
    }

    #[test]
    fn scores_lie_between_nothing_and_one() {
        let best = fuse(&[found(1, 0.95)], &[found(1, 1.0)], WEIGHING);
        assert!((best[0].score - 1.0).abs() < 1e-9);
        let worst = fuse(&[found(1, 0.2)], &[], WEIGHING);
        assert!(worst[0].score > 0.0 && worst[0].score < 0.05);
        assert!(fuse(&[], &[], WEIGHING).is_empty());
    }

    #[test]
    fn ties_are_ordered_by_id() {
        let words = [found(9, 0.5), found(3, 0.5)];
        let vectors = [found(3, 0.45), found(9, 0.45)];
        for _ in 0..20 {
            let fused = fuse(&vectors, &words, Weighing { meaning: 0.5, ..WEIGHING });
            let ids: Vec<_> = fused.iter().map(|fused| fused.id.as_u128()).collect();
            assert_eq!(ids, [3, 9]);
        }
    }
}
