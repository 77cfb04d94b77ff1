//! What can be found again: passages of projects, scripts, shots and files, with their words and
//! their vectors.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use pgvector::Vector;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::ids::{CampaignId, FileId, ProjectId};
use crate::store::StoreError;

/// Width of every stored vector. Narrower ones are padded with zeros.
pub const VECTOR_WIDTH: usize = 1536;

/// What a passage is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassageKind {
    /// The title and the brief of a project.
    Project,
    /// A script.
    Script,
    /// A shot.
    Shot,
    /// One of the user's own files.
    File,
}

impl PassageKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Project, Self::Script, Self::Shot, Self::File];

    /// The name in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Script => "script",
            Self::Shot => "shot",
            Self::File => "file",
        }
    }
}

impl fmt::Display for PassageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for PassageKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not one of project, script, shot, file"))
    }
}

/// A piece of text that can be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The project that it belongs to; none for a file, which outlives projects.
    pub project: Option<ProjectId>,
    /// What it is taken from.
    pub kind: PassageKind,
    /// The id of what it is taken from.
    pub subject: Uuid,
    /// Which part of a long text, from 0.
    pub part: i32,
    /// The text.
    pub content: String,
}

/// A stored passage, without its vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPassage {
    /// What it is taken from.
    pub kind: PassageKind,
    /// The id of what it is taken from.
    pub subject: Uuid,
    /// Which part of a long text, from 0.
    pub part: i32,
    /// The text.
    pub content: String,
    /// The model of its vector; none where it has no vector yet.
    pub model: Option<String>,
}

/// Whose passages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Everything taken from a project.
    Project(ProjectId),
    /// The parts of a file.
    File(FileId),
}

/// The passages that are stored for a project or a file.
pub async fn stored(
    connection: &mut PgConnection,
    owner: Owner,
) -> Result<Vec<StoredPassage>, StoreError> {
    let (condition_project, condition_file) = match owner {
        Owner::Project(project) => (Some(project), None),
        Owner::File(file) => (None, Some(file)),
    };
    sqlx::query_as::<_, (String, Uuid, i32, String, Option<String>)>(
        "SELECT kind, subject_id, part, content, model FROM project_embeddings
         WHERE project_id = $1 OR (kind = 'file' AND subject_id = $2)
         ORDER BY kind, subject_id, part",
    )
    .bind(condition_project)
    .bind(condition_file)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(kind, subject, part, content, model)| {
        Ok(StoredPassage { kind: kind_from(&kind)?, subject, part, content, model })
    })
    .collect()
}

