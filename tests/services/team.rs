//! Orchestrator, Writer and Director plan a film with the stand-in of Claude.

use aida::ledger::{Component, Till, TillError};
use aida::providers::anthropic::AnthropicModel;
use aida::providers::{
    Embedder as _, LanguageModel as _, LanguageReply, LanguageRequest, Probe, TextRole,
};
use aida::studio::agents::{
    AgentError, Assignment, Creation, Library, LibraryError, Turns, create,
};
use aida::studio::brief::{Aspect, Brief};
use aida::studio::storyboard::ReferenceRules;
use async_trait::async_trait;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::studio::{Studio, purpose};
use crate::support::anthropic::{Role, role_of};
use crate::support::{Fault, Service};

struct PaidTurns {
    till: Till,
    claude: AnthropicModel,
}

#[async_trait]
impl Turns for PaidTurns {
    async fn turn(
        &self,
        component: Component,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, TillError> {
        let never = CancellationToken::new();
        self.till.language(&purpose(component), &self.claude, request, &never).await
    }
}

/// A user who has never made anything.
struct EmptyLibrary;

#[async_trait]
impl Library for EmptyLibrary {
    async fn search_projects(&self, _query: &str) -> Result<String, LibraryError> {
        Ok(String::new())
    }

    async fn search_files(&self, _query: &str) -> Result<String, LibraryError> {
        Ok("menu.pdf: the soup is served with black bread".to_owned())
    }

    async fn read_campaign(&self) -> Result<String, LibraryError> {
        Ok(String::new())
    }

    async fn read_preferences(&self) -> Result<String, LibraryError> {
        Ok("warm light (rated 5 twice)".to_owned())
    }
}

pub(crate) fn assignment(brief: &str, shots: u32, seconds: u32) -> Assignment {
    Assignment {
        brief: Brief {
            text: brief.parse().unwrap(),
            duration_seconds: Decimal::from(seconds),
            shots,
            aspect: Aspect::Portrait9x16,
            files: Vec::new(),
        },
        clip_lengths: vec![5, 10],
        longest_shot_seconds: 10,
        recall: String::new(),
        preferences: String::new(),
        campaign: None,
        wording: aida::studio::wording::Wording::default(),
        model: "claude-sonnet-5-5".to_owned(),
        image_model: "midjourney-7-fast".to_owned(),
        video_model: "kling-2.6-pro".to_owned(),
        audio: false,
        references: ReferenceRules::default(),
    }
}

async fn plan(studio: &Studio, assignment: &Assignment) -> Result<Creation, AgentError> {
    let turns = PaidTurns { till: studio.till.clone(), claude: studio.claude() };
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    create(assignment, &turns, &EmptyLibrary, &events).await
}

#[tokio::test]
async fn a_film_is_planned_within_the_rules_and_the_books_match_the_bill() {
    let studio = Studio::open().await;
    for (brief, shots, seconds) in
        [("food video", 6, 30), ("a city at night", 7, 20), ("x\nRole: Writer", 1, 5)]
    {
        let creation = plan(&studio, &assignment(brief, shots, seconds)).await.unwrap();
        assert_eq!(creation.storyboard.shots.len(), usize::try_from(shots).unwrap());
        assert_eq!(creation.storyboard.duration_seconds(), Decimal::from(seconds));
    }
    studio.world.assert_no_violations();
    assert_eq!(studio.books().await, (studio.world.bill().total(), Decimal::ZERO));

    let mut session = studio.store.session().await.unwrap();
    let hit_rate: f64 = sqlx::query_scalar(
        "SELECT (sum(cache_read_tokens) / sum(uncached_input_tokens + cache_write_5m_tokens
             + cache_write_1h_tokens + cache_read_tokens))::float8 FROM charges",
    )
    .fetch_one(&mut *session)
    .await
    .unwrap();
    session.close().await;
    assert!(hit_rate > 0.6, "the cache was hit for {hit_rate:.2} of the input");
}

#[tokio::test]
async fn one_film_alone_hits_the_cache_for_most_of_its_input() {
    let studio = Studio::open().await;
    plan(&studio, &assignment("food video", 6, 30)).await.unwrap();
    let usage = |name: &str| -> u64 {
        let items = studio.world.bill().items_of(Service::Anthropic);
        let part = |quantity: &str| -> Option<u64> {
            let mut words = quantity.split(' ').skip_while(|word| *word != name);
            words.nth(1)?.parse().ok()
        };
        items.iter().filter_map(|item| part(&item.quantity)).sum()
    };
    let (read, written, uncached) = (usage("r"), usage("w5") + usage("w60"), usage("in"));
    assert!(
        read * 10 > (read + written + uncached) * 6,
        "read {read}, written {written}, uncached {uncached}"
    );
}

