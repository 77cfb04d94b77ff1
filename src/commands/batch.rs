//! `aida batch`: many briefs, checked, priced and admitted as a whole, then made side by side.

mod admission;
mod report;
mod rows;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::progress::BatchBars;
use crate::commands::Context;
use crate::commands::create_video::{Order, dollars, folder};
use crate::error::{Error, Kind};
use crate::ids::{BatchId, RunId};
use crate::ledger::budget::{Period, Scope};
use crate::ledger::money::Usd;
use crate::memory::files::Shelf;
use crate::memory::reuse::ReusePolicy;
use crate::store::batches::{self, Batch, RowState};
use crate::store::queue::{self, Which};
use crate::store::runs::QueuePlace;
use crate::store::{StoreError, budgets};
use crate::studio::events::Event;
use crate::studio::floor::{Floor, JOBS, Until, Watch};
use crate::studio::making::{Stop, VideoReport};
use crate::studio::plan::Quote;
use crate::studio::storyboard::counted_shots;
use admission::Demand;
use rows::{Briefs, Problem, Row};

/// Arguments of `aida batch`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Make many films from a file of briefs",
    long_about = "Make many films from a file of briefs, CSV or JSON lines, or from standard input (-).\n\n\
        Each row is one video. The columns are create-video's options: brief, from, user, campaign, \
        duration, scenes, aspect, image-model, video-model, audio, file, reference, budget, preview, \
        plan, reuse and out. Several files stand in one cell with ; between. Paths are relative to \
        the file's folder.\n\n\
        All rows are checked first, and every problem is named by its line. Then one price is given \
        for all of them and compared with the budgets, before anything is spent. A film that fails \
        does not stop the others.\n\n\
        The same rows are never paid for twice: given again, a batch goes on where it stopped, and a \
        finished one is only reported.",
    after_help = "\
Examples:
  aida batch briefs.csv --dry-run           checks and prices all rows
  aida batch briefs.csv                     asks, then makes them
  aida batch briefs.jsonl --yes --budget 40 --jobs 4 --csv > report.csv
  generate-briefs | aida batch - --yes
  aida batch briefs.csv --yes --detach      leaves the work to `aida work`
  aida batch                                lists the batches
  aida batch --report 23456789              how far one is
  aida batch --resume 23456789 --yes        goes on with one",
    group = ArgGroup::new("what").args(["file", "resume", "report"])
)]
pub struct BatchArgs {
    /// The briefs: CSV, or JSON lines; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Go on with a batch
    #[arg(long, value_name = "BATCH")]
    pub resume: Option<String>,
    /// Show how far a batch is
    #[arg(long, value_name = "BATCH")]
    pub report: Option<String>,
    /// Films that are made at once
    #[arg(long, value_name = "N", default_value_t = JOBS, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub jobs: u16,
    /// Refuse to start above this, and stop before passing it, in USD for all films together
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub budget: Option<Usd>,
    /// Check and price all rows and stop; free
    #[arg(long, requires = "file")]
    pub dry_run: bool,
    /// Queue the films and leave them to `aida work` or `aida serve`
    #[arg(long, conflicts_with_all = ["dry_run", "report"])]
    pub detach: bool,
    /// Make the same rows once more, and pay for them once more
    #[arg(long, requires = "file")]
    pub again: bool,
    /// Report as CSV on standard output
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Agree beforehand to what is quoted
    #[arg(long, short)]
    pub yes: bool,
}

