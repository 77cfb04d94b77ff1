//! Ratings and remarks on films and shots.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::ids::{FeedbackId, ProjectId, ShotId};
use crate::store::StoreError;

/// The longest remark, in characters.
pub const LONGEST_NOTE: usize = 2_000;

/// A rating, a remark, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// Its id.
    pub id: FeedbackId,
    /// The film.
    pub project: ProjectId,
    /// The shot's number; none for the whole film.
    pub shot: Option<i32>,
    /// 1 to 5.
    pub rating: Option<i16>,
    /// The user's words; empty for none.
    pub note: String,
    /// When it was given.
    pub created_at: Timestamp,
    /// Since when a later rating of the same thing counts instead of this one. The words stay said.
    pub superseded_at: Option<Timestamp>,
}

/// Keeps a rating or a remark. A rating takes the place of the earlier ratings that this user gave
/// the same film or shot, which are kept as history; the words that came with them stay said. A
/// remark alone is added.
pub async fn keep(
    connection: &mut PgConnection,
    user_id: &str,
    project: ProjectId,
    shot: Option<ShotId>,
    rating: Option<u8>,
    note: &str,
    now: Timestamp,
) -> Result<FeedbackId, StoreError> {
    if rating.is_some() {
        sqlx::query(
            "UPDATE project_feedback SET superseded_at = $4
             WHERE user_id = $1 AND project_id = $2 AND shot_id IS NOT DISTINCT FROM $3
               AND rating IS NOT NULL AND superseded_at IS NULL",
        )
        .bind(user_id)
        .bind(project)
        .bind(shot)
        .bind(now.to_sqlx())
        .execute(&mut *connection)
        .await?;
    }
    let id = FeedbackId::new();
    sqlx::query(
        "INSERT INTO project_feedback (id, project_id, shot_id, user_id, rating, note, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(project)
    .bind(shot)
    .bind(user_id)
    .bind(rating.map(i16::from))
    .bind(note)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(id)
}

type Row = (
    FeedbackId,
    ProjectId,
    Option<i32>,
    Option<i16>,
    String,
    jiff_sqlx::Timestamp,
    Option<jiff_sqlx::Timestamp>,
);

fn feedback((id, project, shot, rating, note, created_at, superseded_at): Row) -> Feedback {
    Feedback {
        id,
        project,
        shot,
        rating,
        note,
        created_at: created_at.to_jiff(),
        superseded_at: superseded_at.map(jiff_sqlx::Timestamp::to_jiff),
    }
}

/// Everything that a user said about a film: the whole film first, then by shot, the oldest first.
pub async fn of_project(
    connection: &mut PgConnection,
    user_id: &str,
    project: ProjectId,
) -> Result<Vec<Feedback>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT project_feedback.id, project_feedback.project_id, shots.number, rating, note,
                project_feedback.created_at, superseded_at
         FROM project_feedback LEFT JOIN shots ON shots.id = shot_id
         WHERE user_id = $1 AND project_feedback.project_id = $2
         ORDER BY shots.number NULLS FIRST, project_feedback.created_at, project_feedback.id",
    )
    .bind(user_id)
    .bind(project)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(feedback).collect())
}

/// Removes a rating or remark of a user. The rating before it, if there was one, counts again.
pub async fn remove(
    connection: &mut PgConnection,
    user_id: &str,
    id: FeedbackId,
) -> Result<(), StoreError> {
    sqlx::query(
        "WITH gone AS (
             DELETE FROM project_feedback WHERE id = $2 AND user_id = $1
             RETURNING id, project_id, shot_id, rating, superseded_at
         ), before AS (
             SELECT earlier.id FROM gone JOIN project_feedback AS earlier
                 ON earlier.project_id = gone.project_id AND earlier.user_id = $1
                AND earlier.shot_id IS NOT DISTINCT FROM gone.shot_id
             WHERE gone.rating IS NOT NULL AND gone.superseded_at IS NULL AND earlier.rating IS NOT NULL
               AND earlier.id <> gone.id
             ORDER BY earlier.created_at DESC, earlier.id DESC LIMIT 1
         )
         UPDATE project_feedback SET superseded_at = NULL WHERE id IN (SELECT id FROM before)",
    )
    .bind(user_id)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// A user's remarks: the id, the rating that came with it, and the words.
pub async fn notes(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<(FeedbackId, Option<i16>, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, rating, note FROM project_feedback WHERE user_id = $1 AND note <> '' ORDER BY created_at, id",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?)
}

/// Replaces the words of a remark. One that has neither words nor a rating left is removed.
pub async fn set_note(
    connection: &mut PgConnection,
    id: FeedbackId,
    note: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE project_feedback SET note = $2 WHERE id = $1")
        .bind(id)
        .bind(note)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM project_feedback WHERE id = $1 AND note = '' AND rating IS NULL")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}
