//! What is answered: aida's things as programs see them. Names are camelCase, as the seed service's were;
//! amounts are exact decimals as text.

use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ledger::money::Usd;
use crate::ledger::report::CostRow;
use crate::memory::search::{Hit, SearchReport};
use crate::store::campaigns::{CampaignTotals, CampaignVideo};
use crate::store::feedback::Feedback;
use crate::store::projects::{Project, ProjectLine};
use crate::store::runs::Run;
use crate::store::settlements::Spent;
use crate::studio::storyboard::Shot;

/// A film to make, as the gateway and the front end ask for it: only `message` is needed.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateVideo {
    /// Whose film it is; the token's user where it is not said.
    #[schema(max_length = 200, example = "ada")]
    pub(super) user_id: Option<String>,
    /// What the film is about.
    #[schema(min_length = 1, example = "food video")]
    pub(super) message: Option<String>,
    /// Shoot the kept storyboard of this project instead.
    pub(super) from_project: Option<String>,
    /// Put the video into this campaign, by name or id.
    pub(super) campaign: Option<String>,
    /// Length in seconds, 1 to 600.
    #[schema(minimum = 1, maximum = 600)]
    pub(super) duration_seconds: Option<f64>,
    /// Number of shots, 1 to 60.
    #[schema(minimum = 1, maximum = 60)]
    pub(super) scenes: Option<u32>,
    /// Shape of the picture, such as 9:16.
    #[schema(example = "9:16")]
    pub(super) aspect: Option<String>,
    /// The model that draws.
    pub(super) image_model: Option<String>,
    /// The model that moves.
    pub(super) video_model: Option<String>,
    /// Whether clips have sound.
    pub(super) audio: Option<bool>,
    /// Refuse to start above this, and stop before passing it, USD; at most what the service allows.
    #[schema(example = "2.50")]
    pub(super) budget_usd: Option<String>,
    /// Make a free preview of drawn cards.
    pub(super) preview: Option<bool>,
    /// Stop after the storyboard; `resume` shoots it.
    pub(super) plan: Option<bool>,
    /// `auto` uses kept images and clips again, `never` does not.
    pub(super) reuse: Option<String>,
}

/// A film that was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    /// Always true: a request that is not taken is answered as a problem.
    pub(super) success: bool,
    /// Whether this very request was made before and nothing new was begun.
    pub(super) repeated: bool,
    /// How far it is.
    #[serde(flatten)]
    pub(super) run: RunView,
}

/// A run: one attempt at a film.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    /// The run.
    pub(super) run_id: String,
    /// The video that it makes.
    pub(super) project_id: String,
    /// `film` or `preview`.
    pub(super) kind: String,
    /// `queued`, `working`, `done`, `partial`, `planned`, `failed` or `stopped`.
    pub(super) status: &'static str,
    /// Its stage: `writing`, `planned`, `shooting`, `cutting`, `done`, `partial` or `failed`.
    pub(super) stage: String,
    /// Why it stopped, in a word.
    pub(super) stopped_by: Option<String>,
    /// The same in a sentence.
    pub(super) message: Option<String>,
    /// What it may cost at most, USD.
    pub(super) quote_high_usd: Option<String>,
    /// The price of its images and clips, USD, once the storyboard is written.
    pub(super) plan_usd: Option<String>,
    /// What it has cost, USD.
    pub(super) settled_usd: String,
    /// Ceilings of its calls of unknown outcome, USD.
    pub(super) unknown_usd: String,
    /// Length of the film in seconds, once it is there.
    pub(super) duration_seconds: Option<f64>,
    /// Where to ask how far it is.
    pub(super) status_url: String,
    /// Where it tells what happens, as server-sent events.
    pub(super) events_url: String,
    /// Where the film is, once it is there.
    pub(super) video_url: Option<String>,
    /// When it was asked for.
    pub(super) created_at: String,
}

