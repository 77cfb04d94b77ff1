//! The life of the host process: it takes the database, makes it ready, serves, and leaves when
//! nobody has come for a while.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pglite_oxide::{PgliteServer, extensions};
use sqlx::{Connection as _, PgConnection};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::journal::Journal;
use super::super::{StoreError, schema};
use super::client;
use super::place::{OWN_PORT, Place, open_lock};
use super::relay::Relay;

/// How long the host stays without clients. Long enough for the next command of a person at a
/// shell, short enough not to be in the way of a backup.
const STAY: Duration = Duration::from_secs(5);

/// How long a new host waits for the one that is leaving.
const TAKE_OVER_DEADLINE: Duration = Duration::from_secs(50);

/// How long the engine may take to stop before it is left to the end of the process.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Hosts the embedded database of a data directory until nobody has used it for some seconds, or
/// until it is told to stop (SIGTERM). This is what `aida __database DIR` does.
///
/// It blocks, and may be called with or without an async runtime around it. What goes wrong is
/// also written to `database.log` in the data directory, for those who wait for the host.
pub fn host_main(data_dir: &Path) -> Result<(), StoreError> {
    let place = Place::prepare(data_dir)?;
    let log = place.log();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| host(&place)).join().unwrap_or_else(|_| {
            Err(StoreError::HostFailed { reason: "it panicked".to_owned(), log: place.log() })
        })
    });
    if let Err(error) = &outcome
        && let Ok(mut log) = OpenOptions::new().append(true).create(true).open(log)
    {
        let reason = match error {
            StoreError::HostFailed { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        // The same error is returned; the log is for the process that started this one.
        let _ = writeln!(log, "{}{reason}", client::log_mark(std::process::id()));
    }
    outcome
}

fn host(place: &Place) -> Result<(), StoreError> {
    let lock = take(place)?;
    let failed = |reason: String| StoreError::HostFailed { reason, log: place.log() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let engine = PgliteServer::builder()
        .path(place.database())
        .unix(place.engine_socket())
        .extension(extensions::VECTOR)
        .start()
        .map_err(|error| failed(format!("{error:#}")))?;
    let mut journal = Journal::at(place.data_dir());
    let served = runtime.block_on(async {
        let broke = |error: io::Error| failed(format!("the engine broke: {error}"));
        let mut relay = Relay::new(place.engine_socket());
        // The host is its own first client.
        let listener = listen(&place.own_socket()).map_err(broke)?;
        tokio::try_join!(
            async {
                let (client, _) = listener.accept().await.map_err(broke)?;
                relay.serve(client, || false, &CancellationToken::new()).await.map_err(broke)
            },
            prepare(place, &mut journal),
        )?;
        drop(listener);
        serve(place, relay).await.map_err(broke)
    });
    if let Err(error) = served {
        // Stopping a broken engine could block for ever. The end of the process stops it, and only
        // that may let the next host in.
        std::mem::forget((engine, lock));
        return Err(error);
    }
    if let Err(reason) = stop(engine) {
        std::mem::forget(lock);
        return Err(failed(reason));
    }
    journal.empty_after_syncing(&place.database())
}

/// Takes the database, waiting for a host that is about to leave.
fn take(place: &Place) -> Result<File, StoreError> {
    let path = place.host_lock();
    let mut lock = open_lock(&path)?;
    let deadline = Instant::now() + TAKE_OVER_DEADLINE;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy { waited: TAKE_OVER_DEADLINE });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::files("cannot lock", path, source));
            }
        }
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(|source| StoreError::files("cannot write", path, source))?;
    Ok(lock)
}

/// Brings the schema up to date, and takes in what the journal has more than the database.
async fn prepare(place: &Place, journal: &mut Journal) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(&client::options(place, OWN_PORT)).await?;
    match schema::migrate(&mut connection).await {
        Ok(_) => journal.replay(&mut connection).await?,
        // The clients look at the schema themselves, and say it better than a log could.
        Err(error @ (StoreError::SchemaAhead { .. } | StoreError::SchemaChanged { .. })) => {
            journal.keep();
            tracing::warn!(%error, "the schema is left as it is");
        }
        Err(error) => return Err(error),
    }
    connection.close().await?;
    Ok(())
}

/// Serves clients one after the other until nobody has come for a while.
async fn serve(place: &Place, mut relay: Relay) -> io::Result<()> {
    let socket = place.client_socket();
    let mut terminated = signal(SignalKind::terminate())?;
    // The terminal that started the first client may go; the database stays with the others.
    let _hangup = signal(SignalKind::hangup())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let listener = listen(&socket)?;
    let (arrive, mut arrivals) = unbounded_channel();
    let welcome = tokio::task::spawn(welcome(listener, arrive));
    let stop = CancellationToken::new();
    let (served, ()) = tokio::join!(
        async {
            let served = serve_arrivals(&mut relay, &mut arrivals, &stop).await;
            stop.cancel();
            served
        },
        async {
            tokio::select! {
                _ = terminated.recv() => stop.cancel(),
                () = stop.cancelled() => {}
            }
        },
    );
    // From here on nobody can come. Whoever is in the queue of the socket is turned away without
    // having been heard, and starts the next host.
    remove(&socket)?;
    welcome.abort();
    let _ = welcome.await;
    if served? == Leaving::Unasked {
        let never = CancellationToken::new();
        while let Ok(client) = arrivals.try_recv() {
            relay.serve(client, || !arrivals.is_empty(), &never).await?;
        }
    }
    relay.close().await;
    Ok(())
}

/// Why the host leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Nobody has come for a while. Who comes at the last moment is still served.
    Unasked,
    /// It was told to.
    Told,
}

/// Lets clients in to the queue.
async fn welcome(listener: UnixListener, arrive: UnboundedSender<UnixStream>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                if arrive.send(client).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: some will be given back.
                tracing::warn!(%error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_arrivals(
    relay: &mut Relay,
    arrivals: &mut UnboundedReceiver<UnixStream>,
    stop: &CancellationToken,
) -> io::Result<Leaving> {
    loop {
        let arrival = tokio::select! {
            () = stop.cancelled() => return Ok(Leaving::Told),
            arrival = timeout(STAY, arrivals.recv()) => arrival,
        };
        let Ok(Some(client)) = arrival else { return Ok(Leaving::Unasked) };
        relay.serve(client, || !arrivals.is_empty(), stop).await?;
    }
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    remove(socket)?;
    UnixListener::bind(socket)
}

fn remove(socket: &Path) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Stops the engine, which blocks while it has a client.
fn stop(engine: PgliteServer) -> Result<(), String> {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || tell.send(engine.shutdown().map_err(|error| format!("{error:#}"))));
    told.recv_timeout(STOP_DEADLINE).unwrap_or_else(|_| Err("the engine does not stop".to_owned()))
}
