//! `aida serve`: the same work over HTTP, for programs and web pages.
//!
//! A request is somebody's (`caller`), and sees only what is theirs. What makes films only puts them into the
//! queue; the floor of this process, or `aida work` on any host, makes them.

mod api;
mod caller;
mod counts;
mod door;
mod followers;
mod views;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use clap::Args;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::net::TcpListener;
use tokio::sync::{Notify, RwLock};
use tokio_util::sync::CancellationToken;

use crate::cli::settings::Override;
use crate::cli::settings::serve::Serve;
use crate::commands::create_video::folder_for_films;
use crate::commands::health::{self, HealthReport};
use crate::commands::work::{TRIES, drain_after};
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ids::RunId;
use crate::ledger::money::Usd;
use crate::memory::reuse::ReusePolicy;
use crate::store::queue::Which;
use crate::studio::StudioError;
use crate::studio::events::Event;
use crate::studio::film::Ffmpeg;
use crate::studio::floor::{Floor, Until, Watch};
use crate::studio::making::{Stop, VideoReport};
use crate::studio::producer::Producer;
use counts::Counts;
use followers::{Followers, Place};

/// How often everything that aida stands on is probed.
const PROBE: Duration = Duration::from_mins(1);
/// How long what is under way may go on after the first signal: requests, and films.
const DRAIN: Duration = Duration::from_secs(20);
/// How many users at their limit one address may stand for.
const USERS_OF_AN_ADDRESS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Arguments of `aida serve`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Serve the same work over HTTP",
    long_about = "Serve the same work over HTTP, for programs and web pages.\n\n\
        A POST that makes a film is the yes to what it costs, up to --run-budget (serve.run_budget_usd), \
        without which nothing is served. It listens on this machine alone; any other address needs \
        tokens (serve.tokens), each of which names its user. Without a token a caller on this machine \
        is who it says it is: userId in the body, ?userId=, or the header X-Aida-User.\n\n\
        The description of all routes is served as /openapi.json. Films are made by this process \
        (--jobs) and by `aida work` on any host of the same database.",
    after_help = "\
Examples:
  aida serve --run-budget 5
  curl -d '{\"userId\": \"ada\", \"message\": \"food video\"}' \\
       -H 'content-type: application/json' http://127.0.0.1:3003/api/orchestrator/create-video
  AIDA_SERVE_TOKENS=ada:$(openssl rand -hex 16) aida serve --run-budget 5 --listen 0.0.0.0
  aida serve --run-budget 5 --jobs 0      leaves the films to `aida work`"
)]
pub struct ServeArgs {
    /// What one film may cost, in USD
    #[arg(long, value_name = "USD")]
    pub run_budget: Option<String>,
    /// The port [default: 3003]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// The addresses, with commas between [default: 127.0.0.1, ::1]
    #[arg(long, value_name = "ADDRESSES")]
    pub listen: Option<String>,
    /// Films that are made at once; 0 leaves them to `aida work` [default: 8]
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
}

impl ServeArgs {
    /// The settings that these flags override.
    pub fn overrides(&self) -> Vec<Override> {
        [
            ("serve.run_budget_usd", "--run-budget", &self.run_budget),
            ("serve.port", "--port", &self.port),
            ("serve.listen", "--listen", &self.listen),
            ("serve.jobs", "--jobs", &self.jobs),
        ]
        .into_iter()
        .filter_map(|(name, flag, value)| Some(Override { name, flag, value: value.clone()? }))
        .collect()
    }
}

/// What every request is answered with.
pub(crate) struct House {
    context: Context,
    producer: Producer,
    run_budget: Usd,
    /// Rung when something was queued.
    bell: Arc<Notify>,
    health: RwLock<Option<(HealthReport, Instant)>>,
    /// Requests of each user, and of each address.
    users: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<String>,
    /// Callers that follow a film or wait for it.
    followers: Arc<Followers>,
    counts: Arc<Counts>,
    /// Where films go that are asked for over HTTP.
    folder: PathBuf,
    /// Set when no more is to be answered for long.
    closing: CancellationToken,
}

impl House {
    fn settings(&self) -> &Serve {
        &self.context.settings.serve
    }

    /// A place among a user's who follow a film or wait for it, of which there are so many.
    fn place_to_follow(&self, user: &str) -> Result<Place, api::Problem> {
        let place = self.followers.take(user);
        place.ok_or_else(|| api::Problem::too_many("too many follow films already", 10))
    }
}

