//! `aida budget`: caps on what may be spent.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::batch::find_batch;
use crate::commands::campaigns::find_campaign;
use crate::commands::create_video::dollars;
use crate::commands::{Context, resume};
use crate::error::Error;
use crate::ids::BudgetId;
use crate::ledger::budget::{Budget, Period, Scope, Taken};
use crate::ledger::money::Usd;
use crate::providers::Provider;
use crate::store::budgets;

/// Arguments of `aida budget`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Cap what may be spent per day, month, campaign, provider, user or run",
    long_about = "Cap what may be spent per day, month, campaign, provider, user or run.\n\n\
        Before every paid call all caps that it falls under are checked and its price is taken, \
        in one transaction, so that any number of processes and hosts on one database stay \
        under them together. Reaching a cap stops a run cleanly with exit code 4; it goes on \
        after the cap was raised.\n\n\
        Days and months begin in the zone that the setting time_zone names when a cap is set.",
    after_help = "\
Examples:
  aida budget                                     what is left of every cap
  aida budget set day 20                          everything together, each day
  aida budget set month 300
  aida budget set campaign \"Spring launch\" 50
  aida budget set provider fal 100 --per month
  aida budget set user ada 10 --per day
  aida budget set run 23456789 8.00               then: aida resume 23456789
  aida budget set batch 3456789a 200              then: aida batch --resume 3456789a
  aida budget remove day"
)]
pub struct BudgetArgs {
    /// What to do; lists the caps if not said
    #[command(subcommand)]
    pub command: Option<BudgetCommand>,
}

/// What can be done with caps.
#[derive(Debug, Clone, Subcommand)]
pub enum BudgetCommand {
    /// List the caps, what of them is taken, and what is left
    List,
    /// Set a cap, or change it
    #[command(subcommand)]
    Set(SetWhat),
    /// Remove a cap
    #[command(subcommand)]
    Remove(RemoveWhat),
}

/// What a cap is for, and the amount.
#[derive(Debug, Clone, Subcommand)]
pub enum SetWhat {
    /// Everything, in every day
    Day {
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
    /// Everything, in every month
    Month {
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
    /// Everything, once and for all
    Total {
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
    /// One user's spend
    User {
        /// The user
        id: String,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Month)]
        per: Per,
    },
    /// The videos of one campaign
    Campaign {
        /// The campaign, by name or id
        campaign: String,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Total)]
        per: Per,
    },
    /// What one provider is paid: anthropic, openai, kie or fal
    Provider {
        /// The provider
        #[arg(value_parser = provider)]
        provider: Provider,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Month)]
        per: Per,
    },
    /// One run, all of it
    Run {
        /// The run, by its id or the end of it
        run: String,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
    /// All films of one batch together
    Batch {
        /// The batch, by its id or the end of it
        batch: String,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
    /// The writing and directing of one run
    Language {
        /// The run, by its id or the end of it
        run: String,
        /// The cap in USD
        #[arg(value_parser = dollars)]
        usd: Usd,
    },
}

/// What a cap that is to be removed is for.
#[derive(Debug, Clone, Subcommand)]
pub enum RemoveWhat {
    /// Everything, in every day
    Day,
    /// Everything, in every month
    Month,
    /// Everything, once and for all
    Total,
    /// One user's spend
    User {
        /// The user
        id: String,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Month)]
        per: Per,
    },
    /// The videos of one campaign
    Campaign {
        /// The campaign, by name or id
        campaign: String,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Total)]
        per: Per,
    },
    /// What one provider is paid
    Provider {
        /// The provider
        #[arg(value_parser = provider)]
        provider: Provider,
        /// How often it begins anew
        #[arg(long, value_enum, default_value_t = Per::Month)]
        per: Per,
    },
    /// One run
    Run {
        /// The run, by its id or the end of it
        run: String,
    },
    /// One batch
    Batch {
        /// The batch, by its id or the end of it
        batch: String,
    },
}

/// How often a cap begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Per {
    /// With every day
    Day,
    /// With every month
    Month,
    /// Never
    Total,
}

impl From<Per> for Period {
    fn from(per: Per) -> Self {
        match per {
            Per::Day => Self::Day,
            Per::Month => Self::Month,
            Per::Total => Self::Total,
        }
    }
}

