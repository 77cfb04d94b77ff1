//! Finding things again: by vector and by words at once, in one ranking.

use std::collections::{HashMap, HashSet};

use pgvector::Vector;
use serde::Serialize;
use sqlx::Connection;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::ids::{CampaignId, ProjectId};
use crate::ledger::TillError;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::till::Purpose;
use crate::memory::fusion::{Weighing, fuse};
use crate::memory::passages::LONGEST_PASSAGE;
use crate::memory::snippet::{one_line, shortened, snippet};
use crate::memory::words::words;
use crate::memory::{Embedding, Memory, MemoryError};
use crate::store::embeddings::{self, PassageDetails, PassageKind, Scope};

pub use crate::memory::fusion::MatchedBy;

/// The longest search text, in characters.
pub const LONGEST_QUERY: usize = 2_000;
/// The most hits that can be asked for.
pub const MOST_HITS: usize = 100;
/// The longest snippet, in characters.
const LONGEST_SNIPPET: usize = 160;
/// The most words of a query that are looked for.
const MOST_TERMS: usize = 24;

/// Where to look and how much to answer.
#[derive(Debug, Clone)]
pub struct SearchFilter {
    /// Only these kinds; empty for all.
    pub kinds: Vec<PassageKind>,
    /// Only what belongs to a project of this campaign.
    pub campaign: Option<CampaignId>,
    /// Nothing that belongs to this project.
    pub without_project: Option<ProjectId>,
    /// The most hits, at most [`MOST_HITS`].
    pub limit: usize,
}

impl Default for SearchFilter {
    fn default() -> Self {
        Self { kinds: Vec::new(), campaign: None, without_project: None, limit: 10 }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchReport {
    /// The model that made the vectors.
    pub embedder: String,
    /// The best match first.
    pub hits: Vec<Hit>,
    /// Passages of this user without a vector of this model: they were searched by words
    /// only, and wait for `aida memory reindex`.
    pub waiting_rows: u64,
    /// Why the vectors were left out, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words_only: Option<String>,
}

/// A project, script, shot or file that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    /// What it is.
    pub kind: PassageKind,
    /// The id of what it is: of the project for a project or its script, of the shot, of the file.
    pub id: Uuid,
    /// The project that it belongs to.
    pub project_id: Option<ProjectId>,
    /// The number of the shot in its film, from 1.
    pub shot: Option<i32>,
    /// The project's title, or its brief where it has none; the name of the file.
    pub title: String,
    /// The piece of its text that fits best.
    pub snippet: String,
    /// How well it fits, 0 to 1.
    pub score: f64,
    /// What brought it here.
    pub matched_by: MatchedBy,
}

impl Hit {
    /// The id as it can be typed: the last eight digits of the project's, else of the file's.
    pub fn short_id(&self) -> String {
        self.project_id.unwrap_or(ProjectId::from_uuid(self.id)).short()
    }
}

/// A hit with its whole passage, for the rooms of the memory that quote it.
pub(super) struct Match {
    pub details: PassageDetails,
    pub score: f64,
    pub matched_by: MatchedBy,
}

/// What a search found before it is made presentable.
pub(super) struct Matches {
    pub best: Vec<Match>,
    pub waiting_rows: u64,
    pub words_only: Option<String>,
}

impl Memory {
    /// Searches the memory of `purpose.user_id`. Costs one embedding call where the embedder
    /// is paid.
    ///
    /// A query in quotation marks or with a `-word` is taken at its word: it finds the
    /// passages that fit exactly, and nothing is embedded. A provider that is unavailable for
    /// the moment leaves the search to the words, and the report says so.
    pub async fn search(
        &self,
        purpose: &Purpose,
        query: &str,
        filter: &SearchFilter,
    ) -> Result<SearchReport, MemoryError> {
        let characters = query.trim().chars().count();
        if characters > LONGEST_QUERY {
            return Err(MemoryError::LongQuery { characters });
        }
        let found = self.find(purpose, query, filter).await?;
        let hits = found.best.into_iter().map(|found| present(found, query)).collect();
        Ok(SearchReport {
            embedder: self.embedder().to_owned(),
            hits,
            waiting_rows: found.waiting_rows,
            words_only: found.words_only,
        })
    }