impl RunView {
    pub(super) fn new(run: &Run, spent: Spent, now: jiff::Timestamp) -> Self {
        let id = run.id.to_string();
        let is_driven = run.owner_until.is_some_and(|until| until > now);
        let status = status(run, is_driven);
        let is_stopped = matches!(status, "stopped" | "failed");
        Self {
            project_id: run.project_id.to_string(),
            kind: run.kind.clone(),
            status,
            stage: run.state.clone(),
            stopped_by: run.stopped_by.clone().filter(|_| is_stopped),
            message: run.stop_message.clone().filter(|_| is_stopped),
            quote_high_usd: run.quote_high_usd.map(exact),
            plan_usd: run.plan_usd.map(exact),
            settled_usd: exact(spent.settled),
            unknown_usd: exact(spent.unknown),
            duration_seconds: run.video_seconds.and_then(|seconds| seconds.to_f64()),
            status_url: format!("/api/runs/{id}"),
            events_url: format!("/api/runs/{id}/events"),
            video_url: run.video_path.as_ref().map(|_| format!("/api/runs/{id}/video")),
            created_at: run.created_at.to_string(),
            run_id: id,
        }
    }

    /// Whether nothing more happens by itself.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.status, "queued" | "working")
    }
}

fn status(run: &Run, is_driven: bool) -> &'static str {
    match (run.state.as_str(), is_driven, run.queued_at.is_some()) {
        ("done", _, _) => "done",
        ("failed", _, _) => "failed",
        (_, true, _) => "working",
        (_, false, true) => "queued",
        ("partial", false, false) => "partial",
        ("planned", false, false) if run.stopped_by.is_none() => "planned",
        _ => "stopped",
    }
}

/// Runs, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Runs {
    /// The runs.
    pub(super) runs: Vec<RunView>,
}

/// What is said to a run that goes on.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Resume {
    /// Whose run it is; the token's user where it is not said.
    #[schema(max_length = 200)]
    pub(super) user_id: Option<String>,
    /// Set the run's cap to this, USD; at most what the service allows.
    pub(super) budget_usd: Option<String>,
}

/// A video.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectView {
    /// Its id.
    pub(super) project_id: String,
    /// What was asked for.
    pub(super) brief: String,
    /// Its title, once it is written.
    pub(super) title: Option<String>,
    /// The shape of the picture.
    pub(super) aspect: String,
    /// Its length in seconds.
    pub(super) duration_seconds: f64,
    /// The stage of its latest run.
    pub(super) stage: Option<String>,
    /// What it has cost, USD.
    pub(super) settled_usd: String,
    /// Ceilings of its calls of unknown outcome, USD.
    pub(super) unknown_usd: String,
    /// What the user rated it, 1 to 5.
    pub(super) rating: Option<i16>,
    /// Where its latest film is.
    pub(super) video_url: Option<String>,
    /// When it was asked for.
    pub(super) created_at: String,
}

impl From<ProjectLine> for ProjectView {
    fn from(line: ProjectLine) -> Self {
        let ProjectLine { project, run, video_path, settled_usd, unknown_usd, rating } = line;
        let id = project.id.to_string();
        Self {
            title: Some(project.title).filter(|title| !title.is_empty()),
            brief: project.brief,
            aspect: project.aspect,
            duration_seconds: project.duration_seconds.to_f64().unwrap_or_default(),
            stage: run.map(|(_, stage)| stage),
            settled_usd: exact(settled_usd),
            unknown_usd: exact(unknown_usd),
            rating,
            video_url: video_path.map(|_| format!("/api/projects/{id}/video")),
            created_at: project.created_at.to_string(),
            project_id: id,
        }
    }
}

/// Videos, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Projects {
    /// The videos.
    pub(super) projects: Vec<ProjectView>,
}

/// A video with its script, shots and runs.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectDetails {
    /// Its id.
    pub(super) project_id: String,
    /// What was asked for.
    pub(super) brief: String,
    /// Its title, once it is written.
    pub(super) title: Option<String>,
    /// The shape of the picture.
    pub(super) aspect: String,
    /// Its length in seconds.
    pub(super) duration_seconds: f64,
    /// Who wrote it: a model's id, or `outline`.
    pub(super) author: Option<String>,
    /// Its shots, in order.
    pub(super) shots: Vec<ShotView>,
    /// Its runs, newest first.
    pub(super) runs: Vec<RunView>,
    /// When it was asked for.
    pub(super) created_at: String,
}

impl ProjectDetails {
    pub(super) fn new(project: Project, shots: Vec<Shot>, runs: Vec<RunView>) -> Self {
        Self {
            project_id: project.id.to_string(),
            brief: project.brief,
            title: Some(project.title).filter(|title| !title.is_empty()),
            aspect: project.aspect,
            duration_seconds: project.duration_seconds.to_f64().unwrap_or_default(),
            author: project.script_author,
            shots: shots.into_iter().map(ShotView::from).collect(),
            runs,
            created_at: project.created_at.to_string(),
        }
    }
}

