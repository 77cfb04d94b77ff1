//! The outside world behind four small traits, in aida's own types. This is the only folder
//! that knows a vendor's wire format.
//!
//! A paid method takes a [`Reservation`], which only the till can make: a paid call without
//! one does not compile. Free methods (polling, uploads, probes) take none. No method
//! retries a paid call by itself; the errors say whether that would be safe.

pub mod anthropic;
mod embedding;
pub mod fal;
pub mod http;
pub mod kie;
pub mod openai;
pub mod voyage;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::Reservation;
use crate::ledger::money::{TokenCounts, Usd};
use crate::studio::brief::Aspect;

/// An outside service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Claude, for writing and directing.
    Anthropic,
    /// Embeddings.
    OpenAi,
    /// Embeddings.
    Voyage,
    /// Embeddings from any host that speaks OpenAI's interface, such as Ollama.
    Compatible,
    /// Keyframes.
    Kie,
    /// Clips.
    Fal,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 6] =
        [Self::Anthropic, Self::OpenAi, Self::Voyage, Self::Compatible, Self::Kie, Self::Fal];

    /// The name in the books and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Voyage => "voyage",
            Self::Compatible => "compatible",
            Self::Kie => "kie",
            Self::Fal => "fal",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a provider"))
    }
}

/// What became of the money of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoneyState {
    /// The provider did no work, or does not charge for work that failed.
    NotCharged,
    /// The provider charges for it all the same.
    Charged,
    /// The request may have arrived; nobody here knows.
    Unknown,
}

/// What a caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Too many requests; wait and send again.
    RateLimited,
    /// The provider is overloaded or broken; wait and try again.
    Unavailable,
    /// The key is missing, wrong or lacks a right.
    Credentials,
    /// The account has no money left, or a limit of its own stops it.
    Funds,
    /// The content was refused by the provider's policy.
    Policy,
    /// The request is wrong for this endpoint.
    Input,
    /// This model or feature is not offered (any more); another one must be chosen.
    NotOffered,
    /// The provider tried and could not produce a result.
    Generation,
    /// The connection failed or timed out.
    Network,
    /// The answer was not what the vendor documents.
    Malformed,
}

impl FailureClass {
    /// The name in traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Funds => "funds",
            Self::Policy => "policy",
            Self::Input => "input",
            Self::NotOffered => "not_offered",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Network => "network",
            Self::Generation => "generation",
            Self::Malformed => "malformed",
        }
    }

    /// Whether the same request may succeed a little later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Network)
    }
}

/// A failed call: who, what can be done, what happened to the money, and the provider's words.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("{provider}: {message}")]
pub struct ProviderError {
    /// Whose answer this is.
    pub provider: Provider,
    /// What can be done about it.
    pub class: FailureClass,
    /// What became of the money.
    pub money: MoneyState,
    /// HTTP status, or the status inside KIE's envelope.
    pub status: Option<u16>,
    /// The provider's own error type or code, such as `overloaded_error`.
    pub code: Option<String>,
    /// The provider's words, shortened to 600 characters, free of secrets and signed URLs.
    pub message: String,
    /// The provider's id of the request, for its support.
    pub request_id: Option<String>,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// Whether sending the same paid request again can neither pay twice nor be pointless.
    pub fn may_be_sent_again(&self) -> bool {
        self.class.is_transient() && self.money == MoneyState::NotCharged
    }
}

/// The outcome of a free probe, for `aida health`.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What the provider said, in a few words.
    pub note: String,
    /// Money left in the account, where the provider tells.
    pub balance: Option<Usd>,
}

// ---------------------------------------------------------------------------------------
// Language

/// A tool that the model may call. The schema must be within what the vendor allows for
/// strict tools: objects closed, no numeric or length bounds.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Tool {
    /// Its name, `[a-z_]+`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON schema of its input.
    pub input_schema: Value,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role", content = "content")]
pub enum Message {
    /// What aida says: instructions, briefs, tool results.
    User(Vec<UserBlock>),
    /// What the model said: its content blocks, untouched, as the vendor sent them.
    Assistant(Vec<Value>),
}

