//! Where a finished file goes: its name, and the move into its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The longest slug in a file name, in bytes.
const LONGEST_SLUG_BYTES: usize = 60;

/// A text as a part of a file name: in small letters, letters and digits of any script kept,
/// everything else one dash; `film` where nothing is left.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            if slug.len() + character.len_utf8() > LONGEST_SLUG_BYTES {
                break;
            }
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "film".to_owned() } else { slug.to_owned() }
}

/// The name of a film's file: `<slug>-<short id>.mp4`.
pub fn file_name(slug: &str, short_id: &str) -> String {
    format!("{slug}-{short_id}.mp4")
}

/// `path` itself if nothing lies there, else the first free one of `name-2.mp4`, `name-3.mp4`, …
pub fn free_path(path: &Path) -> PathBuf {
    candidates(path).find(|candidate| !is_taken(candidate)).unwrap_or_else(|| path.to_owned())
}

/// A path in the same folder for the unfinished file: hidden, and of this process alone.
pub fn temporary_beside(destination: &Path) -> PathBuf {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    destination.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

/// Moves the finished `temporary` to `destination`, or to the next free name if another file
/// came to lie there meanwhile; never over another file. The data are on the disk before the
/// name is. Returns where the file lies.
pub fn publish(temporary: &Path, destination: &Path) -> io::Result<PathBuf> {
    fs::File::open(temporary)?.sync_all()?;
    for candidate in candidates(destination) {
        // A hard link fails where a name is taken; a rename would silently replace the file.
        match fs::hard_link(temporary, &candidate) {
            Ok(()) => {
                fs::remove_file(temporary)?;
                sync_folder(&candidate);
                return Ok(candidate);
            }
            Err(_) if is_taken(&candidate) => {}
            // Some file systems (FAT, some network shares) have no hard links.
            Err(_) => {
                fs::rename(temporary, &candidate)?;
                sync_folder(&candidate);
                return Ok(candidate);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every free name is taken"))
}

/// `name.mp4`, `name-2.mp4`, `name-3.mp4`, …
fn candidates(path: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    (1..10_000).map(move |number| match (number, &extension) {
        (1, _) => path.to_owned(),
        (_, Some(extension)) => path.with_file_name(format!("{stem}-{number}.{extension}")),
        (_, None) => path.with_file_name(format!("{stem}-{number}")),
    })
}

/// Whether anything lies there, a dangling link included.
fn is_taken(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Puts the folder's new entry on the disk. Where folders cannot be opened (Windows) the
/// system does so by itself, and the file is whole in either case.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        && let Ok(folder) = fs::File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_readable() {
        assert_eq!(slug("Food video"), "food-video");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("Ночной город: Αθήνα!"), "ночной-город-αθήνα");
        assert_eq!(slug("🎬 !!"), "film");
        assert!(slug(&"ж".repeat(500)).len() <= LONGEST_SLUG_BYTES);
        assert_eq!(file_name("food-video", "0a1b2c3d"), "food-video-0a1b2c3d.mp4");
    }

    #[test]
    fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("film.mp4");
        for (round, name) in ["film.mp4", "film-2.mp4", "film-3.mp4"].into_iter().enumerate() {
            assert_eq!(free_path(&destination), folder.path().join(name));
            let temporary = temporary_beside(&destination);
            fs::write(&temporary, format!("film {round}")).unwrap();
            assert_eq!(publish(&temporary, &destination).unwrap(), folder.path().join(name));
            assert!(!temporary.exists());
        }
        assert_eq!(fs::read_to_string(&destination).unwrap(), "film 0");
    }
}