/// A shot of a storyboard.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShotView {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Its length in seconds.
    pub(super) duration_seconds: f64,
    /// What its keyframe is drawn from.
    pub(super) image_prompt: String,
    /// How it moves.
    pub(super) motion_prompt: String,
    /// The text that stands in the picture.
    pub(super) on_screen_text: String,
    /// What is said.
    pub(super) narration: String,
}

impl From<Shot> for ShotView {
    fn from(shot: Shot) -> Self {
        Self {
            number: shot.number,
            duration_seconds: shot.duration_seconds.to_f64().unwrap_or_default(),
            image_prompt: shot.image_prompt,
            motion_prompt: shot.motion_prompt,
            on_screen_text: shot.on_screen_text,
            narration: shot.narration,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    /// The model that made the vectors.
    pub(super) embedder: String,
    /// Why only words were looked for, if so.
    pub(super) words_only: Option<String>,
    /// Passages that have no vector of this model yet.
    pub(super) waiting_rows: u64,
    /// The best match first.
    pub(super) hits: Vec<HitView>,
}

impl From<SearchReport> for Found {
    fn from(report: SearchReport) -> Self {
        Self {
            embedder: report.embedder,
            words_only: report.words_only,
            waiting_rows: report.waiting_rows,
            hits: report.hits.into_iter().map(HitView::from).collect(),
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HitView {
    /// `project`, `script`, `shot`, `take` or `file`.
    pub(super) kind: String,
    /// Its id.
    pub(super) id: String,
    /// The video that it belongs to.
    pub(super) project_id: Option<String>,
    /// The number of the shot, from 1.
    pub(super) shot: Option<i32>,
    /// The title of the video, or the name of the file.
    pub(super) title: String,
    /// The piece of its text that fits best.
    pub(super) snippet: String,
    /// How well it fits, 0 to 1.
    pub(super) score: f64,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        Self {
            kind: hit.kind.as_str().to_owned(),
            id: hit.id.to_string(),
            project_id: hit.project_id.map(|id| id.to_string()),
            shot: hit.shot,
            title: hit.title,
            snippet: hit.snippet,
            score: hit.score,
        }
    }
}

/// A campaign.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CampaignView {
    /// Its id.
    pub(super) campaign_id: String,
    /// Its name.
    pub(super) name: String,
    /// What it is about.
    pub(super) description: String,
    /// How many videos belong to it.
    pub(super) videos: i64,
    /// What they have cost, USD.
    pub(super) settled_usd: String,
    /// Ceilings of their calls of unknown outcome, USD.
    pub(super) unknown_usd: String,
    /// When it was created.
    pub(super) created_at: String,
}

impl From<CampaignTotals> for CampaignView {
    fn from(totals: CampaignTotals) -> Self {
        Self {
            campaign_id: totals.campaign.id.to_string(),
            name: totals.campaign.name,
            description: totals.campaign.description,
            videos: totals.videos,
            settled_usd: exact(totals.settled),
            unknown_usd: exact(totals.unknown),
            created_at: totals.campaign.created_at.to_string(),
        }
    }
}

/// Campaigns, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Campaigns {
    /// The campaigns.
    pub(super) campaigns: Vec<CampaignView>,
}

/// A campaign to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewCampaign {
    /// Whose it is; the token's user where it is not said.
    #[schema(max_length = 200)]
    pub(super) user_id: Option<String>,
    /// Its name.
    #[schema(min_length = 1)]
    pub(super) name: String,
    /// What it is about.
    pub(super) description: Option<String>,
}

/// A campaign with its videos.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct CampaignDetails {
    /// The campaign.
    pub(super) campaign: CampaignView,
    /// Its videos, the latest addition first.
    pub(super) videos: Vec<CampaignVideoView>,
}

/// A video of a campaign.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CampaignVideoView {
    /// The video.
    pub(super) project_id: String,
    /// Its title, else its brief.
    pub(super) title: String,
    /// The stage of its latest run.
    pub(super) stage: Option<String>,
    /// What the user rated it, 1 to 5.
    pub(super) rating: Option<i16>,
    /// What it has cost, USD.
    pub(super) settled_usd: String,
}

impl From<CampaignVideo> for CampaignVideoView {
    fn from(video: CampaignVideo) -> Self {
        Self {
            project_id: video.project.to_string(),
            title: video.title,
            stage: video.state,
            rating: video.rating,
            settled_usd: exact(video.settled),
        }
    }
}

