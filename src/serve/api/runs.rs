//! Films that are asked for, and how far they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, HeaderName, LOCATION, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::super::caller::Caller;
use super::super::views::{Accepted, CreateVideo, Resume, RunView, Runs};
use super::{House, InTime, Problem};
use crate::cli::settings::Override;
use crate::commands::create_video::{CreateVideoArgs, Order};
use crate::ids::RunId;
use crate::ledger::budget::{Period, Scope};
use crate::ledger::money::Usd;
use crate::memory::files::Shelf;
use crate::store::queue::{self, Which};
use crate::store::runs::{self, QueuePlace, Run};
use crate::store::{StoreError, budgets, campaigns, projects, settlements};

/// The longest that a caller may wait for a film, in seconds.
const LONGEST_WAIT: u64 = 600;
/// How often a film is looked at for whom waits.
const GLANCE: Duration = Duration::from_millis(500);
/// The most characters of what a caller calls its request.
const LONGEST_REQUEST_KEY: usize = 200;

/// Makes a film. The POST is the yes to what it costs, up to the service's budget for one film.
///
/// Answers 202 at once with where to ask for it, or with `Prefer: wait=SECONDS` when it is there. The
/// same `Idempotency-Key` never begins a second film.
#[utoipa::path(
    post,
    path = "/api/orchestrator/create-video",
    request_body = CreateVideo,
    params(
        ("userId" = Option<String>, Query, description = "Whose film it is, where the body does not say it"),
        ("X-Aida-User" = Option<String>, Header, description = "The same"),
        ("Prefer" = Option<String>, Header, description = "wait=SECONDS waits for the film, at most 600"),
        ("Idempotency-Key" = Option<String>, Header, description = "What the caller calls this request"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "It has come to its end", body = Accepted),
        (status = 202, description = "It is queued", body = Accepted),
        (status = 402, description = "It costs too much", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The queue is full, or too many wait already; nothing was begun", body = Problem, content_type = "application/problem+json"),
        Problem,
    )
)]
pub(super) async fn create(
    State(house): State<Arc<House>>,
    caller: Caller,
    headers: HeaderMap,
    InTime(asked): InTime<CreateVideo>,
) -> Result<Response, Problem> {
    let user = caller.user_of_body(asked.user_id.as_deref(), &house)?;
    let request_key = request_key(&headers)?;
    let patience = wait_of(&headers)?;
    // Whoever cannot wait here is told so before anything is begun.
    let place = patience.map(|_| house.place_to_follow(&user)).transpose()?;
    let began = Instant::now();
    let (run, repeated) = match known(&house, &user, request_key).await? {
        Some(run) => (run, true),
        None => begin(&house, &user, asked, request_key).await?,
    };
    house.bell.notify_one();
    let mut view = view_of(&house, run).await?;
    if let Some(patience) = patience {
        while !view.has_ended() && began.elapsed() < patience {
            let next = (began + patience).min(Instant::now() + GLANCE);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = house.closing.cancelled() => break,
            }
            view = view_of(&house, run).await?;
        }
    }
    drop(place);
    let status = if view.has_ended() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = view.status_url.clone();
    let mut answer =
        (status, [(LOCATION, location)], Json(Accepted { success: true, repeated, run: view }))
            .into_response();
    if let Some(patience) = patience
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", patience.as_secs()))
    {
        answer.headers_mut().insert(HeaderName::from_static("preference-applied"), value);
    }
    Ok(answer)
}

/// What a caller calls its request, if it does.
fn request_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim);
    let key = key.filter(|key| !key.is_empty() && key.len() <= LONGEST_REQUEST_KEY);
    key.map(Some).ok_or_else(|| Problem::invalid("Idempotency-Key is 1 to 200 characters of ASCII"))
}

