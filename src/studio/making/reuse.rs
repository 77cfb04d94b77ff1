//! Kept takes instead of new ones: looked for, decided about once, and told.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::{Consent, Orders, Stop};
use crate::ids::{ProjectId, ShotId, TakeId};
use crate::ledger::Component;
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;
use crate::memory::reuse::ReusePolicy;
use crate::store::reuse::{self, Reuse};
use crate::store::runs;
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::plan::Plan;
use crate::studio::producer::{Media, Producer};
use crate::studio::reusing::{Offer, spared};
use crate::studio::storyboard::Shot;

/// A kept take that could be used again, as `--json` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct ReuseLine {
    /// The shot's number, from 1.
    pub shot: u32,
    /// `clip`, which needs no image either, or `image`.
    pub kind: OperationKind,
    /// `exact`, `near` or `meaning`.
    pub alike: &'static str,
    /// How alike, 0 to 100.
    pub percent: u8,
    /// The take.
    pub take_id: TakeId,
    /// Its project.
    pub project_id: ProjectId,
    /// The project's title, else its brief.
    pub project: String,
    /// The number of its shot there.
    pub project_shot: i32,
    /// The model that made it.
    pub model: String,
    /// When it was kept.
    pub created_at: Timestamp,
    /// The file to look at.
    pub path: PathBuf,
    /// What would not be spent, USD.
    pub saves_usd: Usd,
}

/// A kept take that is used again, as `--json` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct ReusedLine {
    /// The shot's number, from 1.
    pub shot: i32,
    /// `image` or `clip`.
    pub kind: String,
    /// The take that it is the same file as.
    pub take_id: TakeId,
    /// That one's project; null where it was deleted.
    pub project_id: Option<ProjectId>,
    /// The project's title, else its brief.
    pub project: Option<String>,
    /// The number of its shot there.
    pub project_shot: Option<i32>,
    /// What was not spent, USD.
    pub saved_usd: Usd,
}

/// Offers for scripts.
pub fn reuse_lines(offers: &[Offer]) -> Vec<ReuseLine> {
    let line = |offer: &Offer| {
        let take = offer.take()?;
        Some(ReuseLine {
            shot: offer.shot,
            kind: offer.kind(),
            alike: offer.alike.as_str(),
            percent: offer.percent,
            take_id: take.id,
            project_id: take.project_id,
            project: take.project.clone(),
            project_shot: take.shot,
            model: take.model.clone(),
            created_at: take.created_at,
            path: offer.path.clone(),
            saves_usd: offer.saved_usd,
        })
    };
    offers.iter().filter_map(line).collect()
}

/// What a claim's film uses again.
pub(super) async fn reused_lines(
    producer: &Producer,
    claim: &Claim,
) -> Result<Vec<ReusedLine>, StudioError> {
    let mut session = producer.store.session().await?;
    let found = reuse::of_project(&mut session, claim.project.id).await?;
    session.close().await;
    let of_run = found.iter().filter(|reuse| reuse.run_id == Some(claim.run.id));
    Ok(of_run.map(ReusedLine::from).collect())
}

impl From<&Reuse> for ReusedLine {
    fn from(reuse: &Reuse) -> Self {
        Self {
            shot: reuse.shot,
            kind: reuse.kind.clone(),
            take_id: reuse.origin_id,
            project_id: reuse.project_id,
            project: reuse.project.clone(),
            project_shot: reuse.origin_shot,
            saved_usd: reuse.saved_usd,
        }
    }
}

/// What came of looking for kept takes.
pub(super) struct Settled {
    /// The takes.
    pub offers: Vec<Offer>,
    /// Whether they are used again, so that the plan is cheaper; else they are only shown.
    pub counts: bool,
}

/// What a plan is without what is used again; its price is kept with the run.
pub(super) async fn reduced(
    producer: &Producer,
    claim: &mut Claim,
    plan: Plan,
    settled: &Settled,
) -> Result<Plan, StudioError> {
    let Settled { offers, counts } = settled;
    if !counts || offers.is_empty() {
        return Ok(plan);
    }
    let saved: Usd = offers.iter().map(|offer| offer.saved_usd).sum();
    if let Some(whole) = claim.run.plan_usd {
        let price = whole - saved;
        let mut session = producer.store.session().await?;
        runs::set_plan(&mut session, claim.fence(), price).await?;
        session.close().await;
        claim.run.plan_usd = Some(price);
    }
    Ok(plan.without(&spared(offers)))
}

/// Finds what could be used again, and lets the policy or the user decide. What was decided before stands.
/// Where the run stops at its plan, nothing is decided.
pub(super) async fn settle(
    producer: &Producer,
    claim: &mut Claim,
    media: &Media,
    shots: &[(ShotId, Shot)],
    consent: &dyn Consent,
    orders: Orders<'_>,
) -> Result<Settled, Stop> {
    let plan = producer.whole_plan(claim, media, shots)?;
    let purpose = claim.purpose(Component::Embedding);
    let only_shots: Vec<Shot> = shots.iter().map(|(_, shot)| shot.clone()).collect();
    let lacking = claim.lacking(&purpose, media, &only_shots, &plan);
    if let Some(decided) = &claim.options.reused {
        let offers = producer.decided_offers(lacking, decided).await?;
        return Ok(Settled { offers, counts: true });
    }
    let chosen = claim.options.reuse.or(orders.reuse);
    let can_be_asked = consent.can_be_asked() || (orders.plan_only && chosen.is_some());
    let policy = ReusePolicy::in_force(chosen, can_be_asked, orders.yes && !orders.plan_only);
    let offers = producer.reuse_offers(lacking, policy, true).await?;
    if offers.is_empty() && policy != ReusePolicy::Never && !orders.plan_only {
        // That nothing fits is a decision too: a run that goes on looks no more.
        producer.keep_decision(claim, &[]).await?;
        return Ok(Settled { offers, counts: true });
    }
    if offers.is_empty() || orders.plan_only {
        return Ok(Settled { offers, counts: policy == ReusePolicy::Auto });
    }
    let agreed = match policy {
        ReusePolicy::Ask => consent.uses_again(offers, &claim.cancel).await?,
        ReusePolicy::Auto | ReusePolicy::Never => offers,
    };
    producer.keep_decision(claim, &agreed).await?;
    Ok(Settled { offers: agreed, counts: true })
}
