//! What the rooms below report, as the user reads it: kind, cause, and what to type next.

use crate::error::{Error, Kind};
use crate::ledger::TillError;
use crate::providers::{FailureClass, MoneyState, Provider, ProviderError};
use crate::store::StoreError;
use crate::studio::StudioError;
use crate::studio::agents::AgentError;
use crate::studio::animatic::AnimaticError;
use crate::studio::film::FilmError;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::new(error.kind(), error.to_string()).hint(error.hint()).because(error)
    }
}

impl From<TillError> for Error {
    fn from(error: TillError) -> Self {
        match error {
            TillError::Provider(error) => error.into(),
            TillError::Store(error) => error.into(),
            TillError::OverBudget { ref raise, .. } => {
                let raise = format!("raise it with: {raise}");
                Self::new(Kind::Budget, error.to_string())
                    .hint("nothing was sent for it")
                    .hint(raise)
            }
            TillError::TakenOver => Self::new(Kind::Locked, error.to_string())
                .hint("it goes on there; `aida resume` shows where it stands"),
            TillError::NoPrice { .. } | TillError::PriceMismatch(_) => {
                Self::settings(error.to_string())
                    .hint("nothing was sent: aida makes no call that it cannot price")
                    .hint("choose a model that has a price (`aida prices` lists them)")
                    .hint("or add its price under [[price]] in config.toml")
            }
            TillError::Cancelled => Self::new(Kind::Interrupted, error.to_string()),
        }
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        let provider = error.provider;
        let variable = key_variable(provider);
        // A language or embedding reply that was lost is booked at its ceiling and may be asked
        // for again; a lost picture or clip may exist, and only the provider knows.
        if error.money == MoneyState::Unknown
            && matches!(provider, Provider::Kie | Provider::Fal)
            && error.class != FailureClass::Credentials
        {
            return Self::new(
                Kind::MoneyUnknown,
                format!("{provider} did not answer, and the job may have been bought"),
            )
            .because(error)
            .hint("nothing is sent again by itself; find out with: aida recover");
        }
        let problem = |kind, message: String| Self::new(kind, message);
        match error.class {
            FailureClass::Credentials => {
                problem(Kind::Settings, format!("{provider} refused the key"))
                    .because(error)
                    .hint(format!(
                        "check {variable} (environment) or {} (config.toml)",
                        variable.to_ascii_lowercase()
                    ))
                    .hint("`aida health` tests every key without paying")
            }
            FailureClass::Funds => {
                problem(Kind::Provider, format!("the {provider} account cannot pay for this"))
                    .because(error)
                    .hint(format!("add credit or raise the limit at {}", account_page(provider)))
                    .hint("then `aida resume` goes on; nothing is bought twice")
            }
            FailureClass::Policy => {
                problem(Kind::Provider, format!("{provider} refused the content"))
                    .because(error)
                    .hint("reword the brief or the prompt that it names")
            }
            FailureClass::NotOffered => {
                let refused =
                    problem(Kind::Provider, format!("{provider} does not offer this model now"))
                        .because(error);
                match provider {
                    Provider::Kie => refused.hint(
                        "choose another with `--image-model nano-banana-2`, or image_model in config.toml",
                    ),
                    Provider::Fal => refused.hint(
                        "choose another with `--video-model kling-3-pro`, or video_model in config.toml",
                    ),
                    Provider::Anthropic => refused.hint("choose another language_model in config.toml"),
                    Provider::OpenAi | Provider::Voyage => {
                        refused.hint("choose another embedder in config.toml")
                    }
                    Provider::Compatible => refused
                        .hint("on Ollama: `ollama pull` with the model's name")
                        .hint("or change embedding_model in config.toml"),
                }
            }
            FailureClass::Input => {
                problem(Kind::Provider, format!("{provider} does not accept the request"))
                    .because(error)
                    .hint("a shorter brief, another aspect or another model may pass")
            }
            FailureClass::Generation => {
                problem(Kind::Provider, format!("{provider} could not make it"))
                    .because(error)
                    .hint("`aida resume` tries again where that costs nothing twice")
            }
            FailureClass::RateLimited | FailureClass::Unavailable | FailureClass::Network => {
                problem(Kind::Provider, format!("{provider} cannot be reached or is busy"))
                    .because(error)
                    .hint("`aida resume` goes on where it stopped")
            }
            FailureClass::Malformed => problem(
                Kind::Provider,
                format!("{provider} answered with something unexpected"),
            )
            .because(error)
            .hint("a proxy or a changed host may be answering; `aida config show` lists the hosts"),
        }
    }
}

/// The environment variable that holds a provider's key.
const fn key_variable(provider: Provider) -> &'static str {
    match provider {
        Provider::Anthropic => "ANTHROPIC_API_KEY",
        Provider::OpenAi => "OPENAI_API_KEY",
        Provider::Voyage => "VOYAGE_API_KEY",
        Provider::Compatible => "EMBEDDING_API_KEY",
        Provider::Kie => "KIE_API_KEY",
        Provider::Fal => "FAL_KEY",
    }
}

/// Where an account is paid into.
const fn account_page(provider: Provider) -> &'static str {
    match provider {
        Provider::Anthropic => "platform.claude.com",
        Provider::OpenAi => "platform.openai.com",
        Provider::Voyage => "dashboard.voyageai.com",
        Provider::Compatible => "the host of embedding_base_url",
        Provider::Kie => "kie.ai",
        Provider::Fal => "fal.ai",
    }
}

