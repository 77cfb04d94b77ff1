//! Who drives a run: a lease that is kept alive, so that two processes never drive one.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ids::RunId;
use crate::ledger::{Component, Purpose, TillError};
use crate::process::{self, Liveness};
use crate::store::Store;
use crate::store::projects::{self, Project};
use crate::store::runs::{self, Afterwards, Kept, LEASE, Run};
use crate::studio::StudioError;
use crate::studio::brief::{Aspect, Brief};
use crate::studio::events::{Event, EventSink};
use crate::studio::producer::Producer;
use crate::studio::run::{RunOptions, RunState};

/// How often a lease is kept alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A run that this process drives. The lease is kept alive until this is dropped; when it is
/// lost to another process, `cancel` is set.
#[derive(Debug)]
pub struct Claim {
    /// The run as it was when it was claimed.
    pub run: Run,
    /// Its project.
    pub project: Project,
    /// What the user chose.
    pub options: RunOptions,
    /// The shape of the picture.
    pub aspect: Aspect,
    /// Set when the run is to stop.
    pub cancel: CancellationToken,
    events: EventSink,
    owner: String,
    heartbeat: tokio::task::JoinHandle<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Claim {
    /// Sends an event; nobody needs to listen.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Where events go.
    pub const fn events(&self) -> &EventSink {
        &self.events
    }

    /// This process, as the run's lease names it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What this process writes the run's row under.
    pub fn fence(&self) -> (RunId, &str) {
        (self.run.id, &self.owner)
    }

    /// A call for this run.
    pub fn purpose(&self, component: Component) -> Purpose {
        Purpose {
            user_id: self.run.user_id.clone(),
            project: Some(self.project.id),
            run: Some(self.run.id),
            shot: None,
            component,
            owner: Some(self.owner.clone()),
        }
    }

    /// The stage that the run was in when it was claimed.
    pub fn state(&self) -> RunState {
        self.run.state.parse().unwrap_or(RunState::Writing)
    }

    /// The brief, as it was kept.
    pub fn brief(&self) -> Result<Brief, StudioError> {
        Ok(Brief {
            text: self.project.brief.parse().map_err(StudioError::Brief)?,
            duration_seconds: self.project.duration_seconds.normalize(),
            shots: u32::try_from(self.project.shot_count).unwrap_or(1),
            aspect: self.aspect,
            files: self.options.files.iter().map(|(_, name)| PathBuf::from(name)).collect(),
        })
    }
}

impl Producer {
    /// Takes the lease of a run, waiting for one that a dead process left behind, and settles what that
    /// process was just sending.
    pub async fn claim(
        &self,
        run: RunId,
        events: EventSink,
        cancel: &CancellationToken,
        resumed: bool,
    ) -> Result<Claim, StudioError> {
        let owner = process::owner();
        self.take_lease(run, &owner, cancel).await?;
        self.claim_as(owner, run, events, cancel, resumed).await
    }

    /// The same where `owner` has the lease already.
    pub async fn claim_as(
        &self,
        owner: String,
        run: RunId,
        events: EventSink,
        cancel: &CancellationToken,
        resumed: bool,
    ) -> Result<Claim, StudioError> {
        let (row, project) = self.load(run, &owner).await?;
        let aspect = project.aspect.parse().map_err(StudioError::Damaged)?;
        let options = serde_json::from_value(row.options.clone())
            .map_err(|error| StudioError::Damaged(error.to_string()))?;
        let cancel = cancel.child_token();
        let heartbeat =
            tokio::spawn(keep_alive(self.store.clone(), run, owner.clone(), cancel.clone()));
        let claim = Claim { run: row, project, options, aspect, cancel, events, owner, heartbeat };
        let interrupted = self.till.close_interrupted(run).await?;
        for operation in interrupted {
            tracing::warn!(operation = %operation.id, kind = operation.kind.as_str(), "was cut off while it was being sent");
        }
        claim.tell(Event::RunStarted { project_id: claim.project.id, run_id: run, resumed });
        Ok(claim)
    }

    async fn load(&self, run: RunId, owner: &str) -> Result<(Run, Project), StudioError> {
        let mut session = self.store.session().await?;
        // Whoever has slept since it took the lease does not judge what another sends by now.
        if runs::keep_claim(&mut session, run, owner).await? == Kept::Lost {
            session.close().await;
            return Err(TillError::TakenOver.into());
        }
        let row = runs::load(&mut session, run).await?;
        let project = projects::load(&mut session, row.project_id).await?;
        session.close().await;
        Ok((row, project))
    }

    async fn take_lease(
        &self,
        run: RunId,
        owner: &str,
        cancel: &CancellationToken,
    ) -> Result<(), StudioError> {
        let deadline = tokio::time::Instant::now() + LEASE + Duration::from_secs(5);
        loop {
            let mut session = self.store.session().await?;
            let row = runs::load(&mut session, run).await?;
            let liveness = row.owner.as_deref().map_or(Liveness::Dead, process::liveness);
            let dead = row.owner.as_deref().filter(|_| liveness == Liveness::Dead);
            let taken = runs::claim(&mut session, run, owner, dead).await?;
            session.close().await;
            if taken {
                return Ok(());
            }
            if liveness == Liveness::Alive || tokio::time::Instant::now() > deadline {
                return Err(StudioError::Busy { run });
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                () = cancel.cancelled() => return Err(TillError::Cancelled.into()),
            }
        }
    }

    /// Gives the lease back, with the reason in a word and in a sentence if the run is to be gone on with, and
    /// what becomes of its place in the queue.
    pub async fn release(
        &self,
        claim: Claim,
        reason: Option<(&str, &str)>,
        afterwards: Afterwards,
    ) -> Result<(), StudioError> {
        claim.heartbeat.abort();
        let (run, owner) = claim.fence();
        let mut session = self.store.session().await?;
        runs::release(&mut session, run, owner, reason, afterwards, self.clock.now()).await?;
        session.close().await;
        Ok(())
    }
}

impl Producer {
    /// Gives the lease back of a run that was only looked after.
    pub async fn put_back(&self, claim: Claim) -> Result<(), StudioError> {
        claim.heartbeat.abort();
        let mut session = self.store.session().await?;
        runs::give_back(&mut session, claim.run.id, &claim.owner).await?;
        session.close().await;
        Ok(())
    }
}

/// Keeps a lease alive until it is lost or this is aborted. A database that is away for a moment
/// does not lose it: only another owner does.
async fn keep_alive(store: Store, run: RunId, owner: String, cancel: CancellationToken) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Ok(mut session) = store.session().await else { continue };
        let kept = runs::keep_claim(&mut session, run, &owner).await;
        session.close().await;
        match kept {
            Ok(Kept::Lost) => {
                tracing::warn!(%run, "another process has taken this run over");
                cancel.cancel();
                return;
            }
            // The lease is kept while the run comes to its stop.
            Ok(Kept::StopAsked) => cancel.cancel(),
            Ok(Kept::Held) | Err(_) => {}
        }
    }
}
