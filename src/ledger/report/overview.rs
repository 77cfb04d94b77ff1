//! The figures at a glance: what a second of film costs, how estimates and bills did, what is
//! left of the caps, and where the month will end.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{CacheResult, CostReport, Question, exact, hit_rate};
use crate::ledger::budget::{Period, Scope};
use crate::ledger::money::Usd;
use crate::store::charges::{self, Films, Level, Sums};
use crate::store::{StoreError, budgets};

/// The agents that share the prompt cache.
const AGENTS: [&str; 3] = ["conversation", "writer", "director"];

/// The providers whose bill can be read.
const PROVIDERS_THAT_TELL: [&str; 2] = ["fal", "kie"];

/// Over how much of the past the pace of spending is measured.
const PACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The shortest past from which a pace is read: less would make a forecast of a single call.
const SHORTEST_PACE: SignedDuration = SignedDuration::from_hours(24);

/// Digits after the point of an amount that comes of a division, as many as the books keep.
const DIGITS: u32 = 12;

/// The figures at a glance. Amounts are USD.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// Settled for results that were kept.
    pub kept_usd: Usd,
    /// Settled for results that were not.
    pub wasted_usd: Usd,
    /// What finished films cost by the second.
    pub films: FilmCosts,
    /// What the prompt cache did, in all and for each agent.
    pub cache: CacheMoney,
    /// The price of what was not bought because a kept take was used again.
    pub reuse_saved_usd: Usd,
    /// How close the estimates were; null where no film with an estimate was finished.
    pub estimates: Option<Estimates>,
    /// What the providers that tell say they billed.
    pub bill: Bill,
    /// What is left of the caps, those of single runs aside, the tightest first.
    pub budgets: Vec<BudgetLeft>,
    /// Where the month will end; null for a report on the past, and for one on single videos.
    pub forecast: Option<Forecast>,
}

/// What finished films cost by the second.
#[derive(Debug, Clone, Serialize)]
pub struct FilmCosts {
    /// Videos whose film was finished in the time of the report.
    pub finished: i64,
    /// Seconds of those films.
    pub seconds: Decimal,
    /// What was spent on words, images and clips for each of those seconds, drafts and waste
    /// included; null where no film was finished, and for a report on one provider.
    pub usd_per_second: Option<Usd>,
}

/// What the prompt cache did.
#[derive(Debug, Clone, Serialize)]
pub struct CacheMoney {
    /// What the tokens read from it would have cost more as uncached input.
    pub saved_usd: Usd,
    /// What writing tokens to it cost more than uncached input.
    pub premium_usd: Usd,
    /// Each agent's share.
    pub agents: Vec<AgentCache>,
}

/// How the prompt cache did for one agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentCache {
    /// The agent: `conversation`, `writer` or `director`.
    pub agent: &'static str,
    /// Its share of input tokens read from the cache, and whether that is above the target.
    #[serde(flatten)]
    pub result: CacheResult,
    /// All its input tokens.
    pub input_tokens: i64,
    /// What it saved.
    pub saved_usd: Usd,
    /// What its writes cost more.
    pub premium_usd: Usd,
}

/// How close estimates were.
#[derive(Debug, Clone, Serialize)]
pub struct Estimates {
    /// Finished films that had one.
    pub films: i64,
    /// What they were expected to cost.
    pub estimated_usd: Usd,
    /// What is known that they did cost.
    pub settled_usd: Usd,
    /// How much more that is than was expected, as a share of what was expected; negative where
    /// it is less. Four digits.
    pub error: Decimal,
}

/// What the providers that tell say they billed.
#[derive(Debug, Clone, Serialize)]
pub struct Bill {
    /// What they billed, as far as it was read.
    pub billed_usd: Usd,
    /// What was settled for the same calls.
    pub settled_usd: Usd,
    /// What was settled for calls whose bill was not read yet.
    pub unread_usd: Usd,
    /// Whether both are the same to half a cent; null where nothing was read.
    pub matched: Option<bool>,
}

/// What is left of a cap.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetLeft {
    /// What it limits.
    pub scope: Scope,
    /// The user, campaign or provider, by name; empty for everything.
    pub name: String,
    /// How often it begins anew.
    pub period: Period,
    /// The same in words.
    pub what: String,
    /// The limit.
    pub cap_usd: Usd,
    /// What counts against it: settled, unknown at its ceiling, and promised.
    pub taken_usd: Usd,
    /// What is left; negative where a cap was set below what is spent.
    pub left_usd: Usd,
    /// When it begins anew.
    pub ends_at: Option<Timestamp>,
}

/// Where a month will end: what was spent in it so far, and for the rest of it the pace of the
/// last seven days. Days that are over say more of the days to come than the whole month does
/// on its second day, or after work has slowed down. Where the books are younger than seven
/// days, the pace is theirs, over one day at least.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The month, as `2026-11`.
    pub month: String,
    /// Settled in it so far.
    pub spent_usd: Usd,
    /// Settled a day, by the pace of the last seven days.
    pub daily_usd: Usd,
    /// What it will come to.
    pub month_end_usd: Usd,
}

