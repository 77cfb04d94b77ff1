//! Drives a run: keeps its storyboard, prices it, cuts the film and remembers it. `resume` is the same code: every
//! stage looks at what is there already and goes on from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::clock::{SharedClock, Zone};
use crate::ids::{ProjectId, RunId, ShotId};
use crate::ledger::budget::{Period, Scope};
use crate::ledger::money::Usd;
use crate::ledger::{Component, Till, TillError};
use crate::memory::Memory;
use crate::memory::files::{self, Described, ReadFile, Vault, Vision};
use crate::providers::http::HttpClient;
use crate::providers::{ImageModel, VideoModel};
use crate::spans;
use crate::store::projects::{self, Project};
use crate::store::runs::{self, NewRun, QueuePlace};
use crate::store::settlements::{self, Spent};
use crate::store::{Store, StoreError, budgets, campaigns, reuse};
use crate::studio::StudioError;
use crate::studio::animatic;
use crate::studio::brief::Brief;
use crate::studio::claim::Claim;
use crate::studio::events::Event;
use crate::studio::film::{ClipInFilm, Cut, Ffmpeg, file_name, slug};
use crate::studio::plan::{Plan, Quote, Tariff};
use crate::studio::run::{RunOptions, RunReference, RunState};
use crate::studio::script::Script;
use crate::studio::shooting::ShotClip;
use crate::studio::storyboard::{Shot, Storyboard};

/// The rooms and services that every run works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Producer {
    /// The database.
    pub store: Store,
    /// The till.
    pub till: Till,
    /// Earlier work.
    pub memory: Memory,
    /// The time.
    pub clock: SharedClock,
    /// How long a provider is asked again about a job that it does not list.
    pub recover_patience: Duration,
    /// The client that results are fetched with.
    pub client: HttpClient,
    /// Where takes lie: one folder for each project.
    pub projects_folder: PathBuf,
    /// Copies of the user's pictures.
    pub vault: Vault,
    /// The model that describes them.
    pub vision_model: String,
    /// Where films are cut and previews encoded, a few at a time.
    pub suites: EditSuites,
}

/// The places where films are cut and previews encoded: one for each core of the machine, so that many runs
/// side by side do not fill its memory. The rest of a run is waiting, and waits beside the others.
#[derive(Debug, Clone)]
pub struct EditSuites(Arc<Semaphore>);

impl Default for EditSuites {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(cores)))
    }
}

impl EditSuites {
    /// Waits for a free one, unless the run is to stop first.
    async fn take(&self, claim: &Claim) -> Result<OwnedSemaphorePermit, StudioError> {
        tokio::select! {
            biased;
            () = claim.cancel.cancelled() => Err(TillError::Cancelled.into()),
            // The semaphore is never closed.
            suite = Arc::clone(&self.0).acquire_owned() => {
                suite.map_err(|closed| StudioError::Damaged(closed.to_string()))
            }
        }
    }
}

/// What a film is made with, beside words.
#[derive(Clone)]
pub struct Media {
    /// Draws keyframes.
    pub image: Arc<dyn ImageModel>,
    /// Moves them.
    pub video: Arc<dyn VideoModel>,
    /// The models that the run used before it was told to use these: their jobs are still asked about.
    pub former: Option<(Arc<dyn ImageModel>, Arc<dyn VideoModel>)>,
    /// Cuts the film.
    pub ffmpeg: Ffmpeg,
}

impl Media {
    /// The model that a job was given to.
    pub fn image_of(&self, model: &str) -> &dyn ImageModel {
        match &self.former {
            Some((former, _)) if former.model() == model && self.image.model() != model => {
                former.as_ref()
            }
            _ => self.image.as_ref(),
        }
    }

    /// The model that a job was given to.
    pub fn video_of(&self, model: &str) -> &dyn VideoModel {
        match &self.former {
            Some((_, former)) if former.model() == model && self.video.model() != model => {
                former.as_ref()
            }
            _ => self.video.as_ref(),
        }
    }
}

