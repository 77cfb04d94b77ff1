//! Whole projects at once, as they are carried from one database to another: what was made of them
//! here (runs, takes, charges) stays behind.

mod writing;

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use pgvector::Vector;
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{CampaignId, ProjectId, ShotId};
use crate::store::StoreError;
use crate::store::embeddings::PassageKind;
use crate::studio::storyboard::Shot;

pub use writing::{CameAlong, add_remarks, insert, update};

/// A project with everything that a person wrote or said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastProject {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub user_id: String,
    /// What was asked for.
    pub brief: String,
    /// The film's title; may be empty.
    pub title: String,
    /// The brief as a part of a file name.
    pub slug: String,
    /// The script as JSON.
    pub script: Option<Value>,
    /// The model that wrote it, or who else did.
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
    /// Its shots, by their number.
    pub shots: Vec<Shot>,
    /// What was said about it, the oldest first.
    pub feedback: Vec<PastFeedback>,
    /// The names of its campaigns, sorted.
    pub campaigns: Vec<String>,
}

/// What somebody said about a project or one of its shots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PastFeedback {
    /// When.
    pub created_at: Timestamp,
    /// The number of the shot, if it is about one.
    pub shot: Option<u32>,
    /// 1 to 5.
    pub rating: Option<i16>,
    /// In words; may be empty.
    pub note: String,
}

/// A vector of a passage of a project.
#[derive(Debug, Clone)]
pub struct PastVector {
    /// The project.
    pub project: ProjectId,
    /// What the passage is taken from.
    pub kind: PassageKind,
    /// The number of the shot, of a shot's passage.
    pub shot: Option<u32>,
    /// Which part of a long text, from 0.
    pub part: i32,
    /// The text.
    pub content: String,
    /// The model.
    pub model: String,
    /// The vector, padded.
    pub embedding: Vector,
}

/// Which projects are read.
#[derive(Debug, Clone, Default)]
pub struct PastScope {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only those of this campaign.
    pub campaign: Option<CampaignId>,
}

/// The id of a shot of a project that was made elsewhere: the same every time.
pub fn shot_id(project: ProjectId, number: u32) -> ShotId {
    ShotId::from_uuid(made_of(&["shot", &project.to_string(), &number.to_string()]))
}

/// An id made of texts: the same texts make the same id.
pub fn made_of(texts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const COLUMNS: &str = "id, user_id, brief, title, slug, script, script_author, aspect, duration_seconds, \
                       shot_count, source_project, created_at";

#[derive(sqlx::FromRow)]
struct ProjectRow {
    id: ProjectId,
    user_id: String,
    brief: String,
    title: String,
    slug: String,
    script: Option<Value>,
    script_author: Option<String>,
    aspect: String,
    duration_seconds: Decimal,
    shot_count: i32,
    source_project: Option<ProjectId>,
    created_at: jiff_sqlx::Timestamp,
}

/// Reads projects, the oldest first, after one of them.
pub async fn page(
    connection: &mut PgConnection,
    scope: &PastScope,
    after: Option<(Timestamp, ProjectId)>,
    at_most: i64,
) -> Result<Vec<PastProject>, StoreError> {
    let (time, id) = after.unzip();
    let rows: Vec<ProjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM projects
         WHERE ($1::text IS NULL OR user_id = $1)
           AND ($2::uuid IS NULL OR id IN (SELECT project_id FROM project_campaigns WHERE campaign_id = $2))
           AND ($3::timestamptz IS NULL OR (created_at, id) > ($3, $4::uuid))
         ORDER BY created_at, id LIMIT $5"
    )))
    .bind(&scope.user_id)
    .bind(scope.campaign)
    .bind(time.map(ToSqlx::to_sqlx))
    .bind(id)
    .bind(at_most)
    .fetch_all(&mut *connection)
    .await?;
    whole(connection, rows).await
}

/// Reads projects by id, in no particular order.
pub async fn by_ids(
    connection: &mut PgConnection,
    ids: &[ProjectId],
) -> Result<Vec<PastProject>, StoreError> {
    let rows: Vec<ProjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM projects WHERE id = ANY ($1)"
    )))
    .bind(ids)
    .fetch_all(&mut *connection)
    .await?;
    whole(connection, rows).await
}

