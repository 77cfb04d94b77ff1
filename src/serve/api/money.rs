//! What was spent.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::caller::Caller;
use super::super::views::{CostView, Costs, exact};
use super::{House, Problem};
use crate::commands::costs::stretch;
use crate::ledger::report::{Level, Question};

/// Which charges, and by what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct CostsQuery {
    /// Whose; the token's user where it is not said.
    #[serde(rename = "userId")]
    #[param(rename = "userId")]
    _user_id: Option<String>,
    /// From when on: a date, `7d`, or `today`.
    since: Option<String>,
    /// Until when, inclusive.
    until: Option<String>,
    /// The last how many videos.
    #[param(minimum = 1, maximum = 10000)]
    last: Option<u32>,
    /// `day`, `week`, `month`, `campaign`, `project`, `component`, `provider`, `model` or `status`.
    by: Option<String>,
}

/// What a user has spent.
#[utoipa::path(
    get,
    path = "/api/costs",
    params(CostsQuery),
    security(("token" = [])),
    responses(
        (status = 200, description = "The charges, by groups", body = Costs),
        Problem,
    )
)]
pub(super) async fn costs(
    State(house): State<Arc<House>>,
    caller: Caller,
    query: Result<Query<CostsQuery>, QueryRejection>,
) -> Result<Json<Costs>, Problem> {
    let Query(query) = query?;
    let user = caller.user(None)?;
    let level = match query.by.as_deref() {
        None => Level::Day,
        // Whom else the books know is nobody's business.
        Some("user") => return Err(Problem::invalid("by user is for `aida costs`")),
        Some(by) => Level::ALL
            .into_iter()
            .find(|level| level.as_str() == by)
            .ok_or_else(|| Problem::invalid(format!("'{by}' is no grouping of costs")))?,
    };
    if query.last.is_some_and(|last| last == 0 || last > 10_000) {
        return Err(Problem::invalid("last is a number of videos from 1 to 10000"));
    }
    let context = &house.context;
    let (since, until) = stretch(query.since.as_deref(), query.until.as_deref(), context)?;
    let question = Question {
        user: Some(user),
        since,
        until,
        last: query.last,
        zone: context.settings.time_zone.clone(),
        ..Question::of_everything(level, context.clock.now(), context.settings.cache_hit_target)
    };
    let mut session = house.producer.store.session().await?;
    let report = question.ask(&mut session).await?;
    session.close().await;
    Ok(Json(Costs {
        by: report.by,
        time_zone: report.time_zone,
        rows: report.rows.into_iter().map(CostView::from).collect(),
        totals: report.totals.into(),
        in_flight_usd: exact(report.in_flight_usd),
        cache_hit_target: context.settings.cache_hit_target.to_f64().unwrap_or_default(),
    }))
}
