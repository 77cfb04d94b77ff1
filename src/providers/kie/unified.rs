//! The image models of KIE's unified jobs interface: one way to ask, a table of field names.

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::envelope::Interface;
use super::record::task_state;
use super::{CREDIT_PRICE, KieAccount, KnownImageModel};
use crate::ledger::Reservation;
use crate::ledger::money::Usd;
use crate::providers::{
    ImageModel, ImageRequest, Job, JobState, Probe, Provider, ProviderError, ReferencePicture,
};

/// How a model's `input` differs from the others', from the snapshot of KIE's own pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputFields {
    /// Where reference pictures go, for models that take them.
    pub(super) references: Option<&'static str>,
    /// Fields with fixed values: the size that the price book knows, and a compact format.
    pub(super) fixed: &'static [(&'static str, &'static str)],
}

/// One image model of the unified interface. A job yields one picture.
#[derive(Debug, Clone)]
pub struct UnifiedImageModel {
    account: KieAccount,
    known: &'static KnownImageModel,
    fields: InputFields,
}

impl UnifiedImageModel {
    pub(super) const fn new(
        account: KieAccount,
        known: &'static KnownImageModel,
        fields: InputFields,
    ) -> Self {
        Self { account, known, fields }
    }
}

#[async_trait]
impl ImageModel for UnifiedImageModel {
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
        let mut input = Map::from_iter([
            ("prompt".to_owned(), json!(request.prompt)),
            ("aspect_ratio".to_owned(), json!(request.aspect.as_str())),
        ]);
        for (name, value) in self.fields.fixed {
            input.insert((*name).to_owned(), json!(value));
        }
        if let Some(field) = self.fields.references.filter(|_| !request.reference_urls.is_empty()) {
            input.insert(field.to_owned(), json!(request.reference_urls));
        }
        json!({"model": self.known.endpoint, "input": input})
    }

    async fn submit(
        &self,
        reservation: Reservation,
        payload: &Value,
    ) -> Result<Job, ProviderError> {
        self.account.create(reservation, Interface::Jobs, "/api/v1/jobs/createTask", payload).await
    }

    async fn state(&self, job: &Job) -> Result<JobState, ProviderError> {
        let (data, empty_for) = self.account.record("/api/v1/jobs/recordInfo", job).await?;
        task_state(&self.account.caller, &data, empty_for)
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
