//! Ctrl-C and SIGTERM, as kinds of stopping.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind};

/// The wish to stop, once it is there: shared by whoever hears it and whoever heeds it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled when the work shall stop.
    pub cancel: CancellationToken,
    kind: Arc<OnceLock<Kind>>,
}

impl Stop {
    /// Asks for a clean stop. Only the first wish counts.
    pub fn ask(&self, kind: Kind) {
        self.kind.get_or_init(|| kind);
        self.cancel.cancel();
    }

    /// How the stop was asked for, if it was.
    pub fn kind(&self) -> Option<Kind> {
        self.kind.get().copied()
    }
}

/// The signals of this process.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process at once.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| Error::internal("signals cannot be heard").because(error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal: [`Kind::Interrupted`] or [`Kind::Terminated`].
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Kind {
        tokio::select! {
            _ = self.interrupt.recv() => Kind::Interrupted,
            _ = self.terminate.recv() => Kind::Terminated,
        }
    }

    /// Ctrl-C is all that there is here.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Waits for the next Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Kind {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Kind::Interrupted
    }
}
