//! The journal as a file: whole lines, appended under a lock and synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long one append may wait for others; each takes as long as the disk needs.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Appends a line, which ends with a newline, and waits until it is on the disk.
pub(super) fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = open_locked(path)?;
    let end = mend_end(&mut file)?;
    if end == 0 {
        // The file may be new, and then its name must be on the disk as well.
        sync_folder_of(path)?;
    }
    file.seek(SeekFrom::Start(end))?;
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would be ignored anyway.
        let _ = file.set_len(end);
    }
    written
}

/// All whole lines. A torn last one was never waited for, so nothing was sent on its strength.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        bytes => bytes?,
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

/// Syncs everything under the database's folder, and then empties the journal.
pub(super) fn empty_after_syncing(path: &Path, database: &Path) -> io::Result<()> {
    if fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        return Ok(());
    }
    let file = open_locked(path)?;
    sync_tree(database)?;
    file.set_len(0)?;
    file.sync_all()
}

/// Puts other lines in the place of some, in one step: whatever happens meanwhile, the journal is as
/// it was or as it is to be. A torn last line stays out, as nothing was sent on its strength. Says
/// whether there was anything to change.
pub(super) fn rewrite(path: &Path, new_line: impl Fn(&str) -> Option<String>) -> io::Result<bool> {
    if fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        return Ok(false);
    }
    // Nobody appends until the new one has taken its place: they would append to the old one.
    let old = open_locked(path)?;
    let text = fs::read(path)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut new = Vec::with_capacity(whole);
    let mut is_changed = whole < text.len();
    for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
        // What is no text stays, for a person to look at.
        let changed = std::str::from_utf8(line).ok().and_then(|line| new_line(line.trim_end()));
        match changed {
            Some(changed) => {
                is_changed = true;
                new.extend_from_slice(changed.as_bytes());
                new.push(b'\n');
            }
            None => new.extend_from_slice(line),
        }
    }
    if !is_changed {
        return Ok(false);
    }
    let beside = path.with_extension("journal.new");
    let mut file = File::create(&beside)?;
    file.set_permissions(old.metadata()?.permissions())?;
    let written = file
        .write_all(&new)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_folder_of(path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map(|()| true)
}

fn open_locked(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let deadline = Instant::now() + LOCK_DEADLINE;
    let mut file = open()?;
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, path)? => return Ok(file),
            // While this one waited, a new one took its place.
            Ok(()) => file = open()?,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether it is this file that stands at a path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let this = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((this.dev(), this.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Cuts off a torn last line. Returns where the next one begins.
fn mend_end(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut piece = [0_u8; 4096];
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let read = &mut piece[..usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact(read)?;
        if let Some(last) = read.iter().rposition(|byte| *byte == b'\n') {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Syncs every file and folder from the leaves up.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_ignored_and_mended() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        append(&path, b"one\n").unwrap();
        append(&path, b"two\n").unwrap();
        // Longer than the piece that is looked at in one go.
        let torn = vec![b'x'; 9000];
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&torn).unwrap();
        assert_eq!(read(&path).unwrap(), "one\ntwo\n");
        append(&path, b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_are_changed_in_one_step() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        let shorter = |line: &str| line.contains("tea").then(|| line.replace("tea", "…"));
        assert!(!rewrite(&path, shorter).unwrap());
        append(&path, b"{\"a\":\"tea and tea\"}\n").unwrap();
        append(&path, b"\xff tea\n").unwrap();
        append(&path, b"{\"b\":1}\n").unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn tea").unwrap();
        // Whoever waits for the old file appends to the new one.
        let old = open_locked(&path).unwrap();
        thread::scope(|scope| {
            let appending = scope.spawn(|| append(&path, b"{\"c\":2}\n"));
            let new = home.path().join("new");
            fs::copy(&path, &new).unwrap();
            fs::rename(&new, &path).unwrap();
            drop(old);
            appending.join().unwrap().unwrap();
        });
        assert!(rewrite(&path, shorter).unwrap());
        assert!(!rewrite(&path, shorter).unwrap());
        let expected =
            b"{\"a\":\"\xe2\x80\xa6 and \xe2\x80\xa6\"}\n\xff tea\n{\"b\":1}\n{\"c\":2}\n";
        assert_eq!(fs::read(&path).unwrap(), expected);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn nothing_is_lost_that_is_appended_while_lines_are_changed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        append(&path, b"0:tea\n").unwrap();
        thread::scope(|scope| {
            for writer in 1..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..25 {
                        append(path, format!("{writer}:{number}:tea\n").as_bytes()).unwrap();
                    }
                });
            }
            for _ in 0..25 {
                rewrite(&path, |line| line.contains("tea").then(|| line.replace("tea", "")))
                    .unwrap();
            }
        });
        assert_eq!(read(&path).unwrap().lines().count(), 76);
    }

    #[test]
    fn a_journal_that_is_nothing_but_torn_is_begun_anew() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        fs::write(&path, "{\"v\":1").unwrap();
        assert_eq!(read(&path).unwrap(), "");
        append(&path, b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn many_writers_append_whole_lines() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..25 {
                        append(path, format!("{writer}:{number}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let text = read(&path).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 100);
    }

    #[test]
    fn it_is_emptied_only_when_the_database_could_be_synced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operations.journal");
        append(&path, b"one\n").unwrap();
        assert!(empty_after_syncing(&path, &home.path().join("missing")).is_err());
        assert_eq!(read(&path).unwrap(), "one\n");
        let database = home.path().join("database/base/1");
        fs::create_dir_all(&database).unwrap();
        fs::write(database.join("1259"), "rows").unwrap();
        empty_after_syncing(&path, &home.path().join("database")).unwrap();
        assert_eq!(read(&path).unwrap(), "");
    }
}
