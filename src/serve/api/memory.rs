//! Videos, what is found among them, campaigns, and what is said about films.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use sqlx::Connection;
use utoipa::IntoParams;

use super::super::caller::Caller;
use super::super::views::{
    CampaignDetails, CampaignVideoView, CampaignView, Campaigns, FeedbackList, FeedbackView, Found,
    NewCampaign, NewFeedback, ProjectDetails, ProjectView, Projects,
};
use super::runs::{ListQuery, views_of};
use super::{House, Problem};
use crate::commands::feedback::checked_note;
use crate::error::Error;
use crate::ids::{CampaignId, ProjectId};
use crate::ledger::{Component, Purpose};
use crate::memory::search::{MOST_HITS, SearchFilter};
use crate::store::campaigns::{self, CampaignName, checked_description};
use crate::store::projects::Project;
use crate::store::{StoreError, feedback, projects, runs, taste};

/// The most characters of a query.
const LONGEST_QUERY: usize = 1_000;

/// A user's videos, newest first.
#[utoipa::path(
    get,
    path = "/api/projects",
    params(ListQuery),
    security(("token" = [])),
    responses(
        (status = 200, description = "The videos", body = Projects),
        Problem,
    )
)]
pub(super) async fn projects(
    State(house): State<Arc<House>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Projects>, Problem> {
    let Query(query) = query?;
    let (user, most) = (caller.user(None)?, query.most()?);
    let mut session = house.producer.store.session().await?;
    let found = projects::latest(&mut session, &user, most).await?;
    session.close().await;
    Ok(Json(Projects { projects: found.into_iter().map(ProjectView::from).collect() }))
}

/// A video with its shots and runs.
#[utoipa::path(
    get,
    path = "/api/projects/{project}",
    params(("project" = String, Path, description = "The video"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "The video", body = ProjectDetails),
        Problem,
    )
)]
pub(super) async fn project(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ProjectDetails>, Problem> {
    let Path(id) = path?;
    let project = project_of(&house, &caller.user(None)?, &id).await?;
    let mut session = house.producer.store.session().await?;
    let shots = projects::shots(&mut session, project.id).await?;
    let found = runs::of_project(&mut session, project.id).await?;
    session.close().await;
    let runs = views_of(&house, &found).await?;
    let shots = shots.into_iter().map(|(_, shot)| shot).collect();
    Ok(Json(ProjectDetails::new(project, shots, runs)))
}

/// A user's video by its id; another's is as if it were not there.
pub(super) async fn project_of(house: &House, user: &str, id: &str) -> Result<Project, Problem> {
    let missing = || Problem::missing("there is no such video");
    let id: ProjectId = id.parse().map_err(|_| missing())?;
    let mut session = house.producer.store.session().await?;
    let project = projects::of_user(&mut session, user, id).await?;
    session.close().await;
    project.ok_or_else(missing)
}

/// What is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchQuery {
    /// Whose memory; the token's user where it is not said.
    #[serde(rename = "userId")]
    #[param(rename = "userId")]
    _user_id: Option<String>,
    /// In words, or in quotation marks exactly.
    #[param(min_length = 1, max_length = 1_000)]
    q: String,
    /// The most hits, 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// Only what belongs to this campaign, by its id.
    campaign: Option<String>,
}

/// Past videos, scripts, shots and files by meaning and by words.
#[utoipa::path(
    get,
    path = "/api/search",
    params(SearchQuery),
    security(("token" = [])),
    responses(
        (status = 200, description = "What was found", body = Found),
        Problem,
    )
)]
pub(super) async fn search(
    State(house): State<Arc<House>>,
    caller: Caller,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let Query(query) = query?;
    let user_id = caller.user(None)?;
    let limit = query.limit.unwrap_or(10);
    if query.q.chars().any(char::is_control) {
        return Err(Problem::invalid("q holds control characters"));
    }
    if query.q.chars().count() > LONGEST_QUERY {
        return Err(Problem::invalid(format!("q has at most {LONGEST_QUERY} characters")));
    }
    if query.q.trim().is_empty() {
        return Err(Problem::invalid("q says what to look for"));
    }
    if !(1..=MOST_HITS).contains(&limit) {
        return Err(Problem::invalid(format!("limit is a number from 1 to {MOST_HITS}")));
    }
    let campaign = match &query.campaign {
        Some(id) => Some(campaign_of(&house, &user_id, id).await?),
        None => None,
    };
    let purpose = Purpose {
        user_id,
        project: None,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    };
    let filter = SearchFilter { campaign, limit, ..SearchFilter::default() };
    // What is paid for is booked to its end, whether or not the caller still waits.
    let searching =
        tokio::spawn(
            async move { house.producer.memory.search(&purpose, &query.q, &filter).await },
        );
    let report = searching.await.map_err(|_| Problem::internal())?;
    Ok(Json(report.map_err(Error::from)?.into()))
}

async fn campaign_of(house: &House, user: &str, id: &str) -> Result<CampaignId, Problem> {
    let missing = || Problem::missing("there is no such campaign");
    let id: CampaignId = id.parse().map_err(|_| missing())?;
    let mut session = house.producer.store.session().await?;
    let found = campaigns::by_id(&mut session, user, id).await?;
    session.close().await;
    found.map(|campaign| campaign.id).ok_or_else(missing)
}

/// A user's campaigns, newest first.
#[utoipa::path(
    get,
    path = "/api/campaigns",
    params(("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "The campaigns", body = Campaigns),
        Problem,
    )
)]
pub(super) async fn campaigns(
    State(house): State<Arc<House>>,
    caller: Caller,
) -> Result<Json<Campaigns>, Problem> {
    let user = caller.user(None)?;
    let mut session = house.producer.store.session().await?;
    let found = campaigns::list(&mut session, &user, false).await?;
    session.close().await;
    Ok(Json(Campaigns { campaigns: found.into_iter().map(CampaignView::from).collect() }))
}