/// Serves until it is stopped.
pub async fn run(_arguments: &ServeArgs, context: &Context) -> Result<(), Error> {
    let serve = &context.settings.serve;
    let run_budget = serve.run_budget.ok_or_else(|| {
        Error::settings(
            "a POST is the yes to what a film costs, and nobody said how much that may be",
        )
        .hint("say it with --run-budget USD, serve.run_budget_usd or AIDA_SERVE_RUN_BUDGET_USD")
    })?;
    let is_open = serve.listen.iter().any(|address| !address.is_loopback());
    if is_open && serve.tokens.is_empty() {
        return Err(Error::settings("other machines could call this, and no token is asked for")
            .hint("set serve.tokens (AIDA_SERVE_TOKENS), or listen on this machine alone"));
    }
    if serve.jobs > 0 {
        context.require(&Service::FILM)?;
        Ffmpeg::find(context.settings.ffmpeg.clone()).await.map_err(StudioError::from)?;
    }
    let folder = films_folder(context)?;
    let listeners = listeners(&serve.listen, serve.port).await?;
    let (counts, bell) = (Arc::new(Counts::default()), Arc::new(Notify::new()));
    let producer = context.producer().await?;
    let per_minute = NonZeroU32::new(serve.requests_per_minute).unwrap_or(NonZeroU32::MIN);
    let closing = CancellationToken::new();
    let house = Arc::new(House {
        context: context.clone(),
        producer: producer.clone(),
        run_budget,
        bell: bell.clone(),
        health: RwLock::new(None),
        users: RateLimiter::keyed(Quota::per_minute(per_minute)),
        addresses: RateLimiter::keyed(Quota::per_minute(
            per_minute.saturating_mul(USERS_OF_AN_ADDRESS),
        )),
        followers: Arc::default(),
        counts: counts.clone(),
        folder,
        closing: closing.clone(),
    });
    let probing = tokio::spawn(probe(house.clone()));
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            context.output.status(format!("listening on http://{address}"));
        }
    }
    let stop = CancellationToken::new();
    tokio::spawn(drain_after(context.cancel.clone(), stop.clone(), DRAIN));
    let floor = Floor {
        producer,
        crew: Arc::new(context.clone()),
        watch: Arc::new(Counter(counts)),
        which: Which::All,
        jobs: usize::try_from(serve.jobs).unwrap_or_default(),
        tries: TRIES,
        reuse: context.settings.reuse.filter(|policy| *policy != ReusePolicy::Ask),
        bell,
    };
    let app = api::router(&house);
    let working = async {
        if serve.jobs == 0 {
            context.cancel.cancelled().await;
            return Ok(());
        }
        let worked = floor.work(Until::Closed, &context.cancel, &stop).await;
        // Nobody is to give orders that nobody takes.
        context.cancel.cancel();
        worked
    };
    let answering = answer(listeners, app, context.cancel.clone(), closing);
    let (worked, ()) = tokio::join!(working, answering);
    probing.abort();
    worked?;
    context.output.status("stopped; what was not finished stays in the queue");
    Ok(())
}

/// Where films go that are asked for over HTTP, proven to take a file.
fn films_folder(context: &Context) -> Result<PathBuf, Error> {
    let settings = &context.settings;
    let wanted = settings.videos_dir.clone().unwrap_or_else(|| settings.data_dir.join("videos"));
    folder_for_films(&wanted)
}

/// Opens every address, of which at least one must work.
async fn listeners(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    let mut trouble = None;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // Many machines and containers have no IPv6, and say so in many ways.
            Err(error)
                if address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST)
                    && error.kind() != std::io::ErrorKind::AddrInUse
                    && !listeners.is_empty() =>
            {
                tracing::info!(%address, %error, "this machine has no such address");
            }
            Err(error) => trouble = Some((address, error)),
        }
    }
    match trouble {
        Some((address, error)) => Err(Error::settings(format!("cannot listen on {address}"))
            .because(error)
            .hint("choose another with --port or --listen")),
        None if listeners.is_empty() => Err(Error::settings("there is no address to listen on")),
        None => Ok(listeners),
    }
}

/// Answers requests until the stop is asked for, and those under way for a while longer.
async fn answer(
    listeners: Vec<TcpListener>,
    app: Router,
    stop: CancellationToken,
    closing: CancellationToken,
) {
    let mut doors = tokio::task::JoinSet::new();
    for listener in listeners {
        doors.spawn(door::keep(listener, app.clone(), stop.clone()));
    }
    stop.cancelled().await;
    closing.cancel();
    let _ = tokio::time::timeout(DRAIN, async { while doors.join_next().await.is_some() {} }).await;
}

/// Probes everything now and then, so that nobody who asks has to wait for it.
async fn probe(house: Arc<House>) {
    loop {
        let report = health::look(&house.context).await;
        *house.health.write().await = Some((report, Instant::now()));
        // Whoever has not asked for a while is forgotten.
        house.users.retain_recent();
        house.addresses.retain_recent();
        tokio::time::sleep(PROBE).await;
    }
}

/// Counts what happens on the floor.
struct Counter(Arc<Counts>);

impl Watch for Counter {
    fn begins(&self, _run: RunId) {
        self.0.film_begins();
    }

    fn told(&self, _run: RunId, _event: &Event) {}

    fn ended(&self, _run: RunId, result: &Result<VideoReport, Stop>) {
        self.0.film_ends(match result {
            Ok(report) => report.status,
            Err(stop) => stop.word(),
        });
    }
}

/// The HTTP status that a kind of trouble is answered with.
const fn http_status(kind: Kind) -> u16 {
    match kind {
        Kind::Usage | Kind::NeedsYes => 422,
        Kind::Budget => 402,
        Kind::Locked | Kind::MoneyUnknown | Kind::Partial | Kind::Check | Kind::Settings => 409,
        Kind::Provider => 502,
        Kind::Database | Kind::Interrupted | Kind::Terminated | Kind::Deadline => 503,
        Kind::Internal => 500,
    }
}
