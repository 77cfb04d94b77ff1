//! The arrows of the house run one way: this reads the `use` lines and fails on one that runs back.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the street inwards, with the rooms that each may use.
const ROOMS: [(&str, &[&str]); 8] = [
    ("serve", &["commands", "cli", "studio", "memory", "ledger", "providers", "store", "error"]),
    ("commands", &["cli", "studio", "memory", "ledger", "providers", "store", "signals", "error"]),
    ("cli", &["commands", "serve", "error"]),
    ("studio", &["memory", "ledger", "providers", "store", "error"]),
    ("memory", &["ledger", "providers", "store", "error"]),
    ("ledger", &["providers", "store", "error"]),
    ("providers", &["error"]),
    ("store", &["error"]),
];

/// Modules that hold plain types only, which every room may use.
const PLAIN: [&str; 16] = [
    "ids",
    "letters",
    "clock",
    "printable",
    "process",
    "spans",
    "ledger::budget",
    "ledger::estimate",
    "ledger::money",
    "ledger::operation",
    "ledger::prices",
    "memory::reuse::ReusePolicy",
    "studio::brief",
    "studio::script",
    "studio::storyboard",
    "studio::events",
];

/// The one exception: a provider's paid method takes the token that only the till can make.
const EXCEPTIONS: [(&str, &str); 1] = [("providers", "ledger::Reservation")];

#[test]
fn arrows_run_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (room, may_use) in ROOMS {
        for file in rust_files(&source.join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for path in crate_paths(&text) {
                let target = path.split("::").next().unwrap_or_default();
                let is_plain = PLAIN
                    .iter()
                    .any(|plain| path == *plain || path.starts_with(&format!("{plain}::")));
                let is_exception = EXCEPTIONS.contains(&(room, path.as_str()));
                if target != room && !may_use.contains(&target) && !is_plain && !is_exception {
                    wrong.push(format!("{}: crate::{path}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that run back:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_terminals_room_prints() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        if file.starts_with(source.join("cli")) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for forbidden in ["println!", "print!(", "eprintln!", "process::exit"] {
            if code.contains(forbidden) {
                wrong.push(format!("{}: {forbidden}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "printed outside src/cli:\n{}", wrong.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Every `crate::…` path in a file's code, with the braces of `use` lines opened and comments
/// left out.
fn crate_paths(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut paths = Vec::new();
    for piece in code.split("crate::").skip(1) {
        let end = piece
            .find(|character: char| !(character.is_alphanumeric() || "_:{}, ".contains(character)))
            .unwrap_or(piece.len());
        open_braces("", &piece[..end], &mut paths);
    }
    paths
}

fn open_braces(prefix: &str, piece: &str, paths: &mut Vec<String>) {
    let Some(brace) = piece.find('{') else {
        let end = piece
            .find(|character: char| !(character.is_alphanumeric() || "_:".contains(character)))
            .unwrap_or(piece.len());
        let path = piece[..end].trim_end_matches(':');
        if !path.is_empty() || !prefix.is_empty() {
            paths.push(format!("{prefix}{path}"));
        }
        return;
    };
    let head = piece[..brace].trim();
    if !head.is_empty() && !head.ends_with("::") {
        return open_braces(prefix, head, paths);
    }
    let prefix = format!("{prefix}{head}");
    let (mut depth, mut start) = (0, brace + 1);
    for (index, character) in piece.char_indices().skip(brace) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (character == ',' && depth == 1) || depth == 0 {
            let inner = piece[start..index].trim();
            if !inner.is_empty() {
                open_braces(&prefix, inner, paths);
            }
            start = index + 1;
        }
        if depth == 0 {
            return;
        }
    }
}

#[test]
fn braces_are_opened() {
    let text = "use crate::store::{Store, runs::{self, Run}};\n// use crate::cli::Nothing;\nlet x = crate::ids::RunId::new();";
    assert_eq!(
        crate_paths(text),
        ["store::Store", "store::runs::self", "store::runs::Run", "ids::RunId::new"]
    );
}
