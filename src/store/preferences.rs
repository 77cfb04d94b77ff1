//! What aida believes the user likes.

use sqlx::PgConnection;

use crate::ids::CampaignId;
use crate::store::StoreError;

/// Something that the user likes or wants.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Preference {
    /// It, as a sentence.
    pub statement: String,
    /// How many signs speak for it.
    pub support: i32,
    /// Whether the user said it in so many words.
    pub pinned: bool,
}

/// The user's preferences, general ones and those of `campaign`: the user's own words first,
/// then the best supported. The order is the same on every call.
pub async fn list(
    connection: &mut PgConnection,
    user_id: &str,
    campaign: Option<CampaignId>,
    at_most: i64,
) -> Result<Vec<Preference>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT statement, support, pinned FROM user_preferences
         WHERE user_id = $1 AND (campaign_id IS NULL OR campaign_id = $2)
         ORDER BY pinned DESC, support DESC, statement, id LIMIT $3",
    )
    .bind(user_id)
    .bind(campaign)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}
