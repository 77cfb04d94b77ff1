//! Why a run is where it is: the stage, the provider's words, whose trouble it is, what became of the
//! money, and what to type next. Pure: it reads rows and decides.

mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use table::{Trouble, classify, of_provider_stop, of_stop, of_stop_reason};

use crate::ids::{OperationId, ProjectId, RunId};
use crate::ledger::money::Usd;
use crate::process::Liveness;
use crate::providers::{FailureClass, Provider, ProviderError};
use crate::store::bills::Line;
use crate::store::runs::Run;

/// What is known of a run.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Its row.
    pub run: &'a Run,
    /// Its operations, oldest first.
    pub lines: &'a [Line],
    /// The vendor's word for how the last turn of the language model ended.
    pub last_stop_reason: Option<&'a str>,
    /// Whether the process that holds its lease lives.
    pub liveness: Liveness,
    /// The time.
    pub now: Timestamp,
    /// The providers whose keys stand outside config.toml, and what changes them.
    pub keys_elsewhere: &'a [(Provider, String)],
}

/// Why a run is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The run.
    pub run_id: RunId,
    /// Its project.
    pub project_id: ProjectId,
    /// `done`, `partial`, `running`, `stopped` or `failed`.
    pub status: &'static str,
    /// Where it stands.
    pub stage: String,
    /// What happened, in a sentence.
    pub summary: String,
    /// Whose trouble it is.
    pub trouble: Option<Trouble>,
    /// The calls that went wrong and were not made good.
    pub failures: Vec<Failure>,
    /// Calls that went wrong on the way and were made good.
    pub overcome: usize,
    /// Calls that went wrong before, of steps that nothing has made good.
    pub earlier: usize,
    /// What is known to be spent, USD.
    pub settled_usd: Usd,
    /// The ceilings of the calls whose outcome is unknown, USD.
    pub unknown_usd: Usd,
    /// What paid for kept images and clips, USD: none of it is bought again.
    pub kept_usd: Usd,
    /// The commands to type next, the likeliest first.
    pub next: Vec<String>,
}

/// One call that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The operation.
    pub operation_id: OperationId,
    /// Which step it was.
    pub stage: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Whose trouble it is.
    pub trouble: Trouble,
    /// What that means.
    pub means: String,
    /// The provider's own words.
    pub words: String,
    /// HTTP status, or the code in KIE's envelope.
    pub status: Option<u16>,
    /// The provider's own code.
    pub code: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// What became of the money.
    pub money: String,
}

/// Finds out why a run is where it is.
pub fn diagnose(facts: &Facts<'_>) -> Diagnosis {
    let run = facts.run;
    let (failures, overcome, earlier) = failures(facts.lines);
    let is_driven = run.owner.is_some()
        && facts.liveness != Liveness::Dead
        && (facts.liveness == Liveness::Alive
            || run.owner_until.is_some_and(|until| until > facts.now));
    let status = match run.state.as_str() {
        _ if is_driven => "running",
        "done" => "done",
        "partial" => "partial",
        "failed" => "failed",
        _ => "stopped",
    };
    let sum = |of: &dyn Fn(&Line) -> Option<Usd>| facts.lines.iter().filter_map(of).sum::<Usd>();
    let mut diagnosis = Diagnosis {
        run_id: run.id,
        project_id: run.project_id,
        status,
        stage: run.state.clone(),
        summary: String::new(),
        trouble: None,
        failures,
        overcome,
        earlier,
        settled_usd: sum(&|line| line.settled_usd),
        unknown_usd: sum(&|line| {
            (line.charge_state.as_deref() == Some("unknown")).then_some(line.reserved_usd)
        }),
        kept_usd: sum(&|line| {
            let is_take = matches!(line.kind.as_str(), "image" | "clip");
            line.settled_usd.filter(|_| is_take && line.operation_state == "kept")
        }),
        next: Vec::new(),
    };
    match status {
        "running" => running(&mut diagnosis, facts),
        "done" => {
            "It went well.".clone_into(&mut diagnosis.summary);
            (diagnosis.failures, diagnosis.earlier) = (Vec::new(), 0);
        }
        _ => stopped(&mut diagnosis, facts),
    }
    diagnosis
}

