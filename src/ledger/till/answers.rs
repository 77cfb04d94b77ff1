//! What a provider has answered to a submit is kept in a file until the database has it: a task's id
//! that is lost between the two could never be found again, and with it what was paid for.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::OperationId;
use crate::providers::Job;

/// The folder of the answers: one file for each operation whose answer the database has not taken.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    folder: Arc<Path>,
}

impl Answers {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self, operation: OperationId) -> PathBuf {
        self.folder.join(format!("{operation}.json"))
    }

    /// Keeps an answer. Returns when it is on the disk.
    pub(super) async fn keep(&self, operation: OperationId, job: &Job) -> io::Result<()> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(operation));
        let text = serde_json::to_vec(job).map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            let half = path.with_extension("half");
            let mut file = File::create(&half)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&half, &path)?;
            File::open(&folder)?.sync_all()
        })
        .await
        .map_err(io::Error::other)?
    }

    /// The answer that was kept for an operation, if there is one.
    pub(super) fn find(&self, operation: OperationId) -> Option<Job> {
        serde_json::from_slice(&fs::read(self.path(operation)).ok()?).ok()
    }

    /// The database has it.
    pub(super) fn forget(&self, operation: OperationId) {
        // What stays behind is found again with an operation that is past it, and does no harm.
        let _ = fs::remove_file(self.path(operation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_found_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::in_folder(folder.path().join("answers"));
        let operation = OperationId::new();
        assert_eq!(answers.find(operation), None);
        let job = Job {
            request_id: "task 1".to_owned(),
            status_url: Some("https://q.example/status".to_owned()),
            response_url: None,
            cancel_url: None,
        };
        answers.keep(operation, &job).await.unwrap();
        assert_eq!(answers.find(operation), Some(job));
        assert_eq!(answers.find(OperationId::new()), None);
        answers.forget(operation);
        assert_eq!(answers.find(operation), None);
    }
}
