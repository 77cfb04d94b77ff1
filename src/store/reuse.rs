//! Kept takes: found again as what they are of, and used again.

mod marks;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use pgvector::Vector;
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::StoreError;
use crate::ids::{OperationId, ProjectId, RunId, ShotId, TakeId};
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;

pub use marks::{Mark, Unmarked, file_digests, image_prompts, mark, unmarked};

/// A kept take that may be used again.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptTake {
    /// The take.
    pub id: TakeId,
    /// Image or clip.
    pub kind: OperationKind,
    /// Its project.
    pub project_id: ProjectId,
    /// The project's title, else its brief.
    pub project: String,
    /// The number of its shot, from 1.
    pub shot: i32,
    /// Where it lies, relative to the data directory's projects folder.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// Width in pixels.
    pub width: Option<i32>,
    /// Height in pixels.
    pub height: Option<i32>,
    /// Length in seconds, for clips.
    pub duration_seconds: Option<Decimal>,
    /// The model that made it.
    pub model: String,
    /// Whether its film uses it.
    pub chosen: bool,
    /// The rating of its shot, else of its film, 1 to 5.
    pub rating: Option<i16>,
    /// Of a clip the SHA-256 of its keyframe.
    pub keyframe_sha256: Option<String>,
    /// See [`Mark`].
    pub fingerprint: Option<String>,
    /// See [`Mark`].
    pub frame: Option<String>,
    /// See [`Mark`].
    pub sketch: Option<Vec<i64>>,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// How it moves.
    pub motion_prompt: String,
    /// When it was kept.
    pub created_at: Timestamp,
}

impl<'row> sqlx::FromRow<'row, PgRow> for KeptTake {
    fn from_row(row: &'row PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row
                .try_get::<&str, _>("kind")?
                .parse()
                .map_err(|message: String| sqlx::Error::Decode(message.into()))?,
            project_id: row.try_get("project_id")?,
            project: row.try_get("project")?,
            shot: row.try_get("shot")?,
            path: row.try_get("path")?,
            sha256: row.try_get("sha256")?,
            bytes: row.try_get("bytes")?,
            width: row.try_get("width")?,
            height: row.try_get("height")?,
            duration_seconds: row.try_get("duration_seconds")?,
            model: row.try_get("model")?,
            chosen: row.try_get("chosen")?,
            rating: row.try_get("rating")?,
            keyframe_sha256: row.try_get("keyframe_sha256")?,
            fingerprint: row.try_get("fingerprint")?,
            frame: row.try_get("frame")?,
            sketch: row.try_get("sketch")?,
            image_prompt: row.try_get("image_prompt")?,
            motion_prompt: row.try_get("motion_prompt")?,
            created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
        })
    }
}

