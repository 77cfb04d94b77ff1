//! KIE.AI: Midjourney, the unified jobs, credits, download links and uploads. Every error comes
//! with HTTP 200 and the real status inside the envelope.

mod models;
mod uploads;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use self::models::Accepted;
use super::bench::{Bench, Service};
use super::bill::Item;
use super::faults::Fault;
use super::media::{self, Colour, Palette};
use super::wire::{Answer, Call, StandIn};

/// New generation requests that one account may make in [`WINDOW`]. Both are kept on our clocks
/// at every speed: a client that keeps them in life keeps them here.
const MOST_REQUESTS: usize = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// How long a job waits before it is worked on, in life.
const QUEUED: Duration = Duration::from_secs(4);
/// From submit to result of a Midjourney job, in life.
pub const MIDJOURNEY_TIME: Duration = Duration::from_secs(40);
/// From submit to result of a unified job, in life.
pub const UNIFIED_TIME: Duration = Duration::from_secs(22);
/// How long a signed download link lives.
const LINK_LIFE: Duration = Duration::from_mins(20);
/// The long side of every picture, in pixels.
const LONG_SIDE: u32 = 960;
const USD_PER_CREDIT: Decimal = dec!(0.005);

/// Where a job ends.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Success { empty_polls: u32, forbidden: bool, damaged: bool },
    Failure { code: u16, message: String },
    Never,
}

#[derive(Debug, Clone)]
struct Task {
    id: String,
    is_midjourney: bool,
    parameters: String,
    accepted: Accepted,
    colour: Colour,
    fate: Fate,
    created: Duration,
    created_at: Timestamp,
    finishes: Duration,
}

#[derive(Debug, Default)]
struct State {
    tasks: HashMap<String, Task>,
    requests: VecDeque<Instant>,
    credits: Decimal,
    /// Signed download links: token, and when it dies.
    links: HashMap<String, Duration>,
    /// Files that were uploaded, by their path.
    uploads: HashMap<String, (String, Bytes)>,
}

/// A job that was accepted, for assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The task's id.
    pub task_id: String,
    /// The model, as the bill names it.
    pub model: String,
    /// What the picture shows.
    pub prompt: String,
    /// Its shape, such as `9:16`.
    pub aspect: String,
    /// The colour in which it is drawn.
    pub colour: Colour,
    /// The paths of the uploads that it is to look like.
    pub references: Vec<String>,
}

/// A picture that was uploaded, for assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its folder and name.
    pub path: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The stand-in.
#[derive(Debug)]
pub struct Kie {
    bench: Arc<Bench>,
    key: String,
    origin: String,
    palette: Palette,
    state: Mutex<State>,
}

impl Kie {
    /// A service at `origin` that knows one key, with 10,000 credits on the account.
    pub fn new(bench: Arc<Bench>, key: &str, origin: &str) -> Self {
        let state = State { credits: dec!(10_000), ..State::default() };
        Self {
            bench,
            key: key.to_owned(),
            origin: origin.to_owned(),
            palette: Palette::default(),
            state: Mutex::new(state),
        }
    }

    /// Sets the account's balance, in credits.
    pub fn set_credits(&self, credits: Decimal) {
        self.state.lock().unwrap().credits = credits;
    }

    /// The colour in which a prompt is drawn.
    pub fn colour_of(&self, prompt: &str) -> Colour {
        self.palette.colour_of(prompt)
    }

    /// Every picture that was ordered, in the order of arrival.
    pub fn orders(&self) -> Vec<Ordered> {
        let state = self.state.lock().unwrap();
        let mut tasks: Vec<&Task> = state.tasks.values().collect();
        tasks.sort_by_key(|task| task.created);
        let order = |task: &Task| Ordered {
            task_id: task.id.clone(),
            model: task.accepted.model.clone(),
            prompt: task.accepted.prompt.clone(),
            aspect: task.accepted.aspect.clone(),
            colour: task.colour,
            references: task
                .accepted
                .references
                .iter()
                .map(|url| url.rsplit_once("/uploaded/").unwrap().1.to_owned())
                .collect(),
        };
        tasks.into_iter().map(order).collect()
    }

