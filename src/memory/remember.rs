//! Taking things into memory.

use std::collections::HashMap;

use pgvector::Vector;

use crate::ids::ProjectId;
use crate::ledger::TillError;
use crate::ledger::till::Purpose;
use crate::memory::{Embedding, Memory, MemoryError, passages};
use crate::providers::TextRole;
use crate::store::embeddings::{self, Owner, Passage, StoredPassage};
use crate::store::project_texts;

/// What was taken into memory.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Passages that can now be found by their words.
    pub passages: usize,
    /// Vectors that were made just now.
    pub embedded: usize,
    /// Passages that still wait for a vector.
    pub waiting: usize,
    /// Why they wait.
    pub trouble: Option<TillError>,
}

impl Memory {
    /// Remembers a project: its title and brief, its script and its shots. Doing it twice
    /// changes nothing and costs nothing; after a change only what changed is embedded again.
    ///
    /// A till or provider that says no is not an error: the words are stored first, and the
    /// answer tells what waits for its vector and why. A project that does not exist is
    /// remembered as nothing.
    pub async fn remember(
        &self,
        purpose: &Purpose,
        project: ProjectId,
    ) -> Result<Remembered, MemoryError> {
        let mut session = self.store.session().await?;
        let text = project_texts::project_text(&mut session, project).await?;
        let stored = embeddings::stored(&mut session, Owner::Project(project)).await?;
        session.close().await;
        let Some(text) = text else {
            return Ok(Remembered::default());
        };
        let passages = passages::of_project(project, &text);
        let user_id = &text.user_id;
        self.keep(purpose, user_id, Owner::Project(project), &passages, &stored).await
    }

    /// Brings the stored passages of `owner` in line with `all`, embedding only what is new,
    /// changed, or has a vector of another model.
    pub(super) async fn keep(
        &self,
        purpose: &Purpose,
        user_id: &str,
        owner: Owner,
        all: &[Passage],
        stored: &[StoredPassage],
    ) -> Result<Remembered, MemoryError> {
        let known: HashMap<_, _> = stored
            .iter()
            .map(|stored| ((stored.kind, stored.subject, stored.part), stored))
            .collect();
        let changed: Vec<&Passage> = all
            .iter()
            .filter(|passage| {
                known.get(&(passage.kind, passage.subject, passage.part)).is_none_or(|stored| {
                    stored.content != passage.content
                        || stored.model.as_deref() != Some(self.embedder())
                })
            })
            .collect();
        let mut remembered = Remembered { passages: all.len(), ..Remembered::default() };
        if changed.is_empty() && stored.len() == all.len() {
            return Ok(remembered);
        }
        self.look_after_index().await;
        if matches!(self.embedding, Embedding::Paid { .. }) {
            // The words go first: whatever happens to the paid call, they can be found.
            let without_vectors: Vec<_> = changed.iter().map(|passage| (*passage, None)).collect();
            self.write(user_id, owner, all, &without_vectors).await?;
            if !self.may_pay {
                return Ok(Remembered { waiting: changed.len(), ..remembered });
            }
        } else if changed.is_empty() {
            self.write(user_id, owner, all, &[]).await?;
        }
        remembered.waiting = changed.len();
        for batch in self.batches(&changed) {
            let texts: Vec<String> = batch.iter().map(|passage| passage.content.clone()).collect();
            let vectors = match self.embed(purpose, &texts, TextRole::Document).await {
                Ok(vectors) => vectors,
                Err(MemoryError::Till(trouble)) => {
                    remembered.trouble = Some(trouble);
                    break;
                }
                Err(error) => return Err(error),
            };
            let with_vectors: Vec<_> =
                batch.iter().copied().zip(vectors.into_iter().map(Some)).collect();
            self.write(user_id, owner, all, &with_vectors).await?;
            remembered.embedded += batch.len();
            remembered.waiting -= batch.len();
        }
        Ok(remembered)
    }

    async fn write(
        &self,
        user_id: &str,
        owner: Owner,
        all: &[Passage],
        changed: &[(&Passage, Option<Vector>)],
    ) -> Result<(), MemoryError> {
        let (model, now) = (self.embedder(), self.clock.now());
        let mut session = self.store.session().await?;
        embeddings::keep(&mut session, user_id, owner, all, changed, model, now).await?;
        session.close().await;
        Ok(())
    }

    /// Cuts the passages into runs that one embedding call takes.
    fn batches<'passages, 'all>(
        &self,
        passages: &'passages [&'all Passage],
    ) -> Vec<&'passages [&'all Passage]> {
        let (most_texts, most_bytes) = self.batch_limits();
        let mut batches = Vec::new();
        let (mut start, mut bytes) = (0, 0_usize);
        for (index, passage) in passages.iter().enumerate() {
            let length = passage.content.len();
            let is_full = index - start >= most_texts || bytes + length > most_bytes;
            if is_full && index > start {
                batches.push(&passages[start..index]);
                (start, bytes) = (index, 0);
            }
            bytes += length;
        }
        if start < passages.len() {
            batches.push(&passages[start..]);
        }
        batches
    }
}
