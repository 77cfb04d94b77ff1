//! Campaigns: projects that belong together.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use crate::error::Error;
use crate::ids::{CampaignId, ProjectId, RunId};
use crate::ledger::money::Usd;
use crate::store::StoreError;

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 80;
/// The longest description, in characters.
pub const LONGEST_DESCRIPTION: usize = 2_000;

/// The name of a campaign: on one line, without white space around it, and unique for each user
/// whatever its case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CampaignName(String);

impl CampaignName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Why a text cannot be the name or the description of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CampaignTextError {
    /// Nothing but white space.
    #[error("the name of a campaign cannot be empty")]
    EmptyName,
    /// Longer than is taken.
    #[error("the {what} of the campaign has {characters} characters; at most {limit} are taken")]
    TooLong {
        /// `name` or `description`.
        what: &'static str,
        /// Its length in characters.
        characters: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// A control character.
    #[error("the {what} of the campaign holds the control character {character:?}")]
    Control {
        /// `name` or `description`.
        what: &'static str,
        /// The first such character.
        character: char,
    },
}

impl From<CampaignTextError> for Error {
    fn from(error: CampaignTextError) -> Self {
        Self::usage(error.to_string())
            .hint("as in: aida campaigns create \"Spring launch\" --description \"fresh, quick\"")
    }
}

impl FromStr for CampaignName {
    type Err = CampaignTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CampaignTextError::EmptyName);
        }
        check_text("name", text, LONGEST_NAME, char::is_control)?;
        Ok(Self(text.to_owned()))
    }
}

/// Checks a description, which may have lines, and answers it without white space around it.
pub fn checked_description(text: &str) -> Result<&str, CampaignTextError> {
    let text = text.trim();
    let is_wrong = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    check_text("description", text, LONGEST_DESCRIPTION, is_wrong)?;
    Ok(text)
}

fn check_text(
    what: &'static str,
    text: &str,
    limit: usize,
    is_wrong: impl Fn(char) -> bool,
) -> Result<(), CampaignTextError> {
    let characters = text.chars().count();
    if characters > limit {
        return Err(CampaignTextError::TooLong { what, characters, limit });
    }
    text.chars()
        .find(|&character| is_wrong(character))
        .map_or(Ok(()), |character| Err(CampaignTextError::Control { what, character }))
}

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its name.
    pub name: String,
    /// What it is about; may be empty.
    pub description: String,
    /// Since when it is archived, if it is.
    pub archived_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
}

type Row = (CampaignId, String, String, Option<jiff_sqlx::Timestamp>, jiff_sqlx::Timestamp);

impl From<Row> for Campaign {
    fn from((id, name, description, archived_at, created_at): Row) -> Self {
        let archived_at = archived_at.map(jiff_sqlx::Timestamp::to_jiff);
        Self { id, name, description, archived_at, created_at: created_at.to_jiff() }
    }
}

/// Creates a campaign. Answers `None`, and changes nothing, where the user has one of this name.
pub async fn create(
    connection: &mut PgConnection,
    user_id: &str,
    name: &CampaignName,
    description: &str,
    now: Timestamp,
) -> Result<Option<Campaign>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "INSERT INTO campaigns (id, user_id, name, description, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (user_id, lower(name)) DO NOTHING
         RETURNING id, name, description, archived_at, created_at",
    )
    .bind(CampaignId::new())
    .bind(user_id)
    .bind(name.as_str())
    .bind(description)
    .bind(now.to_sqlx())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Campaign::from))
}

/// The campaign of this id, if it is the user's.
pub async fn by_id(
    connection: &mut PgConnection,
    user_id: &str,
    id: CampaignId,
) -> Result<Option<Campaign>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, description, archived_at, created_at FROM campaigns
         WHERE user_id = $1 AND id = $2",
    )
    .bind(user_id)
    .bind(id)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Campaign::from))
}

