//! Clips into a film, and the checks that a downloaded clip or keyframe is what it should be.
//!
//! The cut is ffmpeg's work ([`Ffmpeg`]); looking into files needs no outside program
//! ([`inspect()`], [`inspect_image`]). A film is written beside its place and moved there whole,
//! never over another file.

mod cut;
mod ffmpeg;
mod frame;
mod inspect;
mod picture;
mod place;

use std::path::PathBuf;

use rust_decimal::Decimal;

pub use cut::Cut;
pub use ffmpeg::Ffmpeg;
pub use inspect::{ClipFacts, ImageFacts, ImageFileFormat, InspectError, inspect};
pub use picture::inspect_image;
pub use place::{file_name, free_path, publish, slug, temporary_beside};

/// One clip in its place in the film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipInFilm {
    /// The clip's file.
    pub path: PathBuf,
    /// How long it stands in the film, in seconds, from the clip's beginning. A clip that is
    /// shorter holds its last picture.
    pub trim_seconds: Decimal,
}

/// A film that lies in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Film {
    /// Where it lies: the asked destination, or the next free name beside it.
    pub path: PathBuf,
    /// Its length in seconds, as its own header says.
    pub seconds: Decimal,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why there is no film. The clips are untouched in every case, and the cut can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum FilmError {
    /// There is no ffmpeg where it was looked for.
    #[error("ffmpeg was not found ({looked_for})")]
    FfmpegMissing {
        /// The path or the name that was tried.
        looked_for: String,
    },
    /// Something is there, but it does not answer like ffmpeg.
    #[error("{program} does not work as ffmpeg: {reason}")]
    FfmpegUnusable {
        /// What was started.
        program: String,
        /// What it did instead.
        reason: String,
    },
    /// This ffmpeg is too old for the filters that the cut uses.
    #[error("ffmpeg {version} is too old; 4.2 or newer is needed")]
    FfmpegTooOld {
        /// Its version.
        version: String,
    },
    /// This ffmpeg was built without an H.264 encoder.
    #[error("this ffmpeg has no H.264 encoder (libx264, libopenh264 or h264_videotoolbox)")]
    NoEncoder,
    /// Nothing to cut.
    #[error("there are no clips to cut")]
    NoClips,
    /// A clip cannot be used.
    #[error("the clip {} cannot be used: {reason}", path.display())]
    BadClip {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// ffmpeg gave up.
    #[error("ffmpeg failed ({status}): {tail}")]
    FfmpegFailed {
        /// Its exit status.
        status: String,
        /// The last lines that it said.
        tail: String,
    },
    /// ffmpeg was killed from outside, often for want of memory.
    #[error("ffmpeg was killed by signal {signal}, often a sign that memory ran out")]
    FfmpegKilled {
        /// The signal's number.
        signal: i32,
    },
    /// ffmpeg said nothing for a long time and was ended.
    #[error("ffmpeg made no progress for {seconds} s and was ended")]
    FfmpegStalled {
        /// How long it was silent.
        seconds: u64,
    },
    /// The disk is full.
    #[error("no space is left on the disk of {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The film came out with another length than asked.
    #[error("the cut film lasts {seconds} s instead of {asked} s")]
    WrongLength {
        /// The length it has.
        seconds: Decimal,
        /// The length it should have.
        asked: Decimal,
    },
    /// The caller ended the cut.
    #[error("the cut was cancelled")]
    Cancelled,
}

impl FilmError {
    /// A failed file operation; a full disk is told apart.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path }
            }
            _ => Self::File { action, path, source },
        }
    }
}
