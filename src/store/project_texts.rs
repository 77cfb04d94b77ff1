//! What a project says: its own words for the memory to keep, and a short account of it for
//! the memory to tell.

use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::ids::{CampaignId, ProjectId, ShotId, TakeId};
use crate::ledger::operation::OperationKind;
use crate::store::StoreError;

/// What a project consists of, as far as it can be remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectText {
    /// Who owns it.
    pub user_id: String,
    /// The user's words.
    pub brief: String,
    /// The title; empty before there is a script.
    pub title: String,
    /// The script as stored.
    pub script: Option<serde_json::Value>,
    /// The shots by their number.
    pub shots: Vec<ShotText>,
    /// The kept images and clips of the shots, the oldest first.
    pub takes: Vec<TakeText>,
}

/// What a shot shows and says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShotText {
    /// Its id.
    pub id: ShotId,
    /// Its place in the film, from 1.
    pub number: i32,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// What moves in the clip.
    pub motion_prompt: String,
    /// Words for the screen; empty for none.
    pub on_screen_text: String,
    /// What a voice would say over it; empty for none.
    pub narration: String,
}

/// A kept image or clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeText {
    /// Its id.
    pub id: TakeId,
    /// The shot that it is of.
    pub shot: ShotId,
    /// Image or clip.
    pub kind: OperationKind,
}

/// Reads what can be remembered of a project, if it exists.
pub async fn project_text(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Option<ProjectText>, StoreError> {
    let Some((user_id, brief, title, script)) = sqlx::query_as::<_, (String, String, String, _)>(
        "SELECT user_id, brief, title, script FROM projects WHERE id = $1",
    )
    .bind(project)
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(None);
    };
    let shots = sqlx::query_as::<_, (ShotId, i32, String, String, String, String)>(
        "SELECT id, number, image_prompt, motion_prompt, on_screen_text, narration
         FROM shots WHERE project_id = $1 ORDER BY number",
    )
    .bind(project)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|(id, number, image_prompt, motion_prompt, on_screen_text, narration)| ShotText {
        id,
        number,
        image_prompt,
        motion_prompt,
        on_screen_text,
        narration,
    })
    .collect();
    let takes = sqlx::query_as::<_, (TakeId, ShotId, bool)>(
        "SELECT id, shot_id, kind = 'clip' FROM takes WHERE project_id = $1 ORDER BY id",
    )
    .bind(project)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(id, shot, is_clip)| {
        let kind = if is_clip { OperationKind::Clip } else { OperationKind::Image };
        TakeText { id, shot, kind }
    })
    .collect();
    Ok(Some(ProjectText { user_id, brief, title, script, shots, takes }))
}

/// A short account of a finished or planned project.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ProjectAccount {
    /// Its id.
    pub id: ProjectId,
    /// Its title; empty before there is a script.
    pub title: String,
    /// The user's words.
    pub brief: String,
    /// The film in one sentence; empty before there is a script.
    pub logline: String,
    /// The mean of its ratings, 1 to 5.
    pub mean_rating: Option<Decimal>,
    /// How many ratings there are.
    pub ratings: i64,
    /// What the user remarked, the newest first, at most three. A later rating takes no words back.
    pub notes: Vec<String>,
    /// What its first shots show, at most three.
    pub shots: Vec<String>,
}

macro_rules! account_columns {
    () => {
        "projects.id, projects.title, projects.brief, coalesce(projects.script ->> 'logline', '') AS logline,
         (SELECT round(avg(rating), 1) FROM project_feedback
          WHERE project_id = projects.id AND shot_id IS NULL AND superseded_at IS NULL) AS mean_rating,
         (SELECT count(rating) FROM project_feedback
          WHERE project_id = projects.id AND shot_id IS NULL AND superseded_at IS NULL) AS ratings,
         ARRAY(SELECT note FROM project_feedback WHERE project_id = projects.id AND note <> ''
               ORDER BY created_at DESC, id LIMIT 3) AS notes,
         ARRAY(SELECT image_prompt FROM shots WHERE project_id = projects.id
               ORDER BY number LIMIT 3) AS shots"
    };
}

/// Short accounts of projects, in no particular order.
pub async fn accounts(
    connection: &mut PgConnection,
    projects: &[ProjectId],
) -> Result<Vec<ProjectAccount>, StoreError> {
    Ok(sqlx::query_as(concat!("SELECT ", account_columns!(), " FROM projects WHERE id = ANY ($1)"))
        .bind(projects)
        .fetch_all(connection)
        .await?)
}

/// Short accounts of the projects that joined a campaign last, the latest first.
pub async fn accounts_of_campaign(
    connection: &mut PgConnection,
    campaign: CampaignId,
    at_most: i64,
) -> Result<Vec<ProjectAccount>, StoreError> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        account_columns!(),
        " FROM projects JOIN project_campaigns ON project_campaigns.project_id = projects.id
         WHERE project_campaigns.campaign_id = $1
         ORDER BY project_campaigns.added_at DESC, projects.id LIMIT $2"
    ))
    .bind(campaign)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}
