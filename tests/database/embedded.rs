//! The embedded database and its host: several processes, sudden deaths, and leaving.
//!
//! For the host and for the file locks, two stores in this process are like two processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aida::clock::SystemClock;
use aida::error::Kind;
use aida::store::{Session, Store, StoreError};
use futures_util::future::{join_all, try_join_all};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{self, TestDatabase};

async fn prices(session: &mut Session) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM prices").fetch_one(&mut **session).await.unwrap()
}

/// Commits one row with this number.
async fn insert(store: &Store, number: i64) -> Result<(), StoreError> {
    let mut session = store.session().await?;
    sqlx::query(
        "INSERT INTO prices (id, provider, model, effective_from, rates, source, created_at)
         VALUES ($1, 'p', 'm', '2026-11-01', '{}', 's', now())",
    )
    .bind(number.to_string())
    .execute(&mut *session)
    .await?;
    session.close().await;
    Ok(())
}

fn socket(database: &TestDatabase) -> std::path::PathBuf {
    database.data_dir().join("run/.s.PGSQL.5432")
}

/// What a client opens its session with.
const OPENING: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";

/// What a client says that opens a session and sends a statement.
fn session_with(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).unwrap().to_be_bytes();
    [OPENING, b"Q", &length, sql.as_bytes(), b"\0"].concat()
}

#[tokio::test]
async fn many_at_once_start_one_host() {
    let database = TestDatabase::embedded();
    let stores =
        try_join_all((0..6).map(|_| Store::open(database.settings(), Arc::new(SystemClock))))
            .await
            .unwrap();
    let host = database.host().unwrap();
    try_join_all(stores.iter().zip(0..).map(|(store, number)| insert(store, number)))
        .await
        .unwrap();
    assert_eq!(prices(&mut stores[0].session().await.unwrap()).await, 6);
    assert_eq!(database.host(), Some(host));
}

#[tokio::test]
async fn a_reader_is_served_while_others_write() {
    let database = TestDatabase::embedded();
    let reader = database.open().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let writers = join_all((0..3).map(|writer| {
        let (database, stop) = (&database, stop.clone());
        async move {
            let store = database.open().await;
            let mut number = writer;
            while !stop.is_cancelled() {
                insert(&store, number).await.unwrap();
                number += 3;
            }
            number / 3
        }
    }));
    let reading = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..100 {
            let started = Instant::now();
            let mut session = reader.session().await.unwrap();
            prices(&mut session).await;
            session.close().await;
            slowest = slowest.max(started.elapsed());
        }
        stop.cancel();
        slowest
    };
    let (written, slowest) = tokio::join!(writers, reading);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // Fair: nobody was left standing. The writers began when the reader had begun.
    assert!(written.iter().all(|number| *number > 10), "{written:?}");
}

