//! What every subcommand is given: the settings, the terminal, the clock, and services made from
//! the settings when they are first asked for.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::cli::environment::Environment;
use crate::cli::output::Output;
use crate::cli::settings::{Flags, Override, Settings};
use crate::clock::SharedClock;
use crate::error::{Error, Kind};
use crate::providers::http::HttpClient;
use crate::signals::Stop;
use crate::store::{DatabaseSettings, Store};

/// What every subcommand is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// Flag > environment > config.toml > default, merged.
    pub settings: Settings,
    /// The terminal.
    pub output: Output,
    /// The time.
    pub clock: SharedClock,
    /// Cancelled when the user wants the work to stop.
    pub cancel: CancellationToken,
    /// When this process began.
    pub started: Instant,
    /// How a stop is asked for.
    pub stop: Stop,
    /// What the settings were merged from.
    sources: Arc<Sources>,
    store: OnceCell<Store>,
    pub(super) http: OnceLock<HttpClient>,
}

/// Flags and environment. The latter holds keys as plain text, so this never prints itself.
struct Sources(Flags, Environment);

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sources")
    }
}

/// A service that needs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Claude.
    Anthropic,
    /// KIE.AI.
    Kie,
    /// fal.ai.
    Fal,
    /// OpenAI.
    OpenAi,
    /// Voyage AI.
    Voyage,
    /// A host that speaks OpenAI's interface.
    Compatible,
}

impl Service {
    /// What create-video cannot do without.
    pub const FILM: [Self; 3] = [Self::Anthropic, Self::Kie, Self::Fal];

    /// The variable that holds its key.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::Kie => "KIE_API_KEY",
            Self::Fal => "FAL_KEY",
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Voyage => "VOYAGE_API_KEY",
            Self::Compatible => "EMBEDDING_API_KEY",
        }
    }

    /// What it does, for people.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Anthropic => "Claude, which writes and directs",
            Self::Kie => "KIE.AI, which draws the keyframes",
            Self::Fal => "fal.ai, which moves them",
            Self::OpenAi => "OpenAI, which embeds",
            Self::Voyage => "Voyage AI, which embeds",
            Self::Compatible => "the host of embedding_base_url, which embeds",
        }
    }
}

impl Context {
    /// A context whose services are not made yet, with what its settings were merged from.
    pub fn new(
        settings: Settings,
        sources: (Flags, Environment),
        output: Output,
        clock: SharedClock,
        stop: Stop,
        started: Instant,
    ) -> Self {
        Self {
            settings,
            output,
            clock,
            cancel: stop.cancel.clone(),
            started,
            stop,
            sources: Arc::new(Sources(sources.0, sources.1)),
            store: OnceCell::new(),
            http: OnceLock::new(),
        }
    }

    /// The same with other settings on top of the flags, for one film of many. The database and the
    /// connections are shared where they are open already.
    pub fn with(&self, overrides: Vec<Override>) -> Result<Self, Error> {
        let Sources(flags, environment) = &*self.sources;
        let mut flags = flags.clone();
        // The first that says something is heard.
        flags.overrides.splice(0..0, overrides);
        Ok(Self { settings: Settings::resolve(&flags, environment)?, ..self.clone() })
    }

    /// Whether it was SIGTERM that asked for the stop.
    pub fn was_terminated(&self) -> bool {
        self.stop.kind() == Some(Kind::Terminated)
    }

    /// Which database the settings name.
    pub fn database(&self) -> DatabaseSettings {
        DatabaseSettings {
            url: self.settings.database_url.clone(),
            data_dir: self.settings.data_dir.clone(),
            executable: self.sources.1.executable.clone(),
        }
    }

    /// The database, opened when first asked for; its schema is the one that this aida knows.
    pub async fn store(&self) -> Result<&Store, Error> {
        let open = || async { Ok(Store::open(&self.database(), self.clock.clone()).await?) };
        self.store.get_or_try_init(open).await
    }

    /// Whether there is a database at all: an embedded one need not have been made yet.
    pub fn has_database(&self) -> bool {
        self.settings.database_url.is_some() || self.settings.data_dir.join("database").exists()
    }

    /// The database whatever its schema, for `migrate` and `health`.
    pub async fn unmigrated_store(&self) -> Result<Store, Error> {
        Ok(Store::open_unmigrated(&self.database(), self.clock.clone()).await?)
    }

    /// The key of a service, if it is set.
    pub fn key(&self, service: Service) -> Option<&SecretString> {
        let settings = &self.settings;
        match service {
            Service::Anthropic => settings.anthropic.key.as_ref(),
            Service::Kie => settings.kie.key.as_ref(),
            Service::Fal => settings.fal.key.as_ref(),
            Service::OpenAi => settings.openai.key.as_ref(),
            Service::Voyage => settings.voyage.key.as_ref(),
            Service::Compatible => settings.compatible.key.as_ref(),
        }
    }

    /// Checks that all these services have a key; the error (exit code 8) names every missing
    /// one and how to set it.
    pub fn require(&self, services: &[Service]) -> Result<(), Error> {
        let missing: Vec<_> =
            services.iter().filter(|service| self.key(**service).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let variables: Vec<_> = missing.iter().map(|service| service.variable()).collect();
        let mut error = Error::settings(format!(
            "{} missing: {}",
            if missing.len() == 1 { "a key is" } else { "keys are" },
            variables.join(", ")
        ));
        for service in missing {
            error = error.hint(format!("{} is for {}", service.variable(), service.purpose()));
        }
        Err(error
            .hint("set them in the environment, with --env-file PATH, or with `aida config init`")
            .hint("`aida create-video BRIEF --preview` needs no key and costs nothing"))
    }

    /// The key of a service, or the error of [`Context::require`].
    pub fn required_key(&self, service: Service) -> Result<&SecretString, Error> {
        self.require(&[service])?;
        self.key(service).ok_or_else(|| Error::internal("a key went missing"))
    }

    /// Gets a yes to `question`: from `--yes`, or from the person at the terminal. Without
    /// either the error is of kind [`Kind::NeedsYes`], exit code 3.
    pub async fn need_yes(&self, yes: bool, question: &str) -> Result<(), Error> {
        self.need_yes_or(yes, question, "nothing further was spent").await
    }

    /// The same, with what has not happened where there is no yes.
    pub async fn need_yes_or(
        &self,
        yes: bool,
        question: &str,
        otherwise: &str,
    ) -> Result<(), Error> {
        if yes {
            return Ok(());
        }
        if !self.output.can_prompt() {
            return Err(Error::new(Kind::NeedsYes, "this needs a yes, and nobody can be asked")
                .because(format!("unanswered: {question}"))
                .hint(format!("add --yes to answer it beforehand; {otherwise}")));
        }
        if self.output.confirm(question, &self.cancel).await? {
            Ok(())
        } else {
            Err(Error::new(Kind::NeedsYes, format!("not agreed to; {otherwise}")))
        }
    }
}
