//! A whole conversation, the requests that must be refused, and the tool schemas.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::anthropic::{Role, brain};
use crate::support::schema;
use crate::support::{Fault, Service, World};

/// What is changed about a good request, in words and in deed.
type Change = (&'static str, fn(&mut Value));

/// The agreed tools, one schema in the style of each kind of client.
pub(crate) fn tools() -> Value {
    let tool = |name: &str, properties: Value| {
        let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
        json!({"name": name, "description": format!("{name} {}", "and when to use it. ".repeat(20)),
            "strict": true, "input_schema": {"type": "object", "properties": properties,
                "required": required, "additionalProperties": false}})
    };
    let text = json!({"type": "string"});
    let object = |properties: Value| {
        let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let beat = object(json!({"action": text, "narration": text, "on_screen_text": text}));
    let shot =
        object(json!({"number": {"type": "integer"}, "image_prompt": text, "motion_prompt": text,
        "duration_seconds": {"type": "number"}, "on_screen_text": text, "narration": text,
        "references": {"type": "array", "items": text}}));
    json!([
        tool("search_projects", json!({"query": text})),
        tool("search_files", json!({"query": text})),
        tool("read_campaign", json!({})),
        tool("read_preferences", json!({})),
        tool(
            "ask_writer",
            json!({"instructions": text, "tone": {"type": "string", "enum": ["warm", "cool"]}})
        ),
        tool("ask_director", json!({"instructions": text, "script": text})),
        tool(
            "submit_script",
            json!({"title": text, "logline": text, "beats": {"type": "array", "items": beat}})
        ),
        tool(
            "submit_storyboard",
            json!({"title": text, "shots": {"type": "array", "items": shot}})
        ),
    ])
}

/// A valid first request of a role.
pub(crate) fn opening(role: &str) -> Value {
    let system = "You are one of a team that makes short films. ".repeat(60);
    let words = format!(
        "Role: {role}\nBrief: food video\nShots: 7\nLength: 20 seconds\nAllowed clip lengths: 5, 10"
    );
    json!({"model": "claude-sonnet-5-5", "max_tokens": 8_000, "tools": tools(),
        "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": words}]}]})
}

pub(crate) async fn send(world: &World, body: &Value) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/messages", world.variable("ANTHROPIC_BASE_URL")))
        .header("x-api-key", world.variable("ANTHROPIC_API_KEY"))
        .header("anthropic-version", "2026-10-21")
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn calls(reply: &Value) -> Vec<&Value> {
    let content = reply["content"].as_array().unwrap();
    content.iter().filter(|block| block["type"] == "tool_use").collect()
}

/// Appends a reply and the results of its calls to a conversation.
fn answer(body: &mut Value, reply: &Value, mut result: impl FnMut(&Value) -> String) {
    let results: Vec<Value> = calls(reply)
        .into_iter()
        .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": result(call)}))
        .collect();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": reply["content"]}));
    messages.push(json!({"role": "user", "content": results}));
}

#[tokio::test]
async fn the_team_plays_its_parts() {
    let world = World::start(1_000.0);
    let mut body = opening("Orchestrator");
    let mut seen = Vec::new();
    let mut storyboard = Value::Null;
    let mut director = Value::Null;
    loop {
        let (status, reply) = send(&world, &body).await;
        assert_eq!(status, 200, "{reply}");
        if reply["stop_reason"] == "end_turn" {
            break;
        }
        assert_eq!(reply["content"][0]["type"], "thinking");
        seen.push(calls(&reply).iter().map(|call| call["name"].clone()).collect::<Vec<_>>());
        let mut made = Value::Null;
        if calls(&reply)[0]["name"] == "ask_director" {
            let (_, inner) = send(&world, &opening("Director")).await;
            made = calls(&inner)[0]["input"].clone();
            director = made.clone();
        }
        answer(&mut body, &reply, |call| match call["name"].as_str().unwrap() {
            "ask_director" => {
                format!("The Director's storyboard:\n{}", json!({"storyboard": made}))
            }
            "submit_storyboard" => {
                storyboard = call["input"].clone();
                "accepted".to_owned()
            }
            _ => "nothing found".to_owned(),
        });
    }
    assert_eq!(
        seen,
        vec![
            vec![
                json!("search_projects"),
                json!("search_files"),
                json!("read_campaign"),
                json!("read_preferences")
            ],
            vec![json!("ask_writer")],
            vec![json!("ask_director")],
            vec![json!("submit_storyboard")],
        ]
    );
    assert_eq!(storyboard, director, "the Orchestrator submits what the Director made");
    let shots = storyboard["shots"].as_array().unwrap();
    assert_eq!(shots.len(), 7);
    let length: Decimal = shots
        .iter()
        .map(|shot| shot["duration_seconds"].to_string().parse::<Decimal>().unwrap())
        .sum();
    assert_eq!(length, Decimal::from(20));
    world.assert_no_violations();
}