/// Stores passages in one transaction. A passage that is there already gets the new text; its
/// vector stays only while the text is the same and no newer vector is given. Stored passages
/// of `owner` that are not in `all` are forgotten: their shot or their part no longer exists.
///
/// `changed` pairs passages with their vectors, each [`VECTOR_WIDTH`] wide, made by `model`.
pub async fn keep(
    connection: &mut PgConnection,
    user_id: &str,
    owner: Owner,
    all: &[Passage],
    changed: &[(&Passage, Option<Vector>)],
    model: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    let kinds: Vec<&str> = all.iter().map(|passage| passage.kind.as_str()).collect();
    let subjects: Vec<Uuid> = all.iter().map(|passage| passage.subject).collect();
    let parts: Vec<i32> = all.iter().map(|passage| passage.part).collect();
    let (condition_project, condition_file) = match owner {
        Owner::Project(project) => (Some(project), None),
        Owner::File(file) => (None, Some(file)),
    };
    sqlx::query(
        "DELETE FROM project_embeddings
         WHERE (project_id = $1 OR (kind = 'file' AND subject_id = $2))
           AND (kind, subject_id, part) NOT IN
               (SELECT * FROM unnest($3::text[], $4::uuid[], $5::integer[]))",
    )
    .bind(condition_project)
    .bind(condition_file)
    .bind(&kinds)
    .bind(&subjects)
    .bind(&parts)
    .execute(&mut *transaction)
    .await?;
    if !changed.is_empty() {
        upsert(&mut transaction, user_id, changed, model, now).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn upsert(
    connection: &mut PgConnection,
    user_id: &str,
    changed: &[(&Passage, Option<Vector>)],
    model: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = changed.iter().map(|_| Uuid::now_v7()).collect();
    let projects: Vec<Option<ProjectId>> =
        changed.iter().map(|(passage, _)| passage.project).collect();
    let kinds: Vec<&str> = changed.iter().map(|(passage, _)| passage.kind.as_str()).collect();
    let subjects: Vec<Uuid> = changed.iter().map(|(passage, _)| passage.subject).collect();
    let parts: Vec<i32> = changed.iter().map(|(passage, _)| passage.part).collect();
    let contents: Vec<&str> = changed.iter().map(|(passage, _)| passage.content.as_str()).collect();
    let vectors: Vec<Option<Vector>> = changed.iter().map(|(_, vector)| vector.clone()).collect();
    sqlx::query(
        "INSERT INTO project_embeddings
             (id, user_id, project_id, kind, subject_id, part, content, model, embedding, created_at)
         SELECT new.id, $8, new.project_id, new.kind, new.subject_id, new.part, new.content,
                CASE WHEN new.embedding IS NOT NULL THEN $9 END, new.embedding, $10
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::text[], $7::vector[])
              AS new (id, project_id, kind, subject_id, part, content, embedding)
         ON CONFLICT (kind, subject_id, part) DO UPDATE SET
             content = excluded.content,
             model = CASE WHEN excluded.model IS NOT NULL THEN excluded.model
                          WHEN project_embeddings.content = excluded.content THEN project_embeddings.model END,
             embedding = CASE WHEN excluded.model IS NOT NULL THEN excluded.embedding
                              WHEN project_embeddings.content = excluded.content THEN project_embeddings.embedding END",
    )
    .bind(&ids)
    .bind(&projects)
    .bind(&kinds)
    .bind(&subjects)
    .bind(&parts)
    .bind(&contents)
    .bind(&vectors)
    .bind(user_id)
    .bind(model)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Which passages a search looks at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Whose passages.
    pub user_id: String,
    /// Only these kinds; empty for all.
    pub kinds: Vec<PassageKind>,
    /// Only what belongs to a project of this campaign.
    pub campaign: Option<CampaignId>,
    /// Nothing that belongs to this project.
    pub without_project: Option<ProjectId>,
}

impl Scope {
    fn kind_names(&self) -> Option<Vec<&'static str>> {
        if self.kinds.is_empty() {
            None
        } else {
            Some(self.kinds.iter().map(|kind| kind.as_str()).collect())
        }
    }
}

/// The condition that a [`Scope`] stands for, on `passage` and the parameters $1 to $4.
macro_rules! within_scope {
    () => {
        "passage.user_id = $1
         AND ($2::text[] IS NULL OR passage.kind = ANY ($2))
         AND ($3::uuid IS NULL OR passage.project_id IN
              (SELECT project_id FROM project_campaigns WHERE campaign_id = $3))
         AND ($4::uuid IS NULL OR passage.project_id IS DISTINCT FROM $4)"
    };
}

/// The search by vector. The partial index of a model is used only where the statement names
/// the model literally, so each model that has an index has a statement of its own.
macro_rules! nearest_of_model {
    ($literally:literal) => {
        concat!(
            "SELECT passage.id, 1 - (passage.embedding <=> $6) AS score
             FROM project_embeddings AS passage
             WHERE ",
            $literally,
            " passage.model = $5 AND ",
            within_scope!(),
            " ORDER BY passage.embedding <=> $6 LIMIT $7"
        )
    };
}

/// A passage that was found, and how well it fits: from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub struct Found {
    /// The id of the passage.
    pub id: Uuid,
    /// By vector: the cosine. By words: the part of the asked words, weighed by rarity, that it has.
    pub score: f64,
}

/// The passages nearest to a vector of [`VECTOR_WIDTH`], nearest first. Only vectors of `model`
/// are compared. Wants to be called in a transaction, because it sets how the index is scanned.
pub async fn by_vector(
    connection: &mut PgConnection,
    scope: &Scope,
    model: &str,
    vector: &Vector,
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    // The index knows nothing of users and kinds: without the iterative scan it would yield
    // forty neighbours of which a filter may leave none.
    sqlx::query(
        "SELECT set_config('hnsw.iterative_scan', 'strict_order', true),
                set_config('hnsw.ef_search', '100', true)",
    )
    .execute(&mut *connection)
    .await?;
    let statement = match model {
        "builtin-lexical-1" => nearest_of_model!("passage.model = 'builtin-lexical-1' AND"),
        "text-embedding-3-small" => {
            nearest_of_model!("passage.model = 'text-embedding-3-small' AND")
        }
        "text-embedding-3-large" => {
            nearest_of_model!("passage.model = 'text-embedding-3-large' AND")
        }
        _ => nearest_of_model!(""),
    };
    let mut found: Vec<Found> = sqlx::query_as(statement)
        .bind(&scope.user_id)
        .bind(scope.kind_names())
        .bind(scope.campaign)
        .bind(scope.without_project)
        .bind(model)
        .bind(vector)
        .bind(at_most)
        .fetch_all(connection)
        .await?;
    // A vector without length has no angle to anything.
    found.retain(|found| found.score.is_finite());
    Ok(found)
}

