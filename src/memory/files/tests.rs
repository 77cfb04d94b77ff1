//! Reading files of every kind, friendly and hostile, without a database.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use proptest::prelude::*;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::Error;

/// A reader that is given no PDFs, and so starts nothing.
fn reader() -> Reader {
    Reader::new(PathBuf::from("no-such-program"))
}

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

fn picture(format: ImageFormat) -> Vec<u8> {
    let mut data = Cursor::new(Vec::new());
    RgbImage::from_pixel(6, 4, Rgb([20, 70, 35])).write_to(&mut data, format).unwrap();
    data.into_inner()
}

async fn read(paths: &[PathBuf]) -> Result<Vec<Arc<ReadFile>>, FileError> {
    reader().read(paths, &mut Shelf::default()).await
}

#[tokio::test]
async fn documents_are_read_as_text() {
    let (_folder, paths) = folder_with(&[
        ("Notes.MD", "\u{feff}# Café\r\nCrème".as_bytes()),
        ("copy.txt", "\u{feff}# Café\r\nCrème".as_bytes()),
        ("menu.txt", b"Men\xfc f\xfcr zwei Personen"),
        ("prices.csv", b"name,price\nLoaf,4.50\n"),
        ("talk.txt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        ("brand", b"{\"brand\":\"Nord\"}"),
    ]);
    let read = read(&paths).await.unwrap();
    let seen: Vec<_> =
        read.iter().map(|file| (file.name.as_str(), file.media_type, file.content())).collect();
    assert_eq!(
        seen,
        [
            ("Notes.MD", "text/markdown", "# Café\nCrème"),
            ("menu.txt", "text/plain", "Menü für zwei Personen"),
            ("prices.csv", "text/csv", "Columns: name, price\nname: Loaf; price: 4.50"),
            ("talk.txt", "application/x-subrip", "Hello"),
            ("brand", "application/json", "brand: Nord"),
        ],
        "the same bytes are one file, and the bytes say what it is"
    );
    assert_eq!(read[1].facts.encoding.as_deref(), Some("windows-1252"));
    assert_eq!(read[2].facts.rows, Some(2));
    assert_eq!(read[0].sha256.len(), 64);
    assert!(read[0].path.is_absolute());
}

#[tokio::test]
async fn pictures_are_taken_by_name_size_and_colour() {
    let (_folder, paths) = folder_with(&[
        ("chef_at-work.png", &picture(ImageFormat::Png)),
        // Its bytes are a WebP, whatever it is called.
        ("called.jpg", &picture(ImageFormat::WebP)),
    ]);
    let read = read(&paths).await.unwrap();
    assert_eq!(
        read[0].content(),
        "Picture chef_at-work.png, 6 × 4 pixels, mostly dark green (#144623): chef at work png"
    );
    assert_eq!((read[0].media_type, read[1].media_type), ("image/png", "image/webp"));
    assert!(read[0].is_picture());
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_told_why() {
    let large = vec![b'a'; usize::try_from(LARGEST_TEXT_BYTES).unwrap() + 1];
    let (folder, paths) = folder_with(&[
        ("film.mp4", b"...."),
        ("noise.bin", b"\x01\xfe\x07"),
        ("empty.txt", b""),
        ("blank.md", b" \n\t"),
        ("cut.csv", "größe\n".as_bytes().split_last().unwrap().1.split_at(3).0),
        ("zero.txt", b"ab\0cd"),
        ("large.txt", &large),
        ("fake.png", b"not a picture"),
        ("fake.pdf", b"not a PDF"),
        ("half.png", &picture(ImageFormat::Png)[..40]),
        ("page.txt", b"<!DOCTYPE html><p>Hello"),
        ("broken.json", b"{\"a\":"),
        ("archive.docx", b"PK\x03\x04 and nothing more"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ]);
    let missing = folder.path().join("missing.md");
    let folder_path = folder.path().to_owned();
    let mut found = Vec::new();
    for path in paths.iter().chain([&missing, &folder_path]) {
        let error = read(std::slice::from_ref(path)).await.unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(path.to_str().unwrap()), "{shown}");
        let error = Error::from(error);
        assert_eq!(error.kind().exit_code(), 2);
        assert!(!error.hints().is_empty());
        let shown = shown.replace(path.to_str().unwrap(), "PATH");
        found.push(shown.split(" (").next().unwrap().to_owned());
    }
    assert_eq!(
        found,
        [
            "the file PATH is a film, which aida cannot use",
            "the file PATH is of an unknown kind, which aida cannot use",
            "the file PATH is empty",
            "the file PATH is empty",
            "the file PATH is not text in UTF-8",
            "the file PATH is not text in UTF-8",
            "the file PATH has 4000001 bytes; at most 4000000 are taken",
            "the file PATH is called a picture and is none",
            "the file PATH is called a PDF and is none",
            "the file PATH is not a whole PNG picture",
            "the file PATH is a web page",
            "the file PATH is not a whole JSON file",
            "the file PATH is not a whole ZIP archive",
            "the file PATH is an old or locked Office file",
            "the file PATH cannot be read",
            "the file PATH is not a file",
        ]
    );
}

#[tokio::test]
async fn there_is_a_most() {
    let error = read(&vec![PathBuf::from("a.txt"); MOST_FILES + 1]).await.unwrap_err();
    assert!(matches!(error, FileError::TooMany { count: 21 }));
    assert_eq!(error.to_string(), "21 files were given; one video takes at most 20");

    let folder = tempfile::tempdir().unwrap();
    for number in 0..=MOST_WALKED {
        std::fs::write(folder.path().join(format!("{number}.txt")), number.to_string()).unwrap();
    }
    let error = reader().gather(&[folder.path().to_owned()]).await.unwrap_err();
    assert!(error.to_string().contains("more than 2000 files"), "{error}");
    let hints = Error::from(error).hints().join("\n");
    assert!(!hints.contains("files add") && hints.contains("fewer files"), "{hints}");
}

/// Six files of nearly four megabytes: what is held of them has a bound, and each is still read whole.
#[tokio::test]
async fn what_is_held_of_many_files_has_a_bound() {
    let text = |number: u8| format!("{number} {}", "\u{e9}\n".repeat(950_000));
    let texts: Vec<String> = (0..6).map(text).collect();
    let names: Vec<String> = (0..6).map(|number| format!("{number}.txt")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes)).collect();
    let (folder, _) = folder_with(&files);
    let gathered = reader().gather(&[folder.path().to_owned()]).await.unwrap();
    assert_eq!(gathered.found.len(), 6);
    let held = gathered.found.iter().filter_map(|found| found.held.as_ref());
    let held: Vec<usize> = held.map(|file| file.text.size()).collect();
    assert!((1..6).contains(&held.len()), "{held:?}");
    assert!(held.iter().sum::<usize>() <= 16_000_000, "{held:?}");
    for (found, text) in gathered.found.into_iter().zip(&texts) {
        let file = reader().again(found).await.unwrap();
        assert_eq!(file.content(), text.trim_end());
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_it_was_a_moment_ago_is_refused() {
    let text = "\u{e9}\n".repeat(950_000);
    let names: Vec<String> = (0..6).map(|number| format!("{number}.txt")).collect();
    let texts: Vec<String> = names.iter().map(|name| format!("{name} {text}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes)).collect();
    let (folder, paths) = folder_with(&files);
    let mut gathered = reader().gather(&[folder.path().to_owned()]).await.unwrap();
    std::fs::write(&paths[5], "other words").unwrap();
    let error = reader().again(gathered.found.pop().unwrap()).await.unwrap_err();
    assert!(matches!(error, FileError::Refused { problem: FileProblem::Changed, .. }), "{error}");
    // What was read whole a moment ago, and is held, is kept as it was.
    std::fs::remove_file(&paths[4]).unwrap();
    assert!(reader().again(gathered.found.pop().unwrap()).await.is_ok());
}

/// The process that reads a PDF never answers here.
#[cfg(unix)]
#[tokio::test]
async fn reading_stops_when_it_is_told_to() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    let (folder, paths) = folder_with(&[("a.pdf", b"%PDF-1.4"), ("b.txt", b"words")]);
    let (program, told) = (folder.path().join("program"), folder.path().join("pid"));
    let script = format!("#!/bin/sh\necho $$ > {}\nexec /bin/sleep 600\n", told.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let cancel = CancellationToken::new();
    let reader = Reader::new(program).stopped_by(cancel.clone());
    let reading = tokio::spawn(async move { reader.gather(&paths).await.map(|_| ()) });
    let begun = Instant::now();
    let process = loop {
        match std::fs::read_to_string(&told) {
            Ok(process) if process.ends_with('\n') => break process.trim().to_owned(),
            _ => assert!(begun.elapsed() < Duration::from_secs(20), "no process was started"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let asked = Instant::now();
    cancel.cancel();
    let error = reading.await.unwrap().unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(matches!(error, FileError::Stopped), "{error}");
    assert_eq!(Error::from(error).kind().exit_code(), 130);
    let lives = || {
        let status = std::process::Command::new("kill").args(["-0", &process]).output();
        status.unwrap().status.success()
    };
    while lives() {
        assert!(asked.elapsed() < Duration::from_secs(10), "the process goes on reading");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As text both names would be the same.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_that_is_no_text_is_refused_by_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let (folder, _) = folder_with(&[("good.txt", b"words")]);
    for (name, words) in [(&b"a\xff.txt"[..], "one"), (b"a\xfe\x1b.txt", "two")] {
        std::fs::write(folder.path().join(OsStr::from_bytes(name)), words).unwrap();
    }
    let gathered = reader().gather(&[folder.path().to_owned()]).await.unwrap();
    let read: Vec<_> = gathered.found.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(read, ["good.txt"]);
    let errors: Vec<String> = gathered
        .refused
        .into_iter()
        .map(|(path, problem)| FileError::Refused { path, problem }.to_string())
        .collect();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains("/a\\xFE\\u{1b}.txt has a path that is not text"), "{errors:?}");
    assert!(errors[1].contains("/a\\xFF.txt has"), "{errors:?}");
}

#[tokio::test]
async fn a_folder_is_read_as_far_as_it_can_be() {
    let (folder, _) = folder_with(&[("a.txt", b"one"), ("b.mp4", b"...."), (".c.txt", b"three")]);
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/d.md"), "# Four").unwrap();
    let gathered = reader().gather(&[folder.path().to_owned()]).await.unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let read: Vec<_> = gathered.found.iter().map(|file| file.name.as_str()).collect();
    let refused: Vec<_> = gathered.refused.iter().map(|(path, _)| name(path)).collect();
    let skipped: Vec<_> = gathered.skipped.iter().map(|skipped| name(&skipped.path)).collect();
    assert_eq!(
        (read, refused, skipped),
        (vec!["a.txt", "d.md"], vec!["b.mp4".into()], vec![".c.txt".into()])
    );
}

#[tokio::test]
async fn a_copy_outlives_its_original_and_is_never_another_picture() {
    let (folder, paths) = folder_with(&[("logo.png", &picture(ImageFormat::Png))]);
    let logo = read(&paths).await.unwrap().remove(0);
    let vault = Vault::new(folder.path().join("vault"));
    vault.keep(&logo).unwrap();
    std::fs::remove_file(&paths[0]).unwrap();
    assert_eq!(vault.read(&logo.sha256, &logo.path).unwrap(), picture(ImageFormat::Png));

    // A copy that is not whole any more counts for nothing, and is written again.
    let copy = folder.path().join("vault").join(&logo.sha256[..2]).join(&logo.sha256);
    std::fs::write(&copy, b"cut off").unwrap();
    assert!(vault.keep(&logo).is_err(), "there is nothing left to copy");
    std::fs::write(&paths[0], picture(ImageFormat::Png)).unwrap();
    vault.keep(&logo).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), picture(ImageFormat::Png));
    std::fs::write(&copy, b"cut off").unwrap();
    vault.keep_soon(&logo).await.unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), picture(ImageFormat::Png));

    // Swapped between the check and the copy: refused, and nothing is copied.
    std::fs::write(&paths[0], picture(ImageFormat::Png)).unwrap();
    vault.forget(&logo.sha256);
    std::fs::write(&paths[0], b"something else").unwrap();
    let error = vault.keep(&logo).unwrap_err();
    assert!(error.to_string().contains("changed while"), "{error}");
    assert!(vault.read(&logo.sha256, &logo.path).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_bytes_under_any_name_are_read_or_refused(
        data in prop::collection::vec(any::<u8>(), 0..400),
        start in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF....WEBP", b"WEBVTT\n\n", b"{"]),
        ending in prop::sample::select(vec!["txt", "md", "csv", "tsv", "json", "jsonl", "srt", "vtt", "docx", "png", "webp", "xyz"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("file.{ending}"));
        std::fs::write(&path, [start, &data].concat()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let gathered = runtime.block_on(reader().gather(&[path])).unwrap();
        prop_assert_eq!(gathered.found.len() + gathered.refused.len(), 1);
        for found in gathered.found {
            let file = runtime.block_on(reader().again(found)).unwrap();
            prop_assert!(!file.content().trim().is_empty());
            prop_assert!(!file.content().contains('\0'));
        }
    }
}