#[tokio::test]
async fn a_host_that_is_killed_loses_nothing_that_was_acknowledged() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let mut acknowledged = 0;
    for round in 0..3 {
        let wanted = acknowledged + 40;
        let killing = tokio::task::spawn_blocking({
            let host = database.host();
            move || {
                std::thread::sleep(Duration::from_millis(30 + 17 * round));
                let host = host.unwrap().to_string();
                std::process::Command::new("kill").args(["-KILL", &host]).status().unwrap();
            }
        });
        let mut killed = false;
        while !killed || acknowledged < wanted {
            killed |= killing.is_finished();
            // The row of a statement whose answer was lost may stand or not.
            match insert(&store, acknowledged).await {
                Ok(()) => acknowledged += 1,
                Err(StoreError::Lost(_)) => {}
                Err(StoreError::Statement(error))
                    if error
                        .as_database_error()
                        .is_some_and(sqlx::error::DatabaseError::is_unique_violation) =>
                {
                    acknowledged += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        killing.await.unwrap();
        let mut session = store.session().await.unwrap();
        assert_eq!(prices(&mut session).await, acknowledged);
        session.close().await;
    }
}

#[tokio::test]
async fn clients_that_come_while_a_host_leaves_are_served() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    for number in 0..5 {
        let leaving = database.host();
        let told = async {
            tokio::task::spawn_blocking(move || {
                if let Some(host) = leaving {
                    // It may have left already.
                    let _ = std::process::Command::new("kill").arg(host.to_string()).status();
                }
            })
            .await
            .unwrap();
        };
        let other = database.open_unmigrated().await;
        let (first, second, ()) = tokio::join!(store.session(), other.session(), told);
        // Whoever was let in before the host was told may have been put out in the middle.
        drop((first.unwrap(), second.unwrap()));
        while let Err(error) = insert(&store, number).await {
            assert!(matches!(error, StoreError::Lost(_)), "{error:?}");
        }
    }
    assert_eq!(prices(&mut store.session().await.unwrap()).await, 5);
}

#[tokio::test]
async fn the_host_leaves_when_nobody_comes_and_is_there_for_the_next() {
    // Several at once, each coming back at another moment around the host's leaving.
    let visits = [4980_u64, 5010, 6500].map(|pause| async move {
        let database = TestDatabase::embedded();
        let store = database.open().await;
        insert(&store, 1).await.unwrap();
        let host = database.host().unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        insert(&store, 2).await.unwrap();
        assert_eq!(prices(&mut store.session().await.unwrap()).await, 2);
        let is_new = database.host() != Some(host);
        assert!(is_new || pause < 6000, "the host stayed for {pause} ms");
        assert!(!is_new || pause > 4900, "the host left within {pause} ms");
    });
    join_all(visits).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_no_trace() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let host = database.host();

    // In the middle of a transaction, as a killed process does.
    let mut session = store.session().await.unwrap();
    session
        .execute("BEGIN; SET work_mem = '1MB'; CREATE TEMP TABLE mine (id integer)")
        .await
        .unwrap();
    crate::rows::price(&mut session).await;
    drop(session);
    let mut session = store.session().await.unwrap();
    assert_eq!(prices(&mut session).await, 0);
    let (memory, mine): (String, Option<String>) =
        sqlx::query_as("SELECT current_setting('work_mem'), to_regclass('mine')::text")
            .fetch_one(&mut *session)
            .await
            .unwrap();
    assert_ne!(memory, "1MB");
    assert_eq!(mine, None);
    session.close().await;

    // In the middle of an answer, of a request, of an opening, and before saying a word.
    let long_query = session_with("SELECT repeat('x', 1000000) FROM generate_series(1, 30)");
    for (said, hears) in [
        (long_query.clone(), 300_000),
        (long_query[..OPENING.len() + 20].to_vec(), 100),
        (OPENING[..10].to_vec(), 0),
        (Vec::new(), 0),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 0),
        ([OPENING, b"Q\xff\xff\xff\xff"].concat(), 100),
    ] {
        let mut client = UnixStream::connect(socket(&database)).await.unwrap();
        client.write_all(&said).await.unwrap();
        let mut heard = vec![0; hears];
        client.read_exact(&mut heard).await.unwrap();
        drop(client);
        let mut session = store.session().await.unwrap();
        assert_eq!(prices(&mut session).await, 0);
        session.close().await;
    }
    assert_eq!(database.host(), host, "the host did not survive its clients");
}

#[tokio::test]
async fn a_failed_statement_leaves_the_session_usable() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    for _ in 0..3 {
        sqlx::query("SELECT 1 / (SELECT 0)").execute(&mut *session).await.unwrap_err();
        let mut transaction = session.begin().await.unwrap();
        crate::rows::price(&mut transaction).await;
        sqlx::query("SELECT * FROM no_such_table").execute(&mut *transaction).await.unwrap_err();
        drop(transaction);
        assert_eq!(prices(&mut session).await, 0);
    }
}

