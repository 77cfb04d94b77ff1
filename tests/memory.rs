//! The memory on a real Postgres with pgvector.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "memory/documents.rs"]
mod documents;
#[path = "memory/filters.rs"]
mod filters;
#[path = "support/database.rs"]
mod support;
#[path = "memory/words.rs"]
mod words;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aida::clock::{FixedClock, SharedClock};
use aida::ids::{CampaignId, FileId, ProjectId, ShotId};
use aida::ledger::prices::PriceBook;
use aida::ledger::till::{Component, Purpose};
use aida::ledger::{Reservation, Till, TillError};
use aida::memory::{
    Embedding, MatchedBy, Memory, MemoryError, RecallRequest, Remembered, SearchFilter, files,
};
use aida::providers::{
    Embedder, Embeddings, FailureClass, MoneyState, Probe, Provider, ProviderError, TextRole,
};
use aida::store::embeddings::{self, PassageKind, Scope, Term};
use aida::store::{Store, campaigns};
use async_trait::async_trait;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor};
use support::TestDatabase;
use tokio_util::sync::CancellationToken;

/// A database of its own for one test, with a clock that stands still.
struct Database {
    store: Store,
    clock: SharedClock,
    kept: TestDatabase,
}

impl Database {
    async fn new() -> Self {
        let database = TestDatabase::fresh().await;
        let store = database.open().await;
        let clock: SharedClock = Arc::new(FixedClock("2026-11-22T12:00:00Z".parse().unwrap()));
        Self { store, clock, kept: database }
    }

    fn memory(&self) -> Memory {
        Memory::new(self.store.clone(), Embedding::Builtin, self.clock.clone())
    }

    fn memory_with(&self, embedder: &Arc<FakeEmbedder>) -> Memory {
        let prices = Arc::new(PriceBook::shipped());
        let answers = self.kept.data_dir().join("answers");
        let till = Till::new(self.store.clone(), prices, self.clock.clone(), 1, answers);
        let embedding = Embedding::Paid { embedder: embedder.clone(), till };
        Memory::new(self.store.clone(), embedding, self.clock.clone())
    }

    async fn run(&self, sql: &str) -> u64 {
        let mut session = self.store.session().await.unwrap();
        let done = session.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected();
        session.close().await;
        done
    }

    async fn number(&self, sql: &str) -> i64 {
        let mut session = self.store.session().await.unwrap();
        let number = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *session).await.unwrap();
        session.close().await;
        number
    }

    async fn project(&self, user: &str, title: &str, brief: &str, shots: &[&str]) -> ProjectId {
        let id = ProjectId::new();
        let script =
            json!({"title": title, "logline": format!("{title}, told briefly."), "beats": []});
        let mut session = self.store.session().await.unwrap();
        sqlx::query(
            "INSERT INTO projects (id, user_id, brief, title, slug, script, aspect, duration_seconds,
                                   shot_count, created_at, updated_at)
             VALUES ($1, $2, $3, $4, lower(replace($4, ' ', '-')), $5, '9:16', 30, 6, now(), now())",
        )
        .bind(id)
        .bind(user)
        .bind(brief)
        .bind(title)
        .bind(script)
        .execute(&mut *session)
        .await
        .unwrap();
        for (number, prompt) in (1_i32..).zip(shots) {
            sqlx::query(
                "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds)
                 VALUES ($1, $2, $3, $4, 'slow push in', 5)",
            )
            .bind(ShotId::new())
            .bind(id)
            .bind(number)
            .bind(prompt)
            .execute(&mut *session)
            .await
            .unwrap();
        }
        session.close().await;
        id
    }

    /// Three films of ada's, remembered.
    async fn with_films(&self) -> [ProjectId; 3] {
        let bread = self
            .project(
                "ada",
                "Slow Bread",
                "A bakery in Lyon that still bakes with a hundred-year-old starter",
                &[
                    "Dough rising under a linen cloth, morning light",
                    "A baker scores a loaf with a razor, flour in the air",
                ],
            )
            .await;
        let shoes = self
            .project(
                "ada",
                "First Mile",
                "Launch of running shoes for winter",
                &["A runner laces bright shoes at dawn on wet asphalt"],
            )
            .await;
        let city = self
            .project(
                "ada",
                "Ночной город",
                "Прогулка по ночному городу, неон и дождь",
                &["Неоновые вывески отражаются в лужах"],
            )
            .await;
        for project in [bread, shoes, city] {
            let remembered = self.memory().remember(&purpose("ada"), project).await.unwrap();
            assert!(remembered.trouble.is_none());
            assert_eq!(remembered.waiting, 0);
            assert_eq!(remembered.embedded, remembered.passages);
        }
        [bread, shoes, city]
    }
}

