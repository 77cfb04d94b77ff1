use std::sync::Arc;

use rust_decimal_macros::dec;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::providers::{ImageModel, ImageRequest, JobState};
use crate::studio::brief::Aspect;

fn account(server: &MockServer) -> KieAccount {
    let base = format!("{}/gateway", server.uri()).parse().unwrap();
    KieAccount::new(HttpClient::new().unwrap(), base, SecretString::from("hidden-key"))
}

fn model(server: &MockServer, name: &str) -> Arc<dyn ImageModel> {
    image_model(name, &account(server)).unwrap()
}

fn picture(references: &[&str]) -> ImageRequest {
    ImageRequest {
        prompt: "a bowl of ramen".to_owned(),
        aspect: Aspect::Portrait9x16,
        reference_urls: references.iter().map(ToString::to_string).collect(),
    }
}

fn job() -> Job {
    Job::named("task 1")
}

async fn answering(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    server
}

async fn submit(model: &dyn ImageModel) -> Result<Job, ProviderError> {
    let payload = model.payload(&picture(&[]));
    model.submit(Reservation::for_tests(), &payload).await
}

#[tokio::test]
async fn each_model_is_asked_in_its_own_words() {
    let prompt = "a bowl of ramen";
    let jobs = "/gateway/api/v1/jobs/createTask";
    for (name, endpoint, body) in [
        (
            "midjourney-7-fast",
            "/gateway/api/v1/mj/generate",
            json!({"taskType": "mj_txt2img", "prompt": prompt, "speed": "fast", "aspectRatio": "9:16", "version": "7"}),
        ),
        (
            "midjourney-7-turbo",
            "/gateway/api/v1/mj/generate",
            json!({"taskType": "mj_txt2img", "prompt": prompt, "speed": "turbo", "aspectRatio": "9:16", "version": "7"}),
        ),
        (
            "nano-banana-2",
            jobs,
            json!({"model": "nano-banana-2", "input": {"prompt": prompt, "aspect_ratio": "9:16", "resolution": "1K", "output_format": "jpg"}}),
        ),
        (
            "nano-banana-2-lite",
            jobs,
            json!({"model": "nano-banana-2-lite", "input": {"prompt": prompt, "aspect_ratio": "9:16"}}),
        ),
        (
            "google/nano-banana",
            jobs,
            json!({"model": "google/nano-banana", "input": {"prompt": prompt, "aspect_ratio": "9:16", "output_format": "jpeg"}}),
        ),
        (
            "imagen4-fast",
            jobs,
            json!({"model": "google/imagen4-fast", "input": {"prompt": prompt, "aspect_ratio": "9:16"}}),
        ),
        (
            "seedream-5-pro",
            jobs,
            json!({"model": "seedream/5-pro-text-to-image", "input": {"prompt": prompt, "aspect_ratio": "9:16", "quality": "basic"}}),
        ),
    ] {
        let server = MockServer::start().await;
        let accepted = json!({"code": 200, "msg": "success", "data": {"taskId": "task 1"}});
        Mock::given(method("POST"))
            .and(path(endpoint))
            .and(header("authorization", "Bearer hidden-key"))
            .and(body_json(&body))
            .respond_with(ResponseTemplate::new(200).set_body_json(accepted))
            .expect(1)
            .mount(&server)
            .await;
        assert_eq!(submit(&*model(&server, name)).await.unwrap(), job(), "{name}");
        let agent = &server.received_requests().await.unwrap()[0].headers["user-agent"];
        assert!(agent.to_str().unwrap().starts_with("aida/"));
    }
}

