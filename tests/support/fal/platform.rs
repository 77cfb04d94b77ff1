//! fal's platform API: models, prices, past requests, billing. Its errors have a third shape.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::endpoints::{ENDPOINTS, Endpoint};
use super::{Fal, Job, Outcome};
use crate::support::wire::{Answer, Call};

/// The most requests on one page.
const LARGEST_PAGE: usize = 100;

fn error(status: u16, kind: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"type": kind, "message": message, "request_id": "req_platform"}}),
    )
}

/// A decimal as the JSON number that the platform sends.
fn number(decimal: Decimal) -> Value {
    serde_json::from_str(&decimal.normalize().to_string()).unwrap()
}

/// A time as the platform takes it: RFC 3339, or a day.
fn time(text: &str) -> Result<Timestamp, jiff::Error> {
    let day = || text.parse::<jiff::civil::Date>()?.to_zoned(jiff::tz::TimeZone::UTC);
    text.parse().or_else(|_| day().map(|day| day.timestamp()))
}

impl Fal {
    /// Everything below `/api/v1`.
    pub(super) fn platform(&self, call: &Call, path: &str) -> Answer {
        let limit = call.parameter("limit").map_or(Ok(50), str::parse::<usize>);
        let Some(limit) = limit.ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit)) else {
            self.bench.violation(call, "limit must be a number from 1 to 100");
            return error(400, "validation_error", "limit must be a number from 1 to 100");
        };
        let endpoints = call.parameters("endpoint_id");
        match (call.method.as_str(), path) {
            ("GET", "/models") => Self::models(&endpoints),
            ("GET", "/models/pricing") => self.pricing(call, &endpoints),
            ("GET", "/models/requests/by-endpoint") => self.requests(call, &endpoints, limit),
            ("GET", "/models/billing-events") => self.billing_events(call, limit),
            ("GET", "/account/billing") => {
                let mut body = json!({"username": "creator"});
                if call.parameters("expand").contains(&"credits") {
                    let spent: Decimal = self.bench.bill.total_of(crate::support::Service::Fal);
                    let left = self.state.lock().unwrap().funds - spent;
                    body["credits"] = json!({"current_balance": number(left), "currency": "USD"});
                }
                Answer::json(200, &body)
            }
            _ => {
                self.bench.violation(call, "there is no such endpoint");
                error(404, "not_found", "Not found")
            }
        }
    }

    fn models(wanted: &[&str]) -> Answer {
        let models: Vec<Value> = ENDPOINTS
            .iter()
            .filter(|endpoint| wanted.is_empty() || wanted.contains(&endpoint.id))
            .map(|endpoint| {
                json!({"endpoint_id": endpoint.id, "metadata": {"display_name": endpoint.id,
                    "category": "image-to-video", "description": "Kling", "status": "active", "tags": [],
                    "updated_at": "2026-11-01T00:00:00Z", "is_favorited": null, "thumbnail_url": "",
                    "model_url": format!("https://fal.run/{}", endpoint.id), "date": "2026-11-01T00:00:00Z",
                    "highlighted": false, "pinned": false}})
            })
            .collect();
        if models.is_empty() {
            return error(404, "not_found", "No such endpoint");
        }
        Answer::json(200, &json!({"models": models, "next_cursor": null, "has_more": false}))
    }

    fn pricing(&self, call: &Call, wanted: &[&str]) -> Answer {
        if wanted.is_empty() || wanted.len() > 50 {
            self.bench.violation(call, "endpoint_id must name 1 to 50 endpoints");
            return error(400, "validation_error", "endpoint_id must name 1 to 50 endpoints");
        }
        let found: Vec<Endpoint> = wanted.iter().filter_map(|id| Endpoint::find(id)).collect();
        if found.len() < wanted.len() {
            return error(404, "not_found", "One of the endpoints does not exist");
        }
        let prices: Vec<Value> = found
            .iter()
            .map(|endpoint| {
                let listed = self.state.lock().unwrap().listed.get(endpoint.id).copied();
                json!({"endpoint_id": endpoint.id,
                    "unit_price": number(listed.unwrap_or(endpoint.price)),
                    "unit": "seconds", "currency": "USD"})
            })
            .collect();
        Answer::json(200, &json!({"prices": prices, "next_cursor": null, "has_more": false}))
    }

    /// Past requests. Those that still wait in the queue are not among them: whether the vendor
    /// lists them is not documented, so a caller must not count on it.
    fn requests(&self, call: &Call, wanted: &[&str], limit: usize) -> Answer {
        if wanted.is_empty() {
            self.bench.violation(call, "endpoint_id is required");
            return error(400, "validation_error", "endpoint_id is required");
        }
        let time = |name: &str| call.parameter(name).map(time).transpose();
        let (Ok(start), Ok(end)) = (time("start"), time("end")) else {
            self.bench.violation(call, "start and end must be times");
            return error(400, "validation_error", "start and end must be times");
        };
        let Ok(offset) = call.parameter("cursor").map_or(Ok(0), str::parse::<usize>) else {
            return error(400, "validation_error", "the cursor is not one of ours");
        };
        let with_payloads = call.parameters("expand").contains(&"payloads");
        let now = self.bench.pace.life();
        let state = self.state.lock().unwrap();
        let mut jobs: Vec<&Job> = state
            .jobs
            .values()
            .filter(|job| {
                wanted.contains(&job.endpoint.id)
                    && job.starts <= now
                    && start.is_none_or(|start| job.sent_at >= start)
                    && end.is_none_or(|end| job.sent_at < end)
            })
            .collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.sent_at));
        let items: Vec<Value> = jobs
            .iter()
            .skip(offset)
            .take(limit)
            .map(|job| {
                let has_ended = job.ends <= now && job.outcome != Outcome::Never;
                let status = match job.outcome {
                    _ if !has_ended => Value::Null,
                    Outcome::Success | Outcome::Never => json!(200),
                    Outcome::Failure { status, .. } => json!(status),
                };
                let mut item = json!({"request_id": job.id, "endpoint_id": job.endpoint.id,
                    "started_at": job.sent_at.to_string(), "sent_at": job.sent_at.to_string(),
                    "ended_at": has_ended.then(|| Timestamp::now().to_string()),
                    "status_code": status, "duration": if has_ended { json!(60.5) } else { Value::Null }});
                if with_payloads {
                    item["json_input"] = job.input.clone();
                    item["json_output"] = if status == 200 { self.output(job) } else { Value::Null };
                }
                item
            })
            .collect();
        let next = offset + items.len();
        let has_more = next < jobs.len();
        let cursor = has_more.then(|| next.to_string());
        Answer::json(200, &json!({"items": items, "next_cursor": cursor, "has_more": has_more}))
    }

    fn billing_events(&self, call: &Call, limit: usize) -> Answer {
        let wanted = call.parameters("request_id");
        if wanted.len() > 50 {
            self.bench.violation(call, "request_id must name 1 to 50 requests");
            return error(400, "validation_error", "request_id must name 1 to 50 requests");
        }
        let time = |name: &str| call.parameter(name).map(time).transpose();
        let (Ok(start), Ok(end)) = (time("start"), time("end")) else {
            self.bench.violation(call, "start and end must be times");
            return error(400, "validation_error", "start and end must be times");
        };
        let day = jiff::SignedDuration::from_hours(24);
        let end = end.unwrap_or_else(Timestamp::now);
        let start = start.unwrap_or_else(|| end.checked_sub(day).unwrap());
        if end.duration_since(start) > day * 90 {
            self.bench.violation(call, "more than 90 days");
            return error(400, "validation_error", "the range must not be longer than 90 days");
        }
        let Ok(offset) = call.parameter("cursor").map_or(Ok(0), str::parse::<usize>) else {
            return error(400, "validation_error", "the cursor is not one of ours");
        };
        let now = self.bench.pace.life();
        let state = self.state.lock().unwrap();
        if !state.is_administrator {
            return error(403, "authorization_error", "This key needs the admin scope");
        }
        let billed: Vec<&Job> = state
            .jobs
            .values()
            .filter(|job| {
                job.is_billed
                    && job.ends <= now
                    && (start..end).contains(&job.sent_at)
                    && (wanted.is_empty() || wanted.contains(&job.id.as_str()))
            })
            .collect();
        let events: Vec<Value> = billed
            .iter()
            .skip(offset)
            .take(limit)
            .map(|job| {
                let discount = job.order.usd * state.discount / Decimal::ONE_HUNDRED;
                let total = job.order.usd - discount;
                json!({"request_id": job.id, "endpoint_id": job.endpoint.id,
                    "timestamp": job.sent_at.to_string(),
                    "output_units": number(job.endpoint.units(&job.order)),
                    "unit_price": number(job.endpoint.price),
                    "percent_discount": if discount.is_zero() { Value::Null } else { number(state.discount) },
                    "cost_subtotal": number(job.order.usd), "cost_discount": number(discount),
                    "cost_total": number(total),
                    "cost_estimate_nano_usd": number(total * Decimal::from(1_000_000_000))})
            })
            .collect();
        let next = offset + events.len();
        let has_more = next < billed.len();
        Answer::json(
            200,
            &json!({"billing_events": events, "next_cursor": has_more.then(|| next.to_string()),
                "has_more": has_more}),
        )
    }
}