/// The user's campaigns that `reference` may mean: the one of this name (whatever its case),
/// else those whose whole or short id it is.
pub async fn by_reference(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<Vec<Campaign>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "WITH meant AS (
             SELECT *, lower(name) = lower($2) AS by_name FROM campaigns
             WHERE user_id = $1
               AND (lower(name) = lower($2) OR id::text = lower($2) OR right(id::text, 8) = lower($2))
         )
         SELECT id, name, description, archived_at, created_at FROM meant
         WHERE by_name OR NOT EXISTS (SELECT FROM meant WHERE by_name)
         ORDER BY created_at, id",
    )
    .bind(user_id)
    .bind(reference.trim())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Campaign::from).collect())
}

/// A campaign with what its videos amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignTotals {
    /// The campaign.
    pub campaign: Campaign,
    /// How many projects belong to it.
    pub videos: i64,
    /// What they cost for certain, USD.
    pub settled: Usd,
    /// What they may have cost beyond that at most: calls whose outcome is unknown, USD.
    pub unknown: Usd,
    /// When a project joined it last.
    pub last_added_at: Option<Timestamp>,
}

/// The user's campaigns with their totals, the newest first.
pub async fn list(
    connection: &mut PgConnection,
    user_id: &str,
    with_archived: bool,
) -> Result<Vec<CampaignTotals>, StoreError> {
    type ListRow = (
        CampaignId,
        String,
        String,
        Option<jiff_sqlx::Timestamp>,
        jiff_sqlx::Timestamp,
        i64,
        Decimal,
        Decimal,
        Option<jiff_sqlx::Timestamp>,
    );
    let rows: Vec<ListRow> = sqlx::query_as(
        "SELECT campaigns.id, campaigns.name, campaigns.description, campaigns.archived_at,
                campaigns.created_at, videos.number, spent.settled, spent.unknown, videos.last_added_at
         FROM campaigns,
              LATERAL (SELECT count(*) AS number, max(added_at) AS last_added_at FROM project_campaigns
                       WHERE campaign_id = campaigns.id) AS videos,
              LATERAL (SELECT coalesce(sum(charges.settled_usd), 0) AS settled,
                              coalesce(sum(charges.reserved_usd) FILTER (WHERE charges.state = 'unknown'), 0) AS unknown
                       FROM project_campaigns JOIN charges ON charges.project_id = project_campaigns.project_id
                       WHERE project_campaigns.campaign_id = campaigns.id) AS spent
         WHERE campaigns.user_id = $1 AND ($2 OR campaigns.archived_at IS NULL)
         ORDER BY campaigns.created_at DESC, campaigns.id DESC",
    )
    .bind(user_id)
    .bind(with_archived)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, name, description, archived_at, created_at, videos, settled, unknown, last)| {
            CampaignTotals {
                campaign: Campaign::from((id, name, description, archived_at, created_at)),
                videos,
                settled: Usd::new(settled),
                unknown: Usd::new(unknown),
                last_added_at: last.map(jiff_sqlx::Timestamp::to_jiff),
            }
        })
        .collect())
}

/// A video of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignVideo {
    /// The project.
    pub project: ProjectId,
    /// Its title, else its brief.
    pub title: String,
    /// Its latest run.
    pub run: Option<RunId>,
    /// Where that run stands.
    pub state: Option<String>,
    /// What the user rated it, 1 to 5.
    pub rating: Option<i16>,
    /// Where its latest film lies.
    pub video_path: Option<String>,
    /// What it cost for certain, USD.
    pub settled: Usd,
    /// What it may have cost beyond that at most, USD.
    pub unknown: Usd,
    /// When the project was created.
    pub created_at: Timestamp,
    /// When it joined the campaign.
    pub added_at: Timestamp,
}