/// Creates a campaign.
#[utoipa::path(
    post,
    path = "/api/campaigns",
    request_body = NewCampaign,
    params(("userId" = Option<String>, Query, description = "Whose it is, where the body does not say it")),
    security(("token" = [])),
    responses(
        (status = 201, description = "The campaign", body = CampaignDetails),
        (status = 409, description = "There is one of this name", body = Problem, content_type = "application/problem+json"),
        Problem,
    )
)]
pub(super) async fn create_campaign(
    State(house): State<Arc<House>>,
    caller: Caller,
    body: Result<Json<NewCampaign>, JsonRejection>,
) -> Result<(StatusCode, Json<CampaignDetails>), Problem> {
    let Json(asked) = body?;
    let user = caller.user_of_body(asked.user_id.as_deref(), &house)?;
    let name: CampaignName =
        asked.name.parse().map_err(|problem| Problem::invalid(format!("name: {problem}")))?;
    let description = asked.description.unwrap_or_default();
    let description = checked_description(&description)
        .map_err(|problem| Problem::invalid(format!("description: {problem}")))?;
    let now = house.context.clock.now();
    let mut session = house.producer.store.session().await?;
    let created = campaigns::create(&mut session, &user, &name, description, now).await?;
    session.close().await;
    let created =
        created.ok_or_else(|| Problem::conflict("there is a campaign of this name already"))?;
    let details = details_of(&house, &user, created.id).await?;
    Ok((StatusCode::CREATED, Json(details)))
}

/// A campaign with its videos.
#[utoipa::path(
    get,
    path = "/api/campaigns/{campaign}",
    params(("campaign" = String, Path, description = "The campaign"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "The campaign", body = CampaignDetails),
        Problem,
    )
)]
pub(super) async fn campaign(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<CampaignDetails>, Problem> {
    let Path(id) = path?;
    let user = caller.user(None)?;
    let id = campaign_of(&house, &user, &id).await?;
    Ok(Json(details_of(&house, &user, id).await?))
}

async fn details_of(house: &House, user: &str, id: CampaignId) -> Result<CampaignDetails, Problem> {
    let mut session = house.producer.store.session().await?;
    let all = campaigns::list(&mut session, user, true).await?;
    let videos = campaigns::videos(&mut session, id).await?;
    session.close().await;
    let totals = all.into_iter().find(|totals| totals.campaign.id == id);
    let totals = totals.ok_or_else(|| Problem::missing("there is no such campaign"))?;
    Ok(CampaignDetails {
        campaign: totals.into(),
        videos: videos.into_iter().map(CampaignVideoView::from).collect(),
    })
}

/// What was said about a film.
#[utoipa::path(
    get,
    path = "/api/projects/{project}/feedback",
    params(("project" = String, Path, description = "The video"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 200, description = "Ratings and remarks", body = FeedbackList),
        Problem,
    )
)]
pub(super) async fn feedback(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<FeedbackList>, Problem> {
    let Path(id) = path?;
    let user = caller.user(None)?;
    let project = project_of(&house, &user, &id).await?;
    Ok(Json(said_about(&house, &user, project.id).await?))
}

async fn said_about(
    house: &House,
    user: &str,
    project: ProjectId,
) -> Result<FeedbackList, Problem> {
    let mut session = house.producer.store.session().await?;
    let said = feedback::of_project(&mut session, user, project).await?;
    session.close().await;
    Ok(FeedbackList { feedback: said.into_iter().map(FeedbackView::from).collect() })
}

/// Rates a film or a shot, or remarks on it. The preferences learn from it.
#[utoipa::path(
    post,
    path = "/api/projects/{project}/feedback",
    request_body = NewFeedback,
    params(("project" = String, Path, description = "The video"), ("userId" = Option<String>, Query)),
    security(("token" = [])),
    responses(
        (status = 201, description = "Everything that was said about the film", body = FeedbackList),
        Problem,
    )
)]
pub(super) async fn give_feedback(
    State(house): State<Arc<House>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<NewFeedback>, JsonRejection>,
) -> Result<(StatusCode, Json<FeedbackList>), Problem> {
    let Path(id) = path?;
    let Json(said) = body?;
    let user = caller.user_of_body(said.user_id.as_deref(), &house)?;
    let project = project_of(&house, &user, &id).await?;
    let note = checked_note(said.note.as_deref())?;
    if said.rating.is_none() && note.is_empty() {
        return Err(Problem::invalid("a rating from 1 to 5, a note, or both are needed"));
    }
    if said.rating.is_some_and(|rating| !(1..=5).contains(&rating)) {
        return Err(Problem::invalid("rating is a number from 1 to 5"));
    }
    let now = house.context.clock.now();
    let mut session = house.producer.store.session().await?;
    let shot = match said.shot {
        None => None,
        Some(number) => {
            let shots = projects::shots(&mut session, project.id).await?;
            let shot = shots.into_iter().find(|(_, shot)| shot.number == number);
            Some(shot.ok_or_else(|| Problem::missing("the film has no such shot"))?.0)
        }
    };
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    taste::lock(&mut transaction, &user).await?;
    feedback::keep(&mut transaction, &user, project.id, shot, said.rating, &note, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    session.close().await;
    let (memory, learner) = (house.producer.memory.clone(), user.clone());
    let learning = tokio::spawn(async move { memory.learn(&learner).await });
    if let Ok(Err(error)) = learning.await {
        tracing::warn!(%error, "nothing was learnt from what was said");
    }
    Ok((StatusCode::CREATED, Json(said_about(&house, &user, project.id).await?)))
}
