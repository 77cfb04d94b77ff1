//! The schema: which migrations a database has, and applying those that it lacks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::error::{OLDEST_SERVER, OLDEST_VECTOR};
use super::{Store, StoreError};

/// The migrations of this aida. Their table has aida's own name, because an operator's database
/// may hold the table of another program that uses the same library.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("aida_migrations");
    // The lock below covers more than the library's would: the look at what is there, too.
    migrator.set_locking(false);
    migrator
}

/// The tables of the seed service, whose names aida took over.
const SEED_TABLES: [&str; 7] = [
    "project_embeddings",
    "user_files",
    "campaigns",
    "project_campaigns",
    "user_preferences",
    "project_feedback",
    "cost_tracking",
];

/// The schema that the seed service's own tables are moved to.
const SEED_SCHEMA: &str = "seed_service";

/// `aida` in ASCII, and `mig`: the advisory lock that migrating processes queue at.
const MIGRATION_LOCK: i64 = 0x6169_6461_006d_6967;

/// One migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// What it does, in a word or two.
    pub description: String,
    /// When it was applied; none while it is pending.
    pub applied_at: Option<Timestamp>,
}

impl Store {
    /// Applies the migrations that the database lacks, all or none, and returns them. Several
    /// processes may do it at once.
    ///
    /// A database that holds tables of the seed service is left as it is.
    pub async fn migrate(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut session = self.session().await?;
        let applied = migrate(&mut session).await;
        session.close().await;
        applied
    }

    /// Moves the seed service's tables, rows untouched, to the schema `seed_service`, and
    /// migrates, both in one transaction. Returns the migrations that were applied.
    pub async fn adopt(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut session = self.session().await?;
        let applied = adopt(&mut session).await;
        session.close().await;
        applied
    }

    /// Every migration that this aida knows, oldest first, with the time of its application.
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut session = self.session().await?;
        let migrations = status(&mut session).await;
        session.close().await;
        migrations
    }

    /// The seed service's own tables, where the database is still that service's.
    pub async fn seed_tables(&self) -> Result<Vec<String>, StoreError> {
        let mut session = self.session().await?;
        let tables = seed_tables(&mut session).await;
        session.close().await;
        tables
    }

    /// The SQL that [`migrate`](Self::migrate) would run. Changes nothing.
    pub async fn migration_dry_run(&self) -> Result<String, StoreError> {
        let mut session = self.session().await?;
        refuse_unusable(&mut session).await?;
        let state = State::read(&mut session).await?;
        session.close().await;
        state.refuse_foreign()?;
        let migrator = migrator();
        state.refuse_later(&migrator)?;
        let mut sql = String::new();
        for migration in migrator.iter().filter(|migration| state.lacks(migration.version)) {
            let text = migration.sql.as_str().trim_end();
            // Writing to a string cannot fail.
            let _ =
                writeln!(sql, "-- {:04} {}\n{text}\n", migration.version, migration.description);
        }
        Ok(sql)
    }
}

/// Versions of the server's parts.
pub(super) struct Versions {
    /// The server's, as `17.5`.
    pub(super) server: String,
    server_major: u32,
    /// pgvector's in this database, if it is there.
    pub(super) vector: Option<String>,
    /// pgvector's that the server could install.
    vector_available: Option<String>,
}

