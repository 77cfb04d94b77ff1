//! The till on a real Postgres: caps, crashes and replays, with the model's own count of calls as judge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "till/clocks.rs"]
mod clocks;
#[path = "support/database.rs"]
mod support;
#[path = "till/unknown.rs"]
mod unknown;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aida::clock::{Clock, FixedClock, SharedClock, SystemClock, Zone};
use aida::ids::{CampaignId, ProjectId, RunId};
use aida::ledger::budget::{Period, Scope};
use aida::ledger::money::{Quantity, TokenCounts, Usd};
use aida::ledger::operation::{OperationKind, OperationState};
use aida::ledger::prices::{Origin, Price, PriceBook, Rates};
use aida::ledger::till::{Seller, Verdict};
use aida::ledger::{Component, Parcel, Purpose, Reservation, Submission, Till, TillError};
use aida::providers::{
    FailureClass, ImageModel, ImageRequest, Job, JobResult, JobState, LanguageModel, LanguageReply,
    LanguageRequest, Message, MoneyState, Probe, Provider, ProviderError, ReferencePicture,
    StopReason, UserBlock,
};
use aida::store::operations::{self, Operation};
use aida::store::projects::{self, Project};
use aida::store::runs::{self, NewRun};
use aida::store::{Store, budgets, settlements};
use async_trait::async_trait;
use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::json;
use sqlx::Connection as _;
use support::{TestDatabase, say};
use tokio_util::sync::CancellationToken;

/// A model that answers by a script and counts what it was asked.
struct Scripted {
    asked: AtomicU32,
    /// Calls under way, and the most that were at once.
    under_way: [AtomicU32; 2],
    failures: Vec<(FailureClass, MoneyState)>,
    tokens: TokenCounts,
    slow: Duration,
}

impl Scripted {
    fn answering(tokens: TokenCounts) -> Self {
        Self {
            asked: AtomicU32::new(0),
            under_way: Default::default(),
            failures: Vec::new(),
            tokens,
            slow: Duration::ZERO,
        }
    }

