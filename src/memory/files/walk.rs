//! From what was typed to open files: folders are gone through, and no link leads out of one.
//!
//! Inside a folder every name is opened relative to the folder that it was found in, and never
//! through a link: what is swapped for a link between a look and an opening is not followed either.
//! A path that was typed is the user's own word, and may itself be a link.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::MOST_FOUND;
use super::error::FileProblem;

/// How deep folders are gone into.
const DEEPEST: usize = 16;

/// Something that was passed over without being an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it lies.
    pub path: PathBuf,
    /// Why, in a few words.
    pub reason: &'static str,
}

/// Who takes what is found.
pub(super) trait Visitor {
    /// Is told that a folder has one more thing in it, before anything else of it. Answers whether to
    /// go on.
    fn found(&mut self) -> bool;
    /// Takes a file, open for reading, or why it cannot be used. Answers whether to go on.
    fn file(&mut self, path: &Path, file: Result<File, FileProblem>) -> bool;
    /// Is told of something that is passed over.
    fn skipped(&mut self, path: &Path, reason: &'static str);
}

/// Goes through what was typed, in its order; folders by the names in them.
pub(super) fn walk(paths: &[PathBuf], visitor: &mut dyn Visitor) {
    for path in paths {
        let goes_on = if std::fs::metadata(path).is_ok_and(|found| found.is_dir()) {
            folder(path, visitor)
        } else {
            visitor.file(path, open(path))
        };
        if !goes_on {
            return;
        }
    }
}

/// Opens a typed path for reading if it is a file. A named pipe is not waited for.
pub(super) fn open(path: &Path) -> Result<File, FileProblem> {
    // Looked at before it is opened: opening some devices has effects.
    if !std::fs::metadata(path).map_err(FileProblem::Unreadable)?.is_file() {
        return Err(FileProblem::NotAFile);
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options
            .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default());
    }
    only_files(options.open(path).map_err(FileProblem::Unreadable)?)
}

/// The file, unless it turned out to be something else once it was open.
fn only_files(file: File) -> Result<File, FileProblem> {
    let is_file = file.metadata().map_err(FileProblem::Unreadable)?.is_file();
    if is_file { Ok(file) } else { Err(FileProblem::NotAFile) }
}

