//! The cases: which call of which endpoint meets which documented error (providers.md 1.10, 2.1, 3.1,
//! 3.8, 4.2 and 4.4), and the faults of the line that every call can meet.

use serde_json::{Value, json};

use crate::support::{Fault, Service};

/// Which part of the work a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Writing,
    Embedding,
    Drawing,
    Filming,
}

/// One order: the first matching call, or every one, meets the fault.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) service: Service,
    pub(crate) path: &'static str,
    /// Only the fetching of a result, whose path is a part of the others'.
    pub(crate) is_result: bool,
    pub(crate) always: bool,
    pub(crate) fault: Fault,
}

/// One line of the matrix.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) step: Step,
    pub(crate) endpoint: String,
    pub(crate) what: String,
    pub(crate) image_model: &'static str,
    pub(crate) orders: Vec<Order>,
}

const MIDJOURNEY: &str = "midjourney-7-fast";
const BANANA: &str = "nano-banana-2";

fn order(service: Service, path: &'static str, fault: Fault) -> Order {
    Order { service, path, is_result: false, always: false, fault }
}

/// The faults of the line, which every endpoint can meet.
fn line_faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("line: cut before it is read", Fault::Refuse),
        ("line: reply lost", Fault::LoseReply),
        ("line: reply cut midway", Fault::CutMidway),
        ("a proxy's 502", page(502)),
        ("a proxy's 503", page(503)),
    ]
}

/// What a proxy says in the service's place.
fn page(status: u16) -> Fault {
    Fault::status(status, json!("<html><title>Bad gateway</title></html>"))
}

/// The cases of one part of the work.
pub(crate) fn of(step: Step) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |endpoint: &str, what: &str, image_model, orders: Vec<Order>| {
        let (endpoint, what) = (endpoint.to_owned(), what.to_owned());
        cases.push(Case { step, endpoint, what, image_model, orders });
    };
    match step {
        Step::Writing => writing(&mut add),
        Step::Embedding => embedding(&mut add),
        Step::Drawing => drawing(&mut add),
        Step::Filming => filming(&mut add),
    }
    cases
}

type Add<'a> = dyn FnMut(&str, &str, &'static str, Vec<Order>) + 'a;

fn writing(add: &mut Add<'_>) {
    let claude = |status, kind: &str, code: Option<&str>| {
        let details = code.map(|code| json!({"error_code": code}));
        Fault::status(
            status,
            json!({"type": "error", "error": {"type": kind, "message": "as documented", "details": details},
                "request_id": "req_1"}),
        )
    };
    for (status, kind, code) in [
        (400, "invalid_request_error", None),
        (401, "authentication_error", None),
        (402, "billing_error", None),
        (403, "permission_error", None),
        (404, "not_found_error", None),
        (408, "timeout_error", None),
        (409, "conflict_error", None),
        (413, "request_too_large", None),
        (429, "rate_limit_error", None),
        (429, "rate_limit_error", Some("ramp_limit_exceeded")),
        (429, "rate_limit_error", Some("enforced_spend_limit_reached")),
        (429, "rate_limit_error", Some("contract_spend_limit_reached")),
        (500, "api_error", None),
        (503, "service_unavailable", None),
        (504, "timeout_error", None),
        (529, "overloaded_error", None),
        (418, "something_new_error", None),
    ] {
        let what = format!("{status} {}", code.unwrap_or(kind));
        let mut fault = claude(status, kind, code);
        if let (Fault::Status { headers, .. }, 429) = (&mut fault, status) {
            headers.push(("retry-after".to_owned(), "1".to_owned()));
        }
        add("messages", &what, MIDJOURNEY, vec![order(Service::Anthropic, "/v1/messages", fault)]);
    }
    let tier = Fault::Status {
        status: 429,
        headers: vec![("x-should-retry".to_owned(), "false".to_owned())],
        body: json!({"type": "error", "error": {"type": "rate_limit_error", "message": "tier"}}),
    };
    add(
        "messages",
        "429 tier's monthly cap",
        MIDJOURNEY,
        vec![order(Service::Anthropic, "/v1/messages", tier)],
    );
    for (what, fault) in [
        ("stop: refusal", Fault::Refusal),
        ("stop: max_tokens", Fault::CutOff),
        ("stop: pause_turn", Fault::PauseTurn),
        ("text instead of a tool", Fault::TextInsteadOfTool),
        ("tool input breaks its schema", Fault::BreakSchema),
    ] {
        add("messages", what, MIDJOURNEY, vec![order(Service::Anthropic, "/v1/messages", fault)]);
    }
    for (what, fault) in line_faults() {
        add("messages", what, MIDJOURNEY, vec![order(Service::Anthropic, "/v1/messages", fault)]);
    }
    for (what, fault) in [
        ("529 always", claude(529, "overloaded_error", None)),
        ("line: lost always", Fault::LoseReply),
    ] {
        let order = Order { always: true, ..order(Service::Anthropic, "/v1/messages", fault) };
        add("messages", what, MIDJOURNEY, vec![order]);
    }
}