/// Makes the films, or lists what was made.
pub async fn run(arguments: &BatchArgs, context: &Context) -> Result<(), Error> {
    if let Some(typed) = &arguments.report {
        let batch = found(typed, context).await?;
        return report::show(arguments, context, &batch, report::Verdict::Unsaid).await;
    }
    if let Some(typed) = &arguments.resume {
        let batch = found(typed, context).await?;
        return go_on(arguments, context, &batch).await;
    }
    let Some(file) = &arguments.file else { return report::list(context).await };
    let path = file.clone();
    let reading = tokio::task::spawn_blocking(move || rows::read(&path));
    let briefs = tokio::select! {
        briefs = reading => {
            briefs.map_err(|error| Error::internal("the briefs were not read").because(error))??
        }
        () = context.cancel.cancelled() => return Err(interrupted()),
    };
    let orders = checked(briefs, context).await?;
    let fingerprint = fingerprint(&orders, context);
    if !arguments.again && !arguments.dry_run && context.has_database() {
        let mut session = context.store().await?.session().await?;
        let known =
            batches::with_fingerprint(&mut session, &context.settings.user, &fingerprint).await?;
        session.close().await;
        if let Some(batch) = known {
            let when = batch.created_at.strftime("%Y-%m-%d %H:%M UTC");
            context.output.status(format!(
                "these rows are batch {} of {when}; what is paid for is not bought again",
                batch.id.short()
            ));
            return go_on(arguments, context, &batch).await;
        }
    }
    let quote = quote_of(&orders);
    let demand = Demand::of(&orders);
    if arguments.dry_run {
        demand.fits(arguments.budget, context).await?;
        report::quote(arguments, context, &orders, quote);
        return Ok(());
    }
    demand.fits(arguments.budget, context).await?;
    agree(arguments, context, orders.len(), quote).await?;
    let source = file.display().to_string();
    let batch = Batch {
        id: BatchId::new(),
        user_id: context.settings.user.clone(),
        source,
        fingerprint,
        quote_low_usd: quote.low_usd,
        quote_high_usd: quote.high_usd,
        created_at: context.clock.now(),
    };
    begin(arguments, context, &batch, orders, &demand).await?;
    make(arguments, context, &batch).await
}

/// A row whose film can be begun.
struct Checked {
    row: Row,
    context: Context,
    order: Order,
    folder: PathBuf,
}

/// Checks every row, and names every problem by its line.
async fn checked(briefs: Briefs, context: &Context) -> Result<Vec<Checked>, Error> {
    let Briefs { rows, problems } = briefs;
    let mut problems: Vec<_> = problems.into_iter().map(|problem| (Kind::Usage, problem)).collect();
    // The rows share one database and one client.
    context.http()?;
    if context.has_database() {
        context.store().await?;
    }
    let mut orders = Vec::new();
    let mut missing: Option<Error> = None;
    let (mut folders, mut shelf) = (HashSet::new(), Shelf::default());
    for row in rows {
        if context.cancel.is_cancelled() {
            return Err(interrupted());
        }
        match check(&row, context, &mut folders, &mut shelf).await {
            Ok((of_row, order, folder)) => {
                // What the machine lacks is not the rows' fault, and said once.
                if let Err(error) = order.require_services(&of_row) {
                    missing.get_or_insert(error);
                }
                orders.push(Checked { row, context: of_row, order, folder });
            }
            Err(error) if matches!(error.kind(), Kind::Usage | Kind::Budget | Kind::Settings) => {
                problems.push((error.kind(), problem(row.line, &error)));
            }
            Err(error) => return Err(error),
        }
    }
    if !problems.is_empty() {
        problems.sort_by_key(|(_, problem)| problem.line);
        return Err(refused(&problems));
    }
    missing.map_or(Ok(orders), Err)
}

async fn check(
    row: &Row,
    context: &Context,
    folders: &mut HashSet<PathBuf>,
    shelf: &mut Shelf,
) -> Result<(Context, Order, PathBuf), Error> {
    let of_row = context.with(row.overrides())?;
    let order = Order::check(&row.arguments, shelf, &of_row).await?;
    order.is_within_its_budget()?;
    let wanted = row.arguments.out.clone().or_else(|| of_row.settings.videos_dir.clone());
    let wanted = wanted.unwrap_or_else(|| ".".into());
    let folder = if folders.contains(&wanted) {
        wanted.canonicalize().unwrap_or(wanted)
    } else {
        folders.insert(wanted);
        folder(&row.arguments, &of_row)?
    };
    Ok((of_row, order, folder))
}

fn problem(line: u32, error: &Error) -> Problem {
    Problem { line, message: error.to_string(), hint: error.hints().first().cloned() }
}

/// All problems in one error: nothing was stored or spent.
fn refused(problems: &[(Kind, Problem)]) -> Error {
    let rows =
        if problems.len() == 1 { "1 row".to_owned() } else { format!("{} rows", problems.len()) };
    // Wrong input comes first; what is only too dear, or lacks a price, is that.
    let all_are = |kind| problems.iter().all(|(of_row, _)| *of_row == kind);
    let kind = match () {
        () if all_are(Kind::Budget) => Kind::Budget,
        () if all_are(Kind::Settings) => Kind::Settings,
        () => Kind::Usage,
    };
    let mut error = Error::new(kind, format!("{rows} cannot be made; nothing was begun"));
    for (_, problem) in problems {
        let mut text = format!("line {}: {}", problem.line, problem.message);
        if let Some(hint) = &problem.hint {
            let _ = write!(text, " ({hint})");
        }
        error = error.hint(text);
    }
    error
}

