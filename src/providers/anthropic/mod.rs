//! Claude over the Messages API, version 2026-10-21.

mod request;
mod schema;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::HeaderName;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

pub use schema::{SchemaError, strict_schema, tool_schema};

use super::http::{BaseUrl, Caller, HttpClient, Reply, Stakes, retrying};
use super::{
    CachePlan, FailureClass, LanguageModel, LanguageReply, LanguageRequest, Message, Probe,
    Provider, ProviderError, StopReason, UserBlock,
};
use crate::ledger::Reservation;
use crate::ledger::money::TokenCounts;
use request::Body;

/// The version of the interface that this file speaks.
const VERSION: &str = "2026-10-21";
/// The most output tokens that may be asked without streaming: the vendor's SDK refuses more
/// (3600 s × tokens / 128000 must stay within 600 s).
const MOST_OUTPUT_TOKENS: u32 = 21_333;
/// The longest turn, as in the vendor's SDK.
const TURN_TIMEOUT: Duration = Duration::from_mins(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// The wait when a rate limit names none: the vendor's ramp limits want to be retried slowly.
const WAIT_WITHOUT_A_HINT: Duration = Duration::from_secs(15);

/// The ids that the vendor's SDK names (`Model` in version 1.12.0 of 2026-11-20). Any other is sent as
/// it is; it needs a price of the user's own.
pub static LANGUAGE_MODELS: [&str; 21] = [
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-mythos-5-1",
    "claude-sonnet-5",
    "claude-fable-5",
    "claude-mythos-5",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
];

/// Claude. The model is named in each request.
#[derive(Debug, Clone)]
pub struct AnthropicModel {
    client: HttpClient,
    base: BaseUrl,
    caller: Caller,
}

impl AnthropicModel {
    /// Claude under `base` (`https://api.anthropic.com`).
    pub fn new(client: HttpClient, base: BaseUrl, key: SecretString) -> Self {
        let caller = Caller::new(Provider::Anthropic, Some(key));
        Self { client, base, caller }
    }

    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("anthropic-version", VERSION);
        self.caller.with_key(request, HeaderName::from_static("x-api-key"), "")
    }

    /// What the vendor would refuse for certain is not sent.
    fn check(&self, request: &LanguageRequest) -> Result<(), ProviderError> {
        if request.max_output_tokens == 0 || request.max_output_tokens > MOST_OUTPUT_TOKENS {
            return Err(self.caller.not_sent(&format!(
                "max_output_tokens is {}; 1 to {MOST_OUTPUT_TOKENS} can be asked in one turn",
                request.max_output_tokens
            )));
        }
        match request.messages.last() {
            Some(Message::User(blocks)) if !blocks.is_empty() => Ok(()),
            _ => Err(self.caller.not_sent(
                "a conversation must end in what the user says: prefilled answers are refused",
            )),
        }
    }

    fn failure(&self, stakes: Stakes, reply: &Reply) -> ProviderError {
        #[derive(Deserialize)]
        struct Wrapped {
            error: Words,
            request_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct Words {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            message: String,
            details: Option<Value>,
        }

        let Ok(Wrapped { error, request_id }) = serde_json::from_slice(&reply.body) else {
            let mut failure = self.caller.gateway_failure(stakes, reply, false);
            failure.request_id = request_id_of(reply);
            return failure;
        };
        let detail = error
            .details
            .as_ref()
            .and_then(|details| details.get("error_code")?.as_str())
            .map(str::to_owned);
        // The vendor's advice is not to match on the words.
        let spend_limit = matches!(
            detail.as_deref(),
            Some("enforced_spend_limit_reached" | "contract_spend_limit_reached")
        );
        let retry_is_pointless = reply.header("x-should-retry") == Some("false");
        let status = reply.status.as_u16();
        let class = match status {
            _ if spend_limit || error.kind == "billing_error" => FailureClass::Funds,
            401 | 403 => FailureClass::Credentials,
            402 => FailureClass::Funds,
            404 => FailureClass::NotOffered,
            // A monthly cap of the account's tier is a 429 too, and says so in this header only.
            429 if retry_is_pointless => FailureClass::Funds,
            429 => FailureClass::RateLimited,
            408 | 409 | 500.. => FailureClass::Unavailable,
            _ => FailureClass::Input,
        };
        // A turn that ran into the vendor's own time limit was worked on.
        let money = if status == 504 { stakes.when_lost() } else { stakes.when_refused() };
        let mut failure = self.caller.failure_of(reply, class, money, &error.message);
        if class == FailureClass::RateLimited {
            failure.retry_after = failure.retry_after.or(Some(WAIT_WITHOUT_A_HINT));
        }
        failure.code = Some(detail.unwrap_or(error.kind));
        failure.request_id = request_id_of(reply).or(request_id);
        failure
    }
}

#[async_trait]
impl LanguageModel for AnthropicModel {
    fn provider(&self) -> Provider {
        Provider::Anthropic
    }

    async fn respond(
        &self,
        reservation: Reservation,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, ProviderError> {
        self.check(request)?;
        let body = Body::new(request, reservation.cache());
        let post = self.client.shared().post(self.base.join("/v1/messages"));
        let post = self.with_headers(post).timeout(TURN_TIMEOUT).json(&body);
        let reply = self.caller.send(Stakes::Paid, post).await?;
        if !reply.status.is_success() {
            return Err(self.failure(Stakes::Paid, &reply));
        }
        parse(&reply).ok_or_else(|| {
            let mut failure =
                self.caller.malformed(Stakes::Paid, &reply, "a message and its usage");
            failure.request_id = request_id_of(&reply);
            failure
        })
    }

    /// Counted from the bytes of the body, whose keys and escapes are on top of the text. Letters and
    /// spaces make at most one token for two bytes; digits, punctuation and what is outside ASCII
    /// are counted as one token each byte. On top comes what the vendor adds for tools. The bytes of
    /// a picture do not count, its pixels do.
    fn most_input_tokens(&self, request: &LanguageRequest) -> u64 {
        /// The vendor's own words about tool use, generously.
        const ADDED_BY_THE_VENDOR: u64 = 1_000;
        let (request, pictures) = without_pictures(request);
        let body = Body::new(&request, &CachePlan::default());
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let halves: u64 = bytes
            .iter()
            .map(|byte| if byte.is_ascii_alphabetic() || *byte == b' ' { 1 } else { 2 })
            .sum();
        halves.div_ceil(2) + ADDED_BY_THE_VENDOR + pictures
    }

    fn cache_settings(&self, request: &LanguageRequest) -> Value {
        request::settings(&request.model)
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        let reply = retrying(|| async {
            let get = self.client.shared().get(self.base.join("/v1/models")).timeout(PROBE_TIMEOUT);
            let reply = self.caller.send(Stakes::Free, self.with_headers(get)).await?;
            if reply.status.is_success() {
                Ok(reply)
            } else {
                Err(self.failure(Stakes::Free, &reply))
            }
        })
        .await?;
        let models = reply.json().and_then(|page| Some(page.get("data")?.as_array()?.len()));
        match models {
            Some(_) => Ok(Probe { note: "the key is accepted".to_owned(), balance: None }),
            None => Err(self.caller.malformed(Stakes::Free, &reply, "a list of models")),
        }
    }
}

/// The request without the bytes of its pictures, and the most tokens that those can be. The vendor
/// has counted about one token for 750 pixels; no newer figure is known, so this takes one for
/// each square of 16 by 16, which is three times as many.
fn without_pictures(request: &LanguageRequest) -> (LanguageRequest, u64) {
    let mut request = request.clone();
    let mut tokens = 0;
    for message in &mut request.messages {
        let Message::User(blocks) = message else { continue };
        for block in blocks {
            if let UserBlock::Image { data, width, height, .. } = block {
                data.clear();
                tokens += u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
            }
        }
    }
    (request, tokens)
}

/// The reply, if it has what the books and the conversation cannot do without: content blocks
/// and the two token counts. All else may be missing, new or null.
fn parse(reply: &Reply) -> Option<LanguageReply> {
    #[derive(Deserialize)]
    struct Turn {
        id: Option<String>,
        model: Option<String>,
        content: Vec<Value>,
        stop_reason: Option<String>,
        stop_details: Option<Value>,
        usage: Usage,
    }

    let turn: Turn = serde_json::from_slice(&reply.body).ok()?;
    Some(LanguageReply {
        content: turn.content,
        stop: stop_reason(turn.stop_reason, turn.stop_details.as_ref()),
        tokens: turn.usage.into(),
        model: turn.model.unwrap_or_default(),
        request_id: request_id_of(reply).or(turn.id),
    })
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

#[derive(Deserialize, Default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

impl From<Usage> for TokenCounts {
    /// `input_tokens` is what was neither read from the cache nor written to it. Writes that are
    /// not told apart by lifetime are counted as the five-minute ones, the vendor's default.
    fn from(usage: Usage) -> Self {
        let split = usage.cache_creation.unwrap_or_default();
        let cache_write_1h = split.ephemeral_1h_input_tokens.unwrap_or(0);
        let cache_write_5m = split.ephemeral_5m_input_tokens.unwrap_or(0);
        let written = usage.cache_creation_input_tokens.unwrap_or(0);
        Self {
            uncached_input: usage.input_tokens,
            cache_write_5m: cache_write_5m.max(written.saturating_sub(cache_write_1h)),
            cache_write_1h,
            cache_read: usage.cache_read_input_tokens.unwrap_or(0),
            output: usage.output_tokens,
        }
    }
}

fn stop_reason(reason: Option<String>, details: Option<&Value>) -> StopReason {
    let detail = |name: &str| Some(details?.get(name)?.as_str()?.to_owned());
    match reason.as_deref() {
        Some("end_turn") => StopReason::EndTurn,
        Some("tool_use") => StopReason::ToolUse,
        Some("max_tokens") => StopReason::MaxTokens,
        Some("stop_sequence") => StopReason::StopSequence,
        Some("pause_turn") => StopReason::PauseTurn,
        Some("refusal") => {
            StopReason::Refusal { category: detail("category"), explanation: detail("explanation") }
        }
        Some("model_context_window_exceeded") => StopReason::ContextWindowExceeded,
        _ => StopReason::Other(reason.unwrap_or_else(|| "none".to_owned())),
    }
}

fn request_id_of(reply: &Reply) -> Option<String> {
    reply.header("request-id").map(str::to_owned)
}