impl Question {
    /// Reads the figures at a glance for a report that was read. `user` is whose caps are shown,
    /// also in a report on all users.
    pub async fn overview(
        &self,
        connection: &mut PgConnection,
        report: &CostReport,
        user: &str,
    ) -> Result<Overview, StoreError> {
        let selection = self.selection();
        let levels = [Level::Provider.into(), Level::Component.into()];
        let sums = charges::sums(connection, &selection, &levels).await?;
        let films = charges::films(connection, &selection).await?;
        let totals = &report.totals;
        Ok(Overview {
            kept_usd: totals.kept_usd,
            wasted_usd: totals.wasted_usd,
            films: FilmCosts {
                finished: films.films,
                seconds: films.seconds.normalize(),
                usd_per_second: (totals.settled_usd - totals.other_usd)
                    .dollars()
                    .checked_div(films.seconds)
                    .filter(|_| self.provider.is_none())
                    .map(rounded),
            },
            cache: CacheMoney {
                saved_usd: totals.cache_saved_usd,
                premium_usd: totals.cache_premium_usd,
                agents: AGENTS.map(|agent| self.agent(agent, &sums)).into(),
            },
            reuse_saved_usd: totals.reuse_saved_usd,
            // A film is not made by one provider, and so its estimate says nothing of one.
            estimates: estimates(&films).filter(|_| self.provider.is_none()),
            bill: bill(&sums),
            budgets: self.budgets(connection, user).await?,
            forecast: self.forecast(connection).await?,
        })
    }

    fn agent(&self, agent: &'static str, sums: &[Sums]) -> AgentCache {
        let rows =
            || sums.iter().filter(|row| row.depth == 2 && row.second_key.as_deref() == Some(agent));
        let read: i64 = rows().map(|row| row.cache_read_tokens).sum();
        let input_tokens = read
            + rows()
                .map(|row| {
                    row.uncached_input_tokens
                        + row.cache_write_5m_tokens
                        + row.cache_write_1h_tokens
                })
                .sum::<i64>();
        AgentCache {
            agent,
            result: CacheResult::new(hit_rate(read, input_tokens), self.cache_hit_target),
            input_tokens,
            saved_usd: exact(rows().map(|row| row.cache_saved_usd).sum()),
            premium_usd: exact(rows().map(|row| row.cache_premium_usd).sum()),
        }
    }

    async fn budgets(
        &self,
        connection: &mut PgConnection,
        user: &str,
    ) -> Result<Vec<BudgetLeft>, StoreError> {
        let mut left = Vec::new();
        for budget in budgets::list(connection, user).await? {
            if matches!(budget.scope, Scope::Run | Scope::RunLanguage) {
                continue;
            }
            let taken = budgets::taken(connection, &budget, self.now).await?.all();
            left.push(BudgetLeft {
                scope: budget.scope,
                what: budget.what(),
                period: budget.period,
                cap_usd: budget.cap,
                taken_usd: taken,
                left_usd: budget.cap - taken,
                ends_at: budget.ends(self.now),
                name: budget.name,
            });
        }
        // A cap of nothing is full.
        let full = |budget: &BudgetLeft| {
            budget.taken_usd.dollars().checked_div(budget.cap_usd.dollars()).unwrap_or(Decimal::MAX)
        };
        left.sort_by_key(|budget| Reverse(full(budget)));
        Ok(left)
    }

    async fn forecast(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Forecast>, StoreError> {
        let selection = self.selection();
        let is_past = self.until.is_some_and(|until| until < self.now);
        let first_of_month = self.zone.at(self.now).date().first_of_month();
        let next_month = first_of_month.checked_add(1.month());
        let (Ok(begins), Ok(Ok(ends))) = (
            self.zone.start_of(first_of_month),
            next_month.map(|next_month| self.zone.start_of(next_month)),
        ) else {
            return Ok(None);
        };
        let bounds = charges::bounds(connection, self.user.as_deref()).await?;
        let Some((first, _)) = bounds.filter(|_| !is_past && !selection.is_of_videos()) else {
            return Ok(None);
        };
        let since = self.now - PACE;
        let since = since - SignedDuration::from_secs(since.as_second().rem_euclid(15 * 60));
        let [spent, lately] =
            charges::settled_since(connection, &selection, [begins, since]).await?;
        let measured = self.now.duration_since(since.max(first)).max(SHORTEST_PACE);
        let daily = lately
            .checked_mul(Decimal::from(24 * 60 * 60))
            .and_then(|amount| amount.checked_div(Decimal::from(measured.as_secs())))
            .unwrap_or_default();
        let to_come = daily
            .checked_mul(Decimal::from(ends.duration_since(self.now).as_secs()))
            .and_then(|amount| amount.checked_div(Decimal::from(24 * 60 * 60)))
            .unwrap_or_default();
        Ok(Some(Forecast {
            month: first_of_month.strftime("%Y-%m").to_string(),
            spent_usd: exact(spent),
            daily_usd: rounded(daily),
            month_end_usd: rounded(spent + to_come),
        }))
    }
}

fn estimates(films: &Films) -> Option<Estimates> {
    let (estimated, settled) = (films.estimated_usd, films.estimated_settled_usd);
    let mut error = (settled - estimated).checked_div(estimated)?.round_dp(4);
    error.rescale(4);
    Some(Estimates {
        films: films.estimated_films,
        estimated_usd: exact(estimated),
        settled_usd: exact(settled),
        error,
    })
}

fn bill(sums: &[Sums]) -> Bill {
    let tell = |row: &&Sums| {
        let provider = row.first_key.as_deref();
        row.depth == 1 && provider.is_some_and(|name| PROVIDERS_THAT_TELL.contains(&name))
    };
    let sum = |amount: fn(&Sums) -> Decimal| sums.iter().filter(tell).map(amount).sum::<Decimal>();
    let billed = sum(|row| row.billed_usd);
    let settled = sum(|row| row.billed_settled_usd);
    let was_read = !(billed.is_zero() && settled.is_zero());
    Bill {
        billed_usd: exact(billed),
        settled_usd: exact(settled),
        unread_usd: exact(sum(|row| row.settled_usd) - settled),
        matched: was_read.then(|| (billed - settled).abs() < Decimal::new(5, 3)),
    }
}

/// An amount that comes of a division.
fn rounded(amount: Decimal) -> Usd {
    exact(amount.round_dp(DIGITS).normalize())
}
