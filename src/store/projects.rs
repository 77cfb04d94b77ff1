//! Projects and their shots.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::ids::{ProjectId, ShotId};
use crate::ledger::money::Usd;
use crate::studio::storyboard::{Shot, Storyboard};

/// A project's row.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub user_id: String,
    /// What was asked for.
    pub brief: String,
    /// The film's title; empty until there is a storyboard.
    pub title: String,
    /// The brief as a part of a file name.
    pub slug: String,
    /// The script as JSON, once written.
    pub script: Option<Value>,
    /// The model that wrote it, or `outline`.
    pub script_author: Option<String>,
    /// The shape of the picture, such as `9:16`.
    pub aspect: String,
    /// The length asked for, in seconds.
    pub duration_seconds: Decimal,
    /// The number of shots asked for.
    pub shot_count: i32,
    /// The project whose storyboard this one was made from.
    pub source_project: Option<ProjectId>,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "id, user_id, brief, title, slug, script, script_author, aspect, duration_seconds, \
                       shot_count, source_project, created_at";

fn project(row: &sqlx::postgres::PgRow) -> Result<Project, sqlx::Error> {
    Ok(Project {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        brief: row.try_get("brief")?,
        title: row.try_get("title")?,
        slug: row.try_get("slug")?,
        script: row.try_get("script")?,
        script_author: row.try_get("script_author")?,
        aspect: row.try_get("aspect")?,
        duration_seconds: row.try_get("duration_seconds")?,
        shot_count: row.try_get("shot_count")?,
        source_project: row.try_get("source_project")?,
        created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
    })
}

/// Inserts a project; a row that is already there is left alone.
pub async fn insert(connection: &mut PgConnection, project: &Project) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO projects (id, user_id, brief, title, slug, script, script_author, aspect, duration_seconds,
                               shot_count, source_project, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(project.id)
    .bind(&project.user_id)
    .bind(&project.brief)
    .bind(&project.title)
    .bind(&project.slug)
    .bind(&project.script)
    .bind(&project.script_author)
    .bind(&project.aspect)
    .bind(project.duration_seconds)
    .bind(project.shot_count)
    .bind(project.source_project)
    .bind(project.created_at.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// Loads a project.
pub async fn load(connection: &mut PgConnection, id: ProjectId) -> Result<Project, StoreError> {
    let row =
        sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM projects WHERE id = $1")))
            .bind(id)
            .fetch_one(connection)
            .await?;
    Ok(project(&row)?)
}

/// A project, if it is the user's.
pub async fn of_user(
    connection: &mut PgConnection,
    user_id: &str,
    id: ProjectId,
) -> Result<Option<Project>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM projects WHERE id = $1 AND user_id = $2"
    )))
    .bind(id)
    .bind(user_id)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(project).transpose()?)
}

/// Finds a user's projects by what a person types: the id, its last eight digits, or the slug.
/// The newest comes first.
pub async fn find(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Vec<Project>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM projects
         WHERE user_id = $1
           AND (id::text = lower($2) OR right(replace(id::text, '-', ''), 8) = lower($2) OR slug = $2)
         ORDER BY created_at DESC LIMIT 20"
    )))
    .bind(user_id)
    .bind(typed)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| project(row).map_err(StoreError::from)).collect()
}

