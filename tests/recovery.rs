//! Second thoughts and unknown money: the real binary settles what was cut off, takes shots again,
//! and keeps to its budgets.

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
use rust_decimal_macros::dec;
use serde_json::Value;

use stage::Stage;
use support::{Fault, Service};

const FILM: [&str; 7] =
    ["create-video", "food video", "--yes", "--duration", "15", "--scenes", "3"];
const SHOTS: usize = 3;

/// The operations that `aida recover` looks at.
fn findings(stage: &Stage, arguments: &[&str], code: i32) -> Vec<Value> {
    let words: Vec<_> = ["recover", "--json"].iter().chain(arguments).copied().collect();
    let report = stage.machine.run(&words).expect(code).json();
    report["operations"].as_array().unwrap().clone()
}

/// The end of an id.
fn short(id: &Value) -> String {
    let digits = id.as_str().unwrap().replace('-', "");
    digits[digits.len() - 8..].to_owned()
}

/// A film whose second picture was cut off in this way; answers the operation that is unknown.
async fn cut_off(fault: Fault) -> Option<(Stage, String)> {
    let stage = Stage::build().await?;
    stage.world.faults().on(Service::Kie, "mj/generate").nth(2).meets(fault);
    let film = stage.machine.run(&FILM).expect(7);
    assert!(film.stderr.contains("aida recover"), "{}", film.stderr);
    let found = findings(&stage, &[], 7);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["outcome"], "unknown");
    let operation = short(&found[0]["operation_id"]);
    let shown = stage.machine.run(&["recover"]).expect(7);
    assert!(
        shown.stderr.contains(&format!("aida recover {operation} --not-charged")),
        "{}",
        shown.stderr
    );
    Some((stage, operation))
}