/// Asks for the versions of the server's parts.
pub(super) async fn versions(connection: &mut PgConnection) -> Result<Versions, StoreError> {
    let (server, number, vector, vector_available): (String, i32, Option<String>, Option<String>) =
        sqlx::query_as(
            "SELECT split_part(current_setting('server_version'), ' ', 1),
                    current_setting('server_version_num')::integer,
                    (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
                    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')",
        )
        .fetch_one(connection)
        .await?;
    let server_major = u32::try_from(number / 10_000).unwrap_or(0);
    Ok(Versions { server, server_major, vector, vector_available })
}

impl Versions {
    /// Refuses a server that the schema cannot work on.
    fn check(self) -> Result<(), StoreError> {
        if self.server_major < OLDEST_SERVER {
            return Err(StoreError::ServerTooOld { version: self.server });
        }
        let available = self.vector_available.filter(|version| !is_too_old(version));
        match self.vector {
            Some(installed) if is_too_old(&installed) => {
                Err(StoreError::VectorTooOld { installed, available })
            }
            None if available.is_none() => Err(StoreError::VectorMissing),
            _ => Ok(()),
        }
    }
}

/// Whether a pgvector of this version lacks what aida needs. A version that cannot be read is
/// taken to be a newer scheme of numbering.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST_VECTOR,
        _ => false,
    }
}

async fn refuse_unusable(connection: &mut PgConnection) -> Result<(), StoreError> {
    versions(connection).await?.check()
}

/// What a database has of the schema.
struct State {
    /// Whether the table of migrations exists.
    has_table: bool,
    /// The applied migrations: number, and checksum with the time.
    applied: BTreeMap<i64, (Vec<u8>, Timestamp)>,
    /// Tables and views with the seed service's names.
    seed_names: Vec<String>,
}

impl State {
    async fn read(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let (has_table, seed_names): (bool, Vec<String>) = sqlx::query_as(
            "SELECT to_regclass('aida_migrations') IS NOT NULL,
                    ARRAY(SELECT name FROM unnest($1::text[]) AS name
                          WHERE to_regclass(name) IS NOT NULL)",
        )
        .bind(SEED_TABLES.map(str::to_owned).to_vec())
        .fetch_one(&mut *connection)
        .await?;
        let mut applied = BTreeMap::new();
        if has_table {
            let rows: Vec<(i64, Vec<u8>, jiff_sqlx::Timestamp)> = sqlx::query_as(
                "SELECT version, checksum, installed_on FROM aida_migrations
                 WHERE success ORDER BY version",
            )
            .fetch_all(connection)
            .await?;
            applied.extend(rows.into_iter().map(|(version, checksum, installed_on)| {
                (version, (checksum, installed_on.to_jiff()))
            }));
        }
        Ok(Self { has_table, applied, seed_names })
    }

    fn lacks(&self, version: i64) -> bool {
        !self.applied.contains_key(&version)
    }

    /// The seed service's own tables: once a database is aida's, the names are aida's.
    fn foreign(&self) -> &[String] {
        if self.has_table { &[] } else { &self.seed_names }
    }

    /// Refuses a database that is the seed service's.
    fn refuse_foreign(&self) -> Result<(), StoreError> {
        match self.foreign() {
            [] => Ok(()),
            tables => Err(StoreError::SeedTables { tables: tables.to_vec() }),
        }
    }

    /// Refuses a database that a newer or another aida migrated.
    fn refuse_later(&self, migrator: &Migrator) -> Result<(), StoreError> {
        let later = self.applied.keys().rev().find(|version| !migrator.version_exists(**version));
        if let Some(version) = later {
            return Err(StoreError::SchemaAhead { version: *version });
        }
        for migration in migrator.iter() {
            if let Some((checksum, _)) = self.applied.get(&migration.version)
                && checksum.as_slice() != &*migration.checksum
            {
                return Err(StoreError::SchemaChanged { version: migration.version });
            }
        }
        Ok(())
    }

    fn status(&self, migrator: &Migrator) -> Vec<MigrationStatus> {
        migrator
            .iter()
            .map(|migration| MigrationStatus {
                version: migration.version,
                description: migration.description.clone().into_owned(),
                applied_at: self.applied.get(&migration.version).map(|(_, time)| *time),
            })
            .collect()
    }
}

/// Refuses a database whose schema is not the one that this aida knows.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let state = State::read(connection).await?;
    let migrator = migrator();
    state.refuse_foreign()?;
    state.refuse_later(&migrator)?;
    match migrator.iter().filter(|migration| state.lacks(migration.version)).count() {
        0 => Ok(()),
        pending => {
            // A server that cannot be migrated is the better thing to hear of.
            refuse_unusable(connection).await?;
            Err(StoreError::SchemaBehind { pending })
        }
    }
}

