//! The door: connections with bounds on their number, their headers and their patience.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Connections at once, of each address.
const CONNECTIONS: usize = 1_024;
/// How long a request's headers may take.
const HEADERS_DEADLINE: Duration = Duration::from_secs(10);
/// How long a caller may take nothing of an answer before the connection is given up.
const TAKING_DEADLINE: Duration = Duration::from_mins(1);
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// The most bytes of a request's line and headers.
const MOST_HEADER_BYTES: usize = 16 * 1024;

/// Lets connections in until the stop is asked for, and waits for those that are being answered.
pub(super) async fn keep(listener: TcpListener, app: Router, stop: CancellationToken) {
    keep_with(listener, app, stop, TAKING_DEADLINE).await;
}

async fn keep_with(
    listener: TcpListener,
    app: Router,
    stop: CancellationToken,
    taking_deadline: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let (stream, caller) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, most likely: that passes.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let service =
            app.clone().map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(caller));
                request.map(axum::body::Body::new)
            });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_DEADLINE)
            .max_headers(MOST_HEADERS)
            .max_buf_size(MOST_HEADER_BYTES)
            .serve_connection(
                TokioIo::new(patient(stream, taking_deadline)),
                TowerToHyperService::new(service),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A stream whose writes wait for a caller that reads slowly, and not for one that does not read.
fn patient(stream: TcpStream, taking_deadline: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(taking_deadline));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::AsyncWriteExt as _;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_caller_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The answer has no end; whoever holds its other side learns when it is let go of.
        let (answer, mut answering) = mpsc::channel::<Infallible>(1);
        let answer = Arc::new(Mutex::new(Some(answer)));
        let endless = move || {
            let answer = answer.lock().unwrap().take();
            let pieces = stream::repeat_with(move || {
                let _held = &answer;
                Ok::<_, Infallible>(Bytes::from_static(&[0; 8 * 1024]))
            });
            async { Body::from_stream(pieces) }
        };
        let app = Router::new().route("/", get(endless));
        let stop = CancellationToken::new();
        let door = keep_with(listener, app, stop.clone(), Duration::from_millis(50));
        let door = tokio::spawn(door);
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let given_up = tokio::time::timeout(Duration::from_secs(30), answering.recv());
        assert_eq!(given_up.await.expect("the answer is still held"), None);
        stop.cancel();
        door.await.unwrap();
    }
}
