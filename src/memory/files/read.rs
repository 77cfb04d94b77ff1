//! Reading: from an open file to what is kept of it. What a file is, its bytes decide; its name is
//! only a hint.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::ImageFormat;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::blocks::{Place, Text};
use super::error::{FileError, FileProblem};
use super::walk::{Skipped, Visitor, open, walk};
use super::{
    Facts, FoundFile, LARGEST_PACKED_BYTES, LARGEST_PICTURE_BYTES, LARGEST_TEXT_BYTES, MOST_FILES,
    MOST_FOUND, MOST_WALKED, ReadFile, decode, docx, pdf, picture, prose, tables,
};
use crate::memory::snippet::one_line;

/// How much of what was read is held until it is its turn to be kept, in bytes of all files together.
/// What is more than that is read again then.
const MOST_HELD: usize = 16_000_000;
/// How long a thread that reads is waited for when the work is to stop, so that it can end the process
/// that reads a PDF. One that does not hear is left behind.
const GRACE: Duration = Duration::from_millis(300);

/// Reads files. PDFs are read by a process of their own, which is this program again.
#[derive(Debug, Clone)]
pub struct Reader {
    executable: PathBuf,
    cancel: CancellationToken,
}

/// Files that are given to several videos: each is read once and held once.
#[derive(Debug, Default)]
pub struct Shelf(HashMap<PathBuf, Arc<ReadFile>>);

/// What reading many files came to.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The usable ones, each with different bytes, in the order in which they were found.
    pub found: Vec<FoundFile>,
    /// Those that cannot be used.
    pub refused: Vec<(PathBuf, FileProblem)>,
    /// What was passed over in folders.
    pub skipped: Vec<Skipped>,
}

impl Reader {
    /// A reader that starts `executable`, which is this program, for PDFs.
    pub fn new(executable: PathBuf) -> Self {
        Self { executable, cancel: CancellationToken::new() }
    }