    /// Every picture that was uploaded and is there still, by path.
    pub fn uploads(&self) -> Vec<Uploaded> {
        let state = self.state.lock().unwrap();
        let mut uploads: Vec<_> = state
            .uploads
            .iter()
            .map(|(path, (_, bytes))| Uploaded { path: path.clone(), bytes: bytes.clone() })
            .collect();
        uploads.sort_by(|left, right| left.path.cmp(&right.path));
        uploads
    }

    /// Deletes all uploads, as KIE does after three days.
    pub fn delete_uploads(&self) {
        self.state.lock().unwrap().uploads.clear();
    }

    /// What is wrong with the pictures that a job is to look like: each must be an upload of this
    /// account, a PNG or JPEG of at most 10 MB.
    fn bad_reference(&self, accepted: &Accepted) -> Option<String> {
        let state = self.state.lock().unwrap();
        accepted.references.iter().find_map(|url| {
            let prefix = format!("{}/uploaded/", self.origin);
            let kept = url.strip_prefix(&prefix).and_then(|path| state.uploads.get(path));
            let Some((_, bytes)) = kept else { return Some(format!("{url} cannot be fetched")) };
            let format = image::guess_format(bytes).ok();
            let is_taken =
                matches!(format, Some(image::ImageFormat::Png | image::ImageFormat::Jpeg))
                    && bytes.len() <= 10_000_000
                    && media::look(bytes).is_ok();
            (!is_taken).then(|| format!("{url} is no whole PNG or JPEG of at most 10 MB"))
        })
    }

    /// Accepts a job or refuses it, always in an envelope.
    fn submit(&self, call: &Call, is_midjourney: bool, fault: Option<&Fault>) -> Answer {
        let body = match call.json() {
            Ok(body) => body,
            Err(problem) => return self.invalid(call, 400, &problem),
        };
        let checked =
            if is_midjourney { models::midjourney(&body) } else { models::unified(&body) };
        let accepted = match checked {
            Ok(accepted) => accepted,
            Err(problem) => return self.invalid(call, 422, &problem),
        };
        if let Some(problem) = self.bad_reference(&accepted) {
            return self.invalid(call, 422, &problem);
        }
        let colour = self.palette.colour_of(&accepted.prompt);
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        while state.requests.front().is_some_and(|then| now.duration_since(*then) >= WINDOW) {
            state.requests.pop_front();
        }
        if state.requests.len() >= MOST_REQUESTS {
            drop(state);
            return self.invalid(
                call,
                429,
                "Your call frequency is too high. Please try again later.",
            );
        }
        state.requests.push_back(now);
        let price = Decimal::from(accepted.credits);
        if self.balance(&state) < price {
            return envelope(402, "Credits insufficient", &Value::Null);
        }
        let fate = match fault {
            Some(Fault::FailJob { message }) => {
                Fate::Failure { code: 501, message: message.clone() }
            }
            Some(Fault::Moderate) => Fate::Failure {
                code: 400,
                message: "Your prompt was flagged by Website as violating content policies."
                    .to_owned(),
            },
            Some(Fault::NeverFinish) => Fate::Never,
            other => Fate::Success {
                empty_polls: match other {
                    Some(Fault::EmptySuccess { polls }) => *polls,
                    _ => 0,
                },
                forbidden: other == Some(&Fault::ForbidDownload),
                damaged: other == Some(&Fault::DamageResult),
            },
        };
        let prefix = if is_midjourney { "mj_task_" } else { "task_" };
        let id = format!("{prefix}{}", uuid::Uuid::now_v7().simple());
        if !matches!(fate, Fate::Failure { .. }) {
            self.bench.bill.charge(Item {
                service: Service::Kie,
                what: accepted.model.clone(),
                request_id: id.clone(),
                quantity: format!("{} credits", accepted.credits),
                usd: price * USD_PER_CREDIT,
            });
        }
        let created = self.bench.pace.life();
        let time = if is_midjourney { MIDJOURNEY_TIME } else { UNIFIED_TIME };
        let task = Task {
            id: id.clone(),
            is_midjourney,
            parameters: body.to_string(),
            accepted,
            colour,
            fate,
            created,
            created_at: Timestamp::now(),
            finishes: created + time,
        };
        state.tasks.insert(id.clone(), task);
        envelope(200, "success", &json!({"taskId": id}))
    }

