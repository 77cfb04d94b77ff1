//! Which embedder the `embedder` setting means.

use crate::error::{Error, Kind};
use crate::memory::lexical;

/// OpenAI's models that aida has an index for.
/// Source: <https://developers.openai.com/api/docs/models>, 2026-11.
const OPENAI_MODELS: [&str; 2] = ["text-embedding-3-small", "text-embedding-3-large"];

/// What makes the vectors, decided and not yet built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedderChoice {
    /// The built-in one.
    Builtin,
    /// A model of OpenAI's.
    OpenAi {
        /// The model's id.
        model: &'static str,
    },
}

/// Why the setting names no usable embedder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// aida knows no such embedder.
    #[error("there is no embedder '{0}'")]
    UnknownEmbedder(String),
    /// The embedder was asked for by name, and its key is missing.
    #[error("the embedder {model} needs OPENAI_API_KEY, which is not set")]
    KeyMissing {
        /// The model's id.
        model: &'static str,
    },
}

impl EmbedderChoice {
    /// Reads the setting: `auto` is OpenAI where a key is and the built-in embedder otherwise;
    /// `builtin` or a model's name is that and nothing else.
    pub fn from_setting(setting: &str, has_openai_key: bool) -> Result<Self, ChoiceError> {
        match setting.trim() {
            "auto" if has_openai_key => Ok(Self::OpenAi { model: OPENAI_MODELS[0] }),
            "auto" | "builtin" | lexical::MODEL => Ok(Self::Builtin),
            named => {
                let model = OPENAI_MODELS
                    .into_iter()
                    .find(|model| *model == named)
                    .ok_or_else(|| ChoiceError::UnknownEmbedder(named.to_owned()))?;
                if has_openai_key {
                    Ok(Self::OpenAi { model })
                } else {
                    Err(ChoiceError::KeyMissing { model })
                }
            }
        }
    }
}

impl From<ChoiceError> for Error {
    fn from(error: ChoiceError) -> Self {
        let hint = match &error {
            ChoiceError::UnknownEmbedder(_) => {
                let known = OPENAI_MODELS.join(", ");
                format!("set embedder to one of auto, builtin, {known}")
            }
            ChoiceError::KeyMissing { .. } => {
                "set OPENAI_API_KEY, or embedder = \"auto\" in config.toml".to_owned()
            }
        };
        Self::new(Kind::Settings, error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_what_is_there_and_names_are_kept_to() {
        let choose = EmbedderChoice::from_setting;
        let small = EmbedderChoice::OpenAi { model: "text-embedding-3-small" };
        assert_eq!(choose("auto", true), Ok(small.clone()));
        assert_eq!(choose("auto", false), Ok(EmbedderChoice::Builtin));
        assert_eq!(choose("builtin", true), Ok(EmbedderChoice::Builtin));
        assert_eq!(choose(" text-embedding-3-small ", true), Ok(small));
        let missing = choose("text-embedding-3-large", false).unwrap_err();
        assert_eq!(missing, ChoiceError::KeyMissing { model: "text-embedding-3-large" });
        assert_eq!(Error::from(missing).kind().exit_code(), 8);
        assert!(matches!(choose("ada", true), Err(ChoiceError::UnknownEmbedder(_))));
    }
}
