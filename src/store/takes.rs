//! Takes: the images and clips that are kept.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::StoreError;
use crate::ids::{OperationId, ShotId, TakeId};
use crate::ledger::operation::OperationKind;

/// A kept image or clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Its id.
    pub id: TakeId,
    /// Which of the files that one job yielded, from 1.
    pub position: i32,
    /// Whether the film uses it.
    pub chosen: bool,
    /// Where it lies, relative to the data directory's projects folder.
    pub path: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// Width in pixels.
    pub width: Option<i32>,
    /// Height in pixels.
    pub height: Option<i32>,
    /// Length in seconds, for clips.
    pub duration_seconds: Option<Decimal>,
}

/// Keeps the takes that an operation yielded.
pub async fn keep(
    connection: &mut PgConnection,
    operation: OperationId,
    takes: &[Take],
    now: Timestamp,
) -> Result<(), StoreError> {
    for take in takes {
        sqlx::query(
            "INSERT INTO takes (id, project_id, shot_id, operation_id, kind, position, chosen, path, sha256, bytes,
                                width, height, duration_seconds, created_at)
             SELECT $1, project_id, shot_id, id, kind, $3, $4, $5, $6, $7, $8, $9, $10, $11
             FROM operations WHERE id = $2
             ON CONFLICT (operation_id, position) DO NOTHING",
        )
        .bind(take.id)
        .bind(operation)
        .bind(take.position)
        .bind(take.chosen)
        .bind(&take.path)
        .bind(&take.sha256)
        .bind(take.bytes)
        .bind(take.width)
        .bind(take.height)
        .bind(take.duration_seconds)
        .bind(now.to_sqlx())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The take of a shot that the film uses, if there is one.
pub async fn chosen(
    connection: &mut PgConnection,
    shot: ShotId,
    kind: OperationKind,
) -> Result<Option<Take>, StoreError> {
    let row = sqlx::query(
        "SELECT id, position, chosen, path, sha256, bytes, width, height, duration_seconds FROM takes
         WHERE shot_id = $1 AND kind = $2 AND chosen ORDER BY created_at DESC, id DESC LIMIT 1",
    )
    .bind(shot)
    .bind(kind.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Take {
            id: row.try_get("id")?,
            position: row.try_get("position")?,
            chosen: row.try_get("chosen")?,
            path: row.try_get("path")?,
            sha256: row.try_get("sha256")?,
            bytes: row.try_get("bytes")?,
            width: row.try_get("width")?,
            height: row.try_get("height")?,
            duration_seconds: row.try_get("duration_seconds")?,
        })
    })
    .transpose()
    .map_err(|error: sqlx::Error| error.into())
}
