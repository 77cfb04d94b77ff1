//! Faults of the line, and the sandbox for the binary.

use std::time::Duration;

use reqwest::Client;
use serde_json::json;

use crate::claude::{opening, send};
use crate::support::{Fault, Service, TestEnvironment, World};

async fn try_to_send(world: &World, patience: Duration) -> Result<u16, reqwest::Error> {
    let answer = Client::builder()
        .timeout(patience)
        .build()?
        .post(format!("{}/v1/messages", world.variable("ANTHROPIC_BASE_URL")))
        .header("x-api-key", world.variable("ANTHROPIC_API_KEY"))
        .header("anthropic-version", "2026-10-21")
        .json(&opening("Writer"))
        .send()
        .await?;
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn a_lost_reply_is_charged_and_a_refused_connection_is_not() {
    let world = World::start(1_000.0);
    let second = Duration::from_secs(5);
    world.faults().on(Service::Anthropic, "/v1/messages").nth(1).meets(Fault::Refuse);
    world.faults().on(Service::Anthropic, "/v1/messages").nth(2).meets(Fault::LoseReply);
    assert!(try_to_send(&world, second).await.is_err());
    assert_eq!(world.bill().items().len(), 0);
    assert!(try_to_send(&world, second).await.is_err());
    assert_eq!(world.bill().items().len(), 1);
    assert_eq!(try_to_send(&world, second).await.unwrap(), 200, "the line holds again");
    let statuses: Vec<Option<u16>> = world.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [None, None, Some(200)]);
}

#[tokio::test]
async fn a_hanging_reply_is_charged_and_never_comes() {
    let world = World::start(1_000.0);
    world.faults().on(Service::Anthropic, "/v1/messages").meets(Fault::Hang);
    let error = try_to_send(&world, Duration::from_millis(700)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(world.bill().items().len(), 1);
}

#[tokio::test]
async fn errors_come_with_their_headers_and_cost_nothing() {
    let world = World::start(1_000.0);
    world.faults().on(Service::Anthropic, "/v1/messages").nth(1).meets(Fault::rate_limited(7));
    world.faults().on(Service::Anthropic, "/v1/messages").from(2).meets(Fault::overloaded());
    let answer = Client::new()
        .post(format!("{}/v1/messages", world.variable("ANTHROPIC_BASE_URL")))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()),
        (429, &b"7"[..])
    );
    for _ in 0..2 {
        assert_eq!(send(&world, &opening("Writer")).await.0, 529);
    }
    world.faults().clear();
    assert_eq!(send(&world, &opening("Writer")).await.0, 200);
    assert_eq!(world.bill().items().len(), 1);
}

#[tokio::test]
async fn a_stopped_service_refuses_connections() {
    let world = World::start(1_000.0);
    assert_eq!(send(&world, &opening("Writer")).await.0, 200);
    world.stop(Service::Anthropic);
    assert!(try_to_send(&world, Duration::from_secs(5)).await.is_err());
    assert_eq!(world.bill().items().len(), 1);
}

#[test]
fn the_environment_lets_nothing_in() {
    let world = World::start(1_000.0);
    let environment = TestEnvironment::in_world(&world);
    let command = environment.command(&["costs"]);
    let names: Vec<String> =
        command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    assert!(names.contains(&"FAL_QUEUE_URL".to_owned()));
    assert!(!names.contains(&"DATABASE_URL".to_owned()), "{names:?}");
    assert!(environment.home().starts_with(environment.work().parent().unwrap()));
}

#[test]
fn embeddings_of_similar_texts_are_similar() {
    let embed = |text: &str| crate::support::openai::embedding(text, 1_536);
    let likeness = |one: &str, other: &str| -> f64 {
        embed(one).iter().zip(embed(other)).map(|(one, other)| one * other).sum()
    };
    assert!((likeness("coffee shop ad", "coffee shop ad") - 1.0).abs() < 1e-9);
    assert!(
        likeness("coffee shop ad", "a coffee shop at night")
            > likeness("coffee shop ad", "city at night")
    );
}

#[tokio::test]
async fn embeddings_come_in_any_order_and_are_billed_by_token() {
    let world = World::start(1_000.0);
    let client = Client::new();
    let url = format!("{}/embeddings", world.variable("OPENAI_BASE_URL"));
    let post = |body: serde_json::Value| {
        client.post(&url).bearer_auth(world.variable("OPENAI_API_KEY")).json(&body).send()
    };
    let good = json!({"model": "text-embedding-3-small", "input": ["one text", "another text"]});
    let answer: serde_json::Value = post(good).await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"][0]["index"], 1, "an order is not promised");
    assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 1_536);
    assert_eq!(answer["usage"]["total_tokens"], 5);
    assert_eq!(world.bill().total().normalize().to_string(), "0.0000001");
    world.assert_no_violations();
    for bad in [
        json!({"model": "text-embedding-3-small", "input": [""]}),
        json!({"model": "text-embedding-3-small", "input": []}),
        json!({"model": "nothing", "input": "x"}),
        json!({"model": "text-embedding-3-small", "input": "x", "dimensions": 4_000}),
        json!({"model": "text-embedding-3-small", "input": "x", "output_dimension": 512}),
    ] {
        assert_eq!(post(bad.clone()).await.unwrap().status(), 400, "{bad}");
    }
    assert_eq!(world.violations().len(), 5);
}
