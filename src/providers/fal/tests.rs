use std::sync::Arc;

use rust_decimal_macros::dec;
use serde_json::json;
use tempfile::TempDir;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::providers::MoneyState;

const DEFAULT: &str = "kling-2.6-pro";
const ENDPOINT: &str = "fal-ai/kling-video/v2.6/pro/image-to-video";
const KEYFRAME: &str = "https://v3.fal.media/files/keyframe.png";

fn model(server: &MockServer, name: &str) -> Arc<dyn VideoModel> {
    let base = |path: &str| format!("{}{path}", server.uri()).parse().unwrap();
    let client = HttpClient::new().unwrap();
    let key = SecretString::from("hidden-id:hidden-secret\n");
    let account = FalAccount::new(client, base("/queue"), base("/api/v1"), base("/rest"), key);
    video_model(name, &account).unwrap()
}

fn clip(seconds: u32, audio: bool) -> ClipRequest {
    let (prompt, keyframe_url) = ("steam rises".to_owned(), KEYFRAME.to_owned());
    ClipRequest { prompt, keyframe_url, seconds, audio }
}

fn job(server: &MockServer) -> Job {
    Job {
        request_id: "r-1".to_owned(),
        status_url: Some(format!("{}/elsewhere/r-1/status", server.uri())),
        response_url: Some(format!("{}/elsewhere/r-1", server.uri())),
        cancel_url: None,
    }
}

async fn get(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(at))
        .and(header("authorization", "Key hidden-id:hidden-secret"))
        .respond_with(response)
        .mount(server)
        .await;
}

async fn answering(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    server
}

/// The state of a job that fal calls completed, with `status` added to its status object and
/// `result` as the answer of its response URL.
async fn completed(status: Value, result: ResponseTemplate) -> Result<JobState, ProviderError> {
    let server = MockServer::start().await;
    let mut body = json!({"status": "COMPLETED", "request_id": "r-1", "logs": null});
    body.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    get(&server, "/elsewhere/r-1/status", ResponseTemplate::new(200).set_body_json(body)).await;
    get(&server, "/elsewhere/r-1", result).await;
    model(&server, DEFAULT).state(&job(&server)).await
}

async fn submit(server: &MockServer) -> Result<Job, ProviderError> {
    let model = model(server, DEFAULT);
    model.submit(Reservation::for_tests(), &model.payload(&clip(5, false))).await
}

#[tokio::test]
async fn every_endpoint_is_asked_in_its_own_words() {
    let server = MockServer::start().await;
    let (prompt, keyframe) = ("steam rises", KEYFRAME);
    let early = json!({"prompt": prompt, "image_url": keyframe, "duration": "10"});
    let asked = |field: &str, audio: bool| json!({"prompt": prompt, field: keyframe, "duration": "10", "generate_audio": audio});
    for (name, endpoint, audio, body) in [
        (DEFAULT, ENDPOINT, false, asked("start_image_url", false)),
        (DEFAULT, ENDPOINT, true, asked("start_image_url", true)),
        (
            "kling-1.6-standard",
            "fal-ai/kling-video/v1.6/standard/image-to-video",
            false,
            early.clone(),
        ),
        ("kling-1.6-pro", "fal-ai/kling-video/v1.6/pro/image-to-video", false, early.clone()),
        (
            "kling-2.1-standard",
            "fal-ai/kling-video/v2.1/standard/image-to-video",
            false,
            early.clone(),
        ),
        ("kling-2.1-pro", "fal-ai/kling-video/v2.1/pro/image-to-video", false, early.clone()),
        ("kling-2.1-master", "fal-ai/kling-video/v2.1/master/image-to-video", false, early.clone()),
        (
            "kling-2.5-turbo-standard",
            "fal-ai/kling-video/v2.5-turbo/standard/image-to-video",
            false,
            early.clone(),
        ),
        (
            "kling-2.5-turbo-pro",
            "fal-ai/kling-video/v2.5-turbo/pro/image-to-video",
            false,
            early.clone(),
        ),
        (
            "kling-3-standard",
            "fal-ai/kling-video/v3/standard/image-to-video",
            false,
            asked("start_image_url", false),
        ),
        (
            "kling-3-pro",
            "fal-ai/kling-video/v3/pro/image-to-video",
            true,
            asked("start_image_url", true),
        ),
        (
            "kling-3-turbo-standard",
            "fal-ai/kling-video/v3/turbo/standard/image-to-video",
            true,
            early,
        ),
        (
            "kling-o3-standard",
            "fal-ai/kling-video/o3/standard/image-to-video",
            false,
            asked("image_url", false),
        ),
        (
            "kling-o3-pro",
            "fal-ai/kling-video/o3/pro/image-to-video",
            true,
            asked("image_url", true),
        ),
        (
            "kling/v4/image-to-video",
            "kling/v4/image-to-video",
            false,
            json!({"prompt": prompt, "start_image_url": keyframe, "duration": 10, "generate_audio": false, "resolution": "1080p"}),
        ),
    ] {
        let model = model(&server, name);
        assert_eq!(model.endpoint(), endpoint);
        model.check(&clip(10, audio)).unwrap();
        assert_eq!(model.payload(&clip(10, audio)), body, "{name}");
    }
}

