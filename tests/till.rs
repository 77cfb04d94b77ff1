//! The till on a real Postgres: caps, crashes and replays, with the model's own count of calls as judge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/database.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aida::clock::{FixedClock, SharedClock, SystemClock};
use aida::ids::{ProjectId, RunId};
use aida::ledger::money::{Quantity, TokenCounts, Usd};
use aida::ledger::operation::{OperationKind, OperationState};
use aida::ledger::prices::PriceBook;
use aida::ledger::{Component, Purpose, Reservation, Submission, Till, TillError};
use aida::providers::{
    FailureClass, Job, JobResult, LanguageModel, LanguageReply, LanguageRequest, Message,
    MoneyState, Probe, Provider, ProviderError, StopReason, UserBlock,
};
use aida::store::operations::{self, Operation};
use aida::store::projects::{self, Project};
use aida::store::runs::{self, NewRun};
use aida::store::{Store, settlements};
use async_trait::async_trait;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::json;
use support::TestDatabase;
use tokio_util::sync::CancellationToken;

/// A model that answers by a script and counts what it was asked.
struct Scripted {
    asked: AtomicU32,
    failures: Vec<(FailureClass, MoneyState)>,
    tokens: TokenCounts,
    slow: Duration,
}

impl Scripted {
    fn answering(tokens: TokenCounts) -> Self {
        Self { asked: AtomicU32::new(0), failures: Vec::new(), tokens, slow: Duration::ZERO }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn failure(class: FailureClass, money: MoneyState) -> ProviderError {
    ProviderError {
        provider: Provider::Anthropic,
        class,
        money,
        status: None,
        code: None,
        message: "scripted".to_owned(),
        request_id: None,
        retry_after: Some(Duration::from_millis(1)),
    }
}

#[async_trait]
impl LanguageModel for Scripted {
    fn provider(&self) -> Provider {
        Provider::Anthropic
    }

    async fn respond(
        &self,
        _: Reservation,
        _: &LanguageRequest,
    ) -> Result<LanguageReply, ProviderError> {
        let call = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
        tokio::time::sleep(self.slow).await;
        if let Some(&(class, money)) = self.failures.get(call) {
            return Err(failure(class, money));
        }
        Ok(LanguageReply {
            content: vec![json!({"type": "text", "text": format!("reply {call}")})],
            stop: StopReason::EndTurn,
            tokens: self.tokens,
            model: "claude-sonnet-5-5".to_owned(),
            request_id: Some(format!("req_{call}")),
        })
    }

    fn most_input_tokens(&self, _: &LanguageRequest) -> u64 {
        10_000
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        Ok(Probe { note: String::new(), balance: None })
    }
}

/// A till on a database with one run.
struct Shop {
    _database: TestDatabase,
    store: Store,
    till: Till,
    clock: SharedClock,
    run: RunId,
    project: ProjectId,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(Arc::new(SystemClock)).await
    }

    async fn open_with(clock: SharedClock) -> Self {
        let database = TestDatabase::fresh().await;
        let store = Store::open(database.settings(), clock.clone()).await.unwrap();
        let till = Till::new(store.clone(), Arc::new(PriceBook::shipped()), clock.clone(), 40);
        let (project, run, now) = (ProjectId::new(), RunId::new(), clock.now());
        let mut session = store.session().await.unwrap();
        let row = Project {
            id: project,
            user_id: "ada".to_owned(),
            brief: "food video".to_owned(),
            title: String::new(),
            slug: "food-video".to_owned(),
            script: None,
            script_author: None,
            aspect: "9:16".to_owned(),
            duration_seconds: dec!(30),
            shot_count: 6,
            source_project: None,
            created_at: now,
        };
        projects::insert(&mut session, &row).await.unwrap();
        let new = NewRun {
            id: run,
            project_id: project,
            user_id: "ada".to_owned(),
            kind: "film",
            state: "writing",
            options: json!({}),
            quote: None,
            accepted_usd: None,
        };
        runs::insert(&mut session, &new, now).await.unwrap();
        session.close().await;
        Self { _database: database, store, till, clock, run, project }
    }

    async fn cap(&self, scope: &'static str, dollars: Decimal) {
        let mut session = self.store.session().await.unwrap();
        runs::set_cap(&mut session, self.run, scope, Usd::new(dollars), self.clock.now())
            .await
            .unwrap();
        session.close().await;
    }

    fn purpose(&self, component: Component) -> Purpose {
        Purpose {
            user_id: "ada".to_owned(),
            project: Some(self.project),
            run: Some(self.run),
            shot: None,
            component,
        }
    }

    async fn ask(&self, model: &Scripted, words: &str) -> Result<LanguageReply, TillError> {
        let request = LanguageRequest {
            model: "claude-sonnet-5-5".to_owned(),
            system: "You write.".to_owned(),
            tools: Vec::new(),
            messages: vec![Message::User(vec![UserBlock::Text {
                text: words.to_owned(),
                cache: false,
            }])],
            max_output_tokens: 16_000,
        };
        let cancel = CancellationToken::new();
        self.till.language(&self.purpose(Component::Writer), model, &request, &cancel).await
    }

    async fn spent(&self) -> (Decimal, Decimal) {
        let mut session = self.store.session().await.unwrap();
        let spent = settlements::spent(&mut session, self.run).await.unwrap();
        session.close().await;
        (spent.settled.dollars().normalize(), spent.unknown.dollars().normalize())
    }

    async fn count(&self, state: OperationState) -> usize {
        let mut session = self.store.session().await.unwrap();
        let found = operations::in_state(&mut session, self.run, state).await.unwrap().len();
        session.close().await;
        found
    }

    async fn planned_image(&self) -> Operation {
        let seller = (Provider::Kie, "midjourney-7-fast", "/api/v1/mj/generate");
        let purpose = self.purpose(Component::Image);
        let new =
            self.till.plan(&purpose, OperationKind::Image, seller, Quantity::Images(1)).unwrap();
        let mut session = self.store.session().await.unwrap();
        operations::plan(&mut session, &new, self.clock.now()).await.unwrap();
        let operation = operations::load(&mut session, new.id).await.unwrap();
        session.close().await;
        operation
    }

    async fn load(&self, operation: &Operation) -> Operation {
        let mut session = self.store.session().await.unwrap();
        let row = operations::load(&mut session, operation.id).await.unwrap();
        session.close().await;
        row
    }
}

fn job() -> Job {
    Job { request_id: "task_1".to_owned(), status_url: None, response_url: None, cancel_url: None }
}

const TOKENS: TokenCounts = TokenCounts {
    uncached_input: 1_000,
    cache_write_5m: 0,
    cache_write_1h: 0,
    cache_read: 9_000,
    output: 500,
};

#[tokio::test]
async fn a_reply_is_booked_to_the_last_token_and_replayed_for_nothing() {
    let shop = Shop::open().await;
    let model = Scripted::answering(TOKENS);
    let first = shop.ask(&model, "Write.").await.unwrap();
    let again = shop.ask(&model, "Write.").await.unwrap();
    assert_eq!(model.asked(), 1);
    assert_eq!(first.content, again.content);
    // 1,000 × 2 + 9,000 × 0.10 + 500 × 10 dollars per million.
    assert_eq!(shop.spent().await, (dec!(0.0079), dec!(0)));
    shop.ask(&model, "Write something else.").await.unwrap();
    assert_eq!(model.asked(), 2);
}

#[tokio::test]
async fn a_lost_reply_is_booked_at_its_ceiling_and_asked_again() {
    let shop = Shop::open().await;
    let model = Scripted {
        failures: vec![(FailureClass::Network, MoneyState::Unknown)],
        ..Scripted::answering(TOKENS)
    };
    shop.ask(&model, "Write.").await.unwrap();
    assert_eq!(model.asked(), 2);
    // 10,000 tokens written to the cache at 2.50 and 16,000 answered at 10 dollars per million.
    assert_eq!(shop.spent().await, (dec!(0.0079), dec!(0.185)));
}

#[tokio::test]
async fn what_was_not_charged_is_not_booked_and_what_cannot_succeed_is_not_repeated() {
    let shop = Shop::open().await;
    let overloaded = Scripted {
        failures: vec![(FailureClass::Unavailable, MoneyState::NotCharged); 2],
        ..Scripted::answering(TOKENS)
    };
    shop.ask(&overloaded, "Write.").await.unwrap();
    assert_eq!(overloaded.asked(), 3);
    assert_eq!(shop.spent().await, (dec!(0.0079), dec!(0)));

    let refused = Scripted {
        failures: vec![(FailureClass::Credentials, MoneyState::NotCharged); 9],
        ..Scripted::answering(TOKENS)
    };
    assert!(matches!(shop.ask(&refused, "Other.").await, Err(TillError::Provider(_))));
    assert_eq!(refused.asked(), 1);
}

#[tokio::test]
async fn a_cap_shortens_the_answer_and_then_stops_the_work() {
    let shop = Shop::open().await;
    let model = Scripted::answering(TokenCounts { output: 8_000, ..TOKENS });
    shop.cap("run_language", dec!(0.20)).await;
    shop.ask(&model, "One.").await.unwrap();
    shop.ask(&model, "Two.").await.unwrap();
    let error = shop.ask(&model, "Three.").await.unwrap_err();
    assert!(matches!(error, TillError::OverBudget { .. }), "{error}");
    assert_eq!(model.asked(), 2);
    assert_eq!(shop.count(OperationState::Submitting).await, 0);
}

#[tokio::test]
async fn calls_side_by_side_never_pass_a_cap() {
    let shop = Shop::open().await;
    // Each call may cost 0.185 dollars, so two fit at a time.
    shop.cap("run", dec!(0.40)).await;
    let model = Scripted { slow: Duration::from_millis(400), ..Scripted::answering(TOKENS) };
    let words = ["a", "b", "c", "d", "e", "f"];
    let results = futures_util::future::join_all(words.map(|words| shop.ask(&model, words))).await;
    let refused =
        results.iter().filter(|result| matches!(result, Err(TillError::OverBudget { .. }))).count();
    let done = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(done + refused, 6);
    assert!(refused > 0 && done >= 2, "{done} done, {refused} refused");
    assert_eq!(model.asked() as usize, done);
    let (settled, unknown) = shop.spent().await;
    assert!(settled + unknown <= dec!(0.40));
}

#[tokio::test]
async fn a_model_without_a_price_is_not_asked() {
    let shop = Shop::open().await;
    let model = Scripted::answering(TOKENS);
    let request = LanguageRequest {
        model: "claude-unheard-of".to_owned(),
        system: String::new(),
        tools: Vec::new(),
        messages: Vec::new(),
        max_output_tokens: 10,
    };
    let purpose = shop.purpose(Component::Writer);
    let error = shop
        .till
        .language(&purpose, &model, &request, &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(matches!(error, TillError::NoPrice { .. }));
    assert_eq!(model.asked(), 0);
}

#[tokio::test]
async fn an_operation_is_sent_once_whoever_tries() {
    let shop = Shop::open().await;
    let image = shop.planned_image().await;
    let (sends, cancel) = (AtomicU32::new(0), CancellationToken::new());
    let (payload, sends) = (json!({"prompt": "soup"}), &sends);
    let submit = || {
        shop.till.submit(&image, &payload, None, &cancel, |_| async move {
            sends.fetch_add(1, Ordering::SeqCst);
            Ok(job())
        })
    };
    let (first, second) = tokio::join!(submit(), submit());
    assert_eq!(sends.load(Ordering::SeqCst), 1);
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
    let row = shop.load(&image).await;
    assert_eq!(row.state, OperationState::Submitted);
    assert_eq!(row.request_id.as_deref(), Some("task_1"));
}

#[tokio::test]
async fn a_kept_image_is_settled_and_an_unknown_one_is_held_at_its_ceiling() {
    let shop = Shop::open().await;
    let cancel = CancellationToken::new();
    let (kept, lost) = (shop.planned_image().await, shop.planned_image().await);
    let payload = json!({"prompt": "soup"});
    shop.till.submit(&kept, &payload, None, &cancel, |_| async { Ok(job()) }).await.unwrap();
    let result = JobResult {
        urls: vec!["https://files.example/1.png".to_owned()],
        billed_units: Some(dec!(8)),
    };
    shop.till.ready(kept.id, &result).await.unwrap();
    let row = shop.load(&kept).await;
    shop.till.keep(&row, &result, &[]).await.unwrap();
    assert_eq!(shop.spent().await, (dec!(0.04), dec!(0)));

    let lose = |_| async { Err(failure(FailureClass::Network, MoneyState::Unknown)) };
    let submission = shop.till.submit(&lost, &payload, None, &cancel, lose).await.unwrap();
    assert!(matches!(submission, Submission::Lost(_)));
    assert_eq!(shop.load(&lost).await.state, OperationState::Unknown);
    assert_eq!(shop.spent().await, (dec!(0.04), dec!(0.04)));
}

#[tokio::test]
async fn what_a_dead_process_was_sending_becomes_unknown_once() {
    let shop = Shop::open().await;
    let image = shop.planned_image().await;
    let cancel = CancellationToken::new();
    let payload = json!({"prompt": "soup"});
    // The process dies between sending and hearing back: its future is dropped.
    let sending = shop.till.submit(&image, &payload, None, &cancel, |_| std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(2), sending).await.is_err());
    assert_eq!(shop.load(&image).await.state, OperationState::Submitting);
    assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 1);
    assert_eq!(shop.till.close_interrupted(shop.run).await.unwrap().len(), 0);
    assert_eq!(shop.load(&image).await.state, OperationState::Unknown);
    assert_eq!(shop.spent().await, (dec!(0), dec!(0.04)));
}

#[tokio::test]
async fn kie_is_sent_twenty_jobs_in_ten_seconds() {
    // The clock stands still, so every send lies in the same ten seconds.
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let shop = Shop::open_with(Arc::new(FixedClock(now))).await;
    let cancel = CancellationToken::new();
    let payload = json!({"prompt": "soup"});
    let mut accepted = 0;
    for _ in 0..25 {
        let image = shop.planned_image().await;
        match shop
            .till
            .submit(&image, &payload, None, &cancel, |_| async { Ok(job()) })
            .await
            .unwrap()
        {
            Submission::Accepted(_) => accepted += 1,
            Submission::Wait(time) => assert!(time <= Duration::from_secs(11)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 20);
    assert_eq!(shop.count(OperationState::Planned).await, 5);
}
