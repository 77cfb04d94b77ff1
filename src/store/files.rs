//! The user's own documents and pictures.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use crate::ids::{FileId, ProjectId, RunId};
use crate::store::StoreError;

/// What is known of a file beside its words. What does not apply is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Pages of a PDF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u32>,
    /// Pages of a PDF whose text could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable_pages: Option<u32>,
    /// Rows of a table, its heading included, or lines of a JSON Lines file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Width of a picture in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height of a picture in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// The main colours of a picture, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub colours: Vec<String>,
    /// The encoding of a text that is not in UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

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
    /// The name and path that the row keeps, where the same bytes still lie there.
    pub stays: Option<&'file (String, String)>,
    /// Its media type, such as `text/markdown`.
    pub media_type: &'file str,
    /// Its size in bytes.
    pub bytes: i64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: &'file str,
    /// Its text, or words on a picture.
    pub content: &'file str,
    /// What else is known of it.
    pub facts: &'file Facts,
}

/// What storing a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id: the old one where this user has stored the same bytes before.
    pub id: FileId,
    /// Whether its bytes were not there before.
    pub is_new: bool,
    /// The name that it had before, where that has changed.
    pub former_name: Option<String>,
    /// Whether the same bytes still lie where they were stored from, so that this is a copy of them.
    pub is_copy: bool,
    /// The files of other bytes that lay under the same path before: this one takes their place.
    pub replaced: Vec<FileId>,
}

/// The name and path of the same bytes, where this user has stored them and they are not replaced.
pub async fn place_of(
    connection: &mut PgConnection,
    user_id: &str,
    sha256: &str,
) -> Result<Option<(String, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT name, path FROM user_files
         WHERE user_id = $1 AND sha256 = $2 AND replaced_by IS NULL",
    )
    .bind(user_id)
    .bind(sha256)
    .fetch_optional(connection)
    .await?)
}

/// Stores a file, with its name and path refreshed where this user has stored the same bytes
/// before; where those still lie there, the row stays as it is. A file of other bytes under the same
/// path is kept for those who use it, and is found by no search any more. In one transaction.
pub async fn keep(
    connection: &mut PgConnection,
    file: &NewFile<'_>,
    now: Timestamp,
) -> Result<Stored, StoreError> {
    let mut transaction = connection.begin().await?;
    let former: Option<String> =
        sqlx::query_scalar("SELECT name FROM user_files WHERE user_id = $1 AND sha256 = $2")
            .bind(file.user_id)
            .bind(file.sha256)
            .fetch_optional(&mut *transaction)
            .await?;
    let id: FileId = sqlx::query_scalar(
        "INSERT INTO user_files
             (id, user_id, project_id, name, path, media_type, bytes, sha256, content, facts, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (user_id, sha256) DO UPDATE SET
             name = coalesce($12::text, excluded.name), path = coalesce($13::text, excluded.path),
             media_type = CASE WHEN $12 IS NULL THEN excluded.media_type ELSE user_files.media_type END,
             content = CASE WHEN $12 IS NULL THEN excluded.content ELSE user_files.content END,
             facts = CASE WHEN $12 IS NULL THEN excluded.facts ELSE user_files.facts END,
             replaced_by = NULL,
             project_id = coalesce(user_files.project_id, excluded.project_id)
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
    .bind(Json(file.facts))
    .bind(now.to_sqlx())
    .bind(file.stays.map(|(name, _)| name.as_str()))
    .bind(file.stays.map(|(_, path)| path.as_str()))
    .fetch_one(&mut *transaction)
    .await?;
    let replaced: Vec<FileId> = sqlx::query_scalar(
        "UPDATE user_files SET replaced_by = $1
         WHERE user_id = $2 AND path = $3 AND id <> $1 AND replaced_by IS NULL RETURNING id",
    )
    .bind(id)
    .bind(file.user_id)
    .bind(file.path)
    .fetch_all(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM project_embeddings WHERE kind = 'file' AND subject_id = ANY ($1)")
        .bind(&replaced)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let is_copy = file.stays.is_some();
    let former_name = former.clone().filter(|former| former != file.name && !is_copy);
    Ok(Stored { id, is_new: former.is_none(), former_name, is_copy, replaced })
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserFile {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub user_id: String,
    /// The project that it was first given for.
    pub project_id: Option<ProjectId>,
    /// Its name, without folders.
    pub name: String,
    /// Where it lay, absolute.
    pub path: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its text, or words on a picture.
    pub content: String,
    /// What else is known of it.
    #[sqlx(json)]
    pub facts: Facts,
    /// What a model saw in a picture; empty where none has described it.
    pub description: String,
    /// The model that described it.
    pub described_by: Option<String>,
    /// The file that took its place; itself where it was removed and is kept only as long as something
    /// needs it.
    pub replaced_by: Option<FileId>,
    /// When it was first stored.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub created_at: Timestamp,
}

impl UserFile {
    /// Whether it is a picture.
    pub fn is_picture(&self) -> bool {
        self.media_type.starts_with("image/")
    }

    /// Whether it was removed, and is kept only as long as something needs it.
    pub fn is_removed(&self) -> bool {
        self.replaced_by == Some(self.id)
    }

    /// Its words: a picture's with what a model saw in it.
    pub fn text(&self) -> String {
        text_of_picture(&self.content, &self.description)
    }
}

/// The words on a picture, with what a model saw in it.
pub fn text_of_picture(content: &str, description: &str) -> String {
    if description.is_empty() { content.to_owned() } else { format!("{content}\n{description}") }
}

const COLUMNS: &str = "id, user_id, project_id, name, path, media_type, bytes, sha256, content, facts, description, \
                       described_by, replaced_by, created_at";

/// The statement that reads the files of which a condition holds, in the order of their names.
fn where_is(condition: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM user_files WHERE user_id = $1 AND {condition} ORDER BY name, id"
    ))
}

/// A user's files by id, in the order of their names.
pub async fn by_ids(
    connection: &mut PgConnection,
    user_id: &str,
    ids: &[FileId],
) -> Result<Vec<UserFile>, StoreError> {
    let statement = where_is("id = ANY ($2)");
    Ok(sqlx::query_as(statement).bind(user_id).bind(ids).fetch_all(connection).await?)
}

/// A user's files that are meant by an id, the end of one, or a name whatever its case.
pub async fn find(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<Vec<UserFile>, StoreError> {
    let exact =
        where_is("(id::text = lower($2) OR right(replace(id::text, '-', ''), 8) = lower($2))");
    let found: Vec<UserFile> =
        sqlx::query_as(exact).bind(user_id).bind(reference).fetch_all(&mut *connection).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let named = where_is("lower(name) = lower($2) AND replaced_by IS NULL");
    Ok(sqlx::query_as(named).bind(user_id).bind(reference).fetch_all(connection).await?)
}

/// A user's pictures by name, whatever its case, the latest first.
pub async fn pictures_named(
    connection: &mut PgConnection,
    user_id: &str,
    names: &[String],
) -> Result<Vec<UserFile>, StoreError> {
    let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let statement = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM user_files
         WHERE user_id = $1 AND lower(name) = ANY ($2) AND media_type LIKE 'image/%' AND replaced_by IS NULL
         ORDER BY created_at DESC, id DESC"
    ));
    Ok(sqlx::query_as(statement).bind(user_id).bind(names).fetch_all(connection).await?)
}

/// A file in the list.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedFile {
    /// The file, whose words are left out.
    #[sqlx(flatten)]
    pub file: UserFile,
    /// Its passages.
    pub passages: i64,
    /// Those of them that have no vector yet.
    pub waiting: i64,
}

