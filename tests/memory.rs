//! The memory on a real Postgres with pgvector.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/database.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aida::clock::{FixedClock, SharedClock};
use aida::ids::{CampaignId, ProjectId, ShotId};
use aida::ledger::prices::PriceBook;
use aida::ledger::till::{Component, Purpose};
use aida::ledger::{Reservation, Till, TillError};
use aida::memory::{Embedding, MatchedBy, Memory, MemoryError, RecallRequest, SearchFilter, files};
use aida::providers::{
    Embedder, Embeddings, FailureClass, MoneyState, Probe, Provider, ProviderError, TextRole,
};
use aida::store::embeddings::{self, PassageKind, Scope, Term};
use aida::store::{Store, campaigns};
use async_trait::async_trait;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor};
use support::TestDatabase;

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

/// A folder for copies of pictures; the tests here keep none.
fn vault() -> files::Vault {
    files::Vault::new("no-such-folder".into())
}

fn reader() -> files::Reader {
    files::Reader::new(env!("CARGO_BIN_EXE_aida").into())
}

#[tokio::test]
async fn files_arekept_once_and_quoted() {
    let database = Database::new().await;
    let memory = database.memory();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("menu.md");
    let text = format!(
        "# Spring menu\n\n{}\n\nThe rhubarb tart is served with cardamom ice cream.",
        "We cook with what grows nearby. ".repeat(80)
    );
    std::fs::write(&path, &text).unwrap();
    let read = reader().read(&[path]).await.unwrap();

    let kept = files::keep(&memory, &vault(), &purpose("ada"), None, &read).await.unwrap();
    assert!(kept[0].remembered.passages > 1);
    let again = files::keep(&memory, &vault(), &purpose("ada"), None, &read).await.unwrap();
    assert_eq!(again[0].id, kept[0].id);
    assert_eq!(again[0].remembered.embedded, 0);
    let others = files::keep(&memory, &vault(), &purpose("eve"), None, &read).await.unwrap();
    assert_ne!(others[0].id, kept[0].id);
    assert_eq!(database.number("SELECT count(*) FROM user_files").await, 2);

    let filter = SearchFilter { kinds: vec![PassageKind::File], ..SearchFilter::default() };
    let report = memory.search(&purpose("ada"), "rhubarb tarts", &filter).await.unwrap();
    assert_eq!(report.hits.len(), 1);
    assert_eq!((report.hits[0].title.as_str(), report.hits[0].id), ("menu.md", kept[0].id.uuid()));
    assert!(report.hits[0].snippet.contains("rhubarb tart"), "{}", report.hits[0].snippet);

    let told = memory.search_files(&purpose("ada"), "rhubarb").await.unwrap();
    assert!(told.starts_with("### From menu.md\n"), "{told}");
    assert!(told.contains("cardamom ice cream"));
}

