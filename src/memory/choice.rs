//! Which embedder the `embedder` setting means.

use crate::error::{Error, Kind};
use crate::memory::{BUILTIN_MODEL, lexical};
use crate::providers::{openai, voyage};
use crate::store::embeddings::VECTOR_WIDTH;

/// OpenAI's models that can be named.
/// Source: <https://developers.openai.com/api/docs/models>, 2026-11.
const OPENAI_MODELS: [&str; 2] = ["text-embedding-3-small", "text-embedding-3-large"];
/// The setting for a host that speaks OpenAI's interface.
const COMPATIBLE: &str = "compatible";

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
    /// A model of Voyage's.
    Voyage {
        /// The model's id.
        model: &'static str,
    },
    /// A model of the host in the setting `embedding_base_url`.
    Compatible {
        /// The model's id there.
        model: String,
    },
}

/// What the settings have for embedders.
#[derive(Debug, Clone, Copy, Default)]
pub struct Means<'a> {
    /// Whether there is a key of OpenAI's.
    pub openai_key: bool,
    /// Whether there is a key of Voyage's.
    pub voyage_key: bool,
    /// The model of a compatible host; empty for none.
    pub compatible_model: &'a str,
}

/// Why the setting names no usable embedder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// aida knows no such embedder.
    #[error("there is no embedder '{0}'")]
    UnknownEmbedder(String),
    /// The embedder was asked for by name, and its key is missing.
    #[error("the embedder {model} needs {variable}, which is not set")]
    KeyMissing {
        /// The model's id.
        model: &'static str,
        /// The variable that holds the key.
        variable: &'static str,
    },
    /// A compatible host was asked for, and not which of its models.
    #[error("the embedder 'compatible' needs the name of a model, and embedding_model is not set")]
    ModelMissing,
}

impl EmbedderChoice {
    /// Reads the setting: `auto` is OpenAI where a key is and the built-in embedder otherwise;
    /// `builtin`, `compatible` or a model's name is that and nothing else.
    pub fn from_setting(setting: &str, means: Means<'_>) -> Result<Self, ChoiceError> {
        let named = setting.trim();
        let known = |models: &[&'static str]| models.iter().copied().find(|model| *model == named);
        match named {
            "auto" if means.openai_key => Ok(Self::OpenAi { model: OPENAI_MODELS[0] }),
            "auto" | "builtin" | BUILTIN_MODEL => Ok(Self::Builtin),
            COMPATIBLE => match means.compatible_model.trim() {
                "" => Err(ChoiceError::ModelMissing),
                model => Ok(Self::Compatible { model: model.to_owned() }),
            },
            _ => {
                if let Some(model) = known(&OPENAI_MODELS) {
                    let missing = ChoiceError::KeyMissing { model, variable: "OPENAI_API_KEY" };
                    return means.openai_key.then_some(Self::OpenAi { model }).ok_or(missing);
                }
                if let Some(model) = known(&voyage::MODELS) {
                    let missing = ChoiceError::KeyMissing { model, variable: "VOYAGE_API_KEY" };
                    return means.voyage_key.then_some(Self::Voyage { model }).ok_or(missing);
                }
                Err(ChoiceError::UnknownEmbedder(named.to_owned()))
            }
        }
    }
}

/// How many numbers the vectors of a model have that aida knows by name, whatever the settings are; none
/// for any other.
pub fn known_width(model: &str) -> Option<usize> {
    if model == BUILTIN_MODEL || model == lexical::MODEL {
        Some(VECTOR_WIDTH)
    } else if OPENAI_MODELS.contains(&model) {
        Some(openai::ASKED_WIDTH)
    } else {
        voyage::MODELS.contains(&model).then_some(voyage::ASKED_WIDTH)
    }
}

impl From<ChoiceError> for Error {
    fn from(error: ChoiceError) -> Self {
        let hint = match &error {
            ChoiceError::UnknownEmbedder(_) => {
                let models = [OPENAI_MODELS.as_slice(), voyage::MODELS.as_slice()].concat();
                format!("set embedder to one of auto, builtin, compatible, {}", models.join(", "))
            }
            ChoiceError::KeyMissing { variable, .. } => {
                format!("set {variable}, or embedder = \"auto\" in config.toml")
            }
            ChoiceError::ModelMissing => {
                "set embedding_model in config.toml (EMBEDDING_MODEL), such as nomic-embed-text"
                    .to_owned()
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
        let nothing = Means::default();
        let openai = Means { openai_key: true, ..nothing };
        let small = EmbedderChoice::OpenAi { model: "text-embedding-3-small" };
        assert_eq!(choose("auto", openai), Ok(small.clone()));
        assert_eq!(choose("auto", nothing), Ok(EmbedderChoice::Builtin));
        // Nobody is sent to another vendor, or to a host of their own, without having said so.
        let others = Means { voyage_key: true, compatible_model: "m", ..nothing };
        assert_eq!(choose("auto", others), Ok(EmbedderChoice::Builtin));
        assert_eq!(choose("builtin", openai), Ok(EmbedderChoice::Builtin));
        assert_eq!(choose(" text-embedding-3-small ", openai), Ok(small));
        assert_eq!(choose("voyage-4", others), Ok(EmbedderChoice::Voyage { model: "voyage-4" }));
        let host = EmbedderChoice::Compatible { model: "m".to_owned() };
        assert_eq!(choose("compatible", others), Ok(host));
        assert_eq!(choose("compatible", openai), Err(ChoiceError::ModelMissing));
        for (name, variable) in
            [("text-embedding-3-large", "OPENAI_API_KEY"), ("voyage-4-lite", "VOYAGE_API_KEY")]
        {
            let missing = choose(name, nothing).unwrap_err();
            assert_eq!(missing, ChoiceError::KeyMissing { model: name, variable });
            assert_eq!(Error::from(missing).kind().exit_code(), 8);
        }
        assert!(matches!(choose("ada", openai), Err(ChoiceError::UnknownEmbedder(_))));
    }
}
