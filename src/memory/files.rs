//! The user's own documents and pictures: checked first, without a database and before any
//! money is spent, and then kept.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use jiff::Timestamp;

use crate::error::Error;
use crate::ids::{FileId, ProjectId};
use crate::ledger::till::Purpose;
use crate::memory::snippet::one_line;
use crate::memory::{Memory, MemoryError, Remembered, passages};
use crate::store::StoreError;
use crate::store::embeddings::{self, Owner};
use crate::store::files::{self, NewFile};

/// The largest document, in bytes.
pub const LARGEST_DOCUMENT_BYTES: u64 = 1_000_000;
/// The largest picture, in bytes.
pub const LARGEST_PICTURE_BYTES: u64 = 20_000_000;
/// The most files at once.
pub const MOST_FILES: usize = 20;

/// Documents that are read, by the ending of their names.
const DOCUMENTS: [(&str, &str); 11] = [
    ("txt", "text/plain"),
    ("text", "text/plain"),
    ("md", "text/markdown"),
    ("markdown", "text/markdown"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("ndjson", "application/jsonl"),
    ("srt", "application/x-subrip"),
    ("vtt", "text/vtt"),
];

/// Pictures that are taken, by the ending of their names.
const PICTURES: [(&str, ImageFormat); 4] = [
    ("png", ImageFormat::Png),
    ("jpg", ImageFormat::Jpeg),
    ("jpeg", ImageFormat::Jpeg),
    ("webp", ImageFormat::WebP),
];

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
    /// Its text, or a description of a picture.
    pub content: String,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or cannot be read.
    #[error("the file {path} cannot be read")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a device or something else that is not a file.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// Its name's ending is none that aida knows.
    #[error("the file {path} is of a kind that aida cannot use")]
    UnknownKind {
        /// The path as given.
        path: PathBuf,
    },
    /// It has nothing in it.
    #[error("the file {path} is empty")]
    Empty {
        /// The path as given.
        path: PathBuf,
    },
    /// It is larger than what is taken.
    #[error("the file {path} has {bytes} bytes; at most {limit} are taken")]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size that is taken, in bytes.
        limit: u64,
    },
    /// It is called a document and is not text in UTF-8.
    #[error("the file {path} is not text in UTF-8 (see byte {position})")]
    NotText {
        /// The path as given.
        path: PathBuf,
        /// Where the first wrong byte stands, from 0.
        position: usize,
    },
    /// It is called a picture and is none, or a damaged one, or of another format.
    #[error("the file {path} is not a whole {expected} picture")]
    NotAPicture {
        /// The path as given.
        path: PathBuf,
        /// What its name promises.
        expected: &'static str,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// More files than are taken at once.
    #[error("{count} files were given; at most {MOST_FILES} are taken at once")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let hint = match &error {
            FileError::Unreadable { .. } => "check the path and the right to read it".to_owned(),
            FileError::NotAFile { .. } => {
                "give each file by its own --file, as in --file notes.md".to_owned()
            }
            FileError::UnknownKind { .. } | FileError::NotAPicture { .. } => {
                let documents = DOCUMENTS.map(|(ending, _)| ending).join(", ");
                let pictures = PICTURES.map(|(ending, _)| ending).join(", ");
                format!("documents may be {documents}; pictures may be {pictures}")
            }
            FileError::Empty { .. } => "leave it out, or write something into it".to_owned(),
            FileError::TooLarge { .. } => "give the part of it that matters".to_owned(),
            FileError::NotText { .. } => "save it as plain text in UTF-8".to_owned(),
            FileError::TooMany { .. } => "join them into fewer files".to_owned(),
        };
        let message = error.to_string();
        Self::usage(message).because(error).hint(hint)
    }
}

/// Reads and checks files. Costs nothing and stores nothing; one file that cannot be used
/// refuses all. The same bytes given twice are one file.
pub fn read(paths: &[PathBuf]) -> Result<Vec<ReadFile>, FileError> {
    if paths.len() > MOST_FILES {
        return Err(FileError::TooMany { count: paths.len() });
    }
    let mut read = Vec::<ReadFile>::new();
    for path in paths {
        let file = read_one(path)?;
        if read.iter().all(|other| other.sha256 != file.sha256) {
            read.push(file);
        }
    }
    Ok(read)
}