async fn whole(
    connection: &mut PgConnection,
    rows: Vec<ProjectRow>,
) -> Result<Vec<PastProject>, StoreError> {
    type ShotRow = (ProjectId, i32, String, String, Decimal, String, String, Value);
    type FeedbackRow = (ProjectId, jiff_sqlx::Timestamp, Option<i32>, Option<i16>, String);
    let ids: Vec<ProjectId> = rows.iter().map(|row| row.id).collect();
    let mut shots: HashMap<ProjectId, Vec<Shot>> = HashMap::new();
    let shot_rows: Vec<ShotRow> = sqlx::query_as(
        "SELECT project_id, number, image_prompt, motion_prompt, duration_seconds, on_screen_text, narration, \"references\"
         FROM shots WHERE project_id = ANY ($1) ORDER BY project_id, number",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    for (
        project,
        number,
        image_prompt,
        motion_prompt,
        seconds,
        on_screen_text,
        narration,
        references,
    ) in shot_rows
    {
        shots.entry(project).or_default().push(Shot {
            number: u32::try_from(number).unwrap_or_default(),
            image_prompt,
            motion_prompt,
            duration_seconds: seconds.normalize(),
            on_screen_text,
            narration,
            references: serde_json::from_value(references).unwrap_or_default(),
        });
    }
    let mut feedback: HashMap<ProjectId, Vec<PastFeedback>> = HashMap::new();
    let feedback_rows: Vec<FeedbackRow> = sqlx::query_as(
        "SELECT said.project_id, said.created_at, shots.number, said.rating, said.note
         FROM project_feedback AS said LEFT JOIN shots ON shots.id = said.shot_id
         WHERE said.project_id = ANY ($1)",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    for (project, created_at, shot, rating, note) in feedback_rows {
        let shot = shot.and_then(|number| u32::try_from(number).ok());
        let said = PastFeedback { created_at: created_at.to_jiff(), shot, rating, note };
        feedback.entry(project).or_default().push(said);
    }
    let mut campaigns: HashMap<ProjectId, Vec<String>> = HashMap::new();
    let campaign_rows: Vec<(ProjectId, String)> = sqlx::query_as(
        "SELECT member.project_id, campaigns.name FROM project_campaigns AS member
         JOIN campaigns ON campaigns.id = member.campaign_id WHERE member.project_id = ANY ($1)",
    )
    .bind(&ids)
    .fetch_all(connection)
    .await?;
    for (project, name) in campaign_rows {
        campaigns.entry(project).or_default().push(name);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut feedback = feedback.remove(&row.id).unwrap_or_default();
            feedback.sort();
            let mut campaigns = campaigns.remove(&row.id).unwrap_or_default();
            campaigns.sort();
            PastProject {
                shots: shots.remove(&row.id).unwrap_or_default(),
                feedback,
                campaigns,
                id: row.id,
                user_id: row.user_id,
                brief: row.brief,
                title: row.title,
                slug: row.slug,
                script: row.script,
                script_author: row.script_author,
                aspect: row.aspect,
                duration_seconds: row.duration_seconds.normalize(),
                shot_count: row.shot_count,
                source_project: row.source_project,
                created_at: row.created_at.to_jiff(),
            }
        })
        .collect())
}

/// Which of these projects something was made of here.
pub async fn made_here(
    connection: &mut PgConnection,
    ids: &[ProjectId],
) -> Result<Vec<ProjectId>, StoreError> {
    Ok(sqlx::query_scalar("SELECT DISTINCT project_id FROM runs WHERE project_id = ANY ($1)")
        .bind(ids)
        .fetch_all(connection)
        .await?)
}

/// The vectors of projects' own texts: not of their takes, which stay behind.
pub async fn vectors(
    connection: &mut PgConnection,
    ids: &[ProjectId],
) -> Result<Vec<PastVector>, StoreError> {
    type Row = (ProjectId, String, Option<i32>, i32, String, String, Vector);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT passage.project_id, passage.kind, shots.number, passage.part, passage.content, passage.model,
                passage.embedding
         FROM project_embeddings AS passage
         LEFT JOIN shots ON passage.kind = 'shot' AND shots.id = passage.subject_id
         WHERE passage.project_id = ANY ($1) AND passage.model IS NOT NULL
           AND passage.kind IN ('project', 'script', 'shot')
         ORDER BY passage.project_id, passage.kind, shots.number, passage.part",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(project, kind, shot, part, content, model, embedding)| {
            let kind = crate::store::embeddings::kind_from(&kind)?;
            let shot = shot.and_then(|number| u32::try_from(number).ok());
            Ok(PastVector { project, kind, shot, part, content, model, embedding })
        })
        .collect()
}
