//! Many films: from one file of briefs, and on many hosts.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use database::TestDatabase;
use stage::{Stage, has_ffmpeg};
use support::{Running, TestEnvironment, wait_until};

const PATIENCE: Duration = Duration::from_mins(3);

/// Briefs of films of two shots.
fn briefs(films: usize) -> String {
    let rows = (1..=films).map(|number| format!("food video {number},10,2\n"));
    format!("brief,duration,scenes\n{}", rows.collect::<String>())
}

fn amount(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_batch_is_priced_made_and_accounted_for_row_by_row() {
    let Some(stage) = Stage::build().await else { return };
    let file = stage.machine.write("briefs.csv", briefs(4));
    let file = file.to_str().unwrap();
    let quote = stage.machine.run(&["batch", file, "--dry-run", "--json"]).expect(0).json();
    assert_eq!(quote["rows"].as_array().unwrap().len(), 4);
    let refused = stage.machine.run(&["batch", file]).expect(3);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert!(stage.world.records().is_empty(), "nothing was asked before the yes");

    let made = stage.machine.run(&["batch", file, "--yes", "--json", "--quiet"]).expect(0).json();
    let rows = made["rows"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|row| row["line"].as_u64().unwrap()).collect::<Vec<_>>(),
        [2, 3, 4, 5]
    );
    let mut sum = Decimal::ZERO;
    for row in rows {
        assert_eq!(row["status"], "done", "{row}");
        assert!(std::path::Path::new(row["video"].as_str().unwrap()).is_file());
        sum += amount(&row["settled_usd"]);
    }
    assert_eq!(sum, stage.world.bill().total(), "every row to the last decimal");
    assert_eq!(amount(&made["settled_usd"]), sum);
    assert!(sum <= amount(&quote["high_usd"]));
    stage.assert_bought_once(8);
    stage.assert_books_match_bill().await;

    // The same rows, in another file and order, are the same batch: nothing is asked or paid for again.
    let asked = stage.world.records().len();
    let mut lines: Vec<_> = briefs(4).lines().map(str::to_owned).collect();
    lines[1..].reverse();
    let other = stage.machine.write("again.csv", lines.join("\n"));
    let again = stage.machine.run(&["batch", other.to_str().unwrap(), "--yes", "--csv"]).expect(0);
    assert_eq!(again.stdout.lines().count(), 5, "{}", again.stdout);
    assert!(again.stdout.starts_with("line,brief,status"), "{}", again.stdout);
    assert_eq!(stage.world.records().len(), asked);
    let listed = stage.machine.run(&["batch", "--json"]).expect(0).json();
    assert_eq!(listed["batches"][0]["done"], 4);
}

