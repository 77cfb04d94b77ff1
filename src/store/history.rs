//! What past videos needed, for estimates.

use sqlx::PgConnection;

use super::StoreError;
use crate::ledger::estimate::{Past, Takes};
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;

/// How many past videos are looked at: what one does now is like what one did last.
const VIDEOS: i64 = 20;

/// What a user's latest finished videos needed with these models.
pub async fn past(
    connection: &mut PgConnection,
    user_id: &str,
    language_model: &str,
    image_model: &str,
    video_model: &str,
) -> Result<Past, StoreError> {
    let words_per_shot: Vec<Usd> = sqlx::query_scalar(
        "SELECT sum(charges.settled_usd) / chosen.shot_count
         FROM (SELECT runs.id, projects.shot_count FROM runs JOIN projects ON projects.id = runs.project_id
               WHERE runs.user_id = $1 AND runs.kind = 'film' AND runs.state IN ('done', 'partial')
                 AND runs.options ->> 'language_model' = $2 AND runs.options -> 'retake' IS NULL
               ORDER BY runs.created_at DESC LIMIT $3) AS chosen
         JOIN charges ON charges.run_id = chosen.id
         WHERE charges.component IN ('conversation', 'writer', 'director', 'embedding')
         GROUP BY chosen.id, chosen.shot_count
         HAVING sum(charges.settled_usd) > 0",
    )
    .bind(user_id)
    .bind(language_model)
    .bind(VIDEOS)
    .fetch_all(&mut *connection)
    .await?;
    let images = takes(connection, user_id, OperationKind::Image, image_model).await?;
    let clips = takes(connection, user_id, OperationKind::Clip, video_model).await?;
    Ok(Past { words_per_shot, images, clips })
}

/// Of the latest shots: jobs of a model that were paid for, and the shots that they were for. A kept
/// take that was used again was no job.
async fn takes(
    connection: &mut PgConnection,
    user_id: &str,
    kind: OperationKind,
    model: &str,
) -> Result<Takes, StoreError> {
    let (paid, shots) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT shot_id)
         FROM (SELECT shot_id FROM operations
               WHERE user_id = $1 AND kind = $2 AND model = $3 AND state IN ('kept', 'failed_charged')
                 AND shot_id IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM charges
                                 WHERE charges.operation_id = operations.id AND reuse_saved_usd > 0)
               ORDER BY created_at DESC LIMIT 500) AS latest",
    )
    .bind(user_id)
    .bind(kind.as_str())
    .bind(model)
    .fetch_one(connection)
    .await?;
    Ok(Takes { paid, shots })
}
