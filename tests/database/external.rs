//! A server that is not as it should be.

use std::sync::Arc;

use aida::clock::SystemClock;
use aida::error::Kind;
use aida::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::tempdir;

use crate::support::{self, TestDatabase};

async fn open(url: String) -> StoreError {
    let home = tempdir().unwrap();
    let settings = support::settings(Some(url), home.path());
    Store::open(&settings, Arc::new(SystemClock)).await.unwrap_err()
}

#[tokio::test]
async fn each_trouble_has_its_own_name() {
    let Some(database) = TestDatabase::native().await else { return };
    let mut url = url::Url::parse(&database.url().unwrap()).unwrap();
    let name = url.path().to_owned();

    url.set_path("/no_such_database");
    let error = open(url.to_string()).await;
    assert!(matches!(error, StoreError::DatabaseMissing { .. }), "{error:?}");

    url.set_path(&name);
    url.set_username("nobody_by_this_name").unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let error = open(url.to_string()).await;
    assert!(matches!(error, StoreError::Credentials { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Database);
    assert!(!format!("{error} {error:?} {}", error.hint()).contains("hunter2"));

    url.set_port(Some(1)).unwrap();
    let error = open(url.to_string()).await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_role_without_rights_is_told_so() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let mut connection = PgConnection::connect(&database.url().unwrap()).await.unwrap();
    let role = format!("guest_{}", uuid::Uuid::now_v7().simple());
    connection.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN"))).await.unwrap();
    let mut url = url::Url::parse(&database.url().unwrap()).unwrap();
    url.set_username(&role).unwrap();
    let settings = support::settings(Some(url.into()), database.data_dir());
    let store = Store::open_unmigrated(&settings, Arc::new(SystemClock)).await.unwrap();
    let error = store.migrate().await.unwrap_err();
    connection.execute(AssertSqlSafe(format!("DROP ROLE {role}"))).await.unwrap();
    assert!(matches!(error, StoreError::NoRights { .. }), "{error:?}");
    assert!(error.hint().contains("GRANT CREATE"));
}

#[tokio::test]
async fn a_cut_connection_is_lost_and_the_next_session_is_new() {
    let Some(database) = TestDatabase::native().await else { return };
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let process: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *session).await.unwrap();
    let mut other = store.session().await.unwrap();
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(process)
        .execute(&mut *other)
        .await
        .unwrap();
    let error = loop {
        // The server needs a moment to do it.
        match sqlx::query("SELECT pg_sleep(0.01)").execute(&mut *session).await {
            Ok(_) => {}
            Err(error) => break StoreError::from(error),
        }
    };
    assert!(matches!(error, StoreError::Lost(_)), "{error:?}");
    drop((session, other));
    let mut session = store.session().await.unwrap();
    sqlx::query("SELECT 1").execute(&mut *session).await.unwrap();
}

#[tokio::test]
async fn what_was_not_committed_is_rolled_back() {
    let Some(database) = TestDatabase::native().await else { return };
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let mut transaction = session.begin().await.unwrap();
    crate::rows::price(&mut transaction).await;
    drop(transaction);
    drop(session);
    let mut session = store.session().await.unwrap();
    let prices: i64 =
        sqlx::query_scalar("SELECT count(*) FROM prices").fetch_one(&mut *session).await.unwrap();
    assert_eq!(prices, 0);
}

#[tokio::test]
async fn more_sessions_than_connections_take_turns() {
    let Some(database) = TestDatabase::native().await else { return };
    let store = database.open().await;
    let work = (0..40).map(|_| async {
        let mut session = store.session().await?;
        sqlx::query("SELECT pg_sleep(0.01)").execute(&mut *session).await?;
        session.close().await;
        Ok::<_, StoreError>(())
    });
    futures_util::future::try_join_all(work).await.unwrap();
    let mut session = store.session().await.unwrap();
    let connections: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend'",
    )
    .fetch_one(&mut *session)
    .await
    .unwrap();
    assert!((1..=8).contains(&connections), "{connections}");
}