/// Keeps a script and its storyboard: the project's title, script and shots, in one go.
/// Shots that are already there keep their ids, so that doing this twice is safe.
pub async fn keep_storyboard(
    connection: &mut PgConnection,
    id: ProjectId,
    script: &Value,
    author: &str,
    storyboard: &Storyboard,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE projects SET title = $2, script = $3, script_author = $4, shot_count = $5, updated_at = $6
         WHERE id = $1",
    )
    .bind(id)
    .bind(&storyboard.title)
    .bind(script)
    .bind(author)
    .bind(i32::try_from(storyboard.shots.len()).unwrap_or(i32::MAX))
    .bind(now.to_sqlx())
    .execute(&mut *connection)
    .await?;
    for shot in &storyboard.shots {
        sqlx::query(
            "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds,
                                on_screen_text, narration, \"references\")
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (project_id, number) DO NOTHING",
        )
        .bind(ShotId::new())
        .bind(id)
        .bind(i32::try_from(shot.number).unwrap_or(i32::MAX))
        .bind(&shot.image_prompt)
        .bind(&shot.motion_prompt)
        .bind(shot.duration_seconds)
        .bind(&shot.on_screen_text)
        .bind(&shot.narration)
        .bind(serde_json::json!(shot.references))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A project with what became of it.
#[derive(Debug, Clone)]
pub struct ProjectLine {
    /// The project.
    pub project: Project,
    /// Its latest run's kind and stage, if it has one.
    pub run: Option<(String, String)>,
    /// Where its latest film or preview lies.
    pub video_path: Option<String>,
    /// Known cost, USD.
    pub settled_usd: Usd,
    /// Ceilings of the calls whose outcome is unknown, USD.
    pub unknown_usd: Usd,
    /// What the user rated the film, 1 to 5.
    pub rating: Option<i16>,
}

/// A user's latest projects, newest first.
pub async fn latest(
    connection: &mut PgConnection,
    user_id: &str,
    most: i64,
) -> Result<Vec<ProjectLine>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT chosen.*, run.kind AS run_kind, run.state AS run_state, film.video_path, spent.settled, spent.unknown,
                rated.rating
         FROM (SELECT {COLUMNS} FROM projects WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2) AS chosen
         LEFT JOIN LATERAL (SELECT kind, state FROM runs WHERE project_id = chosen.id
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS run ON true
         LEFT JOIN LATERAL (SELECT video_path FROM runs WHERE project_id = chosen.id AND video_path IS NOT NULL
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS film ON true
         CROSS JOIN LATERAL (SELECT coalesce(sum(settled_usd), 0) AS settled,
                                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) AS unknown
                             FROM charges WHERE project_id = chosen.id) AS spent
         LEFT JOIN LATERAL (SELECT rating FROM project_feedback
                            WHERE project_id = chosen.id AND user_id = chosen.user_id AND shot_id IS NULL
                              AND rating IS NOT NULL AND superseded_at IS NULL
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS rated ON true
         ORDER BY chosen.created_at DESC, chosen.id DESC"
    )))
    .bind(user_id)
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let kind: Option<String> = row.try_get("run_kind")?;
            Ok(ProjectLine {
                project: project(row)?,
                run: kind.zip(row.try_get("run_state")?),
                video_path: row.try_get("video_path")?,
                settled_usd: row.try_get("settled")?,
                unknown_usd: row.try_get("unknown")?,
                rating: row.try_get("rating")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}

/// The number of a shot, from 1.
pub async fn shot_number(
    connection: &mut PgConnection,
    id: ShotId,
) -> Result<Option<u32>, StoreError> {
    let number: Option<i32> = sqlx::query_scalar("SELECT number FROM shots WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(number.and_then(|number| u32::try_from(number).ok()))
}

/// Loads a project's shots with their ids, in order.
pub async fn shots(
    connection: &mut PgConnection,
    id: ProjectId,
) -> Result<Vec<(ShotId, Shot)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, number, image_prompt, motion_prompt, duration_seconds, on_screen_text, narration, \"references\"
         FROM shots WHERE project_id = $1 ORDER BY number",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let references: Value = row.try_get("references")?;
            let shot = Shot {
                number: u32::try_from(row.try_get::<i32, _>("number")?).unwrap_or_default(),
                image_prompt: row.try_get("image_prompt")?,
                motion_prompt: row.try_get("motion_prompt")?,
                duration_seconds: row.try_get::<Decimal, _>("duration_seconds")?.normalize(),
                on_screen_text: row.try_get("on_screen_text")?,
                narration: row.try_get("narration")?,
                references: serde_json::from_value(references).unwrap_or_default(),
            };
            Ok((row.try_get("id")?, shot))
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}
