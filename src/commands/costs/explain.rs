//! `aida costs explain`: one charge, taken apart.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ledger::explain::{Explained, Part, explain};
use crate::ledger::money::Usd;
use crate::store::bills::{self, Line};

/// Arguments of `aida costs explain`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Take one charge apart: units, price, amount, and what it was for",
    after_help = "\
Examples:
  aida costs explain 23456789
  aida costs explain mj_task_0193ab --json"
)]
pub(crate) struct ExplainArgs {
    /// A charge or operation, by its id or the last eight digits, or the provider's request id
    #[arg(value_name = "CHARGE")]
    pub(crate) charge: String,
}

/// A charge as scripts read it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    charge_id: Option<crate::ids::ChargeId>,
    operation_id: crate::ids::OperationId,
    project_id: Option<crate::ids::ProjectId>,
    project: Option<&'a str>,
    run_id: Option<crate::ids::RunId>,
    shot: Option<i32>,
    component: &'a str,
    provider: &'a str,
    model: &'a str,
    endpoint: &'a str,
    request_id: Option<&'a str>,
    created_at: jiff::Timestamp,
    state: &'a str,
    operation_state: &'a str,
    price_id: &'a str,
    price_source: Option<&'a str>,
    #[serde(flatten)]
    explained: &'a Explained,
    estimated_usd: Usd,
    reserved_usd: Usd,
    settled_usd: Option<Usd>,
    billed_usd: Option<Usd>,
    billed_units: Option<rust_decimal::Decimal>,
    billed_at: Option<jiff::Timestamp>,
    bill_note: Option<&'a str>,
    reuse_saved_usd: Usd,
    wasted: bool,
}

pub(super) async fn run(arguments: &ExplainArgs, context: &Context) -> Result<(), Error> {
    let typed = &arguments.charge;
    let mut session = context.store().await?.session().await?;
    let found = bills::find(&mut session, &context.settings.user, typed).await;
    session.close().await;
    let found = found?;
    let line = match found.as_slice() {
        [line] => line,
        [] => {
            return Err(Error::usage(format!("there is no charge '{typed}'")).hint(
                "a charge is named by its id or the end of it, its operation's, or the provider's \
                 request id",
            ));
        }
        several => {
            let error = Error::usage(format!("'{typed}' is the end of several ids"));
            return Err(several
                .iter()
                .fold(error, |error, line| error.hint(line.operation_id.to_string())));
        }
    };
    let explained = explain(line);
    let output = &context.output;
    if output.is_json() {
        output.json(&report(line, &explained));
    } else {
        output.data(page(line, &explained, output.width()));
    }
    match explained.agrees {
        // What is explained otherwise is no fault.
        Some(false)
            if explained.why.as_deref().is_some_and(|why| why.contains("fault in aida")) =>
        {
            Err(Error::new(Kind::Internal, "the parts of this charge are not what was settled")
                .hint("please report this with what is printed above")
                .reported())
        }
        _ => Ok(()),
    }
}

fn report<'a>(line: &'a Line, explained: &'a Explained) -> Report<'a> {
    Report {
        schema: 1,
        charge_id: line.charge_id,
        operation_id: line.operation_id,
        project_id: line.project_id,
        project: line.project.as_deref(),
        run_id: line.run_id,
        shot: line.shot,
        component: &line.component,
        provider: &line.provider,
        model: &line.model,
        endpoint: &line.endpoint,
        request_id: line.request_id.as_deref(),
        created_at: line.created_at.to_jiff(),
        state: line.charge_state.as_deref().unwrap_or("not_booked"),
        operation_state: &line.operation_state,
        price_id: &line.price_id,
        price_source: line.price_source.as_deref(),
        explained,
        estimated_usd: line.estimated_usd,
        reserved_usd: line.reserved_usd,
        settled_usd: line.settled_usd,
        billed_usd: line.billed_usd,
        billed_units: line.billed_units,
        billed_at: line.billed_at.map(jiff_sqlx::Timestamp::to_jiff),
        bill_note: line.bill_note.as_deref(),
        reuse_saved_usd: line.reuse_saved_usd,
        wasted: line.wasted,
    }
}

fn page(line: &Line, explained: &Explained, width: u16) -> String {
    let mut page = String::new();
    let mut say = |name: &str, text: &str| {
        let _ = writeln!(page, "{name:<10}  {text}");
    };
    let optional =
        |amount: Option<Usd>, none: &str| amount.map_or_else(|| none.to_owned(), Usd::exact);
    say("charge", &line.charge_id.map_or_else(|| "none".to_owned(), |id| id.to_string()));
    say("operation", &format!("{} ({})", line.operation_id, line.operation_state));
    let mut purpose = line.component.clone();
    if let Some(shot) = line.shot {
        let _ = write!(purpose, " of shot {shot}");
    }
    if let Some(project) = &line.project {
        let short: String = project.chars().take(40).collect();
        let _ = write!(purpose, ", “{short}”");
    }
    if let Some(id) = line.project_id {
        let _ = write!(purpose, " ({})", id.short());
    }
    say("for", &purpose);
    say("made", &line.created_at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    say("by", &format!("{} {}", line.provider, line.model));
    say("request", line.request_id.as_deref().unwrap_or("-"));
    let source = line.price_source.as_deref().unwrap_or("not kept");
    say("price", &format!("{} ({source})", line.price_id));
    if !explained.parts.is_empty() {
        page.push('\n');
        page.push_str(&table(&explained.parts, explained.computed_usd).render(width));
        page.push('\n');
    }
    let mut say = |name: &str, text: &str| {
        let _ = writeln!(page, "{name:<10}  {text}");
    };
    say("estimated", &line.estimated_usd.exact());
    say("reserved", &line.reserved_usd.exact());
    say("settled", &optional(line.settled_usd, "unknown"));
    let not_billed = if !line.reuse_saved_usd.is_zero() {
        "nothing was sent, so nothing is billed"
    } else if matches!(line.provider.as_str(), "anthropic" | "openai") {
        "no bill can be read; settled is from the reported usage"
    } else {
        "not read yet (aida costs reconcile)"
    };
    say("billed", &optional(line.billed_usd, not_billed));
    if let Some(note) = &line.bill_note {
        say("", note);
    }
    if !line.reuse_saved_usd.is_zero() {
        let saved = line.reuse_saved_usd.exact();
        say("saved", &format!("{saved} by using a kept take again: today's price of a new one"));
    }
    if line.wasted && line.settled_usd.is_some() {
        say("", "it paid for something that was not kept");
    }
    match (explained.agrees, &explained.why) {
        (Some(true), _) => say("check", "the parts are exactly what was settled"),
        (_, Some(why)) => say("check", why),
        _ => {}
    }
    page
}

fn table(parts: &[Part], sum: Option<Usd>) -> Grid {
    let mut grid = Grid::new([
        Column::flexible("what", 12),
        Column::right("units"),
        Column::left(""),
        Column::right("price"),
        Column::left("per"),
        Column::right("amount"),
    ]);
    for part in parts {
        let per = if part.per == 1 { part.unit.trim_end_matches('s') } else { "million" };
        grid.row([
            part.what.to_owned(),
            part.units.normalize().to_string(),
            part.unit.to_owned(),
            part.price_usd.normalize().to_string(),
            per.to_owned(),
            part.amount_usd.dollars().normalize().to_string(),
        ]);
    }
    if let Some(sum) = sum {
        let empty = String::new;
        let sum = sum.dollars().normalize().to_string();
        grid.footer(["sum".to_owned(), empty(), empty(), empty(), empty(), sum]);
    }
    grid
}
