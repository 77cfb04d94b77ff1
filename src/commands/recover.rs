//! `aida recover`: finds out what became of paid calls whose outcome is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{ArgGroup, Args};
use futures_util::future::try_join_all;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use crate::cli::output::Output;
use crate::commands::{Context, Service, resume};
use crate::error::{Error, Kind};
use crate::ids::{OperationId, RunId};
use crate::ledger::Till;
use crate::ledger::money::Usd;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::till::{Decision, Seller, Verdict};
use crate::process::{self, Liveness};
use crate::providers::{FailureClass, Job};
use crate::store::operations::{self, Operation};
use crate::store::projects;
use crate::studio::StudioError;
use crate::studio::claim::Claim;

/// Arguments of `aida recover`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Find out what became of paid calls whose outcome is unknown",
    long_about = "Find out what became of paid calls whose outcome is unknown, because a process \
        or a connection ended between sending and hearing back.\n\n\
        fal is asked for its list of requests, in which a clip is recognised by its keyframe; KIE \
        has no list, so there the balance decides where nothing else changed it. What cannot be \
        found out is asked of you at a terminal, or answered with a flag. Nothing is ever sent \
        again, and asking is free. `aida resume` does the free part by itself.",
    after_help = "\
Examples:
  aida recover                             everything that is unknown
  aida recover 23456789                    one run
  aida recover 9abcdef0 --not-charged      the provider shows no such job
  aida recover 9abcdef0 --charged          it does, and its result is lost
  aida recover 9abcdef0 --job task_12345   it does: fetch this one",
    group = ArgGroup::new("answer").args(["charged", "not_charged", "job"]).requires("which")
)]
pub struct RecoverArgs {
    /// The run or the operation, by its id or the end of it
    #[arg(value_name = "RUN|OPERATION", id = "which")]
    pub which: Option<String>,
    /// Say that it was bought and its result is lost
    #[arg(long)]
    pub charged: bool,
    /// Say that it was not bought
    #[arg(long)]
    pub not_charged: bool,
    /// Say which of the provider's jobs it is
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
    /// How long to ask fal again about what it does not list [default: recover_seconds]
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

impl RecoverArgs {
    fn decision(&self) -> Option<Decision> {
        match (&self.job, self.charged, self.not_charged) {
            (Some(id), ..) => Some(Decision::Adopt(id.clone())),
            (None, true, _) => Some(Decision::Charged),
            (None, false, true) => Some(Decision::NotCharged),
            (None, false, false) => None,
        }
    }
}

/// What became of one operation: a row of `--json`.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    operation_id: OperationId,
    run_id: Option<RunId>,
    shot: Option<u32>,
    kind: OperationKind,
    provider: String,
    model: String,
    /// The most that it may have cost, USD.
    ceiling_usd: Usd,
    sent_at: Option<Timestamp>,
    /// `found`, `not_charged`, `charged`, `unknown`, or `busy` where another process drives its run.
    outcome: &'static str,
    /// Why, in words.
    why: String,
}

/// Everything that was looked at.
#[derive(Debug, Default, Serialize)]
struct Report {
    operations: Vec<Finding>,
    /// Lost replies of language models and embedders, which are booked at their ceilings: nobody can
    /// be asked about them, and nothing waits for them.
    lost_replies: usize,
    /// Their ceilings together, USD.
    lost_replies_usd: Usd,
}

/// Looks at everything that is unknown.
pub async fn run(arguments: &RecoverArgs, context: &Context) -> Result<(), Error> {
    let till = context.till().await?;
    let now = context.clock.now();
    till.close_abandoned(|operation| has_no_process(operation, now)).await?;
    let mut selected = selected(arguments, context).await?;
    let cut_off: BTreeSet<RunId> = selected
        .iter()
        .filter(|operation| {
            !operation.kind.is_job() && operation.state == OperationState::Submitting
        })
        .filter_map(|operation| operation.run_id)
        .collect();
    if !cut_off.is_empty() {
        for run in cut_off {
            if let Some(claim) = Box::pin(claimed(context, run)).await? {
                context.producer().await?.put_back(claim).await?;
            }
        }
        selected = self::selected(arguments, context).await?;
    }
    let decision = arguments.decision();
    if decision.is_some() && selected.len() != 1 {
        return Err(which_one(&selected));
    }
    let mut report = Report::default();
    let (jobs, words): (Vec<_>, Vec<_>) =
        selected.into_iter().partition(|operation| operation.kind.is_job());
    for operation in
        words.into_iter().filter(|operation| operation.state == OperationState::Unknown)
    {
        let Some(decision) = &decision else {
            report.lost_replies += 1;
            report.lost_replies_usd += operation.reserved_usd;
            continue;
        };
        if matches!(decision, Decision::Adopt(_)) {
            return Err(Error::usage(
                "the reply of a language model or embedder cannot be fetched",
            )
            .hint("say --charged or --not-charged"));
        }
        let state = till.decide(&operation, decision, &context.settings.user).await?;
        report.operations.push(finding(&operation, None, outcome(state), "you said so"));
    }
    let mut by_run: BTreeMap<Option<RunId>, Vec<Operation>> = BTreeMap::new();
    for operation in jobs {
        by_run.entry(operation.run_id).or_default().push(operation);
    }
    for (run, operations) in by_run {
        // Boxed: it holds a whole run.
        let found = Box::pin(one_run(arguments, context, &till, run, operations)).await?;
        report.operations.extend(found);
    }
    finish(&report, context)
}