/// An embedder that knows three directions, keeps its own bill, and can be told to fail.
#[derive(Default)]
struct FakeEmbedder {
    width: usize,
    /// The number of texts of each call that was billed.
    billed: Mutex<Vec<usize>>,
    /// After how many billed calls it fails, and how.
    fails_after: Option<(usize, FailureClass)>,
}

impl FakeEmbedder {
    fn billed(&self) -> Vec<usize> {
        self.billed.lock().unwrap().clone()
    }
}

#[async_trait]
impl Embedder for FakeEmbedder {
    fn provider(&self) -> Provider {
        Provider::OpenAi
    }

    fn model(&self) -> &'static str {
        "text-embedding-3-small"
    }

    fn batch_limits(&self) -> (usize, u64) {
        (3, 300_000)
    }

    async fn embed(
        &self,
        _reservation: Reservation,
        texts: &[String],
        _role: TextRole,
    ) -> Result<Embeddings, ProviderError> {
        assert!(texts.len() <= 3 && texts.iter().all(|text| !text.trim().is_empty()));
        let mut billed = self.billed.lock().unwrap();
        if let Some((after, class)) = self.fails_after
            && billed.len() >= after
        {
            return Err(ProviderError {
                provider: Provider::OpenAi,
                class,
                money: MoneyState::NotCharged,
                status: Some(503),
                code: None,
                message: "not today".to_owned(),
                request_id: None,
                retry_after: Some(Duration::ZERO),
            });
        }
        billed.push(texts.len());
        let direction = |text: &String| {
            let bakes = text.contains("bak") || text.contains("oven") || text.contains("read");
            let mut vector = vec![0.0; self.width];
            vector[usize::from(!bakes)] = 1.0;
            vector[2] = 0.1;
            vector
        };
        let vectors = texts.iter().map(direction).collect();
        Ok(Embeddings { vectors, tokens: texts.len() as u64, request_id: None })
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        unreachable!("nobody asks")
    }
}

fn purpose(user: &str) -> Purpose {
    Purpose {
        user_id: user.to_owned(),
        project: None,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    }
}

async fn titles(memory: &Memory, query: &str) -> Vec<String> {
    let report = memory.search(&purpose("ada"), query, &SearchFilter::default()).await.unwrap();
    report.hits.into_iter().map(|hit| hit.title).collect()
}

#[tokio::test]
async fn what_was_made_is_found_again() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let memory = database.memory();

    let filter = SearchFilter::default();
    let report = memory.search(&purpose("ada"), "baker scoring loaves", &filter).await.unwrap();
    let best = &report.hits[0];
    assert_eq!((best.kind, best.project_id, best.shot), (PassageKind::Shot, Some(bread), Some(2)));
    assert_eq!((best.title.as_str(), best.matched_by), ("Slow Bread", MatchedBy::Both));
    assert!(best.snippet.contains("scores a loaf"));
    assert!(best.score > 0.3 && best.score <= 1.0);
    assert_eq!((report.embedder.as_str(), report.waiting_rows), (aida::memory::BUILTIN_MODEL, 0));
    assert_eq!(report.words_only, None);
    assert!(report.hits.iter().all(|hit| hit.project_id == Some(bread)), "{:?}", report.hits);

    assert_eq!(titles(&memory, "What did we make about running shoes?").await[0], "First Mile");
    assert_eq!(titles(&memory, "ночные города").await[0], "Ночной город");
    assert_eq!(titles(&memory, "неоновая вывеска").await[0], "Ночной город");

    let only_scripts = SearchFilter { kinds: vec![PassageKind::Script], ..filter };
    let report = memory.search(&purpose("ada"), "bread", &only_scripts).await.unwrap();
    let kinds: Vec<_> = report.hits.iter().map(|hit| hit.kind).collect();
    assert_eq!(kinds, [PassageKind::Script]);
}