/// The statement that reads those of a user's ($1) takes for which a condition holds, with what follows
/// it. The user's dislike goes with the file, wherever it is used: takes of a shot rated 1 or 2 are left
/// out. So are takes that were taken again: only what a film uses, and the other pictures of the
/// same job, count. A copy stands back while its origin is there: it was accepted for another prompt than
/// it was made from, and likeness must not wander from copy to copy.
macro_rules! kept_takes {
    ($condition:literal, $rest:literal) => {
        concat!(
            "SELECT kept.*, coalesce(of_shot.rating, of_film.rating) AS rating
             FROM (SELECT takes.id, takes.kind, takes.project_id, takes.path, takes.sha256, takes.bytes, takes.width,
                          takes.height, takes.duration_seconds, takes.chosen, takes.keyframe_sha256, takes.fingerprint,
                          takes.frame, takes.sketch, takes.created_at, takes.shot_id,
                          coalesce(takes.model, operations.model) AS model, shots.number AS shot, shots.image_prompt,
                          shots.motion_prompt, coalesce(nullif(projects.title, ''), projects.brief) AS project
                   FROM takes
                   JOIN projects ON projects.id = takes.project_id
                   JOIN shots ON shots.id = takes.shot_id
                   JOIN operations ON operations.id = takes.operation_id
                   WHERE projects.user_id = $1 AND takes.fingerprint IS NOT NULL
                     AND (takes.chosen OR EXISTS (SELECT 1 FROM takes AS sibling
                                                  WHERE sibling.operation_id = takes.operation_id AND sibling.chosen))
                     AND (takes.reused_from IS NULL
                          OR NOT EXISTS (SELECT 1 FROM takes AS origin WHERE origin.id = takes.reused_from))
                     AND ",
            $condition,
            ") AS kept
             LEFT JOIN LATERAL (
                 SELECT min(latest.rating) AS rating
                 FROM takes AS copy CROSS JOIN LATERAL (
                     SELECT rating FROM project_feedback
                     WHERE shot_id = copy.shot_id AND user_id = $1 AND rating IS NOT NULL
                     ORDER BY created_at DESC, id DESC LIMIT 1) AS latest
                 WHERE copy.sha256 = kept.sha256) AS of_shot ON true
             LEFT JOIN LATERAL (
                 SELECT rating FROM project_feedback
                 WHERE project_id = kept.project_id AND shot_id IS NULL AND user_id = $1 AND rating IS NOT NULL
                 ORDER BY created_at DESC, id DESC LIMIT 1) AS of_film ON true
             WHERE coalesce(of_shot.rating, 3) > 2 ",
            $rest
        )
    };
}

/// A user's images, of any project but this one, that share a band of their sketch.
pub async fn images_like(
    connection: &mut PgConnection,
    user_id: &str,
    without: ProjectId,
    sketch: &[i64],
    fingerprint: &str,
    at_most: i64,
) -> Result<Vec<KeptTake>, StoreError> {
    Ok(sqlx::query_as(kept_takes!(
        "takes.kind = 'image' AND takes.project_id <> $2 AND takes.sketch && $3
         ORDER BY takes.fingerprint = $4 DESC, takes.chosen DESC, takes.created_at DESC LIMIT $5",
        ""
    ))
    .bind(user_id)
    .bind(without)
    .bind(sketch)
    .bind(fingerprint)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// Those of some takes that are images of a frame, of any project but this one.
pub async fn images_in_frame(
    connection: &mut PgConnection,
    user_id: &str,
    without: ProjectId,
    frame: &str,
    takes: &[TakeId],
) -> Result<Vec<KeptTake>, StoreError> {
    Ok(sqlx::query_as(kept_takes!(
        "takes.kind = 'image' AND takes.project_id <> $2 AND takes.frame = $3 AND takes.id = ANY ($4)",
        ""
    ))
    .bind(user_id)
    .bind(without)
    .bind(frame)
    .bind(takes)
    .fetch_all(connection)
    .await?)
}

/// A user's clips that were made from pictures, of any project but this one.
pub async fn clips_of(
    connection: &mut PgConnection,
    user_id: &str,
    without: ProjectId,
    keyframes: &[&str],
    at_most: i64,
) -> Result<Vec<KeptTake>, StoreError> {
    Ok(sqlx::query_as(kept_takes!(
        "takes.kind = 'clip' AND takes.project_id <> $2 AND takes.keyframe_sha256 = ANY ($3)
         ORDER BY takes.chosen DESC, takes.created_at DESC LIMIT $4",
        ""
    ))
    .bind(user_id)
    .bind(without)
    .bind(keyframes)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// Those of some takes that the user still may use again.
pub async fn usable(
    connection: &mut PgConnection,
    user_id: &str,
    takes: &[TakeId],
) -> Result<Vec<KeptTake>, StoreError> {
    Ok(sqlx::query_as(kept_takes!("takes.id = ANY ($2)", ""))
        .bind(user_id)
        .bind(takes)
        .fetch_all(connection)
        .await?)
}

/// Where the files of a user's takes with this content lie, relative to the projects folder: the one
/// that was asked for first.
pub async fn copies(
    connection: &mut PgConnection,
    user_id: &str,
    take: TakeId,
    sha256: &str,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT takes.path FROM takes JOIN projects ON projects.id = takes.project_id
         WHERE projects.user_id = $1 AND takes.sha256 = $3 ORDER BY takes.id = $2 DESC, takes.id LIMIT 10",
    )
    .bind(user_id)
    .bind(take)
    .bind(sha256)
    .fetch_all(connection)
    .await?)
}

/// Whether any take of a user has a vector of a model.
pub async fn has_vectors(
    connection: &mut PgConnection,
    user_id: &str,
    model: &str,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM project_embeddings WHERE user_id = $1 AND kind = 'take' AND model = $2)",
    )
    .bind(user_id)
    .bind(model)
    .fetch_one(connection)
    .await?)
}

/// The takes that some passages are of.
pub async fn takes_of_passages(
    connection: &mut PgConnection,
    passages: &[Uuid],
) -> Result<Vec<(Uuid, TakeId)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, subject_id FROM project_embeddings WHERE id = ANY ($1) AND kind = 'take' AND part = 0",
    )
    .bind(passages)
    .fetch_all(connection)
    .await?)
}

/// The cosines between a vector and those of takes, where they have one of this model.
pub async fn cosines(
    connection: &mut PgConnection,
    model: &str,
    takes: &[TakeId],
    vector: &Vector,
) -> Result<Vec<(TakeId, f64)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT subject_id, 1 - (embedding <=> $3) FROM project_embeddings
         WHERE kind = 'take' AND subject_id = ANY ($2) AND part = 0 AND model = $1",
    )
    .bind(model)
    .bind(takes)
    .bind(vector)
    .fetch_all(connection)
    .await?)
}

