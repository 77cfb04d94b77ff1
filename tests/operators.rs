//! What operators rely on: named locks, deadlines, and the log in files.

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

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use database::TestDatabase;
use stage::{Stage, has_ffmpeg};
use support::{Service, TestEnvironment, wait_until};

const PATIENCE: Duration = Duration::from_mins(2);

/// A film that takes about half a minute, so that there is time to meet it.
async fn slow_stage() -> Option<Stage> {
    if has_ffmpeg() { Some(Stage::on(10.0, TestDatabase::fresh().await)) } else { None }
}

#[tokio::test]
async fn a_named_lock_lets_one_work_at_a_time() {
    let Some(stage) = slow_stage().await else { return };
    let film = stage.machine.spawn(&["create-video", "food video", "--yes", "--lock", "nightly"]);
    wait_until("the work under the lock", PATIENCE, || {
        !stage.world.requests(Service::Anthropic, "/v1/messages").is_empty()
    });
    let refused = stage.machine.run(&["costs", "--lock", "nightly"]).expect(11);
    assert!(refused.stderr.contains(&format!("process {}", film.id())), "{}", refused.stderr);
    stage.machine.run(&["costs", "--lock", "hourly"]).expect(0);
    stage.machine.run(&["costs", "--lock", "nightly", "--user", "eve"]).expect(0);

    let waits = stage.machine.spawn(&["costs", "--lock", "nightly", "--lock-wait", "2m"]);
    // The system's own way to end a process: the lock's owner is dead and is not waited for.
    film.kill();
    let began = Instant::now();
    waits.wait(PATIENCE).expect(0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    stage.machine.run(&["costs", "--lock", "nightly"]).expect(0);
}

#[tokio::test]
async fn a_lease_is_judged_by_the_server_and_by_who_is_known_to_live() {
    let Some(database) = TestDatabase::native().await else { return };
    let url = database.url().unwrap();
    let machine = TestEnvironment::new().with_database(&url);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let living = aida::process::owner();
    let dead = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        child.wait().unwrap();
        living.replace(&format!("/{}/", std::process::id()), &format!("/{process}/"))
    };
    for (owner, lease, code) in [
        // A process of this machine that was held up for an hour goes on and still holds it.
        (living.as_str(), "-1 hour", 11),
        (living.as_str(), "1 hour", 11),
        (dead.as_str(), "1 hour", 0),
        ("elsewhere:1/1/0", "1 minute", 11),
        ("elsewhere:1/1/0", "-1 second", 0),
    ] {
        sqlx::query("DELETE FROM locks").execute(&mut connection).await.unwrap();
        sqlx::query(
            "INSERT INTO locks (user_id, name, owner, owner_until, taken_at)
             VALUES ('local', 'nightly', $1, clock_timestamp() + $2::text::interval, now())",
        )
        .bind(owner)
        .bind(lease)
        .execute(&mut connection)
        .await
        .unwrap();
        machine.run(&["costs", "--lock", "nightly"]).expect(code);
    }
}