/// What was spent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Costs {
    /// What the rows are: `day`, `model` and so on.
    pub(super) by: String,
    /// Where days begin.
    pub(super) time_zone: String,
    /// The groups.
    pub(super) rows: Vec<CostView>,
    /// Everything that was selected; each charge counts once.
    pub(super) totals: CostView,
    /// Promised to calls that are under way now, USD.
    pub(super) in_flight_usd: String,
    /// What the cache hit rate should be, 0 to 1.
    pub(super) cache_hit_target: f64,
}

/// One group of charges.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CostView {
    /// What tells the group from the others.
    pub(super) key: Option<String>,
    /// Its name for people.
    pub(super) label: Option<String>,
    /// Number of charges.
    pub(super) calls: i64,
    /// Settled in all, USD.
    pub(super) settled_usd: String,
    /// Settled for results that were kept, USD.
    pub(super) kept_usd: String,
    /// Settled for results that were not kept, USD.
    pub(super) wasted_usd: String,
    /// Ceilings of calls of unknown outcome, USD.
    pub(super) unknown_usd: String,
    /// Estimated beforehand, USD.
    pub(super) estimated_usd: String,
    /// What the providers say they billed, as far as they said it, USD.
    pub(super) billed_usd: Option<String>,
    /// Share of input tokens read from the prompt cache, 0 to 1; null where there were none.
    pub(super) cache_hit_rate: Option<f64>,
}

impl From<CostRow> for CostView {
    fn from(row: CostRow) -> Self {
        Self {
            key: row.key,
            label: row.label,
            calls: row.calls,
            settled_usd: exact(row.settled_usd),
            kept_usd: exact(row.kept_usd),
            wasted_usd: exact(row.wasted_usd),
            unknown_usd: exact(row.unknown_usd),
            estimated_usd: exact(row.estimated_usd),
            billed_usd: row.billed_usd.map(exact),
            cache_hit_rate: row.cache_hit_rate.and_then(|rate| rate.to_f64()),
        }
    }
}

/// A rating, a remark, or both.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewFeedback {
    /// Whose it is; the token's user where it is not said.
    #[schema(max_length = 200)]
    pub(super) user_id: Option<String>,
    /// The shot that it is about, from 1; the whole film where it is not said.
    #[schema(minimum = 1)]
    pub(super) shot: Option<u32>,
    /// 1 to 5.
    #[schema(minimum = 1, maximum = 5)]
    pub(super) rating: Option<u8>,
    /// What is good or bad about it.
    #[schema(max_length = 2000)]
    pub(super) note: Option<String>,
}

/// What was said about a film.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FeedbackList {
    /// The whole film first, then by shot, the oldest first.
    pub(super) feedback: Vec<FeedbackView>,
}

/// A rating or remark.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeedbackView {
    /// Its id.
    pub(super) feedback_id: String,
    /// The shot, from 1; null for the whole film.
    pub(super) shot: Option<i32>,
    /// 1 to 5.
    pub(super) rating: Option<i16>,
    /// The user's words.
    pub(super) note: String,
    /// Whether the rating counts: no later one has taken its place.
    pub(super) counts: bool,
    /// When it was given.
    pub(super) created_at: String,
}

impl From<Feedback> for FeedbackView {
    fn from(said: Feedback) -> Self {
        Self {
            feedback_id: said.id.to_string(),
            shot: said.shot,
            rating: said.rating,
            note: said.note,
            counts: said.superseded_at.is_none(),
            created_at: said.created_at.to_string(),
        }
    }
}

/// How aida and what it stands on are doing.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthView {
    /// `ok`, `degraded`, `down`, or `starting` before the first probe.
    pub(super) status: &'static str,
    /// aida's version.
    pub(super) version: &'static str,
    /// How long it has been running, in seconds.
    pub(super) uptime: f64,
    /// The time now.
    pub(super) timestamp: String,
    /// How old the probe is, in seconds; only for those who show a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probe_age_seconds: Option<f64>,
    /// One entry for each dependency; only for those who show a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dependencies: Option<Vec<DependencyView>>,
}

/// How one dependency is doing.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DependencyView {
    /// Its name.
    pub(super) name: String,
    /// `ok`, `degraded` or `down`.
    pub(super) status: &'static str,
    /// What was found, in a line.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// An amount with all its digits.
pub(super) fn exact(amount: Usd) -> String {
    amount.dollars().normalize().to_string()
}
