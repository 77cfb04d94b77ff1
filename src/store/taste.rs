//! What taste is learnt from: a user's films with their shots, ratings, notes and retakes.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::ids::{CampaignId, FeedbackId, ProjectId, RunId, ShotId};
use crate::store::StoreError;

/// How many of a user's latest films are looked at.
const MOST_FILMS: i64 = 300;

/// Everything that a user's taste is learnt from.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// The user's films that have shots, the oldest first.
    pub films: Vec<Film>,
    /// The ratings that count, and the notes.
    pub feedback: Vec<Said>,
    /// Shots that were taken again.
    pub retakes: Vec<Retaken>,
}

/// A film.
#[derive(Debug, Clone)]
pub struct Film {
    /// The project.
    pub project: ProjectId,
    /// The campaigns that it is in.
    pub campaigns: Vec<CampaignId>,
    /// The user's words.
    pub brief: String,
    /// Whether a film, and no preview, was finished.
    pub is_finished: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its shots in order.
    pub shots: Vec<FilmShot>,
}

/// A shot of it.
#[derive(Debug, Clone)]
pub struct FilmShot {
    /// Its id.
    pub id: ShotId,
    /// Its place in the film, from 1.
    pub number: i32,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// What moves.
    pub motion_prompt: String,
    /// How long it stands, in seconds.
    pub seconds: Decimal,
    /// Whether it has words on the screen.
    pub has_text: bool,
    /// Whether a voice speaks.
    pub has_voice: bool,
}

/// A rating, a note, or both. A later rating of the same thing takes the place of the rating alone:
/// the words of an earlier note stay said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its id.
    pub id: FeedbackId,
    /// The film.
    pub project: ProjectId,
    /// The shot; none for the whole film.
    pub shot: Option<ShotId>,
    /// 1 to 5; none where there was none, or where another one counts by now.
    pub rating: Option<u8>,
    /// The user's words; empty for none.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// A shot that was taken again.
#[derive(Debug, Clone, Copy)]
pub struct Retaken {
    /// The film.
    pub project: ProjectId,
    /// The shot's number, from 1.
    pub shot: i32,
    /// Whether something new was bought; otherwise an earlier take was used again.
    pub was_bought: bool,
    /// When.
    pub at: Timestamp,
}

type SaidRow = (FeedbackId, ProjectId, Option<ShotId>, Option<i16>, String, jiff_sqlx::Timestamp);
type ShotRow = (ProjectId, ShotId, i32, String, String, Decimal, bool, bool);

/// Lets one process at a time learn or forget a user's taste, until the transaction ends.
pub async fn lock(connection: &mut PgConnection, user_id: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('aida taste ' || $1))")
        .bind(user_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Waits until nobody learns or forgets the taste of a run's user, and keeps it so until the
/// transaction ends: a process that takes a run over then reads what is known after that, and whoever
/// forgets sees that the run is being made.
pub async fn wait_for_run(connection: &mut PgConnection, run: RunId) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock_shared(hashtext('aida taste ' || user_id)) FROM runs WHERE id = $1",
    )
    .bind(run)
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads what a user's taste is learnt from. `after` leaves out what was observed before.
pub async fn material(
    connection: &mut PgConnection,
    user_id: &str,
    after: Option<Timestamp>,
) -> Result<Material, StoreError> {
    let after = after.map(ToSqlx::to_sqlx);
    let mut films: Vec<Film> =
        sqlx::query_as::<_, (ProjectId, Vec<CampaignId>, String, bool, jiff_sqlx::Timestamp)>(
            "SELECT id, ARRAY(SELECT campaign_id FROM project_campaigns
                              WHERE project_id = projects.id ORDER BY campaign_id),
                    brief,
                    EXISTS (SELECT FROM runs WHERE project_id = projects.id AND kind = 'film' AND state = 'done'),
                    created_at
             FROM projects
             WHERE user_id = $1 AND EXISTS (SELECT FROM shots WHERE project_id = projects.id)
             ORDER BY created_at DESC, id DESC LIMIT $2",
        )
        .bind(user_id)
        .bind(MOST_FILMS)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .map(|(project, campaigns, brief, is_finished, created_at)| Film {
            project,
            campaigns,
            brief,
            is_finished,
            created_at: created_at.to_jiff(),
            shots: Vec::new(),
        })
        .collect();
    films.reverse();
    let ids: Vec<ProjectId> = films.iter().map(|film| film.project).collect();
    let places: HashMap<ProjectId, usize> =
        ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let shots: Vec<ShotRow> = sqlx::query_as(
        "SELECT project_id, id, number, image_prompt, motion_prompt, duration_seconds,
                on_screen_text <> '', narration <> ''
         FROM shots WHERE project_id = ANY ($1) ORDER BY project_id, number",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    for (project, id, number, image_prompt, motion_prompt, seconds, has_text, has_voice) in shots {
        if let Some(film) = places.get(&project).and_then(|&place| films.get_mut(place)) {
            film.shots.push(FilmShot {
                id,
                number,
                image_prompt,
                motion_prompt,
                seconds,
                has_text,
                has_voice,
            });
        }
    }
    let feedback = sqlx::query_as::<_, SaidRow>(
        // Who says the same once more has said it once.
        "SELECT id, project_id, shot_id, CASE WHEN superseded_at IS NULL THEN rating END, note, created_at
         FROM project_feedback AS said
         WHERE user_id = $1 AND project_id = ANY ($2)
           AND (superseded_at IS NULL
                OR note <> '' AND NOT EXISTS (
                    SELECT FROM project_feedback AS later
                    WHERE later.user_id = said.user_id AND later.project_id = said.project_id
                      AND later.shot_id IS NOT DISTINCT FROM said.shot_id AND later.note = said.note
                      AND (later.created_at, later.id) > (said.created_at, said.id)))
           AND ($3::timestamptz IS NULL OR created_at > $3)
         ORDER BY created_at, id",
    )
    .bind(user_id)
    .bind(&ids)
    .bind(after)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|(id, project, shot, rating, note, at)| Said {
        id,
        project,
        shot,
        rating: rating.and_then(|rating| u8::try_from(rating).ok()),
        note,
        at: at.to_jiff(),
    })
    .collect();
    let retakes = sqlx::query_as::<_, (ProjectId, i32, bool, jiff_sqlx::Timestamp)>(
        "SELECT project_id, (options -> 'retake' ->> 'shot')::integer,
                coalesce((options -> 'retake' ->> 'image')::boolean, false)
                    OR coalesce((options -> 'retake' ->> 'clip')::boolean, false),
                created_at
         FROM runs
         WHERE user_id = $1 AND project_id = ANY ($2) AND options ->> 'retake' IS NOT NULL
           AND state IN ('done', 'partial') AND ($3::timestamptz IS NULL OR created_at > $3)
         ORDER BY created_at, id",
    )
    .bind(user_id)
    .bind(&ids)
    .bind(after)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(project, shot, was_bought, at)| Retaken { project, shot, was_bought, at: at.to_jiff() })
    .collect();
    if let Some(after) = after {
        films.retain_mut(|film| {
            // An older film still has its shots to compare with; its brief is forgotten.
            if film.created_at <= after.to_jiff() {
                film.brief.clear();
                film.is_finished = false;
            }
            true
        });
    }
    Ok(Material { films, feedback, retakes })
}