#[tokio::test]
async fn the_team_is_told_what_could_help() {
    let database = Database::new().await;
    let [bread, shoes, _] = database.with_films().await;
    let memory = database.memory();
    let now = database.clock.now();
    let campaign = create(&database, "Spring", "Everything that grows").await;
    let mut session = database.store.session().await.unwrap();
    assert!(campaigns::add(&mut session, campaign, shoes, now).await.unwrap());
    session.close().await;
    database
        .run(&format!(
            "INSERT INTO project_feedback (id, project_id, user_id, rating, note, created_at) VALUES
                 (gen_random_uuid(), '{bread}', 'ada', 4, 'warm, but the end is abrupt', '2026-11-01'),
                 (gen_random_uuid(), '{bread}', 'ada', 5, '', '2026-11-02');
             INSERT INTO user_preferences (id, user_id, statement, support, pinned, created_at, updated_at) VALUES
                 (gen_random_uuid(), 'ada', 'Warm light', 3, false, now(), now()),
                 (gen_random_uuid(), 'ada', 'Never show faces', 1, true, now(), now()),
                 (gen_random_uuid(), 'eve', 'Loud music', 9, true, now(), now())"
        ))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "Only rye flour.").unwrap();
    let read = reader().read(&[path]).await.unwrap();
    let kept = files::keep(&memory, &vault(), &purpose("ada"), None, &read).await.unwrap();

    let request = RecallRequest {
        brief: "bread from a small bakery",
        project: None,
        campaign: Some(campaign),
        files: &[kept[0].id],
    };
    let recall = memory.recall(&purpose("ada"), &request).await.unwrap();
    insta::assert_snapshot!(recall.work, @r"
    ## Similar projects of this user

    ### Slow Bread
    Brief: A bakery in Lyon that still bakes with a hundred-year-old starter
    Logline: Slow Bread, told briefly.
    Rating: 4.5 of 5 on average
    The user remarked: warm, but the end is abrupt
    Shot 1: Dough rising under a linen cloth, morning light
    Shot 2: A baker scores a loaf with a razor, flour in the air

    ## The user's files

    ### notes.txt (given for this video)
    Only rye flour.
    ");
    assert_eq!(
        recall.campaign,
        "### Spring\nAbout: Everything that grows\nIts latest videos:\n\
         - First Mile: First Mile, told briefly."
    );
    assert_eq!(recall.preferences, "- Never show faces (the user's own words)\n- Warm light");
    assert_eq!((recall.found.projects, recall.found.files, recall.found.preferences), (1, 1, 2));
    let again = memory.recall(&purpose("ada"), &request).await.unwrap();
    assert_eq!(recall.work, again.work);

    let itself = RecallRequest { project: Some(bread), campaign: None, files: &[], ..request };
    let recall = memory.recall(&purpose("ada"), &itself).await.unwrap();
    assert!(!recall.work.contains("Slow Bread"), "{}", recall.work);
    let nobody = memory.recall(&purpose("new"), &itself).await.unwrap();
    assert_eq!(nobody.found.projects, 0);
    assert!(nobody.work.contains("No earlier project"));
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

#[tokio::test]
async fn every_filter_keeps_its_promise_and_says_what_it_left_out() {
    let database = Database::new().await;
    let [bread, shoes, city] = database.with_films().await;
    let memory = database.memory();
    database
        .run(&format!(
            "UPDATE projects SET created_at = '2026-11-01T00:00:00Z' WHERE id = '{bread}';
             UPDATE projects SET created_at = '2026-11-20T00:00:00Z', aspect = '16:9' WHERE id = '{shoes}';
             UPDATE projects SET created_at = '2026-11-21T00:00:00Z' WHERE id = '{city}';
             INSERT INTO project_feedback (id, project_id, shot_id, user_id, rating, created_at)
             SELECT gen_random_uuid(), '{bread}', shots.id, 'ada', 2, now()
             FROM shots WHERE project_id = '{bread}' AND number = 2;
             INSERT INTO project_feedback (id, project_id, user_id, rating, created_at) VALUES
                 (gen_random_uuid(), '{bread}', 'ada', 5, now()), (gen_random_uuid(), '{bread}', 'ada', 5, now()),
                 (gen_random_uuid(), '{shoes}', 'ada', 3, now())"
        ))
        .await;
    let found = |filter: SearchFilter| {
        let memory = memory.clone();
        async move {
            let query = "baker loaf dough runner shoes город";
            let filter = SearchFilter { limit: 100, ..filter };
            let report = memory.search(&purpose("ada"), query, &filter).await.unwrap();
            let mut seen: Vec<_> = report
                .hits
                .iter()
                .map(|hit| (hit.project_id.unwrap(), hit.kind, hit.shot))
                .collect();
            seen.sort();
            (seen, report.left_out_by_filters)
        }
    };
    let projects = |seen: &[(ProjectId, PassageKind, Option<i32>)]| {
        let mut projects: Vec<_> = seen.iter().map(|(project, ..)| *project).collect();
        projects.dedup();
        projects
    };
    let everything = found(SearchFilter::default()).await.0;
    assert_eq!(projects(&everything), [bread, shoes, city]);

    let wide = SearchFilter { aspect: Some("16:9".to_owned()), ..SearchFilter::default() };
    assert_eq!(projects(&found(wide).await.0), [shoes]);
    let later = SearchFilter {
        since: Some("2026-11-20T00:00:00Z".parse().unwrap()),
        ..SearchFilter::default()
    };
    assert_eq!(projects(&found(later.clone()).await.0), [shoes, city], "the first moment counts");
    let until = SearchFilter { until: Some("2026-11-21T00:00:00Z".parse().unwrap()), ..later };
    assert_eq!(projects(&found(until).await.0), [shoes], "the last one does not");

    // Both halves: the project's mean is 4, its second shot has a rating of its own.
    let good = SearchFilter { rating: Some(4.0), ..SearchFilter::default() };
    let (seen, _) = found(good).await;
    assert_eq!(projects(&seen), [bread]);
    assert!(seen.contains(&(bread, PassageKind::Shot, Some(1))), "{seen:?}");
    assert!(!seen.contains(&(bread, PassageKind::Shot, Some(2))), "{seen:?}");

    let nothing = SearchFilter { aspect: Some("1:1".to_owned()), ..SearchFilter::default() };
    assert_eq!(found(nothing).await, (Vec::new(), true));
    let report = memory
        .search(
            &purpose("ada"),
            "xyzzy",
            &SearchFilter { rating: Some(5.0), ..SearchFilter::default() },
        )
        .await
        .unwrap();
    assert!(!report.left_out_by_filters, "nor would anything have been found without it");
}

/// At a hundredth of two thousand vectors, the ten nearest are found as a comparison of all
/// of them finds them.
#[tokio::test]
async fn filters_do_not_ruin_recall() {
    let database = Database::new().await;
    let mut session = database.store.session().await.unwrap();
    let place = database.store.index_place();
    embeddings::index::ensure(&mut session, aida::memory::BUILTIN_MODEL, place).await.unwrap();
    session.close().await;
    database
        .run(&format!(
            "INSERT INTO projects (id, user_id, brief, title, slug, aspect, duration_seconds, shot_count,
                                   created_at, updated_at)
             SELECT ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid, 'ada', 'b', 't', 's',
                    CASE number WHEN 7 THEN '1:1' ELSE '9:16' END, 30, 6,
                    timestamptz '2026-01-01' + number * interval '1 day', now()
             FROM generate_series(1, 100) AS number;
             INSERT INTO project_feedback (id, project_id, user_id, rating, created_at)
             SELECT gen_random_uuid(), id, 'ada', CASE aspect WHEN '1:1' THEN 5 ELSE 2 END, now() FROM projects;
             INSERT INTO project_embeddings (id, user_id, project_id, kind, subject_id, part, content, model,
                                             embedding, created_at)
             SELECT gen_random_uuid(), 'ada', ('00000000-0000-0000-0000-' || lpad((number % 100 + 1)::text, 12, '0'))::uuid,
                    CASE number % 100 WHEN 8 THEN 'script' ELSE 'shot' END, gen_random_uuid(), 0, 'shot', '{}',
                    (SELECT array_agg(sin(number * 12.9898 + place * 78.233 + sin(number * place))::real ORDER BY place)
                     FROM generate_series(1, 1536) AS place)::vector, now()
             FROM generate_series(1, 2000) AS number",
            aida::memory::BUILTIN_MODEL
        ))
        .await;
    let scopes = [
        Scope { aspect: Some("1:1".to_owned()), ..Scope::default() },
        Scope { rating: Some(4.5), ..Scope::default() },
        Scope { kinds: vec![PassageKind::Script], ..Scope::default() },
        Scope {
            since: Some("2026-01-07T12:00:00Z".parse().unwrap()),
            until: Some("2026-01-08T12:00:00Z".parse().unwrap()),
            ..Scope::default()
        },
    ];
    let (mut found, mut wanted) = (0, 0);
    for (seed, scope) in (0_u16..).zip(scopes) {
        let scope = Scope { user_id: "ada".to_owned(), ..scope };
        for turn in 0..5_u16 {
            let vector: Vec<f32> = (0..1536_u16)
                .map(|place| (f32::from(place) * 0.37 + f32::from(seed * 5 + turn)).sin())
                .collect();
            let vector = pgvector::Vector::from(vector);
            let mut session = database.store.session().await.unwrap();
            let mut transaction = session.begin().await.unwrap();
            let model = aida::memory::BUILTIN_MODEL;
            let near =
                embeddings::by_vector(&mut transaction, &scope, model, &vector, 10).await.unwrap();
            sqlx::query("SET LOCAL enable_indexscan = off")
                .execute(&mut *transaction)
                .await
                .unwrap();
            let exact =
                embeddings::by_vector(&mut transaction, &scope, model, &vector, 10).await.unwrap();
            transaction.rollback().await.unwrap();
            session.close().await;
            assert_eq!(exact.len(), 10);
            wanted += exact.len();
            found +=
                exact.iter().filter(|exact| near.iter().any(|near| near.id == exact.id)).count();
        }
    }
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
}