    fn most_at_once(&self) -> u32 {
        self.under_way[1].load(Ordering::SeqCst)
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
        let [under_way, most] = &self.under_way;
        most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(self.slow).await;
        under_way.fetch_sub(1, Ordering::SeqCst);
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
    database: TestDatabase,
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
        let answers = database.data_dir().join("answers");
        let prices = Arc::new(PriceBook::shipped());
        let till = Till::new(store.clone(), prices, clock.clone(), 40, answers);
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
            estimate_usd: None,
            plan_usd: None,
            accepted_usd: None,
            queue: None,
        };
        runs::insert(&mut session, &new, now).await.unwrap();
        session.close().await;
        Self { database, store, till, clock, run, project }
    }

    async fn cap(&self, scope: Scope, dollars: Decimal) {
        let run = self.run.to_string();
        self.cap_of((scope, &run), Period::Total, dollars).await;
    }

    async fn cap_of(&self, which: (Scope, &str), period: Period, dollars: Decimal) {
        let mut session = self.store.session().await.unwrap();
        let (zone, cap) = (Zone::utc(), Usd::new(dollars));
        budgets::set(&mut session, which, period, &zone, cap, self.clock.now()).await.unwrap();
        session.close().await;
    }

    fn purpose(&self, component: Component) -> Purpose {
        Purpose {
            user_id: "ada".to_owned(),
            project: Some(self.project),
            run: Some(self.run),
            shot: None,
            component,
            owner: None,
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

fn parcel(payload: &serde_json::Value) -> Parcel<'_> {
    Parcel { payload, balance_before: None, owner: None }
}

fn job() -> Job {
    Job::named("task_1")
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
    shop.cap(Scope::RunLanguage, dec!(0.20)).await;
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
    // Each call may cost 0.185 dollars and costs 0.0079: two fit at a time, the others wait for them.
    shop.cap(Scope::Run, dec!(0.40)).await;
    let model = Scripted { slow: Duration::from_millis(400), ..Scripted::answering(TOKENS) };
    let words = ["a", "b", "c", "d", "e", "f"];
    let results = futures_util::future::join_all(words.map(|words| shop.ask(&model, words))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(model.asked(), 6);
    assert_eq!(model.most_at_once(), 2);
    assert_eq!(shop.spent().await, (dec!(0.0474), dec!(0)));
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
        shop.till.submit(&image, parcel(&payload), &cancel, |_| async move {
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
    shop.till.submit(&kept, parcel(&payload), &cancel, |_| async { Ok(job()) }).await.unwrap();
    let result = JobResult {
        urls: vec!["https://files.example/1.png".to_owned()],
        billed_units: Some(dec!(8)),
    };
    shop.till.ready(kept.id, &result).await.unwrap();
    let row = shop.load(&kept).await;
    shop.till.keep(&row, &result, &[]).await.unwrap();
    assert_eq!(shop.spent().await, (dec!(0.04), dec!(0)));

    let lose = |_| async { Err(failure(FailureClass::Network, MoneyState::Unknown)) };
    let submission = shop.till.submit(&lost, parcel(&payload), &cancel, lose).await.unwrap();
    assert!(matches!(submission, Submission::Lost(_)));
    assert_eq!(shop.load(&lost).await.state, OperationState::Unknown);
    assert_eq!(shop.spent().await, (dec!(0.04), dec!(0.04)));
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
            .submit(&image, parcel(&payload), &cancel, |_| async { Ok(job()) })
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

/// However long a call waits for the locks that it needs, a whole lease is left to send it in.
#[tokio::test]
async fn a_call_that_waited_long_for_a_lock_is_sent_by_whoever_still_drives_the_run() {
    let shop = Shop::open().await;
    if shop.database.url().is_none() {
        say("SKIPPED: two sessions at once need a native server in AIDA_TEST_DATABASE_URL");
        return;
    }
    let mut session = shop.store.session().await.unwrap();
    sqlx::query("UPDATE runs SET owner = 'one'").execute(&mut *session).await.unwrap();
    let mut another = session.begin().await.unwrap();
    operations::lock_provider(&mut another, "kie").await.unwrap();
    let image = shop.planned_image().await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let of_one = Parcel { owner: Some("one"), ..parcel(&payload) };
    let sending = shop.till.submit(&image, of_one, &cancel, |_| async { Ok(job()) });
    // Longer than anything may be sent after its lease was renewed.
    let holding = async {
        tokio::time::sleep(Duration::from_secs(14)).await;
        another.rollback().await.unwrap();
    };
    let (submission, ()) = tokio::join!(sending, holding);
    assert!(matches!(submission, Ok(Submission::Accepted(_))), "{submission:?}");
}

#[tokio::test]
async fn a_process_that_has_lost_its_run_cannot_pay() {
    let shop = Shop::open().await;
    let drives = async |owner: &str| {
        let mut session = shop.store.session().await.unwrap();
        sqlx::query("UPDATE runs SET owner = $1").bind(owner).execute(&mut *session).await.unwrap();
        session.close().await;
    };
    drives("one").await;
    let image = shop.planned_image().await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let of_one = Parcel { owner: Some("one"), ..parcel(&payload) };
    // The other machine's clock is ahead, and it takes the run over.
    drives("two").await;
    let never = |_| async { panic!("it was sent") };
    let refused = shop.till.submit(&image, of_one, &cancel, never).await.unwrap_err();
    assert!(matches!(refused, TillError::TakenOver), "{refused}");
    assert_eq!(shop.load(&image).await.state, OperationState::Planned);
    let model = Scripted::answering(TOKENS);
    let purpose = Purpose { owner: Some("one".to_owned()), ..shop.purpose(Component::Writer) };
    let refused = shop.till.language(&purpose, &model, &bare_request(), &cancel).await.unwrap_err();
    assert!(matches!(refused, TillError::TakenOver), "{refused}");
    assert_eq!(model.asked(), 0);
    assert_eq!(shop.spent().await, (dec!(0), dec!(0)));
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_buys_nothing_more() {
    let shop = Shop::open().await;
    let mut session = shop.store.session().await.unwrap();
    sqlx::query("UPDATE runs SET owner = 'one', stop_asked = true")
        .execute(&mut *session)
        .await
        .unwrap();
    session.close().await;
    let image = shop.planned_image().await;
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let of_one = Parcel { owner: Some("one"), ..parcel(&payload) };
    let never = |_| async { panic!("it was sent") };
    let refused = shop.till.submit(&image, of_one, &cancel, never).await.unwrap_err();
    assert!(matches!(refused, TillError::Cancelled), "{refused}");
    assert_eq!(shop.load(&image).await.state, OperationState::Planned);
}

fn bare_request() -> LanguageRequest {
    LanguageRequest {
        model: "claude-sonnet-5-5".to_owned(),
        system: String::new(),
        tools: Vec::new(),
        messages: Vec::new(),
        max_output_tokens: 16_000,
    }
}

#[tokio::test]
async fn every_kind_of_cap_holds_and_names_itself() {
    let shop = Shop::open().await;
    let campaign = CampaignId::new();
    let mut session = shop.store.session().await.unwrap();
    for statement in [
        "INSERT INTO campaigns (id, user_id, name, created_at, updated_at) VALUES ($1, 'ada', 'Spring', now(), now())",
        "INSERT INTO project_campaigns SELECT id, $1, now() FROM projects",
    ] {
        sqlx::query(statement).bind(campaign).execute(&mut *session).await.unwrap();
    }
    session.close().await;
    let subject = campaign.to_string();
    let (payload, cancel) = (json!({"prompt": "soup"}), CancellationToken::new());
    let buy = async || {
        let image = shop.planned_image().await;
        shop.till.submit(&image, parcel(&payload), &cancel, |_| async { Ok(job()) }).await
    };
    buy().await.unwrap();
    for (which, period, name) in [
        ((Scope::Everything, ""), Period::Day, "all spend today (UTC)"),
        ((Scope::Everything, ""), Period::Month, "all spend this month (UTC)"),
        ((Scope::User, "ada"), Period::Total, "user ada"),
        ((Scope::Provider, "kie"), Period::Month, "provider kie this month (UTC)"),
        ((Scope::Campaign, subject.as_str()), Period::Total, "campaign Spring"),
    ] {
        // One picture is under way; a second one does not fit, and would under a cap of 0.08.
        shop.cap_of(which, period, dec!(0.07)).await;
        match buy().await {
            Err(TillError::OverBudget { what, taken, .. }) => {
                assert_eq!((what.as_str(), taken), (name, Usd::new(dec!(0.04))));
            }
            other => panic!("{name}: {other:?}"),
        }
        let mut session = shop.store.session().await.unwrap();
        assert!(budgets::remove(&mut session, which, period).await.unwrap());
        session.close().await;
    }
    // Caps of others do not concern it.
    for which in [(Scope::User, "bob"), (Scope::Provider, "fal"), (Scope::Campaign, "none")] {
        shop.cap_of(which, Period::Total, dec!(0)).await;
    }
    buy().await.unwrap();
}
