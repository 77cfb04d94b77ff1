//! What became of a batch: as a table, CSV or JSON.

use rust_decimal::Decimal;
use serde::Serialize;

use super::{BatchArgs, Checked};
use crate::cli::tables::{self, Column, Grid};
use crate::commands::Context;
use crate::commands::failures::kind_of_stop;
use crate::error::{Error, Kind};
use crate::ids::{BatchId, ProjectId, RunId};
use crate::ledger::money::Usd;
use crate::store::batches::{self, Batch, BatchTotals, RowState};
use crate::studio::plan::Quote;

/// One row, as CSV and JSON have it.
#[derive(Debug, Clone, Serialize)]
struct Line {
    /// The line of the file, from 1.
    #[serde(rename = "line")]
    number: i32,
    brief: String,
    /// `done`, `partial`, `planned`, `failed`, `queued`, `working` or `stopped`.
    status: &'static str,
    /// Why it stopped, in a word.
    stopped_by: Option<String>,
    /// The same in a sentence.
    message: Option<String>,
    video: Option<String>,
    /// The film's length in seconds.
    duration_seconds: Option<Decimal>,
    quote_high_usd: Option<Usd>,
    settled_usd: Usd,
    unknown_usd: Usd,
    project_id: ProjectId,
    run_id: RunId,
}

impl From<RowState> for Line {
    fn from(row: RowState) -> Self {
        let status = status(&row);
        let is_stopped = matches!(status, "stopped" | "failed");
        Self {
            number: row.line,
            brief: row.brief,
            status,
            stopped_by: row.stopped_by.filter(|_| is_stopped),
            message: row.stop_message.filter(|_| is_stopped),
            video: row.video,
            duration_seconds: row.video_seconds.map(|seconds| seconds.normalize()),
            quote_high_usd: row.quote_high_usd,
            settled_usd: row.settled_usd,
            unknown_usd: row.unknown_usd,
            project_id: row.project_id,
            run_id: row.run_id,
        }
    }
}

fn status(row: &RowState) -> &'static str {
    match (row.state.as_str(), row.is_queued) {
        ("done", _) => "done",
        ("failed", _) => "failed",
        ("partial", false) => "partial",
        ("writing", true) => "queued",
        (_, true) => "working",
        ("planned", false) if row.stopped_by.is_none() => "planned",
        _ => "stopped",
    }
}

/// The whole, as JSON has it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    batch_id: BatchId,
    source: &'a str,
    quote_low_usd: Usd,
    quote_high_usd: Usd,
    settled_usd: Usd,
    unknown_usd: Usd,
    rows: &'a [Line],
}

/// Whether what did not come to its end is an error now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The exit code tells.
    Said,
    /// It is only shown.
    Unsaid,
}

/// Shows how far a batch is. Where the verdict is said, the gravest of what stopped its films is the
/// error.
pub(super) async fn show(
    arguments: &BatchArgs,
    context: &Context,
    batch: &Batch,
    verdict: Verdict,
) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let rows = batches::rows(&mut session, batch.id).await?;
    session.close().await;
    let lines: Vec<Line> = rows.into_iter().map(Line::from).collect();
    let settled = lines.iter().map(|line| line.settled_usd).sum();
    let unknown = lines.iter().map(|line| line.unknown_usd).sum();
    let output = &context.output;
    if arguments.csv {
        output.bytes(&tables::csv(&lines)?);
    } else if output.is_json() {
        output.json(&Report {
            schema: "aida.batch/1",
            batch_id: batch.id,
            source: &batch.source,
            quote_low_usd: batch.quote_low_usd,
            quote_high_usd: batch.quote_high_usd,
            settled_usd: settled,
            unknown_usd: unknown,
            rows: &lines,
        });
    } else {
        output.data(table(&lines, settled).render(output.width()));
    }
    if verdict == Verdict::Unsaid {
        return Ok(());
    }
    said(batch, &lines)
}

fn table(lines: &[Line], settled: Usd) -> Grid {
    let mut grid = Grid::new([
        Column::right("line"),
        Column::left("run"),
        Column::left("status"),
        Column::right("seconds"),
        Column::right("settled"),
        Column::flexible("film, or why there is none", 20),
    ]);
    for line in lines {
        let what = match (&line.video, &line.message) {
            (_, Some(message)) => message.clone(),
            (Some(video), None) => video.clone(),
            (None, None) => line.brief.clone(),
        };
        grid.row([
            line.number.to_string(),
            line.run_id.short(),
            line.status.to_owned(),
            line.duration_seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string()),
            line.settled_usd.to_string(),
            what,
        ]);
    }
    let done = lines.iter().filter(|line| line.status == "done").count();
    grid.footer([
        String::new(),
        String::new(),
        format!("{done} of {}", lines.len()),
        String::new(),
        settled.to_string(),
        String::new(),
    ]);
    grid
}

