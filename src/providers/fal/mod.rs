//! Clips from Kling over fal.ai's queue.
//!
//! A job's own URLs are used once fal has answered them: their paths are shorter than the
//! endpoint's. `COMPLETED` is no success yet; what `response_url` answers is the verdict.

mod billing;
mod failure;
mod listing;
mod models;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, StatusCode};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

pub use billing::{BillingEvent, ListedPrice};
pub use models::{Audio, KnownVideoModel, VIDEO_MODELS, video_model};

use super::http::{BaseUrl, Caller, HttpClient, Reply, Stakes, retrying, returned_url};
use super::{
    ClipRequest, FailureClass, Job, JobResult, JobState, Probe, Provider, ProviderError, VideoModel,
};
use crate::ledger::Reservation;
use crate::ledger::money::Usd;
use failure::{Words, failed_job, failed_question, refused_submit};

const SUBMIT_TIMEOUT: Duration = Duration::from_mins(1);
const FREE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a result is asked for before a bare "500" is taken for the verdict on the job.
const VERDICT_ATTEMPTS: u32 = 3;
const VERDICT_WAIT: Duration = Duration::from_millis(500);

/// An account with fal: its hosts and a key. All models share it.
#[derive(Debug, Clone)]
pub struct FalAccount {
    client: HttpClient,
    queue: BaseUrl,
    platform: BaseUrl,
    storage: BaseUrl,
    caller: Caller,
}

impl FalAccount {
    /// The account on the queue (`https://queue.fal.run`), the platform's interface
    /// (`https://api.fal.ai/v1`) and the storage (`https://rest.fal.ai`).
    pub fn new(
        client: HttpClient,
        queue: BaseUrl,
        platform: BaseUrl,
        storage: BaseUrl,
        key: SecretString,
    ) -> Self {
        let caller = Caller::new(Provider::Fal, Some(key));
        Self { client, queue, platform, storage, caller }
    }