#[test]
fn commands_that_work_without_a_database_take_no_lock() {
    let machine = TestEnvironment::new();
    for words in [["migrate"].as_slice(), &["health"], &["man"], &["config", "show"]] {
        let words: Vec<&str> = words.iter().copied().chain(["--lock", "nightly"]).collect();
        let refused = machine.run(&words).expect(2);
        assert!(refused.stderr.contains("--lock cannot be used with"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_deadline_stops_cleanly_and_the_run_goes_on_later() {
    let Some(stage) = slow_stage().await else { return };
    let late =
        stage.machine.run(&["create-video", "food video", "--yes", "--deadline", "3s"]).expect(12);
    assert!(late.stderr.contains("the deadline passed"), "{}", late.stderr);
    assert!(late.stderr.contains("aida resume"), "{}", late.stderr);
    let film = stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
    stage.assert_bought_once(6);
    stage.assert_shows(&film, &[1, 2, 3, 4, 5, 6]);
    stage.assert_books_match_bill().await;
}

#[test]
fn the_log_is_kept_in_files_of_json_lines() {
    let mut machine = TestEnvironment::new();
    let folder = machine.work().join("logs");
    machine.set("AIDA_LOG_FILE", folder.join("aida.log").to_str().unwrap());
    machine.set("AIDA_LOG_DAYS", "3");
    let film = machine
        .run(&["create-video", "two cooks", "--preview", "--duration", "2", "--scenes", "2"])
        .expect(0);
    assert!(!film.stderr.contains("INFO"), "the log goes to the file alone: {}", film.stderr);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().to_str().unwrap().starts_with("aida.log.20"));
    let text = std::fs::read_to_string(files[0].path()).unwrap();
    assert!(!text.is_empty(), "nothing was logged");
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }

    machine.set("AIDA_LOG_FILE", "/proc/nowhere/aida.log");
    let refused = machine.run(&["costs"]).expect(8);
    assert!(refused.stderr.contains("log_file"), "{}", refused.stderr);
}

/// What a collector is told.
#[cfg(feature = "otel")]
mod telemetry {
    use std::collections::{HashMap, HashSet};

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;

    /// A collector that takes whatever it is sent.
    async fn collector() -> MockServer {
        let collector = MockServer::start().await;
        Mock::given(matchers::method("POST"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&collector)
            .await;
        collector
    }

    /// What was sent to `path`: messages one after the other are one message with all of their parts.
    async fn collected(collector: &MockServer, path: &str) -> Vec<u8> {
        let requests = collector.received_requests().await.unwrap();
        let requests = requests.into_iter().filter(|request| request.url.path() == path);
        requests.flat_map(|request| request.body).collect()
    }

    /// Takes a number of the protocol buffers' kind from the front of `bytes`.
    fn number(bytes: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
            shift += 7;
        }
    }

    /// The parts of a message that are text, bytes or messages, by the numbers of their fields.
    fn parts(mut message: &[u8]) -> Vec<(u64, &[u8])> {
        let mut parts = Vec::new();
        while !message.is_empty() {
            let key = number(&mut message);
            let length = match key & 7 {
                0 => {
                    number(&mut message);
                    continue;
                }
                1 => 8,
                2 => usize::try_from(number(&mut message)).unwrap(),
                5 => 4,
                kind => panic!("wire type {kind}"),
            };
            let (part, rest) = message.split_at(length);
            message = rest;
            parts.push((key >> 3, part));
        }
        parts
    }

    fn those(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
        parts(message).into_iter().filter(move |(number, _)| *number == field).map(|(_, part)| part)
    }

    /// A span as `opentelemetry/proto/trace/v1/trace.proto` has it.
    #[derive(Debug)]
    struct Sent {
        trace: Vec<u8>,
        parent: Vec<u8>,
        name: String,
    }

    /// The spans of an `ExportTraceServiceRequest`, by their ids.
    fn spans(request: &[u8]) -> HashMap<Vec<u8>, Sent> {
        let of_resources = those(request, 1);
        let of_scopes = of_resources.flat_map(|resource| those(resource, 2));
        let spans = of_scopes.flat_map(|scope| those(scope, 2));
        spans
            .map(|span| {
                let field = |number| those(span, number).next().unwrap_or_default().to_vec();
                let name = String::from_utf8(field(5)).unwrap();
                (field(2), Sent { trace: field(1), parent: field(4), name })
            })
            .collect()
    }

    /// Asserts that every run is one trace with all of its steps and calls, and answers how many there are.
    fn assert_traces(spans: &HashMap<Vec<u8>, Sent>, shots: u32) -> usize {
        let roots: HashMap<_, _> = spans
            .iter()
            .filter(|(_, span)| span.name == "run")
            .map(|(id, s)| (&s.trace, id))
            .collect();
        for span in spans.values() {
            let root = roots.get(&span.trace).unwrap_or_else(|| panic!("no run has {span:?}"));
            if span.name == "run" {
                assert!(span.parent.is_empty(), "{span:?}");
            } else {
                assert!(spans.contains_key(&span.parent), "its parent is not sent: {span:?}");
            }
            // A step is the run's own; what it asks the provider is below it.
            if span.name.contains(" of shot ") {
                assert_eq!(&&span.parent, root, "{span:?}");
            }
            if matches!(span.name.as_str(), "GET" | "POST" | "PUT") {
                assert_ne!(&&span.parent, root, "an exchange outside of any step: {span:?}");
            }
        }
        for trace in roots.keys() {
            let steps: HashSet<_> = spans
                .values()
                .filter(|span| span.trace == **trace && span.name.contains(" of shot "))
                .map(|span| span.name.as_str())
                .collect();
            assert_eq!(steps.len(), 2 * usize::try_from(shots).unwrap(), "{steps:?}");
        }
        roots.len()
    }

    /// Runs the real program beside the collector.
    async fn run(machine: TestEnvironment, words: &'static [&'static str]) -> TestEnvironment {
        let running = tokio::task::spawn_blocking(move || {
            machine.run(words).expect(0);
            machine
        });
        running.await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_sees_one_trace_of_a_run_and_none_of_its_prompts() {
        let Some(mut stage) = Stage::build().await else { return };
        let collector = collector().await;
        stage.machine.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.uri());
        run(stage.machine, &["create-video", "a very particular brief", "--yes"]).await;

        // Protocol buffers keep strings as they are.
        let has =
            |sent: &[u8], text: &str| sent.windows(text.len()).any(|at| at == text.as_bytes());
        let traces = collected(&collector, "/v1/traces").await;
        assert_eq!(assert_traces(&spans(&traces), 6), 1);
        for name in [
            "chat claude-sonnet-5-5",
            "gen_ai.provider.name",
            "gen_ai.usage.cache_read.input_tokens",
            "http.response.status_code",
            "aida.cost.usd",
            "service.name",
        ] {
            assert!(has(&traces, name), "no {name} in the traces");
        }
        let metrics = collected(&collector, "/v1/metrics").await;
        for name in ["gen_ai.client.token.usage", "aida.cost.settled_usd"] {
            assert!(has(&metrics, name), "no {name} in the metrics");
        }
        for sent in [&traces, &metrics] {
            assert!(!has(sent, "a very particular brief"), "the brief was sent");
            assert!(!has(sent, "Shot 1 of"), "a prompt was sent");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn films_that_are_made_side_by_side_are_a_trace_each() {
        let Some(mut stage) = Stage::build().await else { return };
        let collector = collector().await;
        stage.machine.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.uri());
        stage
            .machine
            .write("briefs.csv", "brief,duration,scenes\ntea,10,2\nbread,10,2\ncake,10,2\n");
        run(stage.machine, &["batch", "briefs.csv", "--yes"]).await;
        let traces = collected(&collector, "/v1/traces").await;
        assert_eq!(assert_traces(&spans(&traces), 2), 3);
    }
}
