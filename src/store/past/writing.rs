//! Storing whole projects.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use pgvector::Vector;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{PastFeedback, PastProject, shot_id};
use crate::ids::{CampaignId, ProjectId, ShotId};
use crate::store::StoreError;
use crate::store::embeddings::{
    self, LoadedRow, Loading, Owner, Passage, PassageKind, VECTOR_WIDTH,
};
use crate::studio::storyboard::Shot;

/// The vector that came along for a passage, if one did: its model and its numbers.
pub type CameAlong<'vector> = Option<(&'vector str, &'vector [f32])>;

/// Stores new projects with their passages, in one transaction. Projects that are there already are
/// left alone. Answers which were new.
pub async fn insert(
    connection: &mut PgConnection,
    projects: &[PastProject],
    passages: &[LoadedRow<'_>],
    now: Timestamp,
) -> Result<Vec<ProjectId>, StoreError> {
    let mut transaction = connection.begin().await?;
    let new = insert_projects(&mut transaction, projects).await?;
    let is_new = |id: &ProjectId| new.contains(id);
    let fresh: Vec<&PastProject> = projects.iter().filter(|project| is_new(&project.id)).collect();
    put_shots(&mut transaction, &fresh).await?;
    add_remarks(&mut transaction, &fresh, now).await?;
    let mut loading = Loading::begin(&mut transaction).await?;
    for row in passages.iter().filter(|row| row.project.as_ref().is_some_and(is_new)) {
        loading.push(row).await?;
    }
    loading.finish().await?;
    transaction.commit().await?;
    Ok(new)
}

async fn insert_projects(
    connection: &mut PgConnection,
    projects: &[PastProject],
) -> Result<Vec<ProjectId>, StoreError> {
    let of = |field: fn(&PastProject) -> &str| -> Vec<String> {
        projects.iter().map(|project| field(project).to_owned()).collect()
    };
    let times: Vec<String> =
        projects.iter().map(|project| project.created_at.to_string()).collect();
    let ids: Vec<ProjectId> = projects.iter().map(|project| project.id).collect();
    let scripts: Vec<Option<Value>> =
        projects.iter().map(|project| project.script.clone()).collect();
    let authors: Vec<Option<String>> =
        projects.iter().map(|project| project.script_author.clone()).collect();
    let lengths: Vec<Decimal> = projects.iter().map(|project| project.duration_seconds).collect();
    let counts: Vec<i32> = projects.iter().map(|project| project.shot_count).collect();
    let new: Vec<ProjectId> = sqlx::query_scalar(
        "INSERT INTO projects (id, user_id, brief, title, slug, script, script_author, aspect, duration_seconds,
                               shot_count, created_at, updated_at)
         SELECT new.id, new.user_id, new.brief, new.title, new.slug, new.script, new.author, new.aspect, new.seconds,
                new.shots, new.created_at::timestamptz, new.created_at::timestamptz
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
                     $9::numeric[], $10::integer[], $11::text[])
              AS new (id, user_id, brief, title, slug, script, author, aspect, seconds, shots, created_at)
         ON CONFLICT (id) DO NOTHING RETURNING id",
    )
    .bind(&ids)
    .bind(of(|project| &project.user_id))
    .bind(of(|project| &project.brief))
    .bind(of(|project| &project.title))
    .bind(of(|project| &project.slug))
    .bind(&scripts)
    .bind(&authors)
    .bind(of(|project| &project.aspect))
    .bind(&lengths)
    .bind(&counts)
    .bind(&times)
    .fetch_all(&mut *connection)
    .await?;
    let (made, sources): (Vec<ProjectId>, Vec<ProjectId>) = projects
        .iter()
        .filter(|project| new.contains(&project.id))
        .filter_map(|project| Some((project.id, project.source_project?)))
        .unzip();
    if !made.is_empty() {
        sqlx::query(
            "UPDATE projects SET source_project = new.source
             FROM unnest($1::uuid[], $2::uuid[]) AS new (id, source)
             WHERE projects.id = new.id
               AND EXISTS (SELECT FROM projects AS other
                           WHERE other.id = new.source AND other.user_id = projects.user_id)",
        )
        .bind(&made)
        .bind(&sources)
        .execute(connection)
        .await?;
    }
    Ok(new)
}

