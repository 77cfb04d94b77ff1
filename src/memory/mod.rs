//! What earlier work taught us: projects, scripts, shots, the user's files, campaigns and
//! preferences, found again by meaning and by words.
//!
//! Everything that is remembered is stored with its words, whatever becomes of its vector, so
//! that it can be found even when nothing could be embedded.

pub mod choice;
pub mod files;
pub mod fusion;
pub mod lexical;
pub mod palette;
mod passages;
mod query;
pub mod recall;
pub mod reindex;
pub mod remember;
pub mod reuse;
pub mod search;
#[cfg(feature = "semantic")]
pub mod semantic;
mod snippet;
mod spelling;
pub mod taste;
pub mod transfer;
pub(crate) mod words;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use pgvector::Vector;
use sqlx::PgConnection;
use tokio::sync::OnceCell;

use crate::clock::SharedClock;
use crate::error::{Error, Kind};
use crate::ids::RunId;
use crate::ledger::money::Usd;
use crate::ledger::till::{Component, Purpose};
use crate::ledger::{Till, TillError};
use crate::memory::fusion::Weighing;
use crate::providers::{Embedder, TextRole};
use crate::store::embeddings::{VECTOR_WIDTH, index, models, to_unit_length};
use crate::store::{Store, StoreError};

pub use choice::{EmbedderChoice, Means};
pub use recall::{Recall, RecallRequest};
pub use remember::Remembered;
pub use search::{Hit, MatchedBy, SearchFilter, SearchReport};

/// The built-in embedder's name in the database and in every output.
#[cfg(feature = "semantic")]
pub const BUILTIN_MODEL: &str = semantic::MODEL;
/// The built-in embedder's name in the database and in every output.
#[cfg(not(feature = "semantic"))]
pub const BUILTIN_MODEL: &str = lexical::MODEL;