    /// Credits left: those of running jobs are taken, those of failed ones are given back.
    fn balance(&self, state: &State) -> Decimal {
        let now = self.bench.pace.life();
        let spent: Decimal = state
            .tasks
            .values()
            .filter(|task| !(matches!(task.fate, Fate::Failure { .. }) && task.finishes <= now))
            .map(|task| Decimal::from(task.accepted.credits))
            .sum();
        state.credits - spent
    }

    fn urls(&self, task: &Task) -> Vec<String> {
        let extension = extension(task);
        (1..=task.accepted.pictures)
            .map(|number| format!("{}/files/{}/{number}.{extension}", self.origin, task.id))
            .collect()
    }

    /// How a job is reported: the task as it stands now, whether it is done, and the results
    /// that are shown (a lying success shows none).
    fn look_up(
        &self,
        call: &Call,
        is_midjourney: bool,
    ) -> Result<(Task, Option<Vec<String>>), Answer> {
        let Some(id) = call.parameter("taskId") else {
            return Err(self.invalid(call, 422, "taskId is required"));
        };
        let mut state = self.state.lock().unwrap();
        let now = self.bench.pace.life();
        let Some(task) = state.tasks.get_mut(id).filter(|task| task.is_midjourney == is_midjourney)
        else {
            return Err(envelope(422, "recordInfo is null", &Value::Null));
        };
        if task.fate == Fate::Never || now < task.finishes {
            return Ok((task.clone(), None));
        }
        let seen = task.clone();
        let urls = match &mut task.fate {
            Fate::Success { empty_polls: 0, .. } => self.urls(&seen),
            Fate::Success { empty_polls, .. } => {
                *empty_polls = empty_polls.saturating_sub(u32::from(*empty_polls != u32::MAX));
                Vec::new()
            }
            Fate::Failure { .. } | Fate::Never => Vec::new(),
        };
        Ok((seen, Some(urls)))
    }

    fn midjourney_record(&self, call: &Call) -> Answer {
        let (task, urls) = match self.look_up(call, true) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let (flag, code, message) = match (&urls, &task.fate) {
            (None, _) => (0, Value::Null, Value::Null),
            (Some(_), Fate::Failure { code, message }) => (3, json!(code), json!(message)),
            (Some(_), _) => (1, Value::Null, Value::Null),
        };
        let results: Vec<Value> =
            urls.iter().flatten().map(|url| json!({"resultUrl": url})).collect();
        let information = if flag == 1 { json!({"resultUrls": results}) } else { Value::Null };
        let completed = urls.map(|_| Timestamp::now().to_string());
        envelope(
            200,
            "success",
            &json!({"taskId": task.id, "taskType": "mj_txt2img", "paramJson": task.parameters,
                "createTime": task.created_at.to_string(), "completeTime": completed,
                "successFlag": flag, "resultInfoJson": information,
                "errorCode": code, "errorMessage": message}),
        )
    }

    fn unified_record(&self, call: &Call) -> Answer {
        let (task, urls) = match self.look_up(call, false) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let now = self.bench.pace.life();
        let (state, fail_code, fail_message) = match (&urls, &task.fate) {
            (None, _) if now < task.created + QUEUED / 2 => {
                ("waiting", String::new(), String::new())
            }
            (None, _) if now < task.created + QUEUED => ("queuing", String::new(), String::new()),
            (None, _) => ("generating", String::new(), String::new()),
            (Some(_), Fate::Failure { code, message }) => {
                ("fail", code.to_string(), message.clone())
            }
            (Some(_), _) => ("success", String::new(), String::new()),
        };
        let result = if state == "success" {
            json!(json!({"resultUrls": urls}).to_string())
        } else {
            json!("")
        };
        let milliseconds = task.created_at.as_millisecond();
        envelope(
            200,
            "success",
            &json!({"taskId": task.id, "model": task.accepted.model, "state": state,
                "param": task.parameters, "resultJson": result,
                "failCode": fail_code, "failMsg": fail_message,
                "costTime": if urls.is_some() { json!(22_000) } else { Value::Null },
                "completeTime": if urls.is_some() { json!(milliseconds + 22_000) } else { Value::Null },
                "createTime": milliseconds, "updateTime": milliseconds,
                "creditsConsumed": if state == "success" { json!(task.accepted.credits) } else { Value::Null }}),
        )
    }

