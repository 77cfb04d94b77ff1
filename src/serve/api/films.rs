//! The finished film, whole or in ranges.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{IF_RANGE, RANGE};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::super::caller::Caller;
use super::memory::project_of;
use super::runs::run_of;
use super::{House, Problem};
use crate::store::runs;

/// What asking for a film is answered.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it describes what the file service answers")]
enum FilmAnswers {
    /// The whole film
    #[response(status = 200, content_type = "video/mp4")]
    Whole,
    /// The range that was asked for
    #[response(status = 206, content_type = "video/mp4")]
    Part,
    /// It has not changed
    #[response(status = 304)]
    Unchanged,
    /// The film has no such range
    #[response(status = 416)]
    NoSuchRange,
}

/// The film that a run made.
#[utoipa::path(
    get,
    path = "/api/runs/{run}/video",
    params(("run" = String, Path, description = "The run"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        FilmAnswers,
        Problem,
    )
)]
pub(super) async fn of_run(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let run = run_of(&house, &caller.user(None)?, &id).await?;
    film(run.video_path, request).await
}

/// The latest film of a video.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/video",
    params(("project" = String, Path, description = "The video"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        FilmAnswers,
        Problem,
    )
)]
pub(super) async fn of_project(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let project = project_of(&house, &caller.user(None)?, &id).await?;
    let mut session = house.producer.store.session().await?;
    let found = runs::of_project(&mut session, project.id).await?;
    session.close().await;
    film(found.into_iter().find_map(|run| run.video_path), request).await
}

async fn film(path: Option<String>, mut request: Request) -> Result<Response, Problem> {
    let path = path.ok_or_else(|| Problem::missing("the film is not there yet"))?;
    // A part is only wanted of the very film that the caller has the rest of: it gets the whole.
    if request.headers().contains_key(IF_RANGE) {
        request.headers_mut().remove(RANGE);
    }
    let answer = ServeFile::new(path).oneshot(request).await;
    let answer = answer.map_err(|_| Problem::internal())?.into_response();
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(Problem::missing("the film was moved, or lies on another host"));
    }
    Ok(answer)
}