/// A video that is about to be made.
#[derive(Debug, Clone)]
pub struct NewVideo {
    /// Whose it is.
    pub user_id: String,
    /// What is asked for.
    pub brief: Brief,
    /// Whether it is a free preview and no film.
    pub preview: bool,
    /// What the user chose.
    pub options: RunOptions,
    /// What it may cost.
    pub quote: Option<Quote>,
    /// What it will probably cost, USD.
    pub estimate: Option<Usd>,
    /// The price up to which the user has said yes.
    pub accepted: Option<Usd>,
    /// The cap of the whole run.
    pub budget: Option<Usd>,
    /// Where it waits for a worker; none where its own process drives it at once.
    pub queue: Option<QueuePlace>,
    /// A kept storyboard to shoot instead of writing one.
    pub source: Option<Source>,
    /// The user's files that were given for it, beside those that are in the options already.
    pub files: Vec<Arc<ReadFile>>,
    /// Those of them that every keyframe is to look like, by the SHA-256 of their bytes.
    pub for_all: Vec<String>,
}

/// A kept storyboard and where it comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The project that holds it.
    pub project: Project,
    /// Its shots.
    pub storyboard: Storyboard,
    /// Whether the project has no film of its own yet, so that the film becomes its own.
    pub is_unfilmed: bool,
}

/// A finished film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Where it lies.
    pub video: PathBuf,
    /// Its length in seconds.
    pub seconds: Decimal,
    /// Shots in it.
    pub shots: usize,
}

impl Producer {
    /// Makes a project and its run, with their ids and caps, in one transaction.
    pub async fn begin(&self, new: NewVideo) -> Result<RunId, StudioError> {
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(StoreError::from)?;
        let run = self.begin_in(&mut transaction, new).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        session.close().await;
        Ok(run)
    }

    /// The same in a transaction of the caller's, so that many begin together or not at all.
    pub async fn begin_in(
        &self,
        transaction: &mut PgConnection,
        mut new: NewVideo,
    ) -> Result<RunId, StudioError> {
        let now = self.clock.now();
        let run_id = RunId::new();
        let project = match &new.source {
            Some(source) if source.is_unfilmed => source.project.clone(),
            source => new_project(&new, source.as_ref(), now),
        };
        let state = if new.source.is_some() { RunState::Planned } else { RunState::Writing };
        projects::insert(transaction, &project).await?;
        if let Some(source) = &new.source {
            let script = project.script.clone().unwrap_or_default();
            let author = project.script_author.clone().unwrap_or_default();
            projects::keep_storyboard(
                transaction,
                project.id,
                &script,
                &author,
                &source.storyboard,
                now,
            )
            .await?;
        }
        // The logo of the campaign is one of the video's files, as if it had been given for it.
        if let Some(logo) = new.options.style.as_ref().and_then(|style| style.logo.clone())
            && new.options.files.iter().all(|(id, _)| *id != logo.file_id)
        {
            new.options.files.push((logo.file_id, logo.name));
        }
        files::hold(transaction, &new.files).await?;
        for file in &new.files {
            let (project, embedder) = (Some(project.id), self.memory.embedder());
            let (vault, user_id) = (&self.vault, &new.user_id);
            let stored =
                files::store(transaction, vault, user_id, project, file, embedder, now).await?;
            if new.options.files.iter().all(|(known, _)| *known != stored.id) {
                new.options.files.push((stored.id, file.name.clone()));
            }
            if new.for_all.contains(&file.sha256) {
                new.options.references.push(RunReference {
                    file: stored.id,
                    name: file.name.clone(),
                    sha256: file.sha256.clone(),
                    path: file.path.clone(),
                });
            }
        }
        let row = NewRun {
            id: run_id,
            project_id: project.id,
            user_id: new.user_id.clone(),
            kind: if new.preview { "preview" } else { "film" },
            state: state.as_str(),
            options: row_of(&new.options)?,
            quote: new.quote.map(|quote| (quote.low_usd, quote.high_usd)),
            estimate_usd: new.estimate,
            plan_usd: None,
            accepted_usd: new.accepted,
            queue: new.queue,
        };
        runs::insert(transaction, &row, now).await?;
        let caps =
            [(Scope::RunLanguage, Some(new.options.language_budget_usd)), (Scope::Run, new.budget)];
        for (scope, cap) in caps {
            if let Some(cap) = cap {
                set_cap(transaction, run_id, scope, cap, now).await?;
            }
        }
        if let Some(campaign) = new.options.campaign {
            campaigns::add(transaction, campaign, project.id, now).await?;
        }
        Ok(run_id)
    }