#[tokio::test]
async fn what_the_user_says_was_not_bought_is_bought_then() {
    let Some((stage, operation)) = cut_off(Fault::Refuse).await else { return };
    let found = findings(&stage, &[&operation, "--not-charged"], 0);
    assert_eq!(found[0]["outcome"], "not_charged");
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3]);
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_job_that_the_user_names_is_used_and_not_bought_again() {
    let Some((stage, operation)) = cut_off(Fault::LoseReply).await else { return };
    // The one task that no operation knows, as the provider's own page shows it.
    let (report, orders) =
        (stage.machine.run(&["resume", "--json"]).expect(0).json(), stage.world.kie().orders());
    assert_eq!(report["runs"][0]["stopped_by"], "unknown_money");
    let asked: Vec<_> = stage
        .world
        .requests(Service::Kie, "record-info")
        .into_iter()
        .filter_map(|request| request.query.into_iter().find(|(name, _)| name == "taskId"))
        .map(|(_, id)| id)
        .collect();
    let orphan = orders.iter().find(|order| !asked.contains(&order.task_id)).unwrap();
    // One purchase is not used as two.
    let another = orders.iter().find(|order| asked.contains(&order.task_id)).unwrap();
    let refused = stage.machine.run(&["recover", &operation, "--job", &another.task_id]).expect(2);
    assert!(refused.stderr.contains("accounted for"), "{}", refused.stderr);
    // Nor is one adopted that the provider does not know.
    let refused = stage.machine.run(&["recover", &operation, "--job", "task_of_nobody"]).expect(2);
    assert!(refused.stderr.contains("does not confirm"), "{}", refused.stderr);
    let found = findings(&stage, &[&operation, "--job", &orphan.task_id], 0);
    assert_eq!(found[0]["outcome"], "found");
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3]);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn what_was_bought_and_lost_is_left_out_until_it_is_retaken() {
    let Some((stage, operation)) = cut_off(Fault::LoseReply).await else { return };
    let found = findings(&stage, &[&operation, "--charged"], 0);
    assert_eq!(found[0]["outcome"], "charged");
    stage.assert_books_match_bill().await;
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(6);
    assert_eq!(stage.world.kie().orders().len(), SHOTS, "nothing is bought again by itself");
    assert!(film.stderr.contains("aida retake"), "{}", film.stderr);
    let project = short(
        &stage.machine.run(&["show", "--json"]).expect(0).json()["projects"][0]["project_id"],
    );
    let named = film.stderr.lines().find(|line| line.contains("it was charged")).unwrap();
    let missing: String =
        named.split("shot ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let retaken = stage.machine.run(&["retake", &project, "--shot", &missing, "--yes"]).expect(0);
    assert_eq!(stage.world.kie().orders().len(), SHOTS + 1);
    stage.assert_shows(&retaken, &[1, 2, 3]);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn the_balance_decides_where_nothing_else_changed_it() {
    let Some(stage) = Stage::build().await else { return };
    stage.world.faults().on(Service::Kie, "mj/generate").meets(Fault::LoseReply);
    let film = ["create-video", "food video", "--yes", "--duration", "5", "--scenes", "1"];
    let stopped = stage.machine.run(&film).expect(5);
    assert!(stopped.stderr.contains("charged"), "{}", stopped.stderr);
    // It is paid for and gone: booked, and not bought again.
    stage.assert_books_match_bill().await;
    stage.machine.run(&["resume", "--last", "--yes"]).expect(5);
    assert_eq!(stage.world.kie().orders().len(), 1);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn a_shot_is_retaken_for_its_own_price_and_a_kept_take_for_nothing() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.run(&FILM).expect(0);
    let listed = stage.machine.run(&["show", "--json"]).expect(0).json();
    let project = short(&listed["projects"][0]["project_id"]);
    let spent = async || stage.books().await.map_or(Decimal::ZERO, |(settled, _)| settled);
    let before = spent().await;

    for words in
        [["--clip", "--image-model", "nano-banana-2"], ["--image", "--video-model", "kling-3-pro"]]
    {
        let words = [&["retake", &project, "--shot", "2"][..], &words].concat();
        let unheard = stage.machine.run(&words).expect(2);
        assert!(unheard.stderr.contains("does nothing here"), "{}", unheard.stderr);
    }
    let refused = stage.machine.run(&["retake", &project, "--shot", "2"]).expect(3);
    assert!(refused.stderr.contains("$0.35"), "the price is shown before: {}", refused.stderr);
    let film = stage.machine.run(&["retake", &project, "--shot", "2", "--yes"]).expect(0);
    stage.assert_shows(&film, &[1, 2, 3]);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
    if stage.database.url().is_some() {
        // The new clip is made findable, which costs less than a thousandth of a cent.
        assert_eq!((spent().await - before).round_dp(5), dec!(0.35));
    }
    // A picture costs less than what is asked about.
    stage.machine.run(&["retake", &project, "--shot", "3", "--image"]).expect(0);
    assert_eq!(stage.world.kie().orders().len(), SHOTS + 1);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);

    let sheet = stage.machine.run(&["show", &project, "--json"]).expect(0).json();
    let takes = |shot: usize, kind: &str| -> Vec<(String, bool)> {
        let all = sheet["shots"][shot - 1]["takes"].as_array().unwrap();
        all.iter()
            .filter(|take| take["kind"] == kind)
            .map(|take| (short(&take["take_id"]), take["chosen"].as_bool().unwrap()))
            .collect()
    };
    let clips = takes(2, "clip");
    assert_eq!(clips.iter().map(|(_, chosen)| *chosen).collect::<Vec<_>>(), [false, true]);
    assert_eq!(takes(3, "image").iter().filter(|(_, chosen)| *chosen).count(), 1);
    let before = spent().await;
    stage.machine.run(&["retake", &project, "--shot", "2", "--use", &clips[0].0]).expect(0);
    assert_eq!(spent().await, before);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
    assert_eq!(stage.machine.files("mp4").len(), 4, "every film lies beside the others");
}

#[tokio::test]
async fn a_cap_of_the_day_stops_cleanly_and_the_run_goes_on_when_it_is_raised() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.run(&["budget", "set", "day", "0.60"]).expect(0);
    let stopped = stage.machine.run(&FILM).expect(4);
    assert!(stopped.stderr.contains("aida budget set day USD"), "{}", stopped.stderr);
    if let Some((settled, unknown)) = stage.books().await {
        assert!(settled + unknown <= dec!(0.60), "{settled} + {unknown}");
    }
    stage.machine.run(&["resume", "--last", "--yes"]).expect(4);
    stage.machine.run(&["budget", "set", "day", "5"]).expect(0);
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3]);
    stage.assert_books_match_bill().await;
    let listed = stage.machine.run(&["budget", "--json"]).expect(0).json();
    let day = &listed["budgets"][0];
    assert_eq!((day["scope"].as_str(), day["period"].as_str()), (Some("everything"), Some("day")));
    let number = |name: &str| day[name].as_str().unwrap().parse::<Decimal>().unwrap();
    assert_eq!(number("settled_usd") + number("left_usd"), dec!(5));
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn what_fal_does_not_list_yet_is_looked_for_again() {
    let Some(mut stage) = Stage::build().await else { return };
    // One job at a time: the others wait in the queue, where nobody lists them.
    stage.world.fal().set_concurrency(1);
    stage.machine.set("AIDA_RECOVER_SECONDS", "20");
    stage.world.faults().on(Service::Fal, "POST /queue/").nth(3).meets(Fault::LoseReply);
    let film = stage.machine.run(&FILM).expect(0);
    stage.assert_bought_once(SHOTS);
    stage.assert_shows(&film, &[1, 2, 3]);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn a_result_that_stays_damaged_is_given_up_for_a_new_take_only_on_order() {
    let Some(stage) = Stage::build().await else { return };
    stage.world.faults().on(Service::Fal, "POST /queue/").nth(1).meets(Fault::DamageResult);
    let film = stage.machine.run(&FILM).expect(5);
    assert!(film.stderr.contains("aida retake"), "{}", film.stderr);
    // However often it is fetched: it is not bought again by itself.
    stage.machine.run(&["resume", "--last", "--yes"]).expect(5);
    assert_eq!(stage.world.fal().orders().len(), SHOTS);
    let named = film.stderr.lines().find(|line| line.contains("cannot be used")).unwrap();
    let damaged: String =
        named.split("shot ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let listed = stage.machine.run(&["show", "--json"]).expect(0).json();
    let project = short(&listed["projects"][0]["project_id"]);
    let film = stage.machine.run(&["retake", &project, "--shot", &damaged, "--yes"]).expect(0);
    stage.assert_shows(&film, &[1, 2, 3]);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn a_killed_retake_goes_on_and_buys_once() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.run(&FILM).expect(0);
    let listed = stage.machine.run(&["show", "--json"]).expect(0).json();
    let project = short(&listed["projects"][0]["project_id"]);
    let retake = stage.machine.spawn(&["retake", &project, "--shot", "2", "--yes"]);
    support::wait_until("the clip to be ordered", Duration::from_mins(1), || {
        let sent = stage.world.requests(Service::Fal, "POST /queue/");
        sent.iter().filter(|request| request.status.is_some()).count() > SHOTS
    });
    retake.kill();
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_shows(&film, &[1, 2, 3]);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
    stage.assert_books_match_bill().await;
    // It is finished: there is nothing to go on with, and nothing more is bought.
    stage.machine.run(&["resume", "--last", "--yes"]).expect(2);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
}

#[tokio::test]
async fn a_retake_that_has_become_dearer_needs_another_yes() {
    let Some(mut stage) = Stage::build().await else { return };
    stage.machine.run(&FILM).expect(0);
    let listed = stage.machine.run(&["show", "--json"]).expect(0).json();
    let project = short(&listed["projects"][0]["project_id"]);
    stage.machine.run(&["budget", "set", "day", "0.50"]).expect(0);
    stage.machine.run(&["retake", &project, "--shot", "2", "--yes"]).expect(4);
    stage.machine.run(&["budget", "remove", "day"]).expect(0);
    let dearer = "[[price]]\nprovider = \"fal\"\nmodel = \"kling-2.6-pro\"\nfrom = \"2026-11-01\"\n\
                  video = { silent = \"0.08\", audio = \"0.16\" }\n";
    let config = stage.machine.write("config.toml", dearer);
    stage.machine.set("AIDA_CONFIG", &config.display().to_string());
    let refused = stage.machine.run(&["resume", "--last"]).expect(3);
    assert!(refused.stderr.contains("$0.40"), "{}", refused.stderr);
    assert_eq!(stage.world.fal().orders().len(), SHOTS);
    stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    assert_eq!(stage.world.fal().orders().len(), SHOTS + 1);
}