#[tokio::test]
async fn who_holds_the_session_idly_is_put_out_when_others_wait() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let mut idle = store.session().await.unwrap();
    idle.execute("BEGIN").await.unwrap();
    crate::rows::price(&mut idle).await;
    let started = Instant::now();
    let other = database.open_unmigrated().await;
    let mut session = other.session().await.unwrap();
    assert_eq!(prices(&mut session).await, 0);
    assert!(started.elapsed() > Duration::from_secs(8), "put out after {:?}", started.elapsed());
    let error = StoreError::from(sqlx::query("SELECT 1").execute(&mut *idle).await.unwrap_err());
    assert!(matches!(error, StoreError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn who_does_not_take_the_answer_is_put_out_when_others_wait() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let host = database.host();
    // Like a process that was stopped: it asks for more than the sockets hold, and reads nothing.
    let mut stopped = UnixStream::connect(socket(&database)).await.unwrap();
    stopped
        .write_all(&session_with("SELECT repeat('x', 1000000) FROM generate_series(1, 30)"))
        .await
        .unwrap();
    stopped.readable().await.unwrap();
    let mut session = store.session().await.unwrap();
    assert_eq!(prices(&mut session).await, 0);
    assert_eq!(database.host(), host);
}

#[tokio::test]
async fn a_long_statement_is_not_idleness() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let mut busy = store.session().await.unwrap();
    let other = database.open_unmigrated().await;
    let (slept, waited) = tokio::join!(
        sqlx::query("SELECT pg_sleep(11)").execute(&mut *busy),
        tokio::time::timeout(Duration::from_millis(10_500), other.session()),
    );
    slept.unwrap();
    assert!(waited.is_err(), "somebody was let in during a statement");
}

#[tokio::test]
async fn nobody_else_can_reach_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = TestDatabase::embedded();
    let _store = database.open().await;
    let folder = database.data_dir().join("run");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    #[cfg(target_os = "linux")]
    {
        let host = database.host().unwrap();
        assert_eq!(listening_ports(host), Vec::<String>::new());
        // Ctrl-C goes to the process group of the terminal's command.
        assert_ne!(process_group(host), process_group(std::process::id()));
    }
}

/// The local addresses of the TCP sockets that a process listens on.
#[cfg(target_os = "linux")]
fn listening_ports(process: u32) -> Vec<String> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    assert!(!sockets.is_empty(), "the host has at least its Unix socket");
    ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| {
            let table =
                fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
            table.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode = (*fields.get(9)?).to_owned();
            sockets.contains(&inode).then(|| fields[1].to_owned())
        })
        .collect()
}

#[cfg(target_os = "linux")]
fn process_group(process: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap().to_owned();
    after_name.split_whitespace().nth(2).unwrap().to_owned()
}

#[tokio::test]
async fn a_deep_data_directory_works() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("a rather long name with späces".repeat(4)).join("data");
    let settings = support::settings(None, &data_dir);
    let store = Store::open(&settings, Arc::new(SystemClock)).await.unwrap();
    insert(&store, 1).await.unwrap();
    assert!(store.is_embedded());
    assert!(store.description().contains("data/database"), "{}", store.description());
}

#[tokio::test]
async fn a_host_that_cannot_start_is_reported_with_its_reason() {
    let attempt = async |executable: &str, data_dir: &Path| {
        let mut settings = support::settings(None, data_dir);
        if !executable.is_empty() {
            settings.executable = executable.into();
        }
        let started = Instant::now();
        let error = Store::open(&settings, Arc::new(SystemClock)).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(error.kind(), Kind::Database);
        error
    };
    let home = tempfile::tempdir().unwrap();
    let error = attempt("/no/such/program", &home.path().join("a")).await;
    assert!(matches!(error, StoreError::Files { .. }), "{error:?}");
    let error = attempt("/bin/false", &home.path().join("b")).await;
    assert!(matches!(error, StoreError::HostFailed { .. }), "{error:?}");

    let occupied = home.path().join("file");
    fs::write(&occupied, "").unwrap();
    let error = attempt("", &occupied).await;
    assert!(matches!(error, StoreError::Files { .. }), "{error:?}");

    // The engine's folder is a file.
    let data_dir = home.path().join("c");
    fs::create_dir(&data_dir).unwrap();
    fs::write(data_dir.join("database"), "").unwrap();
    let error = attempt("", &data_dir).await;
    let StoreError::HostFailed { reason, log } = &error else { panic!("{error:?}") };
    assert!(reason.contains("did not start") || reason.contains("database"), "{reason}");
    assert!(fs::read_to_string(log).unwrap().contains(reason.as_str()));
}

#[tokio::test]
async fn a_schema_of_tomorrow_is_refused_and_kept() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    session
        .execute(AssertSqlSafe(
            "INSERT INTO aida_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', true, '\\x00', 0)"
                .to_owned(),
        ))
        .await
        .unwrap();
    session.close().await;
    database.end_host("TERM");
    let error = Store::open(database.settings(), Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaAhead { version: 9999 }), "{error:?}");
}