#[test]
fn known_models_are_well_formed() {
    for known in &VIDEO_MODELS {
        assert_eq!(VIDEO_MODELS.iter().filter(|other| other.name == known.name).count(), 1);
        assert!(known.durations.is_sorted() && !known.durations.is_empty(), "{}", known.name);
    }
}

#[tokio::test]
async fn what_an_endpoint_does_not_sell_is_told_before_it_is_sent() {
    let server = MockServer::start().await;
    let check = |name: &str, request: &ClipRequest| {
        model(&server, name).check(request).map_err(|error| (error.class, error.message))
    };
    let (class, message) = check(DEFAULT, &clip(7, false)).unwrap_err();
    assert_eq!(class, FailureClass::Input);
    assert_eq!(message, "kling-2.6-pro sells 5, 10 seconds, not 7");
    assert!(check("kling-3-pro", &clip(7, true)).is_ok());
    assert!(check("kling-2.1-pro", &clip(5, true)).is_err());
    assert!(!model(&server, "kling-2.1-pro").offers_audio());
    let long = ClipRequest { prompt: "ü".repeat(2_501), ..clip(5, false) };
    assert!(check(DEFAULT, &long).is_err());
    assert!(check(DEFAULT, &ClipRequest { prompt: "ü".repeat(2_500), ..long }).is_ok());
}

