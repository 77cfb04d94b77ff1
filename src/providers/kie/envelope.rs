//! KIE's envelope: `{"code", "msg", "data"}` in an HTTP 200, where the real status is `code`.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::providers::http::{Caller, Reply, Stakes};
use crate::providers::{FailureClass, MoneyState, ProviderError};

/// Which of KIE's two interfaces is spoken to: the same code means different things in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// `/api/v1/mj/*`, which KIE may have withdrawn without saying so.
    Midjourney,
    /// `/api/v1/jobs/*`.
    Jobs,
    /// Credits, links, and questions about jobs.
    Common,
}

/// An opened envelope.
#[derive(Debug)]
struct Envelope {
    code: u16,
    message: String,
    data: Value,
}

impl Envelope {
    fn open(reply: &Reply) -> Option<Self> {
        let Value::Object(mut body) = reply.json()? else { return None };
        let code = match body.get("code")? {
            Value::String(text) => text.trim().parse().ok()?,
            number => u16::try_from(number.as_u64()?).ok()?,
        };
        let message =
            ["msg", "message"].iter().find_map(|name| Some(body.get(*name)?.as_str()?.to_owned()));
        let data = body.remove("data").unwrap_or(Value::Null);
        Some(Self { code, message: message.unwrap_or_default(), data })
    }
}

/// The data of a successful reply, else what went wrong.
pub(super) fn open(
    caller: &Caller,
    interface: Interface,
    stakes: Stakes,
    reply: &Reply,
) -> Result<Value, ProviderError> {
    let Some(envelope) = Envelope::open(reply) else {
        return Err(if reply.status.is_success() {
            caller.malformed(stakes, reply, "KIE's envelope")
        } else {
            // Cloudflare stands before KIE and answers pages of its own.
            caller.gateway_failure(stakes, reply, false)
        });
    };
    match envelope.code {
        200 if reply.status.is_success() => Ok(envelope.data),
        200 => Err(caller.gateway_failure(stakes, reply, false)),
        code => {
            let (class, charged) = meaning(interface, code, &envelope.message);
            let money = match stakes {
                Stakes::Paid => charged,
                Stakes::Poll | Stakes::Free => stakes.when_refused(),
            };
            let said =
                if envelope.message.is_empty() { "no reason given" } else { &envelope.message };
            let message = if class == FailureClass::NotOffered && interface == Interface::Midjourney
            {
                format!(
                    "Midjourney is not offered through KIE at present (code {code}: {said}); \
                     another image model, such as nano-banana-2, can be chosen"
                )
            } else {
                format!("code {code}: {said}")
            };
            Err(ProviderError {
                status: Some(code),
                code: Some(code.to_string()),
                ..caller.failure_of(reply, class, money, &message)
            })
        }
    }
}

/// What a code means when a job is created.
///
/// Only what is surely refused before any work may be sent again by itself: there is no way to
/// list tasks by their input, so a task that was made after all could not be found. Hence 500 is
/// a failure that costs nothing ("failed tasks are not charged") but not one to be repeated
/// without being told to, and 408, said after ten minutes without a word from the maker of the
/// picture, leaves the money unknown.
fn meaning(interface: Interface, code: u16, message: &str) -> (FailureClass, MoneyState) {
    use FailureClass::{
        Credentials, Funds, Generation, Input, NotOffered, Policy, RateLimited, Unavailable,
    };
    let midjourney = interface == Interface::Midjourney;
    let class = match code {
        401 | 403 => Credentials,
        402 | 433 => Funds,
        429 => RateLimited,
        404 | 505 => NotOffered,
        _ if is_about_policy(message) => Policy,
        // A feature that was withdrawn answers with any of these.
        422 | 455 if midjourney || (code == 422 && is_about_the_model(message)) => NotOffered,
        408 | 455 => Unavailable,
        400..=499 => Input,
        // A server that stumbles over a question has not failed at a job.
        _ if interface == Interface::Common && code != 501 => Unavailable,
        _ => Generation,
    };
    let money = if code == 408 { MoneyState::Unknown } else { MoneyState::NotCharged };
    (class, money)
}

/// Why a job failed, from its own fields. Never a transient class: the job will not come back.
pub(super) fn failed_job(
    caller: &Caller,
    code: &Value,
    message: &Value,
    credits: Option<Decimal>,
) -> ProviderError {
    let code = text(code);
    let said = text(message).unwrap_or_else(|| "the job failed and KIE gives no reason".to_owned());
    let class = match code.as_deref() {
        _ if is_about_policy(&said) => FailureClass::Policy,
        Some("505") => FailureClass::NotOffered,
        Some("422") => FailureClass::Input,
        _ => FailureClass::Generation,
    };
    // Failed tasks are not charged, says the vendor; where it counts credits all the same, the
    // count is believed.
    let money = match credits {
        Some(credits) if credits > Decimal::ZERO => MoneyState::Charged,
        _ => MoneyState::NotCharged,
    };
    ProviderError {
        status: code.as_deref().and_then(|code| code.parse().ok()),
        code,
        ..caller.failure(class, money, &said)
    }
}

/// KIE has no type for refused content, only words.
fn is_about_policy(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "moderat",
        "policy",
        "policies",
        "prohibited",
        "sensitive content",
        "sensitive word",
        "nsfw",
        "violat",
        "banned",
        "inappropriate",
        "safety",
        "flagged",
        "copyright",
    ]
    .iter()
    .any(|word| message.contains(word))
}

fn is_about_the_model(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("model")
        && [
            "not support",
            "unsupported",
            "not exist",
            "not found",
            "invalid model",
            "unavailable",
            "offline",
        ]
        .iter()
        .any(|word| message.contains(word))
}

/// A field that is sometimes a string, sometimes a number, sometimes null or empty.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An exact number from JSON, whichever way it is written.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    let text = text(value)?;
    Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text)).ok()
}
