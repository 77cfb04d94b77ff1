//! `aida work`: takes queued films from the database and makes them, on any number of hosts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::args::duration;
use crate::commands::failures::kind_of_stop;
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ids::RunId;
use crate::memory::reuse::ReusePolicy;
use crate::store::queue::Which;
use crate::studio::StudioError;
use crate::studio::events::Event;
use crate::studio::film::Ffmpeg;
use crate::studio::floor::{Floor, JOBS, Until, Watch};
use crate::studio::making::{Stop, VideoReport};

/// How often a film is taken up again after passing trouble: 30 s, 2, 8 and 32 minutes later.
pub(crate) const TRIES: u32 = 4;
/// How long films under way may go on after the first signal, where nobody says.
const DRAIN: Duration = Duration::from_secs(20);

/// Arguments of `aida work`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Make queued films, beside any number of other hosts",
    long_about = "Make queued films, beside any number of other hosts on one database.\n\n\
        Films are queued by `aida serve` and `aida batch --detach`. Each is made by one host at a time: \
        whoever holds its lease. A host that dies or sleeps loses its films to others, which go on \
        where it stopped; what it had sent is asked about and never sent again. Caps and provider \
        limits hold across all hosts.\n\n\
        The first SIGTERM or Ctrl-C takes no more films and gives those under way --drain time; then \
        they are stopped at a point from which any host can go on. The hosts need the same keys, and \
        the folders that films and the user's pictures are kept in, shared or under the same path.",
    after_help = "\
Examples:
  aida work                         until it is stopped
  aida work --jobs 20 --drain 5m
  aida work --until-empty --json    makes what is queued and leaves, for cron"
)]
pub struct WorkArgs {
    /// Films that are made at once
    #[arg(long, value_name = "N", default_value_t = JOBS, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub jobs: u16,
    /// How long films under way may go on after the first signal [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub drain: Option<Duration>,
    /// Leave when nothing is queued any more
    #[arg(long)]
    pub until_empty: bool,
}

/// Works until it is stopped.
pub async fn run(arguments: &WorkArgs, context: &Context) -> Result<(), Error> {
    // A host that lacks something would stop every film that it takes.
    context.require(&Service::FILM)?;
    Ffmpeg::find(context.settings.ffmpeg.clone()).await.map_err(StudioError::from)?;
    let output = &context.output;
    let teller = Arc::new(Teller { context: context.clone(), stopped: Mutex::default() });
    let floor = Floor {
        producer: context.producer().await?,
        crew: Arc::new(context.clone()),
        watch: teller.clone(),
        which: Which::All,
        jobs: usize::from(arguments.jobs),
        tries: TRIES,
        reuse: context.settings.reuse.filter(|policy| *policy != ReusePolicy::Ask),
        bell: Arc::new(Notify::new()),
    };
    output.status(format!("working on up to {} films at once", arguments.jobs));
    let until = if arguments.until_empty { Until::Done } else { Until::Closed };
    let stop = CancellationToken::new();
    let drain = arguments.drain.unwrap_or(DRAIN);
    tokio::spawn(drain_after(context.cancel.clone(), stop.clone(), drain));
    floor.work(until, &context.cancel, &stop).await?;
    if context.cancel.is_cancelled() && arguments.until_empty {
        return Err(Error::new(Kind::Interrupted, "stopped; the films stay in the queue"));
    }
    output.status("no film is under way here any more");
    if arguments.until_empty { teller.verdict() } else { Ok(()) }
}

/// Stops the films under way when the time to drain is over.
pub(crate) async fn drain_after(
    close: CancellationToken,
    stop: CancellationToken,
    drain: Duration,
) {
    close.cancelled().await;
    tokio::time::sleep(drain).await;
    stop.cancel();
}

/// Says what happens, in lines.
struct Teller {
    context: Context,
    /// The runs that stopped, or lack shots, and are not taken up again here.
    stopped: Mutex<HashMap<RunId, Kind>>,
}

impl Watch for Teller {
    fn begins(&self, run: RunId) {
        self.say(run, "begins");
    }

    fn told(&self, run: RunId, event: &Event) {
        if let Event::Note { message } = event {
            self.say(run, message);
        }
    }

    fn ended(&self, run: RunId, result: &Result<VideoReport, Stop>) {
        let output = &self.context.output;
        let trouble = match result {
            Ok(report) => (report.status == "partial").then_some(Kind::Partial),
            Err(stop) if matches!(stop.word(), "interrupted" | "taken_over") => None,
            Err(stop) => Some(kind_of_stop(stop.word())),
        };
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(kind) => stopped.insert(run, kind),
            None => stopped.remove(&run),
        };
        match result {
            Ok(report) if output.is_json() => output.json(report),
            Ok(report) => self.say(run, report.status),
            Err(stop) if output.is_json() => output.json(&serde_json::json!({
                "run_id": run,
                "status": "stopped",
                "stopped_by": stop.word(),
                "message": stop.to_string(),
            })),
            Err(stop) => self.say(run, &format!("stopped: {stop}")),
        }
    }
}

impl Teller {
    fn say(&self, run: RunId, what: &str) {
        self.context.output.status(format!("run {}: {what}", run.short()));
    }

    /// What is wrong with the whole: the gravest of what stopped a film.
    fn verdict(&self) -> Result<(), Error> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gravest) = stopped.values().max_by_key(|kind| kind.gravity()) else {
            return Ok(());
        };
        let films = match stopped.len() {
            1 => "1 film is not finished".to_owned(),
            films => format!("{films} films are not finished"),
        };
        Err(Error::new(*gravest, films)
            .hint("`aida resume` lists them, and `aida why RUN` tells what stopped one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::keys;

    #[test]
    fn whoever_makes_films_makes_as_many_at_once() {
        let of_serve = keys::find("serve.jobs").and_then(|key| key.default);
        assert_eq!(of_serve, Some(JOBS.to_string().as_str()));
    }
}
