//! Midjourney through KIE. KIE may have withdrawn it; then the error says which model to take.

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::envelope::Interface;
use super::record::midjourney_state;
use super::{CREDIT_PRICE, KieAccount, KnownImageModel};
use crate::ledger::Reservation;
use crate::ledger::money::Usd;
use crate::providers::{
    ImageModel, ImageRequest, Job, JobState, Probe, Provider, ProviderError, ReferencePicture,
};

/// The version of Midjourney that is asked for.
const VERSION: &str = "7";

/// How fast, and how dear, a Midjourney job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speed {
    Relaxed,
    Fast,
    Turbo,
}

impl Speed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Fast => "fast",
            Self::Turbo => "turbo",
        }
    }
}

/// Midjourney 7 at one speed. A job yields four pictures.
#[derive(Debug, Clone)]
pub struct MidjourneyModel {
    account: KieAccount,
    known: &'static KnownImageModel,
    speed: Speed,
}

impl MidjourneyModel {
    pub(super) const fn new(
        account: KieAccount,
        known: &'static KnownImageModel,
        speed: Speed,
    ) -> Self {
        Self { account, known, speed }
    }
}

#[async_trait]
impl ImageModel for MidjourneyModel {
    fn provider(&self) -> Provider {
        Provider::Kie
    }

    fn model(&self) -> &str {
        self.known.name
    }

    fn endpoint(&self) -> &str {
        self.known.endpoint
    }

    fn check(&self, request: &ImageRequest) -> Result<(), ProviderError> {
        self.known.check(&self.account.caller, request)
    }

    fn most_references(&self) -> usize {
        self.known.most_references
    }

    async fn upload(&self, picture: &ReferencePicture) -> Result<String, ProviderError> {
        self.account.upload(picture).await
    }

    fn payload(&self, request: &ImageRequest) -> Value {
        let mut payload = json!({
            "taskType": "mj_txt2img",
            "prompt": request.prompt,
            "speed": self.speed.as_str(),
            "aspectRatio": request.aspect.as_str(),
            "version": VERSION,
        });
        // An omni reference puts the one thing that it shows into the picture: a product, a
        // character. It takes one URL and no speed, and is priced as the fast speed is; where
        // another speed was asked for, and for several pictures, what is taken is their look.
        match request.reference_urls.as_slice() {
            [] => {}
            [one] if self.speed == Speed::Fast => {
                payload["taskType"] = json!("mj_omni_reference");
                payload["fileUrls"] = json!([one]);
                if let Some(members) = payload.as_object_mut() {
                    members.shift_remove("speed");
                }
            }
            several => {
                payload["taskType"] = json!("mj_style_reference");
                payload["fileUrls"] = json!(several);
            }
        }
        payload
    }

    async fn submit(
        &self,
        reservation: Reservation,
        payload: &Value,
    ) -> Result<Job, ProviderError> {
        self.account
            .create(reservation, Interface::Midjourney, "/api/v1/mj/generate", payload)
            .await
    }

    async fn state(&self, job: &Job) -> Result<JobState, ProviderError> {
        let (data, empty_for) = self.account.record("/api/v1/mj/record-info", job).await?;
        midjourney_state(&self.account.caller, &data, empty_for)
    }

    async fn fresh_url(&self, url: &str) -> Result<String, ProviderError> {
        self.account.fresh_url(url).await
    }

    async fn balance(&self) -> Result<Option<Decimal>, ProviderError> {
        self.account.credits().await.map(Some)
    }

    fn balance_unit(&self) -> Usd {
        CREDIT_PRICE
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        self.account.probe().await
    }
}
