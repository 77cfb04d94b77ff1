//! fal's three shapes of error, and what they mean for the money.
//!
//! - The gateway: `{"detail": "text", "error_type": "…"}`.
//! - The models: `{"detail": [{"loc", "msg", "type"}]}`, usually with status 422.
//! - The platform: `{"error": {"type", "message", "request_id"}}`.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::providers::http::{Caller, Reply, Stakes};
use crate::providers::{FailureClass, MoneyState, ProviderError};

/// What fal itself said about a failure.
#[derive(Debug)]
pub(super) struct Words {
    /// fal's type of the error, where it gives one.
    pub(super) kind: Option<String>,
    /// Its explanation.
    pub(super) message: String,
}

impl Words {
    /// Words about the request or the job as a whole.
    pub(super) fn new(kind: Option<String>, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The words of a reply; `None` where the body is not fal's.
    pub(super) fn of(reply: &Reply) -> Option<Self> {
        let words = Self::of_body(&reply.json()?)?;
        let kind = words.kind.or_else(|| reply.header("x-fal-error-type").map(str::to_owned));
        Some(Self { kind, ..words })
    }

    /// The words of a body.
    pub(super) fn of_body(body: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(message) = body["error"]["message"].as_str() {
            return Some(Self::new(text(&body["error"]["type"]), message));
        }
        let outer = text(&body["error_type"]);
        match &body["detail"] {
            Value::String(message) => Some(Self::new(outer, message)),
            Value::Array(details) => {
                let kind = details.iter().find_map(|detail| text(&detail["type"]));
                let sentences: Vec<String> = details.iter().map(sentence).collect();
                Some(Self::new(kind.or(outer), sentences.join("; ")))
            }
            // A string beside no detail is how some runners report.
            _ => Some(Self::new(outer, body["error"].as_str()?)),
        }
    }

    /// The words in the status of a job that has ended, if it ended badly.
    pub(super) fn reported(error: Option<&Value>, kind: Option<String>) -> Option<Self> {
        let message = match error {
            Some(Value::String(message)) if !message.is_empty() => message.clone(),
            None | Some(Value::Null | Value::String(_)) => {
                format!("the job ended with {}", kind.as_deref()?)
            }
            Some(other) => other.to_string(),
        };
        Some(Self::new(kind, message))
    }
}

/// `{"loc": ["body", "duration"], "msg": "…"}` as `duration: …`.
fn sentence(detail: &Value) -> String {
    let place = detail["loc"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|part| *part != "body")
        .collect::<Vec<_>>()
        .join(".");
    let words = detail["msg"].as_str().unwrap_or("no reason given");
    if place.is_empty() { words.to_owned() } else { format!("{place}: {words}") }
}

/// A submit that was not accepted.
///
/// What fal refuses itself, it does not charge, and what ends in a 5xx it never bills. Sent again by
/// itself is only what never reached the queue for certain: 429, and 503 from fal or from the ingress
/// before it (whose replies carry no `x-fal-request-id`). A page from any other gateway may
/// hide that the request was passed on.
pub(super) fn refused_submit(caller: &Caller, reply: &Reply) -> ProviderError {
    let status = reply.status.as_u16();
    let Some(words) = Words::of(reply) else {
        let ingress = status == 503 && reply.header("x-fal-request-id").is_none();
        return caller.gateway_failure(Stakes::Paid, reply, ingress);
    };
    let class = match status {
        503 | 408 => FailureClass::Unavailable,
        500.. => FailureClass::Generation,
        _ => class_of(status, &words),
    };
    let money = if status == 408 { MoneyState::Unknown } else { MoneyState::NotCharged };
    described(caller, reply, class, money, words)
}

/// A failed question: about a job (which it says nothing about), or of no consequence.
pub(super) fn failed_question(caller: &Caller, stakes: Stakes, reply: &Reply) -> ProviderError {
    match Words::of(reply) {
        None => caller.gateway_failure(stakes, reply, false),
        Some(words) => {
            let class = class_of(reply.status.as_u16(), &words);
            described(caller, reply, class, stakes.when_refused(), words)
        }
    }
}

/// The verdict on a job: what `response_url` answers after the job has ended. Its class is
/// never transient, because the job will not come back.
pub(super) fn failed_job(
    caller: &Caller,
    reply: &Reply,
    words: Words,
    units: Option<Decimal>,
) -> ProviderError {
    let status = reply.status.as_u16();
    let class = class_of_job(status, &words);
    // The billable units decide where fal tells them. Otherwise a job that ended in an error is not
    // booked, and one that ended well and yielded nothing is. A bill that says otherwise shows in
    // the reconciliation.
    let is_free = units.map_or(status >= 400, |units| units.is_zero());
    let money = if is_free { MoneyState::NotCharged } else { MoneyState::Charged };
    described(caller, reply, class, money, words)
}

/// The class of a verdict: never transient, because the job will not come back, and never of the key
/// or the account, because those were good enough for the job to be taken.
pub(super) fn class_of_job(status: u16, words: &Words) -> FailureClass {
    match class_of(status, words) {
        FailureClass::Credentials | FailureClass::Funds => FailureClass::Generation,
        class if class.is_transient() => FailureClass::Generation,
        FailureClass::NotOffered => FailureClass::Input,
        class => class,
    }
}

fn described(
    caller: &Caller,
    reply: &Reply,
    class: FailureClass,
    money: MoneyState,
    words: Words,
) -> ProviderError {
    ProviderError {
        code: words.kind,
        request_id: reply.header("x-fal-request-id").map(str::to_owned),
        ..caller.failure_of(reply, class, money, &words.message)
    }
}

fn class_of(status: u16, words: &Words) -> FailureClass {
    match words.kind.as_deref() {
        Some("content_policy_violation") => return FailureClass::Policy,
        Some(
            "no_media_generated"
            | "internal_server_error"
            | "client_cancelled"
            | "generation_timeout"
            | "downstream_service_error"
            | "downstream_service_unavailable",
        ) => return FailureClass::Generation,
        _ => {}
    }
    match status {
        402 => FailureClass::Funds,
        // An account whose balance ran out is locked, which fal answers like a missing right.
        403 if is_about_money(&words.message) => FailureClass::Funds,
        401 | 403 => FailureClass::Credentials,
        404 => FailureClass::NotOffered,
        408 | 500.. => FailureClass::Unavailable,
        429 => FailureClass::RateLimited,
        _ => FailureClass::Input,
    }
}

fn is_about_money(message: &str) -> bool {
    let message = message.to_lowercase();
    ["balance", "locked", "billing", "credit", "payment", "top up"]
        .iter()
        .any(|word| message.contains(word))
}