#[tokio::test]
async fn references_go_where_each_model_takes_them() {
    let server = MockServer::start().await;
    let request = picture(&["https://h.example/a.png"]);
    let payload = |name: &str| model(&server, name).payload(&request);
    assert_eq!(
        payload("nano-banana-pro")["input"]["image_input"],
        json!(["https://h.example/a.png"])
    );
    assert_eq!(
        payload("nano-banana-2-lite")["input"]["image_urls"],
        json!(["https://h.example/a.png"])
    );
    let midjourney = payload("midjourney-7-fast");
    assert_eq!(midjourney["taskType"], "mj_omni_reference");
    assert_eq!(midjourney["fileUrls"], json!(["https://h.example/a.png"]));
    assert_eq!(midjourney.get("speed"), None);
    // An omni reference takes one picture and no other speed.
    let turbo = payload("midjourney-7-turbo");
    assert_eq!(
        (&turbo["taskType"], &turbo["speed"]),
        (&json!("mj_style_reference"), &json!("turbo"))
    );
    let two = picture(&["https://h.example/a.png", "https://h.example/b.png"]);
    let midjourney = model(&server, "midjourney-7-fast").payload(&two);
    assert_eq!(midjourney["taskType"], "mj_style_reference");
    assert_eq!(midjourney["fileUrls"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_model_cannot_draw_is_told_before_it_is_sent() {
    let server = MockServer::start().await;
    let check = |name: &str, request: &ImageRequest| model(&server, name).check(request);
    let wide = ImageRequest { aspect: Aspect::Landscape3x2, ..picture(&[]) };
    let error = check("imagen4-fast", &wide).unwrap_err();
    assert!(error.message.contains("imagen4-fast cannot draw 3:2; it draws 9:16"), "{error}");
    assert!(check("midjourney-7-fast", &wide).is_ok());
    let long = ImageRequest { prompt: "ü".repeat(2001), ..picture(&[]) };
    assert!(check("midjourney-7-fast", &long).is_err());
    assert!(check("nano-banana-2", &long).is_ok());
    assert!(check("imagen4-fast", &picture(&["https://h.example/a.png"])).is_err());
}

#[test]
fn every_known_model_has_one_name_and_takes_the_longest_prompt_of_a_storyboard() {
    for known in &IMAGE_MODELS {
        let same = IMAGE_MODELS.iter().filter(|other| other.name == known.name).count();
        assert_eq!(same, 1, "{}", known.name);
        assert!(
            known.longest_prompt >= crate::studio::storyboard::LONGEST_PROMPT,
            "{}",
            known.name
        );
    }
}

#[tokio::test]
async fn every_code_of_a_submit_has_its_class_and_its_money() {
    use FailureClass::{
        Credentials, Funds, Generation, Input, NotOffered, Policy, RateLimited, Unavailable,
    };
    use MoneyState::{NotCharged, Unknown};
    for (code, message, jobs, midjourney, money) in [
        (400, "bad request", Input, Input, NotCharged),
        (400, "content moderation: prompt flagged", Policy, Policy, NotCharged),
        (401, "You do not have access permissions", Credentials, Credentials, NotCharged),
        (402, "credits insufficient", Funds, Funds, NotCharged),
        (404, "not found", NotOffered, NotOffered, NotCharged),
        (408, "no result in 10 minutes", Unavailable, Unavailable, Unknown),
        (422, "aspect_ratio is not within the range", Input, NotOffered, NotCharged),
        (422, "The model name is not supported", NotOffered, NotOffered, NotCharged),
        (429, "too many", RateLimited, RateLimited, NotCharged),
        (433, "sub-key limit", Funds, Funds, NotCharged),
        (455, "maintenance", Unavailable, NotOffered, NotCharged),
        (500, "server error", Generation, Generation, NotCharged),
        (501, "generation failed", Generation, Generation, NotCharged),
        (505, "feature disabled", NotOffered, NotOffered, NotCharged),
        (599, "", Generation, Generation, NotCharged),
    ] {
        // The code decides, in an HTTP 200 as in any other.
        for status in [200, 500] {
            let body = json!({"code": code, "msg": message, "data": null});
            let server = answering(ResponseTemplate::new(status).set_body_json(body)).await;
            for (name, class) in [("nano-banana-2", jobs), ("midjourney-7-fast", midjourney)] {
                let error = submit(&*model(&server, name)).await.unwrap_err();
                assert_eq!((error.class, error.money), (class, money), "{name} {code} {message}");
                assert_eq!(error.status, Some(code));
            }
            assert_eq!(server.received_requests().await.unwrap().len(), 2, "submits are sent once");
        }
    }
}

#[tokio::test]
async fn a_withdrawn_midjourney_names_the_alternative() {
    let body = json!({"code": 505, "msg": "feature disabled"});
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let error = submit(&*model(&server, "midjourney-7-fast")).await.unwrap_err();
    assert!(error.message.contains("nano-banana-2"), "{error}");
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_for_its_window() {
    let body = json!({"code": 429, "msg": "too many"});
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let error = submit(&*model(&server, "nano-banana-2")).await.unwrap_err();
    assert_eq!(error.retry_after, Some(RATE_WINDOW));
    assert!(error.may_be_sent_again());
}

#[tokio::test]
async fn answers_that_are_not_kies_leave_the_money_where_it_can_be() {
    use FailureClass::{Malformed, RateLimited, Unavailable};
    use MoneyState::{NotCharged, Unknown};
    for (status, body, class, money) in [
        (200, "{\"code\":200,\"msg\":\"success\",\"data\":{}}", Malformed, Unknown),
        (200, "{\"code\":200,\"data\":{\"taskId\":\"\"}}", Malformed, Unknown),
        (200, "{\"code\":200,\"data\":{\"taskI", Malformed, Unknown),
        (200, "<html><title>Sign in</title></html>", Malformed, Unknown),
        (403, "<html><title>Error 1010</title></html>", Malformed, NotCharged),
        (429, "slow down", RateLimited, NotCharged),
        (502, "<html><title>Bad gateway</title></html>", Unavailable, Unknown),
        (503, "{\"status\":503}", Unavailable, Unknown),
    ] {
        let server = answering(ResponseTemplate::new(status).set_body_string(body)).await;
        let error = submit(&*model(&server, "nano-banana-2")).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, money), "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn both_dialects_are_polled_by_task_id() {
    let server = MockServer::start().await;
    let urls = json!({"resultUrls": ["https://t.example/a.jpg"]}).to_string();
    let task =
        json!({"code": 200, "data": {"taskId": "task 1", "state": "success", "resultJson": urls}});
    let objects = json!({"resultUrls": [{"resultUrl": "https://t.example/b.jpg"}]});
    let picture = json!({"code": 200, "data": {"successFlag": 1, "resultInfoJson": objects}});
    for (endpoint, body) in [("jobs/recordInfo", task), ("mj/record-info", picture)] {
        Mock::given(method("GET"))
            .and(path(format!("/gateway/api/v1/{endpoint}")))
            .and(query_param("taskId", "task 1"))
            .and(header("authorization", "Bearer hidden-key"))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .expect(1)
            .mount(&server)
            .await;
    }
    for (name, url) in [
        ("nano-banana-2", "https://t.example/a.jpg"),
        ("midjourney-7-fast", "https://t.example/b.jpg"),
    ] {
        match model(&server, name).state(&job()).await.unwrap() {
            JobState::Done(result) => assert_eq!(result.urls, [url]),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_question_that_fails_says_nothing_about_the_job() {
    for (status, code, class) in [
        (200, 401, FailureClass::Credentials),
        (200, 429, FailureClass::RateLimited),
        (200, 455, FailureClass::Unavailable),
        (200, 500, FailureClass::Unavailable),
        (200, 422, FailureClass::Input),
    ] {
        let body = json!({"code": code, "msg": "recordInfo is null"});
        let response = ResponseTemplate::new(status).insert_header("retry-after", "0");
        let server = answering(response.set_body_json(body)).await;
        let error = model(&server, "nano-banana-2").state(&job()).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, MoneyState::Unknown), "{code}");
    }
}

#[tokio::test]
async fn a_failure_of_the_job_may_come_in_the_envelope() {
    for (code, message, class) in [
        (501, "generation failed", FailureClass::Generation),
        (400, "Banned prompt detected", FailureClass::Policy),
    ] {
        let body = json!({"code": code, "msg": message, "data": null});
        let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
        let error = model(&server, "midjourney-7-fast").state(&job()).await.unwrap_err();
        assert_eq!((error.class, error.money), (class, MoneyState::NotCharged), "{code}");
    }
}

#[tokio::test]
async fn the_patience_with_an_empty_success_starts_at_its_first_sight() {
    let body = json!({"code": 200, "data": {"state": "success", "resultJson": ""}});
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let account = account(&server);
    let model = image_model("nano-banana-2", &account).unwrap();
    assert!(matches!(model.state(&job()).await, Ok(JobState::Running { .. })));
    let long_ago = Instant::now().checked_sub(Duration::from_mins(2)).unwrap();
    account.empty_since.lock().unwrap().insert(job().request_id, long_ago);
    assert_eq!(model.state(&job()).await.unwrap_err().class, FailureClass::Generation);
    assert_eq!(account.empty_for(&job().request_id, false), Duration::ZERO);
    assert!(account.empty_since.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_poll_survives_a_hiccup() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(502).insert_header("retry-after", "0"))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    let body = json!({"code": 200, "data": {"state": "queuing"}});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    let state = model(&server, "nano-banana-2").state(&job()).await.unwrap();
    assert!(matches!(state, JobState::Queued { .. }));
}

#[tokio::test]
async fn credits_are_money_and_links_are_renewed() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/gateway/api/v1/chat/credit"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"code": 200, "data": 123.5})))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/gateway/api/v1/common/download-url"))
        .and(body_json(json!({"url": "https://t.example/a.jpg"})))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"code": 200, "data": "https://t.example/a.jpg?sig=1"})),
        )
        .mount(&server)
        .await;
    let model = model(&server, "midjourney-7-fast");
    assert_eq!(model.balance().await.unwrap(), Some(dec!(123.5)));
    let probe = model.probe().await.unwrap();
    assert_eq!(probe.note, "123.5 credits left");
    assert_eq!(probe.balance, Some(Usd::new(dec!(0.6175))));
    let fresh = model.fresh_url("https://t.example/a.jpg").await.unwrap();
    assert_eq!(fresh, "https://t.example/a.jpg?sig=1");
}

#[tokio::test]
async fn free_questions_cost_nothing_when_they_fail() {
    let body = json!({"code": 401, "msg": "You do not have access permissions, hidden-key"});
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let model = model(&server, "nano-banana-2");
    for error in [model.probe().await.unwrap_err(), model.fresh_url("x").await.unwrap_err()] {
        assert_eq!((error.class, error.money), (FailureClass::Credentials, MoneyState::NotCharged));
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
