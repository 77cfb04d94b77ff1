//! The user's own documents and pictures: read and checked first, without a database and before any
//! money is spent, and then kept, described and made findable.
//!
//! A file's bytes say what it is, and their SHA-256 says which: the same bytes are stored once for
//! each user. Documents are kept as their words; of pictures a copy is kept as well, because a
//! model that draws may be shown it long after the original is gone.

pub(crate) mod blocks;
mod decode;
mod describe;
mod docx;
mod error;
mod pdf;
mod picture;
mod prose;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod vault;
mod walk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::ids::{FileId, ProjectId};
use crate::ledger::TillError;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::till::Purpose;
use crate::memory::{Embedding, Memory, MemoryError, Remembered, passages};
use crate::store::StoreError;
use crate::store::embeddings::{self, Owner, Passage, StoredPassage};
use crate::store::files::{self, KnownFile, NewFile, UserFile, text_of_picture};

pub use describe::{NotDescribed, Vision};
pub use error::{FileError, FileProblem};
pub use pdf::{READER_COMMAND, reader_main};
pub(crate) use picture::packed;
pub(crate) use read::hexadecimal;
pub use read::{Gathered, Reader, Shelf};
pub use vault::Vault;
pub use walk::Skipped;

pub use crate::store::files::{Facts, Stored};

use blocks::{Place, Text};

/// The largest text, table or list, in bytes.
pub const LARGEST_TEXT_BYTES: u64 = 4_000_000;
/// The largest picture, in bytes.
pub const LARGEST_PICTURE_BYTES: u64 = 20_000_000;
/// The largest PDF or Word document, in bytes.
pub const LARGEST_PACKED_BYTES: u64 = 50_000_000;
/// The longest text of one file, in characters.
pub const LONGEST_TEXT: usize = 2_000_000;
/// The most pixels of a picture.
pub const MOST_PIXELS: u64 = 100_000_000;
/// The most files that one video is given.
pub const MOST_FILES: usize = 20;
/// The most files that folders are gone through for.
pub const MOST_WALKED: usize = 2_000;
/// The most things in folders that are looked at: files, folders, links, and what is hidden.
pub const MOST_FOUND: usize = 50_000;

/// A file that was read and found usable. Nothing is stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Its name, without folders.
    pub name: String,
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// Its media type, such as `text/markdown`.
    pub media_type: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// What else is known of it.
    pub facts: Facts,
    /// Its text, or words on a picture, in pieces that know their places.
    pub(crate) text: Text,
}

impl ReadFile {
    /// Whether it is a picture.
    pub fn is_picture(&self) -> bool {
        self.media_type.starts_with("image/")
    }

    /// Its text, or words on a picture.
    pub fn content(&self) -> &str {
        self.text.content()
    }
}

/// A file that was found usable. What it says is not held with it, unless there is room: what
/// [`Reader::again`] is for.
#[derive(Debug)]
pub struct FoundFile {
    /// Its name, without folders.
    pub name: String,
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Whether it is a picture.
    pub is_picture: bool,
    /// What would be embedded of it.
    words: Words,
    held: Option<Box<ReadFile>>,
}

impl FoundFile {
    /// What is to be known of a file that was read, and the file as well if it `is_held`. A picture is
    /// always: nothing is held of it but a line of words.
    fn of(file: ReadFile, is_held: bool) -> Self {
        let (name, path, sha256) = (file.name.clone(), file.path.clone(), file.sha256.clone());
        let passages = passages::of_file(FileId::new(), &file.name, &file.text);
        let (words, is_picture) = (Words::of(&passages), file.is_picture());
        let held = (is_held || is_picture).then(|| Box::new(file));
        Self { name, path, sha256, is_picture, words, held }
    }

    /// What would be embedded of it if a model had said this of it.
    fn words_with(&self, description: &str) -> Words {
        match &self.held {
            Some(file) if self.is_picture && !description.is_empty() => {
                let told = text_of_picture(file.content(), description);
                Words::of(&passages_of_picture(FileId::new(), &self.name, &told))
            }
            _ => self.words.clone(),
        }
    }

    /// How many bytes of its words are still to be embedded at most, with what is `known` of the same
    /// bytes in the database. A picture that `gets_described` has words that nobody knows yet.
    fn bytes_to_embed(&self, known: Option<&KnownFile>, gets_described: bool) -> u64 {
        let description = known.map(|known| known.description.as_str()).unwrap_or_default();
        let words = self.words_with(description);
        match known {
            // Stored as they would be stored now: what has a vector keeps it.
            Some(known)
                if !gets_described && known.passages_sha256.as_ref() == Some(&words.sha256) =>
            {
                u64::try_from(known.waiting_bytes).unwrap_or(u64::MAX)
            }
            _ if gets_described => words.bytes + describe::LONGEST_DESCRIPTION_BYTES,
            _ => words.bytes,
        }
    }
}

