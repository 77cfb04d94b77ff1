//! How the prompt cache did, agent by agent: what it saved, for how long it is asked to remember
//! and why, and what broke it.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{CacheResult, CostReport, CostRow, Question, exact};
use crate::ids::{CampaignId, ProjectId};
use crate::ledger::money::Usd;
use crate::ledger::prompt_cache::{Place, Reason};
use crate::store::StoreError;
use crate::store::prompt_cache::{self, Call, Mark, Met};

/// The agents of a team, in the order in which they are shown; others come after them.
const AGENTS: [&str; 3] = ["conversation", "writer", "director"];

/// From how many videos on the higher target is shown: that of ten videos in a row.
const SEVERAL: i64 = 10;

/// What the hit rate should be over ten videos in a row.
const TARGET_OVER_SEVERAL: Decimal = Decimal::from_parts(85, 0, 0, false, 2);

/// How the prompt cache did.
#[derive(Debug, Clone, Serialize)]
pub struct CacheReport {
    /// The version of this report; it rises when a field changes its meaning or goes away.
    pub schema: u32,
    /// Whose calls; everybody's if null.
    pub user: Option<String>,
    /// From when on; from the beginning if null.
    pub since: Option<Timestamp>,
    /// Before when, exclusive; until now if null.
    pub until: Option<Timestamp>,
    /// The last how many videos; all calls if null.
    pub last: Option<u32>,
    /// Only this video; all if null.
    pub project: Option<ProjectId>,
    /// Only the videos of this campaign; all if null.
    pub campaign: Option<CampaignId>,
    /// Where days begin and end.
    pub time_zone: String,
    /// The hit rate of all input tokens, and its target.
    #[serde(flatten)]
    pub result: CacheResult,
    /// The same beside the target of ten videos in a row; null for fewer videos.
    pub over_several: Option<OverSeveral>,
    /// Videos whose planning began.
    pub videos: i64,
    /// Answered calls.
    pub calls: i64,
    /// Calls whose outcome is unknown: their tokens are not known, and no rate counts them.
    pub unknown_calls: i64,
    /// Answered calls of which these books know nothing: they were made before the books began.
    pub unrecorded_calls: i64,
    /// What the tokens that were read would have cost more uncached, USD.
    pub saved_usd: Usd,
    /// What writing cost more than not caching, USD.
    pub premium_usd: Usd,
    /// Saved less the premium, USD; negative where the cache cost more than it saved.
    pub net_usd: Usd,
    /// Each agent.
    pub agents: Vec<AgentCacheReport>,
    /// What became of the cache, the most frequent first.
    pub reasons: Vec<ReasonMet>,
    /// Whether there are any charges at all.
    #[serde(skip)]
    pub has_books: bool,
}

/// The hit rate beside the target of several videos.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OverSeveral {
    /// What it should be.
    pub target: Decimal,
    /// Whether it is above that.
    pub met: bool,
}

/// How the prompt cache did for one agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentCacheReport {
    /// The agent, as the books call it.
    pub agent: String,
    /// Answered calls.
    pub calls: i64,
    /// Calls whose outcome is unknown, which no rate counts.
    pub unknown_calls: i64,
    /// Input tokens neither read nor written.
    pub uncached_input_tokens: i64,
    /// Input tokens written for five minutes.
    pub cache_write_5m_tokens: i64,
    /// Input tokens written for an hour.
    pub cache_write_1h_tokens: i64,
    /// Input tokens read.
    pub cache_read_tokens: i64,
    /// Share of input tokens that were read, 0 to 1 with four digits; null where nothing could be
    /// cached.
    pub hit_rate: Option<Decimal>,
    /// What the tokens that were read would have cost more uncached, USD.
    pub saved_usd: Usd,
    /// What writing cost more than not caching, USD.
    pub premium_usd: Usd,
    /// Saved less the premium, USD.
    pub net_usd: Usd,
    /// Calls in which the cache lost something that it could have kept.
    pub breaks: i64,
    /// The model of its latest call.
    pub model: Option<String>,
    /// The fingerprint of the beginning that it shares with others: model, tools and system text.
    pub prefix: Option<String>,
    /// Since when this beginning has been in use, by whatever agent.
    pub prefix_since: Option<Timestamp>,
    /// For how many minutes the beginning is kept by its latest call; null where it is not.
    pub shared_minutes: Option<u64>,
    /// For how many minutes the assignment is kept.
    pub assignment_minutes: Option<u64>,
    /// For how many minutes the conversation is kept.
    pub conversation_minutes: Option<u64>,
    /// From how many waits until the next use of the beginning that was chosen.
    pub waits: Option<u32>,
    /// How many of them were shorter than five minutes.
    pub waits_within_5_minutes: Option<u32>,
    /// How many of them were shorter than an hour.
    pub waits_within_1_hour: Option<u32>,
    /// What nine of ten waits that ended were not longer than, in seconds.
    pub usual_wait_seconds: Option<u64>,
}

/// How often something became of the cache.
#[derive(Debug, Clone, Serialize)]
pub struct ReasonMet {
    /// What it was.
    pub reason: Reason,
    /// Whether the cache lost something that it could have kept.
    pub is_break: bool,
    /// How many calls met it.
    pub calls: i64,
    /// When the latest of them was made.
    pub last_at: Timestamp,
    /// The agents that met it.
    pub agents: Vec<String>,
    /// What it means and what to do about it.
    pub advice: &'static str,
}

