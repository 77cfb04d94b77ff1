//! Services made from the settings, with errors that say which setting to change.

use std::sync::Arc;

use url::Url;

use crate::cli::settings::Source;
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ledger::Till;
use crate::ledger::prices::PriceBook;
use crate::memory::{EmbedderChoice, Embedding, Memory};
use crate::providers::anthropic::AnthropicModel;
use crate::providers::fal::{self, FalAccount};
use crate::providers::http::{BaseUrl, HttpClient};
use crate::providers::kie::{self, KieAccount};
use crate::providers::openai::OpenAiEmbedder;
use crate::providers::{Embedder, ImageModel, LanguageModel, VideoModel};
use crate::studio::StudioError;
use crate::studio::film::Ffmpeg;
use crate::studio::producer::{Media, Producer};

impl Context {
    /// The client that all providers share.
    pub fn http(&self) -> Result<HttpClient, Error> {
        if let Some(client) = self.http.get() {
            return Ok(client.clone());
        }
        let client = HttpClient::new().map_err(|error| {
            Error::settings("the HTTP client did not start")
                .because(error)
                .hint("is a bundle of CA certificates installed, and is HTTPS_PROXY right?")
        })?;
        Ok(self.http.get_or_init(|| client).clone())
    }

    /// Claude.
    pub fn language_model(&self) -> Result<Arc<dyn LanguageModel>, Error> {
        let key = self.required_key(Service::Anthropic)?.clone();
        let base = base_url("anthropic_base_url", &self.settings.anthropic.base_url)?;
        Ok(Arc::new(AnthropicModel::new(self.http()?, base, key)))
    }

    /// The image model of the settings, which needs its key.
    pub fn image_model(&self) -> Result<Arc<dyn ImageModel>, Error> {
        self.require(&[Service::Kie])?;
        self.image_model_named(&self.settings.image_model)
    }

    /// The video model of the settings, which needs its key.
    pub fn video_model(&self) -> Result<Arc<dyn VideoModel>, Error> {
        self.require(&[Service::Fal])?;
        self.video_model_named(&self.settings.video_model)
    }

    /// An image model by name. Without a key it can be asked what it is and nothing else.
    pub fn image_model_named(&self, name: &str) -> Result<Arc<dyn ImageModel>, Error> {
        let base = base_url("kie_base_url", &self.settings.kie.base_url)?;
        let key = self.key(Service::Kie).cloned().unwrap_or_default();
        let account = KieAccount::new(self.http()?, base, key);
        kie::image_model(name, &account).ok_or_else(|| {
            self.unknown_model(
                "image_model",
                name,
                kie::IMAGE_MODELS.iter().map(|model| model.name),
            )
        })
    }

    /// A video model by name. Without a key it can be asked what it is and nothing else.
    pub fn video_model_named(&self, name: &str) -> Result<Arc<dyn VideoModel>, Error> {
        let settings = &self.settings.fal;
        let account = FalAccount::new(
            self.http()?,
            base_url("fal_queue_url", &settings.queue_url)?,
            base_url("fal_api_url", &settings.api_url)?,
            base_url("fal_storage_url", &settings.storage_url)?,
            self.key(Service::Fal).cloned().unwrap_or_default(),
        );
        fal::video_model(name, &account).ok_or_else(|| {
            self.unknown_model(
                "video_model",
                name,
                fal::VIDEO_MODELS.iter().map(|model| model.name),
            )
        })
    }

    /// The till, on this context's database.
    pub async fn till(&self) -> Result<Till, Error> {
        let store = self.store().await?.clone();
        let prices = Arc::new(PriceBook::shipped());
        Ok(Till::new(store, prices, self.clock.clone(), self.settings.fal.concurrency))
    }

    /// Earlier work, with the embedder that the settings choose.
    pub async fn memory(&self) -> Result<Memory, Error> {
        let has_key = self.key(Service::OpenAi).is_some();
        let embedding = match EmbedderChoice::from_setting(&self.settings.embedder, has_key)? {
            EmbedderChoice::Builtin => Embedding::Builtin,
            EmbedderChoice::OpenAi { model } => {
                Embedding::Paid { embedder: self.openai_embedder(model)?, till: self.till().await? }
            }
        };
        Ok(Memory::new(self.store().await?.clone(), embedding, self.clock.clone()))
    }

    /// What every run works with.
    pub async fn producer(&self) -> Result<Producer, Error> {
        Ok(Producer {
            store: self.store().await?.clone(),
            till: self.till().await?,
            memory: self.memory().await?,
            clock: self.clock.clone(),
            client: self.http()?,
            projects_folder: self.settings.data_dir.join("projects"),
        })
    }

    /// What a film is made with: the models, and an ffmpeg that works.
    pub async fn media(
        &self,
        image: Arc<dyn ImageModel>,
        video: Arc<dyn VideoModel>,
    ) -> Result<Media, Error> {
        let ffmpeg = Ffmpeg::find(self.settings.ffmpeg.clone()).await.map_err(StudioError::from)?;
        Ok(Media { image, video, former: None, ffmpeg })
    }

    /// An OpenAI embedder. It needs no key where the host is one's own.
    pub fn openai_embedder(&self, model: &str) -> Result<Arc<dyn Embedder>, Error> {
        let base = base_url("openai_base_url", &self.settings.openai.base_url)?;
        let key = self.key(Service::OpenAi).cloned();
        Ok(Arc::new(OpenAiEmbedder::new(self.http()?, base, key, model)))
    }

    /// A model that aida does not know: wrong usage if a flag named it, else a wrong setting.
    fn unknown_model(
        &self,
        setting: &str,
        name: &str,
        known: impl Iterator<Item = &'static str>,
    ) -> Error {
        let known: Vec<_> = known.collect();
        let source = self.settings.origins.iter().find(|origin| origin.key.name == setting);
        let (kind, who) = match source.map(|origin| &origin.source) {
            Some(Source::Flag(flag)) => (Kind::Usage, (*flag).to_owned()),
            Some(source) => (Kind::Settings, format!("{setting} ({source})")),
            None => (Kind::Settings, setting.to_owned()),
        };
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(left, _), (right, _)| left.total_cmp(right));
        let error = Error::new(kind, format!("{who}: there is no model '{name}'"));
        let error = match nearest {
            Some((_, nearest)) => error.hint(format!("did you mean '{nearest}'?")),
            None => error,
        };
        error.hint(format!("known models: {}", known.join(", ")))
    }
}

/// A host of the settings as the providers take it. The settings have checked it already.
fn base_url(name: &str, url: &Url) -> Result<BaseUrl, Error> {
    url.as_str().parse().map_err(|error| Error::settings(format!("{name} cannot be used: {error}")))
}
