//! Between the clients and the engine.
//!
//! The engine takes one connection, needs a tenth of a second to open one, blocks for ever where
//! a client is stuck, and dies of a client that vanishes in the middle of an answer. So the relay
//! keeps one connection to it, lets the clients in one after the other in the order of their
//! arrival, and resets the session between them, as a connection pooler does.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::{self, Answers, Opening};

/// How long a client may take to open its session; it sends that at once.
const OPENING_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client may hold the session without asking anything while others wait.
const HOLDING_DEADLINE: Duration = Duration::from_secs(10);

/// How long the engine may take to open its connection: after a crash it recovers first.
const ENGINE_DEADLINE: Duration = Duration::from_mins(1);

/// How long the engine may take to finish what a vanished client had asked for.
const RESET_DEADLINE: Duration = Duration::from_mins(2);

/// How often the engine is told to write its log back. By itself it does so only when its
/// connection is closed, and until then the log grows.
const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(5);

/// The relay's side of the engine.
pub(super) struct Relay {
    engine_socket: PathBuf,
    engine: Option<Engine>,
    checkpointed: Instant,
}

/// An open connection to the engine.
struct Engine {
    stream: UnixStream,
    /// What it said when it was opened; every client hears the same.
    greeting: Vec<u8>,
}

/// What the two directions of one client's traffic tell each other.
struct Traffic {
    /// How many times "ready for query" is still to come.
    unanswered: Cell<usize>,
    /// When the client last asked or was answered.
    latest: Cell<Instant>,
    /// Whether the engine was asked to take a bulk copy, out of which there is no simple way.
    copying: Cell<bool>,
    /// Whether a request is on its way into the engine, maybe in part.
    writing: Cell<bool>,
    /// Whether an answer is on its way to the client, which may have stopped listening.
    delivering: Cell<bool>,
}

/// How a client's turn ended.
enum Ending {
    /// It said goodbye or vanished, between two messages.
    Left,
    /// It had to leave: it held the session idly while others waited, or the host stops.
    PutOut,
}

impl Relay {
    pub(super) fn new(engine_socket: PathBuf) -> Self {
        Self { engine_socket, engine: None, checkpointed: Instant::now() }
    }

    /// Serves one client until it leaves. An error means that the engine is broken.
    ///
    /// `others_wait` tells whether somebody else waits; `stop` is cancelled when the host stops.
    pub(super) async fn serve(
        &mut self,
        mut client: UnixStream,
        others_wait: impl Fn() -> bool,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        // Whoever cannot even open a session is not waited for.
        let Ok(Ok(Some(heard))) = timeout(OPENING_DEADLINE, hear_opening(&mut client)).await else {
            return Ok(());
        };
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::open(&self.engine_socket).await?,
        };
        if client.write_all(&engine.greeting).await.is_err() {
            self.engine = Some(engine);
            return Ok(());
        }
        let traffic = Traffic {
            unanswered: Cell::new(0),
            latest: Cell::new(Instant::now()),
            copying: Cell::new(false),
            writing: Cell::new(false),
            delivering: Cell::new(false),
        };
        let mut answers = Answers::default();
        let ending = {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_engine, mut to_engine) = engine.stream.split();
            tokio::select! {
                ending = pass_requests(heard, &mut from_client, &mut to_engine, &traffic) => ending?,
                error = pass_answers(&mut from_engine, &mut to_client, &mut answers, &traffic) => {
                    return Err(error);
                }
                () = hold_too_long(&traffic, others_wait) => Ending::PutOut,
                () = stop.cancelled() => Ending::PutOut,
            }
        };
        drop(client);
        let reset = match ending {
            Ending::Left if !traffic.copying.get() => {
                let checkpoint = self.checkpointed.elapsed() >= CHECKPOINT_INTERVAL;
                let reset = engine.reset(&traffic, &mut answers, checkpoint);
                let clean = timeout(RESET_DEADLINE, reset).await.map_err(|_| {
                    io::Error::new(io::ErrorKind::TimedOut, "the session could not be reset")
                })??;
                if checkpoint {
                    self.checkpointed = Instant::now();
                }
                clean
            }
            _ => false,
        };
        if reset {
            self.engine = Some(engine);
        } else {
            engine.close().await;
        }
        Ok(())
    }

    /// Closes the connection to the engine, which thereby writes its log back.
    pub(super) async fn close(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close().await;
        }
    }
}

impl Engine {
    async fn open(socket: &PathBuf) -> io::Result<Self> {
        let opened = async {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(&wire::own_opening()).await?;
            let mut greeting = Vec::new();
            let mut answers = Answers::default();
            loop {
                let start = greeting.len();
                if stream.read_buf(&mut greeting).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let (mut ready, mut refused) = (false, false);
                answers.follow(&greeting[start..], |tag| {
                    ready |= tag == b'Z';
                    refused |= tag == b'E';
                })?;
                if refused {
                    let said = String::from_utf8_lossy(&greeting).replace('\0', " ");
                    return Err(io::Error::other(format!("the engine does not open: {said}")));
                }
                if ready {
                    return Ok(Self { stream, greeting });
                }
            }
        };
        timeout(ENGINE_DEADLINE, opened)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the engine is stuck")))
    }