/// Brings a project's own words in line with `project`, for one of which nothing was made here, and its
/// passages with the given ones and what came along for each, all in one transaction. A vector of `kept_model` that is there already stays where the text is the same.
pub async fn update(
    connection: &mut PgConnection,
    project: &PastProject,
    passages: &[Passage],
    came: &[CameAlong<'_>],
    kept_model: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "UPDATE projects SET brief = $2, title = $3, slug = $4, script = $5, script_author = $6, aspect = $7,
                             duration_seconds = $8, shot_count = $9, created_at = $10, updated_at = $11,
                             source_project = (SELECT id FROM projects AS other
                                               WHERE other.id = $12 AND other.user_id = projects.user_id)
         WHERE id = $1",
    )
    .bind(project.id)
    .bind(&project.brief)
    .bind(&project.title)
    .bind(&project.slug)
    .bind(&project.script)
    .bind(&project.script_author)
    .bind(&project.aspect)
    .bind(project.duration_seconds)
    .bind(project.shot_count)
    .bind(project.created_at.to_sqlx())
    .bind(now.to_sqlx())
    .bind(project.source_project)
    .execute(&mut *transaction)
    .await?;
    let last = i32::try_from(project.shots.len()).unwrap_or(i32::MAX);
    sqlx::query("DELETE FROM shots WHERE project_id = $1 AND number > $2")
        .bind(project.id)
        .bind(last)
        .execute(&mut *transaction)
        .await?;
    put_shots(&mut transaction, &[project]).await?;
    add_remarks(&mut transaction, &[project], now).await?;
    put_passages(&mut transaction, project, passages, came, kept_model, now).await?;
    transaction.commit().await?;
    Ok(())
}

