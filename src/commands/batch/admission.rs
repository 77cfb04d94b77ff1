//! Whether all films of a batch fit under the caps together, before anything is spent.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::Checked;
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ids::CampaignId;
use crate::ledger::budget::{Budget, Scope};
use crate::ledger::money::Usd;
use crate::providers::Provider;
use crate::store::{budgets, queue};

/// What a batch may cost at most, by what caps are for.
#[derive(Debug, Default)]
pub(super) struct Demand {
    whole: Usd,
    users: BTreeMap<String, Usd>,
    campaigns: BTreeMap<CampaignId, Usd>,
    providers: BTreeMap<&'static str, Usd>,
}

impl Demand {
    pub(super) fn of(orders: &[Checked]) -> Self {
        let mut demand = Self::default();
        for checked in orders {
            let most = checked.order.quote().high_usd;
            demand.whole += most;
            let add = |sum: &mut Usd, part: Usd| *sum += part;
            add(demand.users.entry(checked.context.settings.user.clone()).or_default(), most);
            if let Some(campaign) = checked.order.campaign() {
                add(demand.campaigns.entry(campaign).or_default(), most);
            }
            for (provider, share) in checked.order.shares() {
                add(demand.providers.entry(Provider::as_str(provider)).or_default(), share);
            }
        }
        demand
    }

    /// What of it falls under a cap.
    fn under(&self, scope: Scope, subject: &str) -> Usd {
        match scope {
            Scope::Everything => self.whole,
            Scope::User => self.users.get(subject).copied().unwrap_or_default(),
            Scope::Provider => self.providers.get(subject).copied().unwrap_or_default(),
            Scope::Campaign => {
                let campaign = subject.parse().ok();
                campaign.and_then(|id| self.campaigns.get(&id)).copied().unwrap_or_default()
            }
            Scope::Run | Scope::RunLanguage | Scope::Batch => Usd::ZERO,
        }
    }

    fn refusal(&self, what: &str) -> Error {
        Error::new(Kind::Budget, format!("the films may cost up to {} {what}", self.whole))
    }

    /// Compares it with `--budget` and with what is left of every cap. The error is of kind
    /// [`Kind::Budget`] and names the caps that are too low.
    pub(super) async fn fits(&self, budget: Option<Usd>, context: &Context) -> Result<(), Error> {
        if let Some(budget) = budget.filter(|budget| self.whole > *budget) {
            return Err(self
                .refusal(&format!("in all, more than --budget {budget}; nothing was spent"))
                .hint("raise --budget, or give fewer or shorter films"));
        }
        if self.whole.is_zero() || !context.has_database() {
            return Ok(());
        }
        let mut session = context.store().await?.session().await?;
        let fits = self.fits_in(&mut session, context).await;
        session.close().await;
        fits
    }

    /// The same of the caps alone, in a session of the caller's.
    pub(super) async fn fits_in(
        &self,
        connection: &mut PgConnection,
        context: &Context,
    ) -> Result<(), Error> {
        let now = context.clock.now();
        let mut short: Vec<(Budget, Usd, Usd)> = Vec::new();
        for user in self.users.keys() {
            for cap in budgets::list(connection, user).await? {
                let asked = self.under(cap.scope, &cap.subject);
                if asked.is_zero() || short.iter().any(|(known, _, _)| *known == cap) {
                    continue;
                }
                let taken = budgets::taken(connection, &cap, now).await?.all()
                    + queue::still_agreed(connection, (cap.scope, &cap.subject)).await?;
                if taken + asked > cap.cap {
                    short.push((cap, taken, asked));
                }
            }
        }
        if short.is_empty() {
            return Ok(());
        }
        let mut error = self.refusal("in all, and a cap leaves less than that; nothing was spent");
        for (cap, taken, asked) in short {
            error = error.hint(format!(
                "{}: {taken} of {} is taken or agreed to, and the films may need {asked}; raise it with: {}",
                cap.what(),
                cap.cap,
                cap.command()
            ));
        }
        Err(error)
    }
}
