//! The operations journal: the embedded server does not wait for the disk, and after a power cut
//! may not know of a paid call any more. So before a paid send, on its request id and when it is
//! settled, a line with everything that the operation hangs on is appended to
//! `operations.journal` and waited for, and whoever opens the database takes in what it lacks.
//!
//! A line is `{"v":1,"project":…,"run":…,"shots":[…],"budgets":[…],"price":…,"operation":…,
//! "charge":…,"takes":[…]}`, each part a row as JSON, or null.

mod file;
mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::PgConnection;

use super::StoreError;
use super::redaction::Redactor;
use crate::ids::OperationId;

/// The journal of one data directory.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Whether it holds something that the database could not take in.
    must_be_kept: bool,
}

impl Journal {
    /// The journal in this data directory, which need not exist yet.
    pub(super) fn at(data_dir: &Path) -> Self {
        Self { path: data_dir.join("operations.journal"), must_be_kept: false }
    }

    /// Appends what the database now says about an operation. Returns when it is on the disk.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        operation: OperationId,
    ) -> Result<(), StoreError> {
        let mut line: String =
            sqlx::query_scalar(SNAPSHOT).bind(operation).fetch_one(connection).await?;
        line.push('\n');
        let path = self.path.clone();
        let at = self.path.clone();
        tokio::task::spawn_blocking(move || file::append(&path, line.as_bytes()))
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|source| StoreError::files("cannot write the journal", at, source))
    }

    /// Takes in what the database lacks. A line that it will not take is left in the journal,
    /// which is then not emptied; the database is usable all the same.
    pub(super) async fn replay(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let lines = file::read(&self.path)
            .map_err(|source| StoreError::files("cannot read the journal", &self.path, source))?;
        let taken_in = replay::replay(connection, &lines).await?;
        if taken_in.operations > 0 {
            tracing::warn!(
                operations = taken_in.operations,
                "the journal knew more than the database, which was mended"
            );
        }
        if taken_in.refused > 0 {
            self.keep();
        }
        Ok(())
    }

    /// Takes words out of the lines, in one step: a crash leaves them all as they were or all as
    /// they are to be. To be called with the session that takes the same words out of the database
    /// and before that is committed, so that no line is appended in between that still has them, and
    /// so that there is no moment at which the journal could bring back what the database has lost.
    pub(super) async fn redact(&self, redactor: Arc<Redactor>) -> Result<(), StoreError> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            file::rewrite(&path, |line| redactor.journal_line(line)).map(drop)
        })
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|source| StoreError::files("cannot change the journal", &self.path, source))
    }

    /// Has the journal kept as it is instead of emptied.
    pub(super) fn keep(&mut self) {
        self.must_be_kept = true;
    }

    /// Empties the journal after everything in the database's folder is on the disk. To be called
    /// only when the engine has stopped and the caller still keeps others from starting it.
    pub(super) fn empty_after_syncing(&self, database: &Path) -> Result<(), StoreError> {
        if self.must_be_kept {
            return Ok(());
        }
        file::empty_after_syncing(&self.path, database)
            .map_err(|source| StoreError::files("cannot empty the journal", &self.path, source))
    }
}

/// One line, read in one statement so that its parts fit together.
const SNAPSHOT: &str = "
SELECT jsonb_build_object(
    'v', 1,
    'project', (SELECT to_jsonb(entry) FROM projects AS entry WHERE entry.id = operation.project_id),
    'run', (SELECT to_jsonb(entry) FROM runs AS entry WHERE entry.id = operation.run_id),
    'shots', (SELECT coalesce(jsonb_agg(to_jsonb(entry) ORDER BY entry.number), '[]')
              FROM shots AS entry WHERE entry.project_id = operation.project_id),
    'budgets', (SELECT coalesce(jsonb_agg(to_jsonb(entry) ORDER BY entry.scope), '[]')
                FROM budgets AS entry
                WHERE entry.scope NOT IN ('run', 'run_language', 'batch') OR entry.subject = operation.run_id::text
                   OR entry.subject = run.batch_id::text),
    'batch', (SELECT to_jsonb(entry) FROM batches AS entry WHERE entry.id = run.batch_id),
    'price', (SELECT to_jsonb(entry) FROM prices AS entry
              WHERE entry.id = coalesce(charge.price_id, operation.price_id)),
    'operation', to_jsonb(operation),
    'charge', to_jsonb(charge),
    'takes', (SELECT coalesce(jsonb_agg(to_jsonb(entry) ORDER BY entry.position), '[]')
              FROM takes AS entry WHERE entry.operation_id = operation.id)
)::text
FROM operations AS operation LEFT JOIN charges AS charge ON charge.operation_id = operation.id
     LEFT JOIN runs AS run ON run.id = operation.run_id
WHERE operation.id = $1";
