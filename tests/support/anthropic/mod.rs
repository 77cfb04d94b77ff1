//! Claude: `/v1/messages`, `/v1/messages/count_tokens` and `/v1/models`.

pub mod brain;
pub mod cache;
pub mod check;
pub mod models;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::brain::Move;
use self::cache::{Asked, Counts, PromptCache};
use self::check::Said;
use self::models::{MODELS, Model};
use super::bench::{Bench, Service};
use super::bill::Item;
use super::faults::Fault;
use super::schema;
use super::wire::{Answer, Call, StandIn};

pub use self::brain::Role;

/// The version of the API that is spoken here.
const VERSION: &str = "2026-10-21";
/// How long the model reads before it begins to answer, in life; and how fast it writes.
const READING: Duration = Duration::from_millis(900);
const TOKENS_PER_SECOND: u64 = 80;
/// What the model thinks before each turn, in tokens.
const THINKING: u64 = 60;

#[derive(Debug, Default)]
struct State {
    cache: PromptCache,
    said: Vec<Said>,
}

/// The stand-in.
#[derive(Debug)]
pub struct Anthropic {
    bench: Arc<Bench>,
    key: String,
    state: Mutex<State>,
    is_wordy: AtomicBool,
}

/// The role that a call to `/v1/messages` is for; nothing for other calls.
pub fn role_of(call: &Call) -> Option<Role> {
    let body: Value = serde_json::from_slice(&call.body).ok()?;
    (call.path == "/v1/messages").then(|| brain::role_of(&body))
}

impl Anthropic {
    /// A service that knows one key.
    pub fn new(bench: Arc<Bench>, key: &str) -> Self {
        Self {
            bench,
            key: key.to_owned(),
            state: Mutex::default(),
            is_wordy: AtomicBool::new(false),
        }
    }

    /// From now on scripts and storyboards are as long as good ones are; else they are short.
    pub fn write_at_length(&self) {
        self.is_wordy.store(true, Ordering::SeqCst);
    }

    /// Checks the headers; an error is the answer.
    fn admit(&self, call: &Call) -> Result<(), Answer> {
        let forms = [
            call.header("x-api-key"),
            call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")),
        ];
        let given: Vec<&str> = forms.into_iter().flatten().collect();
        let &[key] = given.as_slice() else {
            self.bench.violation(call, "exactly one of x-api-key and Authorization is wanted");
            return Err(error(401, "authentication_error", "exactly one key is wanted"));
        };
        if key != self.key {
            return Err(error(401, "authentication_error", "invalid x-api-key"));
        }
        match call.header("anthropic-version") {
            Some(VERSION) => Ok(()),
            other => {
                Err(self.invalid(call, &format!("anthropic-version: {other:?} is not {VERSION}")))
            }
        }
    }

    fn invalid(&self, call: &Call, problem: &str) -> Answer {
        self.bench.violation(call, problem);
        let is_unknown_model = problem.starts_with("model: ") && !problem.ends_with("required");
        if is_unknown_model {
            return error(404, "not_found_error", problem);
        }
        error(400, "invalid_request_error", problem)
    }

    async fn message(&self, call: &Call, fault: Option<&Fault>) -> Answer {
        let checked = call.json().and_then(|body| {
            let state = self.state.lock().unwrap();
            let model = check::request(&body, &state.said)?;
            let blocks = cache::render(&body)?;
            Ok((body, model, blocks))
        });
        let (body, model, blocks) = match checked {
            Ok(checked) => checked,
            Err(problem) => return self.invalid(call, &problem),
        };
        let turn = self.turn(call, &body, fault);
        let request_id = format!("req_{}", uuid::Uuid::now_v7().simple());
        let input = {
            let mut state = self.state.lock().unwrap();
            // The cache forgets by our clocks: how long a caller takes between two turns does not
            // depend on how fast the services live.
            let now = self.bench.now();
            let asked = Asked {
                workspace: &self.key,
                least_tokens: model.least_cached_tokens,
                now,
                readable: now + self.bench.pace.real(READING),
            };
            let input = state.cache.count(&blocks, asked);
            state.said.push(Said {
                model: model.id.to_owned(),
                opening: check::without_breakpoints(&body["messages"][0]),
                content: turn.content.clone(),
                is_pause: turn.stop == "pause_turn",
            });
            input
        };
        self.charge(model, input, turn.tokens, &request_id);
        let writing = Duration::from_millis(turn.tokens * 1_000 / TOKENS_PER_SECOND);
        self.bench.pace.pass(READING + writing).await;
        let mut reply = reply(&body, &turn, input);
        if blocks.iter().all(|block| block.breakpoint.is_none()) {
            // The vendor documents these as numbers or null.
            for name in ["cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"]
            {
                reply["usage"][name] = Value::Null;
            }
        }
        let answer = if body["stream"] == json!(true) {
            stream::answer(&reply)
        } else {
            Answer::json(200, &reply)
        };
        answer
            .with("request-id", request_id)
            .with("anthropic-ratelimit-requests-limit", "4000")
            .with("anthropic-ratelimit-requests-remaining", "3999")
    }