fn read_one(path: &Path) -> Result<ReadFile, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    // Asked before it is opened: opening a named pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let document = DOCUMENTS.into_iter().find(|(known, _)| *known == ending);
    let picture = PICTURES.into_iter().find(|(known, _)| *known == ending);
    let limit = match (document, picture) {
        (Some(_), _) => LARGEST_DOCUMENT_BYTES,
        (None, Some(_)) => LARGEST_PICTURE_BYTES,
        (None, None) => return Err(FileError::UnknownKind { path: path.to_owned() }),
    };
    let data = read_at_most(path, limit)?;
    let name = file_name(path);
    let (media_type, content) = match (document, picture) {
        (Some((_, media_type)), _) => (media_type, document_text(path, &data)?),
        (None, Some((_, format))) => {
            let (width, height) = picture_size(path, &data, format)?;
            let words = name.replace(['_', '-', '.'], " ");
            let content = format!("Picture {name}, {width} × {height} pixels: {words}");
            (format.to_mime_type(), content)
        }
        (None, None) => return Err(FileError::UnknownKind { path: path.to_owned() }),
    };
    Ok(ReadFile {
        name,
        path: std::path::absolute(path).map_err(unreadable)?,
        media_type,
        bytes: data.len() as u64,
        sha256: hexadecimal(&Sha256::digest(&data)),
        content,
    })
}

/// Reads the whole file, unless it has more bytes than `limit`, even if it grows meanwhile.
fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let too_large = |bytes| FileError::TooLarge { path: path.to_owned(), bytes, limit };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    let mut data = Vec::new();
    file.take(limit + 1).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() as u64 > limit {
        return Err(too_large(data.len() as u64));
    }
    if data.is_empty() {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    Ok(data)
}

