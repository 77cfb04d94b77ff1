//! What a run tells, as server-sent events: from any host, and again from where a caller was cut off.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::super::caller::Caller;
use super::super::followers::Place;
use super::super::views::RunView;
use super::runs::{run_of, view_in};
use super::{House, Problem};
use crate::ids::RunId;
use crate::store::run_events;

/// How often a run's events are looked for.
const GLANCE: Duration = Duration::from_millis(500);
/// How often a run that has ended is looked at again before the end is told: longer than a run's events
/// wait to be written down.
const LAST_GLANCES: u32 = 3;
/// How often a run may not be readable, one after the other.
const MOST_TROUBLES: u32 = 20;
/// The most events that are read at once.
const MOST_AT_ONCE: i64 = 200;

/// What a run tells: one event for each thing that happened, with its number as the id, and at last
/// `end` with how far the run is. `Last-Event-ID` goes on after an event.
#[utoipa::path(
    get,
    path = "/api/runs/{run}/events",
    params(
        ("run" = String, Path, description = "The run"),
        ("userId" = Option<String>, Query),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that was received"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        Problem,
    )
)]
pub(super) async fn events(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
    let Path(id) = path?;
    let user = caller.user(None)?;
    let run = run_of(&house, &user, &id).await?;
    let place = house.place_to_follow(&user)?;
    let heard = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let heard = heard.and_then(|value| value.parse().ok()).unwrap_or_default();
    let follower = Follower {
        house,
        run: run.id,
        heard,
        ready: Vec::new(),
        quiet: 0,
        troubles: 0,
        is_over: false,
        _place: place,
    };
    let stream = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

struct Follower {
    house: Arc<House>,
    run: RunId,
    heard: i64,
    /// What was read and not sent yet, the latest first.
    ready: Vec<Event>,
    /// How often the run had ended and nothing more was told.
    quiet: u32,
    /// How often it could not be read, one after the other.
    troubles: u32,
    is_over: bool,
    _place: Place,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            match self.read().await {
                // The last of what a run tells is written down just after its end.
                Ok((view, 0)) if view.has_ended() => {
                    self.quiet += 1;
                    if self.quiet > LAST_GLANCES {
                        self.is_over = true;
                        return Event::default().event("end").json_data(&view).ok();
                    }
                }
                Ok((_, 0)) => self.troubles = 0,
                Ok(_) => continue,
                Err(problem) => {
                    self.troubles += 1;
                    tracing::debug!(?problem, "a run's events were not read");
                    // The caller asks again, and goes on after what it has heard.
                    if self.troubles > MOST_TROUBLES {
                        return None;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(GLANCE) => {}
                () = self.house.closing.cancelled() => return None,
            }
        }
    }

    async fn read(&mut self) -> Result<(RunView, usize), Problem> {
        let mut session = self.house.producer.store.session().await?;
        let view = view_in(&self.house, &mut session, self.run).await?;
        let told = run_events::after(&mut session, self.run, self.heard, MOST_AT_ONCE).await?;
        session.close().await;
        let count = told.len();
        for mut event in told.into_iter().rev() {
            self.heard = self.heard.max(event.number);
            let name = event.event["event"].as_str().unwrap_or("note").to_owned();
            // Where it lies on this machine is nobody's business.
            if let Some(video) = event.event.get_mut("video") {
                *video = serde_json::json!(format!("/api/runs/{}/video", self.run));
            }
            let data = event.event.to_string();
            self.ready.push(Event::default().id(event.number.to_string()).event(name).data(data));
        }
        Ok((view, count))
    }
}
