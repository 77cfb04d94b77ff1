//! `--lock NAME`: of several commands that name the same lock, one works at a time, on however many hosts.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::process::{self, Liveness};
use crate::signals::Stop;
use crate::store::locks::{self, Holder, Known};
use crate::store::{Store, StoreError};

/// How long a lock stays with a process that is not heard of.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is kept.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// How often a lock that another holds is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A lock that this process holds, until it is given back or the process is gone.
#[derive(Debug)]
pub(super) struct NamedLock {
    lock: Lock,
    heartbeat: JoinHandle<()>,
}

/// Whose lock, which, and who wants it.
#[derive(Debug, Clone)]
struct Lock {
    store: Store,
    user_id: String,
    name: String,
    owner: String,
}

impl NamedLock {
    /// Takes the lock, waiting up to `patience` for another to give it back. Who holds it is told
    /// in the error, of kind [`Kind::Locked`].
    ///
    /// A lock that is lost, because this machine slept for longer than the lease, asks for a stop.
    pub(super) async fn take(
        context: &Context,
        name: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        let lock = Lock {
            store: context.store().await?.clone(),
            user_id: context.settings.user.clone(),
            name: name.to_owned(),
            owner: process::owner(),
        };
        let deadline = Instant::now() + patience;
        let mut said = false;
        while let Some(holder) = lock.try_take().await? {
            if Instant::now() >= deadline {
                return Err(lock.is_held_by(&holder));
            }
            if !said {
                let since = holder.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC");
                context.output.status(format!("waiting for the lock '{name}', held since {since}"));
                said = true;
            }
            let next = deadline.min(Instant::now() + AGAIN);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = context.cancel.cancelled() => {
                    return Err(Error::new(Kind::Interrupted, "stopped while waiting for the lock"));
                }
            }
        }
        let heartbeat = tokio::spawn(keep(lock.clone(), context.stop.clone()));
        Ok(Self { lock, heartbeat })
    }

    /// Gives the lock back. A database that is away just then is no error: the lease runs out.
    pub(super) async fn give_back(self) {
        self.heartbeat.abort();
        if let Err(error) = self.lock.give_back().await {
            tracing::warn!(lock = self.lock.name, %error, "the lock could not be given back; its lease runs out");
        }
    }
}

impl Lock {
    /// The key of its row.
    fn key(&self) -> (&str, &str) {
        (&self.user_id, &self.name)
    }

    /// Tries once. Answers who holds it instead.
    async fn try_take(&self) -> Result<Option<Holder>, StoreError> {
        let mut session = self.store.session().await?;
        let instead = loop {
            let holder = locks::holder(&mut session, self.key()).await?;
            let known = Known::of(holder.as_ref().map(|holder| holder.owner.as_str()));
            if locks::take(&mut session, self.key(), &self.owner, known, LEASE).await? {
                break None;
            }
            // Whoever was quicker holds it now; where nobody does, it was given back meanwhile.
            if let Some(holder) = locks::holder(&mut session, self.key()).await? {
                break Some(holder);
            }
        };
        session.close().await;
        Ok(instead)
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        let mut session = self.store.session().await?;
        locks::give_back(&mut session, self.key(), &self.owner).await?;
        session.close().await;
        Ok(())
    }

    fn is_held_by(&self, holder: &Holder) -> Error {
        let mut parts = holder.owner.split('/').skip(1);
        let whose = match (process::liveness(&holder.owner), parts.next()) {
            (Liveness::Alive, Some(process)) => format!("process {process} of this machine"),
            _ => "another process".to_owned(),
        };
        let since = holder.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC");
        Error::new(
            Kind::Locked,
            format!("the lock '{}' is held by {whose} since {since}; nothing was done", self.name),
        )
        .hint("wait for it with --lock-wait 10m")
    }
}

/// Keeps a lock until it is lost or this is aborted. A database that is away for a moment does not
/// lose it: only another owner does.
async fn keep(lock: Lock, stop: Stop) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Ok(mut session) = lock.store.session().await else { continue };
        let kept = locks::keep(&mut session, lock.key(), &lock.owner, LEASE).await;
        session.close().await;
        if matches!(kept, Ok(false)) {
            tracing::warn!(lock = lock.name, "another process has taken the lock over");
            stop.ask(Kind::Locked);
            return;
        }
    }
}