    /// What [`Memory::search`] for this query may cost at most, USD.
    pub fn search_ceiling(&self, query: &str) -> Result<Usd, MemoryError> {
        match (&self.embedding, Asked::from_query(query)) {
            (Embedding::Builtin, _) | (_, Asked::Exactly) => Ok(Usd::ZERO),
            (Embedding::Paid { embedder, till }, Asked::Freely { .. }) => {
                let price = till.price(embedder.provider(), embedder.model())?;
                // No tokeniser makes more than one token of one byte.
                let most_tokens = query_text(query).len() as u64;
                let quantity = Quantity::EmbeddingTokens(most_tokens);
                Ok(price.amount(&quantity).map_err(TillError::from)?)
            }
        }
    }

    pub(super) async fn find(
        &self,
        purpose: &Purpose,
        query: &str,
        filter: &SearchFilter,
    ) -> Result<Matches, MemoryError> {
        let query = query.trim();
        if query.is_empty() {
            return Err(MemoryError::BlankQuery);
        }
        let asked = Asked::from_query(query);
        let (vector, words_only) = match &asked {
            Asked::Exactly => (
                None,
                Some("a query with quotation marks or a minus is taken at its word".to_owned()),
            ),
            Asked::Freely { .. } => match self.embed_query(purpose, query).await {
                Ok(vector) => (Some(vector), None),
                Err(error) if error.is_passing() => (None, Some(error.to_string())),
                Err(error) => return Err(error),
            },
        };
        let scope = Scope {
            user_id: purpose.user_id.clone(),
            kinds: filter.kinds.clone(),
            campaign: filter.campaign,
            without_project: filter.without_project,
        };
        let limit = filter.limit.clamp(1, MOST_HITS);
        // More than asked, because several parts of one script make one hit.
        let candidates = i64::try_from(limit * 4 + 40).unwrap_or(i64::MAX);
        let weighing = Weighing {
            meaning: if vector.is_some() { self.embedding.weight() } else { 0.0 },
            least_similarity: self.embedding.least_similarity(),
            full_similarity: self.embedding.full_similarity(),
        };

        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(crate::store::StoreError::from)?;
        let by_vector = match &vector {
            Some(vector) => {
                let model = self.embedder();
                embeddings::by_vector(&mut transaction, &scope, model, vector, candidates).await?
            }
            None => Vec::new(),
        };
        let by_words = match &asked {
            Asked::Exactly => {
                embeddings::by_exact_words(&mut transaction, &scope, query, candidates).await?
            }
            Asked::Freely { terms } if terms.is_empty() => Vec::new(),
            Asked::Freely { terms } => {
                embeddings::by_any_word(&mut transaction, &scope, terms, candidates).await?
            }
        };
        let fused = fuse(&by_vector, &by_words, weighing);
        let ids: Vec<Uuid> = fused.iter().map(|fused| fused.id).collect();
        let details = embeddings::details(&mut transaction, &ids).await?;
        let waiting_rows =
            embeddings::waiting(&mut transaction, &scope.user_id, self.embedder()).await?;
        transaction.rollback().await.map_err(crate::store::StoreError::from)?;
        session.close().await;

        let mut details: HashMap<Uuid, PassageDetails> =
            details.into_iter().map(|details| (details.id, details)).collect();
        let mut seen = HashSet::new();
        let best = fused
            .into_iter()
            .filter_map(|fused| {
                let details = details.remove(&fused.id)?;
                seen.insert((details.kind, details.subject)).then_some(Match {
                    details,
                    score: fused.score,
                    matched_by: fused.matched_by,
                })
            })
            .take(limit)
            .collect();
        Ok(Matches { best, waiting_rows, words_only })
    }