fn provider(text: &str) -> Result<Provider, String> {
    let known = Provider::ALL.map(Provider::as_str).join(", ");
    text.parse().map_err(|_| format!("no provider that aida pays; known are {known}"))
}

/// What a cap is for, as the database keys it.
struct Which {
    scope: Scope,
    subject: String,
    period: Period,
}

/// A cap with what of it is taken: one row of `--json`. Amounts are exact decimals of USD.
#[derive(Debug, Clone, Serialize)]
struct BudgetRow {
    id: BudgetId,
    scope: Scope,
    subject: String,
    name: String,
    period: Period,
    time_zone: String,
    cap_usd: Usd,
    settled_usd: Usd,
    unknown_usd: Usd,
    promised_usd: Usd,
    /// What may still be spent; not below zero.
    left_usd: Usd,
    /// When the period began and the next one begins; null where it never does.
    began_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

impl BudgetRow {
    fn new(budget: Budget, taken: Taken, now: Timestamp) -> Self {
        let left = budget.cap - taken.all();
        Self {
            began_at: budget.began(now),
            ends_at: budget.ends(now),
            id: budget.id,
            scope: budget.scope,
            subject: budget.subject,
            name: budget.name,
            period: budget.period,
            time_zone: budget.zone.name().to_owned(),
            cap_usd: budget.cap,
            settled_usd: taken.settled,
            unknown_usd: taken.unknown,
            promised_usd: taken.promised_words + taken.promised_media,
            left_usd: left.max(Usd::ZERO),
        }
    }

    fn what(&self) -> String {
        match self.scope {
            Scope::Everything => "everything".to_owned(),
            Scope::RunLanguage => format!("language of run {}", self.name),
            scope => format!("{scope} {}", self.name),
        }
    }
}

/// Works on caps.
pub async fn run(arguments: &BudgetArgs, context: &Context) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let result = work(arguments, context, &mut session).await;
    session.close().await;
    result
}

async fn work(
    arguments: &BudgetArgs,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    match arguments.command.as_ref().unwrap_or(&BudgetCommand::List) {
        BudgetCommand::List => {
            let rows = rows(context, connection).await?;
            show(&rows, context);
            Ok(())
        }
        BudgetCommand::Set(what) => set(what, context, connection).await,
        BudgetCommand::Remove(what) => remove(what, context, connection).await,
    }
}

async fn rows(context: &Context, connection: &mut PgConnection) -> Result<Vec<BudgetRow>, Error> {
    let now = context.clock.now();
    let mut rows = Vec::new();
    for budget in budgets::list(connection, &context.settings.user).await? {
        let taken = budgets::taken(connection, &budget, now).await?;
        rows.push(BudgetRow::new(budget, taken, now));
    }
    Ok(rows)
}

async fn set(
    what: &SetWhat,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let everything = |period| Which { scope: Scope::Everything, subject: String::new(), period };
    let (which, usd) = match what {
        SetWhat::Day { usd } => (everything(Period::Day), usd),
        SetWhat::Month { usd } => (everything(Period::Month), usd),
        SetWhat::Total { usd } => (everything(Period::Total), usd),
        SetWhat::User { id, usd, per } => (of_user(id, *per), usd),
        SetWhat::Campaign { campaign, usd, per } => {
            (of_campaign(campaign, *per, context, connection).await?, usd)
        }
        SetWhat::Provider { provider, usd, per } => (of_provider(*provider, *per), usd),
        SetWhat::Run { run, usd } => (of_run(run, Scope::Run, context, connection).await?, usd),
        SetWhat::Batch { batch, usd } => (of_batch(batch, context, connection).await?, usd),
        SetWhat::Language { run, usd } => {
            (of_run(run, Scope::RunLanguage, context, connection).await?, usd)
        }
    };
    let Which { scope, subject, period } = &which;
    let (zone, now) = (&context.settings.time_zone, context.clock.now());
    budgets::set(connection, (*scope, subject), *period, zone, *usd, now).await?;
    let found = budgets::find(connection, (*scope, subject), *period).await?;
    let budget = found.ok_or_else(|| Error::internal("the cap that was set is gone"))?;
    let taken = budgets::taken(connection, &budget, now).await?;
    let words = budget.what();
    let row = BudgetRow::new(budget, taken, now);
    let output = &context.output;
    if output.is_json() {
        output.json(&row);
        return Ok(());
    }
    output.status(format!(
        "{words}: at most {}, of which {} is taken and {} is left",
        row.cap_usd,
        taken.all(),
        row.left_usd
    ));
    if taken.all() > row.cap_usd {
        output.warning("more than that is taken already: nothing more is bought under it");
    }
    Ok(())
}