#[tokio::test]
async fn a_take_is_shown_as_its_shot_unless_takes_are_asked_for() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    database
        .run(&format!(
            "INSERT INTO prices VALUES ('p', 'kie', 'm', '2026-01-01', '{{}}', 'test', now());
             INSERT INTO operations (id, user_id, project_id, shot_id, kind, component, provider, model, endpoint, state,
                                     price_id, quantity, estimated_usd, created_at)
             SELECT gen_random_uuid(), 'ada', '{bread}', shots.id, kind, kind, 'kie', 'm', 'e', 'kept', 'p', '{{}}', 1, now()
             FROM shots, (VALUES ('image'), ('clip')) AS made (kind) WHERE project_id = '{bread}' AND number = 2;
             INSERT INTO takes (id, project_id, shot_id, operation_id, kind, position, chosen, path, sha256, bytes, created_at)
             SELECT gen_random_uuid(), project_id, shot_id, id, kind, 1, true, kind || '.file', '', 1, now()
             FROM operations"
        ))
        .await;
    let memory = database.memory();
    memory.remember(&purpose("ada"), bread).await.unwrap();

    let all = memory.search(&purpose("ada"), "baker loaf razor", &SearchFilter::default()).await;
    let all = all.unwrap().hits;
    assert_eq!((all[0].kind, all[0].shot), (PassageKind::Shot, Some(2)));
    assert!(all.iter().all(|hit| hit.kind != PassageKind::Take), "{all:?}");
    assert_eq!(all.iter().filter(|hit| hit.shot == Some(2)).count(), 1, "{all:?}");
    let moving = memory.search(&purpose("ada"), "slow push in", &SearchFilter::default()).await;
    let moving = moving.unwrap().hits;
    assert_eq!((moving[0].kind, moving[0].shot), (PassageKind::Shot, Some(2)), "by its clip alone");
    assert_eq!(moving[0].takes[0].path, "clip.file");

    let filter = SearchFilter { kinds: vec![PassageKind::Take], ..SearchFilter::default() };
    let takes = memory.search(&purpose("ada"), "baker loaf razor", &filter).await.unwrap().hits;
    let mut paths: Vec<_> = takes
        .iter()
        .map(|hit| {
            assert_eq!((hit.kind, hit.shot, hit.takes.len()), (PassageKind::Take, Some(2), 1));
            assert_eq!(hit.id, hit.takes[0].id.uuid());
            hit.takes[0].path.as_str()
        })
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["clip.file", "image.file"]);
}

