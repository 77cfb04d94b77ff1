//! What a film is offered for: its bounds by the price book, and what it will probably cost.

use rust_decimal::prelude::ToPrimitive as _;

use super::CreateVideoArgs;
use super::followed::Followed;
use crate::commands::Context;
use crate::commands::making::offers_text;
use crate::error::Error;
use crate::ids::ProjectId;
use crate::ledger::TillError;
use crate::ledger::estimate::{Estimate, Past};
use crate::ledger::money::Usd;
use crate::ledger::{Component, Purpose};
use crate::memory::reuse::ReusePolicy;
use crate::providers::{ImageModel, Provider, VideoModel};
use crate::store::history;
use crate::studio::brief::Brief;
use crate::studio::making::reuse_lines;
use crate::studio::plan::{self, Plan, Quote, Tariff};
use crate::studio::producer::Source;
use crate::studio::reusing::{self, Lacking, spared};
use crate::studio::run::RunReference;
use crate::studio::storyboard::counted_shots;

/// What the film may cost, and what it will probably cost.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The bounds, of which the upper one is what a yes is for.
    pub(super) quote: Quote,
    /// What is learnt from the user's past.
    pub(super) estimate: Estimate,
    /// Who may be paid how much of the upper bound, USD.
    pub(super) shares: [(Provider, Usd); 3],
    /// Kept takes that may serve a kept storyboard, as far as that is known for nothing.
    reuse: Vec<reusing::Offer>,
}

impl Offer {
    /// With a kept storyboard its plan, and nothing for words.
    pub(super) async fn new(
        arguments: &CreateVideoArgs,
        context: &Context,
        brief: &Brief,
        source: Option<&Source>,
        references: &[RunReference],
        image: &dyn ImageModel,
        video: &dyn VideoModel,
    ) -> Result<Self, Error> {
        let prices = context.prices()?;
        let today = context.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let price = |provider: Provider, model: &str| {
            prices.find(provider.as_str(), model, today).cloned().ok_or_else(|| {
                Error::from(TillError::NoPrice {
                    provider: provider.to_string(),
                    model: model.to_owned(),
                })
            })
        };
        let (image_price, clip_price) =
            (price(image.provider(), image.model())?, price(video.provider(), video.model())?);
        let tariff = Tariff {
            image: &image_price,
            clip: &clip_price,
            durations: video.durations(),
            audio: context.settings.audio,
        };
        let (plan, words_cap) = match source {
            Some(source) => (Plan::new(&source.storyboard, tariff), Usd::ZERO),
            None => (plan::even(brief, tariff), context.settings.language_budget),
        };
        let plan = plan.map_err(|error| {
            Error::usage(error.to_string()).hint("choose another model, or leave out --audio")
        })?;
        let past = past(context, image.model(), video.model()).await;
        let reuse = match source.filter(|_| !arguments.preview) {
            Some(source) => {
                reuse(arguments, context, source, references, image, video, &plan).await?
            }
            None => Vec::new(),
        };
        let reduced = plan.clone().without(&spared(&reuse));
        let policy = policy(arguments, context);
        // What the user is still asked about may be bought after all.
        let most = if policy == ReusePolicy::Auto { &reduced } else { &plan };
        let quote = Quote {
            low_usd: Quote::new(&reduced, words_cap).low_usd,
            high_usd: Quote::new(most, words_cap).high_usd,
        };
        let basis = most.basis(words_cap);
        let shares = [
            (Provider::Anthropic, words_cap),
            (image.provider(), basis.images),
            (video.provider(), basis.clips),
        ];
        let estimate = Estimate::new(reduced.basis(words_cap), &past).at_most(quote.high_usd);
        Ok(Self { quote, estimate, shares, reuse })
    }