/// How long a caller waits (RFC 7240).
fn wait_of(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let Some((_, wait)) = preferences.next() else { return Ok(None) };
    let seconds: u64 = wait
        .trim()
        .trim_matches('"')
        .parse()
        .map_err(|_| Problem::invalid("Prefer: wait= takes a number of seconds"))?;
    Ok(Some(Duration::from_secs(seconds.min(LONGEST_WAIT))))
}

async fn known(house: &House, user: &str, key: Option<&str>) -> Result<Option<RunId>, Problem> {
    let Some(key) = key else { return Ok(None) };
    let mut session = house.producer.store.session().await?;
    let known = queue::asked_for(&mut session, user, key).await?;
    session.close().await;
    Ok(known)
}

/// Checks what is asked for as the command line would, and queues it. Says whether another request of
/// this name was quicker.
async fn begin(
    house: &House,
    user: &str,
    asked: CreateVideo,
    request_key: Option<&str>,
) -> Result<(RunId, bool), Problem> {
    let arguments = arguments(asked)?;
    let mut overrides = arguments.overrides();
    overrides.push(Override { name: "user", flag: "userId", value: user.to_owned() });
    let context = house.context.with(overrides)?;
    are_there(house, user, &arguments).await?;
    let order = Order::check(&arguments, &mut Shelf::default(), &context)
        .await?
        .costing_at_most(house.run_budget);
    order.is_within_its_budget()?;
    let claude_writes = !order.is_written() && !order.is_preview();
    let accepted = order.budget().filter(|_| !order.is_preview());
    let place = QueuePlace { batch: None, place: 0 };
    let folder = house.folder.clone();
    let new = order.into_new_video(&context, folder, claude_writes, accepted, Some(place));

    let mut session = house.producer.store.session().await?;
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    queue::lock(&mut transaction).await?;
    if let Some(key) = request_key
        && let Some(run) = queue::asked_for(&mut transaction, user, key).await?
    {
        return Ok((run, true));
    }
    has_room(house, &mut transaction).await?;
    let run = house.producer.begin_in(&mut transaction, new).await?;
    if let Some(key) = request_key {
        queue::name_request(&mut transaction, run, key).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    session.close().await;
    Ok((run, false))
}

async fn has_room(house: &House, connection: &mut PgConnection) -> Result<(), Problem> {
    let depth = queue::depth(connection, Which::All).await?;
    if depth.waiting < i64::from(house.settings().queue) {
        return Ok(());
    }
    let films = format!("{} films wait already; ask again later", depth.waiting);
    Err(Problem::too_many(films, 60))
}

/// Whether what is named is there, and the user's.
async fn are_there(house: &House, user: &str, asked: &CreateVideoArgs) -> Result<(), Problem> {
    let mut session = house.producer.store.session().await?;
    let project_is_there = match &asked.from {
        Some(project) => !projects::find(&mut session, user, project).await?.is_empty(),
        None => true,
    };
    let campaign_is_there = match &asked.campaign {
        Some(campaign) => !campaigns::by_reference(&mut session, user, campaign).await?.is_empty(),
        None => true,
    };
    session.close().await;
    match (project_is_there, campaign_is_there) {
        (false, _) => Err(Problem::missing("there is no such video to shoot")),
        (_, false) => Err(Problem::missing("there is no such campaign")),
        (true, true) => Ok(()),
    }
}

/// What is asked for as the command line has it. Paths cannot be named: they would be the service's.
fn arguments(asked: CreateVideo) -> Result<CreateVideoArgs, Problem> {
    let named = [
        ("fromProject", &asked.from_project),
        ("campaign", &asked.campaign),
        ("aspect", &asked.aspect),
        ("imageModel", &asked.image_model),
        ("videoModel", &asked.video_model),
    ];
    for (name, value) in named {
        if value.as_ref().is_some_and(|value| value.chars().any(char::is_control)) {
            return Err(Problem::invalid(format!("{name} holds control characters")));
        }
    }
    let brief = asked.message.filter(|_| asked.from_project.is_none());
    if brief.is_none() && asked.from_project.is_none() {
        return Err(Problem::invalid("message says what the film is about"));
    }
    if asked.scenes.is_some_and(|scenes| !(1..=60).contains(&scenes)) {
        return Err(Problem::invalid("scenes is a number from 1 to 60"));
    }
    if let Some(reuse) = asked.reuse.as_deref().filter(|reuse| !["auto", "never"].contains(reuse)) {
        return Err(Problem::invalid(format!("reuse is auto or never, not '{reuse}'")));
    }
    let budget = asked.budget_usd.as_deref().map(dollars).transpose()?;
    let (preview, plan) = (asked.preview.unwrap_or_default(), asked.plan.unwrap_or_default());
    if preview && plan {
        return Err(Problem::invalid("a preview has no plan"));
    }
    Ok(CreateVideoArgs {
        brief,
        from: asked.from_project,
        campaign: asked.campaign,
        duration: asked.duration_seconds.map(|seconds| seconds.to_string()),
        scenes: asked.scenes,
        aspect: asked.aspect,
        image_model: asked.image_model,
        video_model: asked.video_model,
        audio: asked.audio.unwrap_or_default(),
        files: Vec::new(),
        references: Vec::new(),
        budget,
        preview,
        plan,
        dry_run: false,
        reuse: asked.reuse,
        out: None,
        yes: true,
    })
}

fn dollars(text: &str) -> Result<Usd, Problem> {
    crate::commands::create_video::dollars(text)
        .map_err(|problem| Problem::invalid(format!("budgetUsd: '{text}' is {problem}")))
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListQuery {
    /// Whose; the token's user where it is not said.
    #[serde(rename = "userId")]
    #[param(rename = "userId")]
    _user_id: Option<String>,
    /// The most that are answered, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

impl ListQuery {
    /// The most that are answered.
    pub(super) fn most(&self) -> Result<i64, Problem> {
        match self.limit.unwrap_or(20) {
            limit @ 1..=200 => Ok(i64::from(limit)),
            _ => Err(Problem::invalid("limit is a number from 1 to 200")),
        }
    }
}

/// A user's runs, newest first.
#[utoipa::path(
    get,
    path = "/api/runs",
    params(ListQuery),
    security(("token" = [])),
    responses(
        (status = 200, description = "The runs", body = Runs),
        Problem,
    )
)]
pub(super) async fn list(
    State(house): State<Arc<House>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Runs>, Problem> {
    let Query(query) = query?;
    let (user, most) = (caller.user(None)?, query.most()?);
    let mut session = house.producer.store.session().await?;
    let found = runs::latest_of(&mut session, &user, most).await?;
    session.close().await;
    let runs = views_of(&house, &found).await?;
    Ok(Json(Runs { runs }))
}

/// How far a run is.
#[utoipa::path(
    get,
    path = "/api/runs/{run}",
    params(("run" = String, Path, description = "The run"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "The run", body = RunView),
        Problem,
    )
)]
pub(super) async fn show(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RunView>, Problem> {
    let Path(id) = path?;
    let run = run_of(&house, &caller.user(None)?, &id).await?;
    Ok(Json(view_of(&house, run.id).await?))
}

/// Stops a run, at a point from which it can go on.
#[utoipa::path(
    post,
    path = "/api/runs/{run}/cancel",
    params(("run" = String, Path, description = "The run"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 202, description = "It stops within seconds", body = RunView),
        Problem,
    )
)]
pub(super) async fn cancel(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let Path(id) = path?;
    let run = run_of(&house, &caller.user(None)?, &id).await?;
    if matches!(run.state.as_str(), "done" | "failed") {
        return Err(Problem::conflict("the run has come to its end"));
    }
    let mut session = house.producer.store.session().await?;
    queue::stop(&mut session, run.id).await?;
    session.close().await;
    Ok((StatusCode::ACCEPTED, Json(view_of(&house, run.id).await?)))
}