/// One block of a user message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum UserBlock {
    /// Text.
    Text {
        /// The words.
        text: String,
        /// Whether the prompt cache shall remember everything up to here.
        #[serde(default)]
        cache: bool,
    },
    /// A picture.
    Image {
        /// Its media type, such as `image/jpeg`.
        media_type: String,
        /// Its bytes in base64.
        data: String,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The result of a tool call.
    ToolResult {
        /// The id of the call.
        tool_use_id: String,
        /// What the tool found, or what was wrong.
        content: String,
        /// Whether the call failed.
        is_error: bool,
        /// Whether the prompt cache shall remember everything up to here.
        #[serde(default)]
        cache: bool,
    },
}

/// One turn asked of a language model. System text, tools and model are the same bytes for
/// all roles, so that they share one cached prefix.
#[derive(Debug, Clone, Serialize)]
pub struct LanguageRequest {
    /// The model's id.
    pub model: String,
    /// The shared system text, ending in a cache breakpoint.
    pub system: String,
    /// The shared tools.
    pub tools: Vec<Tool>,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The most tokens that may be answered, thinking included.
    pub max_output_tokens: u32,
}

/// How long the prompt cache remembers what a breakpoint marks, from the last time it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheLifetime {
    /// Five minutes.
    FiveMinutes,
    /// One hour. Writing for so long is dearer.
    OneHour,
}

impl CacheLifetime {
    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_mins(self.minutes())
    }

    /// Its length in minutes.
    pub const fn minutes(self) -> u64 {
        match self {
            Self::FiveMinutes => 5,
            Self::OneHour => 60,
        }
    }
}

/// Which of the places that a request offers to the prompt cache are marked, and for how long.
///
/// The places are, in the order of the prompt: the end of the system text where there is one, and
/// each block of ours whose `cache` flag is set. A place that the plan does not know is marked for
/// five minutes, so that the plan of nothing is the vendor's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePlan(Vec<Option<CacheLifetime>>);

impl CachePlan {
    /// The plan with a lifetime for each place; none where it is not marked.
    pub const fn new(lifetimes: Vec<Option<CacheLifetime>>) -> Self {
        Self(lifetimes)
    }

    /// For how long a place is marked, if it is.
    pub fn lifetime(&self, place: usize) -> Option<CacheLifetime> {
        self.0.get(place).copied().unwrap_or(Some(CacheLifetime::FiveMinutes))
    }

    /// The last place that is marked for an hour.
    pub fn last_for_an_hour(&self) -> Option<usize> {
        self.0.iter().rposition(|lifetime| *lifetime == Some(CacheLifetime::OneHour))
    }

    /// The same plan with no mark longer than five minutes.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let five = CacheLifetime::FiveMinutes;
        Self(self.0.iter().map(|lifetime| lifetime.map(|lifetime| lifetime.min(five))).collect())
    }
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said what it wanted to say.
    EndTurn,
    /// It wants tools to be run.
    ToolUse,
    /// It reached `max_output_tokens`.
    MaxTokens,
    /// It met a stop sequence.
    StopSequence,
    /// It wants to be called again with its own words appended.
    PauseTurn,
    /// It refuses.
    Refusal {
        /// The vendor's category.
        category: Option<String>,
        /// The vendor's explanation.
        explanation: Option<String>,
    },
    /// The conversation no longer fits the model's context window.
    ContextWindowExceeded,
    /// Something the vendor added since.
    Other(String),
}

/// A turn of a language model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LanguageReply {
    /// Content blocks exactly as the vendor sent them (thinking, text, tool_use, others).
    pub content: Vec<Value>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Tokens in disjoint classes.
    pub tokens: TokenCounts,
    /// The model that answered.
    pub model: String,
    /// The provider's request id.
    pub request_id: Option<String>,
}

