//! Every page of help, as it is read.

use crate::sandbox::Sandbox;

#[test]
fn the_pages() {
    for page in [
        "",
        "create-video",
        "resume",
        "recover",
        "why",
        "retake",
        "show",
        "search",
        "memory",
        "memory reindex",
        "memory export",
        "memory import",
        "files",
        "files add",
        "campaigns",
        "campaigns style",
        "feedback",
        "preferences",
        "costs",
        "costs explain",
        "costs reconcile",
        "budget",
        "budget set",
        "budget set provider",
        "prices",
        "health",
        "migrate",
        "config",
        "completions",
        "man",
    ] {
        let words: Vec<_> = page.split_whitespace().chain(["--help"]).collect();
        let help = Sandbox::new().aida(&words);
        assert_eq!(help.code, 0);
        let name = if page.is_empty() { "aida".to_owned() } else { page.replace(' ', "-") };
        insta::assert_snapshot!(name, help);
    }
}

#[test]
fn without_a_command_the_help_is_shown_as_an_error() {
    let shown = Sandbox::new().aida(&[]);
    assert_eq!(shown.code, 2);
    assert_eq!(shown.stdout, "");
    assert!(shown.stderr.contains("create-video"), "{shown}");
}

#[test]
fn the_version_is_data() {
    let shown = Sandbox::new().aida(&["--version"]);
    assert_eq!(shown.stdout, concat!("aida ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = sandbox.aida(&["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.stdout.contains("create-video"), "{shell}");
        assert!(!script.stdout.contains("Host the embedded"), "{shell} offers the hidden command");
    }
    let page = sandbox.aida(&["man"]);
    assert!(page.stdout.starts_with(".ie") && page.stdout.contains(".TH aida 1"), "{page}");
    let pages = sandbox.aida(&["man", "--dir", "pages"]);
    assert_eq!(pages.code, 0, "{pages}");
    assert!(sandbox.home().join("pages/aida-create-video.1").exists(), "{pages}");
    assert!(!pages.stdout.contains("__database"), "{pages}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    use std::process::Stdio;
    let mut child = Sandbox::new()
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Sandbox::new().command(&["config", "example"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}