/// A user's files, the latest first, without their words; with `all` the replaced ones too.
pub async fn list(
    connection: &mut PgConnection,
    user_id: &str,
    project: Option<ProjectId>,
    all: bool,
) -> Result<Vec<ListedFile>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT id, user_id, project_id, name, path, media_type, bytes, sha256, '' AS content, facts, description,
                described_by, replaced_by, created_at, coalesce(passages, 0) AS passages, coalesce(waiting, 0) AS waiting
         FROM user_files
         LEFT JOIN (SELECT subject_id, count(*) AS passages, count(*) FILTER (WHERE model IS NULL) AS waiting
                    FROM project_embeddings WHERE user_id = $1 AND kind = 'file' GROUP BY subject_id) AS counted
             ON counted.subject_id = user_files.id
         WHERE user_id = $1 AND ($2::uuid IS NULL OR project_id = $2) AND ($3 OR replaced_by IS NULL)
         ORDER BY created_at DESC, id DESC",
    )
    .bind(user_id)
    .bind(project)
    .bind(all)
    .fetch_all(connection)
    .await?)
}

/// What stands between passages in [`KnownFile::passages_sha256`]: no passage has it in itself.
pub const BETWEEN_PASSAGES: &str = "\u{1}";

/// What is known of a file by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownFile {
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Whether a model has described it.
    pub is_described: bool,
    /// What that model saw; empty where none has.
    pub description: String,
    /// SHA-256 of its passages in their order, [`BETWEEN_PASSAGES`] between them; none where it has
    /// none, as what was replaced.
    pub passages_sha256: Option<String>,
    /// How many bytes of its passages have no vector of the model that was asked about.
    pub waiting_bytes: i64,
}

/// Which of some hashes a user has files of, and what is known of them; `model` makes the vectors.
pub async fn known(
    connection: &mut PgConnection,
    user_id: &str,
    hashes: &[&str],
    model: &str,
) -> Result<Vec<KnownFile>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT user_files.sha256, described_by IS NOT NULL AS is_described, description, passages_sha256,
                coalesce(waiting_bytes, 0) AS waiting_bytes
         FROM user_files
         LEFT JOIN LATERAL
             (SELECT encode(sha256(convert_to(string_agg(content, $4 ORDER BY part), 'UTF8')), 'hex') AS passages_sha256,
                     sum(octet_length(content)) FILTER (WHERE model IS DISTINCT FROM $3) AS waiting_bytes
              FROM project_embeddings WHERE kind = 'file' AND subject_id = user_files.id) AS passages ON true
         WHERE user_id = $1 AND user_files.sha256 = ANY ($2)",
    )
    .bind(user_id)
    .bind(hashes)
    .bind(model)
    .bind(BETWEEN_PASSAGES)
    .fetch_all(connection)
    .await?)
}

