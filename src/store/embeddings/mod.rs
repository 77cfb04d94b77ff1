//! What can be found again: passages of projects, scripts, shots, takes and files, with their words and
//! their vectors.

pub mod index;
mod loading;
mod matching;
pub mod models;
pub mod moving;
mod nearest;
mod scope;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use pgvector::Vector;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::ids::{FileId, ProjectId, ShotId, TakeId};
use crate::store::StoreError;

pub use loading::{LoadedRow, Loading};
pub use matching::{
    Similar, Term, by_any_term, by_exact_words, similar_words, similarities, without_compiling,
};
pub use nearest::{SEARCH_CANDIDATES, by_vector};
pub use scope::Scope;

/// Width of every stored vector. Narrower ones are padded with zeros.
pub const VECTOR_WIDTH: usize = 1536;

/// How far the length of a vector may be from 1. What is as near as that is kept to the last bit.
const UNIT_TOLERANCE: f64 = 1e-3;

/// Stretches or shrinks a vector to the length 1, which leaves every cosine unchanged: the indexes over
/// halves hold no number above 65,504, and lose very small ones. One without length stays as it is.
/// False, and nothing is changed, where a number is not finite.
#[must_use]
pub fn to_unit_length(numbers: &mut [f32]) -> bool {
    if !numbers.iter().all(|number| number.is_finite()) {
        return false;
    }
    // In double width no square of a single one is too large or too small.
    let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 && (length - 1.0).abs() > UNIT_TOLERANCE {
        for number in numbers {
            #[expect(clippy::cast_possible_truncation, reason = "it is at most 1")]
            let unit = (f64::from(*number) / length) as f32;
            *number = unit;
        }
    }
    true
}

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
    /// A kept image or clip of a shot.
    Take,
    /// One of the user's own files.
    File,
}

impl PassageKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Project, Self::Script, Self::Shot, Self::Take, Self::File];

    /// The name in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Script => "script",
            Self::Shot => "shot",
            Self::Take => "take",
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
            .ok_or_else(|| format!("'{text}' is not one of project, script, shot, take, file"))
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
    /// Where in a file it stands, such as `page 12`; empty for nowhere in particular.
    pub place: String,
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
    /// Where in a file it stands.
    pub place: String,
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
    sqlx::query_as::<_, (String, Uuid, i32, String, String, Option<String>)>(
        "SELECT kind, subject_id, part, place, content, model FROM project_embeddings
         WHERE project_id = $1 OR (kind = 'file' AND subject_id = $2)
         ORDER BY kind, subject_id, part",
    )
    .bind(condition_project)
    .bind(condition_file)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(kind, subject, part, place, content, model)| {
        Ok(StoredPassage { kind: kind_from(&kind)?, subject, part, place, content, model })
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
    let places: Vec<&str> = changed.iter().map(|(passage, _)| passage.place.as_str()).collect();
    let contents: Vec<&str> = changed.iter().map(|(passage, _)| passage.content.as_str()).collect();
    let vectors: Vec<Option<Vector>> = changed.iter().map(|(_, vector)| vector.clone()).collect();
    sqlx::query(
        "INSERT INTO project_embeddings
             (id, user_id, project_id, kind, subject_id, part, content, model, embedding, created_at, place)
         SELECT new.id, $8, new.project_id, new.kind, new.subject_id, new.part, new.content,
                CASE WHEN new.embedding IS NOT NULL THEN $9 END, new.embedding, $10, new.place
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::text[], $7::vector[], $11::text[])
              AS new (id, project_id, kind, subject_id, part, content, embedding, place)
         ON CONFLICT (kind, subject_id, part) DO UPDATE SET
             content = excluded.content, place = excluded.place,
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
    .bind(&places)
    .execute(connection)
    .await?;
    Ok(())
}

/// A passage that was found, and how well it fits: from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub struct Found {
    /// The id of the passage.
    pub id: Uuid,
    /// By vector: the cosine. By words: the part of the asked words, weighed by rarity, that it has.
    pub score: f64,
}