/// The passages that have any of the `terms`, those with the most and the rarest of them
/// first. A term is in the syntax of `to_tsquery`: one word, perhaps with `:*`.
pub async fn by_any_word(
    connection: &mut PgConnection,
    scope: &Scope,
    terms: &[String],
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as(concat!(
        "WITH mine AS (
             SELECT count(*)::float8 AS passages FROM project_embeddings WHERE user_id = $1
         ), term AS (
             SELECT asked.query,
                    ln(1 + mine.passages / (1 + (SELECT count(*) FROM project_embeddings
                                                 WHERE user_id = $1 AND words @@ asked.query))) AS weight
             FROM (SELECT to_tsquery('aida_words', text) AS query FROM unnest($5::text[]) AS text) AS asked, mine
         ), asked AS (
             SELECT sum(weight) AS weight, to_tsquery('aida_words', array_to_string($5::text[], ' | ')) AS query
             FROM term
         )
         SELECT passage.id,
                ((SELECT sum(term.weight) FROM term WHERE passage.words @@ term.query)
                    / asked.weight)::float8 AS score
         FROM asked, project_embeddings AS passage
         WHERE passage.words @@ asked.query AND asked.weight > 0 AND ",
        within_scope!(),
        " ORDER BY score DESC, ts_rank_cd(passage.words, asked.query, 1) DESC, passage.id LIMIT $6"
    ))
    .bind(&scope.user_id)
    .bind(scope.kind_names())
    .bind(scope.campaign)
    .bind(scope.without_project)
    .bind(terms)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// The passages that fit a query in web search syntax (`"exact words"`, `-without`, `or`), those
/// where the words stand densest first.
pub async fn by_exact_words(
    connection: &mut PgConnection,
    scope: &Scope,
    query: &str,
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as(concat!(
        "SELECT passage.id, (0.5 + ts_rank_cd(passage.words, asked.query, 1 | 32) / 2)::float8 AS score
         FROM websearch_to_tsquery('aida_words', $5) AS asked (query), project_embeddings AS passage
         WHERE passage.words @@ asked.query AND ",
        within_scope!(),
        " ORDER BY score DESC, passage.id LIMIT $6"
    ))
    .bind(&scope.user_id)
    .bind(scope.kind_names())
    .bind(scope.campaign)
    .bind(scope.without_project)
    .bind(query)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// How many of a user's passages have no vector of `model`.
pub async fn waiting(
    connection: &mut PgConnection,
    user_id: &str,
    model: &str,
) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM project_embeddings WHERE user_id = $1 AND model IS DISTINCT FROM $2",
    )
    .bind(user_id)
    .bind(model)
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// A passage with the names of what it belongs to.
#[derive(Debug, Clone)]
pub struct PassageDetails {
    /// The id of the passage.
    pub id: Uuid,
    /// What it is taken from.
    pub kind: PassageKind,
    /// The id of what it is taken from.
    pub subject: Uuid,
    /// The project that it belongs to.
    pub project: Option<ProjectId>,
    /// The number of the shot, where it is one.
    pub shot_number: Option<i32>,
    /// The project's title, else its brief; the name of a file.
    pub title: String,
    /// The text.
    pub content: String,
}

/// Reads passages by id, in no particular order.
pub async fn details(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<PassageDetails>, StoreError> {
    type Row = (Uuid, String, Uuid, Option<ProjectId>, Option<i32>, String, String);
    sqlx::query_as::<_, Row>(
        "SELECT passage.id, passage.kind, passage.subject_id, passage.project_id, shots.number,
                coalesce(nullif(projects.title, ''), projects.brief, user_files.name, ''), passage.content
         FROM project_embeddings AS passage
         LEFT JOIN projects ON projects.id = passage.project_id
         LEFT JOIN shots ON passage.kind = 'shot' AND shots.id = passage.subject_id
         LEFT JOIN user_files ON passage.kind = 'file' AND user_files.id = passage.subject_id
         WHERE passage.id = ANY ($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(id, kind, subject, project, shot_number, title, content)| {
        let kind = kind_from(&kind)?;
        Ok(PassageDetails { id, kind, subject, project, shot_number, title, content })
    })
    .collect()
}

fn kind_from(text: &str) -> Result<PassageKind, StoreError> {
    text.parse()
        .map_err(|message: String| StoreError::Statement(sqlx::Error::Decode(message.into())))
}
