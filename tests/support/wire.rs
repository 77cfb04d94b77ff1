//! One small HTTP server per service, which can also cut a connection instead of answering.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::bench::{Bench, Service};
use super::faults::Fault;

/// The largest request that is read, in bytes.
const LARGEST_REQUEST: usize = 64 * 1024 * 1024;

/// A request, read in full.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who is asked.
    pub service: Service,
    /// The HTTP method.
    pub method: String,
    /// The path, without host and query.
    pub path: String,
    /// The query, decoded, in its order.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter, whether it was repeated or written with commas.
    pub fn parameters(&self, name: &str) -> Vec<&str> {
        self.query
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','))
            .collect()
    }

    /// The body as JSON, or why it is none.
    pub fn json(&self) -> Result<Value, String> {
        let kind = self.header("content-type").unwrap_or_default();
        if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
            return Err(format!("content-type is '{kind}', not application/json"));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON: {error}"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(String, String)>,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// JSON with a status.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "application/json",
            body: body.to_string().into(),
        }
    }

    /// A file.
    pub fn file(content_type: &'static str, body: Bytes) -> Self {
        Self { status: 200, headers: Vec::new(), content_type, body }
    }

    /// The same answer with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A service as it behaves when the line holds.
#[async_trait]
pub trait StandIn: Send + Sync + 'static {
    /// Answers one request. Faults of the line are not its business; of the others it honours
    /// those that it knows.
    async fn answer(&self, call: &Call, fault: Option<&Fault>) -> Answer;
}

/// A listening service.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub origin: String,
    stopped: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Stops listening: from now on connections are refused, and those that stand are cut.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.task.abort();
    }

    /// Serves `stand_in` on `listener`, which must be bound. Must run inside a runtime.
    pub fn start(
        listener: std::net::TcpListener,
        service: Service,
        stand_in: Arc<dyn StandIn>,
        bench: Arc<Bench>,
    ) -> Self {
        let origin = origin(&listener);
        listener.set_nonblocking(true).unwrap();
        let lines = Lines(TcpListener::from_std(listener).unwrap());
        let stopped = Arc::new(AtomicBool::new(false));
        let desk = Desk { service, stand_in, bench, stopped: Arc::clone(&stopped) };
        let application = axum::Router::new().fallback(
            move |ConnectInfo(line): ConnectInfo<Line>, request: Request| {
                let desk = desk.clone();
                async move { desk.serve(&line, request).await }
            },
        );
        let task = tokio::spawn(async move {
            let service = application.into_make_service_with_connect_info::<Line>();
            axum::serve(lines, service).await.unwrap();
        });
        Self { origin, stopped, task }
    }
}

/// Where a bound listener can be reached.
pub fn origin(listener: &std::net::TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// What every connection of a service needs.
#[derive(Clone)]
struct Desk {
    service: Service,
    stand_in: Arc<dyn StandIn>,
    bench: Arc<Bench>,
    stopped: Arc<AtomicBool>,
}

impl Desk {
    async fn serve(&self, line: &Line, request: Request) -> Response {
        let Some(call) = self.read(request).await else {
            return line.cut();
        };
        if self.stopped.load(Ordering::SeqCst) {
            return line.cut();
        }
        let place = self.bench.arrived(&call);
        let fault = self.bench.faults.next(&call);
        let answer = match &fault {
            Some(Fault::Refuse) => {
                self.bench.answered(place, None);
                return line.cut();
            }
            Some(Fault::Status { status, headers, body }) => {
                let mut answer = Answer::json(*status, body);
                answer.headers.clone_from(headers);
                answer
            }
            other => self.stand_in.answer(&call, other.as_ref()).await,
        };
        match &fault {
            Some(Fault::LoseReply) => {
                self.bench.answered(place, None);
                return line.cut();
            }
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
            _ => {}
        }
        self.bench.answered(place, Some(answer.status));
        let is_cut = fault == Some(Fault::CutMidway);
        let mut response = Response::builder()
            .status(answer.status)
            .header("content-type", answer.content_type)
            .header("x-unknown-to-old-clients", "1");
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        if !is_cut {
            return response.body(Body::from(answer.body)).unwrap();
        }
        // The length is announced in full, half of it is sent, and has left before the cut.
        let half = answer.body.slice(..answer.body.len() / 2);
        let cut = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        };
        let parts = stream::once(async { Ok(half) }).chain(stream::once(cut));
        response.header("content-length", answer.body.len()).body(Body::from_stream(parts)).unwrap()
    }

    /// Reads a request in full; nothing where the caller went away in the middle.
    async fn read(&self, request: Request) -> Option<Call> {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LARGEST_REQUEST).await.ok()?;
        let query = head.uri.query().unwrap_or_default();
        let decoded = url::form_urlencoded::parse(query.as_bytes());
        Some(Call {
            service: self.service,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: decoded.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_str().to_owned(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            body,
        })
    }
}

/// One connection's switch.
#[derive(Debug, Clone, Default)]
struct Line(Arc<AtomicBool>);

impl Line {
    /// Cuts the connection: nothing of the response that is returned here reaches the caller.
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        } else {
            Ok(())
        }
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener whose connections can be cut.
struct Lines(TcpListener);

impl Listener for Lines {
    type Io = Stream;
    type Addr = Line;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let line = Line::default();
                    return (Stream { stream, line: line.clone() }, line);
                }
                // The process is out of sockets, or the caller left before it was let in.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Line::default())
    }
}

/// A connection that fails every write once its line is cut.
struct Stream {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
