//! The floor: takes runs from the queue and drives several side by side. `batch`, `serve` and `work` only
//! put runs into the queue; this is the one loop that drives them, on any number of hosts.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::Connection as _;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::ids::RunId;
use crate::memory::reuse::ReusePolicy;
use crate::process;
use crate::providers::LanguageModel;
use crate::store::queue::{self, Leased, Which};
use crate::store::runs::{self, Afterwards};
use crate::store::{StoreError, run_events, taste};
use crate::studio::claim::Claim;
use crate::studio::events::{Event, EventSink, Progress};
use crate::studio::making::{Nobody, Orders, Stop, VideoReport};
use crate::studio::producer::{Media, Producer};

/// Films that are made at once where nobody says. A film's clips wait and are made in about a third of its time:
/// so many films of a few shots keep the forty clips busy that fal makes at once for its best customers.
pub const JOBS: u16 = 20;

/// How often an empty queue is looked at. Runs that this process queues are noticed at once.
const GLANCE: Duration = Duration::from_secs(1);
/// How often a queue is looked at that cannot be read.
const GLANCE_AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// How often what runs tell is written down.
const FLUSH: Duration = Duration::from_millis(400);
/// How often the last of what a run told is offered to a database that does not take it.
const LAST_ATTEMPTS: u32 = 5;
/// The first wait of a run that passing trouble stopped; each is four times as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// How many of a run's latest events wait for a database that is away.
const MOST_EVENTS_KEPT: usize = 1_000;

/// Who works on a run.
#[derive(Default)]
pub struct Cast {
    /// Writes and directs; none where the built-in writer does, or where everything is written.
    pub language: Option<Arc<dyn LanguageModel>>,
    /// Draws, moves and cuts; none for a preview.
    pub media: Option<Media>,
    /// The lengths in seconds that the video model sells, rising.
    pub clip_lengths: Vec<u32>,
}

/// Finds who works on a run, by what its options name.
#[async_trait]
pub trait Crew: Send + Sync {
    /// The cast of a claimed run.
    async fn cast(&self, claim: &Claim) -> Result<Cast, Error>;
}

/// Learns what happens on the floor.
pub trait Watch: Send + Sync {
    /// A run was taken up.
    fn begins(&self, run: RunId);
    /// A run told something.
    fn told(&self, run: RunId, event: &Event);
    /// A run was let go of. With passing trouble it may come back.
    fn ended(&self, run: RunId, result: &Result<VideoReport, Stop>);
}

/// The floor.
#[derive(Clone)]
pub struct Floor {
    /// What every run works with.
    pub producer: Producer,
    /// Who works on it.
    pub crew: Arc<dyn Crew>,
    /// Who looks on.
    pub watch: Arc<dyn Watch>,
    /// Which runs are taken.
    pub which: Which,
    /// How many at once.
    pub jobs: usize,
    /// How often a run is taken up again after passing trouble.
    pub tries: u32,
    /// What is done with kept takes where a run does not say.
    pub reuse: Option<ReusePolicy>,
    /// Tells this floor that something was queued.
    pub bell: Arc<Notify>,
}

/// When the floor closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When nothing of what it takes is queued any more.
    Done,
    /// When it is asked to.
    Closed,
}

impl Floor {
    /// Drives runs until the end. `close` takes no more of them and lets those under way go on; `stop` stops these
    /// too, each at a point from which it can go on.
    ///
    /// A database that is away only makes a floor wait that works until it is closed; else it is an error.
    pub async fn work(
        &self,
        until: Until,
        close: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut under_way = JoinSet::new();
        let mut trouble = None;
        while !close.is_cancelled() && !stop.is_cancelled() && trouble.is_none() {
            let mut pause = GLANCE;
            if under_way.len() < self.jobs {
                match self.next().await {
                    Ok(Some((owner, leased))) => {
                        let (floor, stop) = (self.clone(), stop.clone());
                        under_way.spawn(async move { floor.drive(owner, leased, &stop).await });
                        continue;
                    }
                    Ok(None)
                        if until == Until::Done
                            && under_way.is_empty()
                            && self.is_empty().await? =>
                    {
                        break;
                    }
                    Ok(None) => {}
                    Err(error) if until == Until::Done && under_way.is_empty() => {
                        return Err(error);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the queue cannot be read; looking again");
                        pause = GLANCE_AFTER_TROUBLE;
                    }
                }
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => note_panic(ended, &mut trouble),
                () = self.bell.notified() => {}
                () = tokio::time::sleep(pause), if under_way.len() < self.jobs => {}
                () = close.cancelled() => {}
                () = stop.cancelled() => {}
            }
        }
        while let Some(ended) = under_way.join_next().await {
            note_panic(ended, &mut trouble);
        }
        trouble.map_or(Ok(()), |panic| std::panic::resume_unwind(panic))
    }

    async fn next(&self) -> Result<Option<(String, Leased)>, StoreError> {
        let owner = process::owner();
        let mut session = self.producer.store.session().await?;
        let leased = queue::next(&mut session, &owner, self.which).await?;
        if let Some(leased) = &leased {
            // The lease stands, so whoever begins to forget now sees it; who has begun is waited for.
            let mut transaction = session.begin().await?;
            taste::wait_for_run(&mut transaction, leased.id).await?;
            transaction.commit().await?;
        }
        session.close().await;
        Ok(leased.map(|leased| (owner, leased)))
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        let mut session = self.producer.store.session().await?;
        let depth = queue::depth(&mut session, self.which).await?;
        session.close().await;
        Ok(depth.waiting + depth.driven == 0)
    }

