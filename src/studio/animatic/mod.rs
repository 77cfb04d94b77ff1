//! A film that costs nothing: every shot of a storyboard as a designed card, timed as the
//! film will be, encoded in this process. It is what a creator judges pace and text by before
//! money moves.
//!
//! Needs the feature `render`; without it [`render`] answers [`AnimaticError::NotBuilt`].

#[cfg(feature = "render")]
mod background;
#[cfg(feature = "render")]
mod canvas;
#[cfg(feature = "render")]
mod card;
#[cfg(feature = "render")]
mod encode;
#[cfg(feature = "render")]
mod lettering;
#[cfg(feature = "render")]
mod palette;

use std::io;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::studio::brief::Aspect;
use crate::studio::storyboard::Storyboard;

/// Pictures per second of a preview.
pub const PICTURES_PER_SECOND: u32 = 24;
/// The short side of a preview, in pixels.
pub const SHORT_SIDE: u32 = 720;

/// A preview that lies in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Where it lies: the asked destination, or the next free name beside it.
    pub path: PathBuf,
    /// Its length in seconds: the storyboard's, to the nearest picture.
    pub seconds: Decimal,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Characters of the storyboard that the built-in font lacks, each once: they are shown
    /// as empty boxes (pictographs are left out). The film itself is not concerned.
    pub unknown_characters: Vec<char>,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum AnimaticError {
    /// This aida was built without the feature `render`.
    #[error("this aida was built without preview rendering (the feature 'render')")]
    NotBuilt,
    /// The storyboard has no shots, or none that lasts for a picture.
    #[error("the storyboard has nothing to show")]
    Empty,
    /// The encoder or the container writer gave up.
    #[error("the preview cannot be encoded: {0}")]
    Encoder(String),
    /// The caller ended it.
    #[error("the preview was cancelled")]
    Cancelled,
    /// The disk is full.
    #[error("no space is left on the disk of {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Renders the storyboard as a preview film. Blocking; uses as many threads as there are
/// processors, at most four. `on_progress` gets percents from 0 to 100 and the number of the
/// shot that was worked on.
///
/// The file appears at `destination`, or at the next free name, when it is whole; until then
/// nothing is written. When `cancel` says so it ends within a picture.
#[cfg(feature = "render")]
pub fn render(
    storyboard: &Storyboard,
    aspect: Aspect,
    destination: &Path,
    cancel: &CancellationToken,
    on_progress: &mut dyn FnMut(u8, u32),
) -> Result<Rendered, AnimaticError> {
    render_at(SHORT_SIDE, storyboard, aspect, destination, cancel, on_progress)
}

/// Renders the storyboard as a preview film. This build cannot.
#[cfg(not(feature = "render"))]
pub fn render(
    _storyboard: &Storyboard,
    _aspect: Aspect,
    _destination: &Path,
    _cancel: &CancellationToken,
    _on_progress: &mut dyn FnMut(u8, u32),
) -> Result<Rendered, AnimaticError> {
    Err(AnimaticError::NotBuilt)
}

#[cfg(feature = "render")]
fn render_at(
    short_side: u32,
    storyboard: &Storyboard,
    aspect: Aspect,
    destination: &Path,
    cancel: &CancellationToken,
    on_progress: &mut dyn FnMut(u8, u32),
) -> Result<Rendered, AnimaticError> {
    use crate::studio::film;

    let (width, height) = preview_pixels(aspect, short_side);
    let film = card::FilmOfCards::new(storyboard, width, height)?;
    let file = |source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            AnimaticError::DiskFull { path: destination.to_owned() }
        }
        _ => AnimaticError::File { path: destination.to_owned(), source },
    };
    // A folder that cannot be written is worth knowing before the work.
    if let Some(folder) = destination.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(file)?;
    }
    on_progress(0, 1);
    let encoded = encode::encode(&film, cancel, on_progress)?;
    let temporary = film::temporary_beside(&film::free_path(destination));
    let path = std::fs::write(&temporary, encoded)
        .and_then(|()| film::publish(&temporary, destination))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
        .map_err(file)?;
    on_progress(100, u32::try_from(storyboard.shots.len()).unwrap_or(u32::MAX));
    Ok(Rendered {
        path,
        seconds: Decimal::from(film.pictures()) / Decimal::from(PICTURES_PER_SECOND),
        width,
        height,
        unknown_characters: film.unknown_characters(),
    })
}