#[tokio::test]
async fn nonsense_and_other_users_find_nothing() {
    let database = Database::new().await;
    database.with_films().await;
    let memory = database.memory();
    for query in ["quantum chromodynamics lecture", "xyzzy", "…!?", "🦓🦓"] {
        assert_eq!(titles(&memory, query).await, Vec::<String>::new(), "{query}");
    }
    let report = memory.search(&purpose("eve"), "bread", &SearchFilter::default()).await.unwrap();
    assert!(report.hits.is_empty());
    assert_eq!(report.waiting_rows, 0);
}

#[tokio::test]
async fn no_query_breaks_the_statement() {
    let database = Database::new().await;
    database.with_films().await;
    let memory = database.memory();
    for query in [
        "a & | !b :* (c) <-> d",
        "'; DROP TABLE projects; --",
        "\\' \\\\ :a* ''",
        "\"unclosed phrase",
        "- -- -x \"",
        "① ª º ½ x²",
        "%_%",
        "e\u{301} \u{301}",
        &"word ".repeat(399),
        &"夜".repeat(2_000),
    ] {
        memory.search(&purpose("ada"), query, &SearchFilter::default()).await.unwrap();
    }
    let blank = memory.search(&purpose("ada"), " \n", &SearchFilter::default()).await;
    assert!(matches!(blank, Err(MemoryError::BlankQuery)));
    let long = memory.search(&purpose("ada"), &"x".repeat(2_001), &SearchFilter::default()).await;
    assert!(matches!(long, Err(MemoryError::LongQuery { characters: 2_001 })));
}

#[tokio::test]
async fn a_query_with_operators_is_taken_at_its_word() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let memory = database.memory();
    let filter = SearchFilter { kinds: vec![PassageKind::Shot], ..SearchFilter::default() };
    let search = |query: &'static str| {
        let (memory, filter) = (memory.clone(), filter.clone());
        async move { memory.search(&purpose("ada"), query, &filter).await.unwrap() }
    };
    let report = search("\"linen cloth\"").await;
    assert_eq!(report.hits.len(), 1);
    assert_eq!(report.hits[0].project_id, Some(bread));
    assert_eq!(report.hits[0].matched_by, MatchedBy::Words);
    assert!(report.words_only.is_some());
    assert!(search("\"cloth linen\"").await.hits.is_empty());
    let without: Vec<_> = search("light or loaf -flour").await.hits;
    assert_eq!(without.len(), 1, "{without:?}");
    assert_eq!(without[0].shot, Some(1));
}

#[tokio::test]
async fn remembering_twice_changes_only_what_changed() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let memory = database.memory();
    let rows = "SELECT count(*) FROM project_embeddings";
    let before = database.number(rows).await;

    let again = memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!((again.passages, again.embedded), (4, 0));
    assert_eq!(database.number(rows).await, before);

    database
        .run("UPDATE shots SET image_prompt = 'A cat sleeps on flour sacks' WHERE number = 2")
        .await;
    let changed = memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!(changed.embedded, 1);
    assert_eq!(titles(&memory, "sleeping cats").await, ["Slow Bread"]);
    assert!(titles(&memory, "razor").await.is_empty(), "the old text is forgotten");

    database.run("DELETE FROM shots WHERE number = 2").await;
    let shorter = memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!((shorter.passages, shorter.embedded), (3, 0));
    assert_eq!(database.number(rows).await, before - 1);
    assert!(titles(&memory, "sleeping cats").await.is_empty());

    let nobody = memory.remember(&purpose("ada"), ProjectId::new()).await.unwrap();
    assert_eq!(nobody.passages, 0);
}

#[tokio::test]
async fn vectors_of_another_model_wait_and_are_never_compared() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let memory = database.memory();
    // As after a change of embedder, and as after a provider's failure.
    database
        .run("UPDATE project_embeddings SET model = 'text-embedding-3-small' WHERE kind = 'shot'")
        .await;
    database
        .run("UPDATE project_embeddings SET model = NULL, embedding = NULL WHERE kind = 'script'")
        .await;
    let filter = SearchFilter { limit: 100, ..SearchFilter::default() };
    let report = memory.search(&purpose("ada"), "slow bread loaf", &filter).await.unwrap();
    assert_eq!(report.waiting_rows, 4 + 3);
    let mut seen: Vec<_> = report.hits.iter().map(|hit| (hit.kind, hit.matched_by)).collect();
    seen.sort_by_key(|(kind, _)| *kind);
    assert_eq!(
        seen,
        [
            (PassageKind::Project, MatchedBy::Both),
            (PassageKind::Script, MatchedBy::Words),
            (PassageKind::Shot, MatchedBy::Words),
        ]
    );
    let again = memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!(again.embedded, 3, "two shots and a script");
    let report = memory.search(&purpose("ada"), "bread", &filter).await.unwrap();
    assert_eq!(report.waiting_rows, 4);
}