/// A model that converses and calls tools.
#[async_trait]
pub trait LanguageModel: Send + Sync {
    /// Whose model it is.
    fn provider(&self) -> Provider;
    /// Asks for one turn. Paid. Never retried inside. The reservation says what of the prompt is
    /// to be cached.
    async fn respond(
        &self,
        reservation: Reservation,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, ProviderError>;
    /// What the prompt cache's key depends on beside the request's own texts, such as the effort:
    /// what is sent of it for this request.
    fn cache_settings(&self, _request: &LanguageRequest) -> Value {
        Value::Null
    }
    /// The most input tokens that `request` can cost: an upper estimate made here, without a
    /// call, from the bytes that will be sent.
    fn most_input_tokens(&self, request: &LanguageRequest) -> u64;
    /// Asks something free that needs the key.
    async fn probe(&self) -> Result<Probe, ProviderError>;
}

// ---------------------------------------------------------------------------------------
// Embeddings

/// Vectors for some texts, in their order.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// One vector for each text, of the model's own width.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were billed.
    pub tokens: u64,
    /// The provider's request id.
    pub request_id: Option<String>,
}

/// What a text is embedded for: some models make another vector of a question than of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextRole {
    /// It is looked for.
    Query,
    /// It is to be found.
    Document,
}

/// A model that turns text into vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Whose model it is.
    fn provider(&self) -> Provider;
    /// The model's id, as the vendor and the price book know it.
    fn model(&self) -> &str;
    /// The name that its vectors carry: only vectors of one name are compared.
    fn space(&self) -> &str {
        self.model()
    }
    /// The most texts, and the most tokens together, that one call takes.
    fn batch_limits(&self) -> (usize, u64);
    /// The most calls that it is given at a time.
    fn most_at_once(&self) -> usize {
        4
    }
    /// Embeds the texts. Paid. Never retried inside.
    async fn embed(
        &self,
        reservation: Reservation,
        texts: &[String],
        role: TextRole,
    ) -> Result<Embeddings, ProviderError>;
    /// Asks something free that needs the key.
    async fn probe(&self) -> Result<Probe, ProviderError>;
}

// ---------------------------------------------------------------------------------------
// Pictures

/// A job that a provider has accepted: everything that is needed to ask about it later.
/// It is stored before the first poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The provider's id of the job.
    pub request_id: String,
    /// Where to ask for its state, if the provider said so.
    #[serde(default)]
    pub status_url: Option<String>,
    /// Where to fetch its result, if the provider said so.
    #[serde(default)]
    pub response_url: Option<String>,
    /// Where to cancel it, if the provider said so.
    #[serde(default)]
    pub cancel_url: Option<String>,
}

impl Job {
    /// A job of which no more than its id is known.
    pub fn named(request_id: &str) -> Self {
        Self {
            request_id: request_id.to_owned(),
            status_url: None,
            response_url: None,
            cancel_url: None,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone)]
pub enum JobState {
    /// Waiting for a machine.
    Queued {
        /// Jobs before it, where the provider tells.
        position: Option<u32>,
    },
    /// Being worked on.
    Running {
        /// 0 to 100, where the provider tells.
        percent: Option<u8>,
    },
    /// Done.
    Done(JobResult),
}

/// What a finished job yielded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// Where the files can be fetched; they expire, so they are fetched at once.
    pub urls: Vec<String>,
    /// What the provider says it billed, in its own unit (fal: `x-fal-billable-units`;
    /// KIE: credits), where it tells.
    pub billed_units: Option<Decimal>,
}

/// A keyframe to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// What the picture shows.
    pub prompt: String,
    /// Its shape.
    pub aspect: Aspect,
    /// Public URLs of pictures that it should look like.
    pub reference_urls: Vec<String>,
}

/// A picture to be shown to a model that draws, in a form that every such model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePicture {
    /// Its name at the provider: a hash of its bytes and an ending, so that one name is one picture.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A model that draws keyframes.
