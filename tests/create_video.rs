//! `aida create-video` and `aida resume`: the real binary against the stand-ins of all services.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at the first thing that is not as it should be, and says what it skips"
)]

#[path = "support/database.rs"]
mod database;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use sqlx::{Connection as _, PgConnection};

use database::TestDatabase;
use support::environment::{colour_at, probe};
use support::{Fault, Finished, Service, TestEnvironment, World, media, wait_until};

/// Thirty seconds in six shots, agreed to beforehand.
const FILM: [&str; 3] = ["create-video", "food video", "--yes"];
const SHOTS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(90);

/// A world, a machine and a database of one test.
struct Set {
    world: World,
    machine: TestEnvironment,
    database: TestDatabase,
}

impl Set {
    /// Services that live a hundred times faster than in life: a film takes a few seconds. None
    /// where there is no ffmpeg, without which no film is begun.
    async fn build() -> Option<Self> {
        if std::process::Command::new("ffmpeg").arg("-version").output().is_err() {
            assert!(
                std::env::var("AIDA_TEST_REQUIRE_ALL").as_deref() != Ok("1"),
                "ffmpeg is missing, and AIDA_TEST_REQUIRE_ALL forbids to skip"
            );
            eprintln!("SKIPPED: films need ffmpeg, which is not on the PATH");
            return None;
        }
        let world = World::start(100.0);
        let database = TestDatabase::fresh().await;
        let machine = TestEnvironment::in_world(&world);
        let machine = match database.url() {
            Some(url) => machine.with_database(&url),
            None => machine,
        };
        Some(Self { world, machine, database })
    }

    /// The settled charges in aida's own books and the ceilings of the unknown ones, in USD;
    /// nothing where the database is embedded and belongs to the binary.
    async fn books(&self) -> Option<(Decimal, Decimal)> {
        let mut connection = PgConnection::connect(&self.database.url()?).await.unwrap();
        let sums = sqlx::query_as(
            "SELECT coalesce(sum(settled_usd), 0),
                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) FROM charges",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        Some(sums)
    }

    /// Fails unless the books hold exactly the bill.
    async fn assert_books_match_bill(&self) {
        if let Some(books) = self.books().await {
            assert_eq!(books, (self.world.bill().total(), Decimal::ZERO), "{}", self.world.bill());
        }
    }

    /// Fails unless every shot was bought once: one picture, one clip, one keyframe of its own.
    fn assert_bought_once(&self) {
        assert_eq!(self.world.kie().orders().len(), SHOTS, "pictures");
        let clips = self.world.fal().orders();
        assert_eq!(clips.len(), SHOTS, "clips");
        let mut keyframes: Vec<&str> = clips.iter().map(|clip| clip.image_url.as_str()).collect();
        keyframes.sort_unstable();
        keyframes.dedup();
        assert_eq!(
            keyframes.len(),
            SHOTS,
            "every clip has a keyframe that was uploaded for it alone"
        );
    }

    /// Fails unless the film shows `shots` in this order, each in the colour of its picture.
    fn assert_shows(&self, film: &Finished, shots: &[usize]) {
        let path = PathBuf::from(film.stdout.trim_end());
        assert!(path.is_file(), "standard output is the film's path: {:?}", film.stdout);
        let Some((seconds, width, height)) = probe(&path) else { return };
        let asked = 5.0 * f64::from(u32::try_from(shots.len()).unwrap());
        assert!((seconds - asked).abs() <= 0.5, "{seconds} s instead of {asked} s");
        let shape = f64::from(width) / f64::from(height);
        assert!((shape / (9.0 / 16.0) - 1.0).abs() < 0.01, "{width}x{height}");
        // The scripted Director names the shot's number in each prompt.
        let orders = self.world.kie().orders();
        for (place, shot) in (0_u32..).zip(shots) {
            let start = format!("Shot {shot} of");
            let order = orders.iter().find(|order| order.prompt.starts_with(&start)).unwrap();
            let seen = colour_at(&path, f64::from(place) * 5.0 + 2.5).unwrap();
            assert!(media::is_near(seen, order.colour), "shot {shot} is not at place {place}");
        }
    }
}

#[tokio::test]
async fn a_brief_becomes_a_film() {
    let Some(set) = Set::build().await else { return };
    let film = set.machine.run(&FILM).expect(0);
    set.world.assert_no_violations();
    set.assert_bought_once();
    set.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    set.assert_books_match_bill().await;
    film.assert_no_secrets();
}