/// Whether the process that was sending an operation outside any run has ended.
fn has_no_process(operation: &Operation, now: Timestamp) -> bool {
    match operation.owner.as_deref().map_or(Liveness::Unknown, process::liveness) {
        Liveness::Alive => false,
        Liveness::Dead => true,
        // On another machine: no call takes that long.
        Liveness::Unknown => {
            let sent = operation.sent_at.unwrap_or(operation.created_at);
            sent.checked_add(20.minutes()).is_ok_and(|late| now > late)
        }
    }
}

/// What is to be looked at: everything unsettled of the user's, of a run, or one operation.
async fn selected(arguments: &RecoverArgs, context: &Context) -> Result<Vec<Operation>, Error> {
    let user = &context.settings.user;
    let mut session = context.store().await?.session().await?;
    let mut unsettled = operations::unsettled(&mut session, user).await?;
    if let Some(typed) = &arguments.which {
        let is_named = |operation: &Operation| {
            operation.id.to_string() == *typed || operation.id.short() == *typed
        };
        if unsettled.iter().any(is_named) {
            unsettled.retain(is_named);
        } else {
            let run = resume::find_run(&mut session, user, typed).await?;
            unsettled.retain(|operation| operation.run_id == Some(run.id));
        }
    }
    session.close().await;
    Ok(unsettled)
}

fn which_one(selected: &[Operation]) -> Error {
    if selected.is_empty() {
        return Error::usage("nothing of it is unknown").hint("`aida recover` looks at everything");
    }
    let ids: Vec<_> = selected.iter().map(|operation| operation.id.short()).collect();
    Error::usage(format!("{} operations are unknown; an answer is for one", selected.len()))
        .hint(format!("name one of them: {}", ids.join(", ")))
}

/// Looks at the operations of one run, which nobody else may drive meanwhile.
async fn one_run(
    arguments: &RecoverArgs,
    context: &Context,
    till: &Till,
    run: Option<RunId>,
    operations: Vec<Operation>,
) -> Result<Vec<Finding>, Error> {
    let Some(run) = run else {
        return look(arguments, context, till, operations).await;
    };
    let Some(claim) = claimed(context, run).await? else {
        let why = format!("another aida is at work on run {}", run.short());
        return Ok(operations
            .iter()
            .map(|operation| finding(operation, None, "busy", &why))
            .collect());
    };
    let found = look(arguments, context, till, operations).await;
    context.producer().await?.put_back(claim).await?;
    found
}

/// Takes a run over, unless somebody else drives it. What a dead process was just sending in it is unknown
/// from then on, and booked where nobody can be asked.
async fn claimed(context: &Context, run: RunId) -> Result<Option<Claim>, Error> {
    // Nobody listens: there is nothing to draw bars for.
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    let producer = context.producer().await?;
    match producer.claim(run, events, &context.cancel, true).await {
        Err(StudioError::Busy { .. }) => Ok(None),
        claim => Ok(Some(claim?)),
    }
}