    /// The reader, which stops when `cancel` says so.
    #[must_use]
    pub fn stopped_by(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    /// Reads and checks the files of one video, but what lies on the shelf already. Costs nothing and
    /// stores nothing; one file that cannot be used refuses all, a folder as well. The same bytes given
    /// twice are one file.
    pub async fn read(
        &self,
        paths: &[PathBuf],
        shelf: &mut Shelf,
    ) -> Result<Vec<Arc<ReadFile>>, FileError> {
        if paths.len() > MOST_FILES {
            return Err(FileError::TooMany { count: paths.len() });
        }
        let mut read: Vec<Arc<ReadFile>> = Vec::new();
        for path in paths {
            let file = match shelf.0.get(path) {
                Some(file) => Arc::clone(file),
                None => Arc::new(self.read_one(path).await?),
            };
            shelf.0.insert(path.clone(), Arc::clone(&file));
            if read.iter().all(|known| known.sha256 != file.sha256) {
                read.push(file);
            }
        }
        Ok(read)
    }

    /// Reads and checks one file, which is no folder. Costs nothing and stores nothing.
    pub async fn read_one(&self, path: &Path) -> Result<ReadFile, FileError> {
        let refused = |problem| FileError::Refused { path: path.to_owned(), problem };
        if path.is_dir() {
            return Err(refused(FileProblem::NotAFile));
        }
        let gathered = self.look_through(&[path.to_owned()], usize::MAX).await?;
        if let Some((path, problem)) = gathered.refused.into_iter().next() {
            return Err(FileError::Refused { path, problem });
        }
        match gathered.found.into_iter().next() {
            Some(found) => self.again(found).await,
            None => Err(refused(FileProblem::NotAFile)),
        }
    }

    /// Reads files, and what is in folders, as far as they can be used. Costs nothing and stores
    /// nothing. However many files there are, only so much of them is held; [`Reader::again`] gives each
    /// of them whole.
    pub async fn gather(&self, paths: &[PathBuf]) -> Result<Gathered, FileError> {
        self.look_through(paths, MOST_HELD).await
    }

    async fn look_through(
        &self,
        paths: &[PathBuf],
        most_held: usize,
    ) -> Result<Gathered, FileError> {
        let paths = paths.to_owned();
        self.beside_the_rest(move |scholar| {
            let mut desk = Desk {
                scholar,
                gathered: Gathered::default(),
                seen: 0,
                things: 0,
                left: most_held,
            };
            walk(&paths, &mut desk);
            if desk.scholar.cancel.is_cancelled() {
                return Err(FileError::Stopped);
            }
            if desk.seen > MOST_WALKED {
                return Err(FileError::TooManyThere);
            }
            if desk.things > MOST_FOUND {
                return Err(FileError::TooManyEntries);
            }
            Ok(desk.gathered)
        })
        .await
    }

    /// A file that was found, whole: read again if it is not held. It must still be the same.
    pub async fn again(&self, found: FoundFile) -> Result<ReadFile, FileError> {
        let FoundFile { path, sha256, held, .. } = found;
        if let Some(read) = held {
            return Ok(*read);
        }
        self.beside_the_rest(move |scholar| {
            let read = open(&path).and_then(|file| scholar.read(&path, file));
            match read {
                Ok(read) if read.sha256 == sha256 => Ok(read),
                Ok(_) => Err(FileError::Refused { path, problem: FileProblem::Changed }),
                Err(FileProblem::Stopped) => Err(FileError::Stopped),
                Err(problem) => Err(FileError::Refused { path, problem }),
            }
        })
        .await
    }

    /// Reads on a thread that may wait, and goes on without it when the work is to stop.
    async fn beside_the_rest<Found: Send + 'static>(
        &self,
        read: impl FnOnce(Scholar) -> Result<Found, FileError> + Send + 'static,
    ) -> Result<Found, FileError> {
        let scholar = Scholar {
            executable: self.executable.clone(),
            runtime: Handle::current(),
            cancel: self.cancel.clone(),
        };
        let mut reading = tokio::task::spawn_blocking(move || read(scholar));
        let done = tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                // Nothing is written while files are read, so that nothing is lost with the thread.
                let _ = tokio::time::timeout(GRACE, reading).await;
                return Err(FileError::Stopped);
            }
            done = &mut reading => done,
        };
        match done {
            Ok(found) => found,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Where files are read, one after the other.
struct Desk {
    scholar: Scholar,
    gathered: Gathered,
    /// Files that were tried.
    seen: usize,
    /// Whatever was found in folders.
    things: usize,
    /// How many bytes of what is read may still be held.
    left: usize,
}

impl Visitor for Desk {
    fn found(&mut self) -> bool {
        self.things += 1;
        self.things <= MOST_FOUND && !self.scholar.cancel.is_cancelled()
    }

    fn file(&mut self, path: &Path, file: Result<File, FileProblem>) -> bool {
        self.seen += 1;
        if self.seen > MOST_WALKED {
            return false;
        }
        let read = file.and_then(|file| self.scholar.read(path, file));
        if self.scholar.cancel.is_cancelled() {
            return false;
        }
        match read {
            Ok(file) if self.gathered.found.iter().all(|known| known.sha256 != file.sha256) => {
                let size = file.text.size();
                let is_held = size <= self.left;
                self.left -= if is_held { size } else { 0 };
                self.gathered.found.push(FoundFile::of(file, is_held));
            }
            Ok(_) => self.skipped(path, "the same bytes as another file here"),
            Err(problem) => self.gathered.refused.push((path.to_owned(), problem)),
        }
        true
    }

    fn skipped(&mut self, path: &Path, reason: &'static str) {
        self.gathered.skipped.push(Skipped { path: path.to_owned(), reason });
    }
}

/// Who reads a file, on a thread that may wait.
struct Scholar {
    executable: PathBuf,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Scholar {
    fn read(&self, path: &Path, file: File) -> Result<ReadFile, FileProblem> {
        let path = std::path::absolute(path).map_err(FileProblem::Unreadable)?;
        if path.to_str().is_none() {
            return Err(FileProblem::Unnameable);
        }
        let data = bytes_of(file)?;
        let name = file_name(&path);
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        let sha256 = hexadecimal(&Sha256::digest(&data));
        let bytes = data.len() as u64;
        let kind = Kind::of(&data, &ending)?;
        let within = |limit| {
            if bytes > limit { Err(FileProblem::TooLarge { bytes, limit }) } else { Ok(()) }
        };
        let (mut facts, mut text) = (Facts::default(), Text::default());
        let media_type = match kind {
            Kind::Picture(format) => {
                within(LARGEST_PICTURE_BYTES)?;
                let look = picture::look(&data, format)?;
                text.push(Place::Nowhere, &picture_words(&name, &look))?;
                facts.width = Some(look.width);
                facts.height = Some(look.height);
                facts.colours = look.colours;
                format.to_mime_type()
            }
            Kind::Pdf => {
                let reading = pdf::read(&self.executable, data, &mut text, &self.cancel);
                let pdf = self.runtime.block_on(reading)?;
                facts.pages = Some(pdf.pages);
                facts.unreadable_pages = Some(pdf.unreadable).filter(|pages| *pages > 0);
                "application/pdf"
            }
            Kind::Word => {
                docx::read(&data, &mut text)?;
                WORD
            }
            Kind::Text => {
                within(LARGEST_TEXT_BYTES)?;
                write_text(&data, &ending, &mut facts, &mut text)?
            }
        };
        if text.content().is_empty() {
            return Err(FileProblem::Empty);
        }
        text.shrink();
        Ok(ReadFile { name, path, media_type, bytes, sha256, facts, text })
    }
}

/// The media type of a Word document.
const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// What the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Pdf,
    Word,
    Picture(ImageFormat),
}

impl Kind {
    /// The kind of a file by its bytes; `ending` is what its name promises, in lower case.
    fn of(data: &[u8], ending: &str) -> Result<Self, FileProblem> {
        let unusable = |what| Err(FileProblem::Unusable(what));
        let start = &data[..data.len().min(1_024)];
        match start {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', ..] => {
                return Ok(Self::Picture(ImageFormat::Png));
            }
            [0xFF, 0xD8, 0xFF, ..] => return Ok(Self::Picture(ImageFormat::Jpeg)),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                return Ok(Self::Picture(ImageFormat::WebP));
            }
            [b'G', b'I', b'F', b'8', ..] => return unusable("a GIF picture (save it as PNG)"),
            [b'P', b'K', 3, 4, ..] => {
                return match docx::look(data)? {
                    docx::Archive::Document => Ok(Self::Word),
                    docx::Archive::Other(what) => unusable(what),
                };
            }
            [0xD0, 0xCF, 0x11, 0xE0, ..] => {
                return unusable(
                    "an old or locked Office file (save it as DOCX without a password)",
                );
            }
            [b'{', b'\\', b'r', b't', b'f', ..] => {
                return unusable("an RTF document (save it as DOCX)");
            }
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
                return unusable("a film or a HEIC picture");
            }
            _ => {}
        }
        // The mark may stand a little way into the file.
        if start.windows(5).any(|window| window == b"%PDF-") {
            return Ok(Self::Pdf);
        }
        let promised = match ending {
            "pdf" => Some("a PDF"),
            "docx" => Some("a Word document"),
            "png" | "jpg" | "jpeg" | "webp" => Some("a picture"),
            _ => None,
        };
        match (promised, BINARY.iter().find(|(known, _)| known.contains(&ending))) {
            (Some(promised), _) => Err(FileProblem::Miscalled(promised)),
            (None, Some((_, what))) => unusable(what),
            (None, None) => Ok(Self::Text),
        }
    }
}

