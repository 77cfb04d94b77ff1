//! What the embedding interfaces of several vendors have in common: which texts they take, and what an
//! answer must hold to be believed.

use serde::Deserialize;

use super::ProviderError;
use super::http::Caller;

/// One vector of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    index: usize,
    embedding: Vec<f32>,
}

/// Refuses what the vendor would refuse for certain. Nothing is sent then.
pub(super) fn check_texts(
    caller: &Caller,
    texts: &[String],
    most_texts: usize,
) -> Result<(), ProviderError> {
    if texts.is_empty() || texts.len() > most_texts {
        let message = format!("{} texts in one call; 1 to {most_texts} are taken", texts.len());
        return Err(caller.not_sent(&message));
    }
    if texts.iter().any(String::is_empty) {
        return Err(caller.not_sent("an empty text cannot be embedded"));
    }
    Ok(())
}

/// The vectors in the order of the texts: one for each, all of `width` numbers, or of one width where
/// that is not known. None where it is anything else.
pub(super) fn vectors_in_order(
    mut items: Vec<Item>,
    texts: usize,
    width: Option<usize>,
) -> Option<Vec<Vec<f32>>> {
    items.sort_by_key(|item| item.index);
    let in_order = items.iter().map(|item| item.index).eq(0..texts);
    let width = width.or_else(|| Some(items.first()?.embedding.len()))?;
    let even = items.iter().all(|item| {
        item.embedding.len() == width && item.embedding.iter().all(|number| number.is_finite())
    });
    (in_order && even && width > 0).then(|| items.into_iter().map(|item| item.embedding).collect())
}