/// The words of some passages: how many bytes they have, and which they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    bytes: u64,
    /// SHA-256 of the passages as [`KnownFile::passages_sha256`] has it.
    sha256: String,
}

impl Words {
    fn of(passages: &[Passage]) -> Self {
        let (mut bytes, mut digest) = (0, Sha256::new());
        for (place, passage) in passages.iter().enumerate() {
            if place > 0 {
                digest.update(files::BETWEEN_PASSAGES);
            }
            digest.update(&passage.content);
            bytes += passage.content.len() as u64;
        }
        Self { bytes, sha256: hexadecimal(&digest.finalize()) }
    }
}

/// Holds some files, before they are stored in one transaction: in one order for all, so that two who
/// store the same ones never wait for each other.
pub async fn hold(connection: &mut PgConnection, read: &[Arc<ReadFile>]) -> Result<(), StoreError> {
    let mut hashes: Vec<&str> = read.iter().map(|file| file.sha256.as_str()).collect();
    hashes.sort_unstable();
    for sha256 in hashes {
        files::hold_copy(connection, sha256).await?;
    }
    Ok(())
}

/// Stores one file for the user, with its words, which can be found at once; its vectors wait. Of a
/// picture a copy is there as well when this returns, and stays as long as the row.
pub async fn store(
    connection: &mut PgConnection,
    vault: &Vault,
    user_id: &str,
    project: Option<ProjectId>,
    file: &ReadFile,
    embedder: &str,
    now: Timestamp,
) -> Result<Stored, MemoryError> {
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    if file.is_picture() {
        // Whoever forgets the same bytes at this moment waits, and then sees the row.
        files::hold_copy(&mut transaction, &file.sha256).await?;
        vault.keep_soon(file).await?;
    }
    let stays = still_there(&mut transaction, user_id, file).await?;
    let new = NewFile {
        id: FileId::new(),
        user_id,
        project,
        name: &file.name,
        path: &file.path.to_string_lossy(),
        stays: stays.as_ref(),
        media_type: file.media_type,
        bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        sha256: &file.sha256,
        content: file.content(),
        facts: &file.facts,
    };
    let stored = files::keep(&mut transaction, &new, now).await?;
    // A picture's passages hold its description as well, which is in the database alone.
    let passages = if file.is_picture() {
        let found = files::by_ids(&mut transaction, user_id, &[stored.id]).await?;
        let picture = found.first();
        picture
            .map(|picture| passages_of_picture(picture.id, &picture.name, &picture.text()))
            .unwrap_or_default()
    } else {
        let name = stays.as_ref().map_or(&file.name, |(name, _)| name);
        passages::of_file(stored.id, name, &file.text)
    };
    let owner = Owner::File(stored.id);
    let words: Vec<_> = passages.iter().map(|passage| (passage, None)).collect();
    embeddings::keep(&mut transaction, user_id, owner, &passages, &words, embedder, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(stored)
}

/// The name and path of the same bytes, where they were stored from another place and still lie there.
async fn still_there(
    connection: &mut PgConnection,
    user_id: &str,
    file: &ReadFile,
) -> Result<Option<(String, String)>, StoreError> {
    let known = files::place_of(connection, user_id, &file.sha256).await?;
    let Some(place) = known.filter(|(_, path)| Path::new(path) != file.path) else {
        return Ok(None);
    };
    let (original, sha256) = (PathBuf::from(&place.1), file.sha256.clone());
    let looked = tokio::task::spawn_blocking(move || read::same_bytes(&original, &sha256).is_ok());
    Ok(looked.await.unwrap_or(false).then_some(place))
}

/// Removes the copies of bytes that no row names any more. What is stored again meanwhile keeps its copy.
pub async fn forget_copies(
    connection: &mut PgConnection,
    vault: &Vault,
    hashes: &[String],
) -> Result<(), StoreError> {
    for sha256 in hashes {
        let mut transaction = connection.begin().await?;
        files::hold_copy(&mut transaction, sha256).await?;
        if !files::is_named(&mut transaction, sha256).await? {
            vault.forget(sha256);
        }
        transaction.commit().await?;
    }
    Ok(())
}

fn passages_of_picture(picture: FileId, name: &str, words: &str) -> Vec<Passage> {
    let mut text = Text::default();
    // A line of words and a description are far below what is too long.
    let _ = text.push(Place::Nowhere, words);
    passages::of_file(picture, name, &text)
}

/// What became of one picture that was to be described.
#[derive(Debug)]
pub enum Described {
    /// It has been for long.
    Already,
    /// It is now.
    Now,
    /// It is a document.
    NotAPicture,
    /// It is not, and why; it is found by its name and its colours.
    Not(String),
}

impl Memory {
    /// What keeping these files may cost a user at most, USD: describing the pictures that nobody has
    /// described, where there is a `vision`, and embedding all words that have no vector of this
    /// memory's model yet, also those of files that are known and wait for theirs.
    pub async fn files_ceiling(
        &self,
        user_id: &str,
        found: &[FoundFile],
        vision: Option<&Vision<'_>>,
    ) -> Result<FilesCeiling, MemoryError> {
        let hashes: Vec<&str> = found.iter().map(|file| file.sha256.as_str()).collect();
        let mut session = self.store.session().await?;
        let known = files::known(&mut session, user_id, &hashes, self.embedder()).await?;
        session.close().await;
        let known: HashMap<&str, &KnownFile> =
            known.iter().map(|known| (known.sha256.as_str(), known)).collect();
        let (mut bytes, mut pictures) = (0_u64, 0);
        for file in found {
            let known = known.get(file.sha256.as_str()).copied();
            let gets_described = vision.is_some()
                && file.is_picture
                && !known.is_some_and(|known| known.is_described);
            bytes = bytes.saturating_add(file.bytes_to_embed(known, gets_described));
            pictures += usize::from(gets_described);
        }
        let mut most = match &self.embedding {
            Embedding::Builtin => Usd::ZERO,
            Embedding::Paid { embedder, till } => {
                // No tokeniser makes more than one token of one byte.
                let price = till.price(embedder.provider(), embedder.model())?;
                let amount = price.amount(&Quantity::EmbeddingTokens(bytes));
                amount.map_err(TillError::from)?
            }
        };
        if let Some(vision) = vision {
            let each = vision.ceiling()?;
            most = (0..pictures).fold(most, |sum, _| sum + each);
        }
        Ok(FilesCeiling { most, pictures })
    }

    /// Makes the vectors that the passages of a file still lack. Doing it twice costs nothing. What
    /// costs nothing at all stops at once when `cancel` says so; a paid call is waited for.
    pub async fn embed_file(
        &self,
        purpose: &Purpose,
        file: FileId,
        cancel: &CancellationToken,
    ) -> Result<Remembered, MemoryError> {
        if cancel.is_cancelled() {
            return Err(TillError::Cancelled.into());
        }
        let embedding = self.embed_stored(purpose, file);
        if matches!(self.embedding, Embedding::Paid { .. }) {
            return embedding.await;
        }
        tokio::select! {
            biased;
            remembered = embedding => remembered,
            () = cancel.cancelled() => Err(TillError::Cancelled.into()),
        }
    }

    async fn embed_stored(
        &self,
        purpose: &Purpose,
        file: FileId,
    ) -> Result<Remembered, MemoryError> {
        let mut session = self.store.session().await?;
        let stored = embeddings::stored(&mut session, Owner::File(file)).await?;
        session.close().await;
        let all: Vec<Passage> = stored.iter().map(passage_of).collect();
        self.keep(purpose, &purpose.user_id, Owner::File(file), &all, &stored).await
    }

    /// Has a picture described, unless it is already, and keeps what is said with it. A description
    /// is bought once for each picture.
    pub async fn describe_picture(
        &self,
        purpose: &Purpose,
        vision: &Vision<'_>,
        vault: &Vault,
        file: FileId,
        cancel: &CancellationToken,
    ) -> Result<Described, MemoryError> {
        let user_id = &purpose.user_id;
        let mut session = self.store.session().await?;
        let found = files::by_ids(&mut session, user_id, &[file]).await?.pop();
        session.close().await;
        let Some(picture) = found.filter(UserFile::is_picture) else {
            return Ok(Described::NotAPicture);
        };
        if picture.described_by.is_some() {
            return Ok(Described::Already);
        }
        let (copies, sha256, path) =
            (vault.clone(), picture.sha256.clone(), PathBuf::from(&picture.path));
        let reading = tokio::task::spawn_blocking(move || copies.read(&sha256, &path)).await;
        let data = match reading {
            Ok(Ok(data)) => data,
            Ok(Err(error)) => return Ok(Described::Not(error.to_string())),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let description = match vision.describe(purpose, data, cancel).await {
            Ok(description) => description,
            Err(NotDescribed::Stop(error)) => return Err(error.into()),
            Err(NotDescribed::Because(reason)) => return Ok(Described::Not(reason)),
        };
        let described = UserFile { description, ..picture };
        let passages = passages_of_picture(file, &described.name, &described.text());
        let words: Vec<_> = passages.iter().map(|passage| (passage, None)).collect();
        let (owner, embedder, now) = (Owner::File(file), self.embedder(), self.clock.now());
        let mut session = self.store.session().await?;
        files::describe(&mut session, file, &described.description, vision.model).await?;
        embeddings::keep(&mut session, user_id, owner, &passages, &words, embedder, now).await?;
        session.close().await;
        Ok(Described::Now)
    }
}

/// What keeping some files may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesCeiling {
    /// All of it at most, USD.
    pub most: Usd,
    /// How many pictures would be described.
    pub pictures: usize,
}

fn passage_of(stored: &StoredPassage) -> Passage {
    Passage {
        project: None,
        kind: stored.kind,
        subject: stored.subject,
        part: stored.part,
        place: stored.place.clone(),
        content: stored.content.clone(),
    }
}
