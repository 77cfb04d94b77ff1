//! Migrating, and databases that are not as aida wants them.

use std::sync::Arc;

use aida::clock::SystemClock;
use aida::error::Kind;
use aida::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::TestDatabase;

async fn connect(database: &TestDatabase) -> PgConnection {
    PgConnection::connect(&database.url().unwrap()).await.unwrap()
}

async fn open(database: &TestDatabase) -> Result<Store, StoreError> {
    Store::open(database.settings(), Arc::new(SystemClock)).await
}

/// Every column, index, constraint, view and text search object of the schema `public`.
async fn outline(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format('column %s.%s %s %s %s %s', attrelid::regclass, attname,
                       format_type(atttypid, atttypmod), attnotnull, attgenerated,
                       pg_get_expr(adbin, adrelid))
         FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
              LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
           AND relkind IN ('r', 'v') AND relname <> 'aida_migrations'
         UNION ALL
         SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL
         SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
         UNION ALL
         SELECT format('view %s %s', viewname, regexp_replace(definition, '\\s+', ' ', 'g'))
         FROM pg_views WHERE schemaname = 'public'
         UNION ALL
         SELECT 'configuration ' || cfgname FROM pg_ts_config
         WHERE cfgnamespace = 'public'::regnamespace
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

#[cfg(all(feature = "embedded", unix))]
#[tokio::test]
async fn both_servers_come_to_the_same_schema() {
    let Some(native) = TestDatabase::native().await else { return };
    let embedded = TestDatabase::embedded();
    let mut outlines = Vec::new();
    for database in [&native, &embedded] {
        let store = database.open().await;
        let mut session = store.session().await.unwrap();
        outlines.push(outline(&mut session).await);
        session.close().await;
    }
    assert!(outlines[0].len() > 200, "the outline is too short to say anything");
    assert_eq!(outlines[0], outlines[1]);
}

#[cfg(all(feature = "embedded", unix))]
#[tokio::test]
async fn the_embedded_database_migrates_itself() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let facts = store.facts().await.unwrap();
    assert!(facts.migrations.iter().all(|migration| migration.applied_at.is_some()));
    assert!(!facts.migrations.is_empty());
    assert_eq!(store.migrate().await.unwrap(), []);
    assert_eq!(store.migration_dry_run().await.unwrap(), "");
    assert!(facts.server_version.starts_with("17."), "{facts:?}");
    assert!(facts.vector_version.is_some(), "{facts:?}");
}

#[tokio::test]
async fn an_empty_database_is_migrated_once() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let behind = open(&database).await.unwrap_err();
    assert!(matches!(behind, StoreError::SchemaBehind { .. }), "{behind:?}");
    assert_eq!(behind.kind(), Kind::Database);
    assert!(behind.hint().contains("aida migrate"));

    let store = database.open_unmigrated().await;
    let sql = store.migration_dry_run().await.unwrap();
    assert!(sql.contains("CREATE TABLE projects"), "{sql}");
    let status = store.migration_status().await.unwrap();
    assert!(status.iter().all(|migration| migration.applied_at.is_none()));
    assert_eq!(outline(&mut store.session().await.unwrap()).await, Vec::<String>::new());

    let applied = store.migrate().await.unwrap();
    assert_eq!(applied.len(), status.len());
    assert_eq!(store.migrate().await.unwrap(), []);
    assert_eq!(store.migration_dry_run().await.unwrap(), "");
    open(&database).await.unwrap();
}

#[tokio::test]
async fn the_sql_of_a_dry_run_is_what_migrate_runs() {
    let Some(by_hand) = TestDatabase::native_empty().await else { return };
    let Some(migrated) = TestDatabase::native().await else { return };
    let sql = by_hand.open_unmigrated().await.migration_dry_run().await.unwrap();
    let mut connection = connect(&by_hand).await;
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    let wanted = outline(&mut connect(&migrated).await).await;
    let wanted: Vec<_> =
        wanted.into_iter().filter(|line| !line.contains("aida_migrations")).collect();
    assert_eq!(outline(&mut connection).await, wanted);
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let attempts = (0..6).map(|_| async {
        database.open_unmigrated().await.migrate().await.map(|applied| applied.len())
    });
    let applied = futures_util::future::try_join_all(attempts).await.unwrap();
    let known = database.open().await.migration_status().await.unwrap().len();
    assert_eq!(applied.iter().sum::<usize>(), known, "{applied:?}");
}