async fn look(
    arguments: &RecoverArgs,
    context: &Context,
    till: &Till,
    operations: Vec<Operation>,
) -> Result<Vec<Finding>, Error> {
    let patience = arguments.wait.map_or(context.settings.recover, Duration::from_secs);
    let asked = operations.iter().map(|operation| ask(context, till, operation.id, patience));
    let mut findings = Vec::new();
    for (operation, shot, verdict, state) in try_join_all(asked).await? {
        let (state, why) = if state == OperationState::Unknown {
            let why = words(&verdict);
            match answer(arguments, context, &operation, shot, &why).await? {
                Some(decision) => {
                    if let Decision::Adopt(id) = &decision {
                        is_nobody_elses(context, &operation, id).await?;
                        is_known(context, &operation, id).await?;
                    }
                    let user = &context.settings.user;
                    (till.decide(&operation, &decision, user).await?, "you said so".to_owned())
                }
                None => (state, why),
            }
        } else {
            (state, words(&verdict))
        };
        findings.push(finding(&operation, shot, outcome(state), &why));
    }
    Ok(findings)
}

/// Asks the provider about one operation, as it stands now.
async fn ask(
    context: &Context,
    till: &Till,
    id: OperationId,
    patience: Duration,
) -> Result<(Operation, Option<u32>, Verdict, OperationState), Error> {
    let mut session = context.store().await?.session().await?;
    let operation = operations::load(&mut session, id).await?;
    let shot = match operation.shot_id {
        Some(shot) => projects::shot_number(&mut session, shot).await?,
        None => None,
    };
    session.close().await;
    if operation.state != OperationState::Unknown {
        let verdict = Verdict::Undecided("its answer was kept".to_owned());
        let state = operation.state;
        return Ok((operation, shot, verdict, state));
    }
    let (image, video);
    let (service, seller) = if operation.kind == OperationKind::Image {
        image = context.image_model_named(&operation.model)?;
        (Service::Kie, Seller::Image(image.as_ref()))
    } else {
        video = context.video_model_named(&operation.model)?;
        (Service::Fal, Seller::Clip(video.as_ref()))
    };
    if context.key(service).is_none() {
        let why =
            format!("{} is missing, so {} cannot be asked", service.variable(), operation.provider);
        return Ok((operation, shot, Verdict::Undecided(why), OperationState::Unknown));
    }
    let (verdict, state) = till.recover(&operation, seller, patience, &context.cancel).await?;
    Ok((operation, shot, verdict, state))
}

/// Refuses a job that is another operation's: one purchase would be used and booked as two.
async fn is_nobody_elses(context: &Context, operation: &Operation, id: &str) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let owner = operations::with_request_id(&mut session, &operation.provider, id).await?;
    session.close().await;
    match owner.filter(|owner| *owner != operation.id) {
        Some(owner) => Err(Error::usage(format!(
            "the job {id} is accounted for already, by operation {}",
            owner.short()
        ))
        .hint("name the one that no operation has, or say --charged or --not-charged")),
        None => Ok(()),
    }
}

/// Refuses a job that its provider does not know: an operation that waits for one would wait for ever.
async fn is_known(context: &Context, operation: &Operation, id: &str) -> Result<(), Error> {
    let job = Job::named(id);
    let state = if operation.kind == OperationKind::Image {
        context.image_model_named(&operation.model)?.state(&job).await
    } else {
        context.video_model_named(&operation.model)?.state(&job).await
    };
    match state {
        // One that failed is known as well, and what it cost.
        Ok(_) => Ok(()),
        Err(failure)
            if matches!(failure.class, FailureClass::Generation | FailureClass::Policy) =>
        {
            Ok(())
        }
        Err(failure) => {
            let message = format!(
                "{} does not confirm the job {id}; nothing was changed",
                operation.provider
            );
            Err(Error::usage(message)
                .because(failure)
                .hint("look its id up on the provider's page, or say --charged or --not-charged"))
        }
    }
}

/// The user's word on what could not be found out: from a flag, or from the person at the terminal.
async fn answer(
    arguments: &RecoverArgs,
    context: &Context,
    operation: &Operation,
    shot: Option<u32>,
    why: &str,
) -> Result<Option<Decision>, Error> {
    if let Some(decision) = arguments.decision() {
        return Ok(Some(decision));
    }
    let output = &context.output;
    if !output.can_prompt() {
        return Ok(None);
    }
    output.status(format!("{}\n  {why}", headline(operation, shot)));
    if let Some(prompt) = prompt_of(operation) {
        output.status(format!("  “{prompt}”"));
    }
    let question = "Was it bought? c = yes, and lost; n = no; a job's id = fetch it; later";
    loop {
        let text = output.ask_text(question, "later", &context.cancel).await?;
        match text.trim() {
            "" | "later" | "l" => return Ok(None),
            "c" | "charged" => return Ok(Some(Decision::Charged)),
            "n" | "not charged" => return Ok(Some(Decision::NotCharged)),
            id if id.len() >= 8 && !id.contains(char::is_whitespace) => {
                return Ok(Some(Decision::Adopt(id.to_owned())));
            }
            _ => output.warning("that is none of these"),
        }
    }
}

