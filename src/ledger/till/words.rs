//! Language and embeddings: a lost reply leaves nothing to adopt, so it is booked at its ceiling
//! and asked again inside the budget.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    Admission, Purpose, Reservation, Till, TillError, back_off, failure_json, fingerprint,
    milliseconds, new_operation, unknown_charge,
};
use crate::ledger::money::{Quantity, TokenCounts, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::prices::Price;
use crate::providers::{
    Embedder, LanguageModel, LanguageReply, LanguageRequest, MoneyState, ProviderError,
};
use crate::store::operations::{self, Change, NewOperation};
use crate::store::settlements::NewCharge;

/// A language call is asked at most this often before its failure is final.
const LANGUAGE_ATTEMPTS: u32 = 4;
/// An answer shorter than this many tokens is of no use to anybody.
const FEWEST_OUTPUT_TOKENS: u32 = 2_000;
/// How long a language call in flight may still take after the run was asked to stop.
const LANGUAGE_GRACE: Duration = Duration::from_secs(5);

impl Till {
    /// One turn of a language model. The kept reply of the same run's same request is returned
    /// without a call, so that a run that was cut off does not pay for its conversation again.
    pub async fn language(
        &self,
        purpose: &Purpose,
        model: &dyn LanguageModel,
        request: &LanguageRequest,
        cancel: &CancellationToken,
    ) -> Result<LanguageReply, TillError> {
        let fingerprint = fingerprint(request);
        if let Some(reply) = self.kept_reply(purpose, &fingerprint).await? {
            return Ok(reply);
        }
        let price = self.price(model.provider(), &request.model)?.clone();
        let input = model.most_input_tokens(request);
        let mut request = request.clone();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let ceiling = price.language_ceiling(input, u64::from(request.max_output_tokens))?;
            let new = new_operation(
                purpose,
                OperationKind::Language,
                &price,
                "/v1/messages",
                Quantity::Tokens(TokenCounts {
                    uncached_input: input,
                    output: u64::from(request.max_output_tokens),
                    ..Default::default()
                }),
                ceiling,
            );
            match self.open(&new, ceiling, &fingerprint, cancel).await {
                Ok(()) => {}
                Err(TillError::OverBudget { cap, taken, asked, scope }) => {
                    // A shorter answer may still fit under the cap.
                    let room = cap.dollars() - taken.dollars();
                    match shorter_answer(&price, input, room, request.max_output_tokens)? {
                        Some(output) => {
                            request.max_output_tokens = output;
                            attempt -= 1;
                            continue;
                        }
                        None => return Err(TillError::OverBudget { scope, cap, taken, asked }),
                    }
                }
                Err(error) => return Err(error),
            }
            let started = Instant::now();
            let reservation = Reservation { operation: new.id };
            let answer = unless_stopped(cancel, model.respond(reservation, &request)).await;
            let latency_ms = milliseconds(started.elapsed());
            let failure = match answer {
                Some(Ok(reply)) => {
                    let quantity = Quantity::Tokens(reply.tokens);
                    let result = serde_json::to_value(&reply).unwrap_or_default();
                    let request_id = reply.request_id.clone();
                    self.keep_reply(&new, &price, quantity, result, request_id, latency_ms).await?;
                    return Ok(reply);
                }
                Some(Err(error)) => error,
                None => {
                    self.book_lost(&new, None, latency_ms).await?;
                    return Err(TillError::Cancelled);
                }
            };
            let again = self.book_failed_reply(&new, &failure, latency_ms).await?;
            if !again || attempt >= LANGUAGE_ATTEMPTS {
                return Err(failure.into());
            }
            pause(back_off(attempt, failure.retry_after), cancel).await?;
        }
    }

    /// Vectors for some texts, which must fit into one call of the embedder.
    pub async fn embed(
        &self,
        purpose: &Purpose,
        embedder: &dyn Embedder,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>, TillError> {
        let price = self.price(embedder.provider(), embedder.model())?.clone();
        let never = CancellationToken::new();
        // No tokeniser makes more than one token of one byte.
        let most_tokens = texts.iter().map(|text| text.len() as u64).sum();
        let ceiling = price.amount(&Quantity::EmbeddingTokens(most_tokens))?;
        let fingerprint = fingerprint(&(embedder.model(), texts));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let quantity = Quantity::EmbeddingTokens(most_tokens);
            let new = new_operation(
                purpose,
                OperationKind::Embedding,
                &price,
                "/embeddings",
                quantity,
                ceiling,
            );
            self.open(&new, ceiling, &fingerprint, &never).await?;
            let started = Instant::now();
            let answer = embedder.embed(Reservation { operation: new.id }, texts).await;
            let latency_ms = milliseconds(started.elapsed());
            let failure = match answer {
                Ok(embeddings) => {
                    let quantity = Quantity::EmbeddingTokens(embeddings.tokens);
                    self.keep_reply(
                        &new,
                        &price,
                        quantity,
                        Value::Null,
                        embeddings.request_id,
                        latency_ms,
                    )
                    .await?;
                    return Ok(embeddings.vectors);
                }
                Err(error) => error,
            };
            let again = self.book_failed_reply(&new, &failure, latency_ms).await?;
            if !again || attempt >= LANGUAGE_ATTEMPTS {
                return Err(failure.into());
            }
            pause(back_off(attempt, failure.retry_after), &never).await?;
        }
    }

    async fn kept_reply(
        &self,
        purpose: &Purpose,
        fingerprint: &str,
    ) -> Result<Option<LanguageReply>, TillError> {
        let Some(run) = purpose.run else { return Ok(None) };
        let mut session = self.store.session().await?;
        let kept =
            operations::kept_reply(&mut session, run, purpose.component.as_str(), fingerprint)
                .await?;
        session.close().await;
        Ok(kept.and_then(|reply| serde_json::from_value(reply).ok()))
    }

    /// Inserts the operation and takes its reservation, in one transaction.
    async fn open(
        &self,
        new: &NewOperation,
        ceiling: Usd,
        fingerprint: &str,
        cancel: &CancellationToken,
    ) -> Result<(), TillError> {
        if cancel.is_cancelled() {
            return Err(TillError::Cancelled);
        }
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        operations::plan(&mut transaction, new, now).await?;
        let change = Change {
            reserved_usd: Some(ceiling),
            request_sha256: Some(fingerprint.to_owned()),
            ..Change::default()
        };
        if let Admission::Wait(_) =
            self.admit(&mut transaction, new.run_id, new.kind, &new.provider, ceiling).await?
        {
            unreachable!("only image and clip providers have send limits");
        }
        let (from, to) = (OperationState::Planned, OperationState::Submitting);
        operations::transition(&mut transaction, new.id, from, to, change, now).await?;
        transaction.commit().await?;
        self.store.journal(&mut session, new.id).await?;
        session.close().await;
        Ok(())
    }

    async fn keep_reply(
        &self,
        new: &NewOperation,
        price: &Price,
        quantity: Quantity,
        result: Value,
        request_id: Option<String>,
        latency_ms: i64,
    ) -> Result<(), TillError> {
        let settled = price.amount(&quantity)?;
        let change =
            Change { result: Some(result), request_id: request_id.clone(), ..Change::default() };
        let charge = NewCharge {
            quantity,
            settled_usd: Some(settled),
            billed_units: None,
            wasted: false,
            request_id,
            latency_ms: Some(latency_ms),
        };
        self.close(
            new.id,
            OperationState::Submitting,
            OperationState::Kept,
            change,
            Some(charge),
            &[],
        )
        .await
    }

    /// Books a failed language or embedding call by what the provider said of the money, and
    /// says whether it may be asked again.
    async fn book_failed_reply(
        &self,
        new: &NewOperation,
        failure: &ProviderError,
        latency_ms: i64,
    ) -> Result<bool, TillError> {
        match failure.money {
            MoneyState::NotCharged => {
                let change = Change { failure: Some(failure_json(failure)), ..Change::default() };
                let (from, to) = (OperationState::Submitting, OperationState::FailedNotCharged);
                self.close(new.id, from, to, change, None, &[]).await?;
                Ok(failure.may_be_sent_again())
            }
            MoneyState::Charged | MoneyState::Unknown => {
                self.book_lost(new, Some(failure), latency_ms).await?;
                Ok(true)
            }
        }
    }

    /// Books a call whose outcome nobody knows at its ceiling.
    async fn book_lost(
        &self,
        new: &NewOperation,
        failure: Option<&ProviderError>,
        latency_ms: i64,
    ) -> Result<(), TillError> {
        let change = Change { failure: failure.map(failure_json), ..Change::default() };
        let charge = unknown_charge(
            new.quantity,
            failure.and_then(|failure| failure.request_id.clone()),
            Some(latency_ms),
        );
        let (from, to) = (OperationState::Submitting, OperationState::Unknown);
        self.close(new.id, from, to, change, Some(charge), &[]).await
    }
}