    /// What the model does, and how it ends.
    fn turn(&self, call: &Call, body: &Value, fault: Option<&Fault>) -> Turn {
        let most = body["max_tokens"].as_u64().unwrap();
        let thinks =
            body["thinking"]["type"] != "between_tools" && body["thinking"]["type"] != "disabled";
        let mut content = Vec::new();
        if thinks {
            content.push(thought());
        }
        match fault {
            Some(Fault::Refusal) => {
                return Turn { content: Vec::new(), stop: "refusal", tokens: 12 };
            }
            Some(Fault::CutOff) => {
                content
                    .push(json!({"type": "text", "text": "Let me begin with", "citations": null}));
                return Turn { content, stop: "max_tokens", tokens: most };
            }
            Some(Fault::PauseTurn) => {
                content.push(json!({"type": "text", "text": "One moment.", "citations": null}));
                return Turn { content, stop: "pause_turn", tokens: THINKING };
            }
            Some(Fault::TextInsteadOfTool) => {
                let text = "I would rather tell you about it in words.";
                content.push(json!({"type": "text", "text": text, "citations": null}));
                return Turn { content, stop: "end_turn", tokens: THINKING };
            }
            _ => {}
        }
        let stop = match brain::next(body) {
            Move::Say(text) => {
                content.push(json!({"type": "text", "text": text, "citations": null}));
                "end_turn"
            }
            Move::Call(wishes) => {
                for mut wish in wishes {
                    if self.is_wordy.load(Ordering::SeqCst) {
                        brain::lengthen(&mut wish.input);
                    }
                    let tools = body["tools"].as_array().unwrap();
                    let tool =
                        tools.iter().find(|tool| tool["name"] == wish.tool.as_str()).unwrap();
                    if let Some(misfit) = schema::misfit(&wish.input, &tool["input_schema"]) {
                        self.bench.violation(
                            call,
                            format!("the schema of {} cannot be met: {misfit}", wish.tool),
                        );
                    }
                    if fault == Some(&Fault::BreakSchema) {
                        wish.input = broken(&wish.input);
                    }
                    content.push(json!({"type": "tool_use",
                        "id": format!("toolu_{}", uuid::Uuid::now_v7().simple()),
                        "name": wish.tool, "input": wish.input, "caller": {"type": "direct"}}));
                }
                "tool_use"
            }
        };
        let tokens =
            THINKING + cache::tokens(content.iter().map(|block| block.to_string().len()).sum());
        if tokens > most {
            content.retain(|block| block["type"] == "thinking");
            return Turn { content, stop: "max_tokens", tokens: most };
        }
        Turn { content, stop, tokens }
    }

    fn charge(&self, model: Model, input: Counts, output: u64, request_id: &str) {
        self.bench.bill.charge(Item {
            service: Service::Anthropic,
            what: model.id.to_owned(),
            request_id: request_id.to_owned(),
            quantity: format!(
                "in {} w5 {} w60 {} r {} out {output}",
                input.uncached, input.written_for_5_minutes, input.written_for_1_hour, input.read
            ),
            usd: model.price(input, output),
        });
    }