async fn remove(
    what: &RemoveWhat,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let everything = |period| Which { scope: Scope::Everything, subject: String::new(), period };
    let which = match what {
        RemoveWhat::Day => everything(Period::Day),
        RemoveWhat::Month => everything(Period::Month),
        RemoveWhat::Total => everything(Period::Total),
        RemoveWhat::User { id, per } => of_user(id, *per),
        RemoveWhat::Campaign { campaign, per } => {
            of_campaign(campaign, *per, context, connection).await?
        }
        RemoveWhat::Provider { provider, per } => of_provider(*provider, *per),
        RemoveWhat::Run { run } => of_run(run, Scope::Run, context, connection).await?,
        RemoveWhat::Batch { batch } => of_batch(batch, context, connection).await?,
    };
    let Which { scope, subject, period } = &which;
    let removed = budgets::remove(connection, (*scope, subject), *period).await?;
    if !removed {
        return Err(Error::usage("there is no such cap").hint("`aida budget` lists the caps"));
    }
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "removed": true }));
    } else {
        context.output.status("removed; what it capped is capped no more");
    }
    Ok(())
}

fn of_user(id: &str, per: Per) -> Which {
    Which { scope: Scope::User, subject: id.to_owned(), period: per.into() }
}

fn of_provider(provider: Provider, per: Per) -> Which {
    Which { scope: Scope::Provider, subject: provider.to_string(), period: per.into() }
}

async fn of_campaign(
    typed: &str,
    per: Per,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<Which, Error> {
    let campaign = find_campaign(connection, &context.settings.user, typed).await?;
    Ok(Which { scope: Scope::Campaign, subject: campaign.id.to_string(), period: per.into() })
}

async fn of_run(
    typed: &str,
    scope: Scope,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<Which, Error> {
    let run = resume::find_run(connection, &context.settings.user, typed).await?;
    Ok(Which { scope, subject: run.id.to_string(), period: Period::Total })
}

async fn of_batch(
    typed: &str,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<Which, Error> {
    let batch = find_batch(connection, &context.settings.user, typed).await?;
    Ok(Which { scope: Scope::Batch, subject: batch.id.to_string(), period: Period::Total })
}

fn show(rows: &[BudgetRow], context: &Context) {
    let output = &context.output;
    if output.is_json() {
        output.json(&serde_json::json!({ "budgets": rows }));
    } else if rows.is_empty() {
        output.status("Nothing is capped.");
        output.hint("cap a day's spend with: aida budget set day 20");
    } else {
        output.data(table(rows, output));
    }
}

fn table(rows: &[BudgetRow], output: &Output) -> String {
    let promised = rows.iter().any(|row| !row.promised_usd.is_zero());
    let unknown = rows.iter().any(|row| !row.unknown_usd.is_zero());
    let mut columns = vec![
        Column::flexible("budget", 14),
        Column::left("per"),
        Column::right("cap"),
        Column::right("settled"),
    ];
    if unknown {
        columns.push(Column::right("unknown"));
    }
    if promised {
        columns.push(Column::right("promised"));
    }
    columns.extend([Column::right("left"), Column::left("begins anew")]);
    let mut grid = Grid::new(columns);
    for row in rows {
        let mut cells = vec![
            row.what(),
            row.period.to_string(),
            row.cap_usd.to_string(),
            row.settled_usd.to_string(),
        ];
        if unknown {
            cells.push(row.unknown_usd.to_string());
        }
        if promised {
            cells.push(row.promised_usd.to_string());
        }
        let anew = row.ends_at.map_or_else(
            || "never".to_owned(),
            |end| {
                let zone = crate::clock::Zone::named(&row.time_zone)
                    .unwrap_or_else(crate::clock::Zone::utc);
                format!("{} {}", zone.at(end).strftime("%b %-d"), row.time_zone)
            },
        );
        cells.extend([row.left_usd.to_string(), anew]);
        grid.row(cells);
    }
    grid.render(output.width())
}
