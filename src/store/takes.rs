//! Takes: the images and clips that are kept.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::StoreError;
use crate::ids::{OperationId, ProjectId, ShotId, TakeId};
use crate::ledger::money::Usd;
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

const COLUMNS: &str = "takes.id, takes.position, takes.chosen, takes.path, takes.sha256, takes.bytes, takes.width, takes.height, \
     takes.duration_seconds";

fn take(row: &sqlx::postgres::PgRow) -> Result<Take, sqlx::Error> {
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
}

/// Keeps the takes that an operation yielded. The one of them that is chosen takes the place of the
/// one that was.
pub async fn keep(
    connection: &mut PgConnection,
    operation: OperationId,
    takes: &[Take],
    now: Timestamp,
) -> Result<(), StoreError> {
    for take in takes {
        if take.chosen {
            sqlx::query(
                "UPDATE takes SET chosen = false FROM operations
                 WHERE operations.id = $1 AND takes.shot_id = operations.shot_id
                   AND takes.kind = operations.kind AND takes.operation_id <> $1 AND takes.chosen",
            )
            .bind(operation)
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query(
            "INSERT INTO takes (id, project_id, shot_id, operation_id, kind, position, chosen, path, sha256, bytes,
                                width, height, duration_seconds, created_at, keyframe_sha256)
             SELECT $1, project_id, shot_id, id, kind, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                    CASE WHEN kind = 'clip' THEN (SELECT sha256 FROM takes AS keyframe
                                                  WHERE keyframe.shot_id = operations.shot_id AND keyframe.kind = 'image'
                                                    AND keyframe.created_at <= coalesce(operations.sent_at, $11)
                                                  ORDER BY chosen DESC, created_at DESC, id DESC LIMIT 1) END
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
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM takes
         WHERE shot_id = $1 AND kind = $2 AND chosen ORDER BY created_at DESC, id DESC LIMIT 1"
    )))
    .bind(shot)
    .bind(kind.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(take).transpose()?)
}

/// Has the film use this take of its shot instead of the one that it uses now.
pub async fn choose(connection: &mut PgConnection, id: TakeId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE takes SET chosen = (takes.id = wanted.id) FROM takes AS wanted
         WHERE wanted.id = $1 AND takes.shot_id = wanted.shot_id AND takes.kind = wanted.kind
           AND (takes.chosen OR takes.id = wanted.id)",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// A take with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOfShot {
    /// The take.
    pub take: Take,
    /// Its shot's number, from 1.
    pub shot: i32,
    /// Whether it is an image or a clip.
    pub kind: OperationKind,
    /// The model that made it.
    pub model: String,
    /// What the operation that yielded it cost, USD; its four images of one job cost that together.
    /// None while that is unknown.
    pub settled_usd: Option<Usd>,
    /// When it was kept.
    pub created_at: Timestamp,
}

/// Every take of a project, by shot, images before clips, oldest first.
pub async fn of_project(
    connection: &mut PgConnection,
    project: ProjectId,
) -> Result<Vec<TakeOfShot>, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS}, shots.number, takes.kind, coalesce(takes.model, operations.model) AS model,
                charges.settled_usd, takes.created_at
         FROM takes
         JOIN shots ON shots.id = takes.shot_id
         JOIN operations ON operations.id = takes.operation_id
         LEFT JOIN charges ON charges.operation_id = takes.operation_id
         WHERE takes.project_id = $1
         ORDER BY shots.number, takes.kind DESC, takes.created_at, takes.position"
    )))
    .bind(project)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(TakeOfShot {
                take: take(row)?,
                shot: row.try_get("number")?,
                kind: row
                    .try_get::<&str, _>("kind")?
                    .parse()
                    .map_err(|message: String| sqlx::Error::Decode(message.into()))?,
                model: row.try_get("model")?,
                settled_usd: row.try_get("settled_usd")?,
                created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}
