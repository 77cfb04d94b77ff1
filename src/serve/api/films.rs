//! The finished film, whole or in ranges.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{IF_RANGE, RANGE};
use axum::http::{HeaderValue, Method, StatusCode};
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
    let moved = || Problem::missing("the film was moved, or lies on another host");
    let film = tokio::fs::metadata(&path).await.map_err(|_| moved())?;
    if !film.is_file() {
        return Err(moved());
    }
    let wanted = request.headers_mut().remove(RANGE);
    // A part is only wanted of the very film that the caller has the rest of: it gets the whole.
    if request.method() == Method::GET
        && !request.headers().contains_key(IF_RANGE)
        && let Some(range) = wanted.and_then(|range| single_range(range.to_str().ok()?, film.len()))
    {
        request.headers_mut().insert(RANGE, range);
    }
    let answer = ServeFile::new(path).oneshot(request).await;
    let answer = answer.map_err(|_| Problem::internal())?.into_response();
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(moved());
    }
    Ok(answer)
}

/// The range of bytes that a header asks for (RFC 9110, section 14), as the file service takes it; none where
/// the header is to be ignored: another unit, several ranges, or no range at all.
fn single_range(header: &str, bytes: u64) -> Option<HeaderValue> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |digits: &str| digits.parse::<u64>().ok();
    let range = match (unit.trim().eq_ignore_ascii_case("bytes"), first, last) {
        (false, ..) | (_, "", "") => return None,
        // The last so many, which may be more than there are.
        (true, "", last) if number(last)? >= bytes => "bytes=0-".to_owned(),
        (true, "", last) => format!("bytes=-{}", number(last)?),
        (true, first, "") => format!("bytes={}-", number(first)?),
        (true, first, last) if number(first)? <= number(last)? => format!("bytes={first}-{last}"),
        _ => return None,
    };
    HeaderValue::from_str(&range).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_of_bytes_or_is_ignored() {
        for (asked, given) in [
            ("bytes=0-99", Some("bytes=0-99")),
            ("Bytes=5-", Some("bytes=5-")),
            ("bytes=-10", Some("bytes=-10")),
            ("bytes=-3000", Some("bytes=0-")),
            ("bytes=2000-", Some("bytes=2000-")),
            ("items=0-1", None),
            ("bytes=0-1,5-6", None),
            ("bytes=a-b", None),
            ("bytes=7-3", None),
            ("bytes=-", None),
            ("bytes", None),
        ] {
            let range = single_range(asked, 1_000);
            let range = range.as_ref().map(|range| range.to_str().unwrap());
            assert_eq!(range, given, "{asked}");
        }
    }
}
