//! Postgres: connecting to it (an external server, or the embedded one through its host
//! process), and one file of queries for each aggregate.
//!
//! One [`Session`] is one unit of work. It is never nested in another one and never held over a
//! call to the outside: the embedded server has a single connection, and whoever holds it
//! keeps everybody else waiting.

pub mod batches;
pub mod bills;
pub mod budgets;
pub mod campaign_styles;
pub mod campaigns;
pub mod charges;
pub mod embedded;
pub mod embeddings;
mod error;
mod external;
pub mod feedback;
pub mod files;
pub mod history;
#[cfg(all(feature = "embedded", unix))]
mod journal;
pub mod locks;
pub mod operations;
pub mod past;
pub mod preferences;
pub mod project_texts;
pub mod projects;
pub mod prompt_cache;
pub mod queue;
pub mod redaction;
pub mod reuse;
pub mod run_events;
pub mod runs;
mod schema;
pub mod settlements;
pub mod takes;
pub mod taste;

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::PgConnection;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
#[cfg(all(feature = "embedded", unix))]
use {sqlx::Connection as _, tokio::sync::OwnedSemaphorePermit};

use crate::clock::SharedClock;
use crate::ids::OperationId;

pub use error::StoreError;
pub use schema::MigrationStatus;

use embedded::Embedded;
use external::External;

/// How long a session waits for its turn.
const SESSION_DEADLINE: Duration = Duration::from_secs(30);

/// Which database to use.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`; without one the embedded database is used.
    pub url: Option<SecretString>,
    /// aida's data directory, where the embedded database and its journal live.
    pub data_dir: PathBuf,
    /// This binary, which hosts the embedded database when started as `__database DIR`.
    pub executable: PathBuf,
}

/// What `health` tells about the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// The server's version, as `17.5`.
    pub server_version: String,
    /// pgvector's version, as `0.8.2`, where it is installed.
    pub vector_version: Option<String>,
    /// Every migration that this aida knows, oldest first.
    pub migrations: Vec<MigrationStatus>,
    /// The seed service's own tables, where the database is still that service's.
    pub seed_tables: Vec<String>,
}

/// A database that can be asked for sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    clock: SharedClock,
    server: Server,
}

#[derive(Debug, Clone)]
enum Server {
    External(External),
    Embedded(Embedded),
}

impl Store {
    /// Connects to the database, and refuses one whose schema is not the one that this aida
    /// knows. The embedded database migrates itself and takes in what its journal has more.
    pub async fn open(settings: &DatabaseSettings, clock: SharedClock) -> Result<Self, StoreError> {
        let store = Self::open_unmigrated(settings, clock).await?;
        let mut session = store.session().await?;
        match schema::check(&mut session).await {
            // The host migrates, but it may be an older aida that has not left yet.
            Err(StoreError::SchemaBehind { .. }) if store.is_embedded() => {
                schema::migrate(&mut session).await?;
            }
            checked => checked?,
        }
        session.close().await;
        Ok(store)
    }

    /// Connects to the database whatever its schema, for `migrate` and `health`.
    pub async fn open_unmigrated(
        settings: &DatabaseSettings,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let server = match &settings.url {
            Some(url) => Server::External(External::connect(url).await?),
            None => Server::Embedded(Embedded::new(settings)?),
        };
        Ok(Self { clock, server })
    }

    /// Opens a session for one unit of work, waiting for its turn at most 30 s.
    pub async fn session(&self) -> Result<Session, StoreError> {
        match &self.server {
            Server::External(external) => external.session().await,
            Server::Embedded(embedded) => embedded.session().await,
        }
    }

    /// Writes an operation, and what it hangs on, to the operations journal: before a paid
    /// send, when its request id is stored, and when it is settled. Returns when the line is on
    /// the disk. An external server keeps its own log, so there it does nothing.
    pub async fn journal(
        &self,
        session: &mut Session,
        operation: OperationId,
    ) -> Result<(), StoreError> {
        match &self.server {
            Server::External(_) => Ok(()),
            Server::Embedded(embedded) => embedded.journal(session, operation).await,
        }
    }

    /// Takes words out of the lines of the operations journal. To be called in the transaction that
    /// takes them out of the database, before it is committed: nobody else has a session of the
    /// embedded database meanwhile, so none of them can come back. An external server has no such
    /// journal.
    pub async fn redact_journal(
        &self,
        _transaction: &mut PgConnection,
        redactor: &Arc<redaction::Redactor>,
    ) -> Result<(), StoreError> {
        match &self.server {
            Server::External(_) => Ok(()),
            Server::Embedded(embedded) => embedded.redact_journal(redactor).await,
        }
    }

    /// Whether this is the embedded database.
    pub const fn is_embedded(&self) -> bool {
        matches!(self.server, Server::Embedded(_))
    }

    /// Where the indexes of vectors are made.
    pub const fn index_place(&self) -> embeddings::index::Place {
        match self.server {
            Server::External(_) => embeddings::index::Place::Server,
            Server::Embedded(_) => embeddings::index::Place::Embedded,
        }
    }

    /// Which database this is, in words and without secrets.
    pub fn description(&self) -> String {
        match &self.server {
            Server::External(external) => external.description(),
            Server::Embedded(embedded) => embedded.description(),
        }
    }

    /// What `health` tells about the database.
    pub async fn facts(&self) -> Result<DatabaseFacts, StoreError> {
        let mut session = self.session().await?;
        let versions = schema::versions(&mut session).await?;
        let migrations = schema::status(&mut session).await?;
        let seed_tables = schema::seed_tables(&mut session).await?;
        session.close().await;
        Ok(DatabaseFacts {
            server_version: versions.server,
            vector_version: versions.vector,
            migrations,
            seed_tables,
        })
    }

    /// The clock that rows are dated by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }
}

/// A connection for one unit of work. Dropping it rolls back what was not committed.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
}

#[derive(Debug)]
enum Connection {
    Pooled(PoolConnection<Postgres>),
    #[cfg(all(feature = "embedded", unix))]
    Embedded {
        connection: PgConnection,
        /// Lets the next session of this process in when it is dropped.
        turn: OwnedSemaphorePermit,
    },
}

impl Session {
    /// Ends the unit of work and lets the next one in. What was not committed is rolled back.
    #[cfg_attr(
        not(all(feature = "embedded", unix)),
        expect(clippy::unused_async, reason = "only the embedded database has to be told")
    )]
    pub async fn close(self) {
        match self.connection {
            Connection::Pooled(connection) => drop(connection),
            #[cfg(all(feature = "embedded", unix))]
            Connection::Embedded { connection, turn } => {
                // The host notices the end of the connection even without a goodbye.
                let _ = connection.close().await;
                drop(turn);
            }
        }
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &Self::Target {
        match &self.connection {
            Connection::Pooled(connection) => connection,
            #[cfg(all(feature = "embedded", unix))]
            Connection::Embedded { connection, .. } => connection,
        }
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.connection {
            Connection::Pooled(connection) => connection,
            #[cfg(all(feature = "embedded", unix))]
            Connection::Embedded { connection, .. } => connection,
        }
    }
}
