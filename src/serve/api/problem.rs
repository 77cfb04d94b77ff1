//! What is wrong, as every answer that is not one says it (RFC 9457).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::error::Error;
use crate::serve::http_status;
use crate::store::StoreError;
use crate::studio::StudioError;

/// What is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always false, for those who look for `success`.
    success: bool,
    /// The HTTP status.
    status: u16,
    /// What kind of trouble it is: `usage`, `budget`, `database` and so on.
    title: String,
    /// What happened and why, in a sentence.
    detail: String,
    /// What to do about it.
    hints: Vec<String>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// What every route may answer instead of what it is asked for, for its description.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let schema = Ref::from_schema_name(Self::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let described = |what: &str| {
            ResponseBuilder::new()
                .description(what)
                .content("application/problem+json", content.clone())
                .build()
        };
        BTreeMap::from([
            ("4XX".to_owned(), described("What is wrong with the request").into()),
            ("5XX".to_owned(), described("The database is away, or a fault in aida").into()),
        ])
    }
}

impl Problem {
    fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self {
            success: false,
            status: status.as_u16(),
            title: title.to_owned(),
            detail: detail.into(),
            hints: Vec::new(),
            retry_after: None,
        }
    }

    /// What is asked for is not there, or not this caller's.
    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "missing", detail)
    }

    /// The request is not what it must be.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "usage", detail)
    }

    /// Nobody knows who asks.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// Somebody asks for what is another's.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// It does not fit to what is.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// Too much is asked; again after so many seconds.
    pub(crate) fn too_many(detail: impl Into<String>, seconds: u64) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// One caller asks too often.
    pub(crate) fn too_fast() -> Self {
        Self::too_many("too many requests; ask more slowly", 60)
    }

    /// What a status alone says.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let words = status.canonical_reason().unwrap_or("no reason was given").to_lowercase();
        let kind = if status.is_server_error() { "internal" } else { "usage" };
        Self::new(status, kind, words)
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "usage", "this route has no such method")
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault in aida itself")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let status =
            StatusCode::from_u16(http_status(kind)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            // Hosts, folders and settings are the operator's business.
            tracing::error!(kind = kind.as_str(), causes = ?error.causes(), "{error}");
            let detail = "something that aida stands on does not work; GET /health tells more";
            return Self::new(status, kind.as_str(), detail);
        }
        let hints = error.hints().to_vec();
        Self { hints, ..Self::new(status, kind.as_str(), error.to_string()) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<StudioError> for Problem {
    fn from(error: StudioError) -> Self {
        Error::from(error).into()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "usage", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::missing("there is no such thing")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
