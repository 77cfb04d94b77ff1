//! One partial index for each model, made when the model is first used.
//!
//! HNSW. On a server it is over halves of the numbers' width: measured with 100,000 vectors of 1536
//! numbers (`benches/memory.rs`), it is half as large as one over whole numbers and found as much. The
//! embedded server runs where no processor helps it with halves, and takes seconds for a row: there
//! it is over whole numbers.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::store::StoreError;

/// Links of each row in each layer of the graph.
pub const LINKS: u32 = 16;
/// How many candidates the build of the graph looks at for each row.
pub const BUILD_CANDIDATES: u32 = 128;

/// Where an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A server with other clients, who go on reading and writing.
    Server,
    /// The embedded server, which has one connection.
    Embedded,
}

impl Place {
    const fn concurrently(self) -> &'static str {
        match self {
            Self::Server => "CONCURRENTLY ",
            Self::Embedded => "",
        }
    }
}

/// Held while an index is built, so that two processes do not build the same one.
const BUILDING: i64 = 0x6169_6461_696e_6478;

/// The name of a model's index: readable, and unlike every other model's.
pub fn name_of(model: &str) -> String {
    let mut readable = String::new();
    for character in model.chars().take(30) {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() {
            readable.push(character);
        } else if !readable.ends_with('_') {
            readable.push('_');
        }
    }
    let mut name = format!("project_embeddings_near_{}_", readable.trim_matches('_'));
    for byte in &Sha256::digest(model.as_bytes())[..4] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// A text as a literal of SQL, whatever stands in it and however the server reads backslashes.
pub(super) fn literal(text: &str) -> String {
    // A NUL ends every statement; no stored text has one.
    let quoted = text.replace('\0', "").replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// The statement that makes a model's index.
fn definition(model: &str, place: Place) -> String {
    let (name, model, concurrently) = (name_of(model), literal(model), place.concurrently());
    let numbers = match place {
        Place::Server => "(embedding::halfvec(1536)) halfvec_cosine_ops",
        Place::Embedded => "embedding vector_cosine_ops",
    };
    format!(
        "CREATE INDEX {concurrently}IF NOT EXISTS {name} ON project_embeddings
         USING hnsw ({numbers})
         WITH (m = {LINKS}, ef_construction = {BUILD_CANDIDATES}) WHERE model = {model}"
    )
}

/// Whether the model has an index that works, and is of the kind that this place wants.
pub async fn is_right(
    connection: &mut PgConnection,
    model: &str,
    place: Place,
) -> Result<bool, StoreError> {
    Ok(state(connection, model, place).await? == Some(true))
}

/// Whether the model has an index of either kind that a search can use.
pub async fn is_usable(connection: &mut PgConnection, model: &str) -> Result<bool, StoreError> {
    let valid: Option<bool> = sqlx::query_scalar(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)::oid",
    )
    .bind(name_of(model))
    .fetch_optional(connection)
    .await?;
    Ok(valid == Some(true))
}

/// None where there is no index, else whether it is right: a build that was cut off leaves a broken one.
async fn state(
    connection: &mut PgConnection,
    model: &str,
    place: Place,
) -> Result<Option<bool>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT indisvalid AND (pg_get_indexdef(indexrelid) LIKE '%halfvec_cosine_ops%') = $2
         FROM pg_index WHERE indexrelid = to_regclass($1)::oid",
    )
    .bind(name_of(model))
    .bind(place == Place::Server)
    .fetch_optional(connection)
    .await?)
}

/// Makes the model's index where there is none. On a server with many clients it is built while
/// others go on reading and writing; if one of them is building already, this one is left to it.
/// Must not be called inside a transaction.
pub async fn ensure(
    connection: &mut PgConnection,
    model: &str,
    place: Place,
) -> Result<(), StoreError> {
    if state(connection, model, place).await? == Some(true) {
        return Ok(());
    }
    // Waiting for the lock would hold a snapshot that the other's build waits for in turn.
    let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(BUILDING)
        .fetch_one(&mut *connection)
        .await?;
    if !ours {
        return Ok(());
    }
    let built = build(connection, model, place).await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(BUILDING).execute(connection).await?;
    built
}

async fn build(connection: &mut PgConnection, model: &str, place: Place) -> Result<(), StoreError> {
    if state(connection, model, place).await? == Some(false) {
        remove(connection, model, place).await?;
    }
    sqlx::query(AssertSqlSafe(definition(model, place))).execute(connection).await?;
    Ok(())
}

/// Removes a model's index: before a load that is larger than what is there, and when nothing of the
/// model is left. Must not be called inside a transaction.
pub async fn remove(
    connection: &mut PgConnection,
    model: &str,
    place: Place,
) -> Result<(), StoreError> {
    let concurrently = place.concurrently();
    let statement = format!("DROP INDEX {concurrently}IF EXISTS {}", name_of(model));
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_name_of_its_own_that_postgres_keeps_whole() {
        let models = [
            "voyage-4",
            "voyage_4",
            "VOYAGE-4",
            "compatible/nomic-embed-text",
            "夜",
            "x'; DROP TABLE projects; --",
            &"long".repeat(50),
        ];
        let names: std::collections::BTreeSet<_> =
            models.iter().map(|model| name_of(model)).collect();
        assert_eq!(names.len(), models.len());
        for name in names {
            assert!(name.len() < 64, "{name}");
            assert!(
                name.chars().all(|character| character.is_ascii_lowercase()
                    || character.is_ascii_digit()
                    || character == '_'),
                "{name}"
            );
        }
    }

    #[test]
    fn a_literal_is_one_text_and_nothing_else() {
        assert_eq!(literal("voyage-4"), "'voyage-4'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'; --\0"), "E'a\\\\''; --'");
    }
}
