//! Language and embeddings: a lost reply leaves nothing to adopt, so it is booked at its ceiling
//! and asked again inside the budget.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    CAP_PATIENCE, Confirmed, Purpose, Reservation, Till, TillError, back_off, failure_json,
    fingerprint, milliseconds, new_operation, pause, traced, unknown_charge,
};
use crate::ledger::money::{Quantity, TokenCounts, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::prices::{CacheEffect, Price};
use crate::ledger::prompt_cache::{FIRST_BYTE, History, Prompt, Usage, Verdict};
use crate::process;
use crate::providers::{
    CachePlan, Embedder, LanguageModel, LanguageReply, LanguageRequest, MoneyState, ProviderError,
    StopReason, TextRole,
};
use crate::spans;
use crate::store::operations::{self, Change, NewOperation};
use crate::store::prompt_cache::{self, Answered, Call};
use crate::store::settlements::{self, NewCharge};

/// A language call is asked at most this often before its failure is final.
const LANGUAGE_ATTEMPTS: u32 = 4;
/// An answer shorter than this many tokens is of no use to anybody.
const FEWEST_OUTPUT_TOKENS: u32 = 2_000;
/// How long a language call in flight may still take after the run was asked to stop.
const LANGUAGE_GRACE: Duration = Duration::from_secs(5);

/// Vectors that were paid for.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// One vector for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// What they cost, USD.
    pub settled_usd: Usd,
}

impl Till {
    /// One turn of a language model. The kept reply of the same run's same request is returned
    /// without a call, so that a run that was cut off does not pay for its conversation again; so
    /// is, outside runs, that of the same user's same request.
    pub async fn language(
        &self,
        purpose: &Purpose,
        model: &dyn LanguageModel,
        request: &LanguageRequest,
        cancel: &CancellationToken,
    ) -> Result<LanguageReply, TillError> {
        let (provider, component) = (model.provider().to_string(), purpose.component.as_str());
        let span = spans::call(OperationKind::Language, &provider, &request.model, component);
        traced(span, Box::pin(self.converse(purpose, model, request, cancel))).await
    }