    /// The vector of a query.
    async fn embed_query(&self, purpose: &Purpose, query: &str) -> Result<Vector, MemoryError> {
        let mut vectors = self.embed(purpose, &[query_text(query)]).await?;
        // `embed` answers one vector for each text or an error.
        vectors.pop().ok_or_else(|| MemoryError::Miscounted {
            model: self.embedder().to_owned(),
            texts: 1,
            vectors: 0,
        })
    }
}

/// What is embedded of a query: a query longer than a passage is compared by its beginning.
fn query_text(query: &str) -> String {
    query.trim().nfc().take(LONGEST_PASSAGE).collect()
}

fn present(found: Match, query: &str) -> Hit {
    let details = found.details;
    Hit {
        kind: details.kind,
        id: details.subject,
        project_id: details.project,
        shot: details.shot_number,
        title: shortened(&one_line(&details.title), 80),
        snippet: snippet(&details.content, query, LONGEST_SNIPPET),
        score: (found.score * 1000.0).round() / 1000.0,
        matched_by: found.matched_by,
    }
}

/// What a query asks of the words.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Any of these words, each in the syntax of `to_tsquery`.
    Freely { terms: Vec<String> },
    /// Exactly what the query says in web search syntax.
    Exactly,
}

impl Asked {
    fn from_query(query: &str) -> Self {
        let excludes = |word: &str| {
            word.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
        };
        if query.contains('"') || query.split_whitespace().any(excludes) {
            return Self::Exactly;
        }
        let all = words(query);
        let only_common = all.iter().all(|word| word.common);
        let mut seen = HashSet::new();
        let terms = all
            .iter()
            .filter(|word| only_common || !word.common)
            .filter(|word| seen.insert(word.stem.as_str()))
            .take(MOST_TERMS)
            .map(|word| term(word.written, &word.stem))
            .collect();
        Self::Freely { terms }
    }
}

/// A word as `to_tsquery` takes it. English words are stemmed there. Others are not, so they are
/// looked for by what remains without their ending; and because a database in the `C` locale
/// does not fold their case, as they are and with a capital.
fn term(written: &str, stem: &str) -> String {
    let lower = written.nfc().collect::<String>().to_lowercase();
    if lower.is_ascii() {
        return lower;
    }
    let beginning: String = lower.chars().take(stem.chars().count()).collect();
    let mut characters = beginning.chars();
    let capital: String = characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect());
    if capital == beginning {
        format!("{beginning}:*")
    } else {
        format!("({beginning}:* | {capital}:*)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(query: &str) -> Vec<String> {
        match Asked::from_query(query) {
            Asked::Freely { terms } => terms,
            Asked::Exactly => panic!("{query} was taken at its word"),
        }
    }

    #[test]
    fn natural_questions_are_asked_by_their_telling_words() {
        assert_eq!(terms("What did we make about coffee, and coffees?"), ["coffee"]);
        assert_eq!(terms("to be or not to be"), ["to", "be", "or", "not"]);
        assert_eq!(terms("a well-known 50mm lens"), ["well", "known", "50mm", "lens"]);
        assert!(terms("…!?").is_empty());
    }

    #[test]
    fn words_that_postgres_cannot_stem_are_asked_by_their_beginning() {
        assert_eq!(terms("Ночной город"), ["(ночн:* | Ночн:*)", "(город:* | Город:*)"]);
        assert_eq!(terms("東京"), ["東京:*"]);
    }

    #[test]
    fn nothing_of_a_query_can_be_taken_for_syntax() {
        for term in terms("a & b | !c :* (d) 'e' \\f <-> g; DROP TABLE projects") {
            assert!(term.chars().all(char::is_alphanumeric), "{term}");
        }
    }

    #[test]
    fn operators_are_taken_at_their_word() {
        assert_eq!(Asked::from_query("\"latte art\""), Asked::Exactly);
        assert_eq!(Asked::from_query("coffee -latte"), Asked::Exactly);
        assert_ne!(Asked::from_query("slow - motion"), Asked::Exactly);
    }
}