/// Keeps what a model saw in a picture.
pub async fn describe(
    connection: &mut PgConnection,
    file: FileId,
    description: &str,
    model: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE user_files SET description = $2, described_by = $3 WHERE id = $1")
        .bind(file)
        .bind(description)
        .bind(model)
        .execute(connection)
        .await?;
    Ok(())
}

/// A file that something needs.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NeededFile {
    /// The file.
    pub id: FileId,
    /// Its name.
    pub name: String,
    /// The first run that may go on and was given it.
    pub run: Option<RunId>,
    /// A campaign whose logo it is.
    pub campaign: Option<String>,
}

/// Which of some files are needed, and by what: by a run that `resume` may go on with, which names a
/// file by its id or by its bytes, or as the logo of a campaign.
pub async fn needed(
    connection: &mut PgConnection,
    files: &[FileId],
) -> Result<Vec<NeededFile>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT file.id, file.name, run.id AS run, campaign.name AS campaign
         FROM user_files AS file
         LEFT JOIN LATERAL
             (SELECT id FROM runs
              WHERE user_id = file.user_id AND state NOT IN ('done', 'failed')
                AND (options::text LIKE '%' || file.id::text || '%' OR options::text LIKE '%' || file.sha256 || '%')
              ORDER BY created_at, id LIMIT 1) AS run ON true
         LEFT JOIN LATERAL
             (SELECT name FROM campaigns WHERE logo = file.id ORDER BY name LIMIT 1) AS campaign ON true
         WHERE file.id = ANY ($1) AND (run.id IS NOT NULL OR campaign.name IS NOT NULL)
         ORDER BY file.created_at, file.id",
    )
    .bind(files)
    .fetch_all(connection)
    .await?)
}

/// What removing files came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// The hashes that no row of any user names any more.
    pub unused: Vec<String>,
    /// What stays because it is needed. No search finds it and no list shows it, except with the
    /// replaced ones.
    pub kept: Vec<NeededFile>,
}

/// Forgets files, what they replaced, and all their passages. What is still needed stays, unless
/// `force`: as removed, which is what a file is that was replaced by itself.
pub async fn remove(
    connection: &mut PgConnection,
    files: &[FileId],
    force: bool,
) -> Result<Removal, StoreError> {
    let mut transaction = connection.begin().await?;
    let all: Vec<FileId> = sqlx::query_scalar(
        "WITH RECURSIVE gone AS (
             SELECT id FROM user_files WHERE id = ANY ($1)
             UNION SELECT older.id FROM user_files AS older JOIN gone ON older.replaced_by = gone.id)
         SELECT id FROM gone",
    )
    .bind(files)
    .fetch_all(&mut *transaction)
    .await?;
    let kept = if force { Vec::new() } else { needed(&mut transaction, &all).await? };
    let stays = |id: &FileId| kept.iter().any(|file| file.id == *id);
    let (staying, going): (Vec<FileId>, Vec<FileId>) = all.iter().partition(|id| stays(id));
    sqlx::query("DELETE FROM project_embeddings WHERE kind = 'file' AND subject_id = ANY ($1)")
        .bind(&all)
        .execute(&mut *transaction)
        .await?;
    // First, because what is replaced goes with what replaced it.
    sqlx::query("UPDATE user_files SET replaced_by = id WHERE id = ANY ($1)")
        .bind(&staying)
        .execute(&mut *transaction)
        .await?;
    let hashes: Vec<String> =
        sqlx::query_scalar("DELETE FROM user_files WHERE id = ANY ($1) RETURNING sha256")
            .bind(&going)
            .fetch_all(&mut *transaction)
            .await?;
    let unused = sqlx::query_scalar(
        "SELECT DISTINCT hash FROM unnest($1::text[]) AS hash
         WHERE NOT EXISTS (SELECT FROM user_files WHERE sha256 = hash)",
    )
    .bind(&hashes)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Removal { unused, kept })
}

/// A user's files that were removed and stay because something needed them.
pub async fn removed(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<FileId>, StoreError> {
    Ok(sqlx::query_scalar("SELECT id FROM user_files WHERE user_id = $1 AND replaced_by = id")
        .bind(user_id)
        .fetch_all(connection)
        .await?)
}

/// Holds the copy of some bytes until the transaction ends: whoever stores the same bytes, or forgets
/// their copy, waits so long.
pub async fn hold_copy(connection: &mut PgConnection, sha256: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('aida copy ' || $1, 0))")
        .bind(sha256)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether a row of any user names some bytes.
pub async fn is_named(connection: &mut PgConnection, sha256: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM user_files WHERE sha256 = $1)")
        .bind(sha256)
        .fetch_one(connection)
        .await?)
}
