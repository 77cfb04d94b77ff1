//! The prompt cache over whole videos: the real conversations through the real till, against a
//! stand-in that remembers by the vendor's rules and a clock that is set forward.

use std::sync::Arc;
use std::time::Duration;

use aida::ledger::{Component, Purpose, Till, TillError};
use aida::providers::anthropic::AnthropicModel;
use aida::providers::{LanguageReply, LanguageRequest};
use aida::studio::agents::{AgentError, Assignment, Library, LibraryError, Turns, create};
use async_trait::async_trait;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::database::say;
use crate::studio::{Studio, purpose};
use crate::support::anthropic::{Role, role_of};
use crate::support::{Fault, Service, World};
use crate::team::assignment;

/// How fast Claude writes, as the stand-in has it.
const TOKENS_PER_SECOND: u64 = 80;

/// Turns that take as long as they take in life, by the clock that is set forward.
struct TimedTurns {
    till: Till,
    claude: AnthropicModel,
    world: Option<Arc<World>>,
}

#[async_trait]
impl Turns for TimedTurns {
    async fn turn(
        &self,
        component: Component,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, TillError> {
        let never = CancellationToken::new();
        let purpose: Purpose = purpose(component);
        let reply = self.till.language(&purpose, &self.claude, request, &never).await?;
        if let Some(world) = &self.world {
            world.skip(Duration::from_secs(1 + reply.tokens.output / TOKENS_PER_SECOND));
        }
        Ok(reply)
    }
}

/// What every look-up finds.
struct Found(String);

#[async_trait]
impl Library for Found {
    async fn search_projects(&self, _query: &str) -> Result<String, LibraryError> {
        Ok(self.0.clone())
    }

    async fn search_files(&self, _query: &str) -> Result<String, LibraryError> {
        Ok(self.0.clone())
    }

    async fn read_campaign(&self) -> Result<String, LibraryError> {
        Ok(self.0.clone())
    }

    async fn read_preferences(&self) -> Result<String, LibraryError> {
        Ok(self.0.clone())
    }
}

/// Plans a film; with `in_time` each turn takes the time that it takes in life.
async fn plan(
    studio: &Studio,
    film: &Assignment,
    found: &str,
    in_time: bool,
) -> Result<(), AgentError> {
    let turns = TimedTurns {
        till: studio.till.clone(),
        claude: studio.claude(),
        world: in_time.then(|| Arc::clone(&studio.world)),
    };
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    create(film, &turns, &Found(found.to_owned()), &events).await.map(drop)
}

/// What the books say of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
struct Tokens {
    read: i64,
    all: i64,
}

impl Tokens {
    async fn of(studio: &Studio) -> Self {
        let mut session = studio.store.session().await.unwrap();
        let tokens = sqlx::query_as(
            r#"SELECT coalesce(sum(cache_read_tokens), 0)::bigint AS read,
                      coalesce(sum(uncached_input_tokens + cache_write_5m_tokens + cache_write_1h_tokens
                                   + cache_read_tokens), 0)::bigint AS "all" FROM charges"#,
        )
        .fetch_one(&mut *session)
        .await
        .unwrap();
        session.close().await;
        tokens
    }