/// SHA-256 of what the rows ask for, whatever their order.
fn fingerprint(orders: &[Checked], context: &Context) -> String {
    let mut rows: Vec<_> = orders.iter().map(|order| order.row.canonical.as_str()).collect();
    rows.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(context.settings.user.as_bytes());
    for row in rows {
        hash.update([0x1e]);
        hash.update(row.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn quote_of(orders: &[Checked]) -> Quote {
    Quote {
        low_usd: orders.iter().map(|checked| checked.order.quote().low_usd).sum(),
        high_usd: orders.iter().map(|checked| checked.order.quote().high_usd).sum(),
    }
}

/// Shows the price of all films and gets a yes for it.
async fn agree(
    arguments: &BatchArgs,
    context: &Context,
    films: usize,
    quote: Quote,
) -> Result<(), Error> {
    let Quote { low_usd, high_usd } = quote;
    if high_usd.is_zero() {
        return Ok(());
    }
    if !arguments.yes {
        let films = if films == 1 { "1 film".to_owned() } else { format!("{films} films") };
        context.output.status(format!("{films} for {low_usd} to {high_usd} in all."));
    }
    context.need_yes(arguments.yes, "Make them?").await
}

/// Stores the batch, its projects, runs and caps in one transaction. Films that share a campaign, files and
/// models are made one after the other, so that they share the prompt cache and what was uploaded.
async fn begin(
    arguments: &BatchArgs,
    context: &Context,
    batch: &Batch,
    mut orders: Vec<Checked>,
    demand: &Demand,
) -> Result<(), Error> {
    for checked in &orders {
        checked.order.copy_pictures(&checked.context).await?;
    }
    orders.sort_by_cached_key(|checked| {
        let Row { arguments, user, line, .. } = &checked.row;
        let files = (arguments.files.clone(), arguments.references.clone());
        let settings = &checked.context.settings;
        let models = (settings.image_model.clone(), settings.video_model.clone());
        (user.clone(), arguments.campaign.clone(), files, models, *line)
    });
    let producer = context.producer().await?;
    let mut session = context.store().await?.session().await?;
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    batches::lock(&mut transaction, &batch.user_id).await?;
    let twin = batches::with_fingerprint(&mut transaction, &batch.user_id, &batch.fingerprint);
    if let Some(twin) = twin.await?.filter(|_| !arguments.again) {
        return Err(Error::new(
            Kind::Locked,
            format!("another aida has just begun these rows, as batch {}", twin.id.short()),
        )
        .hint(format!("see how far it is with: aida batch --report {}", twin.id.short())));
    }
    // Another batch may have been admitted since the price was shown.
    demand.fits_in(&mut transaction, context).await?;
    batches::insert(&mut transaction, batch).await?;
    if let Some(budget) = arguments.budget {
        cap(&mut transaction, batch, budget, context).await?;
    }
    for (checked, place) in orders.into_iter().zip(0..) {
        let Checked { row, context, order, folder } = checked;
        let line = i32::try_from(row.line).unwrap_or(i32::MAX);
        let queue = Some(QueuePlace { batch: Some((batch.id, line)), place });
        let claude_writes = !order.is_written() && !order.is_preview();
        let accepted = order.agreed_usd();
        let new = order.into_new_video(&context, folder, claude_writes, accepted, queue);
        producer.begin_in(&mut transaction, new).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    session.close().await;
    Ok(())
}

async fn cap(
    connection: &mut PgConnection,
    batch: &Batch,
    budget: Usd,
    context: &Context,
) -> Result<(), StoreError> {
    let subject = batch.id.to_string();
    let (zone, now) = (&context.settings.time_zone, context.clock.now());
    budgets::set(connection, (Scope::Batch, &subject), Period::Total, zone, budget, now).await
}

/// Goes on with a batch: what is not finished is queued again.
async fn go_on(arguments: &BatchArgs, context: &Context, batch: &Batch) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    if let Some(budget) = arguments.budget {
        cap(&mut session, batch, budget, context).await?;
    }
    let rows = batches::rows(&mut session, batch.id).await?;
    session.close().await;
    let is_plan = |row: &RowState| row.plan_only && row.state == "planned";
    let is_open =
        |row: &RowState| !matches!(row.state.as_str(), "done" | "failed") && !is_plan(row);
    if !rows.iter().any(is_open) {
        context.output.status("every film of it has come to its end");
        return report::show(arguments, context, batch, report::Verdict::Said).await;
    }
    // What turned out dearer than was agreed to needs another yes, which the same command once more is not.
    let waits = rows.iter().any(|row| row.stopped_by.as_deref() == Some("needs_yes"));
    let mut session = context.store().await?.session().await?;
    if waits && arguments.yes && arguments.resume.is_some() {
        let (films, price) = batches::accept_plans(&mut session, batch.id).await?;
        context
            .output
            .status(format!("agreed to the images and clips of {films} films for {price}"));
    } else if waits {
        let id = batch.id.short();
        context.output.hint(format!(
            "films that are dearer than quoted wait for a yes: aida batch --resume {id} --yes"
        ));
    }
    queue::put_batch(&mut session, batch.id).await?;
    session.close().await;
    make(arguments, context, batch).await
}

/// Drives the batch's runs until none is queued any more, and reports.
async fn make(arguments: &BatchArgs, context: &Context, batch: &Batch) -> Result<(), Error> {
    let id = batch.id.short();
    if arguments.detach {
        context.output.status("the films are queued; `aida work` makes them");
        context.output.hint(format!("see how far they are with: aida batch --report {id}"));
        return report::show(arguments, context, batch, report::Verdict::Unsaid).await;
    }
    let mut session = context.store().await?.session().await?;
    let rows = batches::rows(&mut session, batch.id).await?;
    session.close().await;
    let lines = rows.iter().map(|row| (row.run_id, row.line, row.brief.clone())).collect();
    let watcher = Arc::new(Watcher(BatchBars::start(&context.output, lines)));
    let floor = Floor {
        producer: context.producer().await?,
        crew: Arc::new(context.clone()),
        watch: watcher.clone(),
        which: Which::Batch(batch.id),
        jobs: usize::from(arguments.jobs),
        tries: 2,
        reuse: context.settings.reuse.filter(|policy| *policy != ReusePolicy::Ask),
        bell: Arc::new(Notify::new()),
    };
    let never = CancellationToken::new();
    let worked = floor.work(Until::Done, &never, &context.cancel).await;
    watcher.0.finish();
    if context.cancel.is_cancelled() {
        // Who stops a batch does not want other hosts to go on with it.
        let mut session = context.store().await?.session().await?;
        queue::take_out_batch(&mut session, batch.id).await?;
        session.close().await;
        report::show(arguments, context, batch, report::Verdict::Unsaid).await?;
        return Err(interrupted().hint(format!("go on with: aida batch --resume {id}")).reported());
    }
    worked?;
    report::show(arguments, context, batch, report::Verdict::Said).await
}

/// Shows what happens on the floor.
struct Watcher(BatchBars);

impl Watch for Watcher {
    fn begins(&self, run: RunId) {
        self.0.begins(run);
    }

    fn told(&self, run: RunId, event: &Event) {
        self.0.told(run, event);
    }

    fn ended(&self, run: RunId, result: &Result<VideoReport, Stop>) {
        let outcome = match result {
            Ok(report) => {
                let (seconds, settled) =
                    (report.duration_seconds.normalize(), report.cost.settled_usd);
                let film = report.video.as_ref().map(|video| video.display().to_string());
                let film = film.unwrap_or_else(|| "the storyboard is kept".to_owned());
                Ok(match report.failed_shots.len() {
                    0 => format!("{seconds} s, {settled}: {film}"),
                    missing => {
                        let missing = counted_shots(missing);
                        format!("{seconds} s, {settled}, {missing} missing: {film}")
                    }
                })
            }
            Err(stop) => Err(stop.to_string()),
        };
        self.0.ended(run, outcome);
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped")
}

async fn found(typed: &str, context: &Context) -> Result<Batch, Error> {
    let mut session = context.store().await?.session().await?;
    let batch = find_batch(&mut session, &context.settings.user, typed).await;
    session.close().await;
    batch
}

/// A user's batch that was typed, by its id or the end of it.
pub(in crate::commands) async fn find_batch(
    connection: &mut PgConnection,
    user_id: &str,
    typed: &str,
) -> Result<Batch, Error> {
    let found = batches::find(connection, user_id, typed).await?;
    match <[Batch; 1]>::try_from(found) {
        Ok([batch]) => Ok(batch),
        Err(found) if found.is_empty() => Err(Error::usage(format!("there is no batch '{typed}'"))
            .hint("`aida batch` lists the batches")),
        Err(found) => {
            let ids: Vec<_> = found.iter().map(|batch| batch.id.to_string()).collect();
            Err(Error::usage(format!("'{typed}' names {} batches", ids.len()))
                .hint(format!("say which: {}", ids.join(", "))))
        }
    }
}
