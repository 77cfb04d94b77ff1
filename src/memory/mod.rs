//! What earlier work taught us: projects, scripts, shots, the user's files, campaigns and
//! preferences, found again by meaning and by words.
//!
//! Everything that is remembered is stored with its words, whatever becomes of its vector, so
//! that it can be found even when nothing could be embedded.

pub mod choice;
pub mod files;
mod fusion;
pub mod lexical;
mod passages;
pub mod recall;
pub mod remember;
pub mod search;
mod snippet;
mod words;

use std::fmt;
use std::sync::Arc;

use pgvector::Vector;

use crate::clock::SharedClock;
use crate::error::{Error, Kind};
use crate::ledger::till::{Component, Purpose};
use crate::ledger::{Till, TillError};
use crate::providers::Embedder;
use crate::store::embeddings::VECTOR_WIDTH;
use crate::store::{Store, StoreError};

pub use choice::EmbedderChoice;
pub use recall::{Recall, RecallRequest};
pub use remember::Remembered;
pub use search::{Hit, MatchedBy, SearchFilter, SearchReport};

/// What turns texts into vectors.
#[derive(Clone)]
pub enum Embedding {
    /// The built-in embedder: free, and blind to meaning.
    Builtin,
    /// A provider's model, paid through the till.
    Paid {
        /// The model.
        embedder: Arc<dyn Embedder>,
        /// Where its calls are paid.
        till: Till,
    },
}

impl Embedding {
    /// The model's name, as stored beside each of its vectors and shown in every output.
    pub fn model(&self) -> &str {
        match self {
            Self::Builtin => lexical::MODEL,
            Self::Paid { embedder, .. } => embedder.model(),
        }
    }

    /// The cosine under which two texts have nothing to do with each other.
    ///
    /// The built-in embedder's is where its tests separate related from unrelated texts; for
    /// OpenAI's third generation unrelated English texts lie around 0.1 and related ones
    /// above 0.3.
    pub(crate) const fn least_similarity(&self) -> f64 {
        match self {
            Self::Builtin => 0.12,
            Self::Paid { .. } => 0.22,
        }
    }

    /// The cosine from which a match counts as perfect.
    pub(crate) const fn full_similarity(&self) -> f64 {
        match self {
            Self::Builtin => 0.5,
            Self::Paid { .. } => 0.7,
        }
    }

    /// How much the vector's word counts against the words' own, out of 1.
    pub(crate) const fn weight(&self) -> f64 {
        match self {
            Self::Builtin => 0.4,
            Self::Paid { .. } => 0.6,
        }
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Embedding").field(&self.model()).finish()
    }
}

/// Why something could not be remembered or found.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// There is nothing to look for.
    #[error("the search text is empty")]
    BlankQuery,
    /// The search text is longer than [`search::LONGEST_QUERY`].
    #[error(
        "the search text has {characters} characters; at most {} are taken",
        search::LONGEST_QUERY
    )]
    LongQuery {
        /// Its length in characters.
        characters: usize,
    },
    /// The embedder's vectors do not fit into the database. Nothing was stored.
    #[error("{model} makes vectors of {width} numbers; at most {VECTOR_WIDTH} can be stored")]
    TooWide {
        /// The model.
        model: String,
        /// The width of its vectors.
        width: usize,
    },
    /// The embedder answered with another number of vectors than it was given texts.
    #[error("{model} answered {vectors} vectors for {texts} texts")]
    Miscounted {
        /// The model.
        model: String,
        /// How many texts it was given.
        texts: usize,
        /// How many vectors it answered.
        vectors: usize,
    },
    /// The till or the provider behind it said no.
    #[error(transparent)]
    Till(#[from] TillError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MemoryError {
    /// Whether the provider may answer a little later: then words alone will do for now.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Till(TillError::Provider(error)) if error.class.is_transient())
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        let message = error.to_string();
        match error {
            MemoryError::BlankQuery => {
                Self::usage(message).hint("say what to look for: aida search \"latte art\"")
            }
            MemoryError::LongQuery { .. } => {
                Self::usage(message).hint("search for a few words or a sentence")
            }
            MemoryError::TooWide { .. } => Self::new(Kind::Settings, message)
                .hint("set embedder = \"auto\" or \"builtin\" in config.toml"),
            MemoryError::Miscounted { .. } => Self::new(Kind::Provider, message)
                .hint("try again; set embedder = \"builtin\" in config.toml to go on without it"),
            MemoryError::Store(error) => error.into(),
            MemoryError::Till(TillError::Provider(error)) => Self::from(error)
                .hint("set embedder = \"builtin\" in config.toml to go on without a provider"),
            MemoryError::Till(error) => error.into(),
        }
    }
}

/// The memory of one database.
#[derive(Debug, Clone)]
pub struct Memory {
    store: Store,
    embedding: Embedding,
    clock: SharedClock,
}

impl Memory {
    /// The memory in `store`, whose new vectors `embedding` makes.
    pub const fn new(store: Store, embedding: Embedding, clock: SharedClock) -> Self {
        Self { store, embedding, clock }
    }

    /// The model that makes the vectors.
    pub fn embedder(&self) -> &str {
        self.embedding.model()
    }

    /// The vectors of some texts, in their order, [`VECTOR_WIDTH`] wide. No text may be blank
    /// and all must fit into one call.
    async fn embed(&self, purpose: &Purpose, texts: &[String]) -> Result<Vec<Vector>, MemoryError> {
        let vectors = match &self.embedding {
            Embedding::Builtin => texts.iter().map(|text| lexical::embed(text)).collect(),
            Embedding::Paid { embedder, till } => {
                let purpose =
                    Purpose { component: Component::Embedding, shot: None, ..purpose.clone() };
                till.embed(&purpose, embedder.as_ref(), texts).await?
            }
        };
        if vectors.len() != texts.len() {
            return Err(MemoryError::Miscounted {
                model: self.embedder().to_owned(),
                texts: texts.len(),
                vectors: vectors.len(),
            });
        }
        vectors.into_iter().map(|vector| padded(vector, self.embedder())).collect()
    }

    /// The most texts, and the most bytes together, that one call takes. A token is never
    /// shorter than a byte, so counting bytes keeps every call under its limit of tokens.
    fn batch_limits(&self) -> (usize, usize) {
        match &self.embedding {
            Embedding::Builtin => (usize::MAX, usize::MAX),
            Embedding::Paid { embedder, .. } => {
                let (texts, tokens) = embedder.batch_limits();
                (texts.max(1), usize::try_from(tokens).unwrap_or(usize::MAX))
            }
        }
    }
}

/// The vector with zeros up to [`VECTOR_WIDTH`]: that leaves every cosine unchanged.
fn padded(mut vector: Vec<f32>, model: &str) -> Result<Vector, MemoryError> {
    if vector.len() > VECTOR_WIDTH {
        return Err(MemoryError::TooWide { model: model.to_owned(), width: vector.len() });
    }
    vector.resize(VECTOR_WIDTH, 0.0);
    Ok(Vector::from(vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_vectors_are_padded_and_wide_ones_refused() {
        let vector = padded(vec![0.6, 0.8], "narrow").unwrap();
        assert_eq!(vector.as_slice().len(), VECTOR_WIDTH);
        assert_eq!(vector.as_slice()[..3], [0.6, 0.8, 0.0]);
        let error = padded(vec![0.0; 3072], "wide").unwrap_err();
        assert!(matches!(error, MemoryError::TooWide { width: 3072, .. }));
        assert_eq!(Error::from(error).kind(), Kind::Settings);
    }
}