#[tokio::test]
async fn nothing_is_spent_without_a_yes() {
    let Some(set) = Set::build().await else { return };
    set.machine.run(&["create-video", "food video"]).expect(3);
    set.machine.run(&["create-video", "food video", "--dry-run"]).expect(0);
    set.machine.run(&["create-video", "food video", "--yes", "--budget", "0.10"]).expect(4);
    assert_eq!(set.world.bill().items(), Vec::new());
    set.world.assert_no_violations();
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
        let Some(set) = Set::build().await else { return };
        let running = set.machine.spawn(&FILM);
        wait_until("the moment to kill", PATIENCE, || {
            let requests = set.world.requests(service, path);
            requests.iter().filter(|request| request.status.is_some()).count() >= answered
        });
        running.kill();
        let resumed = set.machine.run(&["resume", "--last", "--yes"]);
        // A submit may have been under way at that instant: its money is unknown, it is not sent again.
        let (pictures, clips) = (set.world.kie().orders().len(), set.world.fal().orders().len());
        match resumed.code {
            Some(0) => {
                set.assert_bought_once();
                set.assert_shows(&resumed, &[1, 2, 3, 4, 5, 6]);
            }
            Some(7) => assert!(pictures <= SHOTS && clips <= SHOTS, "{pictures} and {clips}"),
            other => panic!("{other:?} after {answered} x {path}\n{}", resumed.stderr),
        }
        set.world.assert_no_violations();
    }
}

#[tokio::test]
async fn a_lost_reply_of_a_submit_is_unknown_money_and_never_sent_again() {
    for (service, path) in [(Service::Kie, "mj/generate"), (Service::Fal, "POST /queue/")] {
        let Some(set) = Set::build().await else { return };
        set.world.faults().on(service, path).nth(2).meets(Fault::LoseReply);
        let film = set.machine.run(&FILM).expect(7);
        assert!(film.stderr.contains("never sent again"), "{}", film.stderr);
        set.machine.run(&["resume", "--last", "--yes"]);
        assert_eq!(set.world.requests(service, path).len(), SHOTS, "{path}");
        set.world.assert_no_violations();
    }
}

#[tokio::test]
async fn a_film_is_cut_without_the_shot_that_failed() {
    let Some(set) = Set::build().await else { return };
    set.world
        .faults()
        .on(Service::Kie, "mj/generate")
        .when(|call| String::from_utf8_lossy(&call.body).contains("Shot 3 of"))
        .always()
        .meets(Fault::Moderate);
    let film = set.machine.run(&FILM).expect(6);
    set.assert_shows(&film, &[1, 2, 4, 5, 6]);
    assert!(film.stderr.contains('3'), "the shot is named: {}", film.stderr);
    assert_eq!(set.world.fal().orders().len(), SHOTS - 1);
    set.assert_books_match_bill().await;
    set.world.assert_no_violations();
}

#[tokio::test]
async fn where_midjourney_is_withdrawn_the_other_model_is_named_and_works() {
    let Some(set) = Set::build().await else { return };
    set.world.faults().on(Service::Kie, "mj/generate").always().meets(Fault::withdrawn());
    let film = set.machine.run(&FILM);
    assert_ne!(film.code, Some(0));
    assert!(film.stderr.contains("nano-banana-2"), "{}", film.stderr);
    set.machine
        .run(&["create-video", "food video", "--yes", "--image-model", "nano-banana-2"])
        .expect(0);
    set.assert_bought_once();
    set.world.assert_no_violations();
}

#[tokio::test]
async fn services_that_lie_and_stumble_are_outlived() {
    let Some(set) = Set::build().await else { return };
    let faults = set.world.faults();
    faults.on(Service::Anthropic, "/v1/messages").nth(2).meets(Fault::overloaded());
    faults.on(Service::Kie, "mj/generate").nth(1).meets(Fault::EmptySuccess { polls: 2 });
    faults.on(Service::Kie, "mj/generate").nth(2).meets(Fault::ForbidDownload);
    faults.on(Service::Kie, "record-info").nth(5).meets(Fault::envelope(500, "Server exception"));
    faults.on(Service::Kie, "GET /files/").nth(3).meets(Fault::CutMidway);
    faults.on(Service::Fal, "/status").nth(4).meets(Fault::gateway(503, "internal_error"));
    faults.on(Service::Fal, "GET /cdn/clips/").nth(2).meets(Fault::CutMidway);
    let film = set.machine.run(&FILM).expect(0);
    set.assert_bought_once();
    set.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    set.assert_books_match_bill().await;
    set.world.assert_no_violations();
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