/// The text of a document, without a byte order mark and with plain line ends.
fn document_text(path: &Path, data: &[u8]) -> Result<String, FileError> {
    let not_text = |position| FileError::NotText { path: path.to_owned(), position };
    let text = std::str::from_utf8(data).map_err(|error| not_text(error.valid_up_to()))?;
    let is_binary = |character: char| {
        character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{85}')
    };
    if let Some((position, _)) = text.char_indices().find(|&(_, character)| is_binary(character)) {
        return Err(not_text(position));
    }
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    if text.trim().is_empty() {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    Ok(text)
}

/// Width and height in pixels, read from the head of the picture.
fn picture_size(path: &Path, data: &[u8], format: ImageFormat) -> Result<(u32, u32), FileError> {
    ImageReader::with_format(io::Cursor::new(data), format).into_dimensions().map_err(|source| {
        FileError::NotAPicture { path: path.to_owned(), expected: format.to_mime_type(), source }
    })
}

/// The name without folders and without characters that could disturb a terminal.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    one_line(&name.chars().filter(|character| !character.is_control()).collect::<String>())
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// A file that is stored and can be found.
#[derive(Debug)]
pub struct KeptFile {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: String,
    /// What was taken into memory.
    pub remembered: Remembered,
}

/// Stores one file for the user, without making it searchable.
pub async fn store(
    connection: &mut PgConnection,
    user_id: &str,
    project: Option<ProjectId>,
    file: &ReadFile,
    now: Timestamp,
) -> Result<FileId, StoreError> {
    let new = NewFile {
        id: FileId::new(),
        user_id,
        project,
        name: &file.name,
        path: &file.path.to_string_lossy(),
        media_type: file.media_type,
        bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        sha256: &file.sha256,
        content: &file.content,
    };
    files::keep(connection, &new, now).await
}

/// Stores files for the user and makes them searchable. The same bytes are stored once for
/// each user, and embedded once.
pub async fn keep(
    memory: &Memory,
    purpose: &Purpose,
    project: Option<ProjectId>,
    read: &[ReadFile],
) -> Result<Vec<KeptFile>, MemoryError> {
    let mut kept = Vec::new();
    for file in read {
        let mut session = memory.store.session().await?;
        let id = store(&mut session, &purpose.user_id, project, file, memory.clock.now()).await?;
        let stored = embeddings::stored(&mut session, Owner::File(id)).await?;
        session.close().await;
        let passages = passages::of_file(id, &file.name, &file.content);
        let remembered =
            memory.keep(purpose, &purpose.user_id, Owner::File(id), &passages, &stored).await?;
        kept.push(KeptFile { id, name: file.name.clone(), remembered });
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let paths = files
            .iter()
            .map(|(name, data)| {
                let path = folder.path().join(name);
                std::fs::write(&path, data).unwrap();
                path
            })
            .collect();
        (folder, paths)
    }

    #[test]
    fn documents_are_read_as_text() {
        let (_folder, paths) = folder_with(&[
            ("Notes.MD", "\u{feff}# Café\r\nCrème".as_bytes()),
            ("copy.txt", "\u{feff}# Café\r\nCrème".as_bytes()),
        ]);
        let read = read(&paths).unwrap();
        assert_eq!(read.len(), 1, "the same bytes are one file");
        assert_eq!(read[0].content, "# Café\nCrème");
        assert_eq!((read[0].name.as_str(), read[0].media_type), ("Notes.MD", "text/markdown"));
        assert_eq!(read[0].sha256.len(), 64);
        assert!(read[0].path.is_absolute());
    }

    #[test]
    fn pictures_are_taken_by_name_and_size() {
        let mut png = Vec::new();
        image::RgbImage::new(6, 4)
            .write_to(&mut io::Cursor::new(&mut png), ImageFormat::Png)
            .unwrap();
        let (_folder, paths) = folder_with(&[("chef_at-work.png", &png)]);
        let read = read(&paths).unwrap();
        assert_eq!(read[0].media_type, "image/png");
        assert_eq!(read[0].content, "Picture chef_at-work.png, 6 × 4 pixels: chef at work png");
    }

    #[test]
    fn what_cannot_be_used_is_named_and_told_why() {
        let large = vec![b'a'; usize::try_from(LARGEST_DOCUMENT_BYTES).unwrap() + 1];
        let (folder, paths) = folder_with(&[
            ("film.mp4", b"...."),
            ("empty.txt", b""),
            ("blank.md", b" \n\t"),
            ("latin1.csv", b"caf\xe9"),
            ("zero.txt", b"ab\0cd"),
            ("large.txt", &large),
            ("fake.png", b"not a picture"),
            ("noending", b"text"),
        ]);
        let missing = folder.path().join("missing.md");
        let folder_path = folder.path().to_owned();
        let found: Vec<String> = paths
            .iter()
            .chain([&missing, &folder_path])
            .map(|path| {
                let error = read(std::slice::from_ref(path)).unwrap_err();
                let shown = error.to_string();
                assert!(shown.contains(path.to_str().unwrap()), "{shown}");
                let error = Error::from(error);
                assert_eq!(error.kind().exit_code(), 2);
                assert!(!error.hints().is_empty());
                shown.replace(path.to_str().unwrap(), "PATH")
            })
            .collect();
        assert_eq!(
            found,
            [
                "the file PATH is of a kind that aida cannot use",
                "the file PATH is empty",
                "the file PATH is empty",
                "the file PATH is not text in UTF-8 (see byte 3)",
                "the file PATH is not text in UTF-8 (see byte 2)",
                "the file PATH has 1000001 bytes; at most 1000000 are taken",
                "the file PATH is not a whole image/png picture",
                "the file PATH is of a kind that aida cannot use",
                "the file PATH cannot be read",
                "PATH is not a file",
            ]
        );
    }

    #[test]
    fn there_is_a_most() {
        let error = read(&vec![PathBuf::from("a.txt"); MOST_FILES + 1]).unwrap_err();
        assert!(matches!(error, FileError::TooMany { count: 21 }));
    }
}