    /// Prints it, for `--dry-run`.
    pub(super) fn show(&self, context: &Context, brief: &Brief, followed: &Followed) {
        let quote = self.quote;
        if context.output.is_json() {
            context.output.json(&serde_json::json!({
                "status": "quoted",
                "shots": brief.shots,
                "duration_seconds": brief.duration_seconds.to_f64(),
                "aspect": brief.aspect,
                "aspect_from": followed.aspect_from,
                "budget_usd": followed.budget,
                "budget_from": followed.budget_from,
                "image_model": context.settings.image_model,
                "video_model": context.settings.video_model,
                "quote": { "low_usd": quote.low_usd, "high_usd": quote.high_usd },
                "estimate": self.estimate,
                "reuse": reuse_lines(&self.reuse),
            }));
        } else {
            context.output.data(self.text(context, brief));
            if !self.reuse.is_empty() {
                let now = context.clock.now();
                context.output.data(offers_text(
                    "kept takes that could be used again:",
                    &self.reuse,
                    now,
                ));
            }
            followed.tell(context, brief);
        }
    }

    fn text(&self, context: &Context, brief: &Brief) -> String {
        let quote = self.quote;
        let settings = &context.settings;
        let pictures = format!(
            "{}, {} s, {}: images ({}) and clips ({}) {}",
            counted_shots(brief.shots as usize),
            brief.duration_seconds,
            brief.aspect,
            settings.image_model,
            settings.video_model,
            quote.low_usd
        );
        let whole = format!("in all at most {}; {}", quote.high_usd, self.estimate_text());
        let words = quote.high_usd - quote.low_usd;
        if words.is_zero() {
            return format!("{pictures}\n{whole}");
        }
        let model = &settings.language_model;
        format!("{pictures}\nwriting and directing ({model}) at most {words}\n{whole}")
    }

    /// What it will probably cost, and where that is known from.
    pub(super) fn estimate_text(&self) -> String {
        let Estimate { low_usd, likely_usd, high_usd, videos } = self.estimate;
        match videos {
            0 => {
                format!("probably about {likely_usd} (a first guess: no past videos to learn from)")
            }
            1 => format!("probably about {likely_usd}, as your last video tells"),
            _ if low_usd == high_usd => format!("probably {likely_usd}"),
            _ => format!("probably {low_usd} to {high_usd}, as your last {videos} videos tell"),
        }
    }
}

/// What is looked up before anything is agreed to: nothing is asked of anybody yet, so `--yes` counts only
/// where the film is made.
fn policy(arguments: &CreateVideoArgs, context: &Context) -> ReusePolicy {
    let chosen = context.settings.reuse;
    let can_be_shown = context.output.can_prompt() || (arguments.dry_run && chosen.is_some());
    ReusePolicy::in_force(chosen, can_be_shown, arguments.yes && !arguments.dry_run)
}

/// The kept takes that may serve a kept storyboard, found by words alone: a quote costs nothing.
async fn reuse(
    arguments: &CreateVideoArgs,
    context: &Context,
    source: &Source,
    references: &[RunReference],
    image: &dyn ImageModel,
    video: &dyn VideoModel,
    plan: &Plan,
) -> Result<Vec<reusing::Offer>, Error> {
    let policy = policy(arguments, context);
    if policy == ReusePolicy::Never {
        return Ok(Vec::new());
    }
    let purpose = Purpose {
        user_id: context.settings.user.clone(),
        project: None,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    };
    let lacking = Lacking {
        purpose: &purpose,
        project: if source.is_unfilmed { source.project.id } else { ProjectId::new() },
        aspect: &source.project.aspect,
        audio: context.settings.audio,
        image,
        video,
        files: &[],
        references,
        shots: &source.storyboard.shots,
        plan,
    };
    Ok(context.producer().await?.reuse_offers(lacking, policy, false).await?)
}

/// What the user's past videos needed. A quote is given all the same where the books cannot be read;
/// whatever is the matter with them is told before anything is spent.
async fn past(context: &Context, image_model: &str, video_model: &str) -> Past {
    if !context.has_database() {
        return Past::default();
    }
    let read = async {
        let settings = &context.settings;
        let mut session = context.store().await?.session().await?;
        let past = history::past(
            &mut session,
            &settings.user,
            &settings.language_model,
            image_model,
            video_model,
        )
        .await;
        session.close().await;
        Ok::<_, Error>(past?)
    };
    read.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the past could not be read for an estimate");
        Past::default()
    })
}
