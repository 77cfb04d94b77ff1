//! `aida prices`: the book as it is read, and entries of one's own.

use crate::sandbox::Sandbox;

const OWN: &str = "[[price]]\nprovider = \"kie\"\nmodel = \"nano-banana-2\"\nfrom = \"2026-09-01\"\nimage = 0.0350\n\
                   [[price]]\nprovider = \"fal\"\nmodel = \"kling-2.6-pro\"\nfrom = \"2999-01-01\"\n\
                   video = { silent = \"0.09\" }\n";

#[test]
fn the_book() {
    let sandbox = Sandbox::new();
    for (name, words) in [
        ("today", "prices"),
        ("of_one", "prices --provider kie"),
        ("csv", "prices --provider fal --csv"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let shown = sandbox.aida(&words);
        for line in shown.stdout.lines().filter(|_| !words.contains(&"--csv")) {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn every_provider_of_the_book_can_be_named() {
    let shown = Sandbox::new().aida(&["prices", "--provider", "voyage"]);
    assert_eq!(shown.code, 0, "{shown}");
    assert!(shown.stdout.starts_with("voyage, USD per million tokens"), "{shown}");
}

#[test]
fn entries_of_ones_own_lie_over_the_shipped_ones() {
    let sandbox = Sandbox::new();
    sandbox.config(OWN);
    let shown = sandbox.aida(&["prices", "--all", "--json"]);
    assert_eq!(shown.code, 0, "{shown}");
    let report: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let of = |model: &str| -> Vec<serde_json::Value> {
        let all = report["prices"].as_array().unwrap().iter();
        all.filter(|price| price["model"] == model).cloned().collect()
    };
    let banana = of("nano-banana-2");
    assert_eq!(banana.len(), 1);
    assert_eq!((&banana[0]["each"], &banana[0]["origin"]), (&"0.0350".into(), &"config".into()));
    assert!(banana[0]["id"].as_str().unwrap().starts_with("kie/nano-banana-2/2026-09-01+"));
    let kling = of("kling-2.6-pro");
    assert_eq!(kling.len(), 2);
    assert_eq!((&kling[0]["in_force"], &kling[1]["in_force"]), (&false.into(), &true.into()));
}

#[test]
fn a_wrong_entry() {
    let sandbox = Sandbox::new();
    sandbox.config(&OWN.replace("image =", "imagee ="));
    let shown = sandbox.aida(&["prices"]);
    assert_eq!(shown.code, 8, "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn refreshing_needs_a_key() {
    let shown = Sandbox::new().aida(&["prices", "refresh"]);
    assert_eq!(shown.code, 8, "{shown}");
    assert!(shown.stderr.contains("FAL_KEY"), "{shown}");
}