/// Goes on with a run that stopped. The POST is the yes to what its storyboard costs, up to the service's
/// budget for one film.
#[utoipa::path(
    post,
    path = "/api/runs/{run}/resume",
    request_body(content = Resume, description = "May be left out"),
    params(("run" = String, Path, description = "The run"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 202, description = "It is queued", body = RunView),
        (status = 429, description = "The queue is full", body = Problem, content_type = "application/problem+json"),
        Problem,
    )
)]
pub(super) async fn resume(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let Path(id) = path?;
    let said = resume_of(request).await?;
    let user = caller.user_of_body(said.user_id.as_deref(), &house)?;
    let asked = said.budget_usd.as_deref().map(dollars).transpose()?;
    let run = run_of(&house, &user, &id).await?;
    let is_media = run.kind == "film";
    let (zone, now) = (&house.context.settings.time_zone, house.context.clock.now());
    let mut session = house.producer.store.session().await?;
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    queue::lock(&mut transaction).await?;
    has_room(&house, &mut transaction).await?;
    if !queue::put(&mut transaction, run.id).await? {
        return Err(Problem::conflict("the run has come to its end"));
    }
    if is_media {
        let subject = run.id.to_string();
        let which = (Scope::Run, subject.as_str());
        let cap = budgets::find(&mut transaction, which, Period::Total).await?.map(|cap| cap.cap);
        // A cap that stands is only changed by who says so.
        let budget = asked.or(cap).map_or(house.run_budget, |budget| budget.min(house.run_budget));
        if asked.is_some() || cap.is_none() {
            budgets::set(&mut transaction, which, Period::Total, zone, budget, now).await?;
        }
        queue::accept(&mut transaction, run.id, budget).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    session.close().await;
    house.bell.notify_one();
    Ok((StatusCode::ACCEPTED, Json(view_of(&house, run.id).await?)))
}

/// What is said with a resume: nothing, or JSON.
async fn resume_of(request: Request) -> Result<Resume, Problem> {
    let has_body = request.headers().contains_key(CONTENT_LENGTH)
        || request.headers().contains_key(TRANSFER_ENCODING);
    let is_empty = request.headers().get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    if !has_body || is_empty {
        return Ok(Resume::default());
    }
    let Json(said) = Json::<Resume>::from_request(request, &()).await?;
    Ok(said)
}

/// A user's run by its id; another's is as if it were not there.
pub(super) async fn run_of(house: &House, user: &str, id: &str) -> Result<Run, Problem> {
    let missing = || Problem::missing("there is no such run");
    let id: RunId = id.parse().map_err(|_| missing())?;
    let mut session = house.producer.store.session().await?;
    let run = runs::of_user(&mut session, user, id).await?;
    session.close().await;
    run.ok_or_else(missing)
}

/// How far a run is.
pub(super) async fn view_of(house: &House, id: RunId) -> Result<RunView, Problem> {
    let mut session = house.producer.store.session().await?;
    let view = view_in(house, &mut session, id).await;
    session.close().await;
    view
}

/// The same in a session of the caller's.
pub(super) async fn view_in(
    house: &House,
    connection: &mut PgConnection,
    id: RunId,
) -> Result<RunView, Problem> {
    let run = runs::load(connection, id).await?;
    let spent = settlements::spent(connection, id).await?;
    Ok(RunView::new(&run, spent, house.context.clock.now()))
}

/// How far some runs are.
pub(super) async fn views_of(house: &House, runs: &[Run]) -> Result<Vec<RunView>, Problem> {
    let now = house.context.clock.now();
    let mut views = Vec::new();
    let mut session = house.producer.store.session().await?;
    for run in runs {
        let spent = settlements::spent(&mut session, run.id).await?;
        views.push(RunView::new(run, spent, now));
    }
    session.close().await;
    Ok(views)
}
