//! Moving passages from one model's vectors to another's.

use pgvector::Vector;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::StoreError;

/// Which passages are moved to a model.
#[derive(Debug, Clone, Default)]
pub struct MovedScope {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only those that have no vector at all; else all that have none of the model.
    pub only_without_vector: bool,
}

/// A passage that needs a vector.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WaitingRow {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: String,
    /// Its text.
    pub content: String,
}

/// How many passages are to be moved to `model`, and the bytes of their texts.
pub async fn extent(
    connection: &mut PgConnection,
    scope: &MovedScope,
    model: &str,
) -> Result<(u64, u64), StoreError> {
    let (rows, bytes): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(octet_length(content)), 0)::bigint FROM project_embeddings
         WHERE model IS DISTINCT FROM $1 AND (NOT $2 OR model IS NULL) AND ($3::text IS NULL OR user_id = $3)",
    )
    .bind(model)
    .bind(scope.only_without_vector)
    .bind(&scope.user_id)
    .fetch_one(connection)
    .await?;
    Ok((u64::try_from(rows).unwrap_or_default(), u64::try_from(bytes).unwrap_or_default()))
}

/// The next passages to be moved to `model`, in the order of their ids, after one.
pub async fn next(
    connection: &mut PgConnection,
    scope: &MovedScope,
    model: &str,
    after: Uuid,
    at_most: i64,
) -> Result<Vec<WaitingRow>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, content FROM project_embeddings
         WHERE id > $4 AND model IS DISTINCT FROM $1 AND (NOT $2 OR model IS NULL)
           AND ($3::text IS NULL OR user_id = $3)
         ORDER BY id LIMIT $5",
    )
    .bind(model)
    .bind(scope.only_without_vector)
    .bind(&scope.user_id)
    .bind(after)
    .bind(at_most)
    .fetch_all(connection)
    .await?)
}

/// Gives passages their vectors. One whose text has changed since it was read keeps waiting, and one
/// that is gone stays gone. Answers how many were moved.
pub async fn replace(
    connection: &mut PgConnection,
    model: &str,
    rows: &[WaitingRow],
    vectors: &[Vector],
) -> Result<u64, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let contents: Vec<&str> = rows.iter().map(|row| row.content.as_str()).collect();
    let moved = sqlx::query(
        "UPDATE project_embeddings AS passage SET model = $4, embedding = new.embedding
         FROM unnest($1::uuid[], $2::text[], $3::vector[]) AS new (id, content, embedding)
         WHERE passage.id = new.id AND passage.content = new.content",
    )
    .bind(&ids)
    .bind(&contents)
    .bind(vectors)
    .bind(model)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected())
}
