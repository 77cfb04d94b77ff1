//! Keyframes through KIE.AI: Midjourney, and the models of the unified jobs interface.
//!
//! KIE answers HTTP 200 to almost everything; what it means stands inside. It keeps no list of
//! tasks by input, so a lost answer to a submit cannot be looked up: such money stays unknown.

mod envelope;
mod midjourney;
mod models;
mod record;
#[cfg(test)]
mod tests;
mod unified;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde_json::{Value, json};

pub use midjourney::MidjourneyModel;
pub use models::{IMAGE_MODELS, KnownImageModel, image_model};
pub use unified::UnifiedImageModel;

use super::http::{BaseUrl, Caller, HttpClient, Stakes, retrying, returned_url};
use super::{FailureClass, Job, MoneyState, Probe, Provider, ProviderError};
use crate::ledger::Reservation;
use crate::ledger::money::Usd;
use envelope::Interface;

/// What one credit costs: half a US cent (KIE's price page).
pub const CREDIT_PRICE: Usd = Usd::new(Decimal::from_parts(5, 0, 0, false, 3));
const SUBMIT_TIMEOUT: Duration = Duration::from_mins(1);
const FREE_TIMEOUT: Duration = Duration::from_secs(30);
/// KIE takes 20 submits in 10 s and drops what is over.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// An account with KIE: a host and a key. All its models share it.
#[derive(Debug, Clone)]
pub struct KieAccount {
    client: HttpClient,
    base: BaseUrl,
    /// The host of uploads, which is another one.
    uploads: Option<BaseUrl>,
    caller: Caller,
    /// Since when a job, by its id, has been a success without a picture.
    empty_since: Arc<Mutex<HashMap<String, Instant>>>,
}

impl KieAccount {
    /// The account under `base` (`https://api.kie.ai`).
    pub fn new(client: HttpClient, base: BaseUrl, key: SecretString) -> Self {
        let caller = Caller::new(Provider::Kie, Some(key));
        Self { client, base, uploads: None, caller, empty_since: Arc::default() }
    }

    /// The same account, which uploads to `host` (`https://kieai.redpandaai.co`).
    #[must_use]
    pub fn uploading_to(mut self, host: BaseUrl) -> Self {
        self.uploads = Some(host);
        self
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        self.caller.with_key(request, AUTHORIZATION, "Bearer ")
    }

    /// Submits a job, at most once.
    async fn create(
        &self,
        _reservation: Reservation,
        interface: Interface,
        path: &str,
        payload: &Value,
    ) -> Result<Job, ProviderError> {
        let post = self.client.submits().post(self.base.join(path)).timeout(SUBMIT_TIMEOUT);
        let reply = self.caller.send(Stakes::Paid, self.with_key(post).json(payload)).await?;
        let data =
            envelope::open(&self.caller, interface, Stakes::Paid, &reply).map_err(|error| {
                let wait = (error.class == FailureClass::RateLimited).then_some(RATE_WINDOW);
                ProviderError { retry_after: error.retry_after.or(wait), ..error }
            })?;
        ["taskId", "recordId"]
            .iter()
            .find_map(|name| data[*name].as_str().filter(|id| !id.is_empty()))
            .map(Job::named)
            .ok_or_else(|| self.caller.malformed(Stakes::Paid, &reply, "the id of a task"))
    }

