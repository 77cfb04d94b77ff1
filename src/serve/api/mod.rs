//! The routes, and their description.

mod films;
mod health;
mod memory;
mod money;
mod problem;
mod runs;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::House;
use crate::cli::settings::serve::Origins;
pub(super) use problem::Problem;

/// The most bytes of a request's body.
const MOST_BODY_BYTES: usize = 256 * 1024;
/// How long a body may take from one piece to the next.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer may take, but for events, films, and those who said that they wait.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a body says that is there in time, for routes that may be answered late.
struct InTime<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for InTime<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match tokio::time::timeout(DEADLINE, Json::<T>::from_request(request, state)).await {
            Ok(body) => Ok(Self(body?.0)),
            Err(_) => Err(Problem::of_status(StatusCode::REQUEST_TIMEOUT)),
        }
    }
}

/// All routes with their bounds.
pub(super) fn router(house: &Arc<House>) -> Router {
    let quick = Router::new()
        .route("/health", get(health::health))
        .route("/openapi.json", get(openapi))
        .route("/metrics", get(health::metrics))
        .route("/api/runs", get(runs::list))
        .route("/api/runs/{run}", get(runs::show))
        .route("/api/runs/{run}/cancel", post(runs::cancel))
        .route("/api/runs/{run}/resume", post(runs::resume))
        .route("/api/projects", get(memory::projects))
        .route("/api/projects/{project}", get(memory::project))
        .route(
            "/api/projects/{project}/feedback",
            get(memory::feedback).post(memory::give_feedback),
        )
        .route("/api/search", get(memory::search))
        .route("/api/campaigns", get(memory::campaigns).post(memory::create_campaign))
        .route("/api/campaigns/{campaign}", get(memory::campaign))
        .route("/api/costs", get(money::costs))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, DEADLINE));
    let slow = Router::new()
        .route("/api/orchestrator/create-video", post(runs::create))
        .route("/api/runs/{run}/events", get(stream::events))
        .route("/api/runs/{run}/video", get(films::of_run))
        .route("/api/projects/{project}/video", get(films::of_project));
    quick
        .merge(slow)
        .fallback(|| async { Problem::missing("there is no such route; see /openapi.json") })
        .method_not_allowed_fallback(|| async { Problem::wrong_method() })
        .layer(RequestBodyLimitLayer::new(MOST_BODY_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_DEADLINE))
        .layer(middleware::from_fn_with_state(house.clone(), guard))
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(middleware::map_response(as_problem))
        .layer(middleware::from_fn_with_state(house.clone(), count))
        .layer(cors(&house.settings().origins))
        .with_state(house.clone())
}

fn cors(origins: &Origins) -> CorsLayer {
    let origin = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::These(origins) => AllowOrigin::list(
            origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    let named = ["x-aida-user", "idempotency-key", "prefer", "last-event-id", "range"];
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(
            [AUTHORIZATION, CONTENT_TYPE]
                .into_iter()
                .chain(named.map(HeaderName::from_static))
                .collect::<Vec<_>>(),
        )
        .expose_headers(
            ["location", "retry-after", "content-range", "preference-applied"]
                .map(HeaderName::from_static),
        )
        .max_age(Duration::from_hours(1))
}

/// What layers answer by themselves is a problem like any other.
async fn as_problem(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_one =
        kind.starts_with(b"application/problem+json") || kind.starts_with(b"application/json");
    // The range that a film does not have is told in the headers.
    let is_told = status == StatusCode::RANGE_NOT_SATISFIABLE;
    if is_one || is_told || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    Problem::of_status(status).into_response()
}

/// Without tokens callers are whom they say they are, which only programs of this machine may: a web page of
/// another host is turned away, also one whose name was bent to this machine's address.
async fn guard(State(house): State<Arc<House>>, request: Request, next: Next) -> Response {
    if house.settings().tokens.is_empty() && !is_of_this_machine(&house, request.headers()) {
        return Problem::forbidden("web pages of other hosts may not call this without a token")
            .into_response();
    }
    next.run(request).await
}

fn is_of_this_machine(house: &House, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).unwrap_or("localhost");
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => host,
    };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let is_welcome = |origin: &str| match &house.settings().origins {
        Origins::Any => true,
        Origins::These(origins) => origins.iter().any(|known| known == origin),
    };
    let comes_from_a_page = text(HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| matches!(site, "cross-site" | "same-site"));
    match text(ORIGIN) {
        Some(origin) => is_local && is_welcome(origin),
        None => is_local && !comes_from_a_page,
    }
}

/// Counts and logs every request by its route; its address may hold ids and is not kept.
async fn count(State(house): State<Arc<House>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = route.unwrap_or("none").to_owned();
    let method = request.method().clone();
    let answer = next.run(request).await;
    let (status, took) = (answer.status().as_u16(), began.elapsed());
    let known = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS].contains(&method);
    let method = if known { method.as_str() } else { "other" };
    house.counts.answered(method, &route, status, took);
    tracing::debug!(method, route, status, milliseconds = took.as_secs_f64() * 1e3, "answered");
    answer
}

/// The description of all routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "aida",
        description = "Films from briefs, and what they cost. Amounts are exact decimals of USD, as text."
    ),
    paths(
        health::health,
        health::metrics,
        runs::create,
        runs::list,
        runs::show,
        runs::cancel,
        runs::resume,
        stream::events,
        films::of_run,
        films::of_project,
        memory::projects,
        memory::project,
        memory::search,
        memory::campaigns,
        memory::create_campaign,
        memory::campaign,
        memory::feedback,
        memory::give_feedback,
        money::costs,
    )
)]
struct Description;

async fn openapi() -> impl IntoResponse {
    let mut description = Description::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut description.info.version);
    if let Some(components) = &mut description.components {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
    }
    axum::Json(description)
}
