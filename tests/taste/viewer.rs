//! A user who makes films with the built-in outline writer and rates them by a taste that aida
//! is not told of.

use std::sync::{Arc, Mutex};

use aida::clock::{Clock, SharedClock};
use aida::ids::{CampaignId, ProjectId};
use aida::memory::{Embedding, Memory};
use aida::store::projects::{self, Project};
use aida::store::{Store, campaigns, feedback};
use aida::studio::brief::{Aspect, Brief};
use aida::studio::outline::{self, Direction};
use aida::studio::storyboard::Storyboard;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::database::TestDatabase;

/// Twenty films about twenty things.
pub(crate) const BRIEFS: [&str; 20] = [
    "food video",
    "running shoes launch",
    "a city walk",
    "how to repot a fern",
    "my dog Bruno at the beach",
    "our wedding in Tuscany",
    "an app for tired nurses",
    "jazz concert",
    "hiking in Iceland",
    "a small bakery in Lyon",
    "a loft for sale",
    "ramen in Tokyo",
    "the gym around the corner",
    "a lamp made of paper",
    "street food market",
    "a linen dress",
    "grandmother's recipes",
    "learning the violin",
    "a bike shop",
    "cats of the harbour",
];

/// A clock that goes on when it is told to.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn pass(&self, days: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_hours(24 * days);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// What a film was, and what its viewer thought of it.
pub(crate) struct Seen {
    pub(crate) storyboard: Storyboard,
    pub(crate) rating: u8,
}

/// The user ada, her memory and her database.
pub(crate) struct Viewer {
    pub(crate) store: Store,
    pub(crate) memory: Memory,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) database: TestDatabase,
}

impl Viewer {
    pub(crate) async fn new() -> Self {
        Self::on(TestDatabase::fresh().await).await
    }

    pub(crate) async fn on(database: TestDatabase) -> Self {
        let store = database.open().await;
        let clock = Arc::new(HandClock(Mutex::new("2026-03-01T12:00:00Z".parse().unwrap())));
        let shared: SharedClock = clock.clone();
        let memory = Memory::new(store.clone(), Embedding::Builtin, shared);
        Self { store, memory, clock, database }
    }

    /// Makes a film of six shots by what is known of the user's taste by now.
    pub(crate) async fn make(
        &self,
        brief: &str,
        campaign: Option<CampaignId>,
    ) -> (ProjectId, Storyboard) {
        let brief = Brief {
            text: brief.parse().unwrap(),
            duration_seconds: Decimal::from(30),
            shots: 6,
            aspect: Aspect::default(),
            files: Vec::new(),
        };
        let leaning = self.memory.leaning("ada", campaign).await.unwrap();
        let direction = Direction { leaning, ..Direction::default() };
        let (script, storyboard) = outline::write(&brief, &direction);
        let project = Project {
            id: ProjectId::new(),
            user_id: "ada".to_owned(),
            brief: brief.text.to_string(),
            title: storyboard.title.clone(),
            slug: "film".to_owned(),
            script: None,
            script_author: None,
            aspect: brief.aspect.to_string(),
            duration_seconds: brief.duration_seconds,
            shot_count: 6,
            source_project: None,
            created_at: self.clock.now(),
        };
        let mut session = self.store.session().await.unwrap();
        projects::insert(&mut session, &project).await.unwrap();
        let script = serde_json::to_value(script).unwrap();
        let now = self.clock.now();
        projects::keep_storyboard(&mut session, project.id, &script, "outline", &storyboard, now)
            .await
            .unwrap();
        if let Some(campaign) = campaign {
            campaigns::add(&mut session, campaign, project.id, now).await.unwrap();
        }
        session.close().await;
        self.clock.pass(1);
        (project.id, storyboard)
    }

    /// Rates a film, and has aida learn from it.
    pub(crate) async fn rate(&self, project: ProjectId, rating: Option<u8>, note: &str) {
        let mut session = self.store.session().await.unwrap();
        let now = self.clock.now();
        feedback::keep(&mut session, "ada", project, None, rating, note, now).await.unwrap();
        session.close().await;
        self.memory.learn("ada").await.unwrap();
    }

    /// Makes all films, one after the other, rating each by `taste`, which also says what is
    /// remarked.
    pub(crate) async fn watch(
        &self,
        taste: impl Fn(usize, &Storyboard) -> (u8, String),
    ) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (place, brief) in BRIEFS.into_iter().enumerate() {
            let (project, storyboard) = self.make(brief, None).await;
            let (rating, note) = taste(place, &storyboard);
            self.rate(project, Some(rating), &note).await;
            seen.push(Seen { storyboard, rating });
        }
        seen
    }

    /// The sentences that the team is told.
    pub(crate) async fn told(&self) -> Vec<String> {
        let told = self.memory.told("ada", None).await.unwrap();
        told.into_iter().map(|told| told.statement).collect()
    }
}

/// The share of a film's shots whose prompts hold one of these words.
pub(crate) fn share(storyboard: &Storyboard, words: &[&str]) -> f64 {
    let has = storyboard
        .shots
        .iter()
        .filter(|shot| {
            let prompts = format!("{} {}", shot.image_prompt, shot.motion_prompt).to_lowercase();
            words.iter().any(|word| prompts.contains(word))
        })
        .count();
    f64::from(u32::try_from(has).unwrap())
        / f64::from(u32::try_from(storyboard.shots.len()).unwrap())
}

/// The mean rating of some films.
pub(crate) fn mean(seen: &[Seen]) -> f64 {
    let sum: u32 = seen.iter().map(|seen| u32::from(seen.rating)).sum();
    f64::from(sum) / f64::from(u32::try_from(seen.len()).unwrap())
}