    async fn converse(
        &self,
        purpose: &Purpose,
        model: &dyn LanguageModel,
        request: &LanguageRequest,
        cancel: &CancellationToken,
    ) -> Result<LanguageReply, TillError> {
        let fingerprint = fingerprint(request);
        let prompt = Prompt::of(request, &model.cache_settings(request));
        let (kept, mut history) = self.look_back(purpose, &fingerprint, &prompt).await?;
        if let Some(reply) = kept {
            return Ok(reply);
        }
        let price = self.price(model.provider(), &request.model)?.clone();
        let input = model.most_input_tokens(request);
        let component = purpose.component;
        let mut planned = history.plan(&prompt, component, &price.rates, self.clock.now());
        let mut request = request.clone();
        let (mut attempt, mut has_waited) = (0, false);
        loop {
            attempt += 1;
            let hour = most_hour_tokens(model, &request, &planned.plan, input);
            let output = u64::from(request.max_output_tokens);
            let ceiling = price.language_ceiling_with_an_hour(input, hour, output)?;
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
            let mut call = planned.call(&new, &prompt, self.clock.now());
            let opening = Opening {
                purpose,
                new: &new,
                price: &price,
                ceiling,
                fingerprint: &fingerprint,
                call: Some(&call),
                is_cold: !has_waited && history.is_cold(&prompt, &planned, call.started_at),
            };
            match self.open(&opening, cancel).await {
                Ok(Opened::Taken(started_at)) => call.started_at = started_at,
                Ok(Opened::Warming(time)) => {
                    pause(time, cancel).await?;
                    let (kept, since) = self.look_back(purpose, &fingerprint, &prompt).await?;
                    if let Some(reply) = kept {
                        return Ok(reply);
                    }
                    history = since;
                    planned = history.plan(&prompt, component, &price.rates, self.clock.now());
                    (attempt, has_waited) = (attempt - 1, true);
                    continue;
                }
                Err(TillError::OverBudget { .. }) if hour > 0 => {
                    // It may fit without the dearer mark.
                    planned = planned.shortened();
                    attempt -= 1;
                    continue;
                }
                Err(refusal @ TillError::OverBudget { cap, taken, .. }) => {
                    // A shorter answer may still fit under the cap.
                    let room = cap.dollars() - taken.dollars();
                    let output = shorter_answer(&price, input, room, request.max_output_tokens)?;
                    request.max_output_tokens = output.ok_or(refusal)?;
                    attempt -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let started = Instant::now();
            let reservation = Reservation { operation: new.id, cache: planned.plan.clone() };
            let answer = unless_stopped(cancel, model.respond(reservation, &request)).await;
            let latency_ms = milliseconds(started.elapsed());
            let failure = match answer {
                Some(Ok(reply)) => {
                    let usage = Usage::from(reply.tokens);
                    let kept = Reply {
                        quantity: Quantity::Tokens(reply.tokens),
                        result: serde_json::to_value(&reply).unwrap_or_default(),
                        request_id: reply.request_id.clone(),
                        latency_ms,
                        prompt_cache: Some(Verdict::of(&call, usage, &history).answered(usage)),
                    };
                    self.keep_reply(&new, &price, kept).await?;
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
        role: TextRole,
    ) -> Result<Embedded, TillError> {
        let (provider, component) = (embedder.provider().to_string(), purpose.component.as_str());
        let span = spans::call(OperationKind::Embedding, &provider, embedder.model(), component);
        traced(span, Box::pin(self.embed_all(purpose, embedder, texts, role))).await
    }

    async fn embed_all(
        &self,
        purpose: &Purpose,
        embedder: &dyn Embedder,
        texts: &[String],
        role: TextRole,
    ) -> Result<Embedded, TillError> {
        let price = self.price(embedder.provider(), embedder.model())?.clone();
        let never = CancellationToken::new();
        // No tokeniser makes more than one token of one byte.
        let most_tokens = texts.iter().map(|text| text.len() as u64).sum();
        let ceiling = price.amount(&Quantity::EmbeddingTokens(most_tokens))?;
        let fingerprint = fingerprint(&(embedder.model(), texts, role));
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
            let opening = Opening {
                purpose,
                new: &new,
                price: &price,
                ceiling,
                fingerprint: &fingerprint,
                call: None,
                is_cold: false,
            };
            self.open(&opening, &never).await?;
            let started = Instant::now();
            let answer = embedder.embed(Reservation::plain(new.id), texts, role).await;
            let latency_ms = milliseconds(started.elapsed());
            let failure = match answer {
                Ok(embeddings) => {
                    let kept = Reply {
                        quantity: Quantity::EmbeddingTokens(embeddings.tokens),
                        result: Value::Null,
                        request_id: embeddings.request_id,
                        latency_ms,
                        prompt_cache: None,
                    };
                    let settled_usd = self.keep_reply(&new, &price, kept).await?;
                    return Ok(Embedded { vectors: embeddings.vectors, settled_usd });
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

    /// The kept reply of the same run's same request, if there is one, and else the calls that
    /// this one is to be compared with.
    async fn look_back(
        &self,
        purpose: &Purpose,
        fingerprint: &str,
        prompt: &Prompt,
    ) -> Result<(Option<LanguageReply>, History), TillError> {
        let component = purpose.component.as_str();
        let mut session = self.store.session().await?;
        let kept = if let Some(run) = purpose.run {
            operations::kept_reply(&mut session, run, component, fingerprint).await?
        } else {
            let user_id = &purpose.user_id;
            operations::kept_reply_outside_runs(&mut session, user_id, component, fingerprint)
                .await?
        };
        let kept: Option<LanguageReply> = kept.and_then(|reply| serde_json::from_value(reply).ok());
        // Outside runs whoever asks again after a refusal wants another answer.
        let kept = kept.filter(|reply| purpose.run.is_some() || reply.stop == StopReason::EndTurn);
        let calls = if kept.is_none() {
            prompt_cache::history(&mut session, &prompt.prefix, &purpose.user_id, component).await?
        } else {
            Vec::new()
        };
        session.close().await;
        Ok((kept, History::new(calls)))
    }

    /// Inserts the operation and takes its reservation, in one transaction. Where others under the
    /// same cap may still cost less than they may, this waits for them.
    async fn open(
        &self,
        opening: &Opening<'_>,
        cancel: &CancellationToken,
    ) -> Result<Opened, TillError> {
        let asked = Instant::now();
        loop {
            if cancel.is_cancelled() {
                return Err(TillError::Cancelled);
            }
            match self.open_once(opening).await {
                Err(refusal) if refusal.may_fit_later() && asked.elapsed() < CAP_PATIENCE => {
                    let payer = opening.new.payer();
                    self.wait_for_room(payer, opening.ceiling, asked, cancel).await?;
                }
                opened => return opened,
            }
        }
    }

    async fn open_once(&self, opening: &Opening<'_>) -> Result<Opened, TillError> {
        let Opening { purpose, new, price, ceiling, fingerprint, call, is_cold } = *opening;
        let now = self.clock.now();
        let owner = purpose.owner.as_deref();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        if let Some(call) = call.filter(|_| is_cold) {
            let since = now - SignedDuration::try_from(FIRST_BYTE).unwrap_or_default();
            let writer = prompt_cache::writer_since(&mut transaction, &call.prefix, since).await?;
            if let Some(started_at) = writer {
                transaction.rollback().await?;
                session.close().await;
                let age = Duration::try_from(now.duration_since(started_at)).unwrap_or_default();
                return Ok(Opened::Warming(FIRST_BYTE.saturating_sub(age)));
            }
        }
        settlements::keep_price(&mut transaction, price, now).await?;
        operations::plan(&mut transaction, new, now).await?;
        let admission = self.admit(&mut transaction, new.kind, new.payer(), owner, ceiling).await;
        if let Err(refusal) = admission {
            // At once: others wait for the caps.
            transaction.rollback().await?;
            session.close().await;
            return Err(refusal);
        }
        let change = Change {
            owner: Some(purpose.owner.clone().unwrap_or_else(process::owner)),
            reserved_usd: Some(ceiling),
            request_sha256: Some(fingerprint.to_owned()),
            ..Change::default()
        };
        let (from, to) = (OperationState::Planned, OperationState::Submitting);
        operations::transition(&mut transaction, new.id, from, to, change, now).await?;
        if let Some(call) = call {
            let call = Call { started_at: now, ..call.clone() };
            prompt_cache::begin(&mut transaction, &call).await?;
        }
        let confirmed = Confirmed::renewed(&mut transaction, new.payer(), owner).await?;
        transaction.commit().await?;
        self.store.journal(&mut session, new.id).await?;
        session.close().await;
        self.is_in_time(new.id, confirmed).await?;
        Ok(Opened::Taken(now))
    }

    async fn keep_reply(
        &self,
        new: &NewOperation,
        price: &Price,
        reply: Reply,
    ) -> Result<Usd, TillError> {
        let Reply { quantity, result, request_id, latency_ms, prompt_cache } = reply;
        let settled = price.amount(&quantity)?;
        let change = Change {
            result: Some(result),
            request_id: request_id.clone(),
            prompt_cache,
            ..Change::default()
        };
        let cache = match quantity {
            Quantity::Tokens(tokens) => price.cache_effect(tokens),
            _ => CacheEffect::default(),
        };
        let charge = NewCharge {
            quantity,
            settled_usd: Some(settled),
            cache,
            reuse_saved_usd: Usd::ZERO,
            billed_units: None,
            bill: None,
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
        .await?;
        Ok(settled)
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

/// What it takes to open a call.
#[derive(Debug, Clone, Copy)]
struct Opening<'a> {
    purpose: &'a Purpose,
    new: &'a NewOperation,
    price: &'a Price,
    ceiling: Usd,
    fingerprint: &'a str,
    /// The call in the books of the prompt cache, for language.
    call: Option<&'a Call>,
    /// Whether it will write what others may be writing just now.
    is_cold: bool,
}

/// What came of opening a call.
#[derive(Debug)]
enum Opened {
    /// It may be sent: it was taken at this time.
    Taken(Timestamp),
    /// Another call is writing the same beginning to the prompt cache, and will have begun to be
    /// answered after this time. Beside it, this one would pay for writing it, too.
    Warming(Duration),
}

/// What came back of a call that went well.
#[derive(Debug)]
struct Reply {
    quantity: Quantity,
    result: Value,
    request_id: Option<String>,
    latency_ms: i64,
    prompt_cache: Option<Answered>,
}

/// The most tokens of `request` that can be written to the dearer cache of an hour. Where that is
/// the end of the system text, what is said after it is not part of it.
fn most_hour_tokens(
    model: &dyn LanguageModel,
    request: &LanguageRequest,
    plan: &CachePlan,
    input: u64,
) -> u64 {
    match plan.last_for_an_hour() {
        None => 0,
        Some(0) if !request.system.is_empty() => {
            let beginning = LanguageRequest { messages: Vec::new(), ..request.clone() };
            model.most_input_tokens(&beginning).min(input)
        }
        Some(_) => input,
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