#[tokio::test]
async fn a_submit_is_sent_once_and_its_urls_are_kept() {
    let server = MockServer::start().await;
    let accepted = json!({
        "status": "IN_QUEUE", "request_id": "r-1", "gateway_request_id": "g-1", "queue_position": 3,
        "response_url": "https://queue.fal.run/fal-ai/kling-video/requests/r-1",
        "status_url": "https://queue.fal.run/fal-ai/kling-video/requests/r-1/status",
        "cancel_url": "http://evil.example/cancel",
    });
    Mock::given(method("POST"))
        .and(path(format!("/queue/{ENDPOINT}")))
        .and(header("authorization", "Key hidden-id:hidden-secret"))
        .and(body_json(json!({
            "prompt": "steam rises", "start_image_url": KEYFRAME, "duration": "5", "generate_audio": false,
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(accepted))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(
        submit(&server).await.unwrap(),
        Job {
            request_id: "r-1".to_owned(),
            status_url: Some(
                "https://queue.fal.run/fal-ai/kling-video/requests/r-1/status".to_owned()
            ),
            response_url: Some("https://queue.fal.run/fal-ai/kling-video/requests/r-1".to_owned()),
            cancel_url: None,
        }
    );
}

#[tokio::test]
async fn every_refusal_of_a_submit_has_its_class_and_its_money() {
    use FailureClass::{
        Credentials, Funds, Generation, Input, Malformed, NotOffered, Policy, RateLimited,
        Unavailable,
    };
    use MoneyState::{NotCharged, Unknown};
    let text = |words: &str| json!({"detail": words}).to_string();
    let typed = |kind: &str| json!({"detail": "no", "error_type": kind}).to_string();
    let model_level = |kind: &str| {
        json!({"detail": [{"loc": ["body", "duration"], "msg": "no: hidden-secret", "type": kind}]})
            .to_string()
    };
    for (status, body, class, money) in [
        (400, typed("bad_request"), Input, NotCharged),
        (401, text("Authentication is required"), Credentials, NotCharged),
        (402, text("payment required"), Funds, NotCharged),
        (403, text("forbidden"), Credentials, NotCharged),
        (403, text("User is locked. Reason: Exhausted balance."), Funds, NotCharged),
        (404, text("Application not found"), NotOffered, NotCharged),
        (408, text("timeout"), Unavailable, Unknown),
        (422, model_level("missing"), Input, NotCharged),
        (422, model_level("content_policy_violation"), Policy, NotCharged),
        (422, text("a plain string"), Input, NotCharged),
        (429, text("too many"), RateLimited, NotCharged),
        (500, typed("internal_error"), Generation, NotCharged),
        (503, typed("runner_scheduling_failure"), Unavailable, NotCharged),
        (504, typed("startup_timeout"), Generation, NotCharged),
        (503, "<html><title>503 nginx</title></html>".to_owned(), Unavailable, NotCharged),
        (502, "<html><title>502 nginx</title></html>".to_owned(), Unavailable, Unknown),
        (500, String::new(), Unavailable, Unknown),
        (200, "<html><title>Sign in</title></html>".to_owned(), Malformed, Unknown),
        (200, "{\"status\":\"IN_QUEUE\"}".to_owned(), Malformed, Unknown),
        (200, "{\"request_id\":\"\"}".to_owned(), Malformed, Unknown),
        (200, "{\"request_id\":\"r".to_owned(), Malformed, Unknown),
    ] {
        let server = answering(ResponseTemplate::new(status).set_body_string(&body)).await;
        let error = submit(&server).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, money), "{status} {body}");
        assert!(!error.to_string().contains("hidden"), "{error}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn an_unavailable_page_behind_the_ingress_leaves_the_money_unknown() {
    let response = ResponseTemplate::new(503).insert_header("x-fal-request-id", "r-1");
    let error = submit(&answering(response).await).await.unwrap_err();
    assert_eq!((error.class, error.money), (FailureClass::Unavailable, MoneyState::Unknown));
}

#[tokio::test]
async fn queued_and_running_jobs_answer_202_and_completed_ones_200() {
    let server = MockServer::start().await;
    let at = "/elsewhere/r-1/status";
    let state = async |body: Value| {
        server.reset().await;
        get(&server, at, ResponseTemplate::new(202).set_body_json(body)).await;
        model(&server, DEFAULT).state(&job(&server)).await.unwrap()
    };
    let queued =
        state(json!({"status": "IN_QUEUE", "request_id": "r-1", "queue_position": 2})).await;
    assert!(matches!(queued, JobState::Queued { position: Some(2) }));
    for running in ["IN_PROGRESS", "WARMING_UP"] {
        let running = state(json!({"status": running, "logs": [{"message": "x"}]})).await;
        assert!(matches!(running, JobState::Running { percent: None }));
    }
}

#[tokio::test]
async fn a_finished_job_shows_its_clip_and_its_bill() {
    let output =
        json!({"video": {"url": "https://v3b.fal.media/c.mp4", "content_type": "video/mp4"}});
    let response = ResponseTemplate::new(200)
        .insert_header("x-fal-billable-units", "5.0")
        .set_body_json(output);
    let nothing_wrong =
        json!({"metrics": {"inference_time": 41.2}, "error": "", "error_type": null});
    match completed(nothing_wrong, response).await.unwrap() {
        JobState::Done(result) => {
            assert_eq!(result.urls, ["https://v3b.fal.media/c.mp4"]);
            assert_eq!(result.billed_units, Some(dec!(5.0)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_job_whose_urls_were_lost_is_found_under_its_application() {
    let server = MockServer::start().await;
    let at = "/queue/fal-ai/kling-video/requests/r-1/status";
    let body = json!({"status": "IN_PROGRESS"});
    get(&server, at, ResponseTemplate::new(202).set_body_json(body)).await;
    let bare = Job { status_url: None, response_url: None, ..job(&server) };
    assert!(matches!(model(&server, DEFAULT).state(&bare).await, Ok(JobState::Running { .. })));
}

#[tokio::test]
async fn the_verdict_on_a_completed_job_decides_class_and_money() {
    use FailureClass::{Generation, Input, Policy};
    use MoneyState::{Charged, NotCharged};
    let model_level =
        |kind: &str| json!({"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": kind}]});
    let none = json!({});
    let reported = json!({"error": "runner died", "error_type": "runner_disconnected"});
    for (status, result, body, units, class, money) in [
        (&none, 422, model_level("content_policy_violation"), None, Policy, NotCharged),
        (&none, 422, model_level("content_policy_violation"), Some("0"), Policy, NotCharged),
        (&none, 422, model_level("content_policy_violation"), Some("5"), Policy, Charged),
        (&none, 422, model_level("image_too_small"), Some("0.0"), Input, NotCharged),
        (&none, 422, model_level("image_load_error"), None, Input, NotCharged),
        (&none, 422, model_level("image_load_error"), Some("5"), Input, Charged),
        (&none, 422, json!({"detail": "plain"}), None, Input, NotCharged),
        (&none, 422, model_level("generation_timeout"), None, Generation, NotCharged),
        (&none, 422, json!({"detail": "plain"}), Some("0"), Input, NotCharged),
        (&none, 500, model_level("internal_server_error"), None, Generation, NotCharged),
        (&none, 500, json!({"detail": "Internal Server Error"}), None, Generation, NotCharged),
        (
            &none,
            504,
            json!({"detail": "late", "error_type": "request_timeout"}),
            None,
            Generation,
            NotCharged,
        ),
        (&reported, 503, json!({"detail": "gone"}), None, Generation, NotCharged),
        (
            &reported,
            200,
            json!({"video": {"url": "https://v3.fal.media/half.mp4"}}),
            Some("0"),
            Generation,
            NotCharged,
        ),
        (&reported, 200, json!({}), None, Generation, Charged),
        (&none, 200, json!({"video": null}), None, Generation, Charged),
        (&none, 200, json!({"video": {"url": "ftp://x"}}), Some("0"), Generation, NotCharged),
    ] {
        let mut response = ResponseTemplate::new(result).set_body_json(&body);
        if let Some(units) = units {
            response = response.insert_header("x-fal-billable-units", units);
        }
        let error = completed(status.clone(), response).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, money), "{result} {body}");
        assert!(!error.class.is_transient(), "a failed job is final");
    }
}

#[tokio::test]
async fn a_reported_policy_violation_is_told_as_one() {
    let status = json!({"error": "refused", "error_type": "content_policy_violation"});
    let response = ResponseTemplate::new(200).set_body_json(json!({}));
    let error = completed(status, response).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (FailureClass::Policy, "refused"));
}

#[tokio::test]
async fn a_question_that_fails_says_nothing_about_the_job() {
    use FailureClass::{Credentials, Input, Malformed, RateLimited, Unavailable};
    let nothing = ResponseTemplate::new(200);
    let at_once = |status: u16| ResponseTemplate::new(status).insert_header("retry-after", "0");
    let detail = json!({"detail": "no"});
    for (result, class) in [
        (at_once(401).set_body_json(&detail), Credentials),
        (at_once(403).set_body_json(&detail), Credentials),
        (at_once(404).set_body_json(&detail), Input),
        (at_once(429).set_body_json(&detail), RateLimited),
        (at_once(503).set_body_json(&detail), Unavailable),
        (at_once(502).set_body_string("<html></html>"), Unavailable),
        (nothing.clone().set_body_string("<html></html>"), Malformed),
    ] {
        let error = completed(json!({}), result).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, MoneyState::Unknown), "{error}");
    }
    for (status, class) in [(401, Credentials), (404, Input), (500, Unavailable), (200, Malformed)]
    {
        let server = answering(at_once(status).set_body_json(&detail)).await;
        let error = model(&server, DEFAULT).state(&job(&server)).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, MoneyState::Unknown), "{status}");
    }
}

