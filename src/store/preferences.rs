//! What aida believes the user likes, what that rests on, and what it must not believe again.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{CampaignId, FeedbackId, PreferenceId, ProjectId, ShotId};
use crate::store::StoreError;

/// Something that the user likes or wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// Its id.
    pub id: PreferenceId,
    /// The campaign for which it holds; none for everything that the user makes.
    pub campaign: Option<CampaignId>,
    /// It, as a sentence.
    pub statement: String,
    /// What tells its matter from others.
    pub topic: String,
    /// How many signs speak for it.
    pub support: i32,
    /// How many speak against it.
    pub contradictions: i32,
    /// Whether the user set it in so many words.
    pub pinned: bool,
    /// When it was first believed.
    pub created_at: Timestamp,
    /// When it was last seen to be so.
    pub updated_at: Timestamp,
    /// What it rests on, as far as its strength is concerned.
    pub signs: Vec<Sign>,
}

/// A piece of evidence as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// Whether it speaks for the preference.
    pub supports: bool,
    /// Its weight when fresh, in thousandths of a plain rating.
    pub weight: i32,
    /// When it was observed.
    pub at: Timestamp,
}

type Row = (
    PreferenceId,
    Option<CampaignId>,
    String,
    String,
    i32,
    i32,
    bool,
    jiff_sqlx::Timestamp,
    jiff_sqlx::Timestamp,
);

/// Every preference of a user, what was set first, then by statement. The order is the same on
/// every call.
pub async fn all(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<Preference>, StoreError> {
    let mut preferences: Vec<Preference> = sqlx::query_as::<_, Row>(
        "SELECT id, campaign_id, statement, topic, support, contradictions, pinned, created_at, updated_at
         FROM user_preferences WHERE user_id = $1
         ORDER BY pinned DESC, CASE WHEN pinned THEN created_at END, statement, id",
    )
    .bind(user_id)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|(id, campaign, statement, topic, support, contradictions, pinned, created, updated)| {
        Preference {
            id,
            campaign,
            statement,
            topic,
            support,
            contradictions,
            pinned,
            created_at: created.to_jiff(),
            updated_at: updated.to_jiff(),
            signs: Vec::new(),
        }
    })
    .collect();
    let signs: Vec<(PreferenceId, bool, i32, jiff_sqlx::Timestamp)> = sqlx::query_as(
        "SELECT preference_id, supports, weight, observed_at FROM preference_evidence
         JOIN user_preferences ON user_preferences.id = preference_id
         WHERE user_id = $1 ORDER BY preference_id, observed_at, preference_evidence.id",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    let mut by_id: HashMap<PreferenceId, Vec<Sign>> = HashMap::new();
    for (id, supports, weight, at) in signs {
        by_id.entry(id).or_default().push(Sign { supports, weight, at: at.to_jiff() });
    }
    for preference in &mut preferences {
        preference.signs = by_id.remove(&preference.id).unwrap_or_default();
    }
    Ok(preferences)
}

/// A belief as it is stored.
#[derive(Debug, Clone)]
pub struct NewPreference {
    /// The campaign for which it holds.
    pub campaign: Option<CampaignId>,
    /// It, as a sentence.
    pub statement: String,
    /// What tells its matter from others.
    pub topic: String,
    /// What it rests on.
    pub evidence: Vec<NewEvidence>,
}

/// A piece of evidence as it is stored.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    /// `note`, `rating`, `retake`, `kept` or `brief`.
    pub kind: &'static str,
    /// Whether it speaks for the preference.
    pub supports: bool,
    /// Its weight when fresh, in thousandths of a plain rating.
    pub weight: i32,
    /// The film.
    pub project: ProjectId,
    /// The shot, where it is about one.
    pub shot: Option<ShotId>,
    /// The rating or note.
    pub feedback: Option<FeedbackId>,
    /// What the user wrote, or where it was seen.
    pub words: String,
    /// When it was observed.
    pub at: Timestamp,
}

