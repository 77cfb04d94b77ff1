//! `aida costs`: what was spent, on what, and how well the prompt cache did.

mod cache;
mod explain;
mod figures;
mod overview;
mod reconcile;
mod table;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use self::figures::percent;
use self::overview::Screen;
use crate::cli::tables;
use crate::commands::campaigns::{find_campaign, find_project};
use crate::commands::{Context, create_video::dollars};
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;
use crate::ledger::report::{CacheReport, CostReport, Level, Question, period};
use crate::providers::Provider;

/// The days that are looked at where no time is named.
const DAYS: i32 = 30;

/// Arguments of `aida costs`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Show what was spent, on what, and how well the prompt cache did",
    long_about = "Show what was spent, on what, and how well the prompt cache did.\n\n\
        Without flags, or with a time alone, it shows the figures at a glance on one screen: of \
        the last 30 days, if no time is named. The other flags make a table of all time, or of \
        the time that is named.\n\n\
        Amounts are US dollars; days, weeks and months are those of the setting time_zone. Money \
        of unknown outcome is shown apart, at its ceiling, and never added to what is known. \
        JSON and CSV carry exact decimals; CSV and lines of JSON have no totals.",
    after_help = "\
Examples:
  aida costs                              the last 30 days on one screen
  aida costs --since today                the same of today
  aida costs --last 10                    the last ten videos, one line each
  aida costs --since 7d --by day,model    each day, and the models in it
  aida costs --by month --chart           a bar for each month
  aida costs --since 14d --until 7d       the seven days before the last seven
  aida costs --campaign \"Spring launch\" --by project
  aida costs --since 2026-11-01 --by model --csv > november.csv
  aida costs --since today --fail-over 20 --min-cache-hit 60%    for cron
  aida costs --cache --last 10            how the prompt cache did, and what broke it
  aida costs explain 23456789             one charge, taken apart
  aida costs reconcile                    the books beside the bills",
    args_conflicts_with_subcommands = true
)]
pub struct CostsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<CostsAction>,
    /// Only the last N videos
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: Option<u32>,
    /// Only from this time on: today, yesterday, 24h, 7d, 2w, 3mo, a date, or a time with its
    /// offset; 7d are seven whole days, today among them
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only until then: the end of a day that is named, a time, or where --since with the same
    /// word begins
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// What each row is, one level or two as in day,model [default: project with --last, else
    /// day]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LEVEL[,LEVEL]")]
    pub by: Vec<By>,
    /// Only this video: its id, the end of it, or its slug
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Only the videos of this campaign, by name or id
    #[arg(long, value_name = "CAMPAIGN")]
    pub campaign: Option<String>,
    /// Only this provider: anthropic, openai, kie or fal
    #[arg(
        long,
        ignore_case = true,
        hide_possible_values = true,
        value_parser = Provider::ALL.map(Provider::as_str)
    )]
    pub provider: Option<String>,
    /// Charges of all users, not only one's own
    #[arg(long)]
    pub all_users: bool,
    /// How the prompt cache did for each agent: what it saved net of writing, for how long it is
    /// asked to remember and why, and what broke it
    #[arg(long, conflicts_with_all = ["by", "chart", "ndjson"])]
    pub cache: bool,
    /// Draw a bar for each row
    #[arg(long, conflicts_with = "json")]
    pub chart: bool,
    /// Print CSV on standard output
    #[arg(long, conflicts_with_all = ["json", "chart"])]
    pub csv: bool,
    /// Print one line of JSON for each row on standard output
    #[arg(long, conflicts_with_all = ["json", "chart", "csv"])]
    pub ndjson: bool,
    /// Exit with 10 if more than this was spent, unknown money included
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub fail_over: Option<Usd>,
    /// Exit with 10 if the cache hit rate is below this share: 0.6, 60 or 60%
    #[arg(long, value_name = "PCT", value_parser = share)]
    pub min_cache_hit: Option<Decimal>,
}

/// What to do instead of a report.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CostsAction {
    Explain(explain::ExplainArgs),
    Reconcile(reconcile::ReconcileArgs),
}

/// What each row of the report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Days
    Day,
    /// Weeks, which begin on Monday
    Week,
    /// Months
    Month,
    /// Campaigns; a video in two of them counts in both
    Campaign,
    /// Videos
    Project,
    /// Parts of the work
    Component,
    /// Providers
    Provider,
    /// Models
    Model,
    /// Users, all of them
    User,
    /// Kept, wasted or unknown
    Status,
}