/// Kinds that are known by their names alone, and what they are called.
const BINARY: [(&[&str], &str); 6] = [
    (&["mp4", "mov", "mkv", "webm", "avi", "m4v"], "a film"),
    (&["mp3", "wav", "flac", "ogg", "m4a", "aac"], "a sound recording"),
    (
        &["gif", "bmp", "tif", "tiff", "heic", "avif", "ico", "psd", "ai", "eps"],
        "a picture of another format (save it as PNG)",
    ),
    (&["zip", "gz", "tar", "7z", "rar", "xz", "zst"], "an archive"),
    (&["exe", "dll", "so", "o", "class", "jar"], "a program"),
    (&["bin"], "of an unknown kind"),
];

/// Writes a text as what it is, and answers that: by its own beginning first, by its name where that
/// tells more.
fn write_text(
    data: &[u8],
    ending: &str,
    facts: &mut Facts,
    text: &mut Text,
) -> Result<&'static str, FileProblem> {
    let decoded = decode::decode(data)?;
    facts.encoding =
        Some(decoded.encoding).filter(|encoding| *encoding != "UTF-8").map(str::to_owned);
    let source = decoded.text.as_str();
    let start: String = source.trim_start().chars().take(64).collect::<String>().to_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return Err(FileProblem::Unusable("a web page (save its text)"));
    }
    if start.starts_with("<?xml") || start.starts_with("<svg") {
        return Err(FileProblem::Unusable("XML"));
    }
    if start.starts_with("%!ps") {
        return Err(FileProblem::Unusable("PostScript (save it as PDF)"));
    }
    let is_json = || {
        start.starts_with(['{', '['])
            && serde_json::from_str::<serde::de::IgnoredAny>(source).is_ok()
    };
    Ok(match ending {
        _ if prose::is_subtitles(source) => {
            prose::subtitles(source, text)?;
            if start.starts_with("webvtt") { "text/vtt" } else { "application/x-subrip" }
        }
        "srt" | "vtt" => return Err(FileProblem::Miscalled("subtitles")),
        "md" | "markdown" => {
            prose::markdown(source, text)?;
            "text/markdown"
        }
        "csv" | "tsv" => {
            let is_tabbed = ending == "tsv";
            facts.rows = Some(tables::table(source, is_tabbed, text)?);
            if is_tabbed { "text/tab-separated-values" } else { "text/csv" }
        }
        "jsonl" | "ndjson" => {
            facts.rows = Some(tables::json_lines(source, text)?);
            "application/jsonl"
        }
        _ if ending == "json" || is_json() => {
            tables::json(source, text)?;
            "application/json"
        }
        _ => {
            text.push_paragraphs(&Place::Nowhere, source)?;
            "text/plain"
        }
    })
}

