use proptest::prelude::*;
use serde_json::{Value, json};

use super::phrases::{MARK, is_name_of_machines};
use super::*;

fn redaction(words: &str) -> Redaction {
    Redaction { words: words.to_owned(), instead: MARK.to_owned(), is_everywhere: true }
}

fn redactor(words: &[&str]) -> Redactor {
    let redactions: Vec<Redaction> = words.iter().map(|words| redaction(words)).collect();
    Redactor::new("ada", &redactions)
}

fn place_of(table: &str, column: &str) -> &'static Place {
    PLACES.iter().find(|place| (place.table, place.column) == (table, column)).unwrap()
}

fn without(words: &[&str], (table, column): (&str, &str), value: &Value) -> Value {
    let text = value.to_string();
    let new = redactor(words).value_without(place_of(table, column), &text).unwrap_or(text);
    serde_json::from_str(&new).unwrap()
}

#[test]
fn what_machines_go_by_stays_whatever_is_forgotten() {
    let words = ["charged", "text", "fal", "kling", "tool_use", "film", "shot", "warm"];
    let failure = json!({"provider": "fal", "class": "network", "money": "charged", "code": "warm",
                         "message": "Charged, and not warm.", "request_id": "warm"});
    let mut expected = failure.clone();
    expected["message"] = json!("…, and not ….");
    assert_eq!(without(&words, ("operations", "failure"), &failure), expected);

    let reply = json!({
        "content": [
            {"type": "text", "text": "warm light"},
            {"type": "thinking", "thinking": "She likes it warm", "signature": "warm"},
            {"type": "tool_use", "id": "warm", "name": "film", "input": {"name": "warm", "shot": {"id": "warm"}}},
        ],
        "stop": {"refusal": {"category": "warm", "explanation": "too warm"}},
        "tokens": {"warm": 7}, "model": "warm", "request_id": "warm"
    });
    let new = without(&words, ("operations", "result"), &reply);
    assert_eq!(
        new,
        json!({
            "content": [
                {"type": "text", "text": "… light"},
                {"type": "thinking", "thinking": "She likes it …", "signature": "warm"},
                {"type": "tool_use", "id": "warm", "name": "film", "input": {"name": "…", "shot": {"id": "…"}}},
            ],
            "stop": {"refusal": {"category": "warm", "explanation": "too …"}},
            "tokens": {"warm": 7}, "model": "warm", "request_id": "warm"
        })
    );

    let options = json!({"image_model": "warm", "folder": "/home/warm", "files": [["warm", "warm"]],
                         "recalled": {"work": "It was warm.", "preferences": "- Warm", "campaign": ""}});
    let new = without(&words, ("runs", "options"), &options);
    assert_eq!(new["recalled"], json!({"work": "It was ….", "preferences": "- …", "campaign": ""}));
    assert_eq!(
        (&new["image_model"], &new["folder"], &new["files"]),
        (&options["image_model"], &options["folder"], &options["files"])
    );
}

/// A line of the journal with one clip in it.
fn line(user: &str, state: &str) -> Value {
    json!({
        "v": 1,
        "project": {"id": "p", "user_id": user, "title": "Too dark", "brief": "too dark",
                    "script": {"title": "Too dark", "beats": [{"action": "It is too dark."}]}},
        "run": {"id": "r", "user_id": user, "options": {"recalled": {"work": "too dark"}, "folder": "too dark"}},
        "shots": [{"id": "s", "image_prompt": "Not too dark, please", "narration": "too darkly"}],
        "budgets": [{"subject": "too dark"}],
        "operation": {"id": "o", "user_id": user, "kind": "clip", "state": state, "request_sha256": "abc",
                      "request": {"prompt": "too dark a room", "image_url": "https://f.example/too dark.png"},
                      "result": null},
        "charge": {"bill_note": "too dark", "settled_usd": 1},
    })
}

#[test]
fn a_line_of_the_journal_loses_what_its_rows_lose() {
    let redactor = redactor(&["too dark"]);
    // Every digit of an amount stays, which a float would not keep.
    let amount = "0.350000000001000000000000";
    let text = line("ada", "kept")
        .to_string()
        .replace("\"settled_usd\":1", &format!("\"settled_usd\": {amount}"));
    let new = redactor.journal_line(&text).unwrap();
    assert!(new.contains(amount), "{new}");
    let new: Value = serde_json::from_str(&new).unwrap();
    assert_eq!(new["project"]["title"], "…");
    assert_eq!(new["project"]["script"]["beats"][0]["action"], "It is ….");
    assert_eq!(new["run"]["options"]["recalled"]["work"], "…");
    assert_eq!(new["shots"][0]["image_prompt"], "Not …, please");
    assert_eq!(new["operation"]["request"]["prompt"], "… a room");
    for (pointer, stays) in [
        ("/run/options/folder", "too dark"),
        ("/shots/0/narration", "too darkly"),
        ("/budgets/0/subject", "too dark"),
        ("/charge/bill_note", "too dark"),
        ("/operation/request_sha256", "abc"),
        ("/operation/request/image_url", "https://f.example/too dark.png"),
    ] {
        assert_eq!(new.pointer(pointer).unwrap(), stays, "{pointer}");
    }
    assert_eq!(
        redactor.journal_line(&line("bob", "kept").to_string()),
        None,
        "it is another user's"
    );
    assert_eq!(redactor.journal_line("{\"v\":1,\"too dark"), None);
}