    /// Makes a run that takes one shot of a finished film again.
    pub async fn begin_retake(
        &self,
        project: &Project,
        options: &RunOptions,
        price: Usd,
        budget: Option<Usd>,
    ) -> Result<RunId, StudioError> {
        let (now, run_id) = (self.clock.now(), RunId::new());
        let row = NewRun {
            id: run_id,
            project_id: project.id,
            user_id: project.user_id.clone(),
            kind: "film",
            state: RunState::Planned.as_str(),
            options: row_of(options)?,
            quote: Some((price, price)),
            estimate_usd: None,
            plan_usd: Some(price),
            accepted_usd: Some(price),
            queue: None,
        };
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(StoreError::from)?;
        runs::insert(&mut transaction, &row, now).await?;
        if let Some(budget) = budget {
            set_cap(&mut transaction, run_id, Scope::Run, budget, now).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        session.close().await;
        Ok(run_id)
    }

    /// Keeps a script and its storyboard, and the run's next stage with them.
    pub async fn keep_storyboard(
        &self,
        claim: &mut Claim,
        script: &Script,
        author: &str,
        storyboard: &Storyboard,
    ) -> Result<(), StudioError> {
        let now = self.clock.now();
        let script = serde_json::to_value(script).unwrap_or(Value::Null);
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(StoreError::from)?;
        projects::keep_storyboard(
            &mut transaction,
            claim.project.id,
            &script,
            author,
            storyboard,
            now,
        )
        .await?;
        runs::enter(&mut transaction, claim.fence(), RunState::Planned.as_str(), now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        session.close().await;
        RunState::Planned.as_str().clone_into(&mut claim.run.state);
        claim.project.title.clone_from(&storyboard.title);
        claim.tell(Event::StoryboardReady {
            title: storyboard.title.clone(),
            shots: u32::try_from(storyboard.shots.len()).unwrap_or(u32::MAX),
            duration_seconds: storyboard.duration_seconds(),
            author: author.to_owned(),
        });
        Ok(())
    }

    /// Keeps what recall found with the run, so that a run that goes on tells the team the same.
    pub async fn keep_options(&self, claim: &Claim) -> Result<(), StudioError> {
        let options = row_of(&claim.options)?;
        let mut session = self.store.session().await?;
        runs::set_options(&mut session, claim.fence(), &options).await?;
        session.close().await;
        Ok(())
    }

    /// The kept shots of a claim's project, with their ids.
    pub async fn shots(&self, claim: &Claim) -> Result<Vec<(ShotId, Shot)>, StudioError> {
        let mut session = self.store.session().await?;
        let shots = projects::shots(&mut session, claim.project.id).await?;
        session.close().await;
        Ok(shots)
    }

    /// Prices what is still to be bought of a storyboard: shots whose takes are kept cost nothing.
    pub async fn plan(
        &self,
        claim: &mut Claim,
        media: &Media,
        shots: &[(ShotId, Shot)],
    ) -> Result<Plan, StudioError> {
        let tariff =
            self.tariff(media.image.as_ref(), media.video.as_ref(), claim.options.audio)?;
        let storyboard = storyboard_of(&claim.project.title, shots);
        let plan = Plan::new(&storyboard, tariff)?;
        let mut session = self.store.session().await?;
        let bought = settlements::bought_shots(&mut session, claim.project.id).await?;
        let plan = plan.without(&reuse::reused(&mut session, claim.project.id).await?);
        runs::set_plan(&mut session, claim.fence(), plan.total()).await?;
        session.close().await;
        claim.run.plan_usd = Some(plan.total());
        Ok(plan.without(&bought))
    }

    /// The prices that plans and quotes are reckoned with.
    pub fn tariff<'a>(
        &'a self,
        image: &dyn ImageModel,
        video: &'a dyn VideoModel,
        audio: bool,
    ) -> Result<Tariff<'a>, StudioError> {
        Ok(Tariff {
            image: self.till.price(image.provider(), image.model())?,
            clip: self.till.price(video.provider(), video.model())?,
            durations: video.durations(),
            audio,
        })
    }