    fn count(&self, call: &Call) -> Answer {
        let counted = call.json().and_then(|mut body| {
            body["max_tokens"] = json!(1);
            check::request(&body, &self.state.lock().unwrap().said)?;
            cache::render(&body)
        });
        match counted {
            Ok(blocks) => {
                let bytes = blocks.iter().map(|block| block.bytes.len()).sum();
                Answer::json(200, &json!({"input_tokens": cache::tokens(bytes)}))
            }
            Err(problem) => self.invalid(call, &problem),
        }
    }
}

/// What the model said.
struct Turn {
    content: Vec<Value>,
    stop: &'static str,
    tokens: u64,
}

/// A thought as the newest models show it: empty, with a signature that must come back.
fn thought() -> Value {
    use base64::Engine as _;
    let nonce = Sha256::digest(uuid::Uuid::now_v7().as_bytes());
    let signature = base64::prelude::BASE64_STANDARD.encode([nonce, nonce, nonce].concat());
    json!({"type": "thinking", "thinking": "", "signature": signature})
}

/// An input that no longer fits its schema: its first member is gone, a stranger is there.
fn broken(input: &Value) -> Value {
    let mut members = input.as_object().cloned().unwrap_or_default();
    if let Some(first) = members.keys().next().cloned() {
        members.shift_remove(&first);
    }
    members.insert("unexpected".to_owned(), json!({"nested": [1, 2, 3]}));
    Value::Object(members)
}

fn reply(body: &Value, turn: &Turn, input: Counts) -> Value {
    let details = if turn.stop == "refusal" {
        json!({"type": "refusal", "category": "general_harms", "explanation": "This cannot be filmed."})
    } else {
        Value::Null
    };
    json!({"id": format!("msg_{}", uuid::Uuid::now_v7().simple()), "type": "message", "role": "assistant",
        "model": body["model"], "content": turn.content, "stop_reason": turn.stop,
        "stop_sequence": null, "stop_details": details, "container": null,
        "usage": {"input_tokens": input.uncached,
            "cache_creation_input_tokens": input.written_for_5_minutes + input.written_for_1_hour,
            "cache_read_input_tokens": input.read,
            "cache_creation": {"ephemeral_5m_input_tokens": input.written_for_5_minutes,
                "ephemeral_1h_input_tokens": input.written_for_1_hour},
            "output_tokens": turn.tokens, "output_tokens_details": {"thinking_tokens": THINKING.min(turn.tokens)},
            "server_tool_use": null, "service_tier": "standard", "inference_geo": "us",
            "something_newer": {"than": "this client"}}})
}

fn error(status: u16, kind: &str, message: &str) -> Answer {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_refused"});
    Answer::json(status, &body).with("request-id", "req_refused")
}

fn describe(model: &Model) -> Value {
    json!({"type": "model", "id": model.id, "display_name": model.id, "max_input_tokens": 1_000_000,
        "max_tokens": 128_000, "lifecycle": "active", "retires_at": null,
        "capabilities": {"structured_outputs": {"supported": true}, "image_input": {"supported": true},
            "thinking": {"supported": true, "types": {"adaptive": {"supported": true}}}}})
}

#[async_trait]
impl StandIn for Anthropic {
    async fn answer(&self, call: &Call, fault: Option<&Fault>) -> Answer {
        if let Err(refusal) = self.admit(call) {
            return refusal;
        }
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/v1/messages") => self.message(call, fault).await,
            ("POST", "/v1/messages/count_tokens") => self.count(call),
            ("GET", "/v1/models") => {
                let data: Vec<Value> = MODELS.iter().map(describe).collect();
                let body = json!({"data": data, "has_more": false,
                    "first_id": MODELS[0].id, "last_id": MODELS[MODELS.len() - 1].id});
                Answer::json(200, &body).with("request-id", "req_models")
            }
            ("GET", path) => match path.strip_prefix("/v1/models/").and_then(Model::find) {
                Some(model) => Answer::json(200, &describe(&model)),
                None => error(404, "not_found_error", path),
            },
            _ => {
                self.bench.violation(call, "there is no such endpoint");
                error(404, "not_found_error", &call.path)
            }
        }
    }
}