#[test]
fn a_clip_that_is_looked_for_keeps_what_it_is_known_by() {
    let redactor = redactor(&["too dark"]);
    for (state, prompt) in [
        ("unknown", Value::Null),
        ("submitting", Value::Null),
        ("submitted", json!("… a room")),
        ("ready", json!("… a room")),
        ("failed_charged", json!("… a room")),
    ] {
        let new = redactor.journal_line(&line("ada", state).to_string()).unwrap();
        let new: Value = serde_json::from_str(&new).unwrap();
        assert_eq!(new["operation"]["request"]["prompt"], prompt, "{state}");
        assert_eq!(new["operation"]["request"]["image_url"], "https://f.example/too dark.png");
    }
}

#[test]
fn a_changed_reply_in_the_journal_loses_its_fingerprint() {
    let reply = json!({"content": [{"type": "text", "text": "It is too dark."}]}).to_string();
    let mut line = line("ada", "kept");
    line["operation"]["kind"] = json!("language");
    line["operation"]["result"] = json!(reply);
    let new = redactor(&["too dark"]).journal_line(&line.to_string()).unwrap();
    let new: Value = serde_json::from_str(&new).unwrap();
    assert_eq!(new["operation"]["request_sha256"], Value::Null);
    let result: Value = serde_json::from_str(new["operation"]["result"].as_str().unwrap()).unwrap();
    assert_eq!(result["content"][0], json!({"type": "text", "text": "It is …."}));
    let other = redactor(&["too bright"]).journal_line(&line.to_string());
    assert_eq!(other, None);
}

/// Words, as they stand in sentences and around them.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "dark",
            "Dark",
            "darker",
            "too",
            "a",
            "no",
            "ÜBER",
            "über",
            "é",
            "e\u{301}",
            "İ",
            "暗い",
            "มืด",
            "조명이",
            "it's",
            "\"",
            "\\",
            "\n",
            "…",
            "—",
            "🎬",
            "id",
            "null",
            "{}",
            "[dark]",
            "dark.",
            "(dark",
        ])
        .prop_map(str::to_owned),
        "[a-c]{1,2}",
        "\\PC{1,4}",
    ]
}

fn prose() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(word(), 0..7),
        prop::sample::select(vec![" ", "  ", "\n", "", "-", ", "]),
    )
        .prop_map(|(words, between)| words.join(between))
}

/// What machines go by.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        "https://[a-c]{1,3}\\.example/dark/[a-c]{1,2}",
        "/[a-c]{1,2}/dark/too\\.png",
        "[0-9]{2}[0-9a-f]{30}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prose().prop_map(Value::from),
        name().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(prose(), inner.clone(), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            // As a reply stands in a row, and a row in the journal.
            inner.prop_map(|inner| Value::from(inner.to_string())),
        ]
    })
}

/// Whether two documents differ in their prose alone. Prose must be without the phrases afterwards.
fn assert_alike(old: &Value, new: &Value, phrases: &Phrases) -> Result<(), TestCaseError> {
    match (old, new) {
        (Value::Array(old), Value::Array(new)) => {
            prop_assert_eq!(old.len(), new.len());
            for (old, new) in old.iter().zip(new) {
                assert_alike(old, new, phrases)?;
            }
        }
        (Value::Object(old), Value::Object(new)) => {
            prop_assert!(old.keys().eq(new.keys()), "{old:?} {new:?}");
            for (old, new) in old.values().zip(new.values()) {
                assert_alike(old, new, phrases)?;
            }
        }
        (Value::String(old), Value::String(new)) => {
            let inner = |text: &str| -> Option<Value> {
                serde_json::from_str(text).ok().filter(|value: &Value| !value.is_number())
            };
            match inner(old) {
                Some(inner_old @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
                    let inner_new = inner(new);
                    prop_assert!(inner_new.is_some(), "{old:?} became {new:?}");
                    assert_alike(&inner_old, &inner_new.unwrap_or_default(), phrases)?;
                }
                _ if is_name_of_machines(old) => prop_assert_eq!(old, new),
                _ => prop_assert!(!phrases.are_in(new), "{old:?} became {new:?}"),
            }
        }
        (old, new) => prop_assert_eq!(old, new),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_document_loses_the_sentence_and_nothing_else(document in document(), sentence in prose()) {
        let redactor = redactor(&[&sentence]);
        let place = Place { form: Form::Json(|_| true), ..place("any", "any", "") };
        let text = document.to_string();
        // Floats are not read as they were written.
        let document: Value = serde_json::from_str(&text).unwrap();
        let new = redactor.value_without(&place, &text);
        let new: Value = serde_json::from_str(new.as_deref().unwrap_or(&text)).unwrap();
        assert_alike(&document, &new, &redactor.everywhere)?;
        prop_assert_eq!(redactor.value_without(&place, &new.to_string()), None);
    }
}