#[tokio::test]
async fn a_result_that_is_still_in_progress_is_waited_for() {
    let response =
        ResponseTemplate::new(400).set_body_json(json!({"detail": "Request is still in progress"}));
    assert!(matches!(completed(json!({}), response).await, Ok(JobState::Running { .. })));
}

#[tokio::test]
async fn each_upload_has_a_name_of_its_own_and_carries_the_bytes() {
    let (server, folder) = (MockServer::start().await, TempDir::new().unwrap());
    let initiated = json!({
        "upload_url": format!("{}/bucket/x?signature=hidden", server.uri()),
        "file_url": KEYFRAME,
    });
    Mock::given(method("POST"))
        .and(path("/rest/storage/upload/initiate"))
        .and(query_param("storage_type", "fal-cdn-v3"))
        .and(header("authorization", "Key hidden-id:hidden-secret"))
        .respond_with(ResponseTemplate::new(200).set_body_json(initiated))
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/bucket/x"))
        .and(header("content-type", "image/png"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let picture = folder.path().join("keyframe.jpg");
    let bytes = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 100_000]].concat();
    std::fs::write(&picture, &bytes).unwrap();

    let model = model(&server, DEFAULT);
    for _ in 0..2 {
        assert_eq!(model.upload(&picture).await.unwrap(), KEYFRAME);
    }

    let requests = server.received_requests().await.unwrap();
    let put: Vec<_> = requests.iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(put[0].body, bytes);
    assert_eq!(put[0].headers["content-length"], bytes.len().to_string().as_str());
    assert!(!put[0].headers.contains_key("authorization"), "the store is not fal's own");
    let names: Vec<Value> = requests
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body["content_type"], "image/png", "the bytes decide, not the file's name");
            body["file_name"].clone()
        })
        .collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn what_is_no_picture_is_not_uploaded() {
    let (server, folder) = (MockServer::start().await, TempDir::new().unwrap());
    let text = folder.path().join("notes.png");
    std::fs::write(&text, "hello").unwrap();
    for (picture, words) in
        [(text, "is no PNG"), (folder.path().join("gone.png"), "cannot be read")]
    {
        let error = model(&server, DEFAULT).upload(&picture).await.unwrap_err();
        assert_eq!((error.class, error.money), (FailureClass::Input, MoneyState::NotCharged));
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_probe_shows_the_price_and_the_balance_where_the_key_may_see_it() {
    let server = MockServer::start().await;
    let price =
        json!({"endpoint_id": ENDPOINT, "unit_price": 0.07, "unit": "seconds", "currency": "USD"});
    let prices = json!({"prices": [price], "next_cursor": null, "has_more": false});
    get(&server, "/api/v1/models/pricing", ResponseTemplate::new(200).set_body_json(prices)).await;
    let forbidden = json!({"error": {"type": "authorization_error", "message": "Access denied"}});
    let denied = ResponseTemplate::new(403).set_body_json(forbidden);
    Mock::given(path("/api/v1/account/billing"))
        .respond_with(denied)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let billing =
        json!({"username": "me", "credits": {"current_balance": 24.5, "currency": "USD"}});
    get(&server, "/api/v1/account/billing", ResponseTemplate::new(200).set_body_json(billing))
        .await;

    let model = model(&server, DEFAULT);
    let probe = model.probe().await.unwrap();
    assert!(probe.note.ends_with("is listed at 0.07 USD (unit: seconds)"), "{}", probe.note);
    assert_eq!(probe.balance, None);
    assert_eq!(model.probe().await.unwrap().balance, Some(Usd::new(dec!(24.5))));
}

#[tokio::test]
async fn a_wrong_key_is_named_by_the_probe() {
    let body = json!({"error": {"type": "authorization_error", "message": "Authentication required", "request_id": "x"}});
    let server = answering(ResponseTemplate::new(401).set_body_json(body)).await;
    let error = model(&server, DEFAULT).probe().await.unwrap_err();
    assert_eq!((error.class, error.money), (FailureClass::Credentials, MoneyState::NotCharged));
    assert_eq!(error.code.as_deref(), Some("authorization_error"));
}

/// A page of fal's list of requests.
fn page(items: &Value, next: Option<&str>) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"items": items, "next_cursor": next, "has_more": next.is_some()}))
}