    /// Waits for what the last client still had coming, and makes the session as new. Says
    /// whether that worked; an error means that the engine is broken.
    async fn reset(
        &mut self,
        traffic: &Traffic,
        answers: &mut Answers,
        checkpoint: bool,
    ) -> io::Result<bool> {
        let mut requests = wire::SYNC.to_vec();
        requests.extend(wire::query("ROLLBACK"));
        requests.extend(wire::query("DISCARD ALL"));
        let mut unanswered = traffic.unanswered.get() + 3;
        if checkpoint {
            requests.extend(wire::query("CHECKPOINT"));
            unanswered += 1;
        }
        // The last client's own statements may fail; the resetting ones may not.
        let own = unanswered - traffic.unanswered.get() - 1;
        let mut clean = true;
        let (mut from_engine, mut to_engine) = self.stream.split();
        let ask = to_engine.write_all(&requests);
        let listen = async {
            let mut buffer = vec![0_u8; 16 << 10];
            while unanswered > 0 {
                let length = from_engine.read(&mut buffer).await?;
                if length == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                answers.follow(&buffer[..length], |tag| match tag {
                    b'Z' => unanswered = unanswered.saturating_sub(1),
                    b'E' if unanswered <= own => clean = false,
                    b'G' => clean = false,
                    _ => {}
                })?;
                if !clean {
                    break;
                }
            }
            Ok(())
        };
        let (asked, listened) = tokio::join!(ask, listen);
        asked?;
        listened?;
        Ok(clean)
    }

    /// Says goodbye and waits until the engine is done with it, as it takes the next connection
    /// only then.
    async fn close(mut self) {
        let closed = async {
            self.stream.write_all(&wire::TERMINATE).await?;
            self.stream.shutdown().await?;
            let mut rest = vec![0_u8; 16 << 10];
            while self.stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // A connection that cannot be closed properly shows when the next one is opened.
        let _ = timeout(RESET_DEADLINE, closed).await;
    }
}

/// Hears how a client opens its session. Returns what it has said after that already, or nothing
/// where it wants no session.
async fn hear_opening(client: &mut UnixStream) -> io::Result<Option<BytesMut>> {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        match wire::opening(&buffer)? {
            Some((Opening::Session, length)) => return Ok(Some(buffer.split_off(length))),
            Some((Opening::Cancellation, _)) => return Ok(None),
            Some((Opening::Encryption, length)) => {
                let _ = buffer.split_to(length);
                client.write_all(b"N").await?;
            }
            None => {
                if client.read_buf(&mut buffer).await? == 0 {
                    return Ok(None);
                }
            }
        }
    }
}

/// Passes a client's whole messages on to the engine until it leaves. Half a message is never
/// passed on, so that the engine can always be spoken to afterwards.
async fn pass_requests(
    mut buffer: BytesMut,
    client: &mut ReadHalf<'_>,
    engine: &mut WriteHalf<'_>,
    traffic: &Traffic,
) -> io::Result<Ending> {
    loop {
        let Ok(requests) = wire::requests(&buffer) else { return Ok(Ending::Left) };
        if requests.length > 0 {
            traffic.latest.set(Instant::now());
            traffic.unanswered.set(traffic.unanswered.get() + requests.answers);
            traffic.writing.set(true);
            engine.write_all(&buffer.split_to(requests.length)).await?;
            traffic.writing.set(false);
        }
        if requests.goodbye {
            return Ok(Ending::Left);
        }
        if !matches!(client.read_buf(&mut buffer).await, Ok(1..)) {
            return Ok(Ending::Left);
        }
    }
}

/// Passes the engine's answers on to the client, for ever: it ends only with the engine. What a
/// vanished client cannot take any more is thrown away.
async fn pass_answers(
    engine: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    answers: &mut Answers,
    traffic: &Traffic,
) -> io::Error {
    let mut buffer = vec![0_u8; 64 << 10];
    let mut client_listens = true;
    loop {
        let length = match engine.read(&mut buffer).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(length) => length,
            Err(error) => return error,
        };
        let followed = answers.follow(&buffer[..length], |tag| match tag {
            b'Z' => traffic.unanswered.set(traffic.unanswered.get().saturating_sub(1)),
            b'G' => traffic.copying.set(true),
            _ => {}
        });
        if let Err(error) = followed {
            return error;
        }
        traffic.latest.set(Instant::now());
        if client_listens {
            traffic.delivering.set(true);
            client_listens = client.write_all(&buffer[..length]).await.is_ok();
            traffic.delivering.set(false);
        }
    }
}

/// Returns when the client has held the session while others waited, without asking anything or
/// without taking its answer, as a process that was stopped does.
async fn hold_too_long(traffic: &Traffic, others_wait: impl Fn() -> bool) {
    let mut ticks = interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let idle = traffic.unanswered.get() == 0 && !traffic.writing.get();
        if (idle || traffic.delivering.get())
            && others_wait()
            && traffic.latest.get().elapsed() >= HOLDING_DEADLINE
        {
            return;
        }
    }
}
