//! `aida migrate`: creates or upgrades the database schema.

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::error::Error;
use crate::store::MigrationStatus;

/// Arguments of `aida migrate`.
#[derive(Debug, Clone, Args)]
#[command(about = "Create or upgrade the database schema", 
    long_about = "Create or upgrade the database schema.\n\n\
        It may be run again at any time, and by several processes at once. The embedded \
        database migrates itself.",
    after_help = "\
Examples:
  aida migrate
  aida migrate --status              which migrations the database has
  aida migrate --dry-run > next.sql  the SQL that would run
  aida migrate --adopt               for a database of the seed service",
    group = ArgGroup::new("mode").args(["status", "dry_run", "adopt"])
)]
pub struct MigrateArgs {
    /// List the migrations and change nothing
    #[arg(long)]
    pub status: bool,
    /// Print the SQL that would run and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Move the seed service's tables to the schema seed_service, rows untouched, then migrate
    #[arg(long)]
    pub adopt: bool,
}

/// Migrates, or tells what would be done.
pub async fn run(arguments: &MigrateArgs, context: &Context) -> Result<(), Error> {
    let output = &context.output;
    let store = context.unmigrated_store().await?;
    if arguments.status {
        let migrations = store.migration_status().await?;
        let seed_tables = store.seed_tables().await?;
        if output.is_json() {
            output.json(&json!({ "migrations": list(&migrations), "seed_tables": seed_tables }));
        } else {
            output.data(table(&migrations).render(output.width()));
            if !seed_tables.is_empty() {
                let names = seed_tables.join(", ");
                output.status(format!("the seed service's own tables are there: {names}"));
                output.hint("move them aside and migrate with: aida migrate --adopt");
            }
        }
        return Ok(());
    }
    if arguments.dry_run {
        let sql = store.migration_dry_run().await?;
        if output.is_json() {
            output.json(&json!({ "sql": sql }));
        } else if sql.is_empty() {
            output.status("the schema is up to date; nothing would run");
        } else {
            output.data(sql);
        }
        return Ok(());
    }
    let applied = if arguments.adopt { store.adopt().await? } else { store.migrate().await? };
    if output.is_json() {
        output.json(&json!({ "applied": list(&applied) }));
    } else if applied.is_empty() {
        output.status(format!("{}: the schema is up to date", store.description()));
    } else {
        for migration in &applied {
            output.status(format!("applied {:04} {}", migration.version, migration.description));
        }
        output.status(format!("{}: the schema is up to date", store.description()));
    }
    Ok(())
}

fn list(migrations: &[MigrationStatus]) -> Vec<Value> {
    migrations
        .iter()
        .map(|migration| {
            json!({
                "version": migration.version,
                "description": migration.description,
                "applied_at": migration.applied_at,
            })
        })
        .collect()
}

fn table(migrations: &[MigrationStatus]) -> Grid {
    let mut grid = Grid::new([
        Column::right("version"),
        Column::flexible("description", 12),
        Column::left("applied"),
    ]);
    for migration in migrations {
        let applied = migration.applied_at.map_or_else(
            || "pending".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
        grid.row([format!("{:04}", migration.version), migration.description.clone(), applied]);
    }
    grid
}