/// Makes a user's learnt preferences these and no others. Those that stay keep their ids; what
/// the user set is left alone. To be called in a transaction.
pub async fn replace_learnt(
    connection: &mut PgConnection,
    user_id: &str,
    preferences: &[NewPreference],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut kept: Vec<PreferenceId> = Vec::with_capacity(preferences.len());
    for preference in preferences {
        let count = |supports| {
            let all = preference.evidence.iter().filter(|one| one.supports == supports).count();
            i32::try_from(all).unwrap_or(i32::MAX)
        };
        let latest = preference.evidence.iter().map(|one| one.at).max().unwrap_or(now);
        let id: PreferenceId = sqlx::query_scalar(
            "INSERT INTO user_preferences AS known
                 (id, user_id, campaign_id, statement, topic, support, contradictions, pinned, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, false, $8, $9)
             ON CONFLICT (user_id, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), topic)
             DO UPDATE SET statement = excluded.statement, support = excluded.support,
                           contradictions = excluded.contradictions, updated_at = excluded.updated_at
             RETURNING id",
        )
        .bind(PreferenceId::new())
        .bind(user_id)
        .bind(preference.campaign)
        .bind(&preference.statement)
        .bind(&preference.topic)
        .bind(count(true))
        .bind(count(false))
        .bind(now.to_sqlx())
        .bind(latest.to_sqlx())
        .fetch_one(&mut *connection)
        .await?;
        sqlx::query("DELETE FROM preference_evidence WHERE preference_id = $1")
            .bind(id)
            .execute(&mut *connection)
            .await?;
        insert_evidence(connection, id, &preference.evidence).await?;
        kept.push(id);
    }
    sqlx::query(
        "DELETE FROM user_preferences
         WHERE user_id = $1 AND NOT pinned AND (topic LIKE 'trait:%' OR topic LIKE 'words:%') AND id <> ALL ($2)",
    )
    .bind(user_id)
    .bind(&kept)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_evidence(
    connection: &mut PgConnection,
    preference: PreferenceId,
    evidence: &[NewEvidence],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = evidence.iter().map(|_| Uuid::now_v7()).collect();
    let times: Vec<jiff_sqlx::Timestamp> = evidence.iter().map(|one| one.at.to_sqlx()).collect();
    sqlx::query(
        "INSERT INTO preference_evidence
             (id, preference_id, kind, supports, weight, project_id, shot_id, feedback_id, words, observed_at)
         SELECT id, $2, kind, supports, weight, project_id, shot_id, feedback_id, words, observed_at
         FROM unnest($1::uuid[], $3::text[], $4::boolean[], $5::integer[], $6::uuid[], $7::uuid[], $8::uuid[],
                     $9::text[], $10::timestamptz[])
              AS row (id, kind, supports, weight, project_id, shot_id, feedback_id, words, observed_at)",
    )
    .bind(&ids)
    .bind(preference)
    .bind(evidence.iter().map(|one| one.kind).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.supports).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.weight).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.project).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.shot).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.feedback).collect::<Vec<_>>())
    .bind(evidence.iter().map(|one| one.words.as_str()).collect::<Vec<_>>())
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps what the user set. Setting the same again changes its words alone. Answers its id.
pub async fn pin(
    connection: &mut PgConnection,
    user_id: &str,
    campaign: Option<CampaignId>,
    statement: &str,
    topic: &str,
    now: Timestamp,
) -> Result<PreferenceId, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO user_preferences AS known
             (id, user_id, campaign_id, statement, topic, support, pinned, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 1, true, $6, $6)
         ON CONFLICT (user_id, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), topic)
         DO UPDATE SET statement = excluded.statement, updated_at = excluded.updated_at
         RETURNING id",
    )
    .bind(PreferenceId::new())
    .bind(user_id)
    .bind(campaign)
    .bind(statement)
    .bind(topic)
    .bind(now.to_sqlx())
    .fetch_one(connection)
    .await?)
}