    fn download_link(&self, call: &Call) -> Answer {
        let url = call.json().ok().and_then(|body| body["url"].as_str().map(str::to_owned));
        let Some(url) = url.filter(|url| url.starts_with(&format!("{}/files/", self.origin)))
        else {
            return self.invalid(call, 422, "the url was not generated by KIE");
        };
        let token = uuid::Uuid::now_v7().simple().to_string();
        let dies = self.bench.pace.life() + LINK_LIFE;
        self.state.lock().unwrap().links.insert(token.clone(), dies);
        envelope(200, "success", &json!(format!("{url}?token={token}")))
    }

    fn file(&self, call: &Call, path: &str) -> Answer {
        if call.header("authorization").is_some() {
            self.bench.violation(call, "the key was sent to the host of the files");
        }
        let missing = || Answer::json(404, &json!({"error": "no such file"}));
        let Some((id, name)) = path.split_once('/') else { return missing() };
        let state = self.state.lock().unwrap();
        let now = self.bench.pace.life();
        let Some(task) = state.tasks.get(id).filter(|task| now >= task.finishes) else {
            return missing();
        };
        let Fate::Success { forbidden, damaged, .. } = task.fate else { return missing() };
        let is_signed = call
            .parameter("token")
            .is_some_and(|token| state.links.get(token).is_some_and(|dies| now < *dies));
        if forbidden && !is_signed {
            return Answer::json(403, &json!({"error": "Forbidden"}));
        }
        let number = name.split('.').next().and_then(|number| number.parse::<u32>().ok());
        let Some(number) = number.filter(|number| (1..=task.accepted.pictures).contains(number))
        else {
            return missing();
        };
        let task = task.clone();
        drop(state);
        let size = media::pixels(&task.accepted.aspect, LONG_SIDE).unwrap();
        let mut bytes = media::picture(size, task.colour, number, task.accepted.format);
        if damaged {
            bytes.truncate(bytes.len() / 2);
        }
        Answer::file(task.accepted.format.to_mime_type(), bytes)
    }

    /// An error that the caller could have known of.
    fn invalid(&self, call: &Call, code: u16, problem: &str) -> Answer {
        self.bench.violation(call, problem);
        envelope(code, problem, &Value::Null)
    }
}

#[async_trait]
impl StandIn for Kie {
    async fn answer(&self, call: &Call, fault: Option<&Fault>) -> Answer {
        if let Some(path) = call.path.strip_prefix("/files/") {
            return self.file(call, path);
        }
        if let Some(path) = call.path.strip_prefix("/uploaded/") {
            return self.uploaded(path);
        }
        if call.header("user-agent").is_none_or(str::is_empty) {
            self.bench.violation(call, "no User-Agent: Cloudflare answers 1010");
            return Answer::json(403, &json!({"error": "error code: 1010"}));
        }
        match call.header("authorization").map(|value| value.strip_prefix("Bearer ")) {
            None | Some(None) => {
                self.bench.violation(call, "no 'Authorization: Bearer' header");
                return envelope(401, "You do not have access permissions", &Value::Null);
            }
            Some(Some(key)) if key != self.key => {
                return envelope(401, "You do not have access permissions", &Value::Null);
            }
            Some(Some(_)) => {}
        }
        self.bench.pace.pass(Duration::from_millis(200)).await;
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/api/v1/mj/generate") => self.submit(call, true, fault),
            ("GET", "/api/v1/mj/record-info") => self.midjourney_record(call),
            ("POST", "/api/v1/jobs/createTask") => self.submit(call, false, fault),
            ("GET", "/api/v1/jobs/recordInfo") => self.unified_record(call),
            ("GET", "/api/v1/chat/credit") => {
                let balance = self.balance(&self.state.lock().unwrap());
                let number: Value = serde_json::from_str(&balance.to_string()).unwrap();
                envelope(200, "success", &number)
            }
            ("POST", "/api/v1/common/download-url") => self.download_link(call),
            ("POST", "/upload/api/file-base64-upload") => self.upload_base64(call),
            ("POST", "/upload/api/file-stream-upload") => self.upload_stream(call),
            _ => {
                self.bench.violation(call, "there is no such endpoint");
                envelope(404, "not found", &Value::Null)
            }
        }
    }
}

fn envelope(code: u16, message: &str, data: &Value) -> Answer {
    Answer::json(200, &json!({"code": code, "msg": message, "data": data}))
}

fn extension(task: &Task) -> &'static str {
    if task.accepted.format == image::ImageFormat::Png { "png" } else { "jpg" }
}
