//! How it is doing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::ToSpan as _;
use rust_decimal::prelude::ToPrimitive as _;

use super::super::caller::{self, Caller};
use super::super::counts::Books;
use super::super::views::{DependencyView, HealthView};
use super::{House, Problem};
use crate::commands::health::Status;
use crate::ledger::report::{Level, Question};
use crate::serve::PROBE;
use crate::store::queue::{self, Which};

/// Over how many days the cache hit rate is measured.
const CACHE_DAYS: i64 = 30;

/// How aida is doing, as the last probe found it. Asks nobody.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, description = "Films can be made, or nothing is known yet", body = HealthView),
        (status = 503, description = "Something that films need does not work", body = HealthView),
        (status = 403, description = "It is called as another host, without a token", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn health(State(house): State<Arc<House>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let probe = house.health.read().await;
    let is_let_in = caller::is_let_in(&parts, &house);
    // An old probe says little.
    let status = probe.as_ref().map(|(report, at)| {
        if at.elapsed() > PROBE * 3 { report.status.max(Status::Degraded) } else { report.status }
    });
    let details = probe.as_ref().filter(|_| is_let_in);
    let view = HealthView {
        status: status.map_or("starting", Status::as_str),
        version: env!("CARGO_PKG_VERSION"),
        uptime: house.context.started.elapsed().as_secs_f64(),
        timestamp: house.context.clock.now().to_string(),
        probe_age_seconds: details.map(|(_, at)| at.elapsed().as_secs_f64()),
        dependencies: details.map(|(report, _)| {
            let view = |dependency: &crate::commands::health::Dependency| DependencyView {
                name: dependency.name.to_owned(),
                status: dependency.status.as_str(),
                detail: dependency.detail.clone(),
                hint: dependency.hint.clone(),
            };
            report.dependencies.iter().map(view).collect()
        }),
    };
    let code =
        if status == Some(Status::Down) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(view)).into_response()
}

/// Counts and sums for Prometheus. Those of the database are of all hosts and users, so a token
/// of one user does not open it.
#[utoipa::path(
    get,
    path = "/metrics",
    params(("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
        Problem,
    )
)]
pub(super) async fn metrics(
    State(house): State<Arc<House>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.acts_for_all()?;
    let now = house.context.clock.now();
    let target = house.context.settings.cache_hit_target;
    let everything = Question::of_everything(Level::Provider, now, target);
    let month =
        Question { since: now.checked_sub((24 * CACHE_DAYS).hours()).ok(), ..everything.clone() };
    let mut session = house.producer.store.session().await?;
    let depth = queue::depth(&mut session, Which::All).await?;
    let all = everything.ask(&mut session).await?;
    let month = month.ask(&mut session).await?;
    session.close().await;
    let figure = |amount: crate::ledger::money::Usd| amount.dollars().to_f64().unwrap_or_default();
    let books = Books {
        depth,
        settled_usd: figure(all.totals.settled_usd),
        unknown_usd: figure(all.totals.unknown_usd),
        cache_hit_rate: month.cache.hit_rate.and_then(|rate| rate.to_f64()),
    };
    let text = house.counts.text(books).map_err(|_| Problem::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
