//! Finding things again: by vector and by words at once, in one ranking.

use std::collections::HashMap;

use jiff::Timestamp;
use pgvector::Vector;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::ids::{CampaignId, ProjectId};
use crate::ledger::TillError;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::till::Purpose;
use crate::memory::fusion::{Evidence, fuse};
use crate::memory::passages::LONGEST_PASSAGE;
use crate::memory::query::{Asked, exact_query};
use crate::memory::snippet::{Wanted, one_line, shortened, snippet};
use crate::memory::spelling::alternatives;
use crate::memory::{Embedding, Memory, MemoryError};
use crate::providers::TextRole;
use crate::store::StoreError;
use crate::store::embeddings::{self, PassageDetails, PassageKind, Scope, TakeFile, Term};

pub use crate::memory::fusion::MatchedBy;

/// The longest search text, in characters.
pub const LONGEST_QUERY: usize = 2_000;
/// The most hits that can be asked for.
pub const MOST_HITS: usize = 100;
/// The longest snippet, in characters.
const LONGEST_SNIPPET: usize = 160;

/// Where to look and how much to answer.
#[derive(Debug, Clone)]
pub struct SearchFilter {
    /// Only these kinds; empty for all, where a kept image or clip counts as its shot.
    pub kinds: Vec<PassageKind>,
    /// Only what belongs to a project of this campaign.
    pub campaign: Option<CampaignId>,
    /// Nothing that belongs to this project.
    pub without_project: Option<ProjectId>,
    /// Only what belongs to a project of this aspect ratio, as `9:16`.
    pub aspect: Option<String>,
    /// Only what was made at this time or later.
    pub since: Option<Timestamp>,
    /// Only what was made before this time.
    pub until: Option<Timestamp>,
    /// Only what was rated so well on average, 1 to 5: the shot, else its project.
    pub rating: Option<f64>,
    /// The most hits, at most [`MOST_HITS`].
    pub limit: usize,
}

impl Default for SearchFilter {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            campaign: None,
            without_project: None,
            aspect: None,
            since: None,
            until: None,
            rating: None,
            limit: 10,
        }
    }
}

impl SearchFilter {
    fn scope(&self, user_id: &str) -> Scope {
        Scope {
            user_id: user_id.to_owned(),
            kinds: self.kinds.clone(),
            campaign: self.campaign,
            without_project: self.without_project,
            aspect: self.aspect.clone(),
            since: self.since,
            until: self.until,
            rating: self.rating,
        }
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
    /// Whether something would have been found without the filters, where nothing was found.
    pub left_out_by_filters: bool,
    /// What was looked for instead of words that the memory does not have.
    pub read_as: Vec<ReadAs>,
    /// Why the vectors were left out, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words_only: Option<String>,
    /// Whether all vectors had to be compared, because the model's index is missing.
    #[serde(skip)]
    pub lacks_index: bool,
}

/// A word that the memory does not have, and the words that were looked for instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadAs {
    /// As it stands in the query.
    pub word: String,
    /// What it was taken for, the likeliest first.
    pub read_as: Vec<String>,
}

/// A project, script, shot, take or file that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    /// What it is.
    pub kind: PassageKind,
    /// The id of what it is: of the project for a project or its script, of the shot, the take, the
    /// file.
    pub id: Uuid,
    /// The project that it belongs to.
    pub project_id: Option<ProjectId>,
    /// The number of the shot in its film, from 1.
    pub shot: Option<i32>,
    /// The project's title, or its brief where it has none; the name of the file.
    pub title: String,
    /// Where in a file that piece stands, such as `page 12`, where it has such a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The piece of its text that fits best, on one line.
    pub snippet: String,
    /// Where the snippet has what was looked for: from and to, in characters.
    pub marks: Vec<(usize, usize)>,
    /// How well it fits, 0 to 1.
    pub score: f64,
    /// What brought it here.
    pub matched_by: MatchedBy,
    /// The kept images and clips: of a shot those that its film uses, of a take itself.
    pub takes: Vec<TakeFile>,
}

impl Hit {
    /// The id as it can be typed: the last eight digits of the project's, else of the file's.
    pub fn short_id(&self) -> String {
        self.project_id.unwrap_or(ProjectId::from_uuid(self.id)).short()
    }
}

/// A hit with its whole passage, for the rooms of the memory that quote it.
#[derive(Debug)]
pub(super) struct Match {
    pub details: PassageDetails,
    pub score: f64,
    pub matched_by: MatchedBy,
}