    /// Records the user's yes up to a price.
    pub async fn accept(&self, claim: &Claim, price: Usd) -> Result<(), StudioError> {
        let mut session = self.store.session().await?;
        runs::accept(&mut session, claim.fence(), price).await?;
        session.close().await;
        Ok(())
    }

    /// Describes the pictures among a run's files, where somebody can, and makes all of them findable.
    /// What cannot be described or embedded now is still told to the team by its words.
    pub async fn take_in_files(
        &self,
        claim: &Claim,
        vision: Option<&Vision<'_>>,
    ) -> Result<(), StudioError> {
        for (file, name) in &claim.options.files {
            if let Some(vision) = vision {
                let (purpose, cancel) = (claim.purpose(Component::Vision), &claim.cancel);
                let described = self
                    .memory
                    .describe_picture(&purpose, vision, &self.vault, *file, cancel)
                    .await?;
                if let Described::Not(reason) = described {
                    let message = format!("{name} was not described: {reason}");
                    claim.tell(Event::Note { message });
                }
            }
            let purpose = claim.purpose(Component::Embedding);
            self.memory_of(claim).embed_file(&purpose, *file, &claim.cancel).await?;
        }
        Ok(())
    }

    /// Sets the cap of the whole run.
    pub async fn set_budget(&self, run: RunId, cap: Usd) -> Result<(), StudioError> {
        self.set_cap(run, Scope::Run, cap).await
    }

    /// Sets the cap of a run's language work.
    pub async fn set_language_budget(&self, run: RunId, cap: Usd) -> Result<(), StudioError> {
        self.set_cap(run, Scope::RunLanguage, cap).await
    }

    async fn set_cap(&self, run: RunId, scope: Scope, cap: Usd) -> Result<(), StudioError> {
        let mut session = self.store.session().await?;
        set_cap(&mut session, run, scope, cap, self.clock.now()).await?;
        session.close().await;
        Ok(())
    }

    /// Puts the run into another stage.
    pub async fn enter(&self, claim: &mut Claim, state: RunState) -> Result<(), StudioError> {
        debug_assert!(claim.state().may_become(state), "{} -> {state}", claim.run.state);
        let mut session = self.store.session().await?;
        runs::enter(&mut session, claim.fence(), state.as_str(), self.clock.now()).await?;
        session.close().await;
        state.as_str().clone_into(&mut claim.run.state);
        Ok(())
    }

    /// What the run has cost so far.
    pub async fn spent(&self, run: RunId) -> Result<Spent, StudioError> {
        let mut session = self.store.session().await?;
        let spent = settlements::spent(&mut session, run).await?;
        session.close().await;
        Ok(spent)
    }

    /// Joins the clips to the film, beside no other file.
    pub async fn cut(
        &self,
        claim: &Claim,
        media: &Media,
        clips: &[ShotClip],
    ) -> Result<Finished, StudioError> {
        let clips: Vec<_> = clips
            .iter()
            .map(|clip| ClipInFilm { path: clip.path.clone(), trim_seconds: clip.seconds })
            .collect();
        let cut = Cut {
            clips: &clips,
            aspect: claim.aspect,
            audio: claim.options.audio,
            destination: &film_path(claim),
            scratch: &self.projects_folder.join(claim.project.id.to_string()).join("cut"),
        };
        let mut last = None;
        let mut progress = |percent| {
            if last.replace(percent) != Some(percent) {
                claim.tell(Event::Film { percent });
            }
        };
        let _suite = self.suites.take(claim).await?;
        let cutting = media.ffmpeg.cut(&cut, &mut progress, &claim.cancel);
        let film = cutting.instrument(spans::stage("cut")).await?;
        self.record_film(claim, &film.path, film.seconds).await?;
        Ok(Finished { video: film.path, seconds: film.seconds, shots: clips.len() })
    }

