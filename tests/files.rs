//! The user's own files with the real binary: kept, described, found, told to the team, and shown to
//! the image model; and what hostile ones do not achieve.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "files/references.rs"]
mod references;
#[path = "files/removing.rs"]
mod removing;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aida::clock::{FixedClock, SharedClock};
use aida::ledger::prices::PriceBook;
use aida::ledger::{Component, Purpose, Till};
use aida::memory::files::{self, Reader, Vault};
use aida::providers::Provider;
use aida::store::files as rows;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, Executor as _, PgConnection};

use database::{TestDatabase, say};
use stage::{Stage, has_ffmpeg};
use support::{Fault, Finished, Service};

const PATIENCE: Duration = Duration::from_secs(90);

/// A PDF with one page for each text.
fn pdf(pages: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        String::new(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut kids = Vec::new();
    for text in pages {
        let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            objects.len()
        ));
        kids.push(format!("{} 0 R", objects.len()));
    }
    objects[1] = format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), kids.len());
    assembled(&objects)
}

/// The objects of a PDF, the first of which is its root.
fn assembled(objects: &[String]) -> Vec<u8> {
    let mut data = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(data.len());
        write!(data, "{number} 0 obj\n{object}\nendobj\n").unwrap();
    }
    let start = data.len();
    write!(data, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    for place in places {
        writeln!(data, "{place:010} 00000 n ").unwrap();
    }
    let size = objects.len() + 1;
    write!(data, "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").unwrap();
    data
}

fn picture(colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let mut data = Cursor::new(Vec::new());
    RgbImage::from_pixel(320, 200, Rgb(colour)).write_to(&mut data, format).unwrap();
    data.into_inner()
}