#[tokio::test]
async fn a_paid_embedder_is_asked_in_batches_and_once() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let embedder = Arc::new(FakeEmbedder { width: 3, ..FakeEmbedder::default() });
    let memory = database.memory_with(&embedder);

    let remembered = memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!((remembered.passages, remembered.embedded, remembered.waiting), (4, 4, 0));
    assert_eq!(embedder.billed(), [3, 1], "four passages, at most three in a call");
    memory.remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!(embedder.billed(), [3, 1], "and not once more");

    let report = memory
        .search(&purpose("ada"), "something warm from an oven", &SearchFilter::default())
        .await;
    let report = report.unwrap();
    assert_eq!(embedder.billed(), [3, 1, 1]);
    assert_eq!(report.embedder, "text-embedding-3-small");
    assert_eq!(report.waiting_rows, 6, "the other two films");
    assert_eq!(report.hits[0].project_id, Some(bread));
    assert_eq!(report.hits[0].matched_by, MatchedBy::Meaning);
    assert_eq!(database.number("SELECT count(*) FROM charges").await, 3);
    assert_eq!(
        database.number("SELECT count(*) FROM charges WHERE component = 'embedding'").await,
        3
    );
}

#[tokio::test]
async fn a_failing_embedder_loses_no_words() {
    let database = Database::new().await;
    let project = database
        .project(
            "ada",
            "Slow Bread",
            "A bakery in Lyon",
            &["Dough rises", "A loaf cools", "Crumbs"],
        )
        .await;
    // The first batch is paid and kept, the second is not made.
    let embedder = Arc::new(FakeEmbedder {
        width: 3,
        fails_after: Some((1, FailureClass::Funds)),
        ..FakeEmbedder::default()
    });
    let memory = database.memory_with(&embedder);
    let remembered = memory.remember(&purpose("ada"), project).await.unwrap();
    assert_eq!((remembered.passages, remembered.embedded, remembered.waiting), (5, 3, 2));
    assert!(matches!(remembered.trouble, Some(TillError::Provider(_))));

    let refused = memory.search(&purpose("ada"), "crumbs", &SearchFilter::default()).await;
    assert!(matches!(refused, Err(MemoryError::Till(_))), "an empty account is told, not hidden");
    let exact =
        memory.search(&purpose("ada"), "\"crumbs\"", &SearchFilter::default()).await.unwrap();
    assert_eq!((exact.hits.len(), exact.waiting_rows), (1, 2));

    let overloaded = Arc::new(FakeEmbedder {
        width: 3,
        fails_after: Some((0, FailureClass::Unavailable)),
        ..FakeEmbedder::default()
    });
    let report = database
        .memory_with(&overloaded)
        .search(&purpose("ada"), "crumbs", &SearchFilter::default())
        .await
        .unwrap();
    assert_eq!(report.hits.len(), 1);
    assert!(report.words_only.unwrap().contains("not today"));

    let mended = Arc::new(FakeEmbedder { width: 3, ..FakeEmbedder::default() });
    let remembered =
        database.memory_with(&mended).remember(&purpose("ada"), project).await.unwrap();
    assert_eq!(remembered.embedded, 2, "only what was missing is paid for");
}

#[tokio::test]
async fn vectors_that_are_too_wide_are_refused() {
    let database = Database::new().await;
    let project = database.project("ada", "Slow Bread", "A bakery", &[]).await;
    let embedder = Arc::new(FakeEmbedder { width: 3_072, ..FakeEmbedder::default() });
    let refused = database.memory_with(&embedder).remember(&purpose("ada"), project).await;
    assert!(matches!(refused, Err(MemoryError::TooWide { width: 3_072, .. })));
    assert_eq!(titles(&database.memory(), "bakery").await, ["Slow Bread"]);
}

