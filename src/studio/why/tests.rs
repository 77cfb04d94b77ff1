use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::json;

use super::*;

fn time() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn run(state: &str, stopped: Option<(&str, &str)>) -> Run {
    Run {
        id: "019aab12-3456-7890-abcd-ef0123456789".parse().unwrap(),
        project_id: "019aab12-3456-7890-abcd-ef01aabbccdd".parse().unwrap(),
        user_id: "ada".to_owned(),
        kind: "film".to_owned(),
        state: state.to_owned(),
        options: json!({}),
        quote_high_usd: None,
        plan_usd: None,
        accepted_usd: None,
        video_path: None,
        video_seconds: None,
        stopped_by: stopped.map(|(word, _)| word.to_owned()),
        stop_message: stopped.map(|(_, message)| message.to_owned()),
        owner: None,
        owner_until: None,
        queued_at: None,
        batch_id: None,
        created_at: time(),
        updated_at: time(),
    }
}

fn line(kind: &str, shot: i32, state: &str, failure: impl Into<Option<Value>>) -> Line {
    let (provider, model) = match kind {
        "language" => ("anthropic", "claude-sonnet-5-5"),
        "image" => ("kie", "midjourney-7-fast"),
        _ => ("fal", "kling-2.6-pro"),
    };
    let price = Usd::new(if kind == "clip" { dec!(0.35) } else { dec!(0.04) });
    let settled = matches!(state, "kept" | "failed_charged").then_some(price);
    Line {
        operation_id: OperationId::new(),
        charge_id: None,
        user_id: "ada".to_owned(),
        project_id: None,
        project: None,
        run_id: None,
        shot: Some(shot).filter(|shot| *shot > 0),
        kind: kind.to_owned(),
        component: if kind == "language" { "writer" } else { kind }.to_owned(),
        provider: provider.to_owned(),
        model: model.to_owned(),
        endpoint: String::new(),
        operation_state: state.to_owned(),
        charge_state: match state {
            "unknown" => Some("unknown".to_owned()),
            _ => settled.map(|_| "settled".to_owned()),
        },
        quantity: Value::Null,
        failure: failure.into(),
        price_id: String::new(),
        rates: None,
        price_source: None,
        uncached_input_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        cache_read_tokens: 0,
        output_tokens: 0,
        embedding_tokens: 0,
        images: 0,
        video_seconds: 0,
        estimated_usd: price,
        reserved_usd: price,
        settled_usd: settled,
        billed_usd: None,
        billed_units: None,
        billed_at: None,
        bill_note: None,
        reuse_saved_usd: Usd::new(Decimal::ZERO),
        wasted: false,
        request_id: None,
        sent_at: None,
        created_at: jiff_sqlx::ToSqlx::to_sqlx(time()),
    }
}

fn failed(provider: &str, class: &str, money: &str, status: u16, message: &str) -> Value {
    json!({"provider": provider, "class": class, "money": money, "status": status, "code": null,
        "message": message, "request_id": "r1", "retry_after": null})
}

fn diagnosed(run: &Run, lines: &[Line], stop: Option<&str>, liveness: Liveness) -> Diagnosis {
    let keys_elsewhere = &[(Provider::Kie, "change KIE_API_KEY in the environment".to_owned())];
    diagnose(&Facts { run, lines, last_stop_reason: stop, liveness, now: time(), keys_elsewhere })
}

fn dead(run: &Run, lines: &[Line]) -> Diagnosis {
    diagnosed(run, lines, None, Liveness::Dead)
}

#[test]
fn what_went_well_says_so() {
    let moderated = failed("kie", "policy", "not_charged", 400, "flagged");
    let lines = [
        line("image", 1, "failed_not_charged", moderated),
        line("image", 1, "kept", None),
        line("clip", 1, "kept", None),
    ];
    let found = dead(&run("done", None), &lines);
    assert_eq!((found.status, found.summary.as_str()), ("done", "It went well."));
    assert_eq!((found.failures.len(), found.overcome, found.next.len()), (0, 1, 0));
    assert_eq!(found.kept_usd, Usd::new(dec!(0.39)));
}

#[test]
fn who_drives_a_run_is_said() {
    let driven = Run { owner: Some("machine/4711/x".to_owned()), ..run("shooting", None) };
    let found = diagnosed(&driven, &[], None, Liveness::Alive);
    assert_eq!(found.status, "running");
    assert!(found.summary.contains("Process 4711 on this machine"), "{}", found.summary);
    let found = dead(&driven, &[line("clip", 2, "submitting", None)]);
    assert_eq!((found.status, found.trouble), ("stopped", Some(Trouble::Network)));
    assert!(found.failures[0].money.starts_with("unknown, up to $0.35"));
    assert_eq!(found.next[0], "aida recover 23456789");
}

