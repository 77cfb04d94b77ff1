//! The models whose vectors are kept, and how wide each one's vectors are.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::store::StoreError;

/// Remembers how wide a model's vectors are, where that is not known; answers what is known.
pub async fn width(
    connection: &mut PgConnection,
    model: &str,
    answered: usize,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let width: i32 = sqlx::query_scalar(
        // Whoever is quicker decides: to update nothing is to see what it has just written.
        "INSERT INTO embedding_models (model, width, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (model) DO UPDATE SET width = embedding_models.width RETURNING width",
    )
    .bind(model)
    .bind(i32::try_from(answered).unwrap_or(i32::MAX))
    .bind(now.to_sqlx())
    .fetch_one(connection)
    .await?;
    Ok(usize::try_from(width).unwrap_or_default())
}

/// The models whose width is known here, and their widths.
pub async fn widths(connection: &mut PgConnection) -> Result<HashMap<String, usize>, StoreError> {
    let rows: Vec<(String, i32)> =
        sqlx::query_as("SELECT model, width FROM embedding_models").fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|(model, width)| (model, usize::try_from(width).unwrap_or_default()))
        .collect())
}

/// What is kept of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRows {
    /// The model; none for passages that have no vector yet.
    pub model: Option<String>,
    /// How many passages carry it.
    pub rows: u64,
    /// Bytes of their texts: no tokeniser makes more tokens of them.
    pub bytes: u64,
}

/// Passages by the model of their vectors, of one user or of all, the most frequent model first.
pub async fn rows_by_model(
    connection: &mut PgConnection,
    user_id: Option<&str>,
) -> Result<Vec<ModelRows>, StoreError> {
    let rows: Vec<(Option<String>, i64, i64)> = sqlx::query_as(
        "SELECT model, count(*), coalesce(sum(octet_length(content)), 0)::bigint
         FROM project_embeddings WHERE $1::text IS NULL OR user_id = $1
         GROUP BY model ORDER BY count(*) DESC, model",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(model, rows, bytes)| ModelRows {
            model,
            rows: u64::try_from(rows).unwrap_or_default(),
            bytes: u64::try_from(bytes).unwrap_or_default(),
        })
        .collect())
}

/// Whether any user has at least so many vectors of a model.
pub async fn has_at_least(
    connection: &mut PgConnection,
    model: &str,
    rows: i64,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) >= $2 FROM (SELECT FROM project_embeddings WHERE model = $1 LIMIT $2) AS few",
    )
    .bind(model)
    .bind(rows)
    .fetch_one(connection)
    .await?)
}