impl From<By> for Level {
    fn from(by: By) -> Self {
        match by {
            By::Day => Self::Day,
            By::Week => Self::Week,
            By::Month => Self::Month,
            By::Campaign => Self::Campaign,
            By::Project => Self::Project,
            By::Component => Self::Component,
            By::Provider => Self::Provider,
            By::Model => Self::Model,
            By::User => Self::User,
            By::Status => Self::Status,
        }
    }
}

/// Reads a share for a flag: up to 1 as it is, above it or with its sign as a percentage.
fn share(text: &str) -> Result<Decimal, String> {
    let text = text.trim();
    let (number, has_sign) =
        text.strip_suffix('%').map_or((text, false), |number| (number.trim_end(), true));
    Decimal::from_str_exact(number)
        .ok()
        .map(|number| {
            let is_percentage = has_sign || number > Decimal::ONE;
            if is_percentage { number / Decimal::ONE_HUNDRED } else { number }
        })
        .filter(|share| (Decimal::ZERO..=Decimal::ONE).contains(share))
        .ok_or_else(|| "not a share such as 0.6, 60 or 60%".to_owned())
}

impl CostsArgs {
    /// Whether the figures at a glance are wanted: nothing asks for rows of another kind.
    fn is_overview(&self) -> bool {
        self.by.is_empty()
            && !self.cache
            && self.last.is_none()
            && self.project.is_none()
            && self.campaign.is_none()
            && self.provider.is_none()
            && !self.chart
    }

    /// Whether no single videos and no rows of another kind are asked for, so that a time must do.
    fn is_of_lately(&self) -> bool {
        self.is_overview()
            || self.cache
                && self.last.is_none()
                && self.project.is_none()
                && self.campaign.is_none()
    }

    /// The levels of the rows.
    fn levels(&self) -> Result<Vec<Level>, Error> {
        match *self.by {
            [] if self.cache => Ok(vec![Level::Component]),
            [] if self.last.is_some() => Ok(vec![Level::Project]),
            [] => Ok(vec![Level::Day]),
            [by] => Ok(vec![by.into()]),
            [first, second] if first != second => Ok(vec![first.into(), second.into()]),
            [_, _] => Err(Error::usage("--by names one level twice")
                .hint("two levels are told apart by a comma: --by day,model")),
            _ => Err(Error::usage("--by takes one level or two")
                .hint("two levels are told apart by a comma: --by day,model")),
        }
    }

    /// What the books are asked.
    async fn question(
        &self,
        context: &Context,
        connection: &mut PgConnection,
    ) -> Result<Question, Error> {
        let (settings, now) = (&context.settings, context.clock.now());
        let zone = &settings.time_zone;
        let (since, until) = stretch(self.since.as_deref(), self.until.as_deref(), context)?;
        let levels = self.levels()?;
        let is_unbounded = since.is_none() && until.is_none();
        let since = match since {
            None if is_unbounded && self.is_of_lately() => period::last_days(DAYS, now, zone),
            since => since,
        };
        let user = &settings.user;
        let project = match &self.project {
            Some(typed) => Some(find_project(connection, user, typed).await?.id),
            None => None,
        };
        let campaign = match &self.campaign {
            Some(typed) => Some(find_campaign(connection, user, typed).await?.id),
            None => None,
        };
        let all_users = self.all_users || levels.contains(&Level::User);
        Ok(Question {
            user: (!all_users).then(|| user.clone()),
            since,
            until,
            last: self.last,
            project,
            campaign,
            provider: self.provider.as_ref().map(|provider| provider.to_ascii_lowercase()),
            levels,
            zone: zone.clone(),
            now,
            cache_hit_target: settings.cache_hit_target,
        })
    }

    /// The command that shows all days of the figures at a glance.
    fn all_days(&self) -> String {
        let mut words = vec!["aida costs".to_owned()];
        if self.since.is_none() && self.until.is_none() {
            words.push(format!("--since {DAYS}d"));
        }
        words.extend(self.since.as_ref().map(|since| format!("--since {since}")));
        words.extend(self.until.as_ref().map(|until| format!("--until {until}")));
        words.extend(self.all_users.then(|| "--all-users".to_owned()));
        words.push("--by day".to_owned());
        words.join(" ")
    }
}

