//! Services made from the settings, with errors that say which setting to change.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::cli::settings::{Source, prices};
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ledger::Till;
use crate::ledger::prices::{Origin, PriceBook};
use crate::memory::files::{Reader, Vault};
use crate::memory::{EmbedderChoice, Embedding, Means, Memory};
use crate::providers::anthropic::AnthropicModel;
use crate::providers::fal::{self, FalAccount};
use crate::providers::http::{BaseUrl, HttpClient};
use crate::providers::kie::{self, KieAccount};
use crate::providers::openai::OpenAiEmbedder;
use crate::providers::voyage::{MONGODB_BASE_URL, VoyageEmbedder, belongs_to_mongodb};
use crate::providers::{Embedder, ImageModel, LanguageModel, VideoModel};
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::film::Ffmpeg;
use crate::studio::floor::{Cast, Crew};
use crate::studio::producer::{EditSuites, Media, Producer};
use crate::studio::run::RunState;

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
        kie::image_model(name, &self.kie_account()?).ok_or_else(|| {
            let (kind, who) = self.namer("image_model", name);
            no_such_model(kind, &who, name, &image_models())
        })
    }

    /// The image model that `--image-model` names where the flag stands for no setting.
    pub fn image_model_of_flag(&self, name: &str) -> Result<Arc<dyn ImageModel>, Error> {
        let model = kie::image_model(name, &self.kie_account()?);
        model.ok_or_else(|| no_such_model(Kind::Usage, "--image-model", name, &image_models()))
    }

    /// A video model by name. Without a key it can be asked what it is and nothing else.
    pub fn video_model_named(&self, name: &str) -> Result<Arc<dyn VideoModel>, Error> {
        fal::video_model(name, &self.fal_account()?).ok_or_else(|| {
            let (kind, who) = self.namer("video_model", name);
            no_such_model(kind, &who, name, &video_models())
        })
    }

    /// The video model that `--video-model` names where the flag stands for no setting.
    pub fn video_model_of_flag(&self, name: &str) -> Result<Arc<dyn VideoModel>, Error> {
        let model = fal::video_model(name, &self.fal_account()?);
        model.ok_or_else(|| no_such_model(Kind::Usage, "--video-model", name, &video_models()))
    }

    /// fal's account. Without a key nothing can be asked of it.
    pub fn fal_account(&self) -> Result<FalAccount, Error> {
        let settings = &self.settings.fal;
        Ok(FalAccount::new(
            self.http()?,
            base_url("fal_queue_url", &settings.queue_url)?,
            base_url("fal_api_url", &settings.api_url)?,
            base_url("fal_storage_url", &settings.storage_url)?,
            self.key(Service::Fal).cloned().unwrap_or_default(),
        ))
    }

    /// KIE's account. Without a key nothing can be asked of it.
    pub fn kie_account(&self) -> Result<KieAccount, Error> {
        let base = base_url("kie_base_url", &self.settings.kie.base_url)?;
        let uploads = base_url("kie_upload_url", &self.settings.kie.upload_url)?;
        let key = self.key(Service::Kie).cloned().unwrap_or_default();
        Ok(KieAccount::new(self.http()?, base, key).uploading_to(uploads))
    }

    /// Where `aida prices refresh` keeps what it read.
    pub fn refreshed_prices_path(&self) -> PathBuf {
        self.settings.data_dir.join("prices.toml")
    }

    /// The price book: what aida ships with, over it what was read from the providers, over that the
    /// user's own.
    pub fn prices(&self) -> Result<Arc<PriceBook>, Error> {
        let refreshed = prices::read(&self.refreshed_prices_path(), Origin::Refreshed)?;
        let own = self.settings.prices.iter().cloned();
        Ok(Arc::new(PriceBook::shipped().with(refreshed).with(own)))
    }

    /// The till, on this context's database.
    pub async fn till(&self) -> Result<Till, Error> {
        let store = self.store().await?.clone();
        let prices = self.prices()?;
        let answers = self.settings.data_dir.join("answers");
        Ok(Till::new(store, prices, self.clock.clone(), self.settings.fal.concurrency, answers))
    }

    /// Earlier work, with the embedder that the settings choose.
    pub async fn memory(&self) -> Result<Memory, Error> {
        self.memory_with(&self.settings.embedder).await
    }

    /// Earlier work, with an embedder named as in the settings.
    pub async fn memory_with(&self, setting: &str) -> Result<Memory, Error> {
        let embedding = match self.embedder(&self.embedder_choice(setting)?)? {
            None => Embedding::Builtin,
            Some(embedder) => Embedding::Paid { embedder, till: self.till().await? },
        };
        Ok(Memory::new(self.store().await?.clone(), embedding, self.clock.clone()))
    }

    /// What reads the user's files.
    pub fn reader(&self) -> Reader {
        Reader::new(self.database().executable).stopped_by(self.cancel.clone())
    }

    /// Copies of the user's pictures.
    pub fn vault(&self) -> Vault {
        Vault::new(self.settings.data_dir.join("files"))
    }

    /// What an `embedder` setting means with these settings.
    pub fn embedder_choice(&self, setting: &str) -> Result<EmbedderChoice, Error> {
        let means = Means {
            openai_key: self.key(Service::OpenAi).is_some(),
            voyage_key: self.key(Service::Voyage).is_some(),
            compatible_model: &self.settings.compatible.model,
        };
        Ok(EmbedderChoice::from_setting(setting, means)?)
    }

    /// What every run works with.
    pub async fn producer(&self) -> Result<Producer, Error> {
        Ok(Producer {
            store: self.store().await?.clone(),
            till: self.till().await?,
            memory: self.memory().await?,
            clock: self.clock.clone(),
            recover_patience: self.settings.recover,
            suites: EditSuites::default(),
            client: self.http()?,
            projects_folder: self.settings.data_dir.join("projects"),
            vault: self.vault(),
            vision_model: self.settings.vision_model.clone(),
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

    /// Who works on a claimed run, as its options name them.
    pub async fn cast_of(&self, claim: &Claim) -> Result<Cast, Error> {
        let options = &claim.options;
        let writes = claim.state() == RunState::Writing;
        let language = match options.language_model.as_ref().filter(|_| writes) {
            Some(_) => Some(self.language_model()?),
            None => None,
        };
        let video = self.video_model_named(&options.video_model)?;
        let clip_lengths = video.durations().to_vec();
        if claim.run.kind == "preview" {
            return Ok(Cast { language, media: None, clip_lengths });
        }
        self.require(&[Service::Kie, Service::Fal])?;
        let image = self.image_model_named(&options.image_model)?;
        let media = Some(self.media(image, video).await?);
        Ok(Cast { language, media, clip_lengths })
    }

    /// A provider's embedder; none where the choice is the built-in one.
    pub fn embedder(&self, choice: &EmbedderChoice) -> Result<Option<Arc<dyn Embedder>>, Error> {
        let settings = &self.settings;
        Ok(match choice {
            EmbedderChoice::Builtin => None,
            EmbedderChoice::OpenAi { model } => {
                let base = base_url("openai_base_url", &settings.openai.base_url)?;
                let key = self.key(Service::OpenAi).cloned();
                Some(Arc::new(OpenAiEmbedder::new(self.http()?, base, key, *model)))
            }
            EmbedderChoice::Voyage { model } => {
                let key = self.required_key(Service::Voyage)?.clone();
                let base = if belongs_to_mongodb(&key) && !settings.voyage.host_is_chosen {
                    MONGODB_BASE_URL.parse().map_err(|error| {
                        Error::internal("the address of MongoDB's host cannot be used")
                            .because(error)
                    })?
                } else {
                    base_url("voyage_base_url", &settings.voyage.base_url)?
                };
                Some(Arc::new(VoyageEmbedder::new(self.http()?, base, key, model)))
            }
            EmbedderChoice::Compatible { model } => {
                let host = &settings.compatible;
                let base = base_url("embedding_base_url", &host.base_url)?;
                let dimensions = usize::try_from(host.dimensions).ok().filter(|width| *width > 0);
                let key = host.key.clone();
                let client = self.http()?;
                Some(Arc::new(OpenAiEmbedder::compatible(client, base, key, model, dimensions)))
            }
        })
    }

    /// Who named a model: wrong usage if a flag did, else a wrong setting. A name that is not the
    /// setting's was kept with a run.
    fn namer(&self, setting: &str, name: &str) -> (Kind, String) {
        let mut origins = self.settings.origins.iter();
        let origin = origins
            .find(|origin| origin.key.name == setting && origin.value.as_deref() == Some(name));
        match origin.map(|origin| &origin.source) {
            Some(Source::Flag(flag)) => (Kind::Usage, (*flag).to_owned()),
            Some(source) => (Kind::Settings, format!("{setting} ({source})")),
            None => (Kind::Settings, format!("{setting} of the run")),
        }
    }
}

/// The names of the image models.
fn image_models() -> Vec<&'static str> {
    kie::IMAGE_MODELS.iter().map(|model| model.name).collect()
}

/// The names of the video models.
fn video_models() -> Vec<&'static str> {
    fal::VIDEO_MODELS.iter().map(|model| model.name).collect()
}

/// A model that aida does not know, with the name that is nearest to it.
fn no_such_model(kind: Kind, who: &str, name: &str, known: &[&str]) -> Error {
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

#[async_trait]
impl Crew for Context {
    async fn cast(&self, claim: &Claim) -> Result<Cast, Error> {
        self.cast_of(claim).await
    }
}

/// A host of the settings as the providers take it. The settings have checked it already.
fn base_url(name: &str, url: &Url) -> Result<BaseUrl, Error> {
    url.as_str().parse().map_err(|error| Error::settings(format!("{name} cannot be used: {error}")))
}
