//! A film that is asked for, checked and priced before anything is stored or spent.

use std::path::PathBuf;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::CreateVideoArgs;
use super::followed::{Followed, InCampaign, Origin};
use super::given::Given;
use super::offer::Offer;
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ids::CampaignId;
use crate::ledger::money::Usd;
use crate::memory::files::Shelf;
use crate::providers::{ImageModel, ImageRequest, Provider, VideoModel};
use crate::store::projects;
use crate::store::runs::{self, QueuePlace};
use crate::studio::brief::{Brief, BriefError, MOST_SHOTS};
use crate::studio::plan::Quote;
use crate::studio::producer::{NewVideo, Source, storyboard_of};
use crate::studio::run::RunOptions;
use crate::studio::storyboard::counted_shots;

/// A film that is asked for: everything about it is checked, and nothing is stored or spent.
pub(crate) struct Order {
    arguments: CreateVideoArgs,
    pub(crate) brief: Brief,
    pub(super) source: Option<Source>,
    campaign: Option<InCampaign>,
    pub(super) followed: Followed,
    given: Given,
    pub(super) image: Arc<dyn ImageModel>,
    pub(super) video: Arc<dyn VideoModel>,
    pub(super) offer: Offer,
}

impl Order {
    /// Checks what is asked for against settings, campaign, files and models, and prices it. Files that
    /// lie on the shelf are not read again.
    pub(crate) async fn check(
        arguments: &CreateVideoArgs,
        shelf: &mut Shelf,
        context: &Context,
    ) -> Result<Self, Error> {
        let settings = &context.settings;
        let (mut brief, source) = match arguments.to_brief(settings)? {
            Some(brief) => (brief, None),
            None => kept_storyboard(arguments, context).await?,
        };
        let campaign = match &arguments.campaign {
            Some(typed) => Some(InCampaign::find(typed, context).await?),
            None => None,
        };
        let followed = Followed::new(arguments, campaign.as_ref(), &mut brief, source.as_ref())?;
        let given = Given::gather(&arguments.files, &arguments.references, shelf, context).await?;
        let image = context.image_model_named(&settings.image_model)?;
        let video = context.video_model_named(&settings.video_model)?;
        fits_the_models(context, &brief, image.as_ref(), video.as_ref())?;
        given.fits(image.as_ref())?;
        let offer = Offer::new(
            arguments,
            context,
            &brief,
            source.as_ref(),
            &given.references(),
            image.as_ref(),
            video.as_ref(),
        )
        .await?;
        let arguments = arguments.clone();
        Ok(Self { arguments, brief, source, campaign, followed, given, image, video, offer })
    }

    /// What it may cost; a preview costs nothing.
    pub(crate) fn quote(&self) -> Quote {
        if self.arguments.preview {
            return Quote { low_usd: Usd::ZERO, high_usd: Usd::ZERO };
        }
        self.offer.quote
    }

    /// What the film may cost at most, by `--budget` or its campaign.
    #[cfg(feature = "serve")]
    pub(crate) const fn budget(&self) -> Option<Usd> {
        self.followed.budget
    }

    /// The same film, which may cost no more than `most` whatever else is said.
    #[cfg(feature = "serve")]
    #[must_use]
    pub(crate) fn costing_at_most(mut self, most: Usd) -> Self {
        self.followed.budget = Some(self.followed.budget.map_or(most, |budget| budget.min(most)));
        self
    }

    /// What a yes to it agrees to, USD: nothing of a preview, which is free, and of a plan the words alone.
    pub(crate) fn agreed_usd(&self) -> Option<Usd> {
        let buys_media = !self.arguments.preview && !self.arguments.plan;
        buys_media.then_some(self.offer.quote.high_usd)
    }

    /// Who may be paid how much of it, USD.
    pub(crate) fn shares(&self) -> Vec<(Provider, Usd)> {
        if self.arguments.preview {
            return Vec::new();
        }
        self.offer.shares.into_iter().filter(|(_, share)| !share.is_zero()).collect()
    }

    /// The campaign that the video joins.
    pub(crate) fn campaign(&self) -> Option<CampaignId> {
        self.campaign.as_ref().map(|campaign| campaign.campaign.id)
    }

    /// Whether a kept storyboard is shot.
    pub(crate) const fn is_written(&self) -> bool {
        self.source.is_some()
    }

    /// Whether it is a free preview.
    pub(crate) const fn is_preview(&self) -> bool {
        self.arguments.preview
    }

    /// Copies the pictures that were given, so that they are there when the film is made.
    pub(crate) async fn copy_pictures(&self, context: &Context) -> Result<(), Error> {
        self.given.copy(context).await
    }

    /// `--budget` is compared with the quote's upper end before anything is spent.
    pub(crate) fn is_within_its_budget(&self) -> Result<(), Error> {
        let high = self.quote().high_usd;
        match self.followed.budget {
            Some(budget) if high > budget => Err(Error::new(
                Kind::Budget,
                format!(
                    "the film may cost up to {high}, more than {} {budget}; nothing was spent",
                    match self.followed.budget_from {
                        Some(Origin::Campaign) => "the campaign's budget of",
                        _ => "--budget",
                    }
                ),
            )
            .hint("raise --budget, shorten --duration, or choose a cheaper --video-model")
            .hint("`--preview` shows pace and text for nothing")),
            _ => Ok(()),
        }
    }