/// How many of a user's passages have no vector of `model`.
pub async fn waiting(
    connection: &mut PgConnection,
    user_id: &str,
    model: &str,
) -> Result<u64, StoreError> {
    // Three ranges of an index beside the model's own, where `IS DISTINCT FROM` would read it all.
    let count: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM project_embeddings WHERE user_id = $1 AND model IS NULL)
              + (SELECT count(*) FROM project_embeddings WHERE user_id = $1 AND model < $2)
              + (SELECT count(*) FROM project_embeddings WHERE user_id = $1 AND model > $2)",
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
    /// The shot, where it is one or a take of one.
    pub shot: Option<ShotId>,
    /// The number of that shot.
    pub shot_number: Option<i32>,
    /// The files: of a take its own, of a shot those that its film uses.
    pub takes: Vec<TakeFile>,
    /// The project's title, else its brief; the name of a file.
    pub title: String,
    /// Where in a file it stands, such as `page 12`; empty for nowhere in particular.
    pub place: String,
    /// The text.
    pub content: String,
}

/// The file of a kept image or clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeFile {
    /// The take.
    pub id: TakeId,
    /// `image` or `clip`.
    pub kind: String,
    /// Where the file lies, under the data directory.
    pub path: String,
    /// Whether its film uses it.
    pub chosen: bool,
}

/// Reads passages by id, in no particular order.
pub async fn details(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<PassageDetails>, StoreError> {
    type Row = (
        Uuid,
        String,
        Uuid,
        Option<ProjectId>,
        Option<ShotId>,
        Option<i32>,
        Json<Vec<TakeFile>>,
        String,
        String,
        String,
    );
    sqlx::query_as::<_, Row>(
        "SELECT passage.id, passage.kind, passage.subject_id, passage.project_id, shots.id, shots.number,
                (SELECT coalesce(jsonb_agg(jsonb_build_object('id', file.id, 'kind', file.kind,
                                                              'path', file.path, 'chosen', file.chosen)
                                           ORDER BY file.kind DESC, file.created_at, file.id), '[]')
                 FROM takes AS file
                 WHERE (passage.kind = 'take' AND file.id = passage.subject_id)
                    OR (passage.kind = 'shot' AND file.shot_id = passage.subject_id AND file.chosen)),
                coalesce(nullif(projects.title, ''), projects.brief, user_files.name, ''), passage.place,
                passage.content
         FROM project_embeddings AS passage
         LEFT JOIN projects ON projects.id = passage.project_id
         LEFT JOIN takes ON passage.kind = 'take' AND takes.id = passage.subject_id
         LEFT JOIN shots ON shots.id = CASE passage.kind WHEN 'shot' THEN passage.subject_id
                                                         WHEN 'take' THEN takes.shot_id END
         LEFT JOIN user_files ON passage.kind = 'file' AND user_files.id = passage.subject_id
         WHERE passage.id = ANY ($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(id, kind, subject, project, shot, shot_number, takes, title, place, content)| {
        let (kind, takes) = (kind_from(&kind)?, takes.0);
        Ok(PassageDetails {
            id,
            kind,
            subject,
            project,
            shot,
            shot_number,
            takes,
            title,
            place,
            content,
        })
    })
    .collect()
}

pub(in crate::store) fn kind_from(text: &str) -> Result<PassageKind, StoreError> {
    text.parse()
        .map_err(|message: String| StoreError::Statement(sqlx::Error::Decode(message.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_length_become_directions() {
        for scale in [1e-40_f32, 1e-20, 0.5, 1.0, 70_000.0, 1e38] {
            let mut numbers = vec![scale * 0.6, scale * 0.8, 0.0];
            assert!(to_unit_length(&mut numbers));
            for (number, wanted) in numbers.iter().zip([0.6, 0.8, 0.0]) {
                assert!((number - wanted).abs() < 1e-3, "{scale}: {numbers:?}");
            }
            let once = numbers.clone();
            assert!(to_unit_length(&mut numbers));
            assert_eq!(numbers, once, "it is one already");
        }
        let mut nothing = vec![0.0; 3];
        assert!(to_unit_length(&mut nothing));
        assert_eq!(nothing, [0.0; 3]);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!to_unit_length(&mut [1.0, wrong]));
        }
    }
}