fn running(diagnosis: &mut Diagnosis, facts: &Facts<'_>) {
    let owner = facts.run.owner.as_deref().unwrap_or_default();
    let process = owner.split('/').nth(1).unwrap_or("?");
    diagnosis.summary = match (facts.liveness, facts.run.owner_until) {
        (Liveness::Alive, _) => format!("Process {process} on this machine drives it now."),
        (_, Some(until)) => format!(
            "Process {process} on another machine drives it; its lease lasts until {}.",
            until.strftime("%H:%M:%S UTC")
        ),
        _ => format!("Process {process} drives it."),
    };
    (diagnosis.failures, diagnosis.earlier) = (Vec::new(), 0);
}

fn stopped(diagnosis: &mut Diagnosis, facts: &Facts<'_>) {
    let run = facts.run;
    let word = run.stopped_by.as_deref();
    let stop = word.and_then(of_stop);
    let turn = facts.last_stop_reason.filter(|_| word == Some("team")).and_then(of_stop_reason);
    let worst = diagnosis.failures.iter().find(|failure| failure.money.starts_with("unknown"));
    let worst = worst.or_else(|| diagnosis.failures.first());
    let message = run.stop_message.as_deref().unwrap_or_default();
    let (message, raise) = message.split_once(RAISE).unwrap_or((message, ""));
    let (trouble, means) = match (turn.or(stop), worst) {
        (Some((trouble, means)), _) => (Some(trouble), means.to_owned()),
        (None, Some(failure)) => (Some(failure.trouble), failure.means.clone()),
        (None, None) if run.state == "partial" => (None, "some shots are missing".to_owned()),
        // Its process ended without a word.
        (None, None) if run.owner.is_some() => {
            (Some(Trouble::Local), "its process ended without a word".to_owned())
        }
        (None, None) if word.is_none() => (None, "it waits to be gone on with".to_owned()),
        (None, None) => {
            let (trouble, means) = of_provider_stop(word.unwrap_or_default());
            (Some(trouble), means.to_owned())
        }
    };
    if let Some(failure) = worst.filter(|_| stop.is_none()) {
        diagnosis.stage.clone_from(&failure.stage);
    }
    let mut summary = match diagnosis.status {
        "partial" => "The film was cut without some of its shots".to_owned(),
        "failed" => "It has failed for good".to_owned(),
        _ => format!("It stopped while {}", while_doing(&run.state)),
    };
    summary = format!("{summary}: {means}.");
    if !message.is_empty()
        && !diagnosis.failures.iter().any(|failure| message.ends_with(&failure.words))
    {
        summary = format!("{summary} {message}");
    }
    diagnosis.summary = summary;
    diagnosis.trouble = trouble;
    diagnosis.next = next(diagnosis, facts, word, raise);
}

/// Between what stopped a run and the command that raises the cap which did.
pub const RAISE: &str = "; raise it with: ";

fn while_doing(state: &str) -> &'static str {
    match state {
        "writing" => "writing",
        "planned" => "waiting for a yes",
        "cutting" => "cutting the film",
        _ => "shooting",
    }
}