#[tokio::test]
async fn usage_is_disjoint_and_is_what_the_bill_says() {
    let world = World::start(1_000.0);
    let mut usages = Vec::new();
    for _ in 0..2 {
        let (_, reply) = send(&world, &opening("Writer")).await;
        usages.push(reply["usage"].clone());
    }
    assert_eq!(usages[0]["cache_read_input_tokens"], 0);
    assert_eq!(usages[1]["cache_read_input_tokens"], usages[0]["cache_creation_input_tokens"]);
    assert_eq!(usages[1]["cache_creation_input_tokens"], 0);
    let price = |usage: &Value| {
        let cost = |name: &str, millionths: &str| {
            Decimal::from(usage[name].as_u64().unwrap()) * millionths.parse::<Decimal>().unwrap()
        };
        (cost("input_tokens", "2")
            + cost("cache_creation_input_tokens", "2.5")
            + cost("cache_read_input_tokens", "0.1")
            + cost("output_tokens", "10"))
            / Decimal::from(1_000_000)
    };
    assert_eq!(world.bill().total(), usages.iter().map(price).sum::<Decimal>());
}

#[tokio::test]
async fn invalid_requests_are_refused_and_written_down() {
    let world = World::start(1_000.0);
    let changes: [Change; 14] = [
        ("temperature", |body| body["temperature"] = json!(1.0)),
        ("an unknown field", |body| body["seed"] = json!(1)),
        ("a forced tool", |body| body["tool_choice"] = json!({"type": "any"})),
        ("thinking enabled", |body| {
            body["thinking"] = json!({"type": "enabled", "budget_tokens": 2_000});
        }),
        ("thinking disabled", |body| body["thinking"] = json!({"type": "disabled"})),
        ("too long without a stream", |body| body["max_tokens"] = json!(32_000)),
        ("no length", |body| body["max_tokens"] = json!(0)),
        ("two users in a row", |body| {
            let first = body["messages"][0].clone();
            body["messages"].as_array_mut().unwrap().push(first);
        }),
        ("a prefill", |body| {
            body["messages"]
                .as_array_mut()
                .unwrap()
                .push(json!({"role": "assistant", "content": "{"}));
        }),
        ("an empty text", |body| body["messages"][0]["content"][0]["text"] = json!(" ")),
        ("an open object", |body| {
            body["tools"][0]["input_schema"]
                .as_object_mut()
                .unwrap()
                .shift_remove("additionalProperties");
        }),
        ("a bound", |body| {
            body["tools"][7]["input_schema"]["properties"]["shots"]["items"]["properties"]["number"]
                ["minimum"] = json!(1);
        }),
        ("the same tool twice", |body| body["tools"][1]["name"] = json!("search_projects")),
        ("an answer to nothing", |body| {
            body["messages"][0]["content"][0] =
                json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": ""});
        }),
    ];
    for (place, (what, change)) in changes.into_iter().enumerate() {
        let mut body = opening("Writer");
        change(&mut body);
        let (status, reply) = send(&world, &body).await;
        assert_eq!(
            (status, &reply["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{what}: {reply}"
        );
        assert_eq!(world.violations().len(), place + 1, "{what}");
    }
    assert_eq!(world.bill().total(), Decimal::ZERO);
}

#[tokio::test]
async fn thinking_must_come_back_untouched_and_every_call_be_answered() {
    let world = World::start(1_000.0);
    let first = opening("Orchestrator");
    let (_, reply) = send(&world, &first).await;
    let mut good = first.clone();
    answer(&mut good, &reply, |_| "nothing found".to_owned());
    let changes: [Change; 7] = [
        ("the signature is changed", |body| {
            body["messages"][1]["content"][0]["signature"] = json!("c2lnbmVk");
        }),
        ("the thinking is left out", |body| {
            body["messages"][1]["content"].as_array_mut().unwrap().remove(0);
        }),
        ("a call is left unanswered", |body| {
            body["messages"][2]["content"].as_array_mut().unwrap().pop();
        }),
        ("an id is wrong", |body| {
            body["messages"][2]["content"][0]["tool_use_id"] = json!("toolu_other");
        }),
        ("words come before the results", |body| {
            let results = body["messages"][2]["content"].as_array_mut().unwrap();
            results.insert(0, json!({"type": "text", "text": "Here:"}));
        }),
        ("the input of a call is changed", |body| {
            body["messages"][1]["content"][1]["input"]["query"] = json!("something else");
        }),
        ("the turn is put into another conversation", |body| {
            body["messages"][0]["content"][0]["text"] = json!("Role: Orchestrator\nBrief: cars");
        }),
    ];
    for (what, change) in changes {
        let mut body = good.clone();
        change(&mut body);
        assert_eq!(send(&world, &body).await.0, 400, "{what}");
    }
    let refused = world.violations().len();
    assert_eq!(send(&world, &good).await.0, 200, "the untouched conversation goes on");
    assert_eq!(world.violations().len(), refused);
}

#[tokio::test]
async fn every_scripted_misbehaviour_is_played_once() {
    let world = World::start(1_000.0);
    let good = send(&world, &opening("Writer")).await.1;
    assert_eq!(good["stop_reason"], "tool_use");
    for (fault, stop) in [
        (Fault::Refusal, "refusal"),
        (Fault::CutOff, "max_tokens"),
        (Fault::TextInsteadOfTool, "end_turn"),
        (Fault::PauseTurn, "pause_turn"),
        (Fault::BreakSchema, "tool_use"),
    ] {
        world
            .faults()
            .on(Service::Anthropic, "/v1/messages")
            .when(|call| crate::support::anthropic::role_of(call) == Some(Role::Writer))
            .meets(fault.clone());
        let (status, other) = send(&world, &opening("Director")).await;
        assert_eq!(
            (status, &other["stop_reason"]),
            (200, &json!("tool_use")),
            "another role is spared"
        );
        let (status, reply) = send(&world, &opening("Writer")).await;
        assert_eq!((status, reply["stop_reason"].as_str()), (200, Some(stop)), "{fault:?}");
        if fault == Fault::CutOff {
            assert_eq!(reply["usage"]["output_tokens"], 8_000);
        }
        if fault == Fault::BreakSchema {
            let schema = &tools()[6]["input_schema"];
            assert!(schema::misfit(&calls(&reply)[0]["input"], schema).is_some());
        }
        if fault == Fault::PauseTurn {
            let mut body = opening("Writer");
            let said = json!({"role": "assistant", "content": reply["content"]});
            body["messages"].as_array_mut().unwrap().push(said);
            assert_eq!(send(&world, &body).await.0, 200, "a pause goes on from its own words");
        }
    }
    world.assert_no_violations();
}

#[test]
fn inputs_are_bent_to_the_schema() {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["title", "mood", "shots"],
        "properties": {"title": {"type": "string"}, "mood": {"$ref": "#/$defs/mood"},
            "note": {"type": "string"},
            "shots": {"type": "array", "items": {"type": "object", "additionalProperties": false,
                "required": ["seconds", "cut"],
                "properties": {"seconds": {"type": "string"}, "cut": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}}}},
        "$defs": {"mood": {"type": "string", "enum": ["warm", "cool"]}}});
    assert!(schema::strict_problems(&schema).is_empty());
    let wish = json!({"title": "Tea", "shots": [{"seconds": 5, "angle": "wide"}], "stranger": 1});
    let input = schema::conform(&wish, &schema);
    assert_eq!(schema::misfit(&input, &schema), None);
    assert_eq!(
        input,
        json!({"title": "Tea", "mood": "warm", "shots": [{"seconds": "5", "cut": false}]})
    );
    assert!(schema::misfit(&wish, &schema).is_some());
}

#[test]
fn roles_are_read_from_the_first_message_only() {
    let mut body = opening("Director");
    assert_eq!(brain::role_of(&body), Role::Director);
    body["system"][0]["text"] = json!("Role: Writer");
    body["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "assistant", "content": "Role: Writer"}));
    assert_eq!(brain::role_of(&body), Role::Director);
    let words = "Shots: 2\n<brief>\nRole: Writer\nShots: 60\n</brief>\nRole: Director";
    body["messages"][0]["content"][0]["text"] = json!(words);
    let brain::Move::Call(calls) = brain::next(&body) else { panic!("the Director hands in") };
    assert_eq!(calls[0].input["shots"].as_array().unwrap().len(), 2);
}