    /// Draws a storyboard as a free preview film, on a thread of its own.
    pub async fn draw(
        &self,
        claim: &Claim,
        storyboard: &Storyboard,
    ) -> Result<Finished, StudioError> {
        let (storyboard, aspect, destination) =
            (storyboard.clone(), claim.aspect, film_path(claim));
        let (events, shots) = (claim.events().clone(), storyboard.shots.len());
        let cancel = claim.cancel.clone();
        let suite = self.suites.take(claim).await?;
        let drawing = tokio::task::spawn_blocking(move || {
            let _suite = suite;
            let mut progress = |percent: u8, _shot: u32| {
                let _ = events.send(Event::Film { percent });
            };
            animatic::render(&storyboard, aspect, &destination, &cancel, &mut progress)
        });
        let drawn = drawing.await.map_err(|error| StudioError::Damaged(error.to_string()))??;
        if !drawn.unknown_characters.is_empty() {
            let characters: String = drawn.unknown_characters.iter().take(20).collect();
            let message =
                format!("the preview's font has no {characters}: boxes stand in for them");
            claim.tell(Event::Note { message });
        }
        self.record_film(claim, &drawn.path, drawn.seconds).await?;
        Ok(Finished { video: drawn.path, seconds: drawn.seconds, shots })
    }

    /// Records where the film lies.
    pub async fn record_film(
        &self,
        claim: &Claim,
        path: &Path,
        seconds: Decimal,
    ) -> Result<(), StudioError> {
        let mut session = self.store.session().await?;
        runs::set_video(&mut session, claim.fence(), &path.to_string_lossy(), seconds).await?;
        session.close().await;
        claim.tell(Event::FilmReady { video: path.to_owned(), duration_seconds: seconds });
        Ok(())
    }

    /// The memory that a run's work goes into. A preview that the built-in writer writes pays nobody.
    fn memory_of(&self, claim: &Claim) -> Memory {
        let is_free = claim.run.kind == "preview" && claim.options.language_model.is_none();
        if is_free { self.memory.for_nothing() } else { self.memory.clone() }
    }

    /// Makes the project findable. What cannot be embedded now is still found by its words, so
    /// trouble here is told and does not spoil the film.
    pub async fn remember(&self, claim: &Claim) {
        let trouble = match self
            .memory_of(claim)
            .remember(&claim.purpose(Component::Embedding), claim.project.id)
            .await
        {
            Ok(remembered) => remembered.trouble.map(|trouble| trouble.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            let message = format!("the film was not made findable by meaning: {trouble}");
            claim.tell(Event::Note { message });
        }
    }

    /// Learns from a finished film what the user likes: what was asked for, kept, or taken again.
    /// Trouble here is told and does not spoil the film.
    pub async fn learn(&self, claim: &Claim) {
        if let Err(error) = self.memory.learn(&claim.run.user_id).await {
            claim.tell(Event::Note { message: format!("nothing was learnt from it: {error}") });
        }
    }
}

/// A run's options as its row has them. A path that is not UTF-8 cannot be kept.
fn row_of(options: &RunOptions) -> Result<Value, StudioError> {
    serde_json::to_value(options).map_err(|error| StudioError::Damaged(error.to_string()))
}

/// Sets a cap of a run.
async fn set_cap(
    connection: &mut PgConnection,
    run: RunId,
    scope: Scope,
    cap: Usd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let subject = run.to_string();
    budgets::set(connection, (scope, &subject), Period::Total, &Zone::utc(), cap, now).await
}

/// Where a claim's film goes: `<slug>-<short id>.mp4` in its folder. Where a file lies there
/// already, the next free name is taken.
pub fn film_path(claim: &Claim) -> PathBuf {
    claim.options.folder.join(file_name(&claim.project.slug, &claim.project.id.short()))
}

/// The storyboard that some kept shots make.
pub fn storyboard_of(title: &str, shots: &[(ShotId, Shot)]) -> Storyboard {
    Storyboard {
        title: title.to_owned(),
        shots: shots.iter().map(|(_, shot)| shot.clone()).collect(),
    }
}

fn new_project(new: &NewVideo, source: Option<&Source>, now: Timestamp) -> Project {
    let from = source.map(|source| &source.project);
    Project {
        id: ProjectId::new(),
        user_id: new.user_id.clone(),
        brief: new.brief.text.to_string(),
        title: from.map(|project| project.title.clone()).unwrap_or_default(),
        slug: slug(new.brief.text.as_str()),
        script: from.and_then(|project| project.script.clone()),
        script_author: from.and_then(|project| project.script_author.clone()),
        aspect: new.brief.aspect.to_string(),
        duration_seconds: new.brief.duration_seconds,
        shot_count: i32::try_from(new.brief.shots).unwrap_or(i32::MAX),
        source_project: from.map(|project| project.id),
        created_at: now,
    }
}
