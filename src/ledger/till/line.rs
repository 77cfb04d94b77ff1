//! The line before a provider: of all that this process would send, a few at a time ask whether there is
//! room; the others wait behind them, in order, and keep the database free.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Till;
use crate::providers::Provider;

/// How many ask at once. Enough that sending one does not hold up the next.
const WINDOWS: usize = 4;

/// The lines of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    kie: Line,
    fal: Line,
}

#[derive(Debug, Clone)]
struct Line {
    windows: Arc<Semaphore>,
    freed: Arc<Notify>,
}

impl Default for Line {
    fn default() -> Self {
        Self { windows: Arc::new(Semaphore::new(WINDOWS)), freed: Arc::new(Notify::new()) }
    }
}

impl Lines {
    fn of(&self, provider: Provider) -> &Line {
        if provider == Provider::Fal { &self.fal } else { &self.kie }
    }

    /// A job has ended: whoever waits for room looks again. KIE's limit is one of sends, which no end of a
    /// job lifts.
    pub(super) fn freed(&self) {
        self.fal.freed.notify_waiters();
    }
}

/// The right to ask whether there is room, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    freed: Arc<Notify>,
    _window: Option<OwnedSemaphorePermit>,
}

impl Till {
    /// Waits in line before a provider.
    pub async fn turn(&self, provider: Provider) -> Turn {
        let line = self.lines.of(provider);
        // The semaphore is never closed; without a permit one asks out of turn and is refused by the caps
        // and limits all the same.
        let window = line.windows.clone().acquire_owned().await.ok();
        Turn { freed: line.freed.clone(), _window: window }
    }
}

impl Turn {
    /// Waits until it is worth asking again: for `time`, or until a job of this process has ended.
    pub async fn wait(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.freed.notified() => {}
        }
    }
}