/// The commands to type next.
fn next(diagnosis: &Diagnosis, facts: &Facts<'_>, word: Option<&str>, raise: &str) -> Vec<String> {
    let run = facts.run;
    let (id, project) = (run.id.short(), run.project_id.short());
    let resume = format!("aida resume {id}");
    let mut commands: Vec<String> = Vec::new();
    match word {
        Some("budget") if raise.contains("set run ") => {
            return vec![format!("{resume} --budget USD")];
        }
        Some("budget") if !raise.is_empty() => return vec![raise.to_owned(), resume],
        Some("budget") => return vec![format!("{resume} --budget USD")],
        Some("needs_yes") => return vec![format!("{resume} --yes")],
        Some("unpriced") => return vec!["aida prices".to_owned(), resume],
        Some("database") => return vec!["aida health".to_owned(), resume],
        Some("team") => {
            return vec!["aida create-video BRIEF".to_owned(), "aida costs --last 1".to_owned()];
        }
        _ if diagnosis.status == "failed" => return vec!["aida create-video BRIEF".to_owned()],
        Some("damaged") => return vec![format!("aida why {id} --json")],
        _ => {}
    }
    let unknown = diagnosis.failures.iter().any(|failure| failure.money.starts_with("unknown"));
    if unknown || word == Some("unknown_money") {
        commands.push(format!("aida recover {id}"));
    }
    for failure in &diagnosis.failures {
        commands.extend(next_after(failure, &id, &project));
    }
    match diagnosis.trouble {
        Some(Trouble::Local) if matches!(word, Some("local")) => {
            commands.push("aida health".to_owned());
        }
        Some(Trouble::Credentials) => {
            commands.push(new_key(diagnosis, facts));
            commands.push("aida health".to_owned());
        }
        Some(Trouble::Fault) => commands.push(format!("aida why {id} --json")),
        _ => {}
    }
    if diagnosis.status != "partial" || commands.is_empty() {
        commands.push(resume);
    }
    let mut seen = std::collections::BTreeSet::new();
    commands.retain(|command| seen.insert(command.clone()));
    commands
}

/// What changes a wrong key: config.toml does not where the key stands in something stronger.
fn new_key(diagnosis: &Diagnosis, facts: &Facts<'_>) -> String {
    let refused = |failure: &&Failure| failure.trouble == Trouble::Credentials;
    let refusing = diagnosis.failures.iter().find(refused).map(|failure| &failure.provider);
    let elsewhere = facts
        .keys_elsewhere
        .iter()
        .find(|(provider, _)| refusing.is_some_and(|refusing| refusing == provider.as_str()));
    elsewhere.map_or_else(|| "aida config init".to_owned(), |(_, change)| change.clone())
}

/// What helps against one failure, beside going on.
fn next_after(failure: &Failure, run: &str, project: &str) -> Option<String> {
    let shot = failure.stage.rsplit_once("shot ").map(|(_, number)| number);
    let another = match failure.provider.as_str() {
        "kie" if failure.model.starts_with("nano") => Some("--image-model midjourney-7-fast"),
        "kie" => Some("--image-model nano-banana-2"),
        "fal" if failure.model == "kling-3-pro" => Some("--video-model kling-2.6-pro"),
        "fal" => Some("--video-model kling-3-pro"),
        _ => None,
    };
    if failure.money.starts_with("charged") {
        return shot.map(|shot| format!("aida retake {project} --shot {shot}"));
    }
    match (failure.trouble, another) {
        (Trouble::Policy | Trouble::Input, Some(flag)) => Some(format!("aida resume {run} {flag}")),
        (Trouble::Capacity, Some(flag))
            if matches!(failure.status, Some(404 | 422 | 455 | 505)) =>
        {
            Some(format!("aida resume {run} {flag}"))
        }
        (Trouble::Capacity | Trouble::Network, Some(_)) => Some(format!("aida resume {run}")),
        _ => None,
    }
}

