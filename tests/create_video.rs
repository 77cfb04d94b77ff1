//! `aida create-video` and `aida resume`: the real binary against the stand-ins of all services.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;

use stage::Stage;
use support::{Fault, Service, TestEnvironment, wait_until};

/// Thirty seconds in six shots, agreed to beforehand.
const FILM: [&str; 3] = ["create-video", "food video", "--yes"];
const SHOTS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_brief_becomes_a_film() {
    let Some(stage) = Stage::build().await else { return };
    let film = stage.machine.run(&FILM).expect(0);
    stage.world.assert_no_violations();
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    stage.assert_books_match_bill().await;
    film.assert_no_secrets();
}

#[tokio::test]
async fn nothing_is_spent_without_a_yes() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.run(&["create-video", "food video"]).expect(3);
    stage.machine.run(&["create-video", "food video", "--dry-run"]).expect(0);
    stage.machine.run(&["create-video", "food video", "--yes", "--budget", "0.10"]).expect(4);
    assert_eq!(stage.world.bill().items(), Vec::new());
    stage.world.assert_no_violations();
}

/// The moments at which a run is killed: a request of this service and path, and how many of
/// them were answered by then.
const MOMENTS: [(Service, &str, usize); 9] = [
    (Service::Anthropic, "POST /v1/messages", 1),
    (Service::Anthropic, "POST /v1/messages", 4),
    (Service::Anthropic, "POST /v1/messages", 6),
    (Service::Kie, "POST /api/v1/mj/generate", 1),
    (Service::Kie, "POST /api/v1/mj/generate", SHOTS),
    (Service::Kie, "GET /files/", 1),
    (Service::Fal, "POST /queue/", 1),
    (Service::Fal, "POST /queue/", SHOTS),
    (Service::Fal, "GET /cdn/clips/", SHOTS),
];

#[tokio::test]
async fn a_killed_run_is_resumed_and_nothing_is_bought_twice() {
    for (service, path, answered) in MOMENTS {
        let Some(stage) = Stage::build().await else { return };
        let running = stage.machine.spawn(&FILM);
        wait_until("the moment to kill", PATIENCE, || {
            let requests = stage.world.requests(service, path);
            requests.iter().filter(|request| request.status.is_some()).count() >= answered
        });
        running.kill();
        let resumed = stage.machine.run(&["resume", "--last", "--yes"]);
        // A submit may have been under way at that instant: its money is unknown, it is not sent again.
        let (pictures, clips) =
            (stage.world.kie().orders().len(), stage.world.fal().orders().len());
        match resumed.code {
            Some(0) => {
                stage.assert_bought_once(SHOTS);
                stage.assert_shows(&resumed, &[1, 2, 3, 4, 5, 6]);
            }
            Some(7) => assert!(pictures <= SHOTS && clips <= SHOTS, "{pictures} and {clips}"),
            // If nothing else was under way, the balance tells that it was bought; it is not bought again.
            Some(6) => {
                assert!(resumed.stderr.contains("it was charged"), "{}", resumed.stderr);
                assert!(pictures <= SHOTS && clips < SHOTS, "{pictures} and {clips}");
            }
            other => panic!("{other:?} after {answered} x {path}\n{}", resumed.stderr),
        }
        stage.world.assert_no_violations();
    }
}