impl Question {
    /// Reads how the cache did, for a report by component on the same question.
    pub async fn cache(
        &self,
        connection: &mut PgConnection,
        report: &CostReport,
    ) -> Result<CacheReport, StoreError> {
        let met = prompt_cache::reasons(connection, &self.selection()).await?;
        let mut agents = Vec::new();
        for row in &report.rows {
            let Some(agent) = row.key.as_deref() else { continue };
            let is_language = row.input_tokens() > 0
                || AGENTS.contains(&agent)
                || met.iter().any(|met| met.component == agent);
            if is_language {
                let latest = prompt_cache::latest(connection, self.user.as_deref(), agent).await?;
                agents.push(AgentCacheReport::new(agent, row, &met, latest));
            }
        }
        let place = |agent: &str| AGENTS.iter().position(|known| *known == agent);
        agents.sort_by(|a, b| {
            let key = |agent: &AgentCacheReport| place(&agent.agent).unwrap_or(AGENTS.len());
            key(a).cmp(&key(b)).then_with(|| a.agent.cmp(&b.agent))
        });
        let videos =
            met.iter().filter(|met| met.component == AGENTS[0]).map(|met| met.openings).sum();
        let calls: i64 = agents.iter().map(|agent| agent.calls).sum();
        let recorded: i64 = met.iter().map(|met| met.calls).sum();
        let is_cacheable = agents.iter().any(|agent| agent.hit_rate.is_some());
        let rate = report.cache.hit_rate.filter(|_| is_cacheable);
        let totals = &report.totals;
        Ok(CacheReport {
            schema: 1,
            user: report.user.clone(),
            since: report.since,
            until: report.until,
            last: report.last,
            project: report.project,
            campaign: report.campaign,
            time_zone: report.time_zone.clone(),
            result: CacheResult::new(rate, report.cache.target),
            over_several: rate.filter(|_| videos >= SEVERAL).map(|rate| OverSeveral {
                target: TARGET_OVER_SEVERAL,
                met: rate > TARGET_OVER_SEVERAL,
            }),
            videos,
            calls,
            unknown_calls: agents.iter().map(|agent| agent.unknown_calls).sum(),
            unrecorded_calls: (calls - recorded).max(0),
            saved_usd: totals.cache_saved_usd,
            premium_usd: totals.cache_premium_usd,
            net_usd: net(totals),
            agents,
            reasons: reasons(&met),
            has_books: report.has_books,
        })
    }
}

fn net(row: &CostRow) -> Usd {
    exact(row.cache_saved_usd.dollars() - row.cache_premium_usd.dollars())
}

impl AgentCacheReport {
    fn new(agent: &str, row: &CostRow, met: &[Met], latest: Option<(Call, Timestamp)>) -> Self {
        let mine = || {
            let known = |met: &&Met| met.component == agent;
            met.iter().filter(known).map(|met| (Reason::named(&met.reason), met.calls))
        };
        let calls = row.calls - row.unknown_calls;
        let uncacheable: i64 = mine()
            .filter(|(reason, _)| reason.is_some_and(Reason::is_uncacheable))
            .map(|(_, calls)| calls)
            .sum();
        let (call, since) = latest.unzip();
        let mark = |place: Place| -> Option<&Mark> {
            call.as_ref()?.marks.iter().rev().find(|mark| mark.place == place.as_str())
        };
        let shared = mark(Place::Shared);
        Self {
            agent: agent.to_owned(),
            calls,
            unknown_calls: row.unknown_calls,
            uncached_input_tokens: row.uncached_input_tokens,
            cache_write_5m_tokens: row.cache_write_5m_tokens,
            cache_write_1h_tokens: row.cache_write_1h_tokens,
            cache_read_tokens: row.cache_read_tokens,
            hit_rate: row.cache_hit_rate.filter(|_| calls == 0 || uncacheable < calls),
            saved_usd: row.cache_saved_usd,
            premium_usd: row.cache_premium_usd,
            net_usd: net(row),
            breaks: mine()
                .filter(|(reason, _)| reason.is_some_and(Reason::is_break))
                .map(|(_, calls)| calls)
                .sum(),
            prefix_since: since,
            shared_minutes: shared.and_then(|mark| mark.minutes),
            assignment_minutes: mark(Place::Assignment).and_then(|mark| mark.minutes),
            conversation_minutes: mark(Place::Conversation).and_then(|mark| mark.minutes),
            waits: shared.map(|mark| mark.waits),
            waits_within_5_minutes: shared.map(|mark| mark.within_5_minutes),
            waits_within_1_hour: shared.map(|mark| mark.within_1_hour),
            usual_wait_seconds: shared.and_then(|mark| mark.usual_wait_seconds),
            model: call.as_ref().map(|call| call.model.clone()),
            prefix: call.map(|call| call.prefix),
        }
    }
}

/// The reasons over all agents, the most frequent first. One that this aida does not know, as a later
/// one may have written it, is left out.
fn reasons(met: &[Met]) -> Vec<ReasonMet> {
    let mut reasons: Vec<ReasonMet> = Reason::ALL
        .into_iter()
        .filter_map(|reason| {
            let mine: Vec<&Met> = met.iter().filter(|met| met.reason == reason.as_str()).collect();
            let mut agents: Vec<String> = mine.iter().map(|met| met.component.clone()).collect();
            agents.sort_unstable();
            Some(ReasonMet {
                reason,
                is_break: reason.is_break(),
                calls: mine.iter().map(|met| met.calls).sum(),
                last_at: mine.iter().map(|met| met.last_at.to_jiff()).max()?,
                agents,
                advice: reason.advice(),
            })
        })
        .collect();
    reasons.sort_by(|a, b| b.calls.cmp(&a.calls).then(a.reason.cmp(&b.reason)));
    reasons
}
