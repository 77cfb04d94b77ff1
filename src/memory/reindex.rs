//! Moving what is kept to the embedder that is set: batch by batch, several at a time. Each batch is
//! stored as it arrives, so that what is stored is not paid for again whenever the work is cut off, and
//! search goes on meanwhile. What was under way when the process was killed is paid for once more.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ledger::TillError;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::till::{Component, Purpose};
use crate::memory::{Embedding, LARGE_BUILD, Memory, MemoryError};
use crate::providers::TextRole;
use crate::store::embeddings::moving::{self, MovedScope, WaitingRow};
use crate::store::embeddings::{index, models};

/// Rows that are read at a time.
const PAGE: i64 = 4_096;

/// What a move would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Passages to be moved.
    pub rows: u64,
    /// The most tokens that their texts can have: one for each byte.
    pub most_tokens: u64,
    /// The most that it can cost, USD.
    pub most_usd: Usd,
}

/// What a move came to.
#[derive(Debug, Default)]
pub struct Moved {
    /// Passages that have their new vector.
    pub rows: u64,
    /// What it cost, USD.
    pub settled_usd: Usd,
    /// Why it stopped before the end, if it did.
    pub trouble: Option<MemoryError>,
}

impl Memory {
    /// What moving the passages of `scope` to this embedder would take, at most.
    pub async fn survey(&self, scope: &MovedScope) -> Result<Survey, MemoryError> {
        let mut session = self.store.session().await?;
        let (rows, most_tokens) = moving::extent(&mut session, scope, self.embedder()).await?;
        session.close().await;
        let most_usd = match &self.embedding {
            Embedding::Builtin => Usd::ZERO,
            Embedding::Paid { embedder, till } => {
                let price = till.price(embedder.provider(), embedder.model())?;
                price.amount(&Quantity::EmbeddingTokens(most_tokens)).map_err(TillError::from)?
            }
        };
        Ok(Survey { rows, most_tokens, most_usd })
    }

    /// Moves the passages of `scope` to this embedder; each user pays for their own. `progress` hears
    /// after each batch how many have been moved.
    ///
    /// Trouble with a batch ends the work once the batches under way are stored; the answer tells
    /// what was moved and why it stopped. Called again, it goes on with what is left.
    pub async fn reindex(
        &self,
        scope: &MovedScope,
        cancel: &CancellationToken,
        mut progress: impl FnMut(u64),
    ) -> Result<Moved, MemoryError> {
        let formerly = self.prepare_index(scope).await?;
        let mut moved = Moved::default();
        let mut under_way = FuturesUnordered::new();
        let most_at_once = match &self.embedding {
            Embedding::Builtin => 1,
            Embedding::Paid { embedder, .. } => embedder.most_at_once().max(1),
        };
        let mut after = Uuid::nil();
        'pages: loop {
            // What is under way may hold the only session there is, and goes on only while it is asked.
            while let Some(done) = under_way.next().await {
                moved.take(done, &mut progress);
            }
            if moved.trouble.is_some() {
                break;
            }
            let mut session = self.store.session().await?;
            let page = moving::next(&mut session, scope, self.embedder(), after, PAGE).await?;
            session.close().await;
            let Some(last) = page.last() else { break };
            after = last.id;
            for batch in self.batches_by_user(page) {
                while under_way.len() >= most_at_once {
                    if let Some(done) = under_way.next().await {
                        moved.take(done, &mut progress);
                    }
                }
                if cancel.is_cancelled() {
                    moved.trouble.get_or_insert(MemoryError::Till(TillError::Cancelled));
                }
                if moved.trouble.is_some() {
                    break 'pages;
                }
                under_way.push(self.move_batch(batch));
            }
        }
        while let Some(done) = under_way.next().await {
            moved.take(done, &mut progress);
        }
        if !cancel.is_cancelled() {
            self.finish_index(formerly).await?;
        }
        Ok(moved)
    }

    /// Embeds a batch of one user's and stores it.
    async fn move_batch(&self, batch: Vec<WaitingRow>) -> Result<(u64, Usd), MemoryError> {
        let user_id = batch.first().map(|row| row.user_id.clone()).unwrap_or_default();
        let component = Component::Embedding;
        let purpose =
            Purpose { user_id, project: None, run: None, shot: None, component, owner: None };
        let texts: Vec<String> = batch.iter().map(|row| row.content.clone()).collect();
        let (vectors, settled) = self.embed_for(&purpose, &texts, TextRole::Document).await?;
        let mut session = self.store.session().await?;
        let rows = moving::replace(&mut session, self.embedder(), &batch, &vectors).await?;
        session.close().await;
        Ok((rows, settled))
    }

    /// Cuts rows into batches of one user's that one call takes each.
    fn batches_by_user(&self, mut rows: Vec<WaitingRow>) -> Vec<Vec<WaitingRow>> {
        // What is free needs no large batches, and a large one keeps progress waiting.
        let (most_texts, most_bytes) = match &self.embedding {
            Embedding::Builtin => (256, usize::MAX),
            Embedding::Paid { .. } => self.batch_limits(),
        };
        // Stable: within a user the order of the ids stays.
        rows.sort_by(|left, right| left.user_id.cmp(&right.user_id));
        let mut batches: Vec<Vec<WaitingRow>> = Vec::new();
        let mut bytes = 0;
        for row in rows {
            let fits = batches.last().is_some_and(|batch| {
                batch.len() < most_texts
                    && bytes + row.content.len() <= most_bytes
                    && batch[0].user_id == row.user_id
            });
            if !fits {
                batches.push(Vec::new());
                bytes = 0;
            }
            bytes += row.content.len();
            if let Some(batch) = batches.last_mut() {
                batch.push(row);
            }
        }
        batches
    }

    /// Where more comes than is there, the model's index is built afterwards: that takes a fraction
    /// of the time of adding row by row. Answers the models that there were.
    async fn prepare_index(&self, scope: &MovedScope) -> Result<Vec<String>, MemoryError> {
        let model = self.embedder();
        let mut session = self.store.session().await?;
        let (rows, _) = moving::extent(&mut session, scope, model).await?;
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        if rows >= LARGE_BUILD && !models::has_at_least(&mut session, model, rows).await? {
            index::remove(&mut session, model, self.store.index_place()).await?;
        } else if rows > 0 {
            index::ensure(&mut session, model, self.store.index_place()).await?;
        }
        let formerly = models::rows_by_model(&mut session, None).await?;
        session.close().await;
        Ok(formerly.into_iter().filter_map(|kept| kept.model).collect())
    }

    /// Gives the model its index where it has none, and takes away those of models that are gone.
    async fn finish_index(&self, formerly: Vec<String>) -> Result<(), MemoryError> {
        let model = self.embedder();
        let place = self.store.index_place();
        let mut session = self.store.session().await?;
        if models::has_at_least(&mut session, model, 1).await? {
            index::ensure(&mut session, model, place).await?;
        }
        for former in formerly.iter().filter(|former| *former != model) {
            if !models::has_at_least(&mut session, former, 1).await? {
                index::remove(&mut session, former, place).await?;
            }
        }
        session.close().await;
        Ok(())
    }
}

impl Moved {
    fn take(&mut self, done: Result<(u64, Usd), MemoryError>, progress: &mut impl FnMut(u64)) {
        match done {
            Ok((rows, settled)) => {
                self.rows += rows;
                self.settled_usd += settled;
                progress(self.rows);
            }
            Err(error) => {
                self.trouble.get_or_insert(error);
            }
        }
    }
}