/// A piece of evidence with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceLine {
    /// `note`, `rating`, `retake`, `kept` or `brief`.
    pub kind: String,
    /// Whether it speaks for the preference.
    pub supports: bool,
    /// Its weight when fresh, in thousandths of a plain rating.
    pub weight: i32,
    /// The film.
    pub project: ProjectId,
    /// The film's title, else its brief.
    pub title: String,
    /// The shot's number, where it is about one.
    pub shot: Option<i32>,
    /// What was rated, 1 to 5.
    pub rating: Option<i16>,
    /// What the user wrote, or where it was seen.
    pub words: String,
    /// When it was observed.
    pub at: Timestamp,
}

/// What a preference rests on, the newest first.
pub async fn evidence(
    connection: &mut PgConnection,
    preference: PreferenceId,
) -> Result<Vec<EvidenceLine>, StoreError> {
    type EvidenceRow = (
        String,
        bool,
        i32,
        ProjectId,
        String,
        Option<i32>,
        Option<i16>,
        String,
        jiff_sqlx::Timestamp,
    );
    Ok(sqlx::query_as::<_, EvidenceRow>(
        "SELECT evidence.kind, evidence.supports, evidence.weight, projects.id,
                coalesce(nullif(projects.title, ''), projects.brief), shots.number, project_feedback.rating,
                evidence.words, evidence.observed_at
         FROM preference_evidence AS evidence
         JOIN projects ON projects.id = evidence.project_id
         LEFT JOIN shots ON shots.id = evidence.shot_id
         LEFT JOIN project_feedback ON project_feedback.id = evidence.feedback_id
         WHERE evidence.preference_id = $1
         ORDER BY evidence.observed_at DESC, evidence.id DESC",
    )
    .bind(preference)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(kind, supports, weight, project, title, shot, rating, words, at)| EvidenceLine {
        kind,
        supports,
        weight,
        project,
        title,
        shot,
        rating,
        words,
        at: at.to_jiff(),
    })
    .collect())
}

/// Removes preferences, and with them what they rest on.
pub async fn remove(
    connection: &mut PgConnection,
    preferences: &[PreferenceId],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM user_preferences WHERE id = ANY ($1)")
        .bind(preferences)
        .execute(connection)
        .await?;
    Ok(())
}

/// What must not be believed again, without what it is: a topic, or a part of one. What is kept of
/// one topic has one salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Makes equal topics look different.
    pub salt: String,
    /// SHA-256 of salt, user, and the topic or the part of it, hexadecimal.
    pub digest: String,
    /// When it was forgotten.
    pub at: Timestamp,
}

/// What of a user's taste was forgotten.
pub async fn forgotten(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<Forgotten>, StoreError> {
    Ok(sqlx::query_as::<_, (String, String, jiff_sqlx::Timestamp)>(
        "SELECT salt, digest, forgotten_at FROM forgotten_preferences WHERE user_id = $1
         ORDER BY forgotten_at, id",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(salt, digest, at)| Forgotten { salt, digest, at: at.to_jiff() })
    .collect())
}

/// Keeps that something was forgotten.
pub async fn keep_forgotten(
    connection: &mut PgConnection,
    user_id: &str,
    forgotten: &[Forgotten],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = forgotten.iter().map(|_| Uuid::now_v7()).collect();
    let times: Vec<jiff_sqlx::Timestamp> = forgotten.iter().map(|one| one.at.to_sqlx()).collect();
    sqlx::query(
        "INSERT INTO forgotten_preferences (id, user_id, salt, digest, forgotten_at)
         SELECT id, $2, salt, digest, forgotten_at
         FROM unnest($1::uuid[], $3::text[], $4::text[], $5::timestamptz[]) AS row (id, salt, digest, forgotten_at)",
    )
    .bind(&ids)
    .bind(user_id)
    .bind(forgotten.iter().map(|one| one.salt.as_str()).collect::<Vec<_>>())
    .bind(forgotten.iter().map(|one| one.digest.as_str()).collect::<Vec<_>>())
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets something be believed again that the user set after all.
pub async fn lift_forgotten(
    connection: &mut PgConnection,
    user_id: &str,
    digests: &[String],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM forgotten_preferences WHERE user_id = $1 AND digest = ANY ($2)")
        .bind(user_id)
        .bind(digests)
        .execute(connection)
        .await?;
    Ok(())
}