#[test]
fn aidas_own_stops_have_their_commands() {
    for (word, message, trouble, first) in [
        (
            "budget",
            "capped; raise it with: aida budget set day USD",
            Trouble::Money,
            "aida budget set day USD",
        ),
        (
            "budget",
            "capped; raise it with: aida budget set run x USD",
            Trouble::Money,
            "aida resume 23456789 --budget USD",
        ),
        ("needs_yes", "images need a yes", Trouble::Money, "aida resume 23456789 --yes"),
        ("unpriced", "no price", Trouble::Input, "aida prices"),
        ("interrupted", "stopped", Trouble::Local, "aida resume 23456789"),
        ("unknown_money", "nobody knows", Trouble::Network, "aida recover 23456789"),
        ("database", "it is away", Trouble::Local, "aida health"),
        ("local", "no ffmpeg", Trouble::Local, "aida health"),
        ("memory", "unreadable", Trouble::Local, "aida resume 23456789"),
        ("team", "too many turns", Trouble::Capacity, "aida create-video BRIEF"),
        ("download", "not fetched", Trouble::Network, "aida resume 23456789"),
        ("bad_result", "half a file", Trouble::Capacity, "aida resume 23456789"),
        ("too_slow", "45 minutes", Trouble::Capacity, "aida resume 23456789"),
        ("taken_over", "elsewhere", Trouble::Local, "aida resume 23456789"),
        ("damaged", "no brief", Trouble::Fault, "aida why 23456789 --json"),
    ] {
        let found = dead(&run("shooting", Some((word, message))), &[]);
        assert_eq!((found.trouble, found.next[0].as_str()), (Some(trouble), first), "{word}");
        assert!(found.summary.contains(message.split(RAISE).next().unwrap()), "{}", found.summary);
    }
}

#[test]
fn a_refusal_and_a_cut_off_answer_are_told_apart() {
    let team = run("writing", Some(("team", "the writer refused the brief")));
    let found = diagnosed(&team, &[], Some("refusal"), Liveness::Dead);
    assert_eq!(found.trouble, Some(Trouble::Policy));
    let found = diagnosed(&team, &[], Some("max_tokens"), Liveness::Dead);
    assert_eq!(found.trouble, Some(Trouble::Input));
}

#[test]
fn the_missing_shots_of_a_film_are_explained_one_by_one() {
    let lines = [
        line("image", 1, "kept", None),
        line("clip", 1, "failed_charged", failed("fal", "generation", "charged", 422, "no media")),
        line(
            "image",
            2,
            "failed_not_charged",
            failed("kie", "policy", "not_charged", 400, "flagged"),
        ),
    ];
    let found = dead(&run("partial", None), &lines);
    assert_eq!(found.failures.len(), 2);
    let of = |stage: &str| found.failures.iter().find(|failure| failure.stage == stage).unwrap();
    assert_eq!(of("clip of shot 1").money, "charged $0.35");
    assert_eq!(of("keyframe of shot 2").trouble, Trouble::Policy);
    assert_eq!(of("keyframe of shot 2").words, "flagged");
    assert_eq!(
        found.next,
        ["aida retake aabbccdd --shot 1", "aida resume 23456789 --image-model nano-banana-2"]
    );
}

#[test]
fn a_providers_failure_is_the_runs() {
    for (provider, class, status, trouble, first) in [
        ("anthropic", "credentials", 401, Trouble::Credentials, "aida config init"),
        ("anthropic", "unavailable", 529, Trouble::Capacity, "aida resume 23456789"),
        ("anthropic", "funds", 402, Trouble::Money, "aida resume 23456789"),
    ] {
        let lines = [line(
            "language",
            0,
            "failed_not_charged",
            failed(provider, class, "not_charged", status, "no"),
        )];
        let found = dead(&run("writing", Some(("provider", "anthropic: no"))), &lines);
        assert_eq!((found.trouble, found.next[0].as_str()), (Some(trouble), first), "{status}");
        assert_eq!(found.stage, "writing (the writer)");
    }
}

#[test]
fn only_what_went_well_later_was_made_good() {
    let busy = || failed("kie", "unavailable", "not_charged", 500, "busy");
    let lines = [
        line("image", 1, "failed_not_charged", busy()),
        line("image", 2, "failed_not_charged", busy()),
        line("image", 1, "kept", None),
        line("image", 2, "failed_not_charged", busy()),
        line("image", 3, "failed_not_charged", busy()),
        line("image", 3, "planned", None),
    ];
    let found = dead(&run("shooting", Some(("provider", "kie: busy"))), &lines);
    assert_eq!((found.failures.len(), found.overcome, found.earlier), (1, 1, 2));
}

#[test]
fn a_wrong_key_is_changed_where_it_stands() {
    let refused = failed("kie", "credentials", "not_charged", 401, "no");
    let lines = [line("image", 1, "failed_not_charged", refused)];
    let found = dead(&run("shooting", Some(("provider", "kie: no"))), &lines);
    assert_eq!(found.next[0], "change KIE_API_KEY in the environment");
    assert_eq!(found.next[1], "aida health");
}

#[test]
fn what_a_decision_left_out_is_no_obstacle() {
    let decided = json!({"provider": "openai", "class": "network", "message": "cut off", "money": "charged",
        "decision": "ada says that it was charged"});
    let found = dead(
        &run("shooting", Some(("provider", "x"))),
        &[line("clip", 1, "failed_charged", decided)],
    );
    assert!(found.failures[0].means.ends_with("ada says that it was charged"), "{found:?}");
}