/// The kind of trouble that the word in a run's row stands for.
pub(in crate::commands) fn kind_of_stop(stopped_by: &str) -> Kind {
    match stopped_by {
        "budget" => Kind::Budget,
        "needs_yes" => Kind::NeedsYes,
        "unknown_money" | "money_unknown" => Kind::MoneyUnknown,
        "credentials" | "unpriced" | "settings" => Kind::Settings,
        "database" => Kind::Database,
        "usage" => Kind::Usage,
        "taken_over" => Kind::Locked,
        "damaged" | "internal" => Kind::Internal,
        _ => Kind::Provider,
    }
}

impl From<StudioError> for Error {
    fn from(error: StudioError) -> Self {
        let message = error.to_string();
        match error {
            StudioError::Store(error) => error.into(),
            StudioError::Till(error) | StudioError::Team(AgentError::Till(error)) => error.into(),
            StudioError::Memory(error) => error.into(),
            StudioError::Team(error) => team(&error),
            StudioError::Film(error) => film(error),
            StudioError::Animatic(error) => animatic(error),
            StudioError::Brief(_) | StudioError::Damaged(_) => Self::internal(message),
            StudioError::Busy { run } => Self::new(Kind::Locked, message)
                .hint(format!("wait for it to finish, or stop it and then: aida resume {}", run.short())),
            StudioError::Folder { source, .. } => {
                Self::new(Kind::Provider, message).because(source).hint(
                    "free some space or mend the folder's rights; nothing is bought again to go on",
                )
            }
            StudioError::Download { .. } | StudioError::BadResult { .. } => Self::new(Kind::Provider, message)
                .hint("it is fetched again, not bought again")
                .hint("if it stays so, another take can be ordered with: aida retake PROJECT --shot N"),
            StudioError::TooSlow { .. } => Self::new(Kind::Provider, message)
                .hint("the job goes on at the provider and is not bought again"),
            StudioError::UnknownMoney { .. } => Self::new(Kind::MoneyUnknown, message)
                .hint("it is never sent again by itself, because that could pay twice; every other shot is kept")
                .hint("find out what became of it with: aida recover"),
            StudioError::TooManyReferences { most: 0, .. } => Self::usage(message)
                .hint("choose an --image-model that takes references, such as nano-banana-2"),
            StudioError::TooManyReferences { .. } => Self::usage(message)
                .hint("give fewer with --reference, or choose another --image-model: nano-banana-2 is shown 14"),
            StudioError::LostReference { .. } => Self::usage(message)
                .hint("put the picture back where it lay, or keep it again with: aida files add PATH"),
            StudioError::NothingShot { .. } => {
                Self::new(Kind::Provider, message).hint("reword the brief, or choose other models")
            }
        }
    }
}

/// The team's failures, which come back when the same answers are replayed.
fn team(error: &AgentError) -> Error {
    let shown = Error::new(Kind::Provider, error.to_string());
    let shown = match error.hint() {
        Some(hint) => shown.hint(hint),
        None => shown,
    };
    shown.hint("what was answered is paid for and in the books: aida costs --last 1")
}

fn film(error: FilmError) -> Error {
    let kind = match &error {
        FilmError::FfmpegMissing { .. }
        | FilmError::FfmpegUnusable { .. }
        | FilmError::FfmpegTooOld { .. }
        | FilmError::NoEncoder => Kind::Settings,
        FilmError::Cancelled => Kind::Interrupted,
        _ => Kind::Provider,
    };
    let shown = Error::new(kind, error.to_string());
    match kind {
        Kind::Settings => shown
            .hint("install ffmpeg 4.2 or newer (apt install ffmpeg, brew install ffmpeg)")
            .hint("or name it with ffmpeg = \"/path/to/ffmpeg\" in config.toml; nothing was spent"),
        _ => shown.because(error).hint("the clips are kept; the cut can be repeated for nothing"),
    }
}

fn animatic(error: AnimaticError) -> Error {
    if matches!(error, AnimaticError::Cancelled) {
        return Error::new(Kind::Interrupted, error.to_string());
    }
    Error::usage("the preview could not be written")
        .because(error)
        .hint("choose another folder with --out DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(provider: Provider, class: FailureClass, money: MoneyState) -> Error {
        ProviderError {
            provider,
            class,
            money,
            status: None,
            code: None,
            message: "no".to_owned(),
            request_id: None,
            retry_after: None,
        }
        .into()
    }

    #[test]
    fn a_refused_key_names_its_variable_and_is_a_settings_error() {
        let error = failed(Provider::Fal, FailureClass::Credentials, MoneyState::NotCharged);
        assert_eq!(error.kind().exit_code(), 8);
        assert!(error.hints()[0].contains("FAL_KEY"), "{:?}", error.hints());
    }

    #[test]
    fn only_a_lost_picture_or_clip_is_unknown_money() {
        let lost = |provider| failed(provider, FailureClass::Network, MoneyState::Unknown).kind();
        assert_eq!(lost(Provider::Kie), Kind::MoneyUnknown);
        assert_eq!(lost(Provider::Fal), Kind::MoneyUnknown);
        assert_eq!(lost(Provider::Anthropic), Kind::Provider);
    }

    #[test]
    fn what_has_no_price_is_a_settings_error() {
        let unpriced = TillError::NoPrice { provider: "fal".to_owned(), model: "x".to_owned() };
        assert_eq!(Error::from(unpriced).kind().exit_code(), 8);
    }
}