#[tokio::test]
async fn a_lost_reply_of_a_picture_is_unknown_money_and_never_sent_again() {
    let Some(stage) = Stage::build().await else { return };
    stage.world.faults().on(Service::Kie, "mj/generate").nth(2).meets(Fault::LoseReply);
    let film = stage.machine.run(&FILM).expect(7);
    assert!(film.stderr.contains("never sent again"), "{}", film.stderr);
    stage.machine.run(&["resume", "--last", "--yes"]).expect(7);
    assert_eq!(stage.world.requests(Service::Kie, "mj/generate").len(), SHOTS);
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_clip_whose_reply_was_lost_is_found_and_used() {
    let Some(stage) = Stage::build().await else { return };
    stage.world.faults().on(Service::Fal, "POST /queue/").nth(2).meets(Fault::LoseReply);
    let film = stage.machine.run(&FILM).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_film_is_cut_without_the_shot_that_failed() {
    let Some(stage) = Stage::build().await else { return };
    stage
        .world
        .faults()
        .on(Service::Kie, "mj/generate")
        .when(|call| String::from_utf8_lossy(&call.body).contains("Shot 3 of"))
        .always()
        .meets(Fault::Moderate);
    let film = stage.machine.run(&FILM).expect(6);
    stage.assert_shows(&film, &[1, 2, 4, 5, 6]);
    assert!(film.stderr.contains('3'), "the shot is named: {}", film.stderr);
    assert_eq!(stage.world.fal().orders().len(), SHOTS - 1);
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn where_midjourney_is_withdrawn_the_other_model_is_named_and_works() {
    let Some(stage) = Stage::build().await else { return };
    stage.world.faults().on(Service::Kie, "mj/generate").always().meets(Fault::withdrawn());
    let film = stage.machine.run(&FILM);
    assert_ne!(film.code, Some(0));
    assert!(film.stderr.contains("nano-banana-2"), "{}", film.stderr);
    stage
        .machine
        .run(&["create-video", "food video", "--yes", "--image-model", "nano-banana-2"])
        .expect(0);
    stage.assert_bought_once(SHOTS);
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn services_that_lie_and_stumble_are_outlived() {
    let Some(stage) = Stage::build().await else { return };
    let faults = stage.world.faults();
    faults.on(Service::Anthropic, "/v1/messages").nth(2).meets(Fault::overloaded());
    faults.on(Service::Kie, "mj/generate").nth(1).meets(Fault::EmptySuccess { polls: 2 });
    faults.on(Service::Kie, "mj/generate").nth(2).meets(Fault::ForbidDownload);
    faults.on(Service::Kie, "record-info").nth(5).meets(Fault::envelope(500, "Server exception"));
    faults.on(Service::Kie, "GET /files/").nth(3).meets(Fault::CutMidway);
    faults.on(Service::Fal, "/status").nth(4).meets(Fault::gateway(503, "internal_error"));
    faults.on(Service::Fal, "GET /cdn/clips/").nth(2).meets(Fault::CutMidway);
    let film = stage.machine.run(&FILM).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_preview_needs_no_key_no_server_and_no_program() {
    let machine = TestEnvironment::new().without_programs();
    let preview = machine
        .run(&["create-video", "two cooks", "--preview", "--duration", "2", "--scenes", "2"])
        .expect(0);
    let film = PathBuf::from(preview.stdout.trim_end());
    assert!(preview.stderr.contains("outline"), "{}", preview.stderr);
    let facts = aida::studio::film::inspect(&film).unwrap();
    assert_eq!((facts.width, facts.height), (720, 1280));
    assert!((facts.seconds - Decimal::from(2)).abs() < Decimal::new(5, 2), "{}", facts.seconds);
    machine.run(&["costs", "--last", "10"]).expect(0);
}

#[tokio::test]
async fn a_preview_pays_nobody_where_keys_are() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.write("menu.md", "Rye bread, sourdough, a bun with cardamom.");
    let words = ["create-video", "two cooks", "--preview", "--duration", "2", "--scenes", "2"];
    stage.machine.run(&[&words[..], &["--file", "menu.md"]].concat()).expect(0);
    assert_eq!(stage.world.bill().items(), Vec::new());
    assert_eq!(stage.world.records().len(), 0, "nobody was asked anything");
    // It is found by its words all the same.
    let found = stage.machine.run(&["search", "cardamom", "--json"]).expect(0).json();
    assert_eq!(found["hits"][0]["title"], "menu.md", "{found}");
}

#[test]
fn a_preview_that_is_interrupted_stops_and_leaves_nothing() {
    let machine = TestEnvironment::new();
    let words = ["create-video", "two cooks", "--preview", "--duration", "600", "--json"];
    let running = machine.spawn(&words);
    // The film is being drawn once the run is in its last stage.
    wait_until("the drawing", PATIENCE, || {
        let listed = machine.run(&["resume", "--json"]).expect(0).json();
        listed["runs"][0]["state"] == "cutting"
    });
    running.signal("INT");
    let asked = std::time::Instant::now();
    let stopped = running.wait(PATIENCE).expect(130);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(stopped.stderr.contains("aida resume"), "{}", stopped.stderr);
    assert_eq!(machine.files("mp4"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_yes_to_a_plan_is_none_to_its_pictures() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.run(&[&FILM[..], &["--plan"]].concat()).expect(0);
    let paid = stage.world.bill().total();
    stage.machine.run(&["resume", "--last"]).expect(3);
    assert_eq!(stage.world.bill().total(), paid);
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_down_is_refused_before_anything_is_stored() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let machine = TestEnvironment::new();
    let folder = machine.work().join(OsStr::from_bytes(b"films\xff"));
    let words = ["create-video", "two cooks", "--preview", "--duration", "1", "--out"];
    let words: Vec<_> = words.iter().map(OsStr::new).chain([folder.as_os_str()]).collect();
    let refused = machine.run(&words).expect(2);
    assert!(refused.stderr.contains("UTF-8"), "{}", refused.stderr);
    assert_eq!(machine.run(&["resume", "--json"]).expect(0).json()["runs"], serde_json::json!([]));
}
