//! The HTTP face: what it answers, to whom, and that nothing that is sent to it breaks it.

#![cfg(feature = "serve")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use database::TestDatabase;
use stage::{Stage, has_ffmpeg};
use support::schema::misfit;
use support::{Running, TestEnvironment, wait_until};

const PATIENCE: Duration = Duration::from_mins(2);
const ADA: &str = "ada-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdef";
const ANY: &str = "any-0123456789abcdef";

/// A service under test.
struct Service {
    process: Running,
    base: String,
    client: Client,
}

impl Service {
    /// Starts it on a free port and waits until it answers.
    async fn start(machine: &TestEnvironment, more: &[&str]) -> Self {
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port().to_string()
        };
        let mut arguments = vec!["serve", "--run-budget", "5", "--port", &port];
        arguments.extend(more);
        let process = machine.spawn(&arguments);
        let client = Client::builder().no_proxy().build().unwrap();
        let service = Self { process, base: format!("http://127.0.0.1:{port}"), client };
        let began = Instant::now();
        while service.client.get(service.url("/health")).send().await.is_err() {
            assert!(began.elapsed() < PATIENCE, "the service does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        service
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The head of what is answered to these bytes.
    async fn told(&self, request: &str) -> String {
        let url = reqwest::Url::parse(&self.url("/")).unwrap();
        let address = (url.host_str().unwrap(), url.port().unwrap());
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn get_as(&self, token: &str, path: &str) -> Response {
        self.client.get(self.url(path)).bearer_auth(token).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(self.url(path)).json(body).send().await.unwrap()
    }

    async fn post_as(&self, token: &str, path: &str, body: &Value) -> Response {
        self.client.post(self.url(path)).bearer_auth(token).json(body).send().await.unwrap()
    }

    /// Waits until a run has come to its end.
    async fn ended(&self, status_url: &str, user: &str) -> Value {
        let began = Instant::now();
        loop {
            let run: Value =
                self.get(&format!("{status_url}?userId={user}")).await.json().await.unwrap();
            if !matches!(run["status"].as_str(), Some("queued" | "working")) {
                return run;
            }
            assert!(began.elapsed() < PATIENCE, "the run does not end: {run}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

const CREATE: &str = "/api/orchestrator/create-video";

#[tokio::test]
async fn the_front_end_gets_its_film() {
    let Some(stage) = Stage::build().await else { return };
    let service = Service::start(&stage.machine, &[]).await;
    // As the gateway and the front end ask.
    let asked = service.post(CREATE, &json!({ "userId": "ada", "message": "food video" })).await;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    let location = asked.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = asked.json().await.unwrap();
    assert_eq!(accepted["success"], true);
    assert_eq!(accepted["statusUrl"], location.as_str());
    let run = service.ended(&location, "ada").await;
    assert_eq!(run["status"], "done", "{run}");
    stage.assert_bought_once(6);
    stage.assert_books_match_bill().await;
    let total = stage.world.bill().total().normalize().to_string();
    assert_eq!(run["settledUsd"], total.as_str());

    // The film, whole and in parts.
    let video = format!("{}?userId=ada", run["videoUrl"].as_str().unwrap());
    let whole = service.get(&video).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()["content-type"], "video/mp4");
    let bytes = whole.bytes().await.unwrap();
    let part = service
        .client
        .get(service.url(&video))
        .header("range", "bytes=100-199")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 100-199/{}", bytes.len()).as_str());
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(100..200));
    let beyond = format!("bytes={}-", bytes.len());
    let beyond =
        service.client.get(service.url(&video)).header("range", beyond).send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    // What happened, from the beginning and from the middle.
    let events = format!("{}?userId=ada", run["eventsUrl"].as_str().unwrap());
    let told = service.get(&events).await.text().await.unwrap();
    assert!(told.contains("event: run_started") && told.contains("event: film_ready"), "{told}");
    assert!(told.trim_end().lines().rev().any(|line| line == "event: end"), "{told}");
    let ids: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let half = ids[ids.len() / 2];
    let rest = service
        .client
        .get(service.url(&events))
        .header("last-event-id", half)
        .send()
        .await
        .unwrap();
    let rest = rest.text().await.unwrap();
    let rest: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(rest, ids[ids.len() / 2 + 1..]);

    // Everything else knows of it.
    let project = run["projectId"].as_str().unwrap();
    let said = json!({ "userId": "ada", "rating": 5, "note": "love the warm light" });
    let said = service.post(&format!("/api/projects/{project}/feedback"), &said).await;
    assert_eq!(said.status(), StatusCode::CREATED);
    let costs: Value = service.get("/api/costs?userId=ada&by=provider").await.json().await.unwrap();
    assert_eq!(costs["totals"]["settledUsd"], total.as_str());
    let found: Value = service.get("/api/search?userId=ada&q=food").await.json().await.unwrap();
    assert_eq!(found["hits"][0]["projectId"], project);
    let projects: Value = service.get("/api/projects?userId=ada").await.json().await.unwrap();
    assert_eq!(projects["projects"][0]["rating"], 5);
    let details: Value =
        service.get(&format!("/api/projects/{project}?userId=ada")).await.json().await.unwrap();
    assert_eq!(details["shots"].as_array().unwrap().len(), 6);
    let counts = service.get("/metrics?userId=ada").await.text().await.unwrap();
    assert!(counts.contains("aida_films_ended_total{outcome=\"done\"} 1"), "{counts}");
    stage.world.assert_no_violations();
}

#[tokio::test]
async fn who_waits_gets_the_film_and_who_asks_twice_gets_one() {
    let Some(stage) = Stage::build().await else { return };
    let service = Service::start(&stage.machine, &[]).await;
    let body =
        json!({ "userId": "ada", "message": "food video", "durationSeconds": 10, "scenes": 2 });
    let ask = || {
        let request = service.client.post(service.url(CREATE)).json(&body);
        request.header("idempotency-key", "order 7").header("prefer", "wait=60").send()
    };
    let (one, other) = tokio::join!(ask(), ask());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.status(), StatusCode::OK);
    assert_eq!(one.headers()["preference-applied"], "wait=60");
    let (one, other): (Value, Value) = (one.json().await.unwrap(), other.json().await.unwrap());
    assert_eq!(one["runId"], other["runId"]);
    assert_eq!(one["status"], "done");
    assert_ne!(one["repeated"], other["repeated"]);
    stage.assert_bought_once(2);
    // Somebody else's request of the same name is another.
    let body = json!({ "userId": "bob", "message": "food video", "preview": true, "durationSeconds": 2, "scenes": 1 });
    let request = service.client.post(service.url(CREATE)).json(&body);
    let bobs = request.header("idempotency-key", "order 7").send().await.unwrap();
    let bobs: Value = bobs.json().await.unwrap();
    assert_ne!(bobs["runId"], one["runId"]);
    // A name is the same with white space around it.
    let body = json!({ "userId": " bob ", "message": "food video", "preview": true, "durationSeconds": 2, "scenes": 1 });
    let request = service.client.post(service.url(CREATE)).json(&body);
    let again = request.header("idempotency-key", "order 7").send().await.unwrap();
    let again: Value = again.json().await.unwrap();
    assert_eq!((&again["runId"], &again["repeated"]), (&bobs["runId"], &true.into()));
}

#[tokio::test]
async fn users_see_only_what_is_theirs() {
    let mut machine = TestEnvironment::new();
    machine.set("AIDA_SERVE_TOKENS", &format!("ada:{ADA},bob:{BOB},*:{ANY}"));
    let service = Service::start(&machine, &["--jobs", "0"]).await;
    let body = json!({ "message": "bread", "preview": true, "durationSeconds": 2, "scenes": 1 });
    let asked: Value = service.post_as(ADA, CREATE, &body).await.json().await.unwrap();
    let (run, project) = (asked["runId"].as_str().unwrap(), asked["projectId"].as_str().unwrap());
    let campaign = json!({ "name": "Spring" });
    let campaign = service.post_as(ADA, "/api/campaigns", &campaign).await;
    assert_eq!(campaign.status(), StatusCode::CREATED);
    let campaign: Value = campaign.json().await.unwrap();
    let campaign = campaign["campaign"]["campaignId"].as_str().unwrap();

    for path in [
        format!("/api/runs/{run}"),
        format!("/api/runs/{run}/events"),
        format!("/api/runs/{run}/video"),
        format!("/api/projects/{project}"),
        format!("/api/projects/{project}/video"),
        format!("/api/projects/{project}/feedback"),
        format!("/api/campaigns/{campaign}"),
        format!("/api/search?q=x&campaign={campaign}"),
    ] {
        assert_eq!(service.get(&path).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        let bobs = service.get_as(BOB, &path).await;
        assert_eq!(bobs.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(bobs.headers()["content-type"], "application/problem+json");
    }
    for path in [format!("/api/runs/{run}/cancel"), format!("/api/runs/{run}/resume")] {
        let bobs = service.post_as(BOB, &path, &json!({})).await;
        assert_eq!(bobs.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let rating = json!({ "rating": 1 });
    let bobs = service.post_as(BOB, &format!("/api/projects/{project}/feedback"), &rating).await;
    assert_eq!(bobs.status(), StatusCode::NOT_FOUND);
    let listed: Value = service.get_as(BOB, "/api/runs").await.json().await.unwrap();
    assert_eq!(listed["runs"], json!([]));

    // A token is its user's alone, but for one that may act for anybody.
    let posing = service.get_as(BOB, "/api/runs?userId=ada").await;
    assert_eq!(posing.status(), StatusCode::FORBIDDEN);
    let posing = json!({ "userId": "ada", "message": "bread" });
    assert_eq!(service.post_as(BOB, CREATE, &posing).await.status(), StatusCode::FORBIDDEN);
    let listed: Value = service.get_as(ANY, "/api/runs?userId=ada").await.json().await.unwrap();
    assert_eq!(listed["runs"][0]["runId"], run);
    assert_eq!(
        service.get_as("wrong-0123456789abcdef", "/api/runs").await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(service.get_as(BOB, "/metrics").await.status(), StatusCode::FORBIDDEN);
    // Health tells strangers no more than that.
    let health: Value = service.get("/health").await.json().await.unwrap();
    let names: Vec<_> = health.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["status", "version", "uptime", "timestamp"]);
}

#[tokio::test]
async fn a_full_queue_and_a_hasty_caller_are_answered_429() {
    let mut machine = TestEnvironment::new();
    machine.set("AIDA_SERVE_QUEUE", "2");
    machine.set("AIDA_SERVE_REQUESTS_PER_MINUTE", "30");
    let service = Service::start(&machine, &["--jobs", "0"]).await;
    let body = json!({ "userId": "ada", "message": "bread", "preview": true, "durationSeconds": 2, "scenes": 1 });
    let asked = (0..5).map(|_| service.post(CREATE, &body));
    let answers = futures_util::future::join_all(asked).await;
    let taken = answers.iter().filter(|answer| answer.status() == StatusCode::ACCEPTED).count();
    let refused: Vec<_> =
        answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).collect();
    assert_eq!((taken, refused.len()), (2, 3));
    assert!(refused[0].headers().contains_key("retry-after"));
    let mut hasty = 0;
    for _ in 0..40 {
        hasty += usize::from(
            service.get("/api/runs?userId=ada").await.status() == StatusCode::TOO_MANY_REQUESTS,
        );
    }
    assert!(hasty > 0);
    assert_eq!(service.get("/api/runs?userId=bob").await.status(), StatusCode::OK);
    assert_ne!(service.get("/health").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_run_is_cancelled_resumed_and_left_resumable_by_a_stop() {
    if !has_ffmpeg() {
        return;
    }
    let stage = Stage::on(15.0, TestDatabase::fresh().await);
    let service = Service::start(&stage.machine, &[]).await;
    let body =
        json!({ "userId": "ada", "message": "food video", "durationSeconds": 10, "scenes": 2 });
    let asked: Value = service.post(CREATE, &body).await.json().await.unwrap();
    let status = asked["statusUrl"].as_str().unwrap();
    wait_until("pictures are ordered", PATIENCE, || !stage.world.kie().orders().is_empty());
    let cancel = service.post(&format!("{status}/cancel?userId=ada"), &json!({})).await;
    assert_eq!(cancel.status(), StatusCode::ACCEPTED);
    let run = service.ended(status, "ada").await;
    assert_eq!(
        (&run["status"], &run["stoppedBy"]),
        (&json!("stopped"), &json!("interrupted")),
        "{run}"
    );
    let resume = service.post(&format!("{status}/resume"), &json!({ "userId": "ada" })).await;
    assert_eq!(resume.status(), StatusCode::ACCEPTED);
    wait_until("clips are ordered", PATIENCE, || !stage.world.fal().orders().is_empty());
    // SIGTERM leaves it in the queue, and another process goes on.
    service.process.signal("TERM");
    service.process.wait(PATIENCE).expect(0);
    let service = Service::start(&stage.machine, &[]).await;
    let run = service.ended(status, "ada").await;
    assert_eq!(run["status"], "done", "{run}");
    stage.assert_bought_once(2);
    stage.assert_books_match_bill().await;
}

#[tokio::test]
async fn nothing_is_served_without_a_budget_or_to_strangers() {
    let machine = TestEnvironment::new();
    let refused = machine.run(&["serve"]).expect(8);
    assert!(refused.stderr.contains("--run-budget"), "{}", refused.stderr);
    let refused = machine
        .run(&["serve", "--run-budget", "5", "--listen", "0.0.0.0", "--jobs", "0"])
        .expect(8);
    assert!(refused.stderr.contains("serve.tokens"), "{}", refused.stderr);
    let service = Service::start(&machine, &["--jobs", "0"]).await;
    // Dearer than the service allows, and than the caller does.
    let long = json!({ "userId": "ada", "message": "bread", "durationSeconds": 600, "scenes": 60 });
    assert_eq!(service.post(CREATE, &long).await.status(), StatusCode::PAYMENT_REQUIRED);
    let poor = json!({ "userId": "ada", "message": "bread", "budgetUsd": "0.01" });
    assert_eq!(service.post(CREATE, &poor).await.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(
        service.post(CREATE, &json!({ "message": "bread" })).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let page = service.client.post(service.url(CREATE)).header("origin", "https://evil.example");
    let page =
        page.header("content-type", "text/plain").body("{\"userId\":\"ada\",\"message\":\"x\"}");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert!(!page.headers().contains_key("access-control-allow-origin"));
    // Nor does a name that was bent to this machine's address open it, or a picture's address.
    for (header, value) in [("host", "evil.example:3003"), ("sec-fetch-site", "cross-site")] {
        let bent = service.client.get(service.url("/api/runs?userId=ada")).header(header, value);
        assert_eq!(bent.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{header}");
    }
    let odd = |body: &'static str| {
        let request = service.client.post(service.url(CREATE));
        request.header("content-type", "application/json").body(body).send()
    };
    for (body, status) in [
        (r#"{"userId":"ada","fromProject":"\u0000"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (
            r#"{"userId":"ada","message":"x","campaign":"a\u0000b"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (r#"{"userId":"ada","message":"x\u0000"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"userId":"ada","fromProject":"23456789"}"#, StatusCode::NOT_FOUND),
        (r#"{"userId":"ada","message":"x","campaign":"nobody's"}"#, StatusCode::NOT_FOUND),
        (
            r#"{"userId":"ada","message":"x","file":"/etc/passwd"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            r#"{"userId":"ada","message":"x","durationSeconds":1e308}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        assert_eq!(odd(body).await.unwrap().status(), status, "{body}");
    }
    for query in
        ["since=70000000h", "since=-009000-01-01T00:00:00Z", "until=3000000d", "by=user", "last=0"]
    {
        let costs = service.get(&format!("/api/costs?userId=ada&{query}")).await;
        assert_eq!(costs.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    // Before any of it is sent: whoever still sends when the connection is closed may not hear why.
    let huge = format!(
        "POST {CREATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 300000\r\n\r\n"
    );
    let huge = service.told(&huge).await.to_lowercase();
    assert!(huge.starts_with("http/1.1 413 "), "{huge}");
    assert!(huge.contains("content-type: application/problem+json"), "{huge}");
    let lost = service.client.delete(service.url(CREATE)).send().await.unwrap();
    assert_eq!(lost.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(service.get("/nowhere").await.status(), StatusCode::NOT_FOUND);
}

/// A generator of odd values that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn text(&mut self) -> String {
        let texts = [
            "",
            " ",
            "ada",
            "food video",
            "9:16",
            "5:4",
            "-1",
            "0",
            "1e400",
            "NaN",
            "null",
            "'; DROP TABLE runs; --",
            "\u{0}",
            "\u{feff}",
            "../../etc/passwd",
            "%00",
            "🎬".repeat(50).as_str(),
            "x".repeat(300).as_str(),
            "019aab12-3456-7890-abcd-ef0123456789",
            "auto",
            "kling-2.6-pro",
            "2026-13-45",
            "9999999999",
            "day",
        ]
        .map(str::to_owned);
        let place = self.roll(texts.len());
        texts.into_iter().nth(place).unwrap()
    }

    fn value(&mut self) -> Value {
        match self.roll(9) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(1e300),
            4 => json!(u64::MAX),
            5 => json!([self.text()]),
            6 => json!({ "a": self.text() }),
            _ => json!(self.text()),
        }
    }

    /// A value that fits a schema, more or less.
    fn fitting(&mut self, schema: &Value, root: &Value) -> Value {
        if self.roll(6) == 0 {
            return self.value();
        }
        let schema = match schema["$ref"].as_str() {
            Some(target) => root.pointer(&target[1..]).unwrap(),
            None => schema,
        };
        if let Some(one) = schema["oneOf"].as_array() {
            let one = &one[self.roll(one.len())];
            return self.fitting(one, root);
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            kind => vec![kind.clone()],
        };
        match kinds[0].as_str() {
            Some("object") => {
                let mut object = serde_json::Map::new();
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    if self.roll(3) > 0 {
                        let value = self.fitting(inner, root);
                        object.insert(name.clone(), value);
                    }
                }
                Value::Object(object)
            }
            Some("integer") => json!(self.roll(70)),
            Some("number") => json!(f64::from(u32::try_from(self.roll(7000)).unwrap()) / 10.0),
            Some("boolean") => json!(self.roll(2) == 0),
            _ => json!(self.text()),
        }
    }
}

/// Whether an answer is one that the description has, and fits its schema there.
async fn assert_described(what: &str, operation: &Value, root: &Value, answer: Response) {
    let status = answer.status();
    // Without keys films cannot be made, and /health says so.
    let is_expected = status == StatusCode::SERVICE_UNAVAILABLE && what.contains("get /health ");
    assert!(
        !status.is_server_error() || is_expected,
        "{what}: {status}: {}",
        answer.text().await.unwrap()
    );
    let responses = &operation["responses"];
    let described = [status.as_str().to_owned(), format!("{}XX", &status.as_str()[..1])]
        .into_iter()
        .find_map(|name| responses.get(&name));
    let Some(described) = described else { panic!("{what}: {status} is not described") };
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let kind = kind.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    let Some(content) = described.get("content") else { return };
    let media = content
        .get(&kind)
        .unwrap_or_else(|| panic!("{what}: {status} is {kind}, not as described: {content}"));
    if kind.ends_with("json") {
        let body: Value = answer.json().await.unwrap();
        let mut schema = media["schema"].clone();
        schema["components"] = root["components"].clone();
        assert_eq!(misfit(&body, &schema), None, "{what}: {status}: {body}");
    }
}

#[tokio::test]
async fn whatever_is_sent_every_answer_is_as_described() {
    let machine = {
        let mut machine = TestEnvironment::new();
        machine.set("AIDA_SERVE_REQUESTS_PER_MINUTE", "1000000");
        machine.set("AIDA_SERVE_QUEUE", "100000");
        machine
    };
    let service = Service::start(&machine, &["--jobs", "0"]).await;
    let body = json!({ "userId": "ada", "message": "bread", "preview": true, "durationSeconds": 2, "scenes": 1 });
    let asked: Value = service.post(CREATE, &body).await.json().await.unwrap();
    let known = ["runId", "projectId"].map(|name| asked[name].as_str().unwrap().to_owned());
    let root: Value = service.get("/openapi.json").await.json().await.unwrap();
    assert!(root["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut dice = Dice(7);
    let mut answered = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..25 {
        for (path, operations) in root["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let mut url = path.clone();
                let mut query = Vec::new();
                let mut headers = Vec::new();
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let name = parameter["name"].as_str().unwrap();
                    let value = match (name, dice.roll(4)) {
                        ("run", 1..) => known[0].clone(),
                        ("project", 1..) => known[1].clone(),
                        ("userId", 1..) => "ada".to_owned(),
                        ("Prefer", _) => {
                            ["wait=0", "wait=x", "respond-async"][dice.roll(3)].to_owned()
                        }
                        _ => dice.text(),
                    };
                    match parameter["in"].as_str().unwrap() {
                        "path" => {
                            let encoded: String =
                                url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                            url = url.replace(
                                &format!("{{{name}}}"),
                                if encoded.is_empty() { "-" } else { &encoded },
                            );
                        }
                        "query" if dice.roll(5) > 0 => query.push((name.to_owned(), value)),
                        "header"
                            if dice.roll(2) > 0
                                && value
                                    .bytes()
                                    .all(|byte| byte.is_ascii_graphic() || byte == b' ') =>
                        {
                            headers.push((name.to_owned(), value));
                        }
                        _ => {}
                    }
                }
                if path.ends_with("/events") && !url.contains(&known[0])
                    || path.ends_with("/events")
                {
                    // A run in the queue is followed until it ends: only its head is looked at.
                    headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
                }
                let what = format!("round {round}: {method} {url} {query:?} {headers:?}");
                let verb: Method = method.to_uppercase().parse().unwrap();
                let mut request = service.client.request(verb, service.url(&url)).query(&query);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if let Some(content) = operation["requestBody"]["content"].get("application/json") {
                    request = match dice.roll(8) {
                        0 => {
                            request.header("content-type", "application/json").body("{\"message\":")
                        }
                        1 => request.body("plain"),
                        _ => request.json(&dice.fitting(&content["schema"], &root)),
                    };
                }
                let answer = request.send().await.unwrap();
                *answered.entry(answer.status().as_str().to_owned()).or_default() += 1;
                let what = format!("{what} as {operation}");
                if path.ends_with("/events") && answer.status().is_success() {
                    continue;
                }
                assert_described(&what, operation, &root, answer).await;
            }
        }
    }
    assert!(answered.len() > 4, "the dice are loaded: {answered:?}");
    // Still there.
    let runs = service.get("/api/runs?userId=ada").await;
    assert_eq!(runs.status(), StatusCode::OK);
}