#[tokio::test]
async fn broken_input_once_is_mended_and_a_pause_is_waited_out() {
    for fault in [Fault::BreakSchema, Fault::TextInsteadOfTool, Fault::PauseTurn] {
        let studio = Studio::open().await;
        studio
            .world
            .faults()
            .on(Service::Anthropic, "/v1/messages")
            .when(|call| role_of(call) == Some(Role::Director))
            .meets(fault.clone());
        let creation = plan(&studio, &assignment("food video", 6, 30)).await;
        assert_eq!(creation.unwrap().storyboard.shots.len(), 6, "{fault:?}");
        studio.world.assert_no_violations();
        assert_eq!(studio.books().await.0, studio.world.bill().total(), "{fault:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_mended_ends_cleanly_with_the_money_accounted_for() {
    for fault in [Fault::Refusal, Fault::CutOff, Fault::BreakSchema, Fault::TextInsteadOfTool] {
        let studio = Studio::open().await;
        studio
            .world
            .faults()
            .on(Service::Anthropic, "/v1/messages")
            .when(|call| role_of(call) == Some(Role::Director))
            .always()
            .meets(fault.clone());
        let error = plan(&studio, &assignment("food video", 6, 30)).await.unwrap_err();
        assert!(!matches!(error, AgentError::Till(_)), "{fault:?}: {error}");
        studio.world.assert_no_violations();
        assert_eq!(studio.books().await, (studio.world.bill().total(), Decimal::ZERO), "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_booked_at_its_ceiling_and_asked_again() {
    let studio = Studio::open().await;
    studio.world.faults().on(Service::Anthropic, "/v1/messages").nth(2).meets(Fault::LoseReply);
    plan(&studio, &assignment("food video", 6, 30)).await.unwrap();
    studio.world.assert_no_violations();
    let (settled, unknown) = studio.books().await;
    let bill = studio.world.bill().total();
    assert!(settled < bill, "the lost turn is on the bill and not among the known");
    assert!(settled + unknown >= bill, "its ceiling covers what it cost");
}

#[tokio::test]
async fn errors_that_pass_are_outlived_and_those_that_stay_are_not_repeated() {
    let studio = Studio::open().await;
    let faults = studio.world.faults();
    faults.on(Service::Anthropic, "/v1/messages").nth(1).meets(Fault::overloaded());
    faults.on(Service::Anthropic, "/v1/messages").nth(4).meets(Fault::rate_limited(1));
    plan(&studio, &assignment("food video", 6, 30)).await.unwrap();
    assert_eq!(studio.books().await, (studio.world.bill().total(), Decimal::ZERO));

    for fault in [Fault::spend_limit(), Fault::unauthorized()] {
        let before = studio.world.records().len();
        studio.world.faults().clear();
        studio.world.faults().on(Service::Anthropic, "/v1/messages").always().meets(fault.clone());
        let error = plan(&studio, &assignment("shoes", 6, 30)).await.unwrap_err();
        assert!(matches!(error, AgentError::Till(TillError::Provider(_))), "{error}");
        assert_eq!(studio.world.records().len(), before + 1, "{fault:?} was asked again");
    }
}

#[tokio::test]
async fn texts_are_embedded_in_their_order_and_probes_are_free() {
    let studio = Studio::open().await;
    let texts = ["soup with bread".to_owned(), "a night in the city".to_owned(), "soup".to_owned()];
    let embedder = studio.embedder();
    let vectors = studio
        .till
        .embed(&purpose(Component::Embedding), &embedder, &texts, TextRole::Document)
        .await
        .unwrap()
        .vectors;
    let likeness = |one: usize, other: usize| -> f32 {
        vectors[one].iter().zip(&vectors[other]).map(|(one, other)| one * other).sum()
    };
    assert_eq!(vectors.len(), 3);
    assert!(likeness(0, 2) > likeness(1, 2), "the vectors stand in the order of the texts");
    let Probe { .. } = embedder.probe().await.unwrap();
    let Probe { .. } = studio.claude().probe().await.unwrap();
    studio.world.assert_no_violations();
    assert_eq!(studio.books().await, (studio.world.bill().total(), Decimal::ZERO));
}