/// What a search found before it is made presentable.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub best: Vec<Match>,
    pub waiting_rows: u64,
    pub left_out_by_filters: bool,
    pub read_as: Vec<ReadAs>,
    pub words_only: Option<String>,
    pub lacks_index: bool,
}

/// A passage that the vectors or the words brought, and what each says of it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The passage.
    pub details: PassageDetails,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// Everything that a search looked at.
#[derive(Debug, Default)]
pub struct Candidates {
    /// In no particular order.
    pub passages: Vec<Candidate>,
    waiting_rows: u64,
    left_out_by_filters: bool,
    read_as: Vec<ReadAs>,
    words_only: Option<String>,
    lacks_index: bool,
}

/// A query that is ready to be looked for.
struct Question {
    asked: Asked,
    vector: Option<Vector>,
    exact: String,
    candidates: i64,
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
        let also = found.read_as.iter().flat_map(|read| &read.read_as).map(String::as_str);
        let wanted = Wanted::new(query, also);
        let hits = found.best.into_iter().map(|found| present(found, &wanted)).collect();
        Ok(SearchReport {
            embedder: self.embedder().to_owned(),
            hits,
            waiting_rows: found.waiting_rows,
            left_out_by_filters: found.left_out_by_filters,
            read_as: found.read_as,
            words_only: found.words_only,
            lacks_index: found.lacks_index,
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

    /// The best matches with their passages, one of each thing.
    pub(super) async fn find(
        &self,
        purpose: &Purpose,
        query: &str,
        filter: &SearchFilter,
    ) -> Result<Matches, MemoryError> {
        let candidates = self.candidates(purpose, query, filter).await?;
        let evidence: Vec<Evidence> =
            candidates.passages.iter().map(|candidate| candidate.evidence).collect();
        let mut details: HashMap<Uuid, PassageDetails> = candidates
            .passages
            .into_iter()
            .map(|candidate| (candidate.details.id, candidate.details))
            .collect();
        let takes_are_shots = filter.kinds.is_empty();
        let mut seen = std::collections::HashSet::new();
        let best = fuse(&evidence, self.embedding.weighing())
            .into_iter()
            .filter_map(|fused| {
                let details = details.remove(&fused.id)?;
                let details = if takes_are_shots { as_shot(details) } else { details };
                seen.insert((details.kind, details.subject)).then_some(Match {
                    details,
                    score: fused.score,
                    matched_by: fused.matched_by,
                })
            })
            .take(filter.limit.clamp(1, MOST_HITS))
            .collect();
        Ok(Matches {
            best,
            waiting_rows: candidates.waiting_rows,
            left_out_by_filters: candidates.left_out_by_filters,
            read_as: candidates.read_as,
            words_only: candidates.words_only,
            lacks_index: candidates.lacks_index,
        })
    }

    /// What the vectors and the words bring for a query, before it is ranked. Costs one
    /// embedding call where the embedder is paid, and one round of statements in one transaction.
    pub async fn candidates(
        &self,
        purpose: &Purpose,
        query: &str,
        filter: &SearchFilter,
    ) -> Result<Candidates, MemoryError> {
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
        let limit = filter.limit.clamp(1, MOST_HITS);
        let question_has_vector = vector.is_some();
        let question = Question {
            asked,
            vector,
            exact: exact_query(query),
            // More than asked, because several passages make one hit.
            candidates: i64::try_from(limit * 4 + 40).unwrap_or(i64::MAX),
        };
        let scope = filter.scope(&purpose.user_id);

        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(StoreError::from)?;
        embeddings::without_compiling(&mut transaction).await?;
        let mut found = self.look(&mut transaction, &question, &scope).await?;
        let wide = Scope { user_id: scope.user_id.clone(), ..Scope::default() };
        if found.passages.is_empty() && scope != wide {
            let question = Question { candidates: 1, ..question };
            let without = self.look(&mut transaction, &question, &wide).await?;
            found.left_out_by_filters = !without.passages.is_empty();
        }
        found.waiting_rows =
            embeddings::waiting(&mut transaction, &scope.user_id, self.embedder()).await?;
        found.lacks_index = question_has_vector && self.lacks_index_in(&mut transaction).await?;
        transaction.rollback().await.map_err(StoreError::from)?;
        session.close().await;
        Ok(Candidates { words_only, ..found })
    }

    /// The statements of one search.
    async fn look(
        &self,
        connection: &mut PgConnection,
        question: &Question,
        scope: &Scope,
    ) -> Result<Candidates, MemoryError> {
        let (model, most) = (self.embedder(), question.candidates);
        let mut read_as = Vec::new();
        let by_words = match &question.asked {
            Asked::Exactly => {
                embeddings::by_exact_words(connection, scope, &question.exact, most).await?
            }
            Asked::Freely { terms } if terms.is_empty() => Vec::new(),
            Asked::Freely { terms } => {
                let similar = embeddings::similar_words(connection, &scope.user_id, terms).await?;
                let (terms, read) = with_alternatives(terms, &similar);
                read_as = read;
                embeddings::by_any_term(connection, scope, &terms, most).await?
            }
        };
        let mut evidence: HashMap<Uuid, Evidence> = HashMap::new();
        for found in &by_words {
            evidence
                .insert(found.id, Evidence { words: Some(found.score), ..Evidence::of(found.id) });
        }
        if let Some(vector) = &question.vector {
            let near = embeddings::by_vector(connection, scope, model, vector, most).await?;
            let mut others: Vec<Uuid> = by_words.iter().map(|found| found.id).collect();
            others.retain(|id| near.iter().all(|found| found.id != *id));
            // What the words brought is compared as well, so that each passage is judged by both.
            let beside = embeddings::similarities(connection, model, vector, &others).await?;
            for found in near.iter().chain(&beside) {
                evidence.entry(found.id).or_insert(Evidence::of(found.id)).similarity =
                    Some(found.score);
            }
            let least = self.embedding.weighing().least_similarity;
            evidence.retain(|_, evidence| {
                evidence.words.is_some() || evidence.similarity.is_some_and(|near| near >= least)
            });
        }
        let ids: Vec<Uuid> = evidence.keys().copied().collect();
        let passages = embeddings::details(connection, &ids)
            .await?
            .into_iter()
            .filter_map(|details| {
                let evidence = *evidence.get(&details.id)?;
                Some(Candidate { details, evidence })
            })
            .collect();
        Ok(Candidates { passages, read_as, ..Candidates::default() })
    }

    /// The vector of a query.
    async fn embed_query(&self, purpose: &Purpose, query: &str) -> Result<Vector, MemoryError> {
        let mut vectors = self.embed(purpose, &[query_text(query)], TextRole::Query).await?;
        // `embed` answers one vector for each text or an error.
        vectors.pop().ok_or_else(|| MemoryError::Miscounted {
            model: self.embedder().to_owned(),
            texts: 1,
            vectors: 0,
        })
    }
}

/// The terms of a query, and beside those that the memory does not have what they may mean.
fn with_alternatives(
    terms: &[String],
    similar: &[embeddings::Similar],
) -> (Vec<Term>, Vec<ReadAs>) {
    let (mut all, mut read_as) = (Vec::new(), Vec::new());
    for (place, text) in (0_i32..).zip(terms) {
        all.push(Term { place, text: text.clone(), quality: 1.0 });
        let like: Vec<String> = similar
            .iter()
            .filter(|similar| similar.place == place)
            .map(|similar| similar.word.clone())
            .collect();
        let found = alternatives(text, &like);
        if !found.is_empty() {
            let words = found.iter().map(|found| found.word.clone()).collect();
            read_as.push(ReadAs { word: text.clone(), read_as: words });
        }
        all.extend(found.into_iter().map(|found| Term {
            place,
            text: found.word,
            quality: found.quality,
        }));
    }
    (all, read_as)
}

/// A take as its shot: whoever does not ask for takes wants to see each picture once.
fn as_shot(details: PassageDetails) -> PassageDetails {
    match (details.kind, details.shot) {
        (PassageKind::Take, Some(shot)) => {
            PassageDetails { kind: PassageKind::Shot, subject: shot.uuid(), ..details }
        }
        _ => details,
    }
}

/// What is embedded of a query: a query longer than a passage is compared by its beginning.
fn query_text(query: &str) -> String {
    query.trim().nfc().take(LONGEST_PASSAGE).collect()
}

fn present(found: Match, wanted: &Wanted) -> Hit {
    let details = found.details;
    let snippet = snippet(&details.content, wanted, LONGEST_SNIPPET);
    Hit {
        kind: details.kind,
        id: details.subject,
        project_id: details.project,
        shot: details.shot_number,
        title: shortened(&one_line(&details.title), 80),
        place: Some(details.place).filter(|place| !place.is_empty()),
        snippet: snippet.text,
        marks: snippet.marks,
        score: (found.score * 1000.0).round() / 1000.0,
        matched_by: found.matched_by,
        takes: details.takes,
    }
}
