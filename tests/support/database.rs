//! Databases for tests: a new one for each test, gone at its end.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "test support")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aida::clock::SystemClock;
use aida::store::{DatabaseSettings, Store};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// A database of one test.
pub(crate) struct TestDatabase {
    settings: DatabaseSettings,
    home: TempDir,
    /// The URL of the server's own database and the name of the test's, on a native server.
    native: Option<(String, String)>,
}

impl TestDatabase {
    /// A migrated database: on the server of `AIDA_TEST_DATABASE_URL` if that is set, else
    /// embedded.
    pub(crate) async fn fresh() -> Self {
        match server_url() {
            Some(server) => Self::on_server(server, true).await,
            None => Self::embedded(),
        }
    }

    /// A migrated database on the native server, or `None` where there is no such server.
    pub(crate) async fn native() -> Option<Self> {
        Some(Self::on_server(native_server()?, true).await)
    }

    /// An empty database on the native server, or `None` where there is no such server.
    pub(crate) async fn native_empty() -> Option<Self> {
        Some(Self::on_server(native_server()?, false).await)
    }

    /// An embedded database, which migrates itself when it is opened first.
    pub(crate) fn embedded() -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(None, &home.path().join("data"));
        Self { settings, home, native: None }
    }

    /// How to open it.
    pub(crate) fn settings(&self) -> &DatabaseSettings {
        &self.settings
    }

    /// Its URL, for a native one.
    pub(crate) fn url(&self) -> Option<String> {
        let (server, name) = self.native.as_ref()?;
        Some(url_of(server, name))
    }

    /// The data directory of an embedded one.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.settings.data_dir
    }

    /// Opens it.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.settings, Arc::new(SystemClock)).await.unwrap()
    }

    /// Opens it whatever its schema.
    pub(crate) async fn open_unmigrated(&self) -> Store {
        Store::open_unmigrated(&self.settings, Arc::new(SystemClock)).await.unwrap()
    }

    /// The process that hosts an embedded one, if there is one.
    pub(crate) fn host(&self) -> Option<u32> {
        let path = self.data_dir().join("database.lock");
        let lock = std::fs::File::open(&path).ok()?;
        if lock.try_lock().is_ok() {
            return None;
        }
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Sends a signal (`TERM`, `KILL`) to the host of an embedded one, and waits until it is gone.
    pub(crate) fn end_host(&self, signal: &str) {
        let Some(host) = self.host() else { return };
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(host.to_string()).status();
        assert!(sent.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.host() == Some(host) {
            assert!(Instant::now() < deadline, "the host did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn on_server(server: String, migrated: bool) -> Self {
        let name = format!("aida_test_{}", Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&server).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let settings = settings(Some(url_of(&server, &name)), &home.path().join("data"));
        let database = Self { settings, home, native: Some((server, name)) };
        if migrated {
            database.open_unmigrated().await.migrate().await.unwrap();
        }
        database
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some((server, name)) = self.native.take() else {
            if let Some(host) = self.host() {
                let _ = Command::new("kill").args(["-KILL", &host.to_string()]).status();
            }
            return;
        };
        // A runtime of its own, because the test's may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connection.execute(AssertSqlSafe(statement)).await.map(drop)
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("a test database was left behind: {error}");
        }
    }
}

/// Settings for the real binary.
pub(crate) fn settings(url: Option<String>, data_dir: &Path) -> DatabaseSettings {
    DatabaseSettings {
        url: url.map(Into::into),
        data_dir: data_dir.to_owned(),
        executable: PathBuf::from(env!("CARGO_BIN_EXE_aida")),
    }
}

fn server_url() -> Option<String> {
    std::env::var("AIDA_TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

fn native_server() -> Option<String> {
    let server = server_url();
    if server.is_none() {
        assert!(
            std::env::var_os("AIDA_TEST_REQUIRE_ALL").is_none_or(|value| value != "1"),
            "AIDA_TEST_REQUIRE_ALL=1, but AIDA_TEST_DATABASE_URL is not set"
        );
        say("SKIPPED: needs a native server in AIDA_TEST_DATABASE_URL");
    }
    server
}

fn url_of(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(name);
    url.into()
}

/// Says something past the test runner, which keeps what passing tests print to itself.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