    /// The scheme word is `Key`, not `Bearer`.
    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        self.caller.with_key(request, AUTHORIZATION, "Key ")
    }

    /// Sends one free request; every status but success is an error.
    async fn ask(&self, stakes: Stakes, request: RequestBuilder) -> Result<Reply, ProviderError> {
        let reply = self.caller.send(stakes, request).await?;
        if reply.status.is_success() {
            Ok(reply)
        } else {
            Err(failed_question(&self.caller, stakes, &reply))
        }
    }

    fn get(&self, url: Url) -> RequestBuilder {
        self.with_key(self.client.shared().get(url)).timeout(FREE_TIMEOUT)
    }

    /// Submits a job, at most once.
    async fn submit(&self, endpoint: &str, payload: &Value) -> Result<Job, ProviderError> {
        #[derive(Deserialize)]
        struct Accepted {
            request_id: String,
            status_url: Option<String>,
            response_url: Option<String>,
            cancel_url: Option<String>,
        }

        let post = self.client.submits().post(self.queue.join(endpoint)).timeout(SUBMIT_TIMEOUT);
        let reply = self.caller.send(Stakes::Paid, self.with_key(post).json(payload)).await?;
        if !reply.status.is_success() {
            return Err(refused_submit(&self.caller, &reply));
        }
        match serde_json::from_slice::<Accepted>(&reply.body) {
            Ok(accepted) if !accepted.request_id.is_empty() => Ok(Job {
                request_id: accepted.request_id,
                // To a URL that is not safe the key is not sent; the usual one is used instead.
                status_url: accepted.status_url.filter(|url| returned_url(url).is_some()),
                response_url: accepted.response_url.filter(|url| returned_url(url).is_some()),
                cancel_url: accepted.cancel_url.filter(|url| returned_url(url).is_some()),
            }),
            _ => Err(self.caller.malformed(Stakes::Paid, &reply, "a request_id")),
        }
    }

    async fn state(&self, endpoint: &str, job: &Job) -> Result<JobState, ProviderError> {
        #[derive(Deserialize)]
        struct Reported {
            #[serde(rename = "status")]
            state: String,
            queue_position: Option<u32>,
            error: Option<Value>,
            error_type: Option<String>,
        }

        // A job that was found again: only the list knows its way. A key that may not read the list
        // tries the address that fal would have answered.
        if job.status_url.is_none()
            && let Ok(Some(verdict)) = self.listed_state(endpoint, job).await
        {
            return verdict;
        }
        let url = self.job_url(endpoint, job, job.status_url.as_deref(), "/status");
        let outcome = retrying(|| async {
            let asked = self.ask(Stakes::Poll, self.get(url.clone())).await;
            asked.map_err(|error| match error.status {
                // A job that was accepted a moment ago is known a moment later.
                Some(404) => ProviderError { class: FailureClass::Unavailable, ..error },
                _ => error,
            })
        })
        .await;
        let reply = outcome.map_err(|error| match error.status {
            Some(404) => ProviderError { class: FailureClass::Input, ..error },
            _ => error,
        })?;
        // 202 while it runs, 200 when it has ended; the body says the same.
        let reported: Reported = serde_json::from_slice(&reply.body)
            .map_err(|_| self.caller.malformed(Stakes::Poll, &reply, "the status of a job"))?;
        match reported.state.as_str() {
            "IN_QUEUE" => Ok(JobState::Queued { position: reported.queue_position }),
            "COMPLETED" => {
                let failure = Words::reported(reported.error.as_ref(), reported.error_type);
                self.result(endpoint, job, failure).await
            }
            _ => Ok(JobState::Running { percent: None }),
        }
    }

    /// The verdict on a job that has ended.
    async fn result(
        &self,
        endpoint: &str,
        job: &Job,
        reported: Option<Words>,
    ) -> Result<JobState, ProviderError> {
        let reply = self.verdict(endpoint, job, reported.is_some()).await?;
        let units = reply.header("x-fal-billable-units").and_then(|units| units.parse().ok());
        if !reply.status.is_success() {
            // Once the status has told how the job ended, every answer here is about the job.
            let is_question = reported.is_none();
            let words = Words::of(&reply).or(reported).unwrap_or_else(|| {
                Words::new(None, format!("HTTP {} with {}", reply.status.as_u16(), reply.excerpt()))
            });
            return match reply.status {
                // The key's trouble, not the job's.
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_question => {
                    Err(failed_question(&self.caller, Stakes::Poll, &reply))
                }
                StatusCode::BAD_REQUEST if words.message.contains("in progress") => {
                    Ok(JobState::Running { percent: None })
                }
                // The result is not (or no longer) there; whether it was made stays open.
                StatusCode::NOT_FOUND if is_question => Err(ProviderError {
                    class: FailureClass::Input,
                    ..failed_question(&self.caller, Stakes::Poll, &reply)
                }),
                _ => Err(failed_job(&self.caller, &reply, words, units)),
            };
        }
        let Some(output) = reply.json() else {
            return Err(self.caller.malformed(Stakes::Poll, &reply, "the output of the model"));
        };
        if let Some(words) = reported {
            return Err(self.ended_without_a_clip(&reply, words, units));
        }
        let url = output["video"]["url"].as_str().filter(|url| returned_url(url).is_some());
        let Some(url) = url else {
            let words = Words::new(None, "fal reports success, but shows no video");
            return Err(self.ended_without_a_clip(&reply, words, units));
        };
        Ok(JobState::Done(JobResult { urls: vec![url.to_owned()], billed_units: units }))
    }

    fn ended_without_a_clip(
        &self,
        reply: &Reply,
        words: Words,
        units: Option<Decimal>,
    ) -> ProviderError {
        match failed_job(&self.caller, reply, words, units) {
            error if error.class == FailureClass::Input => {
                ProviderError { class: FailureClass::Generation, ..error }
            }
            error => error,
        }
    }

    /// Asks for the result until there is an answer about the job. A server error with a type, or
    /// after a reported failure, is one; a bare 500 is one when it stays; all others are
    /// hiccups of the question.
    async fn verdict(
        &self,
        endpoint: &str,
        job: &Job,
        failure_was_reported: bool,
    ) -> Result<Reply, ProviderError> {
        let url = self.job_url(endpoint, job, job.response_url.as_deref(), "");
        let mut attempt = 1;
        loop {
            let reply = retrying(|| async {
                let reply = self.caller.send(Stakes::Poll, self.get(url.clone())).await?;
                let status = reply.status;
                let is_hiccup =
                    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
                        || (status.is_server_error() && Words::of(&reply).is_none());
                if is_hiccup {
                    return Err(failed_question(&self.caller, Stakes::Poll, &reply));
                }
                Ok(reply)
            })
            .await?;
            let words = Words::of(&reply);
            let is_about_the_job =
                failure_was_reported || words.is_some_and(|words| words.kind.is_some());
            if !reply.status.is_server_error() || is_about_the_job {
                return Ok(reply);
            }
            if attempt == VERDICT_ATTEMPTS {
                return if reply.status == StatusCode::INTERNAL_SERVER_ERROR {
                    Ok(reply)
                } else {
                    Err(failed_question(&self.caller, Stakes::Poll, &reply))
                };
            }
            tokio::time::sleep(VERDICT_WAIT).await;
            attempt += 1;
        }
    }

    /// The URL that fal answered, else the one that it would answer: of the endpoint's id only
    /// the owner and the name of the application stand in it.
    fn job_url(&self, endpoint: &str, job: &Job, answered: Option<&str>, tail: &str) -> Url {
        answered.and_then(returned_url).unwrap_or_else(|| {
            let application: Vec<&str> = endpoint.split('/').take(2).collect();
            let path = format!("/{}/requests/{}{tail}", application.join("/"), job.request_id);
            self.queue.join(&path)
        })
    }

    /// The price of an endpoint is a free question that needs the key. The balance is told
    /// to keys with administrator rights only; others are none the worse.
    async fn probe(&self, endpoint: &str) -> Result<Probe, ProviderError> {
        let mut url = self.platform.join("/models/pricing");
        url.query_pairs_mut().append_pair("endpoint_id", endpoint);
        let reply =
            retrying(|| async { self.ask(Stakes::Free, self.get(url.clone())).await }).await?;
        let body = reply.json().unwrap_or(Value::Null);
        let Some(prices) = body["prices"].as_array() else {
            return Err(self.caller.malformed(Stakes::Free, &reply, "a list of prices"));
        };
        let listed = prices.iter().find(|price| price["endpoint_id"] == endpoint);
        let note = match listed {
            Some(price) => format!(
                "the key is accepted; {endpoint} is listed at {} {} (unit: {})",
                price["unit_price"],
                price["currency"].as_str().unwrap_or("USD"),
                price["unit"].as_str().unwrap_or("unit"),
            ),
            None => format!("the key is accepted; fal lists no price for {endpoint}"),
        };
        Ok(Probe { note, balance: self.balance().await })
    }

    async fn balance(&self) -> Option<Usd> {
        let mut url = self.platform.join("/account/billing");
        url.query_pairs_mut().append_pair("expand", "credits");
        let reply = self.ask(Stakes::Free, self.get(url)).await.ok()?;
        let credits = &reply.json()?["credits"];
        if credits["currency"].as_str().is_some_and(|currency| currency != "USD") {
            return None;
        }
        billing::decimal(&credits["current_balance"]).map(Usd::new)
    }
}

