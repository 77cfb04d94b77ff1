//! `aida costs reconcile`: the books beside the providers' bills.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::cli::tables::{Column, Grid};
use crate::commands::{Context, Service};
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::ledger::reconcile::{Reconciler, Reconciliation, Row};
use crate::ledger::report;
use crate::store::bills::Scope;

/// Arguments of `aida costs reconcile`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Read the providers' bills, and explain what differs from the books",
    long_about = "Read the providers' bills, and explain what differs from the books.\n\n\
        Free: no call here buys anything. fal shows its bill to keys with administrator rights; \
        other keys get the units of each clip at the listed base price. KIE tells the credits \
        of most jobs, not of Midjourney's. Anthropic and OpenAI report usage with each answer and \
        show no bill by request. What is billed once is not asked about again.",
    after_help = "\
Examples:
  aida costs reconcile
  aida costs reconcile --since 7d --json"
)]
pub(crate) struct ReconcileArgs {
    /// Only what was made from this time on: 7d, 2w, a date or a time
    #[arg(long, value_name = "WHEN", default_value = "90d")]
    pub(crate) since: String,
    /// Charges of all users, not only one's own
    #[arg(long)]
    pub(crate) all_users: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    #[serde(flatten)]
    reconciliation: &'a Reconciliation,
}

pub(super) async fn run(arguments: &ReconcileArgs, context: &Context) -> Result<(), Error> {
    let since =
        report::period::since(&arguments.since, context.clock.now(), &context.settings.time_zone)
            .map_err(|problem| Error::usage(format!("--since: {problem}")))?;
    let store = context.store().await?;
    let till = context.till().await?;
    let has = |service| context.key(service).is_some();
    let reconciler = Reconciler {
        store,
        till: &till,
        clock: context.clock.clone(),
        fal: if has(Service::Fal) { Some(context.fal_account()?) } else { None },
        kie: if has(Service::Kie) { Some(context.kie_account()?) } else { None },
    };
    let user = &context.settings.user;
    let scope = Scope { user_id: (!arguments.all_users).then_some(user), since };
    let reconciliation = reconciler.run(&scope).await?;
    let output = &context.output;
    if output.is_json() {
        output.json(&Report { schema: 1, reconciliation: &reconciliation });
    } else {
        output.data(page(&reconciliation, output.width()));
        for note in &reconciliation.notes {
            output.status(note);
        }
    }
    Ok(())
}

fn page(reconciliation: &Reconciliation, width: u16) -> String {
    let mut page = String::new();
    // What differs, whenever it was read; what was billed after all is equal now; what is not told.
    let is_news = |row: &&Row| row.charge_id.is_none() || row.billed_usd.is_none();
    let news = reconciliation.rows.iter().filter(is_news);
    let different: Vec<_> = reconciliation.differences.iter().chain(news).collect();
    if !different.is_empty() {
        page.push_str(&table(&different).render(width));
        for row in &different {
            let _ = writeln!(page, "{}  {}", row.operation_id.short(), row.why);
        }
        page.push('\n');
    }
    let Reconciliation { rows, billed_charges, equal_charges, settled_usd, billed_usd, .. } =
        reconciliation;
    let read = rows.iter().filter(|row| row.billed_usd.is_some()).count();
    let bills = if read == 1 { "bill" } else { "bills" };
    let _ = writeln!(page, "Read {read} {bills} now.");
    let _ = writeln!(
        page,
        "{equal_charges} of {billed_charges} known bills are what was settled: {} settled, {} billed.",
        settled_usd.exact(),
        billed_usd.exact(),
    );
    if reconciliation.billed_after_all > 0 {
        let _ = writeln!(
            page,
            "{} of them had been taken to be free, and are booked as wasted now.",
            reconciliation.billed_after_all
        );
    }
    if reconciliation.open_charges > 0 {
        let _ = writeln!(page, "{} bills cannot be told (yet).", reconciliation.open_charges);
    }
    page
}

fn table(rows: &[&Row]) -> Grid {
    let mut grid = Grid::new([
        Column::left("operation"),
        Column::left("provider"),
        Column::flexible("model", 10),
        Column::right("settled"),
        Column::right("billed"),
        Column::right("difference"),
    ]);
    let exact = |amount: Option<Usd>| {
        amount.map_or_else(|| "-".to_owned(), |amount| amount.dollars().normalize().to_string())
    };
    for row in rows {
        grid.row([
            row.operation_id.short(),
            row.provider.clone(),
            row.model.clone(),
            exact(Some(row.settled_usd)),
            exact(row.billed_usd),
            exact(row.difference_usd),
        ]);
    }
    grid
}
