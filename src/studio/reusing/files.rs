//! The files of kept takes: whether one is what it should be, and its place in another project.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use crate::ledger::operation::OperationKind;
use crate::store::reuse::KeptTake;
use crate::studio::film::{inspect, inspect_image};

/// Whether a file is the take that it should be, and whole; a clip with the sound and the length that are
/// needed. Blocking.
pub(super) fn is_whole(path: &Path, take: &KeptTake, (audio, seconds): (bool, Decimal)) -> bool {
    if digest_of(path).ok().as_ref() != Some(&take.sha256) {
        return false;
    }
    if take.kind == OperationKind::Image {
        return inspect_image(path).is_ok();
    }
    let slack = Decimal::new(1, 1);
    inspect(path).is_ok_and(|facts| facts.seconds + slack >= seconds && (!audio || facts.has_audio))
}

/// SHA-256 of a file, hexadecimal.
fn digest_of(path: &Path) -> io::Result<String> {
    let mut sha = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut sha))?;
    Ok(sha.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a file with this content at `destination`: under another name first, so that a name never
/// stands for half a file. Says whether the source had that content.
pub(super) fn link_or_copy(source: &Path, destination: &Path, sha256: &str) -> io::Result<bool> {
    if !source.is_file() {
        return Ok(false);
    }
    let part = destination.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if fs::hard_link(source, &part).is_err() {
        // Some file systems (FAT, some network shares) have no hard links.
        fs::copy(source, &part)?;
        File::open(&part)?.sync_all()?;
    }
    if digest_of(&part)? != sha256 {
        fs::remove_file(&part)?;
        return Ok(false);
    }
    fs::rename(&part, destination)?;
    // Renaming one of two links to one file over the other leaves both names where they are.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = destination.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_linked_whole_or_not_at_all_and_outlives_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let (source, destination) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
        fs::write(&source, b"a clip").unwrap();
        let sha256 = digest_of(&source).unwrap();
        for _ in 0..2 {
            assert!(link_or_copy(&source, &destination, &sha256).unwrap());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
        assert!(!link_or_copy(&source, &folder.path().join("c.mp4"), "00").unwrap());
        assert!(!link_or_copy(&folder.path().join("no"), &destination, &sha256).unwrap());
        fs::remove_file(&source).unwrap();
        assert_eq!(fs::read(&destination).unwrap(), b"a clip");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