/// The bytes of a file, which is not larger than the largest of any kind, even if it grows meanwhile.
fn bytes_of(file: File) -> Result<Vec<u8>, FileProblem> {
    let bytes = file.metadata().map_err(FileProblem::Unreadable)?.len();
    let too_large = |bytes| FileProblem::TooLarge { bytes, limit: LARGEST_PACKED_BYTES };
    if bytes > LARGEST_PACKED_BYTES {
        return Err(too_large(bytes));
    }
    let mut data = Vec::new();
    file.take(LARGEST_PACKED_BYTES + 1).read_to_end(&mut data).map_err(FileProblem::Unreadable)?;
    if data.len() as u64 > LARGEST_PACKED_BYTES {
        return Err(too_large(data.len() as u64));
    }
    if data.is_empty() {
        return Err(FileProblem::Empty);
    }
    Ok(data)
}

/// What is told of a picture that nobody has described.
fn picture_words(name: &str, look: &picture::Look) -> String {
    let words = name.replace(['_', '-', '.'], " ");
    let colours = match look.colours.as_slice() {
        [] => String::new(),
        colours => format!(", mostly {}", colours.join(", ")),
    };
    format!("Picture {name}, {} × {} pixels{colours}: {words}", look.width, look.height)
}

/// The name without folders and without characters that could disturb a terminal.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    one_line(&name.chars().filter(|character| !character.is_control()).collect::<String>())
}

/// The bytes of the file at `path`, if they are still those of `sha256`.
pub(super) fn same_bytes(path: &Path, sha256: &str) -> Result<Vec<u8>, FileProblem> {
    let data = open(path).and_then(bytes_of)?;
    if hexadecimal(&Sha256::digest(&data)) == sha256 { Ok(data) } else { Err(FileProblem::Changed) }
}

/// Bytes as pairs of hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
