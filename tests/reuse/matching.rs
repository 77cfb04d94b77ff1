//! What is alike, on a real database: by words, by the built-in embedder, by a paid one.

use std::sync::{Arc, Mutex};

use aida::clock::{FixedClock, SharedClock};
use aida::ids::{OperationId, ProjectId, ShotId, TakeId};
use aida::ledger::prices::PriceBook;
use aida::ledger::till::{Component, Purpose};
use aida::ledger::{Reservation, Till};
use aida::memory::reuse::{Alike, Candidate, Wanted};
use aida::memory::{Embedding, Memory};
use aida::providers::{Embedder, Embeddings, Probe, Provider, ProviderError, TextRole};
use aida::store::Store;
use async_trait::async_trait;
use rust_decimal::Decimal;

use crate::database::TestDatabase;

const LATTE: &str =
    "A barista pours latte art into a white cup, close-up, steam rising, window light";
const PUSH: &str = "Slow push in while the steam drifts to the left";

struct Library {
    store: Store,
    clock: SharedClock,
    kept: TestDatabase,
}

impl Library {
    async fn new() -> Self {
        let kept = TestDatabase::fresh().await;
        let clock: SharedClock = Arc::new(FixedClock("2026-11-22T12:00:00Z".parse().unwrap()));
        Self { store: kept.open().await, clock, kept }
    }

    fn memory(&self) -> Memory {
        Memory::new(self.store.clone(), Embedding::Builtin, self.clock.clone())
    }

    fn memory_with(&self, embedder: &Arc<Telepath>) -> Memory {
        let answers = self.kept.data_dir().join("answers");
        let prices = Arc::new(PriceBook::shipped());
        let till = Till::new(self.store.clone(), prices, self.clock.clone(), 1, answers);
        let embedding = Embedding::Paid { embedder: embedder.clone(), till };
        Memory::new(self.store.clone(), embedding, self.clock.clone())
    }

    /// A film of one shot with its picture and a clip of five seconds, remembered by `memory`.
    async fn film(&self, memory: &Memory, user: &str, image: &str, motion: &str) -> ProjectId {
        let (project, shot) = (ProjectId::new(), ShotId::new());
        let mut session = self.store.session().await.unwrap();
        sqlx::query(
            "INSERT INTO projects (id, user_id, brief, title, slug, aspect, duration_seconds, shot_count, created_at,
                                   updated_at)
             VALUES ($1, $2, 'coffee', 'Coffee', 'coffee', '9:16', 5, 1, now(), now())",
        )
        .bind(project)
        .bind(user)
        .execute(&mut *session)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds)
             VALUES ($1, $2, 1, $3, $4, 5)",
        )
        .bind(shot)
        .bind(project)
        .bind(image)
        .bind(motion)
        .execute(&mut *session)
        .await
        .unwrap();
        let keyframe = format!("picture of {project}");
        for (kind, provider, model, quantity, sha256, seconds) in [
            ("image", "kie", "midjourney-7-fast", r#"{"images":1}"#, keyframe.clone(), None),
            (
                "clip",
                "fal",
                "kling-2.6-pro",
                r#"{"video_seconds":{"seconds":5,"audio":false}}"#,
                format!("clip of {project}"),
                Some(Decimal::from(5)),
            ),
        ] {
            let operation = OperationId::new();
            sqlx::query(
                "INSERT INTO operations (id, user_id, project_id, shot_id, kind, component, provider, model, endpoint,
                                         state, price_id, quantity, estimated_usd, created_at)
                 VALUES ($1, $2, $3, $4, $5, 'image', $6, $7, '/', 'kept', 'p', $8::text::jsonb, 0, now())",
            )
            .bind(operation)
            .bind(user)
            .bind(project)
            .bind(shot)
            .bind(kind)
            .bind(provider)
            .bind(model)
            .bind(quantity)
            .execute(&mut *session)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO takes (id, project_id, shot_id, operation_id, kind, chosen, path, sha256, bytes,
                                    duration_seconds, keyframe_sha256, created_at)
                 VALUES ($1, $2, $3, $4, $5, true, 'x', $6, 1, $7, $8, now())",
            )
            .bind(TakeId::new())
            .bind(project)
            .bind(shot)
            .bind(operation)
            .bind(kind)
            .bind(&sha256)
            .bind(seconds)
            .bind((kind == "clip").then_some(&keyframe))
            .execute(&mut *session)
            .await
            .unwrap();
        }
        session.close().await;
        let remembered = memory.remember(&purpose(user), project).await.unwrap();
        assert!(remembered.trouble.is_none() && remembered.waiting == 0, "{remembered:?}");
        project
    }
}