/// What turns texts into vectors.
#[derive(Clone)]
pub enum Embedding {
    /// The built-in embedder: free, and without the feature `semantic` blind to meaning.
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
            Self::Builtin => BUILTIN_MODEL,
            Self::Paid { embedder, .. } => embedder.space(),
        }
    }

    /// How its cosines are weighed against the words.
    pub const fn weighing(&self) -> Weighing {
        match self {
            Self::Builtin => Weighing::BUILTIN,
            Self::Paid { .. } => Weighing::PAID,
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
    /// Vectors of another width than the model has made so far: it is another model under the same
    /// name. Nothing was stored.
    #[error("{model} made vectors of {known} numbers so far, and now of {width}")]
    OtherWidth {
        /// The model.
        model: String,
        /// The width that is known.
        known: usize,
        /// The width that it answered.
        width: usize,
    },
    /// A vector with numbers that are none. Nothing was stored.
    #[error("{model} answered a vector with numbers that are not finite")]
    NotFinite {
        /// The model.
        model: String,
    },
    /// A process that makes a film holds in its memory what is to be forgotten, and would write it
    /// down again. Nothing was forgotten.
    #[error("run {} is being made just now, and would write down again what is forgotten", run.short())]
    RunUnderWay {
        /// The run.
        run: RunId,
    },
    /// The built-in embedder cannot work.
    #[error("the built-in embedder cannot work: {0}")]
    Builtin(String),
    /// The till or the provider behind it said no.
    #[error(transparent)]
    Till(#[from] TillError),
    /// One of the user's files cannot be kept.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// What was to be written could not be.
    #[error("the projects cannot be written")]
    Output(#[source] std::io::Error),
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
                .hint("ask the model for fewer with embedding_dimensions, if it can answer several")
                .hint("or set embedder = \"auto\" or \"builtin\" in config.toml"),
            MemoryError::OtherWidth { .. } => Self::new(Kind::Provider, message)
                .hint("another model answers under this name; give the new one a name of its own"),
            MemoryError::Miscounted { .. } | MemoryError::NotFinite { .. } => {
                Self::new(Kind::Provider, message).hint(
                    "try again; set embedder = \"builtin\" in config.toml to go on without it",
                )
            }
            MemoryError::Output(error) => Self::new(Kind::Usage, message)
                .because(error)
                .hint("is there room, and the right to write there?"),
            MemoryError::RunUnderWay { .. } => Self::new(Kind::Locked, message)
                .hint("wait until it has ended, or stop it, and forget again then"),
            MemoryError::Builtin(_) => Self::new(Kind::Internal, message),
            MemoryError::File(error) => error.into(),
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
    /// How wide the model's vectors are, once that is known.
    width: Arc<OnceCell<usize>>,
    /// Whether the model's index was looked after.
    indexed: Arc<OnceCell<()>>,
    /// Whether a paid model may be asked for the vectors of what is taken into memory.
    may_pay: bool,
}

/// From so many vectors on, an index is built by `aida memory reindex` and not on the way.
const LARGE_BUILD: i64 = 20_000;

impl Memory {
    /// The memory in `store`, whose new vectors `embedding` makes.
    pub fn new(store: Store, embedding: Embedding, clock: SharedClock) -> Self {
        let (width, indexed) = (Arc::default(), Arc::default());
        Self { store, embedding, clock, width, indexed, may_pay: true }
    }

    /// The same memory, in which what only a paid model can embed waits for its vectors.
    #[must_use]
    pub fn for_nothing(&self) -> Self {
        Self { may_pay: false, ..self.clone() }
    }

    /// The model that makes the vectors.
    pub fn embedder(&self) -> &str {
        self.embedding.model()
    }

    /// The vectors of some texts, in their order, [`VECTOR_WIDTH`] wide. No text may be blank
    /// and all must fit into one call. A text that stands there several times is embedded once.
    async fn embed(
        &self,
        purpose: &Purpose,
        texts: &[String],
        role: TextRole,
    ) -> Result<Vec<Vector>, MemoryError> {
        Ok(self.embed_for(purpose, texts, role).await?.0)
    }

    /// [`Memory::embed`], with what it cost, USD.
    async fn embed_for(
        &self,
        purpose: &Purpose,
        texts: &[String],
        role: TextRole,
    ) -> Result<(Vec<Vector>, Usd), MemoryError> {
        let (different, places) = different(texts);
        let (vectors, settled) = match &self.embedding {
            Embedding::Builtin => (builtin(different.clone()).await?, Usd::ZERO),
            Embedding::Paid { embedder, till } => {
                let purpose =
                    Purpose { component: Component::Embedding, shot: None, ..purpose.clone() };
                let embedded = till.embed(&purpose, embedder.as_ref(), &different, role).await?;
                (embedded.vectors, embedded.settled_usd)
            }
        };
        if vectors.len() != different.len() {
            return Err(MemoryError::Miscounted {
                model: self.embedder().to_owned(),
                texts: different.len(),
                vectors: vectors.len(),
            });
        }
        if let Some(first) = vectors.first() {
            self.check_width(first.len()).await?;
        }
        let vectors: Vec<Vector> = vectors
            .into_iter()
            .map(|vector| padded(vector, self.embedder()))
            .collect::<Result<_, _>>()?;
        let vectors = places.into_iter().filter_map(|place| vectors.get(place).cloned()).collect();
        Ok((vectors, settled))
    }

    /// Remembers the width of a provider's vectors, and refuses any other from then on.
    async fn check_width(&self, width: usize) -> Result<(), MemoryError> {
        let model = self.embedder();
        if matches!(self.embedding, Embedding::Builtin) {
            return Ok(());
        }
        if width == 0 || width > VECTOR_WIDTH {
            return Err(MemoryError::TooWide { model: model.to_owned(), width });
        }
        let ask = || async {
            let mut session = self.store.session().await?;
            let known = models::width(&mut session, model, width, self.clock.now()).await?;
            session.close().await;
            Ok::<_, StoreError>(known)
        };
        let known = *self.width.get_or_try_init(ask).await?;
        if known == width {
            Ok(())
        } else {
            Err(MemoryError::OtherWidth { model: model.to_owned(), known, width })
        }
    }

    /// Gives the model its index if it has none of the right kind yet. A large one is left to `aida memory reindex`, and
    /// a user who may not make one searches without.
    async fn look_after_index(&self) {
        let make = || async {
            let model = self.embedder();
            let mut session = self.store.session().await?;
            let place = self.store.index_place();
            if !index::is_right(&mut session, model, place).await? {
                if models::has_at_least(&mut session, model, LARGE_BUILD).await? {
                    tracing::warn!(model, "the model's index is missing: aida memory reindex");
                } else {
                    index::ensure(&mut session, model, place).await?;
                }
            }
            session.close().await;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.indexed.get_or_try_init(make).await {
            tracing::warn!(model = self.embedder(), %error, "the model's index could not be made");
        }
    }

    /// Whether so many vectors are kept that they want an index, and have none: it is not built on the
    /// way, and until `aida memory reindex` builds it every search compares all of them.
    pub async fn lacks_index(&self) -> Result<bool, StoreError> {
        let mut session = self.store.session().await?;
        let lacks = self.lacks_index_in(&mut session).await?;
        session.close().await;
        Ok(lacks)
    }

    async fn lacks_index_in(&self, connection: &mut PgConnection) -> Result<bool, StoreError> {
        let model = self.embedder();
        Ok(!index::is_usable(connection, model).await?
            && models::has_at_least(connection, model, LARGE_BUILD).await?)
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

/// The texts without repetition, and for each text the place where it stands among them.
fn different(texts: &[String]) -> (Vec<String>, Vec<usize>) {
    let mut different = Vec::new();
    let mut known = HashMap::new();
    let places = texts
        .iter()
        .map(|text| {
            *known.entry(text.as_str()).or_insert_with(|| {
                different.push(text.clone());
                different.len() - 1
            })
        })
        .collect();
    (different, places)
}

/// The built-in embedder's vectors. It computes for a while, which must not hold up the rest.
#[cfg(feature = "semantic")]
async fn builtin(texts: Vec<String>) -> Result<Vec<Vec<f32>>, MemoryError> {
    tokio::task::spawn_blocking(move || semantic::embed(&texts))
        .await
        .map_err(|error| MemoryError::Builtin(error.to_string()))?
        .map_err(MemoryError::Builtin)
}

#[cfg(not(feature = "semantic"))]
#[allow(clippy::unused_async, clippy::unnecessary_wraps, reason = "the other one needs both")]
async fn builtin(texts: Vec<String>) -> Result<Vec<Vec<f32>>, MemoryError> {
    Ok(texts.iter().map(|text| lexical::embed(text)).collect())
}

/// The vector at length 1, with zeros up to [`VECTOR_WIDTH`]: both leave every cosine unchanged.
fn padded(mut vector: Vec<f32>, model: &str) -> Result<Vector, MemoryError> {
    if vector.len() > VECTOR_WIDTH {
        return Err(MemoryError::TooWide { model: model.to_owned(), width: vector.len() });
    }
    if !to_unit_length(&mut vector) {
        return Err(MemoryError::NotFinite { model: model.to_owned() });
    }
    vector.resize(VECTOR_WIDTH, 0.0);
    Ok(Vector::from(vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_embedded_once_however_often_it_stands_there() {
        let texts = ["a", "b", "a", "a", "c", "b"].map(str::to_owned);
        let (different, places) = different(&texts);
        assert_eq!(different, ["a", "b", "c"]);
        assert_eq!(places, [0, 1, 0, 0, 2, 1]);
    }

    #[test]
    fn narrow_vectors_are_padded_and_wide_ones_refused() {
        let vector = padded(vec![0.6, 0.8], "narrow").unwrap();
        assert_eq!(vector.as_slice().len(), VECTOR_WIDTH);
        assert_eq!(vector.as_slice()[..3], [0.6, 0.8, 0.0]);
        let long = padded(vec![60_000.0, 80_000.0], "long").unwrap();
        assert_eq!(long.as_slice()[..3], [0.6, 0.8, 0.0]);
        let error = padded(vec![1.0, f32::INFINITY], "broken").unwrap_err();
        assert!(matches!(error, MemoryError::NotFinite { .. }));
        let error = padded(vec![0.0; 3072], "wide").unwrap_err();
        assert!(matches!(error, MemoryError::TooWide { width: 3072, .. }));
        assert_eq!(Error::from(error).kind(), Kind::Settings);
    }
}