/// What is wrong with the whole: the gravest of what stopped its films.
fn said(batch: &Batch, lines: &[Line]) -> Result<(), Error> {
    let kind = |line: &Line| match line.status {
        "done" | "planned" => None,
        "partial" => Some(Kind::Partial),
        _ => Some(kind_of_stop(line.stopped_by.as_deref().unwrap_or_default())),
    };
    let kinds: Vec<_> = lines.iter().filter_map(kind).collect();
    let Some(gravest) = kinds.iter().max_by_key(|kind| kind.gravity()) else { return Ok(()) };
    let id = batch.id.short();
    let films = format!("{} of {} films are not finished", kinds.len(), lines.len());
    Err(Error::new(*gravest, films)
        .hint("`aida why RUN` tells what stopped one")
        .hint(format!("go on with what can go on: aida batch --resume {id} --yes"))
        .reported())
}

/// What the rows would cost, for `--dry-run`.
pub(super) fn quote(arguments: &BatchArgs, context: &Context, orders: &[Checked], quote: Quote) {
    #[derive(Serialize)]
    struct Quoted<'a> {
        line: u32,
        brief: &'a str,
        shots: u32,
        duration_seconds: Decimal,
        aspect: String,
        low_usd: Usd,
        high_usd: Usd,
    }
    let quoted: Vec<_> = orders
        .iter()
        .map(|checked| {
            let (brief, quote) = (&checked.order.brief, checked.order.quote());
            Quoted {
                line: checked.row.line,
                brief: brief.text.as_str(),
                shots: brief.shots,
                duration_seconds: brief.duration_seconds,
                aspect: brief.aspect.to_string(),
                low_usd: quote.low_usd,
                high_usd: quote.high_usd,
            }
        })
        .collect();
    let output = &context.output;
    if arguments.csv {
        match tables::csv(&quoted) {
            Ok(bytes) => output.bytes(&bytes),
            Err(error) => output.error(&error),
        }
    } else if output.is_json() {
        output.json(&serde_json::json!({
            "schema": "aida.batch-quote/1",
            "rows": quoted,
            "low_usd": quote.low_usd,
            "high_usd": quote.high_usd,
        }));
    } else {
        let mut grid = Grid::new([
            Column::right("line"),
            Column::right("shots"),
            Column::right("seconds"),
            Column::left("shape"),
            Column::right("from"),
            Column::right("to"),
            Column::flexible("brief", 16),
        ]);
        for row in &quoted {
            grid.row([
                row.line.to_string(),
                row.shots.to_string(),
                row.duration_seconds.normalize().to_string(),
                row.aspect.clone(),
                row.low_usd.to_string(),
                row.high_usd.to_string(),
                row.brief.to_owned(),
            ]);
        }
        let empty = String::new;
        let (low, high) = (quote.low_usd.to_string(), quote.high_usd.to_string());
        grid.footer([empty(), empty(), empty(), empty(), low, high, empty()]);
        output.data(grid.render(output.width()));
    }
}

/// Lists the user's batches.
pub(super) async fn list(context: &Context) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let found = batches::list(&mut session, &context.settings.user).await?;
    session.close().await;
    let output = &context.output;
    if output.is_json() {
        let batches: Vec<_> = found
            .iter()
            .map(|BatchTotals { batch, films, done, settled_usd }| {
                serde_json::json!({
                    "batch_id": batch.id,
                    "source": batch.source,
                    "created_at": batch.created_at,
                    "films": films,
                    "done": done,
                    "quote_high_usd": batch.quote_high_usd,
                    "settled_usd": settled_usd,
                })
            })
            .collect();
        output.json(&serde_json::json!({ "batches": batches }));
        return Ok(());
    }
    if found.is_empty() {
        output.status("There is no batch yet.");
        output.hint("make one with: aida batch briefs.csv");
        return Ok(());
    }
    let mut grid = Grid::new([
        Column::left("batch"),
        Column::left("begun (UTC)"),
        Column::right("films"),
        Column::right("done"),
        Column::right("settled"),
        Column::flexible("briefs", 16),
    ]);
    for BatchTotals { batch, films, done, settled_usd } in found {
        grid.row([
            batch.id.short(),
            batch.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            films.to_string(),
            done.to_string(),
            settled_usd.to_string(),
            batch.source,
        ]);
    }
    output.data(grid.render(output.width()));
    Ok(())
}
