//! What tells that two takes are of the same picture, written when reuse first looks at a take.

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::ids::{FileId, ProjectId, TakeId};
use crate::store::StoreError;

/// A take that nobody has looked at for reuse yet, with all that determined it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Unmarked {
    /// The take.
    pub id: TakeId,
    /// Whether it is a clip.
    pub is_clip: bool,
    /// The model that made it.
    pub model: String,
    /// What was bought.
    pub quantity: Value,
    /// Of a clip the SHA-256 of its keyframe, where that is known.
    pub keyframe_sha256: Option<String>,
    /// Its project.
    pub project_id: ProjectId,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// How it moves.
    pub motion_prompt: String,
    /// Names of earlier shots and files that it was to look like.
    pub references: Value,
    /// The shape of the picture.
    pub aspect: String,
    /// The files that were given for its run: pairs of id and name, or null.
    pub files: Option<Value>,
    /// The pictures that every keyframe of its run was to look like, or null.
    pub for_all: Option<Value>,
}

/// Some of a user's takes that are not marked yet, in no order, so that none are sorted for nothing.
pub async fn unmarked(
    connection: &mut PgConnection,
    user_id: &str,
    at_most: i64,
) -> Result<Vec<Unmarked>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT takes.id, takes.kind = 'clip' AS is_clip, coalesce(takes.model, operations.model) AS model,
                operations.quantity, takes.keyframe_sha256, takes.project_id, shots.image_prompt,
                shots.motion_prompt, shots.\"references\", projects.aspect, runs.options -> 'files' AS files,
                runs.options -> 'references' AS for_all
         FROM takes
         JOIN projects ON projects.id = takes.project_id
         JOIN shots ON shots.id = takes.shot_id
         JOIN operations ON operations.id = takes.operation_id
         LEFT JOIN runs ON runs.id = operations.run_id
         WHERE projects.user_id = $1 AND takes.fingerprint IS NULL
         LIMIT $2",
    )
    .bind(user_id)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// The SHA-256 of files.
pub async fn file_digests(
    connection: &mut PgConnection,
    files: &[FileId],
) -> Result<Vec<(FileId, String)>, StoreError> {
    Ok(sqlx::query_as("SELECT id, sha256 FROM user_files WHERE id = ANY ($1)")
        .bind(files)
        .fetch_all(connection)
        .await?)
}

/// What the shots of projects show, by project and number.
pub async fn image_prompts(
    connection: &mut PgConnection,
    projects: &[ProjectId],
) -> Result<Vec<(ProjectId, i32, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT project_id, number, image_prompt FROM shots WHERE project_id = ANY ($1)",
    )
    .bind(projects)
    .fetch_all(connection)
    .await?)
}

/// What a take is marked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The take.
    pub id: TakeId,
    /// Of everything that determines it.
    pub fingerprint: String,
    /// Of what must be equal before prompts are compared.
    pub frame: String,
    /// Of an image the bands of its prompt's words.
    pub sketch: Option<Vec<i64>>,
}

/// Marks takes.
pub async fn mark(connection: &mut PgConnection, marks: &[Mark]) -> Result<(), StoreError> {
    let rows: Vec<Value> = marks
        .iter()
        .map(|mark| {
            json!({ "id": mark.id, "fingerprint": mark.fingerprint, "frame": mark.frame, "sketch": mark.sketch })
        })
        .collect();
    sqlx::query(
        "UPDATE takes SET fingerprint = mark.fingerprint, frame = mark.frame, sketch = mark.sketch
         FROM jsonb_to_recordset($1) AS mark (id uuid, fingerprint text, frame text, sketch bigint[])
         WHERE takes.id = mark.id",
    )
    .bind(Value::Array(rows))
    .execute(connection)
    .await?;
    Ok(())
}