fn listed(id: &str, input: &Value) -> Value {
    json!({"request_id": id, "endpoint_id": ENDPOINT, "sent_at": "2026-11-22T10:00:01Z",
        "started_at": "2026-11-22T10:00:02Z", "json_input": input})
}

#[tokio::test]
async fn a_lost_job_is_found_on_whatever_page_it_stands() {
    let server = MockServer::start().await;
    let model = model(&server, DEFAULT);
    let payload = model.payload(&clip(5, false));
    let mut with_defaults = payload.clone();
    with_defaults["negative_prompt"] = json!("blur, distort, and low quality");
    let mut other = payload.clone();
    other["start_image_url"] = json!("https://v3.fal.media/files/another.png");
    let since = "2026-11-22T09:50:00.5Z".parse().unwrap();
    let list = || {
        Mock::given(method("GET"))
            .and(path("/api/v1/models/requests/by-endpoint"))
            .and(header("authorization", "Key hidden-id:hidden-secret"))
            .and(query_param("endpoint_id", ENDPOINT))
            .and(query_param("expand", "payloads"))
            .and(query_param("start", "2026-11-22T09:50:00Z"))
    };
    list()
        .and(query_param("cursor", "Mg=="))
        .respond_with(page(&json!([listed("r-3", &with_defaults)]), None))
        .with_priority(1)
        .mount(&server)
        .await;
    list()
        .respond_with(page(
            &json!([listed("r-1", &other), listed("r-2", &json!(null))]),
            Some("Mg=="),
        ))
        .with_priority(2)
        .mount(&server)
        .await;
    let found = model.find(&payload, since).await.unwrap().unwrap();
    assert_eq!(found.request_id, "r-3");
    let never_sent = model.payload(&clip(10, false));
    assert_eq!(model.find(&never_sent, since).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_that_goes_round_in_a_circle_ends() {
    let server = answering(page(&json!([]), Some("again"))).await;
    let model = model(&server, DEFAULT);
    let since = "2026-11-22T09:50:00Z".parse().unwrap();
    assert_eq!(model.find(&model.payload(&clip(5, false)), since).await.unwrap(), None);
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_job_without_its_urls_is_asked_about_in_the_list() {
    let found = Job { status_url: None, response_url: None, ..job(&MockServer::start().await) };
    let ended = |status: u16, output: Value| {
        let mut item = listed("r-1", &json!({}));
        item["ended_at"] = json!("2026-11-22T10:01:00Z");
        item["status_code"] = json!(status);
        item["json_output"] = output;
        item
    };
    let state = async |item: Value| {
        let server = answering(page(&json!([item]), None)).await;
        model(&server, DEFAULT).state(&found).await
    };
    let running = state(listed("r-1", &json!({}))).await;
    assert!(matches!(running, Ok(JobState::Running { .. })), "{running:?}");
    let clip = json!({"video": {"url": "https://v3b.fal.media/files/clip.mp4"}});
    let Ok(JobState::Done(result)) = state(ended(200, clip)).await else { panic!("not done") };
    assert_eq!(result.urls, ["https://v3b.fal.media/files/clip.mp4"]);
    let refused = json!({"detail": [{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation"}]});
    let error = state(ended(422, refused)).await.unwrap_err();
    assert_eq!((error.class, error.money), (FailureClass::Policy, MoneyState::NotCharged));
    let error = state(ended(500, json!(null))).await.unwrap_err();
    assert_eq!((error.class, error.money), (FailureClass::Generation, MoneyState::NotCharged));
    // A list that does not show what came of it is no verdict: the job's own address is asked.
    let server = MockServer::start().await;
    let unshown = page(&json!([ended(200, json!(null))]), None);
    get(&server, "/api/v1/models/requests/by-endpoint", unshown).await;
    let at = "/queue/fal-ai/kling-video/requests/r-1";
    let done = ResponseTemplate::new(200).set_body_json(json!({"status": "COMPLETED"}));
    get(&server, &format!("{at}/status"), done).await;
    let clip = json!({"video": {"url": "https://v3b.fal.media/files/late.mp4"}});
    get(&server, at, ResponseTemplate::new(200).set_body_json(clip)).await;
    let state = model(&server, DEFAULT).state(&found).await;
    assert!(matches!(state, Ok(JobState::Done(_))), "{state:?}");
}