/// The longest answer, in tokens, whose ceiling fits into `room` dollars, if it is long
/// enough to be of use and shorter than `asked`.
fn shorter_answer(
    price: &Price,
    input: u64,
    room: Decimal,
    asked: u32,
) -> Result<Option<u32>, TillError> {
    let (mut fits, mut too_long) = (0, asked);
    while fits + 1 < too_long {
        let middle = fits.midpoint(too_long);
        if price.language_ceiling(input, u64::from(middle))?.dollars() <= room {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    Ok((fits >= FEWEST_OUTPUT_TOKENS).then_some(fits))
}

/// Awaits a call; once the run is asked to stop, only for a short grace more.
async fn unless_stopped<T>(cancel: &CancellationToken, call: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(call);
    tokio::select! {
        biased;
        answer = &mut call => return Some(answer),
        () = cancel.cancelled() => {}
    }
    tokio::time::timeout(LANGUAGE_GRACE, call).await.ok()
}

async fn pause(time: Duration, cancel: &CancellationToken) -> Result<(), TillError> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = cancel.cancelled() => Err(TillError::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::prices::PriceBook;
    use jiff::civil::date;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_shorter_answer_fits_into_the_room_and_no_longer_one_does(
            input in 0_u64..50_000,
            cents in 0_i64..60,
            asked in FEWEST_OUTPUT_TOKENS..20_000,
        ) {
            let book = PriceBook::shipped();
            let price = book.find("anthropic", "claude-sonnet-5-5", date(2026, 11, 22)).unwrap();
            let room = Decimal::new(cents, 2);
            let ceiling = |output: u32| price.language_ceiling(input, u64::from(output)).unwrap().dollars();
            match shorter_answer(price, input, room, asked).unwrap() {
                Some(output) => {
                    prop_assert!(ceiling(output) <= room);
                    prop_assert!(output + 1 == asked || ceiling(output + 1) > room);
                }
                None => prop_assert!(ceiling(FEWEST_OUTPUT_TOKENS) > room || asked == FEWEST_OUTPUT_TOKENS),
            }
        }
    }
}