    async fn drive(&self, owner: String, leased: Leased, stop: &CancellationToken) {
        let run = leased.id;
        self.watch.begins(run);
        let (sink, events) = unbounded_channel();
        let told = tokio::spawn(write_down(self.clone(), run, owner.clone(), events));
        let making = AssertUnwindSafe(self.make(owner.clone(), leased, sink, stop)).catch_unwind();
        let result = match making.await {
            Ok(result) => result,
            Err(panic) => {
                // A fault of aida's: the run is not taken up again, and the floor closes.
                let why = ("internal", "a fault in aida itself; the log tells more");
                if let Err(error) = self.let_go(run, &owner, why, Afterwards::Leaves).await {
                    tracing::error!(%run, %error, "a run that broke down was not let go of");
                }
                std::panic::resume_unwind(panic);
            }
        };
        // Every sender is gone, so what was told is written down by now or is not going to be.
        if told.await.is_err() {
            tracing::error!(%run, "what the run told was not written down to the end");
        }
        match &result {
            Ok(report) => tracing::info!(%run, status = report.status, "a run ended"),
            Err(stop) => tracing::warn!(%run, reason = stop.word(), error = %stop, "a run stopped"),
        }
        self.watch.ended(run, &result);
    }

    async fn let_go(
        &self,
        run: RunId,
        owner: &str,
        why: (&str, &str),
        afterwards: Afterwards,
    ) -> Result<(), StoreError> {
        let now = self.producer.clock.now();
        let mut session = self.producer.store.session().await?;
        runs::release(&mut session, run, owner, Some(why), afterwards, now).await?;
        session.close().await;
        Ok(())
    }

    /// When a run is taken up again that passing trouble stopped; never again after too many tries.
    fn again(&self, leased: Leased) -> Option<Duration> {
        let tries = u32::try_from(leased.tries).unwrap_or(u32::MAX);
        (tries < self.tries).then(|| FIRST_PAUSE * 4_u32.saturating_pow(tries))
    }

    async fn make(
        &self,
        owner: String,
        leased: Leased,
        sink: EventSink,
        stop: &CancellationToken,
    ) -> Result<VideoReport, Stop> {
        let claiming = self.producer.claim_as(owner.clone(), leased.id, sink, stop, leased.resumed);
        let claim = match claiming.await {
            Ok(claim) => claim,
            Err(error) if error.is_an_interrupt() => return Err(error.into()),
            Err(error) => {
                // Else it would be taken up again and again.
                let again = self.again(leased).filter(|_| error.passes());
                let afterwards = again.map_or(Afterwards::Leaves, Afterwards::Again);
                let (word, message) = (error.word(), error.to_string());
                self.let_go(leased.id, &owner, (word, &message), afterwards).await?;
                return Err(error.into());
            }
        };
        let cast = match self.crew.cast(&claim).await {
            Ok(cast) => cast,
            Err(error) => {
                let (word, message) = (error.kind().as_str(), error.to_string());
                self.producer.release(claim, Some((word, &message)), Afterwards::Leaves).await?;
                return Err(error.into());
            }
        };
        let orders = Orders {
            yes: false,
            yes_is_for_the_quote: true,
            plan_only: claim.options.plan_only,
            clip_lengths: &cast.clip_lengths,
            reuse: self.reuse,
            try_again_after: self.again(leased),
        };
        let (language, media) = (cast.language.as_deref(), cast.media.as_ref());
        self.producer.make(claim, language, media, &Nobody, orders).await
    }
}

/// A panic is a fault of aida's: no more runs are taken, and it is told once the others have come to their
/// end.
fn note_panic(
    ended: Result<(), tokio::task::JoinError>,
    trouble: &mut Option<Box<dyn std::any::Any + Send>>,
) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        *trouble = Some(panic);
    }
}

/// Writes down what a run tells, some of it at a time.
async fn write_down(floor: Floor, run: RunId, owner: String, mut events: UnboundedReceiver<Event>) {
    let mut waiting: VecDeque<(Timestamp, Value)> = VecDeque::new();
    let mut flush = tokio::time::interval(FLUSH);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_open = true;
    while is_open {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    floor.watch.told(run, &event);
                    if is_worth_keeping(&event) && let Ok(value) = serde_json::to_value(&event) {
                        waiting.push_back((floor.producer.clock.now(), value));
                        while waiting.len() > MOST_EVENTS_KEPT {
                            waiting.pop_front();
                        }
                    }
                    continue;
                }
                None => is_open = false,
            },
            _ = flush.tick() => {}
        }
        // What is told last has no later occasion.
        let attempts = if is_open { 1 } else { LAST_ATTEMPTS };
        for attempt in 1..=attempts {
            if waiting.is_empty() {
                break;
            }
            match keep(&floor, run, &owner, waiting.make_contiguous()).await {
                Ok(()) => waiting.clear(),
                Err(error) => {
                    tracing::debug!(%run, %error, "what the run told waits to be written down");
                    if attempt < attempts {
                        tokio::time::sleep(FLUSH * attempt).await;
                    }
                }
            }
        }
    }
}

async fn keep(
    floor: &Floor,
    run: RunId,
    owner: &str,
    events: &[(Timestamp, Value)],
) -> Result<(), StoreError> {
    let mut session = floor.producer.store.session().await?;
    run_events::add(&mut session, (run, owner), events).await?;
    session.close().await;
    Ok(())
}

/// What is only of the moment is not kept.
const fn is_worth_keeping(event: &Event) -> bool {
    !matches!(
        event,
        Event::Film { .. }
            | Event::Shot { progress: Progress::Running { .. } | Progress::Downloading { .. }, .. }
    )
}