fn embedding(add: &mut Add<'_>) {
    let openai = |status, kind: &str, code: Value| {
        Fault::status(
            status,
            json!({"error": {"message": "as documented", "type": kind, "param": null, "code": code}}),
        )
    };
    for (status, kind, code) in [
        (400, "invalid_request_error", Value::Null),
        (401, "invalid_request_error", json!("invalid_api_key")),
        (403, "invalid_request_error", json!("unsupported_country")),
        (404, "invalid_request_error", json!("model_not_found")),
        (408, "timeout", Value::Null),
        (409, "conflict", Value::Null),
        (429, "requests", json!("rate_limit_exceeded")),
        (429, "insufficient_quota", json!("insufficient_quota")),
        (429, "insufficient_quota", Value::Null),
        (500, "server_error", Value::Null),
        (503, "server_error", Value::Null),
    ] {
        let what = format!("{status} {kind} {}", code.as_str().unwrap_or("-"));
        let fault = openai(status, kind, code);
        add("embeddings", &what, MIDJOURNEY, vec![order(Service::OpenAi, "/embeddings", fault)]);
    }
    // Voyage's shape of error is tolerated.
    let voyage = Fault::status(401, json!({"detail": "Provided API key is invalid."}));
    add(
        "embeddings",
        "401 {detail}",
        MIDJOURNEY,
        vec![order(Service::OpenAi, "/embeddings", voyage)],
    );
    for (what, fault) in line_faults() {
        add("embeddings", what, MIDJOURNEY, vec![order(Service::OpenAi, "/embeddings", fault)]);
    }
}

/// KIE's documented codes.
const KIE_CODES: [(u16, &str); 12] = [
    (400, "Your prompt was flagged as violating content policies"),
    (401, "You do not have access permissions"),
    (402, "Credits insufficient"),
    (404, "Not found"),
    (408, "Upstream gave nothing"),
    (422, "Validation failed"),
    (429, "Your call frequency is too high"),
    (433, "The limit of this sub-key is reached"),
    (455, "Maintenance"),
    (500, "Server error"),
    (501, "Generation failed"),
    (505, "The feature is disabled"),
];

fn drawing(add: &mut Add<'_>) {
    let kie = |path, fault| order(Service::Kie, path, fault);
    for (endpoint, path, model) in [
        ("mj/generate", "mj/generate", MIDJOURNEY),
        ("jobs/createTask", "createTask", BANANA),
        ("mj/record-info", "record-info", MIDJOURNEY),
        ("jobs/recordInfo", "recordInfo", BANANA),
        ("chat/credit", "chat/credit", BANANA),
    ] {
        for (code, words) in KIE_CODES {
            add(
                endpoint,
                &format!("code {code}"),
                model,
                vec![kie(path, Fault::envelope(code, words))],
            );
        }
        for (what, fault) in line_faults() {
            add(endpoint, what, model, vec![kie(path, fault)]);
        }
    }
    add(
        "jobs/createTask",
        "code 400 without policy words",
        BANANA,
        vec![kie("createTask", Fault::envelope(400, "bad size"))],
    );
    for code in [429, 455] {
        let order = Order { always: true, ..kie("createTask", Fault::envelope(code, "no")) };
        add("jobs/createTask", &format!("code {code} always"), BANANA, vec![order]);
    }
    for (endpoint, path, model) in
        [("mj job", "mj/generate", MIDJOURNEY), ("unified job", "createTask", BANANA)]
    {
        for (what, fault) in [
            ("fails", Fault::FailJob { message: "Internal Error".to_owned() }),
            ("is moderated", Fault::Moderate),
            ("succeeds with an empty list twice", Fault::EmptySuccess { polls: 2 }),
            ("download 403, a fresh link helps", Fault::ForbidDownload),
            ("yields half a file", Fault::DamageResult),
        ] {
            add(endpoint, what, model, vec![kie(path, fault)]);
        }
        let always =
            Order { always: true, ..kie(path, Fault::FailJob { message: "no".to_owned() }) };
        add(endpoint, "fails always", model, vec![always]);
        for (what, fault) in [
            ("code 422", Fault::envelope(422, "not ours")),
            ("code 500", Fault::envelope(500, "no")),
            ("line: reply lost", Fault::LoseReply),
        ] {
            let endpoint = format!("{endpoint}, download-url");
            let orders = vec![kie(path, Fault::ForbidDownload), kie("download-url", fault)];
            add(&endpoint, what, model, orders);
        }
    }
    download(add, "image download", Service::Kie, "GET /files/", BANANA);
}

/// What can go wrong with the fetching of a file.
fn download(
    add: &mut Add<'_>,
    endpoint: &str,
    service: Service,
    path: &'static str,
    model: &'static str,
) {
    for status in [403, 404, 429, 500, 503] {
        let fault = Fault::status(status, json!({"error": "no"}));
        add(endpoint, &status.to_string(), model, vec![order(service, path, fault)]);
    }
    for (what, fault) in line_faults().into_iter().take(3) {
        add(endpoint, what, model, vec![order(service, path, fault)]);
    }
}

