//! Many passages at once, as a stream: binary COPY, in bounded memory.

use std::fmt;

use jiff::Timestamp;
use pgvector::Vector;
use sqlx::postgres::{PgArgumentBuffer, PgCopyIn};
use sqlx::{Encode, PgConnection, Postgres};
use uuid::Uuid;

use crate::ids::ProjectId;
use crate::store::StoreError;
use crate::store::embeddings::{PassageKind, VECTOR_WIDTH};

/// The head of the format: its signature, no flags, no extension.
/// Source: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What a row is sent as where it is the last.
const END: i16 = -1;
/// Fields of a row.
const FIELDS: i16 = 10;
/// How much is gathered before it is sent, in bytes.
const PARCEL: usize = 512 * 1024;
/// Microseconds from 1970 to 2000, where the server's time begins.
const SERVER_EPOCH: i64 = 946_684_800_000_000;

/// A passage to be loaded, with its vector if it has one.
#[derive(Debug, Clone, Copy)]
pub struct LoadedRow<'a> {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: &'a str,
    /// The project that it belongs to.
    pub project: Option<ProjectId>,
    /// What it is taken from.
    pub kind: PassageKind,
    /// The id of what it is taken from.
    pub subject: Uuid,
    /// Which part of a long text, from 0.
    pub part: i32,
    /// The text.
    pub content: &'a str,
    /// The model, and what it answered: at most [`VECTOR_WIDTH`] numbers, padded here.
    pub vector: Option<(&'a str, &'a [f32])>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A load under way. Nothing is stored before [`Loading::finish`]; dropped, it stores nothing.
pub struct Loading<'c> {
    copy: PgCopyIn<&'c mut PgConnection>,
    parcel: Vec<u8>,
}

impl fmt::Debug for Loading<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Loading")
            .field("waiting_bytes", &self.parcel.len())
            .finish_non_exhaustive()
    }
}

impl<'c> Loading<'c> {
    /// Begins. The connection takes nothing else until the end.
    pub async fn begin(connection: &'c mut PgConnection) -> Result<Self, StoreError> {
        let copy = connection
            .copy_in_raw(
                "COPY project_embeddings (id, user_id, project_id, kind, subject_id, part, content, model,
                                          embedding, created_at) FROM STDIN (FORMAT binary)",
            )
            .await?;
        let mut parcel = Vec::with_capacity(PARCEL + 16 * 1024);
        parcel.extend_from_slice(HEAD);
        Ok(Self { copy, parcel })
    }

    /// Adds a passage, which must be new.
    pub async fn push(&mut self, row: &LoadedRow<'_>) -> Result<(), StoreError> {
        write_row(&mut self.parcel, row);
        if self.parcel.len() >= PARCEL {
            self.copy.send(self.parcel.as_slice()).await?;
            self.parcel.clear();
        }
        Ok(())
    }

    /// Sends the rest; answers how many passages were stored.
    pub async fn finish(mut self) -> Result<u64, StoreError> {
        self.parcel.extend_from_slice(&END.to_be_bytes());
        self.copy.send(self.parcel.as_slice()).await?;
        Ok(self.copy.finish().await?)
    }
}

fn write_row(parcel: &mut Vec<u8>, row: &LoadedRow<'_>) {
    parcel.extend_from_slice(&FIELDS.to_be_bytes());
    write_field(parcel, row.id.as_bytes());
    write_field(parcel, row.user_id.as_bytes());
    match row.project {
        Some(project) => write_field(parcel, project.uuid().as_bytes()),
        None => write_null(parcel),
    }
    write_field(parcel, row.kind.as_str().as_bytes());
    write_field(parcel, row.subject.as_bytes());
    write_field(parcel, &row.part.to_be_bytes());
    write_field(parcel, row.content.as_bytes());
    if let Some((model, numbers)) = row.vector {
        write_field(parcel, model.as_bytes());
        write_vector(parcel, numbers);
    } else {
        write_null(parcel);
        write_null(parcel);
    }
    let time = row.created_at.as_microsecond() - SERVER_EPOCH;
    write_field(parcel, &time.to_be_bytes());
}

/// A vector as pgvector's own crate writes it, padded.
fn write_vector(parcel: &mut Vec<u8>, numbers: &[f32]) {
    let mut padded = numbers.to_vec();
    padded.resize(VECTOR_WIDTH, 0.0);
    let mut buffer = PgArgumentBuffer::default();
    // A vector of this width always fits: the crate refuses only what has no 16-bit width.
    let _ = Encode::<Postgres>::encode_by_ref(&Vector::from(padded), &mut buffer);
    write_field(parcel, &buffer);
}

fn write_field(parcel: &mut Vec<u8>, bytes: &[u8]) {
    write_length(parcel, bytes.len());
    parcel.extend_from_slice(bytes);
}

fn write_null(parcel: &mut Vec<u8>) {
    parcel.extend_from_slice(&(-1_i32).to_be_bytes());
}

fn write_length(parcel: &mut Vec<u8>, length: usize) {
    // No field is near 2 GB: the longest is a passage of 6,000 bytes.
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    parcel.extend_from_slice(&length.to_be_bytes());
}