#[tokio::test]
async fn a_later_or_altered_schema_is_refused() {
    let Some(database) = TestDatabase::native().await else { return };
    let mut connection = connect(&database).await;
    connection.execute("UPDATE aida_migrations SET checksum = '\\x00'").await.unwrap();
    let altered = open(&database).await.unwrap_err();
    assert!(matches!(altered, StoreError::SchemaChanged { version: 1 }), "{altered:?}");
    connection
        .execute(
            "INSERT INTO aida_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', true, '\\x00', 0)",
        )
        .await
        .unwrap();
    let ahead = open(&database).await.unwrap_err();
    assert!(matches!(ahead, StoreError::SchemaAhead { version: 9999 }), "{ahead:?}");
    let refused = database.open_unmigrated().await.migrate().await.unwrap_err();
    assert!(matches!(refused, StoreError::SchemaAhead { .. }), "{refused:?}");
}

/// The seed service's tables, as far as they matter here: rows, a sequence, an index, a link
/// between two, and views with a name of aida's and with another.
const SEED_SERVICE: &str = r#"
    CREATE TABLE cost_tracking (
        id serial PRIMARY KEY, "projectId" text, component text, "costDollars" numeric,
        "cacheHitRate" numeric, "createdAt" timestamptz DEFAULT now());
    CREATE INDEX cost_tracking_component ON cost_tracking (component);
    INSERT INTO cost_tracking (component, "costDollars") VALUES ('orchestrator', 1.25), ('writer', 0.5);
    CREATE TABLE campaigns (id text PRIMARY KEY, name text);
    INSERT INTO campaigns VALUES ('c1', 'Spring');
    CREATE TABLE project_campaigns (campaign text REFERENCES campaigns (id));
    INSERT INTO project_campaigns VALUES ('c1');
    CREATE VIEW user_files AS SELECT id, name FROM campaigns;
    CREATE VIEW spent AS SELECT sum("costDollars") AS dollars FROM cost_tracking;
"#;

#[tokio::test]
async fn the_tables_of_the_seed_service_are_adopted_when_asked_for() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let mut connection = connect(&database).await;
    connection.execute(SEED_SERVICE).await.unwrap();
    let before = outline(&mut connection).await;

    let store = database.open_unmigrated().await;
    for error in [
        open(&database).await.unwrap_err(),
        store.migrate().await.unwrap_err(),
        store.migration_dry_run().await.unwrap_err(),
    ] {
        let StoreError::SeedTables { tables } = &error else { panic!("{error:?}") };
        assert_eq!(tables.len(), 4, "{tables:?}");
        assert!(error.hint().contains("aida migrate --adopt"));
        assert_eq!(error.kind(), Kind::Database);
    }
    assert_eq!(store.seed_tables().await.unwrap().len(), 4);
    assert_eq!(outline(&mut connection).await, before);

    assert!(!store.adopt().await.unwrap().is_empty());
    assert!(store.facts().await.unwrap().seed_tables.is_empty());
    open(&database).await.unwrap();
    let moved: Vec<(i32, String)> = sqlx::query_as(
        "INSERT INTO seed_service.cost_tracking (component) VALUES ('director')
         RETURNING id, component",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(moved, [(3, "director".to_owned())]);
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM seed_service.cost_tracking),
                (SELECT count(*) FROM seed_service.user_files),
                (SELECT count(*) FROM seed_service.project_campaigns),
                (SELECT count(*) FROM cost_tracking)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(counts, (3, 1, 1, 0));
    let spent: rust_decimal::Decimal =
        sqlx::query_scalar("SELECT dollars FROM spent").fetch_one(&mut connection).await.unwrap();
    assert_eq!(spent.to_string(), "1.75");

    let again = store.adopt().await.unwrap_err();
    assert!(matches!(again, StoreError::NothingToAdopt), "{again:?}");
}

#[tokio::test]
async fn an_adoption_that_fails_changes_nothing() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let mut connection = connect(&database).await;
    connection.execute(SEED_SERVICE).await.unwrap();
    let store = database.open_unmigrated().await;

    // A table that stands in the migration's way, and is none of the seed service's.
    connection.execute("CREATE TABLE takes (id integer)").await.unwrap();
    let before = outline(&mut connection).await;
    let error = store.adopt().await.unwrap_err();
    assert!(matches!(error, StoreError::Statement(_)), "{error:?}");
    assert_eq!(outline(&mut connection).await, before);
    connection.execute("DROP TABLE takes").await.unwrap();

    // The tables' new place is taken.
    connection
        .execute("CREATE SCHEMA seed_service; CREATE TABLE seed_service.campaigns (id integer)")
        .await
        .unwrap();
    let before = outline(&mut connection).await;
    let error = store.adopt().await.unwrap_err();
    let StoreError::SeedSchemaTaken { tables } = &error else { panic!("{error:?}") };
    assert_eq!(tables, &["campaigns"]);
    assert_eq!(outline(&mut connection).await, before);
}
