//! The user's own documents and pictures.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::ids::{FileId, ProjectId};
use crate::store::StoreError;

/// A file to be stored.
#[derive(Debug, Clone)]
pub struct NewFile<'file> {
    /// The id that it gets, unless the same bytes are stored already.
    pub id: FileId,
    /// Whose it is.
    pub user_id: &'file str,
    /// The project that it was first given for.
    pub project: Option<ProjectId>,
    /// Its name, without folders.
    pub name: &'file str,
    /// Where it lay, absolute.
    pub path: &'file str,
    /// Its media type, such as `text/markdown`.
    pub media_type: &'file str,
    /// Its size in bytes.
    pub bytes: i64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: &'file str,
    /// Its text, or a description of a picture.
    pub content: &'file str,
}

/// Stores a file and answers its id: the old one, with the name and path refreshed, where this
/// user has stored the same bytes before.
pub async fn keep(
    connection: &mut PgConnection,
    file: &NewFile<'_>,
    now: Timestamp,
) -> Result<FileId, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO user_files
             (id, user_id, project_id, name, path, media_type, bytes, sha256, content, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (user_id, sha256) DO UPDATE SET
             name = excluded.name, path = excluded.path, media_type = excluded.media_type,
             content = excluded.content
         RETURNING id",
    )
    .bind(file.id)
    .bind(file.user_id)
    .bind(file.project)
    .bind(file.name)
    .bind(file.path)
    .bind(file.media_type)
    .bind(file.bytes)
    .bind(file.sha256)
    .bind(file.content)
    .bind(now.to_sqlx())
    .fetch_one(connection)
    .await?)
}

/// The text of a stored file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FileText {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its text, or a description of a picture.
    pub content: String,
}

/// Reads a user's files by id, in the order of their names.
pub async fn texts(
    connection: &mut PgConnection,
    user_id: &str,
    ids: &[FileId],
) -> Result<Vec<FileText>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, name, media_type, content FROM user_files
         WHERE user_id = $1 AND id = ANY ($2) ORDER BY name, id",
    )
    .bind(user_id)
    .bind(ids)
    .fetch_all(connection)
    .await?)
}