    /// What KIE says about a job, and for how long it has been a success without a picture.
    ///
    /// That time is kept here, because KIE's own times come from clocks and zones that are not
    /// ours. A process that is started anew only grants such a job a little more patience.
    async fn record(&self, path: &str, job: &Job) -> Result<(Value, Duration), ProviderError> {
        let mut url = self.base.join(path);
        url.query_pairs_mut().append_pair("taskId", &job.request_id);
        let verdict = Mutex::new(None);
        let outcome = retrying(|| async {
            let get = self.client.shared().get(url.clone()).timeout(FREE_TIMEOUT);
            let reply = self.caller.send(Stakes::Poll, self.with_key(get)).await?;
            let opened = envelope::open(&self.caller, Interface::Common, Stakes::Poll, &reply);
            let mut verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner);
            *verdict = None;
            match opened {
                Ok(data) => Ok(data),
                // "recordInfo is null": KIE does not know the job. A job that was created a
                // moment ago is known a moment later.
                Err(error) if is_unknown_job(&error) => {
                    Err(ProviderError { class: FailureClass::Unavailable, ..error })
                }
                // These speak of the job itself if KIE stays with them: a job that failed is not
                // charged, and one bad answer must not let a picture go that is paid for.
                Err(error)
                    if matches!(error.class, FailureClass::Generation | FailureClass::Policy) =>
                {
                    *verdict = Some(error.class);
                    Err(ProviderError { class: FailureClass::Unavailable, ..error })
                }
                Err(error) => Err(error),
            }
        })
        .await;
        let verdict = verdict.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = outcome.map_err(|error| {
            if let Some(class) = verdict {
                return ProviderError { class, money: MoneyState::NotCharged, ..error };
            }
            if !is_unknown_job(&error) {
                return error;
            }
            let message =
                format!("KIE does not know the job {} ({})", job.request_id, error.message);
            ProviderError { class: FailureClass::Input, message, ..error }
        });
        let data = outcome?;
        let empty_for = self.empty_for(&job.request_id, record::is_empty_success(&data));
        Ok((data, empty_for))
    }

    /// The credits that a task consumed, where its record tells. Midjourney's do not.
    pub async fn credits_consumed(
        &self,
        model: &str,
        task_id: &str,
    ) -> Result<Option<Decimal>, ProviderError> {
        let path = if models::is_midjourney(model) {
            "/api/v1/mj/record-info"
        } else {
            "/api/v1/jobs/recordInfo"
        };
        let mut url = self.base.join(path);
        url.query_pairs_mut().append_pair("taskId", task_id);
        match self.ask(|| self.client.shared().get(url.clone())).await {
            Ok(data) => Ok(envelope::decimal(&data["creditsConsumed"])),
            // Records are kept for two months.
            Err(error) if is_unknown_job(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn empty_for(&self, task_id: &str, is_empty: bool) -> Duration {
        let mut empty_since = self.empty_since.lock().unwrap_or_else(PoisonError::into_inner);
        if is_empty {
            empty_since.entry(task_id.to_owned()).or_insert_with(Instant::now).elapsed()
        } else {
            empty_since.remove(task_id);
            Duration::ZERO
        }
    }

    /// A signed link, good for 20 minutes, to a result whose own link is refused.
    async fn fresh_url(&self, url: &str) -> Result<String, ProviderError> {
        let data = self
            .ask(|| {
                let post = self.client.shared().post(self.base.join("/api/v1/common/download-url"));
                post.json(&json!({"url": url}))
            })
            .await?;
        data.as_str().filter(|url| returned_url(url).is_some()).map(str::to_owned).ok_or_else(
            || {
                let message = "KIE answered no link where a fresh link was asked for";
                self.caller.failure(FailureClass::Malformed, Stakes::Free.when_lost(), message)
            },
        )
    }

    /// Credits left.
    async fn credits(&self) -> Result<Decimal, ProviderError> {
        let data =
            self.ask(|| self.client.shared().get(self.base.join("/api/v1/chat/credit"))).await?;
        envelope::decimal(&data).ok_or_else(|| {
            let message = "KIE answered no number where the credits were asked for";
            self.caller.failure(FailureClass::Malformed, Stakes::Free.when_lost(), message)
        })
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        let credits = self.credits().await?;
        Ok(Probe {
            note: format!("{} credits left", credits.normalize()),
            balance: Some(CREDIT_PRICE * credits),
        })
    }

    /// Something free that concerns no job.
    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, ProviderError> {
        retrying(|| async {
            let request = self.with_key(request().timeout(FREE_TIMEOUT));
            let reply = self.caller.send(Stakes::Free, request).await?;
            envelope::open(&self.caller, Interface::Common, Stakes::Free, &reply)
        })
        .await
    }
}

fn is_unknown_job(error: &ProviderError) -> bool {
    error.code.is_some() && matches!(error.status, Some(404 | 422))
}
