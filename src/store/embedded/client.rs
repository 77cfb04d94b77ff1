//! Connecting to the embedded database, and starting its host where there is none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::journal::Journal;
use super::super::redaction::Redactor;
use super::super::{Connection, DatabaseSettings, SESSION_DEADLINE, Session, StoreError};
use super::place::{CLIENT_PORT, Place, open_lock};
use crate::ids::OperationId;

/// How many times a host is started for one session.
const MOST_STARTS: u32 = 2;

/// How long a host may take to become ready. That is a second as a rule; the very first one on a
/// slow and busy disk has a hundred megabytes to unpack.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// How often a lock or a starting host is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Above this size, bytes, the log is begun anew when a host is started.
const LONGEST_LOG: u64 = 1 << 20;

/// What the host gets from the environment. It outlives the command that started it and needs
/// none of its keys.
const KEPT_ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "XDG_CACHE_HOME",
    "AIDA_LOG",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
];

/// The embedded database of one data directory.
#[derive(Debug, Clone)]
pub(in crate::store) struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    executable: PathBuf,
    options: PgConnectOptions,
    journal: Journal,
    /// The host lets one client in at a time, in the order of arrival. With one client of each
    /// process in its queue, the processes take turns.
    turn: Arc<Semaphore>,
}

impl Embedded {
    /// Makes sure of the data directory. Starts nothing yet.
    pub(in crate::store) fn new(settings: &DatabaseSettings) -> Result<Self, StoreError> {
        let place = Place::prepare(&settings.data_dir)?;
        let options = options(&place, CLIENT_PORT);
        let journal = Journal::at(place.data_dir());
        let shared = Shared {
            place,
            executable: settings.executable.clone(),
            options,
            journal,
            turn: Arc::new(Semaphore::new(1)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Waits for its turn, and connects to the host, which is started if there is none.
    pub(in crate::store) async fn session(&self) -> Result<Session, StoreError> {
        let deadline = Instant::now() + SESSION_DEADLINE;
        let turn = timeout_at(deadline, Arc::clone(&self.shared.turn).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        let connection = self.connect(deadline).await?;
        Ok(Session { connection: Connection::Embedded { connection, turn } })
    }

    pub(in crate::store) async fn journal(
        &self,
        session: &mut Session,
        operation: OperationId,
    ) -> Result<(), StoreError> {
        self.shared.journal.write(session, operation).await
    }

    pub(in crate::store) async fn redact_journal(
        &self,
        redactor: &Arc<Redactor>,
    ) -> Result<(), StoreError> {
        self.shared.journal.redact(Arc::clone(redactor)).await
    }

    pub(in crate::store) fn description(&self) -> String {
        format!("embedded in {}", self.shared.place.database().display())
    }

    async fn connect(&self, mut deadline: Instant) -> Result<PgConnection, StoreError> {
        let start_deadline = Instant::now() + START_DEADLINE;
        let mut starts = 0;
        loop {
            let attempt = PgConnection::connect_with(&self.shared.options);
            match timeout_at(deadline, attempt).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if is_nobody_there(&error) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(busy()),
            }
            // Nothing has been asked yet, so whatever happened to the host, starting another
            // and asking that one is safe.
            timeout_at(start_deadline, self.shared.start_host(&mut starts))
                .await
                .unwrap_or_else(|_| Err(self.shared.host_failed("it did not become ready")))?;
            deadline = Instant::now() + SESSION_DEADLINE;
            sleep(GLANCE).await;
        }
    }
}

impl Shared {
    /// Starts the host unless there is one, and waits until it can be connected to.
    async fn start_host(&self, starts: &mut u32) -> Result<(), StoreError> {
        let path = self.place.start_lock();
        let lock = open_lock(&path)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => sleep(GLANCE).await,
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::files("cannot lock", path, source));
                }
            }
        }
        // The lock is free again when `lock` is dropped, wherever this ends.
        loop {
            // Somebody else may have started it while this process queued at the lock.
            if self.is_there().await {
                return Ok(());
            }
            if *starts == MOST_STARTS {
                return Err(self.host_failed("it ended again and again"));
            }
            *starts += 1;
            let mut host = self.spawn()?;
            let reason = loop {
                if self.is_there().await {
                    return Ok(());
                }
                match host.child.try_wait() {
                    Ok(Some(status)) => break host.last_words(&self.place, status),
                    Ok(None) => sleep(GLANCE).await,
                    Err(error) => break error.to_string(),
                }
            };
            if *starts == MOST_STARTS {
                return Err(self.host_failed(&reason));
            }
            tracing::debug!(%reason, "the database host is started again");
        }
    }

    /// Whether somebody listens. A socket that a killed host left behind refuses.
    async fn is_there(&self) -> bool {
        match UnixStream::connect(self.place.client_socket()).await {
            Ok(_) => true,
            // Its queue is full, so it is there.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn spawn(&self) -> Result<Host, StoreError> {
        let path = self.place.log();
        let opened = |log: io::Result<File>| {
            log.map_err(|source| StoreError::files("cannot open", &path, source))
        };
        if fs::metadata(&path).is_ok_and(|found| found.len() > LONGEST_LOG) {
            opened(File::create(&path))?;
        }
        let log = opened(OpenOptions::new().append(true).create(true).open(&path))?;
        let log_start = log.metadata().map_or(0, |found| found.len());
        let environment =
            KEPT_ENVIRONMENT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = Command::new(&self.executable)
            .arg("__database")
            .arg(self.place.data_dir())
            .env_clear()
            .envs(environment)
            .current_dir(self.place.data_dir())
            .stdin(Stdio::null())
            .stdout(opened(log.try_clone())?)
            .stderr(log)
            // Ctrl-C at the terminal is meant for the command, not for the database.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(|source| StoreError::files("cannot start", &self.executable, source))?;
        let process = child.id().unwrap_or_default();
        Ok(Host { child, process, log_start })
    }

    fn host_failed(&self, reason: &str) -> StoreError {
        StoreError::HostFailed { reason: reason.to_owned(), log: self.place.log() }
    }
}

/// A host that this process has started.
struct Host {
    child: Child,
    process: u32,
    log_start: u64,
}

impl Host {
    /// What it wrote to its log about its end.
    fn last_words(&self, place: &Place, status: std::process::ExitStatus) -> String {
        let said = read_from(&place.log(), self.log_start).unwrap_or_default();
        let mark = log_mark(self.process);
        let own = said.lines().rev().find_map(|line| line.strip_prefix(&mark));
        let last = || said.lines().rev().find(|line| !line.trim().is_empty());
        match own.or_else(last) {
            Some(line) => line.trim().to_owned(),
            None => format!("it ended with {status}"),
        }
    }
}

/// What stands before the last words of a host in the log.
pub(super) fn log_mark(process: u32) -> String {
    format!("host {process}: ")
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(start))?;
    let mut said = Vec::new();
    log.take(64 << 10).read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// How to connect to a socket of the database. The library would not read it as a URL.
pub(super) fn options(place: &Place, port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(place.socket_folder())
        .port(port)
        .username("postgres")
        .database("postgres")
        .application_name("aida")
        .ssl_mode(PgSslMode::Disable)
}

/// Whether an attempt to connect failed because there is no host, or one that is just leaving.
fn is_nobody_there(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WouldBlock
    ))
}

fn busy() -> StoreError {
    StoreError::Busy { waited: SESSION_DEADLINE }
}
