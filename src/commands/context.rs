//! What every subcommand is given: the settings, the terminal, the clock, and services made from
//! the settings when they are first asked for.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::clock::SharedClock;
use crate::error::{Error, Kind};
use crate::providers::http::HttpClient;
use crate::signals::Stop;
use crate::store::{DatabaseSettings, Store};

/// What every subcommand is given.
#[derive(Debug)]
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
    stop: Stop,
    executable: PathBuf,
    store: OnceCell<Store>,
    pub(super) http: OnceLock<HttpClient>,
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
        }
    }

    /// What it does, for people.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Anthropic => "Claude, which writes and directs",
            Self::Kie => "KIE.AI, which draws the keyframes",
            Self::Fal => "fal.ai, which moves them",
            Self::OpenAi => "OpenAI, which embeds",
        }
    }
}

impl Context {
    /// A context whose services are not made yet. `executable` is this program.
    pub fn new(
        settings: Settings,
        output: Output,
        clock: SharedClock,
        stop: Stop,
        started: Instant,
        executable: PathBuf,
    ) -> Self {
        Self {
            settings,
            output,
            clock,
            cancel: stop.cancel.clone(),
            started,
            stop,
            executable,
            store: OnceCell::new(),
            http: OnceLock::new(),
        }
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
            executable: self.executable.clone(),
        }
    }

    /// The database, opened when first asked for; its schema is the one that this aida knows.
    pub async fn store(&self) -> Result<&Store, Error> {
        let open = || async { Ok(Store::open(&self.database(), self.clock.clone()).await?) };
        self.store.get_or_try_init(open).await
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
        if yes {
            return Ok(());
        }
        if !self.output.can_prompt() {
            return Err(Error::new(Kind::NeedsYes, "this needs a yes, and nobody can be asked")
                .because(format!("unanswered: {question}"))
                .hint("add --yes to answer it beforehand; nothing further was spent"));
        }
        if self.output.confirm(question, &self.cancel).await? {
            Ok(())
        } else {
            Err(Error::new(Kind::NeedsYes, "not agreed to; nothing further was spent"))
        }
    }
}