#[async_trait]
pub trait ImageModel: Send + Sync {
    /// Whose model it is.
    fn provider(&self) -> Provider;
    /// The name by which aida's users, settings and price book know it.
    fn model(&self) -> &str;
    /// The endpoint that is called, for the books.
    fn endpoint(&self) -> &str;
    /// Whether the model can make this picture: shape, prompt length, number of references.
    /// What fails here is never sent.
    fn check(&self, request: &ImageRequest) -> Result<(), ProviderError>;
    /// The most reference pictures that one request takes; 0 where it takes none.
    fn most_references(&self) -> usize;
    /// Uploads a picture and answers its public URL, which lives for a day at least. Free.
    async fn upload(&self, picture: &ReferencePicture) -> Result<String, ProviderError>;
    /// The exact JSON body that [`ImageModel::submit`] will send, which is stored before the send.
    fn payload(&self, request: &ImageRequest) -> Value;
    /// Submits a job. Paid. Never retried inside. `payload` is what [`ImageModel::payload`] made.
    async fn submit(&self, reservation: Reservation, payload: &Value)
    -> Result<Job, ProviderError>;
    /// Asks where a job stands. Free. An error whose class is transient says nothing about
    /// the job: ask again.
    async fn state(&self, job: &Job) -> Result<JobState, ProviderError>;
    /// A URL from which `url` can be fetched, when fetching it was forbidden. Free.
    async fn fresh_url(&self, url: &str) -> Result<String, ProviderError>;
    /// Credits left, in the provider's unit. Free; stored in the row before a send.
    async fn balance(&self) -> Result<Option<Decimal>, ProviderError>;
    /// What one unit of the balance is worth, USD.
    fn balance_unit(&self) -> Usd;
    /// Asks something free that needs the key.
    async fn probe(&self) -> Result<Probe, ProviderError>;
}

/// A clip to be made from a keyframe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipRequest {
    /// How the picture moves.
    pub prompt: String,
    /// Public URL of the keyframe, uploaded for this operation alone.
    pub keyframe_url: String,
    /// Length to buy in seconds: one of those the endpoint sells.
    pub seconds: u32,
    /// Whether the clip has sound.
    pub audio: bool,
}

/// A model that moves a keyframe.
#[async_trait]
pub trait VideoModel: Send + Sync {
    /// Whose model it is.
    fn provider(&self) -> Provider;
    /// The name by which aida's users, settings and price book know it.
    fn model(&self) -> &str;
    /// The endpoint that is called, for the books.
    fn endpoint(&self) -> &str;
    /// The lengths in seconds that the endpoint sells, rising.
    fn durations(&self) -> &[u32];
    /// Whether clips with sound can be bought.
    fn offers_audio(&self) -> bool;
    /// Whether the endpoint can make this clip: length, sound, prompt length. What fails here
    /// is never sent.
    fn check(&self, request: &ClipRequest) -> Result<(), ProviderError>;
    /// Uploads a keyframe and answers its public URL. Free.
    async fn upload(&self, keyframe: &Path) -> Result<String, ProviderError>;
    /// The exact JSON body that [`VideoModel::submit`] will send, which is stored before the send.
    fn payload(&self, request: &ClipRequest) -> Value;
    /// Submits a job. Paid. Never retried inside. `payload` is what [`VideoModel::payload`] made.
    async fn submit(&self, reservation: Reservation, payload: &Value)
    -> Result<Job, ProviderError>;
    /// Looks among the jobs that the provider was given since a time for one of exactly this
    /// payload. Free. A job that still waits for a machine may not be listed yet.
    async fn find(&self, payload: &Value, since: Timestamp) -> Result<Option<Job>, ProviderError>;
    /// Asks where a job stands, and fetches its result when it is done. Free. An error whose
    /// class is transient says nothing about the job: ask again.
    async fn state(&self, job: &Job) -> Result<JobState, ProviderError>;
    /// Asks something free that needs the key.
    async fn probe(&self) -> Result<Probe, ProviderError>;
}

/// The shortest length that is sold and covers `wanted_seconds`, or the longest sold.
pub fn sold_duration(durations: &[u32], wanted_seconds: Decimal) -> Option<u32> {
    durations
        .iter()
        .copied()
        .find(|&sold| Decimal::from(sold) >= wanted_seconds)
        .or_else(|| durations.last().copied())
}
