//! What goes wrong, and when: a test says which call shall meet which fault.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Service;
use super::wire::Call;

/// Something that goes wrong with one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The request is processed and charged; then the connection is closed without an answer.
    LoseReply,
    /// The connection is closed before anything is processed.
    Refuse,
    /// The request is processed, and the connection is closed in the middle of the answer.
    CutMidway,
    /// The request is processed and never answered.
    Hang,
    /// The request is processed and answered late, by this much on our clocks.
    Delay(Duration),
    /// The request is not processed and answered with an error.
    Status {
        /// HTTP status.
        status: u16,
        /// Headers of the answer.
        headers: Vec<(String, String)>,
        /// JSON body of the answer.
        body: Value,
    },

    /// Claude refuses: HTTP 200 with the stop reason `refusal`.
    Refusal,
    /// Claude's answer is cut off at `max_tokens`.
    CutOff,
    /// Claude's tool input breaks the tool's schema.
    BreakSchema,
    /// Claude answers in words where it should have called a tool.
    TextInsteadOfTool,
    /// Claude pauses and wants its words sent back.
    PauseTurn,

    /// The job is accepted and fails while it is worked on; it is not charged.
    FailJob {
        /// The service's words.
        message: String,
    },
    /// The job is accepted and refused by the moderation; it is not charged.
    Moderate,
    /// fal takes the job, and it ends so; it is not charged.
    EndJob {
        /// HTTP status of the result.
        status: u16,
        /// Body of the result.
        body: Value,
    },
    /// fal works on the job, yields nothing (HTTP 422) and charges for it all the same.
    BillFailure {
        /// Whether the answer says so in its billable units.
        tells_units: bool,
    },
    /// KIE reports success with an empty list of results this many times before it has some.
    EmptySuccess {
        /// Polls that are answered so.
        polls: u32,
    },
    /// KIE's result URLs answer 403 until a signed one is asked for.
    ForbidDownload,
    /// The job is accepted and never finishes.
    NeverFinish,
    /// The file that a job yields is damaged: its second half is missing.
    DamageResult,
}

impl Fault {
    /// An error with a JSON body.
    pub fn status(status: u16, body: Value) -> Self {
        Self::Status { status, headers: Vec::new(), body }
    }

    fn anthropic_error(status: u16, kind: &str, message: &str) -> Self {
        Self::status(
            status,
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fault"}),
        )
    }

    /// Claude is overloaded (HTTP 529).
    pub fn overloaded() -> Self {
        Self::anthropic_error(529, "overloaded_error", "Overloaded")
    }

    /// Claude has a fault of its own (HTTP 500).
    pub fn internal() -> Self {
        Self::anthropic_error(500, "api_error", "Internal server error")
    }

    /// Claude's key is wrong (HTTP 401).
    pub fn unauthorized() -> Self {
        Self::anthropic_error(401, "authentication_error", "invalid x-api-key")
    }

    /// Claude's rate limit, with the seconds after which to ask again.
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        Self::Status {
            status: 429,
            headers: vec![("retry-after".to_owned(), retry_after_seconds.to_string())],
            body: json!({"type": "error", "error": {"type": "rate_limit_error",
                "message": "This request would exceed your rate limit"}, "request_id": "req_fault"}),
        }
    }

    /// The spend limit of the Anthropic account: a 429 that waiting does not cure.
    pub fn spend_limit() -> Self {
        Self::status(
            429,
            json!({"type": "error", "error": {"type": "rate_limit_error",
                "message": "You have reached your enforced spend limit",
                "details": {"error_code": "enforced_spend_limit_reached"}}, "request_id": "req_fault"}),
        )
    }

    /// OpenAI's quota: a 429 that waiting does not cure.
    pub fn insufficient_quota() -> Self {
        Self::status(
            429,
            json!({"error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
                "param": null, "code": "insufficient_quota"}}),
        )
    }

    /// An error inside KIE's envelope, which comes with HTTP 200.
    pub fn envelope(code: u16, message: &str) -> Self {
        Self::status(200, json!({"code": code, "msg": message, "data": null}))
    }

    /// KIE has withdrawn Midjourney.
    pub fn withdrawn() -> Self {
        Self::envelope(505, "The feature is disabled")
    }

    /// An error of fal's gateway.
    pub fn gateway(status: u16, error_type: &str) -> Self {
        Self::Status {
            status,
            headers: vec![("x-fal-error-type".to_owned(), error_type.to_owned())],
            body: json!({"detail": "The gateway could not serve the request", "error_type": error_type}),
        }
    }
}

/// Which of the calls that match meet the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Only(usize),
    From(usize),
}

type Condition = Box<dyn Fn(&Call) -> bool + Send + Sync>;

struct Rule {
    service: Service,
    path: String,
    condition: Option<Condition>,
    turn: Turn,
    seen: usize,
    fault: Fault,
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {:?}: {:?}", self.service, self.path, self.turn, self.fault)
    }
}

/// The faults that wait for their call.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    /// Begins a fault for calls of `service` whose `METHOD /path` contains `path`.
    pub fn on<'faults>(&'faults self, service: Service, path: &str) -> Ordering<'faults> {
        Ordering {
            faults: self,
            rule: Rule {
                service,
                path: path.to_owned(),
                condition: None,
                turn: Turn::Only(1),
                seen: 0,
                fault: Fault::Refuse,
            },
        }
    }

    /// Forgets every fault.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The fault that this call meets. Every rule counts the calls that match it; where several
    /// are due, the one that was ordered first wins.
    pub(super) fn next(&self, call: &Call) -> Option<Fault> {
        let mut due = None;
        for rule in self.0.lock().unwrap().iter_mut() {
            let request = format!("{} {}", call.method, call.path);
            if rule.service != call.service
                || !request.contains(&rule.path)
                || rule.condition.as_ref().is_some_and(|condition| !condition(call))
            {
                continue;
            }
            rule.seen += 1;
            let is_due = match rule.turn {
                Turn::Only(number) => rule.seen == number,
                Turn::From(number) => rule.seen >= number,
            };
            if is_due && due.is_none() {
                due = Some(rule.fault.clone());
            }
        }
        due
    }
}

/// A fault that is being ordered. Without more said it meets the first matching call.
#[derive(Debug)]
#[must_use = "a fault is ordered by `meets`"]
pub struct Ordering<'faults> {
    faults: &'faults Faults,
    rule: Rule,
}

impl Ordering<'_> {
    /// Only calls for which `condition` holds are counted.
    pub fn when(mut self, condition: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.rule.condition = Some(Box::new(condition));
        self
    }

    /// The fault is met by the call with this number, counted from 1.
    pub fn nth(mut self, number: usize) -> Self {
        self.rule.turn = Turn::Only(number);
        self
    }

    /// The fault is met by the call with this number and all after it.
    pub fn from(mut self, number: usize) -> Self {
        self.rule.turn = Turn::From(number);
        self
    }

    /// The fault is met by every call.
    pub fn always(self) -> Self {
        self.from(1)
    }

    /// Orders the fault.
    pub fn meets(mut self, fault: Fault) {
        self.rule.fault = fault;
        self.faults.0.lock().unwrap().push(self.rule);
    }
}
