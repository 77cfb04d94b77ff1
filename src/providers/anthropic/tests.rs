use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::providers::{CacheLifetime, MoneyState, Tool, UserBlock};
use serde_json::json;

async fn serving(response: ResponseTemplate) -> (MockServer, AnthropicModel) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/gateway/v1/messages"))
        .and(header("x-api-key", "sk-ant-hidden"))
        .and(header("anthropic-version", VERSION))
        .respond_with(response)
        .expect(1)
        .mount(&server)
        .await;
    let model = model(&server);
    (server, model)
}

fn model(server: &MockServer) -> AnthropicModel {
    let base = format!("{}/gateway", server.uri()).parse().unwrap();
    AnthropicModel::new(HttpClient::new().unwrap(), base, SecretString::from("sk-ant-hidden"))
}

fn text(text: &str, cache: bool) -> UserBlock {
    UserBlock::Text { text: text.to_owned(), cache }
}

fn result(id: &str, cache: bool) -> UserBlock {
    let (tool_use_id, content) = (id.to_owned(), "found".to_owned());
    UserBlock::ToolResult { tool_use_id, content, is_error: false, cache }
}

fn request(messages: Vec<Message>) -> LanguageRequest {
    LanguageRequest {
        model: "claude-sonnet-5-5".to_owned(),
        system: "You make films.".to_owned(),
        tools: vec![Tool {
            name: "search".to_owned(),
            description: "Searches.".to_owned(),
            input_schema: json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false}),
        }],
        messages,
        max_output_tokens: 8000,
    }
}

fn hello() -> LanguageRequest {
    request(vec![Message::User(vec![text("food video", false)])])
}

fn reply_body() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
        "content": [
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "a_block_of_next_year", "x": [1, {"y": null}]},
            {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {}, "caller": {"type": "direct"}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null, "stop_details": null, "container": null,
        "usage": {
            "input_tokens": 3, "output_tokens": 11,
            "cache_creation_input_tokens": 100, "cache_read_input_tokens": 900,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
            "output_tokens_details": {"thinking_tokens": 5}, "service_tier": "standard", "new_field": {},
        },
    })
}

async fn respond(
    model: &AnthropicModel,
    request: &LanguageRequest,
) -> Result<LanguageReply, ProviderError> {
    model.respond(Reservation::for_tests(), request).await
}

#[tokio::test]
async fn the_body_is_what_the_interface_of_october_2026_takes() {
    let (server, model) = serving(ResponseTemplate::new(200).set_body_json(reply_body())).await;
    let thinking = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "search", "input": {"q": "ü"}});
    let turn = request(vec![
        Message::User(vec![text("brief", true)]),
        Message::Assistant(vec![thinking.clone(), call.clone()]),
        Message::User(vec![text("and hurry", false), result("toolu_1", true)]),
    ]);
    respond(&model, &turn).await.unwrap();

    let requests = server.received_requests().await.unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&requests[0].body).unwrap(),
        json!({
            "model": "claude-sonnet-5-5",
            "max_tokens": 8000,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "medium"},
            "tools": [{
                "name": "search", "description": "Searches.",
                "input_schema": {"type": "object", "properties": {}, "required": [], "additionalProperties": false},
                "strict": true,
            }],
            "system": [{"type": "text", "text": "You make films.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "brief", "cache_control": {"type": "ephemeral"}},
                ]},
                {"role": "assistant", "content": [thinking, call]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "found", "is_error": false,
                     "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "and hurry"},
                ]},
            ],
        })
    );
}

#[test]
fn the_cached_prefix_is_the_same_bytes_whatever_is_said() {
    let prefix = |request: &LanguageRequest| {
        let body = serde_json::to_string(&Body::new(request, &CachePlan::default())).unwrap();
        body.split("\"messages\"").next().unwrap().to_owned()
    };
    let other = request(vec![Message::User(vec![text("running shoes", true), text("x", true)])]);
    assert_eq!(prefix(&hello()), prefix(&other));
}

#[test]
fn there_are_never_more_than_four_breakpoints_and_the_latest_stay() {
    let messages =
        (0..6).map(|number| Message::User(vec![text(&number.to_string(), true), text("", true)]));
    let plan = CachePlan::new(vec![Some(CacheLifetime::OneHour)]);
    let body = serde_json::to_value(Body::new(&request(messages.collect()), &plan)).unwrap();
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    let marked: Vec<_> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|message| message["content"].as_array().unwrap())
        .filter(|block| block.get("cache_control").is_some())
        .map(|block| block["text"].as_str().unwrap())
        .collect();
    assert_eq!(marked, ["3", "4", "5"]);
}

