//! Why a file cannot be used, in words, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{LONGEST_TEXT, MOST_FILES, MOST_FOUND, MOST_PIXELS, MOST_WALKED};
use crate::error::{Error, Kind};
use crate::printable::printable_path;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// This one cannot be used.
    #[error("the file {} {problem}", printable_path(path))]
    Refused {
        /// The path as given.
        path: PathBuf,
        /// What is the matter with it.
        problem: FileProblem,
    },
    /// More files than one video is given.
    #[error("{count} files were given; one video takes at most {MOST_FILES}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// More files than are kept at once.
    #[error("there are more than {MOST_WALKED} files there; at most so many are kept at once")]
    TooManyThere,
    /// More entries of folders than are looked at.
    #[error(
        "there are more than {MOST_FOUND} files, folders, links and hidden things there; at most so many are looked at"
    )]
    TooManyEntries,
    /// The work was asked to stop while files were read. Nothing of them was kept.
    #[error("stopped while files were being read")]
    Stopped,
}

/// What is the matter with a file. Its words go on from "the file PATH".
#[derive(Debug)]
pub enum FileProblem {
    /// It is not there, or cannot be read.
    Unreadable(io::Error),
    /// It is a folder, a pipe, a device or something else that is not a file.
    NotAFile,
    /// It is of a kind that aida cannot use.
    Unusable(&'static str),
    /// It has nothing in it.
    Empty,
    /// It is larger than what is taken.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The largest size that is taken, in bytes.
        limit: u64,
    },
    /// It holds more words than are taken.
    TooLong,
    /// Its bytes are text in no encoding that can be told for certain.
    NotText {
        /// Where the first byte stands that is not UTF-8, from 0.
        position: usize,
    },
    /// Its name says one thing and its bytes say another.
    Miscalled(&'static str),
    /// It cannot be read to its end.
    Damaged {
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It is locked with a password.
    Locked,
    /// It is a scan: pictures of pages.
    NoText,
    /// It unpacks to more than is taken.
    Bomb,
    /// It has more pixels than are taken.
    TooManyPixels,
    /// Reading it takes too long.
    TooSlow,
    /// It is not what it was a moment ago.
    Changed,
    /// Documents cannot be shown to a model that draws.
    NotAPicture,
    /// Its path is no text, and as text could be the same as another one's.
    Unnameable,
    /// The work was asked to stop while it was read.
    Stopped,
    /// No copy of it could be written into the data folder.
    NotCopied(io::Error),
}

impl FileProblem {
    /// The problem in a word, for scripts.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::NotAFile => "not_a_file",
            Self::Unusable(_) => "unknown_kind",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::TooLong => "too_long",
            Self::NotText { .. } => "not_text",
            Self::Miscalled(_) => "miscalled",
            Self::Damaged { .. } => "damaged",
            Self::Locked => "locked",
            Self::NoText => "no_text",
            Self::Bomb => "unpacks_too_large",
            Self::TooManyPixels => "too_many_pixels",
            Self::TooSlow => "too_slow",
            Self::Changed => "changed",
            Self::NotAPicture => "not_a_picture",
            Self::Unnameable => "unnameable",
            Self::Stopped => "stopped",
            Self::NotCopied(_) => "not_copied",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check the path and the right to read it",
            Self::NotAFile => "give a document or a picture",
            Self::Unusable(_) | Self::NotAPicture => {
                "documents may be text, Markdown, CSV, JSON, PDF, DOCX, SRT or VTT; pictures PNG, JPEG or WebP"
            }
            Self::Empty => "leave it out, or write something into it",
            Self::TooLarge { .. } | Self::TooLong | Self::Bomb => {
                "give the part of it that matters"
            }
            Self::NotText { .. } => "save it as plain text in UTF-8",
            Self::Miscalled(_) => "give it the ending of what it is",
            Self::Damaged { .. } => "open it in the program that made it, and save it again",
            Self::Locked => "save a copy of it without a password",
            Self::NoText => "have its text recognised (OCR), or give its pages as pictures",
            Self::TooManyPixels => "make it smaller",
            Self::TooSlow => "save its text as a plain text file",
            Self::Changed => "wait until it is written, and try again",
            Self::Unnameable => "rename it, or the folder that it lies in, to a name in UTF-8",
            Self::Stopped => "try again",
            Self::NotCopied(_) => "is there room in the data folder, and the right to write there?",
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(source) => write!(formatter, "cannot be read ({source})"),
            Self::NotAFile => formatter.write_str("is not a file"),
            Self::Unusable(what) => write!(formatter, "is {what}, which aida cannot use"),
            Self::Empty => formatter.write_str("is empty"),
            Self::TooLarge { bytes, limit } => {
                write!(formatter, "has {bytes} bytes; at most {limit} are taken")
            }
            Self::TooLong => {
                write!(formatter, "has more than {LONGEST_TEXT} characters of text")
            }
            Self::NotText { position } => {
                write!(formatter, "is not text in UTF-8 (see byte {position})")
            }
            Self::Miscalled(kind) => write!(formatter, "is called {kind} and is none"),
            Self::Damaged { kind, reason } => {
                write!(formatter, "is not a whole {kind} ({reason})")
            }
            Self::Locked => formatter.write_str("is locked with a password"),
            Self::NoText => formatter.write_str("holds pictures of pages and no text"),
            Self::Bomb => formatter.write_str("unpacks to more than is taken"),
            Self::TooManyPixels => {
                write!(formatter, "has more than {MOST_PIXELS} pixels")
            }
            Self::TooSlow => formatter.write_str("takes too long to read"),
            Self::Changed => formatter.write_str("changed while it was being read"),
            Self::NotAPicture => formatter.write_str("is no picture"),
            Self::Unnameable => formatter.write_str("has a path that is not text in UTF-8"),
            Self::Stopped => formatter.write_str("was not read to its end"),
            Self::NotCopied(source) => write!(formatter, "could not be copied ({source})"),
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let message = error.to_string();
        let hint = match &error {
            FileError::Stopped | FileError::Refused { problem: FileProblem::Stopped, .. } => {
                return Self::new(Kind::Interrupted, message);
            }
            FileError::Refused { problem, .. } => problem.hint(),
            FileError::TooMany { .. } => {
                "join them into fewer files, or keep them with `aida files add`: what fits a brief is found"
            }
            FileError::TooManyThere => "give its folders one after the other, or fewer files",
            FileError::TooManyEntries => {
                "give the folders and files that matter by their own paths"
            }
        };
        Self::usage(message).hint(hint)
    }
}