/// The stretch of time that `--since` and `--until` name; its end is exclusive.
pub(crate) fn stretch(
    since: Option<&str>,
    until: Option<&str>,
    context: &Context,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
    let (now, zone) = (context.clock.now(), &context.settings.time_zone);
    let read = |flag: &str, text: Option<&str>, read: fn(&str, _, &_) -> _| {
        let moment: Option<Result<_, String>> = text.map(|text| read(text, now, zone));
        moment.transpose().map_err(|problem| Error::usage(format!("{flag}: {problem}")))
    };
    let begins = read("--since", since, period::since)?;
    let ends = read("--until", until, period::until)?;
    if let (Some(begins), Some(ends)) = (begins, ends)
        && begins >= ends
    {
        let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
        return Err(Error::usage(if begins > ends {
            format!("--since {since} lies after --until {until}")
        } else {
            format!("there is no time from --since {since} to --until {until}")
        }));
    }
    Ok((begins, ends))
}

/// Prints the report.
pub async fn run(arguments: &CostsArgs, context: &Context) -> Result<(), Error> {
    match &arguments.action {
        Some(CostsAction::Explain(explain)) => return explain::run(explain, context).await,
        Some(CostsAction::Reconcile(reconcile)) => return reconcile::run(reconcile, context).await,
        None => {}
    }
    let mut session = context.store().await?.session().await?;
    if arguments.cache {
        let read = read_cache(arguments, context, &mut session).await;
        session.close().await;
        return show_cache(arguments, context, &read?);
    }
    let report = read(arguments, context, &mut session).await;
    session.close().await;
    let report = report?;
    let (output, zone) = (&context.output, &context.settings.time_zone);
    if arguments.csv {
        output.bytes(&tables::csv(&report.rows)?);
    } else if arguments.ndjson {
        for row in &report.rows {
            output.json(row);
        }
    } else if output.is_json() {
        output.json(&report);
    } else if arguments.chart {
        output.data(table::chart(&report, zone, output));
    } else if let Some(overview) = &report.overview {
        let all_days = arguments.all_days();
        output.data(Screen { report: &report, overview, zone, all_days }.page(output));
    } else {
        output.data(table::page(&report, zone, output));
    }
    check(arguments, &report, report.cache.hit_rate)
}

/// Reads what was spent and how the prompt cache did.
async fn read_cache(
    arguments: &CostsArgs,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(CostReport, CacheReport), Error> {
    let question = arguments.question(context, connection).await?;
    let report = question.ask(connection).await?;
    let cache = question.cache(connection, &report).await?;
    Ok((report, cache))
}

/// Prints how the prompt cache did.
fn show_cache(
    arguments: &CostsArgs,
    context: &Context,
    (report, cache): &(CostReport, CacheReport),
) -> Result<(), Error> {
    let output = &context.output;
    if arguments.csv {
        output.bytes(&tables::csv(&cache.agents)?);
    } else if output.is_json() {
        output.json(cache);
    } else {
        output.data(cache::page(cache, &context.settings.time_zone, output));
    }
    check(arguments, report, cache.result.hit_rate)
}

/// Reads the books, with the figures at a glance where they will be shown.
async fn read(
    arguments: &CostsArgs,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<CostReport, Error> {
    let question = arguments.question(context, connection).await?;
    let mut report = question.ask(connection).await?;
    let is_of_rows = arguments.csv || arguments.ndjson;
    if !is_of_rows && (context.output.is_json() || arguments.is_overview()) {
        let user = &context.settings.user;
        report.overview = Some(question.overview(connection, &report, user).await?);
    }
    Ok(report)
}

/// The checks that a script may ask for.
fn check(
    arguments: &CostsArgs,
    report: &CostReport,
    hit_rate: Option<Decimal>,
) -> Result<(), Error> {
    let spent = report.totals.settled_usd + report.totals.unknown_usd;
    if let Some(limit) = arguments.fail_over
        && spent > limit
    {
        return Err(Error::new(
            Kind::Check,
            format!("{spent} was spent, which is more than --fail-over {limit}"),
        )
        .reported());
    }
    if let (Some(least), Some(rate)) = (arguments.min_cache_hit, hit_rate)
        && rate < least
    {
        return Err(Error::new(
            Kind::Check,
            format!(
                "the cache hit rate is {}, below --min-cache-hit {}",
                percent(rate),
                percent(least)
            ),
        )
        .reported());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, expected) in [
            ("0.6", Some(dec!(0.6))),
            ("60", Some(dec!(0.60))),
            ("60%", Some(dec!(0.60))),
            ("62.5 %", Some(dec!(0.625))),
            ("1", Some(dec!(1))),
            ("1%", Some(dec!(0.01))),
            ("0", Some(dec!(0))),
            ("101", None),
            ("-1", None),
            ("%", None),
            ("most", None),
        ] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
    }
}