#[test]
fn only_what_the_plan_wants_is_marked_and_for_as_long_as_it_says() {
    let blocks = vec![text("taste", true), text("", true), text("brief", true), text("role", true)];
    let five = Some(CacheLifetime::FiveMinutes);
    let plan = CachePlan::new(vec![None, five, None, five]);
    let request = request(vec![Message::User(blocks)]);
    let body = serde_json::to_value(Body::new(&request, &plan)).unwrap();
    assert!(body["system"][0].get("cache_control").is_none());
    let content = body["messages"][0]["content"].as_array().unwrap();
    let marked: Vec<_> = content
        .iter()
        .filter(|block| block.get("cache_control").is_some())
        .map(|block| block["text"].as_str().unwrap())
        .collect();
    // The blank block is no place at all.
    assert_eq!(marked, ["taste", "role"]);
}

#[tokio::test]
async fn a_turn_is_read_leniently_and_kept_to_the_byte() {
    let response =
        ResponseTemplate::new(200).insert_header("request-id", "req_7").set_body_json(reply_body());
    let (_server, model) = serving(response).await;
    let reply = respond(&model, &hello()).await.unwrap();
    assert_eq!(Value::Array(reply.content), reply_body()["content"]);
    assert_eq!(reply.stop, StopReason::ToolUse);
    assert_eq!(reply.request_id.as_deref(), Some("req_7"));
    assert_eq!(
        reply.tokens,
        TokenCounts {
            uncached_input: 3,
            cache_write_5m: 60,
            cache_write_1h: 40,
            cache_read: 900,
            output: 11
        }
    );
}

#[test]
fn token_classes_are_disjoint_however_they_are_told() {
    let count = |usage: Value| TokenCounts::from(serde_json::from_value::<Usage>(usage).unwrap());
    let bare = count(json!({"input_tokens": 1, "output_tokens": 2}));
    assert_eq!(bare, TokenCounts { uncached_input: 1, output: 2, ..TokenCounts::default() });
    for split in [Value::Null, json!({}), json!({"ephemeral_5m_input_tokens": null})] {
        let counts = count(json!({
            "input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": null,
            "cache_creation_input_tokens": 70, "cache_creation": split,
        }));
        assert_eq!((counts.cache_write_5m, counts.cache_write_1h), (70, 0));
    }
    let hour = count(json!({
        "input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 70,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 70},
    }));
    assert_eq!((hour.cache_write_5m, hour.cache_write_1h), (0, 70));
}

#[test]
fn every_stop_reason_is_known_and_new_ones_are_kept() {
    let details = json!({"type": "refusal", "category": "bio", "explanation": null});
    let stop = |reason: &str| stop_reason(Some(reason.to_owned()), Some(&details));
    assert_eq!(stop("end_turn"), StopReason::EndTurn);
    assert_eq!(stop("max_tokens"), StopReason::MaxTokens);
    assert_eq!(stop("stop_sequence"), StopReason::StopSequence);
    assert_eq!(stop("pause_turn"), StopReason::PauseTurn);
    assert_eq!(stop("model_context_window_exceeded"), StopReason::ContextWindowExceeded);
    assert_eq!(
        stop("refusal"),
        StopReason::Refusal { category: Some("bio".to_owned()), explanation: None }
    );
    assert_eq!(stop("tea_break"), StopReason::Other("tea_break".to_owned()));
    assert_eq!(stop_reason(None, None), StopReason::Other("none".to_owned()));
}

