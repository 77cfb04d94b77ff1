//! `aida why`: what went wrong with a run, what became of the money, and what to type next.

use std::fmt::Write as _;

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::cli::settings::Source;
use crate::cli::tables::wrap;
use crate::commands::{Context, Service};
use crate::error::Error;
use crate::process::{self, Liveness};
use crate::providers::Provider;
use crate::store::reuse::{self, Reuse};
use crate::store::runs::{self, Run};
use crate::store::{bills, operations};
use crate::studio::making::ReusedLine;
use crate::studio::why::{Diagnosis, Facts, diagnose};

/// Arguments of `aida why`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Say what went wrong with a run, and what to type next",
    long_about = "Say what went wrong with a run: at which step, in the provider's words, whose \
        trouble it is, what became of the money, and what to type next. Free; asks nobody.",
    after_help = "\
Examples:
  aida why --last
  aida why 23456789
  aida why 23456789 --json",
    group = ArgGroup::new("which_run").args(["run", "last"]).required(true)
)]
pub struct WhyArgs {
    /// The run or its project, by its id or the end of it
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The latest run
    #[arg(long)]
    pub last: bool,
}

/// The diagnosis as scripts read it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
    /// The kept takes of earlier films that it uses again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reused: Vec<ReusedLine>,
}

/// Prints the diagnosis.
pub async fn run(arguments: &WhyArgs, context: &Context) -> Result<(), Error> {
    let user = &context.settings.user;
    let mut session = context.store().await?.session().await?;
    let found = match &arguments.run {
        Some(typed) => runs::find(&mut session, user, typed).await?.into_iter().next(),
        None => runs::latest(&mut session, user).await?,
    };
    let Some(run) = found else {
        session.close().await;
        return Err(nothing(arguments.run.as_deref()));
    };
    let lines = bills::of_run(&mut session, run.id).await?;
    let reply = operations::last_reply(&mut session, run.id).await?;
    let mut reused = reuse::of_project(&mut session, run.project_id).await?;
    session.close().await;
    reused.retain(|reuse| reuse.run_id == Some(run.id));

    let stop = reply.as_ref().and_then(|reply| stop_reason(&reply["stop"]));
    let diagnosis = diagnose(&Facts {
        run: &run,
        lines: &lines,
        last_stop_reason: stop.as_deref(),
        liveness: run.owner.as_deref().map_or(Liveness::Dead, process::liveness),
        now: context.clock.now(),
        keys_elsewhere: &keys_elsewhere(context),
    });
    let output = &context.output;
    if output.is_json() {
        let reused = reused.iter().map(ReusedLine::from).collect();
        output.json(&Report { schema: 1, diagnosis: &diagnosis, reused });
    } else {
        output.data(page(&run, &diagnosis, &reused, usize::from(output.width())));
    }
    Ok(())
}

/// The providers whose keys stand in a variable, and what changes each.
fn keys_elsewhere(context: &Context) -> Vec<(Provider, String)> {
    let services = [
        (Provider::Anthropic, Service::Anthropic),
        (Provider::OpenAi, Service::OpenAi),
        (Provider::Voyage, Service::Voyage),
        (Provider::Compatible, Service::Compatible),
        (Provider::Kie, Service::Kie),
        (Provider::Fal, Service::Fal),
    ];
    let change = |variable: &str| {
        let mut origins = context.settings.origins.iter();
        let origin = origins.find(|origin| origin.key.variable == variable)?;
        match &origin.source {
            Source::Environment(variable) => Some(format!("change {variable} in the environment")),
            Source::EnvFile(variable, path) => {
                Some(format!("change {variable} in {}", path.display()))
            }
            _ => None,
        }
    };
    services
        .into_iter()
        .filter_map(|(provider, service)| Some((provider, change(service.variable())?)))
        .collect()
}

fn nothing(typed: Option<&str>) -> Error {
    match typed {
        Some(typed) => Error::usage(format!("there is no run '{typed}'"))
            .hint("`aida resume` lists the runs that can go on"),
        None => Error::usage("there is no run yet").hint("make one with: aida create-video BRIEF"),
    }
}

/// The vendor's word in a kept reply: text, or an object with the word as its only key.
fn stop_reason(stop: &serde_json::Value) -> Option<String> {
    let word = stop.as_str().or_else(|| stop.as_object()?.keys().next().map(String::as_str));
    word.map(str::to_owned)
}

fn page(run: &Run, diagnosis: &Diagnosis, reused: &[Reuse], width: usize) -> String {
    let mut page = String::new();
    let mut say = |name: &str, text: &str| {
        for (index, line) in wrap(text, width.saturating_sub(10)).iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(page, "{name:<8}  {line}");
        }
    };
    say("run", &format!("{} ({}, {})", run.id.short(), diagnosis.status, diagnosis.stage));
    say("what", &diagnosis.summary);
    if let Some(trouble) = diagnosis.trouble {
        say("whose", trouble.as_str());
    }
    for failure in &diagnosis.failures {
        let mut told = failure.stage.clone();
        let _ = write!(told, ", {} {}: {}", failure.provider, failure.model, failure.means);
        say("step", &told);
        let mut words = format!("“{}”", failure.words);
        let code = failure.code.as_deref().filter(|code| !failure.words.contains(code));
        let status = failure.status.map(|status| status.to_string());
        if let Some(mark) = code.map(str::to_owned).or(status) {
            let _ = write!(words, " ({mark})");
        }
        if let Some(id) = &failure.request_id {
            let _ = write!(words, " request {id}");
        }
        say("", &words);
        say("", &format!("{}, {}", failure.trouble.as_str(), failure.money));
    }
    if diagnosis.earlier > 0 {
        say("", &format!("{} more went wrong before, to no better end.", diagnosis.earlier));
    }
    match diagnosis.overcome {
        0 => {}
        1 => say("", "1 more went wrong on the way and was made good."),
        number => say("", &format!("{number} more went wrong on the way and were made good.")),
    }
    let mut money = format!("{} settled", diagnosis.settled_usd.exact());
    if !diagnosis.kept_usd.is_zero() {
        let kept = diagnosis.kept_usd.exact();
        let _ = write!(money, ", {kept} of it for images and clips that are kept");
    }
    if !diagnosis.unknown_usd.is_zero() {
        let _ = write!(money, "; unknown, up to {}", diagnosis.unknown_usd.exact());
    }
    say("money", &money);
    for (index, reuse) in reused.iter().enumerate() {
        let Reuse { shot, kind, saved_usd, .. } = reuse;
        let words = format!(
            "shot {shot}: the {kind} is reused from {}; {} saved",
            reuse.origin(),
            saved_usd.exact()
        );
        say(if index == 0 { "reused" } else { "" }, &words);
    }
    for (index, command) in diagnosis.next.iter().enumerate() {
        say(if index == 0 { "type" } else { "" }, command);
    }
    page
}
