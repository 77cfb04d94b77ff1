//! What all stand-ins share: the pace of time, the log, the violations, the bill, the faults.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bill::Bill;
use super::faults::Faults;
use super::wire::Call;

/// An outside service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Claude.
    Anthropic,
    /// Embeddings.
    OpenAi,
    /// Keyframes.
    Kie,
    /// Clips.
    Fal,
    /// Embeddings, of another vendor.
    Voyage,
    /// Embeddings, on a host of one's own.
    Ollama,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 6] =
        [Self::Anthropic, Self::OpenAi, Self::Kie, Self::Fal, Self::Voyage, Self::Ollama];

    /// The name on the bill.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Kie => "kie",
            Self::Fal => "fal",
            Self::Voyage => "voyage",
            Self::Ollama => "ollama",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// How fast the services live: at speed 20 a job that takes a minute in life takes 3 seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    speed: f64,
    start: Instant,
}

impl Pace {
    /// Starts the services' time.
    pub fn new(speed: f64) -> Self {
        assert!(speed.is_finite() && speed > 0.0, "a speed is a positive number");
        Self { speed, start: Instant::now() }
    }

    /// How long a stretch of the services' life takes on our clocks.
    pub fn real(&self, life: Duration) -> Duration {
        life.div_f64(self.speed)
    }

    /// Our time since the services started.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The services' own time since they started.
    pub fn life(&self) -> Duration {
        self.start.elapsed().mul_f64(self.speed)
    }

    /// Lets a stretch of the services' life pass.
    pub async fn pass(&self, life: Duration) {
        tokio::time::sleep(self.real(life)).await;
    }
}

/// A request that the vendor would have refused, or that shows a broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Who was asked.
    pub service: Service,
    /// Method and path of the request.
    pub request: String,
    /// What was wrong with it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.service, self.request, self.what)
    }
}

/// One request that arrived, as it is kept for assertions.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who was asked.
    pub service: Service,
    /// The HTTP method.
    pub method: String,
    /// The path, without host and query.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body where it was JSON, else null.
    pub body: Value,
    /// When it arrived.
    pub arrived: Instant,
    /// When it was answered; nothing while it is being answered, or where it never was.
    pub answered: Option<Instant>,
    /// The HTTP status of the answer; nothing where the caller heard none.
    pub status: Option<u16>,
}

/// What all stand-ins share.
#[derive(Debug)]
pub struct Bench {
    /// How fast the services live.
    pub pace: Pace,
    /// What they would charge.
    pub bill: Bill,
    /// What goes wrong, and when.
    pub faults: Faults,
    violations: Mutex<Vec<Violation>>,
    records: Mutex<Vec<Record>>,
    /// By how much the clock was set forward.
    ahead: Mutex<Duration>,
}

impl Bench {
    /// An empty bench.
    pub fn new(speed: f64) -> Self {
        Self {
            pace: Pace::new(speed),
            bill: Bill::default(),
            faults: Faults::default(),
            violations: Mutex::default(),
            records: Mutex::default(),
            ahead: Mutex::default(),
        }
    }

    /// Sets the clock forward, as if so much time had passed in which nobody called.
    pub fn skip(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
    }

    /// By how much the clock was set forward so far.
    pub fn skipped(&self) -> Duration {
        *self.ahead.lock().unwrap()
    }

    /// Our time since the services started, and what was skipped.
    pub fn now(&self) -> Duration {
        self.pace.elapsed() + self.skipped()
    }

    /// Writes down that a request was wrong.
    pub fn violation(&self, call: &Call, what: impl Into<String>) {
        self.violations.lock().unwrap().push(Violation {
            service: call.service,
            request: format!("{} {}", call.method, call.path),
            what: what.into(),
        });
    }

    /// Everything that was wrong so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().unwrap().clone()
    }

    /// Everything that was asked so far, in the order of arrival.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// Keeps a request; answers its place in the log.
    pub(super) fn arrived(&self, call: &Call) -> usize {
        let mut records = self.records.lock().unwrap();
        records.push(Record {
            service: call.service,
            method: call.method.clone(),
            path: call.path.clone(),
            query: call.query.clone(),
            body: serde_json::from_slice(&call.body).unwrap_or(Value::Null),
            arrived: Instant::now(),
            answered: None,
            status: None,
        });
        records.len() - 1
    }

    /// Completes the log of a request.
    pub(super) fn answered(&self, place: usize, status: Option<u16>) {
        let mut records = self.records.lock().unwrap();
        records[place].answered = Some(Instant::now());
        records[place].status = status;
    }
}