/// What there is of a project's shots: number, kind, and the file's SHA-256 of what the film uses;
/// none where a job is under way or of unknown outcome.
pub async fn there(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<(i32, String, Option<String>)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT shots.number, takes.kind, takes.sha256
         FROM takes JOIN shots ON shots.id = takes.shot_id
         WHERE takes.project_id = $1 AND takes.chosen
         UNION ALL
         SELECT DISTINCT shots.number, operations.kind, NULL
         FROM operations JOIN shots ON shots.id = operations.shot_id
         WHERE operations.project_id = $1 AND operations.kind IN ('image', 'clip')
           AND operations.state IN ('submitting', 'submitted', 'ready', 'unknown')",
    )
    .bind(project)
    .fetch_all(connection)
    .await?)
}

/// Whether a shot has a take of a kind that its film uses.
pub async fn has_take(
    connection: &mut PgConnection,
    shot: ShotId,
    kind: OperationKind,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM takes WHERE shot_id = $1 AND kind = $2 AND chosen)",
    )
    .bind(shot)
    .bind(kind.as_str())
    .fetch_one(connection)
    .await?)
}

/// Records of a take that was just kept that it is another one's file.
pub async fn keep_origin(
    connection: &mut PgConnection,
    take: TakeId,
    origin: TakeId,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE takes SET reused_from = origin.id, model = coalesce(origin.model, operations.model),
                          keyframe_sha256 = origin.keyframe_sha256, fingerprint = origin.fingerprint,
                          frame = origin.frame, sketch = origin.sketch
         FROM takes AS origin JOIN operations ON operations.id = origin.operation_id
         WHERE takes.id = $1 AND origin.id = $2",
    )
    .bind(take)
    .bind(origin)
    .execute(connection)
    .await?;
    Ok(())
}

/// The steps of a project's shots that were used again instead of bought: the shot's number and the kind.
pub async fn reused(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<(i32, OperationKind)>, StoreError> {
    let rows: Vec<(i32, bool)> = sqlx::query_as(
        "SELECT DISTINCT shots.number, takes.kind = 'clip' FROM takes JOIN shots ON shots.id = takes.shot_id
         WHERE takes.project_id = $1 AND takes.chosen AND takes.reused_from IS NOT NULL",
    )
    .bind(project)
    .fetch_all(connection)
    .await?;
    let kind = |is_clip| if is_clip { OperationKind::Clip } else { OperationKind::Image };
    Ok(rows.into_iter().map(|(number, is_clip)| (number, kind(is_clip))).collect())
}

/// A take that was used again, and where it comes from.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Reuse {
    /// The take.
    pub take_id: TakeId,
    /// The operation that stands for it in the books.
    pub operation_id: OperationId,
    /// The run that used it.
    pub run_id: Option<RunId>,
    /// The number of its shot, from 1.
    pub shot: i32,
    /// `image` or `clip`.
    pub kind: String,
    /// The take that it is the same file as.
    pub origin_id: TakeId,
    /// That one's project; none where it was deleted.
    pub project_id: Option<ProjectId>,
    /// The project's title, else its brief.
    pub project: Option<String>,
    /// The number of its shot there.
    pub origin_shot: Option<i32>,
    /// What was saved, USD.
    pub saved_usd: Usd,
}

impl Reuse {
    /// Where it comes from, for people.
    pub fn origin(&self) -> String {
        let take = self.origin_id.short();
        match (&self.project, self.project_id, self.origin_shot) {
            (Some(title), Some(project), Some(shot)) => {
                let title: String = title.chars().take(40).collect();
                format!("shot {shot} of “{title}” ({}), take {take}", project.short())
            }
            _ => format!("take {take} of a project that is gone"),
        }
    }
}

/// What a project uses again, by shot, images before clips.
pub async fn of_project(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<Reuse>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT takes.id AS take_id, takes.operation_id, operations.run_id, shots.number AS shot, takes.kind,
                takes.reused_from AS origin_id, projects.id AS project_id,
                coalesce(nullif(projects.title, ''), projects.brief) AS project,
                origin_shot.number AS origin_shot, coalesce(charges.reuse_saved_usd, 0) AS saved_usd
         FROM takes
         JOIN shots ON shots.id = takes.shot_id
         JOIN operations ON operations.id = takes.operation_id
         LEFT JOIN charges ON charges.operation_id = takes.operation_id
         LEFT JOIN takes AS origin ON origin.id = takes.reused_from
         LEFT JOIN shots AS origin_shot ON origin_shot.id = origin.shot_id
         LEFT JOIN projects ON projects.id = origin.project_id
         WHERE takes.project_id = $1 AND takes.reused_from IS NOT NULL
         ORDER BY shots.number, takes.kind DESC, takes.id",
    )
    .bind(project)
    .fetch_all(connection)
    .await?)
}

/// Gives up what was planned and never sent for a step of a shot: a kept take serves instead.
pub async fn give_up_plans(
    connection: &mut PgConnection,
    shot: ShotId,
    kind: OperationKind,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE operations SET state = 'failed_not_charged', revision = revision + 1, finished_at = $3
         WHERE shot_id = $1 AND kind = $2 AND state = 'planned'",
    )
    .bind(shot)
    .bind(kind.as_str())
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}