    /// A plan needs the writer's key only; a film needs them all.
    pub(crate) fn require_services(&self, context: &Context) -> Result<(), Error> {
        match (self.arguments.preview, self.arguments.plan, self.source.is_some()) {
            (true, ..) | (_, true, true) => Ok(()),
            (_, true, false) => context.require(&[Service::Anthropic]),
            (_, false, false) => context.require(&Service::FILM),
            (_, false, true) => context.require(&[Service::Kie, Service::Fal]),
        }
    }

    /// The video that this makes in `folder`, up to the price that was agreed to.
    pub(crate) fn into_new_video(
        self,
        context: &Context,
        folder: PathBuf,
        claude_writes: bool,
        accepted: Option<Usd>,
        queue: Option<QueuePlace>,
    ) -> NewVideo {
        let settings = &context.settings;
        let (arguments, given) = (&self.arguments, self.given);
        let is_film = !arguments.preview;
        NewVideo {
            user_id: settings.user.clone(),
            options: RunOptions {
                language_model: claude_writes.then(|| settings.language_model.clone()),
                image_model: self.image.model().to_owned(),
                video_model: self.video.model().to_owned(),
                audio: settings.audio,
                campaign: self.campaign.as_ref().map(|campaign| campaign.campaign.id),
                style: self.campaign.map(|campaign| campaign.style),
                files: given.kept_files(),
                references: given.kept_references(),
                folder,
                language_budget_usd: settings.language_budget,
                retake: None,
                plan_only: arguments.plan,
                reuse: settings.reuse,
                reused: None,
                pictures: None,
                recalled: None,
            },
            brief: self.brief,
            preview: arguments.preview,
            quote: is_film.then_some(self.offer.quote),
            estimate: is_film.then_some(self.offer.estimate.likely_usd),
            accepted,
            budget: self.followed.budget.filter(|_| is_film || arguments.budget.is_some()),
            queue,
            source: self.source,
            files: given.read,
            for_all: given.for_all,
        }
    }
}

/// The project that `--from` names, its brief and its storyboard.
async fn kept_storyboard(
    arguments: &CreateVideoArgs,
    context: &Context,
) -> Result<(Brief, Option<Source>), Error> {
    let typed = arguments.from.as_deref().unwrap_or_default();
    let mut session = context.store().await?.session().await?;
    let found = projects::find(&mut session, &context.settings.user, typed).await?;
    let project = match found.as_slice() {
        [] => {
            return Err(Error::usage(format!("there is no project '{typed}'"))
                .hint("`aida show` lists the projects with their ids"));
        }
        [one] => one.clone(),
        several => {
            let ids: Vec<_> = several.iter().map(|project| project.id.short()).collect();
            return Err(Error::usage(format!("'{typed}' names {} projects", several.len()))
                .hint(format!("say which: {}", ids.join(", "))));
        }
    };
    let shots = projects::shots(&mut session, project.id).await?;
    let has_film = runs::has_film(&mut session, project.id).await?;
    session.close().await;
    if shots.is_empty() {
        return Err(Error::usage(format!("project {typed} has no storyboard yet"))
            .hint(format!("let it be written with: aida resume {typed}")));
    }
    let damaged =
        |message: String| Error::internal(format!("project {typed} is damaged: {message}"));
    let brief = Brief {
        text: project.brief.parse().map_err(|error: BriefError| damaged(error.to_string()))?,
        duration_seconds: shots.iter().map(|(_, shot)| shot.duration_seconds).sum(),
        shots: u32::try_from(shots.len()).unwrap_or(MOST_SHOTS),
        aspect: project.aspect.parse().map_err(damaged)?,
        files: Vec::new(),
    };
    let storyboard = storyboard_of(&project.title, &shots);
    Ok((brief, Some(Source { project, storyboard, is_unfilmed: !has_film })))
}

/// Whether the models can make such a film at all, before anything is asked or spent.
fn fits_the_models(
    context: &Context,
    brief: &Brief,
    image: &dyn ImageModel,
    video: &dyn VideoModel,
) -> Result<(), Error> {
    let request = ImageRequest {
        prompt: "a picture".to_owned(),
        aspect: brief.aspect,
        reference_urls: Vec::new(),
    };
    image.check(&request).map_err(|failure| {
        Error::usage(failure.message).hint("choose another --aspect or --image-model")
    })?;
    if context.settings.audio && !video.offers_audio() {
        return Err(Error::usage(format!("{} makes no clips with sound", video.model()))
            .hint("leave out --audio, or choose a --video-model such as kling-2.6-pro"));
    }
    let longest = video.durations().last().copied().unwrap_or_default();
    if brief.duration_seconds > Decimal::from(longest * brief.shots) {
        return Err(Error::usage(format!(
            "{} of at most {longest} s ({}) cannot fill {} s",
            counted_shots(brief.shots as usize),
            video.model(),
            brief.duration_seconds
        ))
        .hint("raise --scenes or lower --duration"));
    }
    Ok(())
}
