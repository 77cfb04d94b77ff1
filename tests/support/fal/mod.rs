//! fal.ai: the queue, the storage, the files and the platform API, each under a path of its own.
//! The URLs that the queue hands out lie under yet another one, so that a caller who builds
//! them himself does not get through.

mod endpoints;
mod platform;
mod storage;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use self::endpoints::{Endpoint, Order};
use self::storage::Stored;
use super::bench::{Bench, Service};
use super::bill::Item;
use super::faults::Fault;
use super::media::{Clip, Colour};
use super::wire::{Answer, Call, StandIn};

/// The least time in life that a job waits, and how long it is worked on.
const QUEUED: Duration = Duration::from_secs(2);
const WORK: Duration = Duration::from_mins(1);
/// From submit to result of a job that need not wait for others, in life.
pub const CLIP_TIME: Duration = QUEUED.saturating_add(WORK);
/// Jobs that run at once; the rest wait. A new account has 2, an old one up to 40.
const CONCURRENCY: usize = 10;

/// How a job ends.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Success,
    Failure { status: u16, body: Value },
    Never,
}

#[derive(Debug, Clone)]
struct Job {
    id: String,
    endpoint: Endpoint,
    input: Value,
    order: Order,
    clip: Clip,
    outcome: Outcome,
    is_damaged: bool,
    is_billed: bool,
    /// Whether a failure tells what it was billed.
    tells_units: bool,
    sent_at: Timestamp,
    starts: Duration,
    ends: Duration,
    is_cancelled: bool,
}

#[derive(Debug)]
struct State {
    jobs: BTreeMap<String, Job>,
    files: HashMap<String, Stored>,
    /// For every place in the running jobs, when it becomes free.
    places: Vec<Duration>,
    funds: Decimal,
    /// Whether the key may read the bill, which only administrators' may.
    is_administrator: bool,
    /// What is taken off every price, in percent.
    discount: Decimal,
    /// Listed prices that differ from the published ones, by endpoint.
    listed: HashMap<String, Decimal>,
}

/// A clip that was ordered, for assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The request's id.
    pub request_id: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// How the picture moves.
    pub prompt: String,
    /// The keyframe's URL.
    pub image_url: String,
    /// Seconds bought.
    pub seconds: u32,
    /// Whether it has sound.
    pub audio: bool,
    /// The colour of the keyframe and of the clip.
    pub colour: Colour,
}

/// The stand-in.
#[derive(Debug)]
pub struct Fal {
    bench: Arc<Bench>,
    key: String,
    origin: String,
    state: Mutex<State>,
}

impl Fal {
    /// A service at `origin` that knows one key, with 1,000 USD on the account.
    pub fn new(bench: Arc<Bench>, key: &str, origin: &str) -> Self {
        let state = State {
            jobs: BTreeMap::new(),
            files: HashMap::new(),
            places: vec![Duration::ZERO; CONCURRENCY],
            funds: dec!(1_000),
            is_administrator: true,
            discount: dec!(0),
            listed: HashMap::new(),
        };
        Self { bench, key: key.to_owned(), origin: origin.to_owned(), state: Mutex::new(state) }
    }

    /// Sets how many jobs run at once.
    pub fn set_concurrency(&self, jobs: usize) {
        self.state.lock().unwrap().places = vec![Duration::ZERO; jobs];
    }

    /// Whether the key has administrator rights, without which the bill cannot be read.
    pub fn set_administrator(&self, is_administrator: bool) {
        self.state.lock().unwrap().is_administrator = is_administrator;
    }

    /// Takes some percent off what the bill says from now on.
    pub fn set_discount(&self, percent: Decimal) {
        self.state.lock().unwrap().discount = percent;
    }

    /// Lists another base price for an endpoint, USD a second.
    pub fn list_price(&self, endpoint: &str, unit_price: Decimal) {
        self.state.lock().unwrap().listed.insert(endpoint.to_owned(), unit_price);
    }

    /// Sets the account's balance before anything was bought, in USD.
    pub fn set_funds(&self, usd: Decimal) {
        self.state.lock().unwrap().funds = usd;
    }

    /// Every clip that was ordered, in the order of arrival.
    pub fn orders(&self) -> Vec<Ordered> {
        let state = self.state.lock().unwrap();
        let order = |job: &Job| Ordered {
            request_id: job.id.clone(),
            endpoint: job.endpoint.id.to_owned(),
            prompt: job.order.prompt.clone(),
            image_url: job.order.image_url.clone(),
            seconds: job.order.seconds,
            audio: job.order.audio,
            colour: job.clip.colour,
        };
        state.jobs.values().map(order).collect()
    }