/// fal's documented errors of its gateway, with their status.
const FAL_GATEWAY: [(u16, &str); 16] = [
    (504, "request_timeout"),
    (504, "startup_timeout"),
    (503, "runner_scheduling_failure"),
    (503, "runner_connection_timeout"),
    (503, "runner_disconnected"),
    (503, "runner_connection_refused"),
    (503, "runner_connection_error"),
    (502, "runner_incomplete_response"),
    (500, "runner_server_error"),
    (499, "client_disconnected"),
    (499, "client_cancelled"),
    (400, "bad_request"),
    (500, "internal_error"),
    (401, "auth_error"),
    (404, "not_found"),
    (422, "url_error"),
];

/// fal's documented errors of its models.
const FAL_MODEL: [&str; 15] = [
    "content_policy_violation",
    "no_media_generated",
    "image_too_small",
    "image_too_large",
    "image_load_error",
    "file_download_error",
    "file_too_large",
    "face_detection_error",
    "feature_not_supported",
    "missing",
    "greater_than",
    "internal_server_error",
    "generation_timeout",
    "downstream_service_error",
    "downstream_service_unavailable",
];

fn gateway(kind: &str) -> Value {
    json!({"detail": "as documented", "error_type": kind})
}

fn model_error(kind: &str) -> Value {
    json!({"detail": [{"loc": ["body", "prompt"], "msg": "as documented", "type": kind}]})
}

fn platform(kind: &str) -> Value {
    json!({"error": {"type": kind, "message": "as documented", "request_id": "req_p"}})
}

fn filming(add: &mut Add<'_>) {
    let fal = |path, fault| order(Service::Fal, path, fault);
    for (endpoint, path) in
        [("storage initiate", "storage/upload/initiate"), ("storage put", "PUT /put/")]
    {
        for status in [401, 403, 404, 429, 500, 503] {
            let fault = Fault::status(status, json!({"detail": "as documented"}));
            add(endpoint, &status.to_string(), BANANA, vec![fal(path, fault)]);
        }
        for (what, fault) in line_faults().into_iter().take(3) {
            add(endpoint, what, BANANA, vec![fal(path, fault)]);
        }
    }
    for (status, kind) in FAL_GATEWAY {
        let what = format!("{status} {kind}");
        let submit = Fault::gateway(status, kind);
        add("queue submit", &what, BANANA, vec![fal("POST /queue/", submit)]);
        // The job itself ends so.
        let end = Fault::EndJob { status, body: gateway(kind) };
        add("queue result", &what, BANANA, vec![fal("POST /queue/", end)]);
    }
    for kind in FAL_MODEL {
        let what = format!("422 {kind}");
        let submit = Fault::status(422, model_error(kind));
        add("queue submit", &what, BANANA, vec![fal("POST /queue/", submit)]);
        let end = Fault::EndJob { status: 422, body: model_error(kind) };
        add("queue result", &what, BANANA, vec![fal("POST /queue/", end)]);
    }
    for (what, status, body) in [
        ("403 no permission", 403, json!({"detail": "You are not allowed to use this"})),
        (
            "403 locked",
            403,
            json!({"detail": "User is locked. Reason: Exhausted balance. Top up your balance."}),
        ),
        ("422 text detail", 422, json!({"detail": "plain text"})),
        ("429", 429, json!({"detail": "Too many requests"})),
    ] {
        add("queue submit", what, BANANA, vec![fal("POST /queue/", Fault::status(status, body))]);
    }
    for (what, fault) in line_faults() {
        add("queue submit", what, BANANA, vec![fal("POST /queue/", fault.clone())]);
        add("queue status", what, BANANA, vec![fal("/status", fault.clone())]);
        let result = Order { is_result: true, ..fal("GET /queue-eu/", fault) };
        add("queue result", what, BANANA, vec![result]);
    }
    for status in [401, 403, 404, 429, 500, 503, 504] {
        let fault = Fault::status(status, json!({"detail": "as documented"}));
        add("queue status", &status.to_string(), BANANA, vec![fal("/status", fault)]);
    }
    for status in [401, 403, 404, 429, 500] {
        let fault = Fault::status(status, json!({"detail": "as documented"}));
        let result = Order { is_result: true, ..fal("GET /queue-eu/", fault) };
        add("queue result", &format!("{status} of the question"), BANANA, vec![result]);
    }
    add("queue job", "yields half a file", BANANA, vec![fal("POST /queue/", Fault::DamageResult)]);
    add(
        "queue job",
        "is billed although it failed, and says so",
        BANANA,
        vec![fal("POST /queue/", Fault::BillFailure { tells_units: true })],
    );
    for (what, kind, status) in [
        ("401", "authorization_error", 401),
        ("403", "authorization_error", 403),
        ("429", "rate_limited", 429),
        ("500", "server_error", 500),
        ("501", "not_implemented", 501),
    ] {
        let list = Fault::status(status, platform(kind));
        let orders = vec![fal("POST /queue/", Fault::LoseReply), fal("by-endpoint", list)];
        add("platform list after a lost submit", &format!("{what} {kind}"), BANANA, orders);
    }
    download(add, "clip download", Service::Fal, "GET /cdn/clips/", BANANA);
}