#[tokio::test]
async fn campaigns_hold_projects_and_their_spend() {
    let database = Database::new().await;
    let [bread, shoes, _] = database.with_films().await;
    let now = database.clock.now();
    let spring = create(&database, "Spring", "").await;
    let mut session = database.store.session().await.unwrap();

    let taken = "SPRING".parse().unwrap();
    assert_eq!(campaigns::create(&mut session, "ada", &taken, "", now).await.unwrap(), None);
    assert!(campaigns::create(&mut session, "eve", &taken, "", now).await.unwrap().is_some());
    for reference in ["spring", " Spring ", &spring.short(), &spring.to_string().to_uppercase()] {
        let found = campaigns::by_reference(&mut session, "ada", reference).await.unwrap();
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [spring], "{reference}");
    }
    assert!(campaigns::by_reference(&mut session, "bob", "Spring").await.unwrap().is_empty());

    assert!(campaigns::add(&mut session, spring, bread, now).await.unwrap());
    assert!(!campaigns::add(&mut session, spring, bread, now).await.unwrap());
    assert!(campaigns::add(&mut session, spring, shoes, now).await.unwrap());
    assert!(campaigns::remove(&mut session, spring, shoes).await.unwrap());
    assert!(!campaigns::remove(&mut session, spring, shoes).await.unwrap());
    session.execute(AssertSqlSafe(format!(
        "INSERT INTO prices VALUES ('p', 'kie', 'm', '2026-01-01', '{{}}', 'test', now());
         INSERT INTO operations (id, user_id, project_id, kind, component, provider, model, endpoint, state,
                                 price_id, quantity, estimated_usd, created_at)
         SELECT gen_random_uuid(), 'ada', '{bread}', 'image', 'image', 'kie', 'm', 'e', 'kept', 'p', '{{}}', 1, now()
         FROM generate_series(1, 3);
         INSERT INTO charges (id, operation_id, user_id, project_id, component, provider, model, state, price_id,
                              estimated_usd, reserved_usd, settled_usd, created_at)
         SELECT id, id, 'ada', '{bread}', 'image', 'kie', 'm', CASE number WHEN 3 THEN 'unknown' ELSE 'settled' END,
                'p', 1, 2, CASE number WHEN 3 THEN NULL ELSE 0.000000000001 END, now()
         FROM (SELECT id, row_number() OVER () AS number FROM operations) AS numbered"
    ))).await.unwrap();
    let listed = campaigns::list(&mut session, "ada", false).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].videos, 1);
    assert_eq!(listed[0].settled.dollars().to_string(), "0.000000000002");
    assert_eq!(listed[0].unknown.dollars().normalize().to_string(), "2");
    let videos = campaigns::videos(&mut session, spring).await.unwrap();
    assert_eq!((videos.len(), videos[0].project, videos[0].settled), (1, bread, listed[0].settled));

    let autumn = "Autumn".parse().unwrap();
    let autumn = campaigns::create(&mut session, "ada", &autumn, "", now).await.unwrap().unwrap();
    assert!(!campaigns::rename(&mut session, autumn.id, &taken, now).await.unwrap());
    let winter = "Winter".parse().unwrap();
    assert!(campaigns::rename(&mut session, autumn.id, &winter, now).await.unwrap());
    campaigns::archive(&mut session, autumn.id, true, now).await.unwrap();
    assert_eq!(campaigns::list(&mut session, "ada", false).await.unwrap().len(), 1);
    assert_eq!(campaigns::list(&mut session, "ada", true).await.unwrap().len(), 2);
    campaigns::archive(&mut session, autumn.id, false, now).await.unwrap();
    assert_eq!(campaigns::list(&mut session, "ada", false).await.unwrap().len(), 2);
    session.close().await;

    let memory = database.memory();
    let filter = SearchFilter { campaign: Some(spring), limit: 100, ..SearchFilter::default() };
    let report = memory.search(&purpose("ada"), "bread or running shoes", &filter).await.unwrap();
    assert!(!report.hits.is_empty());
    assert!(report.hits.iter().all(|hit| hit.project_id == Some(bread)));
}

async fn create(database: &Database, name: &str, description: &str) -> CampaignId {
    let mut session = database.store.session().await.unwrap();
    let name = name.parse().unwrap();
    let now = database.clock.now();
    let created = campaigns::create(&mut session, "ada", &name, description, now).await.unwrap();
    session.close().await;
    created.unwrap().id
}