/// What went wrong and was not made good: of each step the last call, if it failed. And how many
/// went wrong before a later one went well, and how many before one that did not.
fn failures(lines: &[Line]) -> (Vec<Failure>, usize, usize) {
    // Of each step its last call, and how many have failed with it.
    let mut last: BTreeMap<(Option<i32>, &str, &str), (&Line, usize)> = BTreeMap::new();
    for line in lines {
        let step = match line.kind.as_str() {
            "language" | "embedding" => (None, line.kind.as_str(), ""),
            kind => (line.shot, kind, line.component.as_str()),
        };
        let before = last.get(&step).map_or(0, |(_, failed)| *failed);
        last.insert(step, (line, before + usize::from(has_failed(line))));
    }
    let (mut kept, mut overcome, mut earlier) = (Vec::new(), 0, 0);
    for (line, failed) in last.into_values() {
        if has_failed(line) {
            kept.push(failure(line));
            earlier += failed - 1;
        } else if matches!(line.operation_state.as_str(), "ready" | "kept") {
            overcome += failed;
        } else {
            earlier += failed;
        }
    }
    (kept, overcome, earlier)
}

fn has_failed(line: &Line) -> bool {
    match line.operation_state.as_str() {
        // What was planned and then given up has not failed.
        "failed_not_charged" => line.failure.is_some(),
        "failed_charged" | "unknown" | "submitting" => true,
        _ => false,
    }
}

/// What is read of an operation's failure.
fn failure(line: &Line) -> Failure {
    let written = line.failure.clone().unwrap_or(Value::Null);
    let decision = written["decision"].as_str().map(str::to_owned);
    let error = serde_json::from_value::<ProviderError>(complete(written, line)).ok();
    let (trouble, means) = match &error {
        Some(error) => classify(error),
        None => (Trouble::Network, "it was cut off while it was being sent"),
    };
    let money = match (line.operation_state.as_str(), line.settled_usd) {
        ("failed_charged", settled) => {
            format!("charged {}", settled.unwrap_or(line.reserved_usd).exact())
        }
        ("failed_not_charged", _) => "not charged".to_owned(),
        _ => format!("unknown, up to {}", line.reserved_usd.exact()),
    };
    Failure {
        operation_id: line.operation_id,
        stage: stage(line),
        provider: line.provider.clone(),
        model: line.model.clone(),
        trouble,
        means: decision.map_or_else(|| means.to_owned(), |decision| format!("{means}; {decision}")),
        words: error
            .as_ref()
            .map_or_else(|| "nothing was heard back".to_owned(), |error| error.message.clone()),
        status: error.as_ref().and_then(|error| error.status),
        code: error.as_ref().and_then(|error| error.code.clone()),
        request_id: line.request_id.clone().or_else(|| error.and_then(|error| error.request_id)),
        money,
    }
}

/// What a decision wrote need not be a whole error: what it left out is said here.
fn complete(written: Value, line: &Line) -> Value {
    let Value::Object(mut fields) = written else { return Value::Null };
    for (name, default) in [
        ("provider", Value::from(line.provider.clone())),
        ("class", Value::from("network")),
        ("money", Value::from("unknown")),
        ("message", Value::from("")),
        ("status", Value::Null),
        ("code", Value::Null),
        ("request_id", Value::Null),
        ("retry_after", Value::Null),
    ] {
        fields.entry(name).or_insert(default);
    }
    // The names of the books and of the type differ in one place.
    if fields["provider"] == "openai" {
        fields.insert("provider".to_owned(), serde_json::json!(Provider::OpenAi));
    }
    if serde_json::from_value::<FailureClass>(fields["class"].clone()).is_err() {
        fields.insert("class".to_owned(), Value::from("network"));
    }
    Value::Object(fields)
}

/// Which step a call is, for people.
fn stage(line: &Line) -> String {
    let shot = line.shot.map_or_else(String::new, |shot| format!(" of shot {shot}"));
    match (line.kind.as_str(), line.component.as_str()) {
        ("language", "conversation") => "writing (the orchestrator)".to_owned(),
        ("language", role) => format!("writing (the {role})"),
        ("embedding", _) => "remembering".to_owned(),
        ("upload", _) => format!("upload of the keyframe{shot}"),
        ("image", _) => format!("keyframe{shot}"),
        _ => format!("clip{shot}"),
    }
}

#[cfg(test)]
mod tests;