/// Every migration that this aida knows, oldest first.
pub(super) async fn status(
    connection: &mut PgConnection,
) -> Result<Vec<MigrationStatus>, StoreError> {
    Ok(State::read(connection).await?.status(&migrator()))
}

/// The seed service's own tables, where the database is still that service's.
pub(super) async fn seed_tables(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(State::read(connection).await?.foreign().to_vec())
}

/// Applies what is pending.
pub(super) async fn migrate(
    connection: &mut PgConnection,
) -> Result<Vec<MigrationStatus>, StoreError> {
    refuse_unusable(connection).await?;
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    let before = State::read(&mut transaction).await?;
    before.refuse_foreign()?;
    let applied = apply(&mut transaction, &before).await?;
    transaction.commit().await?;
    Ok(applied)
}

async fn adopt(connection: &mut PgConnection) -> Result<Vec<MigrationStatus>, StoreError> {
    refuse_unusable(connection).await?;
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    let before = State::read(&mut transaction).await?;
    if before.has_table || before.seed_names.is_empty() {
        return Err(StoreError::NothingToAdopt);
    }
    move_away(&mut transaction, &before.seed_names).await?;
    let applied = apply(&mut transaction, &before).await?;
    transaction.commit().await?;
    Ok(applied)
}

/// How long a migrating process waits for another one, and for readers of what it changes.
const LOCK_DEADLINE: Duration = Duration::from_mins(1);

/// Queues behind other processes that migrate the same database, until the transaction ends.
async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('lock_timeout', $1, true)")
        .bind(format!("{}ms", LOCK_DEADLINE.as_millis()))
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(connection)
        .await
        .map_err(|error| match error.as_database_error().and_then(DatabaseError::code) {
            // lock_not_available
            Some(code) if code == "55P03" => StoreError::Busy { waited: LOCK_DEADLINE },
            _ => error.into(),
        })?;
    Ok(())
}

async fn apply(
    connection: &mut PgConnection,
    before: &State,
) -> Result<Vec<MigrationStatus>, StoreError> {
    let migrator = migrator();
    before.refuse_later(&migrator)?;
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => StoreError::SchemaAhead { version },
        MigrateError::VersionMismatch(version) => StoreError::SchemaChanged { version },
        other => StoreError::Statement(other.into()),
    })?;
    let mut after = State::read(connection).await?.status(&migrator);
    after.retain(|migration| before.lacks(migration.version));
    Ok(after)
}

/// Moves the seed service's tables and views to their own schema. Their indexes, constraints
/// and owned sequences go with them; views that read them follow by identity.
async fn move_away(connection: &mut PgConnection, names: &[String]) -> Result<(), StoreError> {
    let taken: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = to_regnamespace($1) AND relname = ANY($2) ORDER BY relname",
    )
    .bind(SEED_SCHEMA)
    .bind(names)
    .fetch_all(&mut *connection)
    .await?;
    if !taken.is_empty() {
        return Err(StoreError::SeedSchemaTaken { tables: taken });
    }
    connection.execute("CREATE SCHEMA IF NOT EXISTS seed_service").await?;
    // The statements are put together by the server, which knows how to quote names.
    let statements: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER %s %s SET SCHEMA seed_service',
                       CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                    WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
                       oid::regclass)
         FROM pg_class WHERE oid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
         ORDER BY relname",
    )
    .bind(names)
    .fetch_all(&mut *connection)
    .await?;
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgvector_versions_compare_as_numbers() {
        for (version, too_old) in [
            ("0.7.4", true),
            ("0.8.0", false),
            ("0.8.2", false),
            ("0.10.0", false),
            ("1.0", false),
            ("0.5", true),
            ("next", false),
        ] {
            assert_eq!(is_too_old(version), too_old, "{version}");
        }
    }
}