/// The words first, then the vectors that came along, model by model.
async fn put_passages(
    connection: &mut PgConnection,
    project: &PastProject,
    passages: &[Passage],
    came: &[CameAlong<'_>],
    kept_model: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (user, owner) = (&project.user_id, Owner::Project(project.id));
    let words: Vec<_> = passages.iter().map(|passage| (passage, None)).collect();
    embeddings::keep(connection, user, owner, passages, &words, kept_model, now).await?;
    let kept: HashSet<(PassageKind, Uuid, i32)> = embeddings::stored(connection, owner)
        .await?
        .into_iter()
        .filter(|stored| stored.model.as_deref() == Some(kept_model))
        .map(|stored| (stored.kind, stored.subject, stored.part))
        .collect();
    let mut by_model: BTreeMap<&str, Vec<(&Passage, Option<Vector>)>> = BTreeMap::new();
    for (passage, came) in passages.iter().zip(came) {
        if let Some((model, numbers)) = came
            && (*model == kept_model
                || !kept.contains(&(passage.kind, passage.subject, passage.part)))
        {
            let mut padded = numbers.to_vec();
            padded.resize(VECTOR_WIDTH, 0.0);
            by_model.entry(model).or_default().push((passage, Some(Vector::from(padded))));
        }
    }
    for (model, changed) in by_model {
        embeddings::keep(connection, user, owner, passages, &changed, model, now).await?;
    }
    Ok(())
}

async fn put_shots(
    connection: &mut PgConnection,
    projects: &[&PastProject],
) -> Result<(), StoreError> {
    let shots: Vec<(ProjectId, &Shot)> = projects
        .iter()
        .flat_map(|project| project.shots.iter().map(|shot| (project.id, shot)))
        .collect();
    let of = |field: fn(&Shot) -> &str| -> Vec<String> {
        shots.iter().map(|(_, shot)| field(shot).to_owned()).collect()
    };
    let ids: Vec<ShotId> =
        shots.iter().map(|(project, shot)| shot_id(*project, shot.number)).collect();
    let owners: Vec<ProjectId> = shots.iter().map(|(project, _)| *project).collect();
    let numbers: Vec<i32> =
        shots.iter().map(|(_, shot)| i32::try_from(shot.number).unwrap_or(i32::MAX)).collect();
    let lengths: Vec<Decimal> = shots.iter().map(|(_, shot)| shot.duration_seconds).collect();
    let references: Vec<Value> =
        shots.iter().map(|(_, shot)| serde_json::json!(shot.references)).collect();
    sqlx::query(
        "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds, on_screen_text,
                            narration, \"references\")
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::numeric[],
                              $7::text[], $8::text[], $9::jsonb[])
         ON CONFLICT (project_id, number) DO UPDATE SET
             image_prompt = excluded.image_prompt, motion_prompt = excluded.motion_prompt,
             duration_seconds = excluded.duration_seconds, on_screen_text = excluded.on_screen_text,
             narration = excluded.narration, \"references\" = excluded.\"references\"",
    )
    .bind(&ids)
    .bind(&owners)
    .bind(&numbers)
    .bind(of(|shot| &shot.image_prompt))
    .bind(of(|shot| &shot.motion_prompt))
    .bind(&lengths)
    .bind(of(|shot| &shot.on_screen_text))
    .bind(of(|shot| &shot.narration))
    .bind(&references)
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds campaigns and what was said, where they are not there yet; takes nothing away.
pub async fn add_remarks(
    connection: &mut PgConnection,
    projects: &[&PastProject],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut owners = Vec::new();
    let mut names = Vec::new();
    let mut members = Vec::new();
    for project in projects {
        for name in &project.campaigns {
            owners.push(project.user_id.clone());
            names.push(name.clone());
            members.push(project.id);
        }
    }
    if !members.is_empty() {
        let ids: Vec<CampaignId> = members.iter().map(|_| CampaignId::new()).collect();
        sqlx::query(
            "INSERT INTO campaigns (id, user_id, name, created_at, updated_at)
             SELECT id, user_id, name, $4, $4 FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, user_id, name)
             ON CONFLICT (user_id, lower(name)) DO NOTHING",
        )
        .bind(&ids)
        .bind(&owners)
        .bind(&names)
        .bind(now.to_sqlx())
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "INSERT INTO project_campaigns (project_id, campaign_id, added_at)
             SELECT new.id, campaigns.id, projects.created_at
             FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, user_id, name)
             JOIN campaigns ON campaigns.user_id = new.user_id AND lower(campaigns.name) = lower(new.name)
             JOIN projects ON projects.id = new.id
             ON CONFLICT DO NOTHING",
        )
        .bind(&members)
        .bind(&owners)
        .bind(&names)
        .execute(&mut *connection)
        .await?;
    }
    let said: Vec<(&PastProject, &PastFeedback)> = projects
        .iter()
        .flat_map(|project| project.feedback.iter().map(move |said| (*project, said)))
        .collect();
    if said.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = said.iter().map(|_| Uuid::now_v7()).collect();
    let about: Vec<ProjectId> = said.iter().map(|(project, _)| project.id).collect();
    let shots: Vec<Option<i32>> = said
        .iter()
        .map(|(_, said)| said.shot.and_then(|number| i32::try_from(number).ok()))
        .collect();
    let users: Vec<String> = said.iter().map(|(project, _)| project.user_id.clone()).collect();
    let ratings: Vec<Option<i16>> = said.iter().map(|(_, said)| said.rating).collect();
    let notes: Vec<String> = said.iter().map(|(_, said)| said.note.clone()).collect();
    let times: Vec<String> = said.iter().map(|(_, said)| said.created_at.to_string()).collect();
    sqlx::query(
        "INSERT INTO project_feedback (id, project_id, shot_id, user_id, rating, note, created_at)
         SELECT new.id, new.project_id, shots.id, new.user_id, new.rating, new.note, new.created_at::timestamptz
         FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::smallint[], $6::text[], $7::text[])
              AS new (id, project_id, shot, user_id, rating, note, created_at)
         LEFT JOIN shots ON shots.project_id = new.project_id AND shots.number = new.shot
         WHERE NOT EXISTS (
             SELECT FROM project_feedback AS kept
             WHERE kept.project_id = new.project_id AND kept.shot_id IS NOT DISTINCT FROM shots.id
               AND kept.rating IS NOT DISTINCT FROM new.rating AND kept.note = new.note
               AND kept.created_at = new.created_at::timestamptz)",
    )
    .bind(&ids)
    .bind(&about)
    .bind(&shots)
    .bind(&users)
    .bind(&ratings)
    .bind(&notes)
    .bind(&times)
    .execute(&mut *connection)
    .await?;
    supersede(connection, &about).await
}

/// A later rating of the same thing counts instead of an earlier one, in whatever order they came.
async fn supersede(
    connection: &mut PgConnection,
    projects: &[ProjectId],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE project_feedback AS said SET superseded_at = later.created_at
         FROM (SELECT id, lead(created_at) OVER (PARTITION BY project_id, shot_id, user_id
                                                 ORDER BY created_at, id) AS created_at
               FROM project_feedback WHERE rating IS NOT NULL AND project_id = ANY ($1)) AS later
         WHERE later.id = said.id AND said.superseded_at IS DISTINCT FROM later.created_at",
    )
    .bind(projects)
    .execute(connection)
    .await?;
    Ok(())
}
