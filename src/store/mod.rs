//! Postgres: connecting to it (an external server, or the embedded one through its host
//! process), and one file of queries for each aggregate.
//!
//! One [`Session`] is one unit of work. It is never nested in another one and never held over a
//! call to the outside: the embedded server has a single connection, and whoever holds it
//! keeps everybody else waiting.

use std::ops::{Deref, DerefMut};

use sqlx::PgConnection;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[from] sqlx::Error),
}

/// A database that can be asked for sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens a session for one unit of work, waiting for its turn at most 30 s.
    pub async fn session(&self) -> Result<Session, StoreError> {
        todo!()
    }
}

/// A connection for one unit of work.
#[derive(Debug)]
pub struct Session {
    connection: PgConnection,
}

impl Session {
    /// Ends the unit of work and lets the next one in.
    pub async fn close(self) {
        todo!()
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}