/// Width and height for an aspect and a short side, both even.
#[cfg(feature = "render")]
fn preview_pixels(aspect: Aspect, short_side: u32) -> (u32, u32) {
    let (width, height) = aspect.film_pixels();
    let short = width.min(height);
    let scaled = |side: u32| (side * short_side / short).next_multiple_of(2);
    (scaled(width), scaled(height))
}

#[cfg(test)]
#[cfg(feature = "render")]
mod tests {
    use super::*;
    use crate::studio::film;
    use crate::studio::storyboard::Shot;

    fn storyboard(tenths: &[i64]) -> Storyboard {
        let shots = tenths
            .iter()
            .zip(1..)
            .map(|(&tenths, number)| Shot {
                number,
                image_prompt: format!(
                    "a very long prompt {} {number}",
                    "of many words ".repeat(90)
                ),
                motion_prompt: "x".repeat(900),
                duration_seconds: Decimal::new(tenths, 1),
                on_screen_text: "Čaj a καφές 🍵".to_owned(),
                narration: String::new(),
                references: Vec::new(),
            })
            .collect();
        Storyboard { title: "Čaj".to_owned(), shots }
    }

    fn render_small(storyboard: &Storyboard, aspect: Aspect, path: &Path) -> Rendered {
        let mut percents = Vec::new();
        let never = CancellationToken::new();
        let rendered = render_at(128, storyboard, aspect, path, &never, &mut |percent, shot| {
            assert!((1..=storyboard.shots.len() as u64).contains(&u64::from(shot)));
            percents.push(percent);
        });
        assert!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
        rendered.unwrap()
    }

    #[test]
    fn a_preview_that_is_cancelled_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cancel) = (folder.path().join("film.mp4"), CancellationToken::new());
        let mut seen = 0;
        let storyboard = storyboard(&[50, 50]);
        let result =
            render_at(128, &storyboard, Aspect::Portrait9x16, &path, &cancel, &mut |percent, _| {
                seen = percent;
                if percent >= 10 {
                    cancel.cancel();
                }
            });
        assert!(matches!(result, Err(AnimaticError::Cancelled)), "{result:?}");
        assert!(seen < 50, "{seen}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_preview_is_a_whole_film_of_the_asked_length_and_shape() {
        let folder = tempfile::tempdir().unwrap();
        for aspect in Aspect::ALL {
            let path = folder.path().join(format!("{}.mp4", aspect.as_str().replace(':', "x")));
            let rendered = render_small(&storyboard(&[10, 13, 7]), aspect, &path);
            let facts = film::inspect(&rendered.path).unwrap();
            assert_eq!(facts.seconds, Decimal::new(3, 0));
            assert_eq!((facts.width, facts.height), (rendered.width, rendered.height));
            assert_eq!(facts.width.min(facts.height), 128);
            assert!(facts.plays_everywhere());
            assert_eq!(rendered.unknown_characters, ['🍵']);
        }
    }

    #[test]
    fn a_preview_replaces_nothing_and_leaves_nothing_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/tea.mp4");
        let first = render_small(&storyboard(&[5]), Aspect::Square, &path);
        let second = render_small(&storyboard(&[5]), Aspect::Square, &path);
        assert_eq!(first.path, path);
        assert_eq!(second.path, folder.path().join("new/tea-2.mp4"));
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/tea.mp4");
        let never = CancellationToken::new();
        let error =
            render(&storyboard(&[5]), Aspect::Square, &path, &never, &mut |_, _| ()).unwrap_err();
        assert!(matches!(&error, AnimaticError::File { path: named, .. } if *named == path));
        let empty = render(&storyboard(&[]), Aspect::Square, &path, &never, &mut |_, _| ());
        assert!(matches!(empty, Err(AnimaticError::Empty)));
    }
}