/// The start of the prompt that was sent, so that it is recognised on the provider's page.
fn prompt_of(operation: &Operation) -> Option<String> {
    let request = operation.request.as_ref()?;
    let prompt = request["prompt"].as_str().or_else(|| request["input"]["prompt"].as_str())?;
    let mut start: String = prompt.chars().take(70).collect();
    if start.len() < prompt.len() {
        start.push('…');
    }
    Some(start)
}

fn headline(operation: &Operation, shot: Option<u32>) -> String {
    let shot = shot.map_or_else(String::new, |shot| format!("shot {shot}, "));
    let sent = operation.sent_at.unwrap_or(operation.created_at).strftime("%Y-%m-%d %H:%M UTC");
    format!(
        "{}  {shot}{} of {} ({}), sent {sent}",
        operation.id.short(),
        operation.kind.as_str(),
        operation.model,
        operation.reserved_usd
    )
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Found(job) => format!("it is the provider's job {}", job.request_id),
        Verdict::NotCharged(why)
        | Verdict::Charged(why)
        | Verdict::NotYet(why)
        | Verdict::Undecided(why) => why.clone(),
    }
}

const fn outcome(state: OperationState) -> &'static str {
    match state {
        OperationState::FailedNotCharged => "not_charged",
        OperationState::FailedCharged => "charged",
        OperationState::Unknown | OperationState::Submitting | OperationState::Planned => "unknown",
        OperationState::Submitted | OperationState::Ready | OperationState::Kept => "found",
    }
}

fn finding(operation: &Operation, shot: Option<u32>, outcome: &'static str, why: &str) -> Finding {
    Finding {
        operation_id: operation.id,
        run_id: operation.run_id,
        shot,
        kind: operation.kind,
        provider: operation.provider.clone(),
        model: operation.model.clone(),
        ceiling_usd: operation.reserved_usd,
        sent_at: operation.sent_at,
        outcome,
        why: why.to_owned(),
    }
}

/// Prints what was found out. What stays unknown ends with exit code 7.
fn finish(report: &Report, context: &Context) -> Result<(), Error> {
    let output = &context.output;
    let unknown: Vec<_> =
        report.operations.iter().filter(|finding| finding.outcome == "unknown").collect();
    if output.is_json() {
        output.json(report);
    } else {
        show(report, output);
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let at_stake: Usd = unknown.iter().map(|finding| finding.ceiling_usd).sum();
    let remain = if unknown.len() == 1 { "remains" } else { "remain" };
    let mut error = Error::new(
        Kind::MoneyUnknown,
        format!("{} of unknown outcome {remain}, for at most {at_stake}", calls(unknown.len())),
    )
    .hint("look at the provider's own list of requests, then say what you saw:");
    for finding in unknown {
        let id = finding.operation_id.short();
        error = error.hint(format!("aida recover {id} --not-charged | --charged | --job ID"));
    }
    Err(error.reported())
}

fn calls(number: usize) -> String {
    if number == 1 { "1 call".to_owned() } else { format!("{number} calls") }
}

fn show(report: &Report, output: &Output) {
    for finding in &report.operations {
        let shot = finding.shot.map_or_else(String::new, |shot| format!("shot {shot}, "));
        let mark = match finding.outcome {
            "found" => "found",
            "not_charged" => "not charged",
            "charged" => "charged",
            "busy" => "busy",
            _ => "unknown",
        };
        output.data(format!(
            "{}  {mark:<11}  {shot}{} of {} ({}): {}",
            finding.operation_id.short(),
            finding.kind.as_str(),
            finding.model,
            finding.ceiling_usd,
            finding.why
        ));
    }
    if report.lost_replies > 0 {
        output.status(format!(
            "{} of language models or embedders had no answer; at most {} is booked for them, and \
             nobody can be asked",
            calls(report.lost_replies),
            report.lost_replies_usd
        ));
    }
    if report.operations.is_empty() && report.lost_replies == 0 {
        output.status("No paid call is of unknown outcome.");
    }
    let mut runs: Vec<_> = report
        .operations
        .iter()
        .filter(|finding| matches!(finding.outcome, "found" | "not_charged"))
        .filter_map(|finding| finding.run_id)
        .collect();
    runs.dedup();
    for run in runs {
        output.hint(format!("go on with it: aida resume {}", run.short()));
    }
}
