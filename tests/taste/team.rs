//! The real binary against Claude's stand-in, which writes its storyboards from what the
//! assignment says.

use serde_json::Value;

use crate::stage::Stage;
use crate::support::Service;

fn shots(stage: &Stage) -> Vec<Value> {
    let listed: Value =
        serde_json::from_str(&stage.machine.run(&["show", "--json"]).expect(0).stdout).unwrap();
    let project = listed["projects"][0]["project_id"].as_str().unwrap().to_owned();
    let shown = stage.machine.run(&["show", &project, "--json"]).expect(0);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    shown["shots"].as_array().unwrap().clone()
}

/// The assignments that Claude was given, without what follows the user's taste.
fn tastes(stage: &Stage) -> Vec<String> {
    let asked = stage.world.requests(Service::Anthropic, "/v1/messages");
    asked
        .iter()
        .filter_map(|request| {
            let body = request.body.to_string();
            let (_, rest) = body.split_once("<preferences>\\n")?;
            Some(rest.split_once("\\n</preferences>")?.0.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn claude_is_told_the_taste_and_its_storyboards_follow_it() {
    let Some(stage) = Stage::build().await else { return };
    let plan =
        ["create-video", "food video", "--plan", "--yes", "--scenes", "2", "--duration", "10"];
    stage.machine.run(&plan).expect(0);
    assert!(tastes(&stage).iter().all(|told| told.starts_with("Nothing is known yet")));
    let before = tastes(&stage).len();
    let note = "I love warm light, hate close-ups and no text on screen please";
    stage.machine.run(&["feedback", "--last", "--rating", "2", "--note", note]).expect(0);
    stage.machine.run(&["preferences", "set", "Prefers teal umbrellas"]).expect(0);
    stage.machine.run(&plan).expect(0);
    let told = tastes(&stage).split_off(before);
    assert!(told.len() >= 4, "{told:?}");
    assert!(told.iter().all(|other| *other == told[0]), "the same for all roles: {told:?}");
    let expected = "- Prefers teal umbrellas. (the user's own words)\\n\
                    - Prefers warm light to cold light.\\n- Prefers wide shots to close-ups.\\n\
                    - Dislikes words on the screen: as little on-screen text as possible.";
    assert_eq!(told[0], expected);
    for shot in shots(&stage) {
        let prompt = shot["image_prompt"].as_str().unwrap();
        assert!(prompt.contains("teal umbrellas, warm light, wide shots"), "{prompt}");
        assert_eq!(shot["on_screen_text"], "");
    }
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn a_campaign_gives_its_videos_colours_words_aspect_and_budget() {
    let Some(stage) = Stage::build().await else { return };
    let machine = &stage.machine;
    machine
        .run(&[
            "campaigns",
            "create",
            "Spring",
            "--palette",
            "coral, #F5E9DC",
            "--use",
            "fresh",
            "--avoid",
            "cheap",
            "--aspect",
            "1:1",
            "--budget",
            "0.01",
        ])
        .expect(0);
    let video =
        ["create-video", "food video", "--campaign", "Spring", "--scenes", "2", "--duration", "10"];
    let with = |more: &[&'static str]| video.iter().chain(more).copied().collect::<Vec<_>>();
    let refused = machine.run(&with(&["--yes"])).expect(4);
    assert!(refused.stderr.contains("the campaign's budget of $0.01"), "{}", refused.stderr);
    let quoted = machine.run(&with(&["--dry-run", "--json", "--budget", "9"])).expect(0);
    let quoted: Value = serde_json::from_str(&quoted.stdout).unwrap();
    assert_eq!((&quoted["aspect"], &quoted["aspect_from"]), (&"1:1".into(), &"campaign".into()));
    assert_eq!((&quoted["budget_usd"], &quoted["budget_from"]), (&"9".into(), &"flag".into()));
    machine.run(&with(&["--plan", "--yes", "--budget", "9"])).expect(0);
    let made = shots(&stage);
    assert!(
        made.iter().all(|shot| shot["image_prompt"].as_str().unwrap().contains("coral, cream"))
    );
    assert!(made.iter().any(|shot| shot["narration"].as_str().unwrap().contains("fresh")));

    // The stand-in's titles begin with "A film about": it cannot keep this word out.
    machine.run(&["campaigns", "style", "Spring", "--avoid", "films", "--clear", "use"]).expect(0);
    let failed = machine.run(&with(&["--plan", "--yes", "--budget", "9"]));
    assert_ne!(failed.code, Some(0));
    assert!(failed.stderr.contains("the campaign avoids \"films\""), "{}", failed.stderr);
    assert!(failed.stderr.contains("the title"), "{}", failed.stderr);
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn feedback_and_campaigns_are_shown() {
    let Some(stage) = Stage::build().await else { return };
    let machine = &stage.machine;
    machine.run(&["campaigns", "create", "Spring"]).expect(0);
    machine.run(&["budget", "set", "campaign", "Spring", "50"]).expect(0);
    machine
        .run(&[
            "create-video",
            "food video",
            "--yes",
            "--scenes",
            "2",
            "--duration",
            "10",
            "--campaign",
            "Spring",
        ])
        .expect(0);
    machine
        .run(&["feedback", "--last", "--rating", "4", "--shot", "2", "--note", "lovely steam"])
        .expect(0);
    machine.run(&["feedback", "--last", "--rating", "3"]).expect(0);
    machine.run(&["feedback", "--last", "--rating", "5"]).expect(0);
    machine.run(&["feedback", "--last", "--rating", "5", "--shot", "9"]).expect(2);
    machine.run(&["feedback", "--last", "--rating", "6"]).expect(2);
    let made = shots(&stage);
    assert_eq!((&made[1]["rating"], &made[1]["notes"][0]), (&4.into(), &"lovely steam".into()));

    let shown = machine.run(&["campaigns", "show", "Spring", "--json"]).expect(0);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["videos"][0]["rating"], 5);
    assert_eq!((&shown["takes_bought"], &shown["takes_kept"]), (&4.into(), &4.into()));
    assert_eq!((&shown["films_begun"], &shown["films_finished"]), (&1.into(), &1.into()));
    let settled: rust_decimal::Decimal = shown["settled_usd"].as_str().unwrap().parse().unwrap();
    assert_eq!(settled, stage.world.bill().total());
    assert_eq!(shown["settled_usd"], shown["kept_usd"]);
    assert!(shown["usd_per_second"].is_string(), "{shown}");
    assert_eq!(shown["budgets"][0]["name"], "Spring");

    let listed = machine.run(&["preferences", "--json"]).expect(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let id = listed["preferences"][0]["preference_id"].as_str().unwrap();
    let why = machine.run(&["preferences", "why", id]).expect(0);
    let why = why.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(why.contains("shot 2: rated 4: \"lovely steam\""), "{why}");
    let asked = machine.run(&["preferences", "forget", "--all"]).expect(3);
    assert!(asked.stderr.contains("nothing was forgotten"), "{}", asked.stderr);
    machine.run(&["preferences", "forget", id]).expect(0);
    let none = machine.run(&["preferences", "list"]).expect(0);
    assert_eq!(none.stdout, "");

    let said = machine.run(&["feedback", "--last", "--json"]).expect(0).json();
    let id = said["feedback"][0]["feedback_id"].as_str().unwrap();
    let removed = machine.run(&["feedback", "--last", "--remove", id]).expect(0);
    assert!(removed.stderr.contains("removed from '"), "{}", removed.stderr);
}