#[tokio::test]
async fn words_are_found_misspelt_inflected_and_in_every_script() {
    let database = Database::new().await;
    for (title, brief) in [
        ("Ecke", "Zwei Kinder sitzen in der Holzkiste und essen Käsebrötchen"),
        ("Marché", "Les fromagers et leurs meules dorées à la lumière"),
        ("Baile", "Zapatos rojos golpean el suelo de madera"),
        ("Трамвай", "Первые трамваи на рассвете, ЁЛКА и ОГНИ"),
        ("茶室", "京都の小さな茶室で抹茶を点てる"),
        ("Sale", "Cappuccino for HR-1042, see wet/dry.aida.example"),
    ] {
        let project = database.project("ada", title, brief, &[]).await;
        database.memory().remember(&purpose("ada"), project).await.unwrap();
    }
    // The words alone, so that no vector can hide what they lack.
    database.run("UPDATE project_embeddings SET model = NULL, embedding = NULL").await;
    let memory = database.memory();
    for (query, title) in [
        ("KINDERN", "Ecke"),
        ("kasebrotchen", "Ecke"),
        ("Holz", "Ecke"),
        ("kiste", "Ecke"),
        ("Holzkisten", "Ecke"),
        ("fromager", "Marché"),
        ("lumiere", "Marché"),
        ("lumières", "Marché"),
        ("zapato rojo", "Baile"),
        ("трамваями", "Трамвай"),
        ("елка", "Трамвай"),
        ("огнями", "Трамвай"),
        ("抹茶", "茶室"),
        ("茶室", "茶室"),
        ("cappucino", "Sale"),
        ("capuccino", "Sale"),
        ("hr 1042", "Sale"),
        ("HR-1042", "Sale"),
        ("dry", "Sale"),
    ] {
        let found = titles(&memory, query).await;
        assert_eq!(found.first().map(String::as_str), Some(title), "{query}: {found:?}");
    }
    assert!(titles(&memory, "茶夜").await.is_empty());
    let report =
        memory.search(&purpose("ada"), "cappucino", &SearchFilter::default()).await.unwrap();
    assert_eq!(
        (report.read_as[0].word.as_str(), &*report.read_as[0].read_as[0]),
        ("cappucino", "cappuccino")
    );
    let hit = &report.hits[0];
    let marked: String =
        hit.snippet.chars().skip(hit.marks[0].0).take(hit.marks[0].1 - hit.marks[0].0).collect();
    assert_eq!(marked, "Cappuccino");

    for (query, count) in [
        ("\"HR-1042\"", 1),
        ("\"kasebrotchen\"", 1),
        ("\"Kind\"", 0),
        ("\"抹茶を\"", 1),
        ("cappuccino -\"hr 1042\"", 0),
    ] {
        assert_eq!(titles(&memory, query).await.len(), count, "{query}");
    }
}

