//! Copies of the user's pictures: what is shown to a model that draws must still be there when a run
//! goes on, whatever became of the original.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::ReadFile;
use super::error::{FileError, FileProblem};
use super::read::same_bytes;

/// A folder of copies, each named by the SHA-256 of its bytes.
#[derive(Debug, Clone)]
pub struct Vault {
    folder: PathBuf,
}

impl Vault {
    /// The copies in this folder, which need not exist yet.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn place_of(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256.get(..2).unwrap_or("00")).join(sha256)
    }

    /// Keeps a copy of a picture; of documents the words are enough. The bytes are read again and
    /// must be those that were looked at before. A copy that is there already counts only if it is whole.
    pub fn keep(&self, file: &ReadFile) -> Result<(), FileError> {
        if !file.is_picture() {
            return Ok(());
        }
        self.keep_bytes(&file.path, &file.sha256)
    }

    /// [`Vault::keep`], on a thread that may wait for the disk.
    pub async fn keep_soon(&self, file: &ReadFile) -> Result<(), FileError> {
        if !file.is_picture() {
            return Ok(());
        }
        let (vault, path, sha256) = (self.clone(), file.path.clone(), file.sha256.clone());
        match tokio::task::spawn_blocking(move || vault.keep_bytes(&path, &sha256)).await {
            Ok(kept) => kept,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn keep_bytes(&self, original: &Path, sha256: &str) -> Result<(), FileError> {
        if same_bytes(&self.place_of(sha256), sha256).is_ok() {
            return Ok(());
        }
        let refused = |problem| FileError::Refused { path: original.to_owned(), problem };
        let data = same_bytes(original, sha256).map_err(refused)?;
        self.write(sha256, &data).map_err(|error| refused(FileProblem::NotCopied(error)))
    }

    /// The bytes of a picture: from its copy, else from where it lay, if it still lies there.
    pub fn read(&self, sha256: &str, original: &Path) -> Result<Vec<u8>, FileError> {
        let copy = self.place_of(sha256);
        if let Ok(data) = same_bytes(&copy, sha256) {
            return Ok(data);
        }
        let data = same_bytes(original, sha256)
            .map_err(|problem| FileError::Refused { path: original.to_owned(), problem })?;
        // Without the copy this works for now, and next time perhaps not.
        if let Err(error) = self.write(sha256, &data) {
            tracing::warn!(%error, "a picture was not copied into the data folder");
        }
        Ok(data)
    }

    /// Removes a copy that nothing names any more.
    pub fn forget(&self, sha256: &str) {
        // A copy that stays is no harm.
        let _ = std::fs::remove_file(self.place_of(sha256));
    }

    fn write(&self, sha256: &str, data: &[u8]) -> io::Result<()> {
        let place = self.place_of(sha256);
        let folder = place.parent().unwrap_or(&self.folder);
        let (is_new, is_first) = (!folder.exists(), !self.folder.exists());
        std::fs::create_dir_all(folder)?;
        let draft = folder.join(format!(".{}", uuid::Uuid::now_v7().simple()));
        let written = (|| {
            let mut file = std::fs::File::create_new(&draft)?;
            file.write_all(data)?;
            file.sync_all()?;
            std::fs::rename(&draft, &place)?;
            // Only with its folder on the disk does the copy outlive a loss of power.
            sync_folder(folder)?;
            if is_new {
                sync_folder(&self.folder)?;
            }
            match self.folder.parent().filter(|_| is_first) {
                Some(parent) => sync_folder(parent),
                None => Ok(()),
            }
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        written
    }
}

/// Has the system write down which files a folder holds.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened like a file, and the file system does this by itself.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "the other one can fail")]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
