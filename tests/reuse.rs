//! Kept takes instead of new ones: the real binary against the stand-ins, judged by their bill.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "reuse/matching.rs"]
mod matching;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::path::PathBuf;

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};

use stage::Stage;
use support::Service;

/// Ten seconds in two shots, agreed to beforehand.
const FILM: [&str; 7] =
    ["create-video", "food video", "--yes", "--duration", "10", "--scenes", "2"];
const SHOTS: usize = 2;
/// What a picture and a clip of five seconds cost, USD.
const SHOT_USD: Decimal = dec!(0.39);

/// Makes the film, with more words; answers the final object and the events before it.
fn film(stage: &Stage, words: &[&str], code: i32) -> (Value, Vec<Value>) {
    let all: Vec<_> = FILM.iter().chain(words).chain(&["--json"]).copied().collect();
    let mut lines = stage.machine.run(&all).expect(code).json_lines();
    (lines.pop().unwrap(), lines)
}

fn orders(stage: &Stage) -> (usize, usize) {
    (stage.world.kie().orders().len(), stage.world.fal().orders().len())
}

fn short(id: &Value) -> String {
    let digits = id.as_str().unwrap().replace('-', "");
    digits[digits.len() - 8..].to_owned()
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// Runs SQL where the database is an external one; says whether it was.
async fn sql(stage: &Stage, statement: &'static str) -> bool {
    let Some(url) = stage.database.url() else { return false };
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(statement).await.unwrap();
    true
}

async fn number(stage: &Stage, query: &'static str) -> Option<Decimal> {
    let mut connection = PgConnection::connect(&stage.database.url()?).await.unwrap();
    Some(sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap())
}

const SAVED: &str = "SELECT coalesce(sum(reuse_saved_usd), 0) FROM charges";

#[tokio::test]
async fn the_same_brief_again_buys_nothing_that_is_kept() {
    let Some(stage) = Stage::build().await else { return };
    let (first, _) = film(&stage, &["--reuse", "auto"], 0);
    assert!(first.get("reused").is_none(), "there was nothing to use again: {first}");
    let bought = orders(&stage);
    assert_eq!(bought, (SHOTS, SHOTS));

    let (second, events) = film(&stage, &["--reuse", "auto"], 0);
    assert_eq!(orders(&stage), bought, "nothing is bought again");
    let reused = second["reused"].as_array().unwrap();
    assert_eq!(reused.len(), 2 * SHOTS, "a picture and a clip for each shot");
    let saved: Decimal = reused.iter().map(|line| decimal(&line["saved_usd"])).sum();
    assert_eq!(saved, SHOT_USD * Decimal::from(SHOTS));
    assert!(reused.iter().all(|line| line["project_id"] == first["project_id"]), "{second}");
    assert!(reused.iter().all(|line| line["shot"] == line["project_shot"]), "{second}");
    let planned = events.iter().find(|event| event["event"] == "planned").unwrap();
    assert_eq!(decimal(&planned["plan_usd"]), Decimal::ZERO);
    let told: Vec<_> = events.iter().filter(|event| event["event"] == "reused").collect();
    assert_eq!(told.len(), 2 * SHOTS);
    assert!(told.iter().all(|event| event["alike"] == "exact" && event["percent"] == 100));
    stage.assert_books_match_bill().await;
    if let Some(saved) = number(&stage, SAVED).await {
        assert_eq!(saved, SHOT_USD * Decimal::from(SHOTS));
    }

    // A third one uses what the second one used, from where that was made, and books once more.
    let (third, _) = film(&stage, &["--reuse", "auto"], 0);
    let again = third["reused"].as_array().unwrap();
    assert!(again.iter().all(|line| line["project_id"] == first["project_id"]), "{third}");
    assert_eq!(orders(&stage), bought);
    if let Some(saved) = number(&stage, SAVED).await {
        assert_eq!(saved, SHOT_USD * Decimal::from(2 * SHOTS));
    }

    // The files are the project's own: the film can be cut anew when the first project is gone.
    let first_folder =
        stage.machine.data().join("projects").join(first["project_id"].as_str().unwrap());
    std::fs::remove_dir_all(first_folder).unwrap();
    let project = short(&second["project_id"]);
    let sheet = stage.machine.run(&["show", &project, "--json"]).expect(0).json();
    let takes: Vec<_> = sheet["shots"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|shot| shot["takes"].as_array().unwrap())
        .collect();
    assert_eq!(takes.len(), 2 * SHOTS);
    for take in takes {
        assert!(PathBuf::from(take["path"].as_str().unwrap()).is_file());
        assert_eq!(take["reused_from"]["project_id"], first["project_id"]);
    }
    let page = stage.machine.run(&["show", &project]).expect(0).stdout;
    assert!(page.contains("reused from shot 1 of"), "{page}");
    let why = stage.machine.run(&["why", &project]).expect(0).stdout;
    assert!(why.contains("the clip is reused from shot 2 of"), "{why}");

    // A retake orders a new one: it never uses another film's by itself.
    stage.machine.run(&["retake", &project, "--shot", "1", "--yes"]).expect(0);
    assert_eq!(orders(&stage), (SHOTS, SHOTS + 1));
    // And a fourth film finds a copy where the origin's file is gone.
    let (fourth, _) = film(&stage, &["--reuse", "auto"], 0);
    assert_eq!(fourth["reused"].as_array().unwrap().len(), 2 * SHOTS);
    assert_eq!(orders(&stage), (SHOTS, SHOTS + 1));
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn nothing_is_used_again_unless_somebody_says_so() {
    let Some(stage) = Stage::build().await else { return };
    film(&stage, &[], 0);
    for policy in [&[][..], &["--reuse", "never"], &["--reuse", "ask"]] {
        let before = orders(&stage);
        let (report, _) = film(&stage, policy, 0);
        assert!(report.get("reused").is_none(), "{policy:?}: {report}");
        assert_eq!(orders(&stage), (before.0 + SHOTS, before.1 + SHOTS), "{policy:?}");
    }
    if stage.database.url().is_some() {
        let marked = "SELECT count(*)::numeric FROM takes WHERE fingerprint IS NOT NULL";
        assert_eq!(number(&stage, marked).await, Some(Decimal::ZERO), "nothing was looked up");
    }
    stage.machine.run(&["create-video", "food video", "--reuse", "often"]).expect(2);
}

#[tokio::test]
async fn a_plan_shows_what_would_be_used_and_resume_decides() {
    let Some(stage) = Stage::build().await else { return };
    let (first, _) = film(&stage, &[], 0);
    let (plan, _) = film(&stage, &["--plan", "--reuse", "ask"], 0);
    let offered = plan["reuse"].as_array().unwrap();
    assert_eq!(offered.len(), SHOTS, "{plan}");
    for line in offered {
        assert_eq!(line["kind"], "clip");
        assert_eq!(decimal(&line["saves_usd"]), SHOT_USD);
        assert!(PathBuf::from(line["path"].as_str().unwrap()).is_file());
    }
    let words = decimal(&plan["cost"]["settled_usd"]);
    let whole = SHOT_USD * Decimal::from(SHOTS);
    assert_eq!(decimal(&plan["cost"]["estimated_usd"]), whole + words, "nobody has decided yet");
    let (auto, _) = film(&stage, &["--plan", "--reuse", "auto"], 0);
    assert_eq!(
        decimal(&auto["cost"]["estimated_usd"]),
        decimal(&auto["cost"]["settled_usd"]),
        "pictures and clips cost nothing"
    );
    assert_eq!(orders(&stage), (SHOTS, SHOTS));

    // A quote of a kept storyboard knows it too, for nothing.
    let project = short(&first["project_id"]);
    let dry = ["create-video", "--from", &project, "--dry-run", "--reuse", "auto", "--json"];
    let quote = stage.machine.run(&dry).expect(0).json();
    assert_eq!(decimal(&quote["quote"]["high_usd"]), Decimal::ZERO, "{quote}");
    assert_eq!(quote["reuse"].as_array().unwrap().len(), SHOTS);

    // Both plans are shot; the one that nobody decided for in a script buys, the other does not.
    let run = short(&auto["run_id"]);
    stage.machine.run(&["resume", &run, "--yes"]).expect(0);
    assert_eq!(orders(&stage), (SHOTS, SHOTS));
    let run = short(&plan["run_id"]);
    stage.machine.run(&["resume", &run, "--yes"]).expect(0);
    assert_eq!(orders(&stage), (2 * SHOTS, 2 * SHOTS));
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn what_is_gone_or_damaged_is_bought() {
    let Some(stage) = Stage::build().await else { return };
    let (first, _) = film(&stage, &[], 0);
    let folder = stage.machine.data().join("projects").join(first["project_id"].as_str().unwrap());
    for (shot, kind) in [("shot-01", "clip"), ("shot-02", "image")] {
        for entry in std::fs::read_dir(folder.join(shot)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with(kind) {
                let mut bytes = std::fs::read(&path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    let (second, _) = film(&stage, &["--reuse", "auto"], 0);
    // The clip of the first shot is bought, from the kept picture; the second clip does without its own.
    assert_eq!(orders(&stage), (SHOTS, SHOTS + 1), "{second}");
    let reused = second["reused"].as_array().unwrap();
    let of = |shot: u64| -> Vec<(&str, Decimal)> {
        let lines = reused.iter().filter(|line| line["shot"] == shot);
        lines.map(|line| (line["kind"].as_str().unwrap(), decimal(&line["saved_usd"]))).collect()
    };
    assert_eq!(of(1), [("image", dec!(0.04))]);
    assert_eq!(of(2), [("clip", SHOT_USD)], "the lost keyframe is not bought either");
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn no_picture_is_bought_for_a_clip_that_is_lost_after_it_was_used_again() {
    let Some(stage) = Stage::build().await else { return };
    let (first, _) = film(&stage, &["--reuse", "auto"], 0);
    let projects = stage.machine.data().join("projects");
    let lose = |project: &Value, kind: &str| {
        let folder = projects.join(project.as_str().unwrap()).join("shot-01");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(kind) {
                std::fs::remove_file(path).unwrap();
            }
        }
    };
    lose(&first["project_id"], "image");
    // The second film uses the clip of shot 1 without its picture.
    let (second, _) = film(&stage, &["--reuse", "auto"], 0);
    let bought = orders(&stage);
    if !sql(&stage, "UPDATE runs SET state = 'partial'").await {
        return;
    }
    lose(&second["project_id"], "clip");
    let resumed = stage.machine.run(&["resume", "--last"]);
    assert_eq!(orders(&stage), bought, "nobody has agreed to anything: {}", resumed.stderr);
    assert_eq!(resumed.code, Some(6), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("shot 1"), "{}", resumed.stderr);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn only_what_fits_is_used_again() {
    let Some(stage) = Stage::build().await else { return };
    film(&stage, &[], 0);
    let mut bought = orders(&stage);
    // Another shape, another user, another model, sound that the clips do not have.
    let mut other = |words: &[&str], pictures: usize, clips: usize| {
        let (report, _) = film(&stage, &[&["--reuse", "auto"][..], words].concat(), 0);
        bought = (bought.0 + pictures, bought.1 + clips);
        assert_eq!(orders(&stage), bought, "{words:?}: {report}");
    };
    other(&["--aspect", "16:9"], SHOTS, SHOTS);
    other(&["--user", "bob"], SHOTS, SHOTS);
    other(&["--image-model", "nano-banana-2"], SHOTS, SHOTS);
    other(&["--audio"], 0, SHOTS);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn what_was_disliked_or_taken_again_is_not_offered() {
    let Some(stage) = Stage::build().await else { return };
    let (first, _) = film(&stage, &[], 0);
    let dislike = "INSERT INTO project_feedback (id, project_id, shot_id, user_id, rating, created_at)
                   SELECT gen_random_uuid(), project_id, id, 'local', 2, now() FROM shots WHERE number = 1";
    if !sql(&stage, dislike).await {
        return;
    }
    let project = short(&first["project_id"]);
    stage.machine.run(&["retake", &project, "--shot", "2", "--image", "--clip", "--yes"]).expect(0);
    let (pictures, clips) = orders(&stage);
    let (report, _) = film(&stage, &["--reuse", "auto"], 0);
    assert_eq!(orders(&stage), (pictures + 1, clips + 1), "{report}");
    let sheet = stage.machine.run(&["show", &project, "--json"]).expect(0).json();
    let chosen: Vec<_> = sheet["shots"][1]["takes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|take| take["chosen"] == true)
        .map(|take| take["take_id"].clone())
        .collect();
    let reused: Vec<_> =
        report["reused"].as_array().unwrap().iter().map(|line| line["take_id"].clone()).collect();
    assert_eq!(reused, chosen, "the retaken ones, and nothing of the shot that was disliked");
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn a_clip_must_be_long_enough_and_another_brief_is_another_film() {
    let Some(stage) = Stage::build().await else { return };
    film(&stage, &[], 0);
    let (pictures, clips) = orders(&stage);
    // Seven seconds a shot: the pictures serve, the clips of five seconds do not.
    let long = [
        "create-video",
        "food video",
        "--yes",
        "--duration",
        "14",
        "--scenes",
        "2",
        "--reuse",
        "auto",
    ];
    stage.machine.run(&long).expect(0);
    assert_eq!(orders(&stage), (pictures, clips + SHOTS));
    // The longer clips serve shorter shots.
    let short = [
        "create-video",
        "food video",
        "--yes",
        "--duration",
        "12",
        "--scenes",
        "2",
        "--reuse",
        "auto",
    ];
    stage.machine.run(&short).expect(0);
    assert_eq!(orders(&stage), (pictures, clips + SHOTS));
    let other = [
        "create-video",
        "night trains",
        "--yes",
        "--duration",
        "10",
        "--scenes",
        "2",
        "--reuse",
        "auto",
    ];
    stage.machine.run(&other).expect(0);
    assert_eq!(orders(&stage), (pictures + SHOTS, clips + 2 * SHOTS));
    stage.assert_books_match_bill().await;
    assert_eq!(stage.world.requests(Service::Kie, "mj/generate").len(), pictures + SHOTS);
}