#[tokio::test]
async fn what_is_forgotten_is_not_kept_as_a_word() {
    let database = Database::new().await;
    let [bread, ..] = database.with_films().await;
    let words = "SELECT count(*) FROM passage_words WHERE word = 'razor'";
    assert_eq!(database.number(words).await, 1);
    database.run("UPDATE shots SET image_prompt = 'A cat sleeps' WHERE number = 2").await;
    database.memory().remember(&purpose("ada"), bread).await.unwrap();
    assert_eq!(database.number(words).await, 0);
    assert_eq!(database.number("SELECT count(*) FROM passage_words WHERE word = 'dough'").await, 1);
    database.run("DELETE FROM project_embeddings").await;
    assert_eq!(database.number("SELECT count(*) FROM passage_words").await, 0);
}

/// Moving to another embedder touches every passage and no word.
#[tokio::test]
async fn a_change_of_vectors_alone_does_nothing_about_words() {
    let database = Database::new().await;
    database.with_films().await;
    let words = "SELECT count(*) FROM passage_words";
    assert!(database.number(words).await > 0);
    // Whatever is learnt or forgotten now shows.
    database.run("DELETE FROM passage_words WHERE word <> 'razor'").await;
    database.run("UPDATE project_embeddings SET model = NULL, embedding = NULL").await;
    assert_eq!(database.number(words).await, 1);
    database.run("UPDATE project_embeddings SET content = content || ' at dawn'").await;
    assert!(database.number(words).await > 1);
    database.run("UPDATE project_embeddings SET content = 'nothing'").await;
    assert_eq!(database.number(words).await, 1, "one word is left");
}

#[tokio::test]
async fn marks_that_make_no_word_find_nothing_and_break_nothing() {
    let database = Database::new().await;
    database.with_films().await;
    let term = |place, text: &str| Term { place, text: text.to_owned(), quality: 1.0 };
    let scope = Scope { user_id: "ada".to_owned(), ..Scope::default() };
    let mut session = database.store.session().await.unwrap();
    for marks in ["\u{301}", "\u{2d8}", "\u{300}\u{301}", ""] {
        let alone = [term(0, marks)];
        let found = embeddings::by_any_term(&mut session, &scope, &alone, 10).await.unwrap();
        assert!(found.is_empty(), "{marks:?}");
        let beside = [term(0, marks), term(1, "razor")];
        let found = embeddings::by_any_term(&mut session, &scope, &beside, 10).await.unwrap();
        assert_eq!(found.len(), 1, "{marks:?}");
    }
    session.close().await;
}

async fn create(database: &Database, name: &str, description: &str) -> CampaignId {
    let mut session = database.store.session().await.unwrap();
    let name = name.parse().unwrap();
    let now = database.clock.now();
    let created = campaigns::create(&mut session, "ada", &name, description, now).await.unwrap();
    session.close().await;
    created.unwrap().id
}
