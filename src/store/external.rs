//! A Postgres server named by `DATABASE_URL`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgPool};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Connection, SESSION_DEADLINE, Session, StoreError};

/// How many connections one process takes at most: a server has a hundred for everybody, and units
/// of work are short.
const MOST_CONNECTIONS: u32 = 4;

/// How long a connection is kept that nobody uses: other processes may be waiting for one.
const IDLE_CONNECTION: Duration = Duration::from_secs(5);

/// How long the server's name and port may take to answer.
const REACH_DEADLINE: Duration = Duration::from_secs(10);

/// A process that is stopped in the middle of a transaction must not keep its locks from all others for as
/// long as it sleeps.
const GIVE_UP_WHO_SLEEPS: &str = "SET idle_in_transaction_session_timeout = '15s'";

/// An external server and this process's connections to it.
#[derive(Debug, Clone)]
pub(super) struct External {
    pool: PgPool,
    options: Arc<PgConnectOptions>,
}

impl External {
    /// Reads the URL, and looks whether anybody listens there. The pool would go on
    /// knocking at a closed port until its deadline, and then could not say what the matter was.
    pub(super) async fn connect(url: &SecretString) -> Result<Self, StoreError> {
        let options = parse(url.expose_secret())?.application_name("aida");
        reach(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(MOST_CONNECTIONS)
            .idle_timeout(IDLE_CONNECTION)
            .acquire_timeout(SESSION_DEADLINE)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(GIVE_UP_WHO_SLEEPS).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options: Arc::new(options) })
    }

    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(Session { connection: Connection::Pooled(connection) }),
            Err(sqlx::Error::PoolTimedOut) => {
                // Either nobody answers any more, or all connections are taken.
                reach(&self.options).await?;
                Err(StoreError::Busy { waited: SESSION_DEADLINE })
            }
            Err(error @ (sqlx::Error::Io(_) | sqlx::Error::Tls(_))) => {
                Err(self.unreachable(&error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `postgres://user@host:port/database`, without the password.
    pub(super) fn description(&self) -> String {
        let database = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        format!("{} at {}", database, place(&self.options))
    }

    fn unreachable(&self, error: &sqlx::Error) -> StoreError {
        StoreError::Unreachable { place: place(&self.options), reason: error.to_string() }
    }
}

/// Reads a `postgres://` or `postgresql://` URL.
fn parse(url: &str) -> Result<PgConnectOptions, StoreError> {
    let malformed = |reason: &str| StoreError::UrlMalformed { reason: reason.to_owned() };
    let url = url.trim();
    if url.is_empty() {
        return Err(malformed("it is empty"));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(malformed("it does not begin with postgres:// or postgresql://"));
    }
    PgConnectOptions::from_str(url).map_err(|error| match error {
        sqlx::Error::Configuration(reason) => malformed(&reason.to_string()),
        _ => malformed("it cannot be read"),
    })
}

/// Where the server is.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// The path of the server's Unix socket, where that is how it is reached.
#[cfg(unix)]
fn socket(options: &PgConnectOptions) -> Option<std::path::PathBuf> {
    let host = options.get_host();
    let folder = match options.get_socket() {
        Some(folder) => folder.clone(),
        None => host.starts_with('/').then(|| host.into())?,
    };
    Some(folder.join(format!(".s.PGSQL.{}", options.get_port())))
}

/// Finds out whether somebody listens at the server's address.
async fn reach(options: &PgConnectOptions) -> Result<(), StoreError> {
    let unreachable = |reason: String| StoreError::Unreachable { place: place(options), reason };
    let attempt = async {
        #[cfg(unix)]
        if let Some(path) = socket(options) {
            return tokio::net::UnixStream::connect(path)
                .await
                .map(drop)
                .map_err(|error| unreachable(error.to_string()));
        }
        let host = options.get_host();
        let addresses: Vec<_> = lookup_host((host.trim_matches(['[', ']']), options.get_port()))
            .await
            .map_err(|error| StoreError::HostUnknown {
                host: host.to_owned(),
                reason: error.to_string(),
            })?
            .collect();
        TcpStream::connect(addresses.as_slice())
            .await
            .map(drop)
            .map_err(|error| unreachable(error.to_string()))
    };
    timeout(REACH_DEADLINE, attempt).await.unwrap_or_else(|_| {
        Err(unreachable(format!("no answer in {} s", REACH_DEADLINE.as_secs())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_malformed_url_is_a_settings_error_that_does_not_repeat_it() {
        for url in [
            "",
            "  ",
            "mysql://me:hunter2@localhost/x",
            "me:hunter2@localhost",
            "postgres://me:hunter2@localhost:port/x",
            "postgres://me:hunter2@:5432/x",
            "postgres://me:hunter2@localhost/x?sslmode=maybe",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Settings, "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_description_has_no_password() {
        let options = parse("postgres://me:hunter2@db.example.com:6000/films").unwrap();
        let external = External {
            pool: PgPool::connect_lazy_with(options.clone()),
            options: Arc::new(options),
        };
        assert_eq!(external.description(), "films at db.example.com:6000");
        assert!(
            !format!("{:?}", external.unreachable(&sqlx::Error::WorkerCrashed)).contains("hunter2")
        );
    }

    #[tokio::test]
    async fn a_closed_port_and_an_unknown_host_are_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let connect = async |url: String| External::connect(&url.into()).await.unwrap_err();
        let closed = connect(format!("postgres://me@127.0.0.1:{port}/x")).await;
        assert!(matches!(closed, StoreError::Unreachable { .. }), "{closed:?}");
        let missing = connect("postgres://me@%2Fno%2Fsuch%2Ffolder/x".to_owned()).await;
        assert!(matches!(missing, StoreError::Unreachable { .. }), "{missing:?}");
        let unknown = connect("postgres://me@nowhere.invalid/x".to_owned()).await;
        assert!(matches!(unknown, StoreError::HostUnknown { .. }), "{unknown:?}");
    }
}