#[tokio::test]
async fn every_documented_error_has_its_class_and_its_money() {
    use FailureClass::{Credentials, Funds, Input, NotOffered, RateLimited, Unavailable};
    use MoneyState::{NotCharged, Unknown};
    for (status, kind, detail, class, money) in [
        (400, "invalid_request_error", None, Input, NotCharged),
        (400, "invalid_request_error", Some("enforced_spend_limit_reached"), Funds, NotCharged),
        (401, "authentication_error", None, Credentials, NotCharged),
        (402, "billing_error", None, Funds, NotCharged),
        (403, "permission_error", None, Credentials, NotCharged),
        (404, "not_found_error", None, NotOffered, NotCharged),
        (408, "timeout_error", None, Unavailable, NotCharged),
        (409, "conflict_error", None, Unavailable, NotCharged),
        (413, "request_too_large", None, Input, NotCharged),
        (429, "rate_limit_error", None, RateLimited, NotCharged),
        (429, "rate_limit_error", Some("ramp_limit_exceeded"), RateLimited, NotCharged),
        (429, "rate_limit_error", Some("contract_spend_limit_reached"), Funds, NotCharged),
        (500, "api_error", None, Unavailable, NotCharged),
        (503, "api_error", None, Unavailable, NotCharged),
        (504, "timeout_error", None, Unavailable, Unknown),
        (529, "overloaded_error", None, Unavailable, NotCharged),
    ] {
        let body = json!({
            "type": "error",
            "error": {
                "type": kind,
                "message": "no: sk-ant-hidden",
                "details": detail.map(|code| json!({"error_code": code})),
            },
            "request_id": "req_9",
        });
        let (_server, model) = serving(ResponseTemplate::new(status).set_body_json(body)).await;
        let error = respond(&model, &hello()).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, money), "{status} {kind} {detail:?}");
        assert_eq!(error.status, Some(status));
        assert_eq!(error.code.as_deref(), Some(detail.unwrap_or(kind)));
        assert_eq!(error.request_id.as_deref(), Some("req_9"));
        assert_eq!(error.message, "no: [redacted]");
    }
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}});
    let response =
        ResponseTemplate::new(429).insert_header("retry-after", "7").set_body_json(&body);
    let (_server, model) = serving(response).await;
    let error = respond(&model, &hello()).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    assert!(error.may_be_sent_again());

    let response =
        ResponseTemplate::new(429).insert_header("x-should-retry", "false").set_body_json(&body);
    let (_server, model) = serving(response).await;
    assert_eq!(respond(&model, &hello()).await.unwrap_err().class, FailureClass::Funds);
}

#[tokio::test]
async fn a_success_that_cannot_be_read_was_paid_for_all_the_same() {
    let mut no_usage = reply_body();
    no_usage.as_object_mut().unwrap().remove("usage");
    for body in ["<html><title>Sign in</title>", "", "{\"content\":[", &no_usage.to_string()] {
        let response = ResponseTemplate::new(200).set_body_string(body);
        let (_server, model) = serving(response).await;
        let error = respond(&model, &hello()).await.unwrap_err();
        assert_eq!(
            (error.class, error.money),
            (FailureClass::Malformed, MoneyState::Unknown),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_gateways_page_is_not_the_vendors_word() {
    for (status, class, money) in [
        (502, FailureClass::Unavailable, MoneyState::Unknown),
        (404, FailureClass::Malformed, MoneyState::NotCharged),
    ] {
        let page = "<html><title>nginx</title></html>";
        let (_server, model) = serving(ResponseTemplate::new(status).set_body_string(page)).await;
        let error = respond(&model, &hello()).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, money), "{status}");
        assert!(error.message.contains("nginx"), "{error}");
    }
}

#[tokio::test]
async fn what_would_be_refused_for_certain_is_not_sent() {
    let server = MockServer::start().await;
    let mut too_long = hello();
    too_long.max_output_tokens = MOST_OUTPUT_TOKENS + 1;
    let prefilled =
        request(vec![Message::User(vec![text("x", false)]), Message::Assistant(vec![])]);
    for request in [too_long, prefilled, request(vec![])] {
        let error = respond(&model(&server), &request).await.unwrap_err();
        assert_eq!((error.class, error.money), (FailureClass::Input, MoneyState::NotCharged));
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_upper_estimate_of_tokens_counts_every_byte_that_could_be_one() {
    let model = model(&MockServer::start().await);
    let most = |words: &str| {
        model.most_input_tokens(&request(vec![Message::User(vec![text(words, false)])]))
    };
    let nothing = most("");
    assert_eq!(most(&"9".repeat(1000)) - nothing, 1000);
    assert_eq!(most(&"ab".repeat(500)) - nothing, 500);
    assert_eq!(most(&"щ".repeat(500)) - nothing, 1000);
}

#[tokio::test]
async fn the_probe_is_free_and_names_a_wrong_key() {
    let server = MockServer::start().await;
    let models = json!({"data": [{"id": "claude-sonnet-5-5"}], "has_more": false});
    Mock::given(method("GET"))
        .and(path("/gateway/v1/models"))
        .respond_with(ResponseTemplate::new(200).set_body_json(models))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(model(&server).probe().await.unwrap().balance, None);

    server.reset().await;
    let error = json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).set_body_json(error))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(model(&server).probe().await.unwrap_err().class, FailureClass::Credentials);
}