/// An embedder that sees coffee in a text, and a little or much of something else beside it.
#[derive(Default)]
struct Telepath {
    billed: Mutex<Vec<usize>>,
}

#[async_trait]
impl Embedder for Telepath {
    fn provider(&self) -> Provider {
        Provider::OpenAi
    }

    fn model(&self) -> &'static str {
        "text-embedding-3-small"
    }

    fn batch_limits(&self) -> (usize, u64) {
        (2_048, 300_000)
    }

    async fn embed(
        &self,
        _reservation: Reservation,
        texts: &[String],
        _role: TextRole,
    ) -> Result<Embeddings, ProviderError> {
        self.billed.lock().unwrap().push(texts.len());
        let vector = |text: &String| {
            let mut vector = vec![0.0; 8];
            let sees = |words: &[&str]| words.iter().any(|word| text.to_lowercase().contains(word));
            vector[usize::from(!sees(&["latte", "coffee", "espresso"]))] = 1.0;
            // Cosines of 0.96 and 0.86 with a text that has nothing beside its coffee.
            vector[2] = if sees(&["foam"]) { 0.3 } else { 0.0 };
            vector[3] = if sees(&["froth"]) { 0.6 } else { 0.0 };
            vector
        };
        let vectors = texts.iter().map(vector).collect();
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

fn wanted(image: &str, motion: &str) -> Wanted {
    Wanted {
        shot: 1,
        image_prompt: image.to_owned(),
        motion_prompt: motion.to_owned(),
        seconds: Decimal::from(5),
        bought_seconds: 5,
        audio: false,
        image_model: "midjourney-7-fast".to_owned(),
        video_model: "kling-2.6-pro".to_owned(),
        aspect: "9:16".to_owned(),
        references: Vec::new(),
        keyframe: None,
    }
}

async fn found(memory: &Memory, user: &str, wanted: &Wanted, by_meaning: bool) -> Vec<Candidate> {
    let project = ProjectId::new();
    let wanted = std::slice::from_ref(wanted);
    memory.reusable(&purpose(user), project, wanted, by_meaning).await.unwrap().remove(0)
}

/// How the clip was found that one would look at first, and whether it may be taken without asking.
async fn best(memory: &Memory, wanted: &Wanted) -> Option<(Alike, bool, bool)> {
    let found = found(memory, "ada", wanted, true).await;
    let clip = found.iter().find(|candidate| candidate.clip.is_some()).or(found.first());
    clip.map(|found| (found.alike, found.clip.is_some(), found.is_safe))
}

#[tokio::test]
async fn words_find_what_is_the_same_and_nearly_the_same() {
    let library = Library::new().await;
    let memory = library.memory();
    let project = library.film(&memory, "ada", LATTE, PUSH).await;

    assert_eq!(best(&memory, &wanted(LATTE, PUSH)).await, Some((Alike::Exact, true, true)));
    let reordered =
        "Close-up; window light, STEAM rising: a barista pours latte art into a white cup.";
    assert_eq!(best(&memory, &wanted(reordered, PUSH)).await, Some((Alike::Near, true, true)));
    // Another motion: the picture serves, and a new clip is made from it.
    let other = wanted(LATTE, "The camera orbits the cup quickly");
    assert_eq!(best(&memory, &other).await, Some((Alike::Exact, false, true)));
    // A keyframe that the shot has already: only a clip of that very picture.
    let of_picture = |sha256: String| Wanted { keyframe: Some(sha256), ..wanted("anything", PUSH) };
    let own = of_picture(format!("picture of {project}"));
    assert_eq!(best(&memory, &own).await, Some((Alike::Exact, true, true)));
    assert_eq!(best(&memory, &of_picture("another".to_owned())).await, None);
    // What another model made is only offered.
    let model = Wanted { image_model: "nano-banana-2".to_owned(), ..wanted(LATTE, PUSH) };
    assert_eq!(best(&memory, &model).await, Some((Alike::Near, true, false)));
    let longer = Wanted { seconds: Decimal::from(7), bought_seconds: 10, ..wanted(LATTE, PUSH) };
    assert_eq!(best(&memory, &longer).await, Some((Alike::Exact, false, true)));

    for (user, project, other) in [
        ("bob", ProjectId::new(), wanted(LATTE, PUSH)),
        ("ada", project, wanted(LATTE, PUSH)),
        ("ada", ProjectId::new(), Wanted { aspect: "16:9".to_owned(), ..wanted(LATTE, PUSH) }),
        (
            "ada",
            ProjectId::new(),
            Wanted { references: vec!["file 00".to_owned()], ..wanted(LATTE, PUSH) },
        ),
        ("ada", ProjectId::new(), wanted(&LATTE.replace("barista", "robot"), PUSH)),
        ("ada", ProjectId::new(), wanted("…", "…")),
    ] {
        let found = memory
            .reusable(&purpose(user), project, std::slice::from_ref(&other), false)
            .await
            .unwrap();
        assert_eq!(found, [Vec::new()], "{user} {other:?}");
    }
}

#[tokio::test]
async fn the_built_in_embedder_offers_and_never_takes() {
    let library = Library::new().await;
    let memory = library.memory();
    library.film(&memory, "ada", LATTE, PUSH).await;
    let said_otherwise = "Close-up, light from a window: steam rises from a white cup while the barista is pouring art \
        into the latte with care";
    let otherwise = wanted(said_otherwise, PUSH);
    let (alike, _, is_safe) = best(&memory, &otherwise).await.unwrap();
    assert_eq!((alike, is_safe), (Alike::Meaning, false));
    assert!(found(&memory, "ada", &otherwise, false).await.is_empty(), "words alone do not do");
    assert!(found(&memory, "bob", &otherwise, true).await.is_empty());
    let topic = wanted("A barista grinds coffee beans behind the counter, window light", PUSH);
    assert_eq!(best(&memory, &topic).await, None);
}

#[tokio::test]
async fn a_paid_embedder_is_asked_once_and_only_where_words_do_not_do() {
    let library = Library::new().await;
    let embedder = Arc::new(Telepath::default());
    let memory = library.memory_with(&embedder);
    let calls = || embedder.billed.lock().unwrap().len();

    assert_eq!(best(&memory, &wanted(LATTE, PUSH)).await, None);
    assert_eq!(calls(), 0, "there is nothing to compare with");
    library.film(&memory, "ada", LATTE, PUSH).await;
    let remembered = calls();
    assert_eq!(best(&memory, &wanted(LATTE, PUSH)).await, Some((Alike::Exact, true, true)));
    assert_eq!(calls(), remembered, "words have found it");

    let shots = [
        wanted("Someone draws with milk foam on an espresso", "It sways softly"),
        wanted("Froth on an espresso, drawn by hand", "It sways softly"),
        wanted("Two espressos with foam, side by side", "It sways softly"),
        wanted("A train leaves the station", "It rolls"),
    ];
    let found = memory.reusable(&purpose("ada"), ProjectId::new(), &shots, true).await.unwrap();
    assert_eq!(calls(), remembered + 1, "one call for all shots");
    let of = |shot: usize| -> Vec<(Alike, bool, bool)> {
        let told = |found: &Candidate| (found.alike, found.clip.is_some(), found.is_safe);
        found[shot].iter().map(told).collect()
    };
    assert_eq!(of(0), [(Alike::Meaning, true, true), (Alike::Meaning, false, true)]);
    assert_eq!(of(1), [(Alike::Meaning, true, false), (Alike::Meaning, false, false)]);
    assert_eq!(of(2).len(), 2, "a number that only one has is no contradiction");
    assert_eq!(of(3), []);
    assert_eq!(
        memory.reusable(&purpose("ada"), ProjectId::new(), &[], true).await.unwrap().len(),
        0
    );
}