/// A version of Kling.
#[derive(Debug, Clone)]
pub struct KlingModel {
    account: FalAccount,
    known: &'static KnownVideoModel,
}

impl KlingModel {
    const fn new(account: FalAccount, known: &'static KnownVideoModel) -> Self {
        Self { account, known }
    }
}

#[async_trait]
impl VideoModel for KlingModel {
    fn provider(&self) -> Provider {
        Provider::Fal
    }

    fn model(&self) -> &str {
        self.known.name
    }

    fn endpoint(&self) -> &str {
        self.known.endpoint
    }

    fn durations(&self) -> &[u32] {
        self.known.durations
    }

    fn offers_audio(&self) -> bool {
        self.known.audio != Audio::Never
    }

    fn check(&self, request: &ClipRequest) -> Result<(), ProviderError> {
        self.known.check(&self.account.caller, request)
    }

    async fn upload(&self, keyframe: &Path) -> Result<String, ProviderError> {
        self.account.upload(keyframe).await
    }

    fn payload(&self, request: &ClipRequest) -> Value {
        self.known.payload(request)
    }

    async fn submit(
        &self,
        _reservation: Reservation,
        payload: &Value,
    ) -> Result<Job, ProviderError> {
        self.account.submit(self.known.endpoint, payload).await
    }

    async fn find(&self, payload: &Value, since: Timestamp) -> Result<Option<Job>, ProviderError> {
        self.account.find(self.known.endpoint, payload, since).await
    }

    async fn state(&self, job: &Job) -> Result<JobState, ProviderError> {
        self.account.state(self.known.endpoint, job).await
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        self.account.probe(self.known.endpoint).await
    }
}