    /// `POST /queue/{endpoint}`
    fn submit(&self, call: &Call, id: &str, fault: Option<&Fault>) -> Answer {
        let Some(endpoint) = Endpoint::find(id) else {
            return self.refuse(call, 404, &format!("Application '{id}' not found"));
        };
        let body = match call.json() {
            Ok(body) => body,
            Err(problem) => return self.refuse(call, 400, &problem),
        };
        let order = match endpoint.read(&body) {
            Ok(order) => order,
            Err(problems) => return self.unprocessable(call, &problems),
        };
        let keyframe = match self.look_at(&order.image_url) {
            Ok(look) => look,
            Err((message, kind)) => {
                let problem = json!({"loc": ["body", "image_url"], "msg": message, "type": kind});
                return self.unprocessable(call, &[problem]);
            }
        };
        let outcome = match fault {
            Some(Fault::FailJob { message }) => Outcome::Failure {
                status: 500,
                body: json!({"detail": message, "error_type": "runner_server_error"}),
            },
            Some(Fault::Moderate) => Outcome::Failure {
                status: 422,
                body: json!({"detail": [{"loc": ["body", "prompt"], "type": "content_policy_violation",
                    "msg": "The content could not be processed because it was flagged by a content checker."}]}),
            },
            Some(Fault::BillFailure { .. }) => Outcome::Failure {
                status: 422,
                body: json!({"detail": [{"loc": ["body"], "type": "no_media_generated",
                    "msg": "The model worked on the request and produced no media."}]}),
            },
            Some(Fault::EndJob { status, body }) => {
                Outcome::Failure { status: *status, body: body.clone() }
            }
            Some(Fault::NeverFinish) => Outcome::Never,
            _ => Outcome::Success,
        };
        let is_billed = !matches!(outcome, Outcome::Failure { .. })
            || matches!(fault, Some(Fault::BillFailure { .. }));
        let id = uuid::Uuid::now_v7().to_string();
        let mut state = self.state.lock().unwrap();
        if self.bench.bill.total_of(Service::Fal) + order.usd > state.funds {
            let body = json!({"detail": "User is locked. Reason: Exhausted balance. Top up your balance."});
            return Answer::json(403, &body);
        }
        if is_billed {
            self.bench.bill.charge(Item {
                service: Service::Fal,
                what: endpoint.id.to_owned(),
                request_id: id.clone(),
                quantity: format!(
                    "{} s{}",
                    order.seconds,
                    if order.audio { " with sound" } else { "" }
                ),
                usd: order.usd,
            });
        }
        let now = self.bench.pace.life();
        let place = state.places.iter_mut().min().unwrap();
        let starts = (now + QUEUED).max(*place);
        let ends = starts + WORK;
        *place = ends;
        let clip = Clip::of(keyframe, order.seconds, order.audio);
        if outcome == Outcome::Success {
            // It is made while the job is worked on, and lies ready when it is fetched.
            tokio::task::spawn_blocking(move || clip.make());
        }
        let job = Job {
            id: id.clone(),
            endpoint,
            input: body,
            order,
            clip,
            outcome,
            is_damaged: fault == Some(&Fault::DamageResult),
            is_billed,
            tells_units: fault == Some(&Fault::BillFailure { tells_units: true }),
            sent_at: Timestamp::now(),
            starts,
            ends,
            is_cancelled: false,
        };
        let mut answer = self.urls(&job);
        answer["status"] = json!("IN_QUEUE");
        answer["gateway_request_id"] = json!(id);
        answer["queue_position"] = json!(0);
        state.jobs.insert(id.clone(), job);
        Answer::json(200, &answer).with("x-fal-request-id", id)
    }

    /// The part of every answer about a job that names it.
    fn urls(&self, job: &Job) -> Value {
        let application: Vec<&str> = job.endpoint.id.split('/').take(2).collect();
        let base =
            format!("{}/queue-eu/{}/requests/{}", self.origin, application.join("/"), job.id);
        json!({"request_id": job.id, "response_url": base, "status_url": format!("{base}/status"),
            "cancel_url": format!("{base}/cancel")})
    }

