//! Why the database could not be used, told apart finely enough that each case has its own advice.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use crate::error::Kind;

/// The oldest server that the schema works on, as `server_version_num / 10_000`.
pub(super) const OLDEST_SERVER: u32 = 15;

/// The oldest pgvector that the schema works on, as major and minor.
pub(super) const OLDEST_VECTOR: (u32, u32) = (0, 8);

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has moved the operation on.
    #[error("operation {operation} is no longer {from}: another process has moved it on")]
    StateMoved {
        /// The operation.
        operation: String,
        /// The state it was expected in.
        from: &'static str,
    },
    /// Another process has taken the run over, so nothing was written for it.
    #[error("another process has taken this run over")]
    TakenOver,
    /// `DATABASE_URL` cannot be read. The reason never holds the URL itself.
    #[error("DATABASE_URL is not a Postgres URL: {reason}")]
    UrlMalformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The host in `DATABASE_URL` has no address.
    #[error("the database host {host} has no address: {reason}")]
    HostUnknown {
        /// The host's name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody answers where the server should be.
    #[error("the database server at {place} cannot be reached: {reason}")]
    Unreachable {
        /// `host:port`, or the path of the socket.
        place: String,
        /// What the network said.
        reason: String,
    },
    /// The server turned the user or the password down.
    #[error("the database server refused the user or the password: {reason}")]
    Credentials {
        /// What the server said.
        reason: String,
    },
    /// The server has no such database.
    #[error("the database does not exist: {reason}")]
    DatabaseMissing {
        /// What the server said.
        reason: String,
    },
    /// The server takes no more connections, or is starting or stopping.
    #[error("the database server takes no connection now: {reason}")]
    Unavailable {
        /// What the server said.
        reason: String,
    },
    /// The server is older than aida can use.
    #[error(
        "the database server is PostgreSQL {version}; aida needs {oldest} or newer",
        oldest = OLDEST_SERVER
    )]
    ServerTooOld {
        /// The server's version.
        version: String,
    },
    /// pgvector is not installed on the server's machine.
    #[error("the database server has no pgvector")]
    VectorMissing,
    /// pgvector is older than aida can use.
    #[error("the database has pgvector {installed}; aida needs 0.8 or newer")]
    VectorTooOld {
        /// The version in the database.
        installed: String,
        /// The version that the server could install instead, if that is another one.
        available: Option<String>,
    },
    /// The role may not do what was asked of it.
    #[error("the database role has no right to this: {reason}")]
    NoRights {
        /// What the server said.
        reason: String,
    },
    /// Migrations are missing.
    #[error("the database schema is behind by {pending} {}", migrations(*.pending))]
    SchemaBehind {
        /// How many migrations are missing.
        pending: usize,
    },
    /// The database was migrated by a newer aida.
    #[error("the database schema (migration {version}) is newer than this aida knows")]
    SchemaAhead {
        /// The newest migration that this aida does not know.
        version: i64,
    },
    /// A migration that was applied is not the one that this aida has under its number.
    #[error("migration {version} was applied with another text than this aida has")]
    SchemaChanged {
        /// The migration's number.
        version: i64,
    },
    /// The tables of the seed service stand where aida's own would go. Nothing was changed.
    #[error("the database already holds tables of the seed service: {}", .tables.join(", "))]
    SeedTables {
        /// Their names.
        tables: Vec<String>,
    },
    /// `migrate --adopt` was asked for, and there is nothing to adopt.
    #[error("the database holds no tables of the seed service")]
    NothingToAdopt,
    /// `migrate --adopt` was asked for, and the tables' new place is taken. Nothing was changed.
    #[error("the schema seed_service already holds: {}", .tables.join(", "))]
    SeedSchemaTaken {
        /// The names that stand there already.
        tables: Vec<String>,
    },
    /// This aida has no embedded database.
    #[error("there is no embedded database here: {reason}")]
    EmbeddedUnavailable {
        /// Why not.
        reason: &'static str,
    },
    /// Another unit of work held the database past the deadline.
    #[error("the database was busy for {} s", .waited.as_secs())]
    Busy {
        /// How long was waited.
        waited: Duration,
    },
    /// The process that hosts the embedded database did not come up.
    #[error("the embedded database did not start: {reason}")]
    HostFailed {
        /// The end of its log, or what was waited for.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// A file or folder of the embedded database is not as it must be.
    #[error("{what} {path}: {source}", path = .path.display())]
    Files {
        /// What was tried, as `cannot open`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Someone else could read or replace the folder of the database's socket.
    #[error("the folder {path} is not private to this user", path = .path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of the database is full: {reason}")]
    DiskFull {
        /// What the server or the system said.
        reason: String,
    },
    /// The connection broke in the middle of a unit of work.
    #[error("the connection to the database was lost: {0}")]
    Lost(#[source] sqlx::Error),
    /// A text or number that a database cannot hold, such as a NUL in a text or a date before its calendar.
    #[error("the database cannot hold what it was given: {reason}")]
    Unstorable {
        /// What the server said.
        reason: String,
    },
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[source] sqlx::Error),
}

fn migrations(count: usize) -> &'static str {
    if count == 1 { "migration" } else { "migrations" }
}