/// Why a link inside a folder is passed over.
fn link_reason(path: &Path, root: &Path) -> &'static str {
    match path.canonicalize() {
        Ok(target) if target.starts_with(root) => {
            "a link; what it leads to is read in its own place"
        }
        Ok(_) => "a link that leads out of the folder",
        Err(_) => "a link that leads nowhere",
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStringExt as _;

    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

    use super::{
        DEEPEST, File, FileProblem, MOST_FOUND, Path, PathBuf, Visitor, link_reason, only_files,
    };

    pub(super) fn folder(path: &Path, visitor: &mut dyn Visitor) -> bool {
        let root = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(folder) => enter(&folder, path, &root, 0, visitor),
            Err(error) => visitor.file(path, Err(FileProblem::Unreadable(error.into()))),
        }
    }

    fn enter(
        folder: &OwnedFd,
        path: &Path,
        root: &Path,
        depth: usize,
        visitor: &mut dyn Visitor,
    ) -> bool {
        let names = match names(folder) {
            Ok(names) => names,
            Err(error) => return visitor.file(path, Err(FileProblem::Unreadable(error.into()))),
        };
        for name in names {
            if !visitor.found() {
                return false;
            }
            let here: PathBuf = path.join(&name);
            if name.as_encoded_bytes().starts_with(b".") {
                visitor.skipped(&here, "hidden");
                continue;
            }
            let kind = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => FileType::from_raw_mode(found.st_mode),
                Err(error) => {
                    if !visitor.file(&here, Err(FileProblem::Unreadable(error.into()))) {
                        return false;
                    }
                    continue;
                }
            };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = |extra| openat(folder, &name, flags | extra, Mode::empty());
            let goes_on = match kind {
                FileType::Symlink => {
                    visitor.skipped(&here, link_reason(&here, root));
                    true
                }
                FileType::Directory if depth == DEEPEST => {
                    visitor.skipped(&here, "too many folders deep");
                    true
                }
                FileType::Directory => match opened(OFlags::DIRECTORY) {
                    Ok(inner) => enter(&inner, &here, root, depth + 1, visitor),
                    Err(error) => visitor.file(&here, Err(FileProblem::Unreadable(error.into()))),
                },
                FileType::RegularFile => {
                    let file = opened(OFlags::empty())
                        .map_err(|error| FileProblem::Unreadable(error.into()))
                        .and_then(|file| only_files(File::from(file)));
                    visitor.file(&here, file)
                }
                _ => {
                    visitor.skipped(&here, "not a file");
                    true
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// The names in a folder in their order; where there are more than are looked at, one more than that.
    fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            if names.len() > MOST_FOUND {
                break;
            }
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(unix)]
use unix::folder;

#[cfg(not(unix))]
fn folder(path: &Path, visitor: &mut dyn Visitor) -> bool {
    let root = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    enter(path, &root, 0, visitor)
}

#[cfg(not(unix))]
fn enter(path: &Path, root: &Path, depth: usize, visitor: &mut dyn Visitor) -> bool {
    let entries = std::fs::read_dir(path)
        .and_then(|entries| entries.take(MOST_FOUND + 1).collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return visitor.file(path, Err(FileProblem::Unreadable(error))),
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if !visitor.found() {
            return false;
        }
        let here = entry.path();
        let kind = entry.file_type().ok();
        let goes_on = if entry.file_name().as_encoded_bytes().starts_with(b".") {
            visitor.skipped(&here, "hidden");
            true
        } else if kind.is_some_and(|kind| kind.is_symlink()) {
            visitor.skipped(&here, link_reason(&here, root));
            true
        } else if kind.is_some_and(|kind| kind.is_dir()) {
            if depth == DEEPEST {
                visitor.skipped(&here, "too many folders deep");
                true
            } else {
                enter(&here, root, depth + 1, visitor)
            }
        } else {
            visitor.file(&here, open(&here))
        };
        if !goes_on {
            return false;
        }
    }
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[derive(Default)]
    struct Seen {
        files: Vec<(String, String)>,
        skipped: Vec<(String, &'static str)>,
    }

    impl Visitor for Seen {
        fn found(&mut self) -> bool {
            true
        }

        fn file(&mut self, path: &Path, file: Result<File, FileProblem>) -> bool {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let content = match file {
                Ok(mut file) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                }
                Err(problem) => problem.to_string(),
            };
            self.files.push((name, content));
            true
        }

        fn skipped(&mut self, path: &Path, reason: &'static str) {
            self.skipped.push((path.file_name().unwrap().to_string_lossy().into_owned(), reason));
        }
    }

    #[test]
    fn no_link_leads_out_of_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let (outside, folder) = (home.path().join("outside"), home.path().join("given"));
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret.txt"), "secret").unwrap();
        std::fs::write(folder.join("deep/notes.txt"), "notes").unwrap();
        std::fs::write(folder.join(".hidden.txt"), "hidden").unwrap();
        symlink(outside.join("secret.txt"), folder.join("a.txt")).unwrap();
        symlink(&outside, folder.join("b")).unwrap();
        symlink("../outside/secret.txt", folder.join("c.txt")).unwrap();
        symlink("deep/notes.txt", folder.join("d.txt")).unwrap();
        symlink("nowhere", folder.join("e.txt")).unwrap();
        symlink(".", folder.join("loop")).unwrap();
        let mut seen = Seen::default();
        walk(std::slice::from_ref(&folder), &mut seen);
        assert_eq!(seen.files, [("notes.txt".to_owned(), "notes".to_owned())]);
        let out = "a link that leads out of the folder";
        let within = "a link; what it leads to is read in its own place";
        assert_eq!(
            seen.skipped,
            [
                (".hidden.txt".to_owned(), "hidden"),
                ("a.txt".to_owned(), out),
                ("b".to_owned(), out),
                ("c.txt".to_owned(), out),
                ("d.txt".to_owned(), within),
                ("e.txt".to_owned(), "a link that leads nowhere"),
                ("loop".to_owned(), within),
            ]
        );

        // A path that was typed is the user's own word.
        let mut seen = Seen::default();
        walk(&[folder.join("a.txt")], &mut seen);
        assert_eq!(seen.files, [("a.txt".to_owned(), "secret".to_owned())]);
    }

    /// Looks at two things, and then has seen enough.
    struct Weary(usize);

    impl Visitor for Weary {
        fn found(&mut self) -> bool {
            self.0 += 1;
            self.0 <= 2
        }

        fn file(&mut self, _path: &Path, _file: Result<File, FileProblem>) -> bool {
            true
        }

        fn skipped(&mut self, _path: &Path, _reason: &'static str) {}
    }

    #[test]
    fn what_is_passed_over_counts_as_well() {
        let home = tempfile::tempdir().unwrap();
        for name in [".a", ".b", ".c", ".d"] {
            std::fs::write(home.path().join(name), "hidden").unwrap();
        }
        let mut weary = Weary(0);
        walk(&[home.path().to_owned(), home.path().to_owned()], &mut weary);
        assert_eq!(weary.0, 3);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe.txt");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(matches!(open(&pipe), Err(FileProblem::NotAFile)));
        let mut seen = Seen::default();
        walk(&[home.path().to_owned()], &mut seen);
        assert_eq!(seen.skipped, [("pipe.txt".to_owned(), "not a file")]);
    }
}