/// The videos of a campaign, the latest addition first.
pub async fn videos(
    connection: &mut PgConnection,
    campaign: CampaignId,
) -> Result<Vec<CampaignVideo>, StoreError> {
    type VideoRow = (
        ProjectId,
        String,
        Option<RunId>,
        Option<String>,
        Option<i16>,
        Option<String>,
        Decimal,
        Decimal,
        jiff_sqlx::Timestamp,
        jiff_sqlx::Timestamp,
    );
    let rows: Vec<VideoRow> = sqlx::query_as(
        "SELECT projects.id, coalesce(nullif(projects.title, ''), projects.brief),
                latest.id, latest.state, rated.rating, film.video_path, spent.settled, spent.unknown,
                projects.created_at, project_campaigns.added_at
         FROM project_campaigns
         JOIN projects ON projects.id = project_campaigns.project_id
         LEFT JOIN LATERAL (SELECT id, state FROM runs WHERE project_id = projects.id
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS latest ON true
         LEFT JOIN LATERAL (SELECT video_path FROM runs
                            WHERE project_id = projects.id AND video_path IS NOT NULL
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS film ON true
         LEFT JOIN LATERAL (SELECT rating FROM project_feedback
                            WHERE project_id = projects.id AND user_id = projects.user_id AND shot_id IS NULL
                              AND rating IS NOT NULL AND superseded_at IS NULL
                            ORDER BY created_at DESC, id DESC LIMIT 1) AS rated ON true
         CROSS JOIN LATERAL (SELECT coalesce(sum(settled_usd), 0) AS settled,
                                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) AS unknown
                             FROM charges WHERE project_id = projects.id) AS spent
         WHERE project_campaigns.campaign_id = $1
         ORDER BY project_campaigns.added_at DESC, projects.id DESC",
    )
    .bind(campaign)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(project, title, run, state, rating, video_path, settled, unknown, created, added)| {
                CampaignVideo {
                    project,
                    title,
                    run,
                    state,
                    rating,
                    video_path,
                    settled: Usd::new(settled),
                    unknown: Usd::new(unknown),
                    created_at: created.to_jiff(),
                    added_at: added.to_jiff(),
                }
            },
        )
        .collect())
}

/// Puts a project into a campaign. Answers whether it was not in it before.
pub async fn add(
    connection: &mut PgConnection,
    campaign: CampaignId,
    project: ProjectId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO project_campaigns (project_id, campaign_id, added_at) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(project)
    .bind(campaign)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes a project out of a campaign. Answers whether it was in it.
pub async fn remove(
    connection: &mut PgConnection,
    campaign: CampaignId,
    project: ProjectId,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("DELETE FROM project_campaigns WHERE project_id = $1 AND campaign_id = $2")
            .bind(project)
            .bind(campaign)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Renames a campaign. Answers whether the name was free.
pub async fn rename(
    connection: &mut PgConnection,
    campaign: CampaignId,
    name: &CampaignName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE campaigns SET name = $2, updated_at = $3 WHERE id = $1")
        .bind(campaign)
        .bind(name.as_str())
        .bind(now.to_sqlx())
        .execute(connection)
        .await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Archives a campaign, or takes it back from there. Its videos stay as they are. Archiving
/// what is archived keeps the first date.
pub async fn archive(
    connection: &mut PgConnection,
    campaign: CampaignId,
    archived: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE campaigns SET archived_at = CASE WHEN $2 THEN coalesce(archived_at, $3) END, updated_at = $3
         WHERE id = $1",
    )
    .bind(campaign)
    .bind(archived)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let name = |text: &str| text.parse::<CampaignName>();
        assert_eq!(name("  Spring menu ").unwrap().as_str(), "Spring menu");
        assert_eq!(name(" \t"), Err(CampaignTextError::EmptyName));
        assert!(name(&"é".repeat(80)).is_ok());
        assert!(matches!(
            name(&"é".repeat(81)),
            Err(CampaignTextError::TooLong { characters: 81, .. })
        ));
        assert!(matches!(
            name("a\u{1b}[31mb"),
            Err(CampaignTextError::Control { character: '\u{1b}', .. })
        ));
        assert!(name("two\nlines").is_err());
    }

    #[test]
    fn descriptions_may_have_lines() {
        assert_eq!(checked_description(" one\ntwo "), Ok("one\ntwo"));
        assert!(checked_description("a\0b").is_err());
        assert!(checked_description(&"x".repeat(2_001)).is_err());
    }
}