    /// The hit rate in tenths of a percent.
    fn rate(self) -> i64 {
        1_000 * self.read / self.all
    }
}

/// How often each reason was met, by name.
async fn reasons(studio: &Studio) -> Vec<(String, i64)> {
    let mut session = studio.store.session().await.unwrap();
    let reasons = sqlx::query_as(
        "SELECT coalesce(reason, 'none'), count(*) FROM prompt_cache_calls GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&mut *session)
    .await
    .unwrap();
    session.close().await;
    reasons
}

async fn tell(studio: &Studio, what: &str) -> i64 {
    let tokens = Tokens::of(studio).await;
    let rate = tokens.rate();
    let reasons = reasons(studio).await;
    say(&format!(
        "prompt cache, {what}: {}.{} % of {} tokens; {reasons:?}",
        rate / 10,
        rate % 10,
        tokens.all
    ));
    rate
}

async fn fresh() -> Studio {
    let studio = Studio::open().await;
    studio.world.anthropic().write_at_length();
    studio
}

async fn assert_true_books(studio: &Studio) {
    studio.world.assert_no_violations();
    assert_eq!(studio.books().await.0, studio.world.bill().total());
}

#[tokio::test]
async fn one_cold_video_reads_at_least_sixty_percent() {
    for shots in [1, 6, 12, 24, 40] {
        let studio = fresh().await;
        plan(&studio, &assignment("food video", shots, 5 * shots), "", true).await.unwrap();
        let rate = tell(&studio, &format!("one cold video of {shots} shots")).await;
        assert!(rate >= 600, "{shots} shots: {rate}");
        assert_true_books(&studio).await;
    }
}

#[tokio::test]
async fn the_longest_texts_and_corrections_stay_above_sixty_percent() {
    let long = "An earlier film about soup, rated 5. ".repeat(640);
    let mut film = assignment("food video", 6, 30);
    film.recall.clone_from(&long);
    film.preferences.clone_from(&long);
    film.campaign = Some(long.clone());
    let studio = fresh().await;
    plan(&studio, &film, "", true).await.unwrap();
    let rate = tell(&studio, "the longest assignment").await;
    assert!(rate >= 600, "{rate}");

    let studio = fresh().await;
    plan(&studio, &film, &long, true).await.unwrap();
    let rate = tell(&studio, "the longest assignment and look-ups").await;
    assert!(rate >= 600, "{rate}");

    for (role, name) in [(Role::Director, "the Director"), (Role::Orchestrator, "the Orchestrator")]
    {
        let studio = fresh().await;
        studio
            .world
            .faults()
            .on(Service::Anthropic, "/v1/messages")
            .when(move |call| role_of(call) == Some(role))
            .meets(Fault::BreakSchema);
        plan(&studio, &assignment("food video", 6, 30), "", true).await.unwrap();
        let rate = tell(&studio, &format!("a correction of {name}")).await;
        assert!(rate >= 600, "{rate}");
        assert_true_books(&studio).await;
    }
}

#[tokio::test]
async fn ten_videos_in_a_row_read_at_least_eighty_five_percent() {
    let studio = fresh().await;
    for (number, minutes) in [3, 7, 10, 4, 9, 5, 8, 6, 3, 10].into_iter().enumerate() {
        let film = assignment(&format!("food video {number}"), 6, 30);
        plan(&studio, &film, "", true).await.unwrap();
        studio.world.skip(Duration::from_mins(minutes));
    }
    let rate = tell(&studio, "ten videos, 3 to 10 minutes apart").await;
    assert!(rate >= 850, "{rate}");
    assert_true_books(&studio).await;
    let reasons = reasons(&studio).await;
    assert!(
        reasons.iter().all(|(reason, _)| reason != "unexplained" && reason != "none"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn ten_videos_of_one_user_share_what_is_known_of_the_taste() {
    let studio = fresh().await;
    let taste = "Likes warm light, slow pans and close-ups of hands. ".repeat(120);
    for number in 0..10 {
        let mut film = assignment(&format!("food video {number}"), 6, 30);
        film.preferences.clone_from(&taste);
        plan(&studio, &film, "", true).await.unwrap();
        studio.world.skip(Duration::from_mins(6));
    }
    let rate = tell(&studio, "ten videos of a user with much taste, 6 minutes apart").await;
    assert!(rate >= 850, "{rate}");
    assert_true_books(&studio).await;
}

#[tokio::test]
async fn ten_videos_started_at_once_do_not_all_write_the_prefix() {
    let studio = fresh().await;
    let films: Vec<_> =
        (0..10).map(|number| assignment(&format!("food video {number}"), 6, 30)).collect();
    let planned = join_all(films.iter().map(|film| plan(&studio, film, "", false))).await;
    assert!(planned.iter().all(Result::is_ok));
    let rate = tell(&studio, "ten videos started at once").await;
    assert!(rate >= 850, "{rate}");
    assert_true_books(&studio).await;
    let reasons = reasons(&studio).await;
    assert!(reasons.iter().all(|(reason, _)| reason != "parallel"), "{reasons:?}");
}