/// What `files add --json` says of the file of this name.
#[track_caller]
fn added<'report>(report: &'report Value, name: &str) -> &'report Value {
    let files = report["files"].as_array().unwrap();
    files.iter().find(|file| file["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

/// A machine without keys, but with a database.
async fn without_keys() -> Stage {
    let mut stage = Stage::on(100.0, TestDatabase::fresh().await);
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "KIE_API_KEY", "FAL_KEY"] {
        stage.machine.unset(key);
    }
    stage
}

impl Stage {
    fn files(&self, words: &[&str]) -> Finished {
        let words: Vec<&str> = ["files"].into_iter().chain(words.iter().copied()).collect();
        self.machine.run(&words)
    }

    fn found(&self, query: &str) -> Value {
        self.machine.run(&["search", query, "--kind", "file", "--json", "--yes"]).expect(0).json()
    }

    /// Fails unless aida's books are the services' bill, to the last digit.
    async fn balance(&self) {
        self.world.assert_no_violations();
        if let Some((settled, unknown)) = self.books().await {
            assert_eq!(settled.normalize(), self.world.bill().total().normalize());
            assert!(unknown.is_zero(), "{unknown}");
        }
    }
}

#[tokio::test]
async fn files_of_every_kind_are_kept_and_found_in_their_places() {
    let stage = without_keys().await;
    let pages: Vec<String> = (1..=80)
        .map(|page| match page {
            37 => "The zebrafish tank is cleaned with vinegar every fortnight".to_owned(),
            _ => format!("Page {page} speaks of ordinary matters and general upkeep of the house"),
        })
        .collect();
    stage.machine.write("brand/manual.pdf", pdf(&pages));
    stage.machine.write("brand/prices.csv", "article;price\nLoaf;4,50\nCardamom bun;3,20\n");
    stage.machine.write("brand/voice.md", "# Tone\nWe whisper.\n\n# Words\nNever say artisanal.\n");
    stage.machine.write("brand/logo.png", picture([210, 35, 30], ImageFormat::Png));
    stage.machine.write("brand/.draft.md", "hidden");

    let report = stage.files(&["add", "brand", "--json"]).expect(0).json();
    assert_eq!(report["files"].as_array().unwrap().len(), 4);
    assert_eq!(added(&report, "manual.pdf")["facts"]["pages"], 80);
    assert_eq!(added(&report, "prices.csv")["facts"]["rows"], 3);
    assert_eq!(added(&report, "logo.png")["description"], Value::Null);
    assert_eq!(report["vision_model"], Value::Null);
    assert_eq!(report["skipped"][0]["reason"], "hidden");
    let manual = added(&report, "manual.pdf")["id"].as_str().unwrap().to_owned();

    let hit = &stage.found("zebrafish tank")["hits"][0];
    assert_eq!((hit["id"].as_str(), hit["title"].as_str()), (Some(&*manual), Some("manual.pdf")));
    assert!(
        hit["place"].as_str().unwrap().contains("37")
            || hit["place"].as_str().unwrap().starts_with("pages"),
        "{hit}"
    );
    assert!(hit["snippet"].as_str().unwrap().contains("vinegar"), "{hit}");
    let hit = &stage.found("cardamom bun price")["hits"][0];
    assert_eq!(
        (hit["title"].as_str(), hit["place"].as_str()),
        (Some("prices.csv"), Some("rows 1–3"))
    );
    assert!(hit["snippet"].as_str().unwrap().contains("price: 3,20"), "{hit}");
    assert_eq!(stage.found("red logo")["hits"][0]["title"], "logo.png");

    // Once more: nothing is new. Under another name: the name is.
    let again = stage.files(&["add", "brand", "--json"]).expect(0).json();
    for file in again["files"].as_array().unwrap() {
        assert_eq!(file["status"], "unchanged", "{file}");
        assert_eq!(file["waiting_passages"], 0, "{file}");
    }
    let before = stage.machine.work().join("brand/voice.md");
    std::fs::rename(&before, stage.machine.work().join("brand/tone.md")).unwrap();
    let renamed = stage.files(&["add", "brand/tone.md", "--json"]).expect(0).json();
    assert_eq!(added(&renamed, "tone.md")["status"], "renamed");
    assert_eq!(added(&renamed, "tone.md")["former_name"], "voice.md");
    // A copy of what is still there is no other file, and does not take its name.
    stage.machine.write("brand/copy.md", "# Tone\nWe whisper.\n\n# Words\nNever say artisanal.\n");
    let copied = stage.files(&["add", "brand/copy.md", "--json"]).expect(0).json();
    let tone = added(&copied, "tone.md");
    assert_eq!(tone["status"], "unchanged");
    assert!(tone["copy"].as_str().unwrap().ends_with("copy.md"), "{tone}");

    // Other bytes under the same path: the new prices are found, and the old ones are not.
    let old = added(&report, "prices.csv")["id"].clone();
    stage.machine.write("brand/prices.csv", "article;price\nLoaf;4,90\nSaffron bun;3,60\n");
    let changed = stage.files(&["add", "brand/prices.csv", "--json"]).expect(0).json();
    let new = added(&changed, "prices.csv");
    assert_eq!((new["status"].as_str(), &new["replaces"][0]), (Some("replaced"), &old));
    assert_eq!(stage.found("\"cardamom bun\"")["hits"], serde_json::json!([]));
    assert_eq!(stage.found("saffron bun")["hits"][0]["id"], new["id"]);
    let short = old.as_str().unwrap().replace('-', "")[24..].to_owned();
    let shown = stage.files(&["show", &short, "--json"]).expect(0).json();
    assert_eq!(shown["replaced_by"], new["id"]);
    let listed = stage.files(&["list", "--json"]).expect(0).json();
    assert_eq!(listed["files"].as_array().unwrap().len(), 4);
    let all = stage.files(&["list", "--all", "--json"]).expect(0).json();
    assert_eq!(all["files"].as_array().unwrap().len(), 5);

    // Removed by name, with what it replaced.
    stage.files(&["remove", "prices.csv", "logo.png"]).expect(0);
    let left = stage.files(&["list", "--all", "--json"]).expect(0).json();
    assert_eq!(left["files"].as_array().unwrap().len(), 2);
    assert_eq!(stage.found("saffron")["hits"], serde_json::json!([]));
    stage.files(&["show", "prices.csv"]).expect(2);
    assert!(stage.world.bill().items().is_empty(), "nothing is paid for without keys");
}

#[cfg(unix)]
#[tokio::test]
async fn hostile_files_are_refused_by_name_and_harm_nothing() {
    let stage = without_keys().await;
    let secret = stage.machine.home().join("secret.txt");
    std::fs::write(&secret, "the zanzibar password").unwrap();
    stage.machine.write("in/good.txt", "Only rye flour, said the kumquat.");
    let folder = stage.machine.work().join("in");
    std::os::unix::fs::symlink(&secret, folder.join("link.txt")).unwrap();
    std::os::unix::fs::symlink(stage.machine.home(), folder.join("up")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(folder.join("pipe.txt"))
            .status()
            .unwrap()
            .success()
    );
    stage.machine.write("in/empty.md", "");
    stage.machine.write("in/garbage.pdf", [&b"%PDF-1.7\n"[..], &[0xAB; 4_000]].concat());
    // Nested so deep that a recursive reader falls.
    let mut deep = b"%PDF-1.4\n1 0 obj\n".to_vec();
    deep.extend(std::iter::repeat_n(b'[', 3_000_000));
    stage.machine.write("in/deep.pdf", deep);
    // A page tree that contains itself.
    let looped = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>".to_owned(),
    ];
    stage.machine.write("in/loop.pdf", assembled(&looped));
    // A page with a drawing and no words, as a scanner makes it.
    let mut scan = pdf(&["x".to_owned()]);
    let at = scan.windows(6).position(|window| window == b"(x) Tj").unwrap();
    scan[at..at + 6].copy_from_slice(b"( ) Tj");
    stage.machine.write("in/scan.pdf", scan);

    let begun = Instant::now();
    let finished = stage.files(&["add", "in", "--json"]).expect(2);
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    let report = finished.json();
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    assert_eq!(added(&report, "good.txt")["status"], "added");
    let refused: Vec<(String, String)> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let path = PathBuf::from(file["path"].as_str().unwrap());
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                file["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["deep.pdf", "empty.md", "garbage.pdf", "loop.pdf", "scan.pdf"]);
    for (name, code) in &refused {
        let expected = match name.as_str() {
            "empty.md" => "empty",
            "scan.pdf" => "no_text",
            _ => "damaged",
        };
        assert_eq!(code, expected, "{name}");
    }
    for name in ["empty.md", "garbage.pdf"] {
        assert!(finished.stderr.contains(name), "{}", finished.stderr);
    }
    let skipped: Vec<&str> = report["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    let out = "a link that leads out of the folder";
    assert_eq!(skipped, [out, "not a file", out]);
    assert_eq!(stage.found("zanzibar")["hits"], serde_json::json!([]));
    assert_eq!(stage.found("kumquat")["hits"][0]["title"], "good.txt");
}

#[tokio::test]
async fn pictures_are_described_once_and_the_books_are_the_bill() {
    let stage = Stage::on(100.0, TestDatabase::fresh().await);
    stage.machine.write("cup.webp", picture([20, 70, 35], ImageFormat::WebP));
    stage.world.faults().on(Service::Anthropic, "messages").meets(Fault::Refusal);
    let refused = stage.files(&["add", "cup.webp", "--json"]).expect(0);
    assert_eq!(added(&refused.json(), "cup.webp")["described_by"], Value::Null);
    assert!(refused.stderr.contains("cup.webp was not described"), "{}", refused.stderr);
    stage.balance().await;

    let report = stage.files(&["add", "cup.webp", "--json"]).expect(0).json();
    let cup = added(&report, "cup.webp");
    assert_eq!(cup["described_by"], "claude-haiku-5-5", "{cup}");
    assert!(cup["description"].as_str().unwrap().starts_with("A zebra crossing in rgb(2"), "{cup}");
    stage.balance().await;

    let paid = stage.world.bill().total();
    let again = stage.files(&["add", "cup.webp", "--json"]).expect(0).json();
    assert_eq!(added(&again, "cup.webp")["description"], cup["description"]);
    assert_eq!(stage.world.bill().total(), paid, "it is described and embedded once");
    assert_eq!(stage.found("zebra crossing")["hits"][0]["title"], "cup.webp");
    assert_eq!(stage.world.requests(Service::Anthropic, "messages").len(), 2);
    // No cache could serve what is told of once.
    let costs = stage.machine.run(&["costs", "--json", "--min-cache-hit", "60%"]).expect(0).json();
    assert_eq!(costs["cache"]["hit_rate"], Value::Null, "{costs}");
    stage.balance().await;
}

#[tokio::test]
async fn what_costs_more_than_a_little_is_asked_about() {
    let mut stage = Stage::on(100.0, TestDatabase::fresh().await);
    stage.machine.set("AIDA_ASK_ABOVE_USD", "0.0001");
    stage.machine.write("cup.png", picture([20, 70, 35], ImageFormat::Png));
    let finished = stage.files(&["add", "cup.png"]).expect(3);
    assert!(finished.stderr.contains("describing 1 picture"), "{}", finished.stderr);
    assert_eq!(stage.files(&["list", "--json"]).expect(0).json()["files"], serde_json::json!([]));
    assert!(stage.world.bill().items().is_empty());
    stage.files(&["add", "cup.png", "--no-describe", "--yes"]).expect(0);
    assert!(stage.world.requests(Service::Anthropic, "messages").is_empty());
}

#[tokio::test]
async fn what_waits_for_its_vectors_is_asked_about_as_well() {
    let mut stage = Stage::on(100.0, TestDatabase::fresh().await);
    stage.machine.write("notes.md", "# Tone\nWe whisper about kumquats.");
    // Known by its words alone: nobody answered when its vectors were to be made.
    stage.world.faults().on(Service::OpenAi, "embeddings").always().meets(Fault::unauthorized());
    let report = stage.files(&["add", "notes.md", "--json"]).expect(0).json();
    assert_eq!(added(&report, "notes.md")["waiting_passages"], 1, "{report}");
    stage.world.faults().clear();
    stage.machine.set("AIDA_ASK_ABOVE_USD", "0");
    let asked = stage.files(&["add", "notes.md"]).expect(3);
    assert!(asked.stderr.contains("may cost up to"), "{}", asked.stderr);
    assert!(stage.world.bill().items().is_empty(), "{}", stage.world.bill());
    let report = stage.files(&["add", "notes.md", "--yes", "--json"]).expect(0).json();
    assert_eq!(added(&report, "notes.md")["waiting_passages"], 0, "{report}");
    stage.balance().await;

    // Now nothing is left to pay for, and nobody is asked: neither for a document nor for a picture.
    stage.files(&["add", "notes.md"]).expect(0);
    stage.machine.write("cup.png", picture([20, 70, 35], ImageFormat::Png));
    stage.files(&["add", "cup.png"]).expect(3);
    stage.files(&["add", "cup.png", "--yes"]).expect(0);
    stage.files(&["add", "cup.png", "notes.md"]).expect(0);
    // Under another name its first passage is another one.
    std::fs::rename(stage.machine.work().join("notes.md"), stage.machine.work().join("tone.md"))
        .unwrap();
    stage.files(&["add", "tone.md"]).expect(3);
    stage.balance().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn names_that_would_move_the_cursor_are_shown_and_not_obeyed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let stage = without_keys().await;
    let folder = stage.machine.work().join("in\u{1b}[2J");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("good\u{202e}.txt"), "Only rye flour.").unwrap();
    std::fs::write(folder.join("bad\u{1b}[31m.mp4"), "....").unwrap();
    std::fs::write(folder.join(".hidden\u{7}"), "....").unwrap();
    std::fs::write(folder.join(OsStr::from_bytes(b"no\xfftext.txt")), "one").unwrap();
    let words = ["files".as_ref(), "add".as_ref(), folder.as_os_str()];
    let is_plain = |text: &str| !text.contains(['\u{1b}', '\u{7}', '\u{202e}']);
    let finished = stage.machine.run(&words).expect(2);
    assert!(is_plain(&finished.stdout) && is_plain(&finished.stderr), "{finished:?}");
    for shown in ["in\\u{1b}[2J/bad\\u{1b}[31m.mp4", "/.hidden\\u{7}", "/no\\xFFtext.txt"] {
        assert!(finished.stderr.contains(shown), "{shown}: {}", finished.stderr);
    }
    assert!(finished.stdout.contains("good\\u{202e}.txt"), "{}", finished.stdout);
    let report = stage.machine.run(&[&words[..], &["--json".as_ref()]].concat()).expect(2).json();
    assert_eq!(report["refused"].as_array().unwrap().len(), 2);
    assert_eq!(report["refused"][1]["code"], "unnameable", "{report}");
    assert!(report["refused"][0]["path"].as_str().unwrap().ends_with("/bad\u{1b}[31m.mp4"));
    let id = report["files"][0]["id"].as_str().unwrap().to_owned();
    for finished in [
        stage.files(&["list"]).expect(0),
        stage.files(&["show", &id]).expect(0),
        stage.files(&["add", folder.join("bad\u{1b}[31m.mp4").to_str().unwrap()]).expect(2),
        stage.files(&["show", "no\u{1b}[31m"]).expect(2),
        stage.machine.run(&film(&["--file", folder.join("none\u{1b}.md").to_str().unwrap()])),
        stage.machine.run(&film(&["--reference", folder.join("none\u{1b}.png").to_str().unwrap()])),
        stage.files(&["remove", &id]).expect(0),
    ] {
        assert!(is_plain(&finished.stdout) && is_plain(&finished.stderr), "{finished:?}");
    }
}

/// The process that reads a PDF for aida, once there is one.
#[cfg(target_os = "linux")]
fn reader_of(aida: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).find(|id| {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{id}/{what}"));
        let is_child = read("status")
            .is_ok_and(|status| status.lines().any(|line| line == format!("PPid:\t{aida}")));
        is_child && read("cmdline").is_ok_and(|words| words.contains("__read-pdf"))
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ctrl_c_is_heard_while_files_are_read() {
    let stage = without_keys().await;
    // A page of three million words, which takes many seconds to read.
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [5 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let content = format!("BT /F1 12 Tf {} ET", "(x) Tj ".repeat(3_000_000));
    objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    objects.push("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 3 0 R >> >> >>".to_owned());
    stage.machine.write("in/a.txt", "words");
    stage.machine.write("in/b.pdf", assembled(&objects));
    let mut running = stage.machine.spawn(&["files", "add", "in"]);
    let deadline = Instant::now() + PATIENCE;
    let reader = loop {
        assert!(Instant::now() < deadline && running.is_running(), "no PDF was read");
        if let Some(reader) = reader_of(running.id()) {
            break reader;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let asked = Instant::now();
    running.signal("INT");
    let finished = running.wait(PATIENCE).expect(130);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(finished.stderr.contains("stopped while files were being read"), "{finished:?}");
    // It is killed, and gone as soon as the system has taken its memory back.
    let reads = || {
        let status = std::fs::read_to_string(format!("/proc/{reader}/status"));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    while reads() {
        assert!(asked.elapsed() < Duration::from_secs(10), "it goes on reading");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stage.files(&["list", "--json"]).expect(0).json()["files"], serde_json::json!([]));
}

/// Ten seconds in two shots, the second of which looks like the first.
const FILM: [&str; 6] =
    ["create-video", "food video (shot 2 like shot 1)", "--duration", "10", "--scenes", "2"];

fn film<'word>(more: &[&'word str]) -> Vec<&'word str> {
    FILM.iter().chain(&["--yes"]).chain(more).copied().collect()
}

/// Has the database tell of every change of state as it is committed.
const TELL: &str = "
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('transitions', NEW.provider || ' ' || NEW.kind || ' ' || NEW.state); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OF state ON operations FOR EACH ROW EXECUTE FUNCTION tell();";