#[tokio::test]
async fn every_wrong_row_is_named_and_nothing_is_begun() {
    let stage = Stage::on(100.0, TestDatabase::fresh().await);
    let file = stage.machine.write(
        "briefs.jsonl",
        "{\"brief\": \"food\", \"scenes\": 2, \"duration\": 10}\n\
         {\"brief\": \"food\", \"aspect\": \"5:4\"}\n\
         not json\n\
         {\"brief\": \"food\", \"budget\": 0.01}\n\
         {\"brief\": \"food\", \"file\": [\"missing.md\"]}\n\
         {\"brief\": \"food\", \"campaign\": \"nobody's\"}\n",
    );
    let refused = stage.machine.run(&["batch", file.to_str().unwrap(), "--yes"]).expect(2);
    for line in ["line 2:", "line 3:", "line 4:", "line 5:", "line 6:"] {
        assert!(refused.stderr.contains(line), "{line} in {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("line 1:"), "{}", refused.stderr);
    let listed = stage.machine.run(&["batch", "--json"]).expect(0).json();
    assert_eq!(listed["batches"], serde_json::json!([]));
    assert!(stage.world.records().is_empty());
}

#[tokio::test]
async fn a_batch_is_admitted_as_a_whole() {
    let stage = Stage::on(100.0, TestDatabase::fresh().await);
    let file = stage.machine.write("briefs.csv", briefs(5));
    let file = file.to_str().unwrap();
    let quote = stage.machine.run(&["batch", file, "--dry-run", "--json"]).expect(0).json();
    let high = amount(&quote["high_usd"]);
    let less = (high - Decimal::new(1, 2)).to_string();
    stage.machine.run(&["batch", file, "--yes", "--budget", &less]).expect(4);
    for cap in [&["budget", "set", "day", &less][..], &["budget", "set", "provider", "fal", "0.5"]]
    {
        stage.machine.run(cap).expect(0);
        let refused = stage.machine.run(&["batch", file, "--yes"]).expect(4);
        assert!(refused.stderr.contains("aida budget set"), "{}", refused.stderr);
        stage.machine.run(&["budget", "remove", "day"]);
    }
    assert!(stage.world.bill().total().is_zero());
}

#[tokio::test]
async fn a_batch_that_was_killed_goes_on_and_buys_nothing_twice() {
    let Some(database) = TestDatabase::native().await else { return };
    if !has_ffmpeg() {
        return;
    }
    let stage = Stage::on(20.0, database);
    let file = stage.machine.write("briefs.csv", briefs(4));
    let file = file.to_str().unwrap();
    let batch = stage.machine.spawn(&["batch", file, "--yes", "--jobs", "2"]);
    wait_until("clips are ordered", PATIENCE, || !stage.world.fal().orders().is_empty());
    let mut connection = PgConnection::connect(&stage.database.url().unwrap()).await.unwrap();
    kill_between_sends(batch, &mut connection).await;
    let made = stage.machine.run(&["batch", file, "--yes", "--json", "--quiet"]).expect(0).json();
    assert!(made["rows"].as_array().unwrap().iter().all(|row| row["status"] == "done"), "{made}");
    stage.assert_bought_once(8);
}

#[tokio::test]
async fn a_batch_that_is_interrupted_leaves_the_queue_and_is_resumed() {
    if !has_ffmpeg() {
        return;
    }
    let stage = Stage::on(20.0, TestDatabase::fresh().await);
    let file = stage.machine.write("briefs.csv", briefs(3));
    let batch = stage.machine.spawn(&["batch", file.to_str().unwrap(), "--yes"]);
    wait_until("pictures are ordered", PATIENCE, || !stage.world.kie().orders().is_empty());
    batch.signal("INT");
    let stopped = batch.wait(PATIENCE).expect(130);
    assert!(stopped.stderr.contains("aida batch --resume"), "{}", stopped.stderr);
    // No worker goes on with what a person stopped.
    stage.machine.run(&["work", "--until-empty"]).expect(0);
    assert_eq!(stage.machine.files("mp4").len(), 0);
    let listed = stage.machine.run(&["batch", "--json"]).expect(0).json();
    let id = listed["batches"][0]["batch_id"].as_str().unwrap().to_owned();
    stage.machine.run(&["batch", "--resume", &id, "--yes"]).expect(0);
    stage.assert_bought_once(6);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn one_film_that_fails_does_not_stop_the_others() {
    let Some(stage) = Stage::build().await else { return };
    let file = stage.machine.write("briefs.csv", briefs(3));
    // The price of one film's pictures passes the cap of the batch when two are made.
    let quote = stage.machine.run(&["batch", file.to_str().unwrap(), "--dry-run", "--json"]);
    let high = amount(&quote.expect(0).json()["high_usd"]);
    stage.machine.run(&["batch", file.to_str().unwrap(), "--yes", "--detach"]).expect(0);
    let listed = stage.machine.run(&["batch", "--json"]).expect(0).json();
    let id = listed["batches"][0]["batch_id"].as_str().unwrap().to_owned();
    let report = stage.machine.run(&["batch", "--report", &id, "--json"]).expect(0).json();
    let poor = report["rows"][1]["run_id"].as_str().unwrap();
    stage.machine.run(&["budget", "set", "run", poor, "0.01"]).expect(0);
    let made =
        stage.machine.run(&["batch", "--resume", &id, "--yes", "--json", "--quiet"]).expect(4);
    let rows = made.json();
    let status: Vec<_> =
        rows["rows"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(status, ["done", "stopped", "done"]);
    assert_eq!(rows["rows"][1]["stopped_by"], "budget");
    stage.machine.run(&["budget", "set", "run", poor, &high.to_string()]).expect(0);
    stage.machine.run(&["batch", "--resume", &id, "--yes"]).expect(0);
    stage.assert_bought_once(6);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn previews_of_a_batch_need_no_key() {
    let machine = TestEnvironment::new();
    let file = machine
        .write("briefs.csv", "brief,preview,duration,scenes\nbread,yes,2,1\nshoes,yes,2,1\n");
    let made =
        machine.run(&["batch", file.to_str().unwrap(), "--json", "--quiet"]).expect(0).json();
    assert!(made["rows"].as_array().unwrap().iter().all(|row| row["status"] == "done"), "{made}");
}

/// Another host: its own home and data, the same services and database.
fn host(stage: &Stage, url: &str) -> (TestEnvironment, Running) {
    let machine = TestEnvironment::in_world(&stage.world).with_database(url);
    let worker = machine.spawn(&["work", "--jobs", "2"]);
    (machine, worker)
}

/// The runs that a process drives.
async fn driven_by(connection: &mut PgConnection, process: u32) -> Vec<uuid::Uuid> {
    sqlx::query_scalar("SELECT id FROM runs WHERE owner LIKE '%/' || $1 || '/%'")
        .bind(process.to_string())
        .fetch_all(connection)
        .await
        .unwrap()
}

/// Kills a worker at an instant when it is not just sending: what becomes of a send that is cut off only its
/// provider may know, which is the kill harness's business.
async fn kill_between_sends(worker: Running, connection: &mut PgConnection) {
    let sending = "SELECT count(*) FROM operations
                   WHERE state = 'submitting' AND kind IN ('image', 'clip') AND owner LIKE '%/' || $1 || '/%'";
    loop {
        worker.signal("STOP");
        let process = worker.id().to_string();
        let sending: i64 =
            sqlx::query_scalar(sending).bind(process).fetch_one(&mut *connection).await.unwrap();
        if sending == 0 {
            break;
        }
        worker.signal("CONT");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.kill();
}

#[tokio::test]
async fn of_three_workers_one_dies_and_one_sleeps_and_every_film_is_made_once() {
    let Some(database) = TestDatabase::native().await else { return };
    if !has_ffmpeg() {
        return;
    }
    let stage = Stage::on(8.0, database);
    let url = stage.database.url().unwrap();
    let file = stage.machine.write("briefs.csv", briefs(8));
    stage.machine.run(&["batch", file.to_str().unwrap(), "--yes", "--detach"]).expect(0);
    let mut connection = PgConnection::connect(&url).await.unwrap();

    let (_one, dies) = host(&stage, &url);
    let (_two, sleeps) = host(&stage, &url);
    let (_three, lives) = host(&stage, &url);
    wait_until("clips are ordered", PATIENCE, || stage.world.fal().orders().len() >= 2);
    let sleeping = loop {
        let driven = driven_by(&mut connection, sleeps.id()).await;
        if !driven.is_empty() {
            break driven;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    sleeps.signal("STOP");
    kill_between_sends(dies, &mut connection).await;
    // Past the lease of the sleeper: others have taken its films over.
    let mut left = sleeping;
    let began = std::time::Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody took over {left:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let still = driven_by(&mut connection, sleeps.id()).await;
        left.retain(|run| still.contains(run));
    }
    sleeps.signal("CONT");
    let open = "SELECT count(*) FROM runs WHERE queued_at IS NOT NULL";
    loop {
        assert!(began.elapsed() < PATIENCE * 2, "the films are not made");
        let waiting: i64 = sqlx::query_scalar(open).fetch_one(&mut connection).await.unwrap();
        if waiting == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for worker in [sleeps, lives] {
        worker.signal("TERM");
        worker.wait(PATIENCE * 4).expect(0);
    }
    let states: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT state, stop_message FROM runs")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert!(states.iter().all(|(state, _)| state == "done"), "{states:?}");
    stage.assert_bought_once(16);
    // Each film lies there once.
    assert_eq!(stage.machine.files("mp4").len(), 8);
    let unknown: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM operations WHERE kind IN ('image', 'clip') AND state = 'unknown'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(unknown, 0);
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_worker_that_drains_leaves_its_films_to_the_next() {
    let Some(database) = TestDatabase::native().await else { return };
    if !has_ffmpeg() {
        return;
    }
    let stage = Stage::on(10.0, database);
    let file = stage.machine.write("briefs.csv", briefs(2));
    stage.machine.run(&["batch", file.to_str().unwrap(), "--yes", "--detach"]).expect(0);
    let first = stage.machine.spawn(&["work", "--drain", "1s"]);
    wait_until("pictures are ordered", PATIENCE, || !stage.world.kie().orders().is_empty());
    first.signal("TERM");
    first.wait(PATIENCE).expect(0);
    let other =
        TestEnvironment::in_world(&stage.world).with_database(&stage.database.url().unwrap());
    other.run(&["work", "--until-empty"]).expect(0);
    stage.assert_bought_once(4);
    stage.assert_books_match_bill().await;
}