    /// Everything below `/queue-eu`: `{owner}/{app}/requests/{id}[/status|/cancel]`.
    fn about(&self, call: &Call, path: &str) -> Answer {
        let mut parts = path.split("/requests/");
        let (application, rest) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
        let now = self.bench.pace.life();
        let mut state = self.state.lock().unwrap();
        let Some(job) =
            state.jobs.get_mut(id).filter(|job| job.endpoint.id.starts_with(application))
        else {
            drop(state);
            return self.refuse(call, 404, "Request not found");
        };
        let is_complete = job.is_cancelled || (job.ends <= now && job.outcome != Outcome::Never);
        match (call.method.as_str(), action) {
            ("GET", "status") => {
                let mut answer = self.urls(job);
                if is_complete {
                    answer["status"] = json!("COMPLETED");
                    answer["logs"] = Value::Null;
                    answer["metrics"] = json!({"inference_time": 60.5});
                    if let Outcome::Failure { body, .. } = &job.outcome
                        && let Some(detail) = body["detail"].as_str()
                    {
                        answer["error"] = json!(detail);
                        answer["error_type"] = body["error_type"].clone();
                    }
                    return Answer::json(200, &answer).with("x-fal-request-id", id);
                }
                if job.starts <= now {
                    answer["status"] = json!("IN_PROGRESS");
                    answer["logs"] = Value::Null;
                } else {
                    answer["status"] = json!("IN_QUEUE");
                    answer["queue_position"] = json!(1);
                }
                Answer::json(202, &answer).with("x-fal-request-id", id)
            }
            ("GET", "") if !is_complete => {
                let body =
                    json!({"detail": "Request is still in progress", "status": "IN_PROGRESS"});
                Answer::json(400, &body).with("x-fal-request-id", id)
            }
            ("GET", "") => match &job.outcome {
                _ if job.is_cancelled => Answer::json(
                    499,
                    &json!({"detail": "The request was cancelled", "error_type": "client_cancelled"}),
                ),
                Outcome::Failure { status, body } => {
                    let kind = body["error_type"].as_str().unwrap_or("model_error");
                    let answer = Answer::json(*status, body)
                        .with("x-fal-request-id", id)
                        .with("x-fal-error-type", kind);
                    if job.tells_units {
                        let units = job.endpoint.units(&job.order).to_string();
                        return answer.with("x-fal-billable-units", units);
                    }
                    answer
                }
                Outcome::Success | Outcome::Never => Answer::json(200, &self.output(job))
                    .with("x-fal-request-id", id)
                    .with("x-fal-billable-units", job.endpoint.units(&job.order).to_string()),
            },
            ("PUT", "cancel") if is_complete => {
                Answer::json(400, &json!({"status": "ALREADY_COMPLETED"}))
            }
            ("PUT", "cancel") => {
                // Only what has not begun is taken back.
                if now < job.starts {
                    job.is_cancelled = true;
                    self.bench.bill.void(id);
                }
                Answer::json(202, &json!({"status": "CANCELLATION_REQUESTED"}))
            }
            _ => {
                drop(state);
                self.refuse(call, 404, "Not Found")
            }
        }
    }

    /// The output of a job that went well.
    fn output(&self, job: &Job) -> Value {
        json!({"video": {"url": format!("{}/cdn/clips/{}/output.mp4", self.origin, job.id),
            "content_type": "video/mp4", "file_name": "output.mp4"}})
    }

    async fn clip(&self, path: &str) -> Answer {
        let id = path.split('/').next().unwrap_or_default();
        let now = self.bench.pace.life();
        let job = {
            let state = self.state.lock().unwrap();
            state
                .jobs
                .get(id)
                .filter(|job| job.ends <= now && job.outcome == Outcome::Success)
                .cloned()
        };
        let Some(job) = job else {
            return Answer::json(404, &json!({"detail": "Not Found"}));
        };
        let mut bytes = tokio::task::spawn_blocking(move || job.clip.make()).await.unwrap();
        if job.is_damaged {
            bytes.truncate(bytes.len() / 2);
        }
        Answer::file("video/mp4", bytes)
    }

    /// An error of the gateway's shape, for a request that should not have been made.
    fn refuse(&self, call: &Call, status: u16, problem: &str) -> Answer {
        self.bench.violation(call, problem);
        Answer::json(status, &json!({"detail": problem, "error_type": "bad_request"}))
            .with("x-fal-error-type", "bad_request")
    }

    /// An error of the model's shape.
    fn unprocessable(&self, call: &Call, problems: &[Value]) -> Answer {
        for problem in problems {
            self.bench.violation(call, format!("{}: {}", problem["loc"], problem["msg"]));
        }
        Answer::json(422, &json!({"detail": problems})).with("x-fal-request-id", "refused")
    }
}

#[async_trait]
impl StandIn for Fal {
    async fn answer(&self, call: &Call, fault: Option<&Fault>) -> Answer {
        let path = call.path.as_str();
        if let Some(file) = path.strip_prefix("/cdn/") {
            if call.header("authorization").is_some() {
                self.bench.violation(call, "the key was sent to the host of the files");
            }
            return match file.split_once('/') {
                Some(("clips", clip)) => self.clip(clip).await,
                Some(("files", file)) => self.uploaded(file),
                _ => Answer::json(404, &json!({"detail": "Not Found"})),
            };
        }
        if let Some(id) = path.strip_prefix("/put/")
            && call.method == "PUT"
        {
            return self.put(call, id);
        }
        match call.header("authorization").map(|value| value.strip_prefix("Key ")) {
            None | Some(None) => {
                self.bench.violation(call, "no 'Authorization: Key' header");
                return Answer::json(401, &json!({"detail": "Authentication is required"}));
            }
            Some(Some(key)) if key != self.key => {
                return Answer::json(
                    401,
                    &json!({"detail": "Invalid key", "error_type": "auth_error"}),
                );
            }
            Some(Some(_)) => {}
        }
        self.bench.pace.pass(Duration::from_millis(150)).await;
        if let Some(path) = path.strip_prefix("/api/v1") {
            self.platform(call, path)
        } else if let Some(path) = path.strip_prefix("/queue-eu/") {
            self.about(call, path)
        } else if path == "/storage-host/storage/upload/initiate" && call.method == "POST" {
            self.initiate(call)
        } else if let Some(id) = path.strip_prefix("/queue/")
            && call.method == "POST"
        {
            self.submit(call, id, fault)
        } else {
            self.refuse(call, 404, "there is no such endpoint")
        }
    }
}