impl StoreError {
    /// The kind of trouble, which decides the exit code: settings (8) where what the user
    /// configured cannot work anywhere, else the database (9).
    pub const fn kind(&self) -> Kind {
        match self {
            Self::UrlMalformed { .. } | Self::EmbeddedUnavailable { .. } => Kind::Settings,
            Self::TakenOver => Kind::Locked,
            Self::Unstorable { .. } => Kind::Usage,
            _ => Kind::Database,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::StateMoved { .. } | Self::TakenOver => {
                "another aida is at work on this run; let it finish, then see: aida resume"
                    .to_owned()
            }
            Self::UrlMalformed { .. } => {
                "write it as postgres://user:password@host:5432/database, with special characters \
                 in the password percent-encoded"
                    .to_owned()
            }
            Self::HostUnknown { .. } => "check the host in DATABASE_URL".to_owned(),
            Self::Unreachable { .. } => {
                "start the server, or check host and port in DATABASE_URL; without DATABASE_URL \
                 aida uses its embedded database"
                    .to_owned()
            }
            Self::Credentials { .. } => "check user and password in DATABASE_URL".to_owned(),
            Self::DatabaseMissing { .. } => {
                "create it (createdb), or check its name at the end of DATABASE_URL".to_owned()
            }
            Self::Unavailable { .. } => {
                "try again in a moment, or raise max_connections on the server".to_owned()
            }
            Self::ServerTooOld { .. } => {
                format!("upgrade the server to PostgreSQL {OLDEST_SERVER} or newer")
            }
            Self::VectorMissing => {
                "install pgvector 0.8 or newer on the server, then run: aida migrate".to_owned()
            }
            Self::VectorTooOld { available: Some(version), .. } => format!(
                "run as the extension's owner: ALTER EXTENSION vector UPDATE TO '{version}';"
            ),
            Self::VectorTooOld { available: None, .. } => {
                "upgrade pgvector on the server, then run: ALTER EXTENSION vector UPDATE;"
                    .to_owned()
            }
            Self::NoRights { .. } => {
                "let the database's owner grant what is missing (GRANT CREATE ON SCHEMA public TO \
                 the role; CREATE EXTENSION vector), or migrate with the owner's DATABASE_URL"
                    .to_owned()
            }
            Self::SchemaBehind { .. } | Self::NothingToAdopt => "run: aida migrate".to_owned(),
            Self::SchemaAhead { .. } => "install the newer aida that migrated it".to_owned(),
            Self::SchemaChanged { .. } => {
                "use the aida that migrated it; a development build's database is best made anew"
                    .to_owned()
            }
            Self::SeedTables { .. } => {
                "run: aida migrate --adopt, which moves them, rows untouched, to the schema \
                 seed_service"
                    .to_owned()
            }
            Self::SeedSchemaTaken { .. } => {
                "rename or drop what stands in the schema seed_service, then run again: \
                 aida migrate --adopt"
                    .to_owned()
            }
            Self::EmbeddedUnavailable { .. } => {
                "set DATABASE_URL to a PostgreSQL server with pgvector".to_owned()
            }
            Self::Busy { .. } => {
                "another aida is at work in it; try again when it has finished".to_owned()
            }
            Self::HostFailed { log, .. } => {
                format!("its log is {}; or set DATABASE_URL to a server", log.display())
            }
            Self::Files { .. } => {
                "check the folder's rights and free space, or choose another with AIDA_DATA_DIR"
                    .to_owned()
            }
            Self::NotPrivate { path } => format!("remove {}, then try again", path.display()),
            Self::DiskFull { .. } => {
                "free some space, then run the same command again; nothing was lost".to_owned()
            }
            Self::Lost(_) => "try again; a run goes on with: aida resume".to_owned(),
            Self::Unstorable { .. } => "leave out control characters and dates far away".to_owned(),
            Self::Statement(_) => {
                "this is a fault in aida or in the database; aida health tells more".to_owned()
            }
        }
    }

    /// A file or folder of the embedded database is not as it must be.
    #[cfg_attr(
        not(all(feature = "embedded", unix)),
        expect(dead_code, reason = "only the embedded database has files")
    )]
    pub(super) fn files(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            Self::DiskFull { reason: source.to_string() }
        } else {
            Self::Files { what, path: path.into(), source }
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => {
                Self::Lost(error)
            }
            sqlx::Error::Database(reported) => {
                let reason = reported.message().to_owned();
                let code = reported
                    .try_downcast_ref::<PgDatabaseError>()
                    .map_or("", PgDatabaseError::code);
                // https://www.postgresql.org/docs/current/errcodes-appendix.html
                match code {
                    "28000" | "28P01" => Self::Credentials { reason },
                    "3D000" => Self::DatabaseMissing { reason },
                    "42501" => Self::NoRights { reason },
                    "22003" | "22008" | "22021" | "22P05" => Self::Unstorable { reason },
                    "53100" => Self::DiskFull { reason },
                    "53300" | "57P03" => Self::Unavailable { reason },
                    "57P01" | "57P02" | "57P05" | "25P03" => Self::Lost(error),
                    _ => Self::Statement(error),
                }
            }
            _ => Self::Statement(error),
        }
    }
}
