//! What the commands that make films share: somebody at the terminal is asked, and told what came of it.

mod offers;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::cli::progress::Bars;
use crate::commands::Context;
use crate::error::{Error, Kind};
use crate::ids::{RunId, ShotId};
use crate::ledger::TillError;
use crate::ledger::money::Usd;
use crate::providers::{FailureClass, LanguageModel, Provider};
use crate::studio::StudioError;
use crate::studio::agents::AgentError;
use crate::studio::claim::Claim;
use crate::studio::making::{Consent, Orders, Proposal, Stop, VideoReport};
use crate::studio::plan::Plan;
use crate::studio::producer::{Media, Producer};
use crate::studio::reusing::Offer;
use crate::studio::storyboard::{Shot, counted_shots};
pub(in crate::commands) use offers::offers_text;

/// Drives a claimed run from where it stands to its end under the eyes of somebody at the terminal, if there
/// is one.
pub async fn drive(
    context: &Context,
    producer: &Producer,
    claim: Claim,
    language: Option<&dyn LanguageModel>,
    media: Option<&Media>,
    bars: Bars,
    orders: Orders<'_>,
) -> Result<VideoReport, Error> {
    let run = claim.run.id;
    let terminal = Terminal { context, bars: &bars };
    let result = producer.make(claim, language, media, &terminal, orders).await;
    bars.finish().await;
    result.map_err(|stop| said(stop, run))
}

/// Why a run stopped, with what to type next.
pub(crate) fn said(stop: Stop, run: RunId) -> Error {
    match stop {
        Stop::Studio(error) => explain(error, run),
        Stop::Said(error) => *error,
    }
}

/// Somebody at the terminal, whose bars are taken off the screen while a question stands there.
struct Terminal<'a> {
    context: &'a Context,
    bars: &'a Bars,
}

#[async_trait]
impl Consent for Terminal<'_> {
    fn can_be_asked(&self) -> bool {
        self.context.output.can_prompt()
    }

    async fn buys(
        &self,
        proposal: Proposal<'_>,
        cancel: &CancellationToken,
    ) -> Result<bool, Error> {
        let Proposal { title, shots, plan } = proposal;
        let output = &self.context.output;
        let question = format!("Buy {} for {}?", plan.to_buy(), plan.total());
        self.bars
            .suspend(async {
                output.status(storyboard_text(title, shots, plan));
                output.confirm(&question, cancel).await
            })
            .await
    }

    async fn uses_again(
        &self,
        offers: Vec<Offer>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Offer>, Error> {
        self.bars.suspend(offers::ask(self.context, offers, cancel)).await
    }
}

/// The storyboard as people read it before they pay for it.
fn storyboard_text(title: &str, shots: &[(ShotId, Shot)], plan: &Plan) -> String {
    let mut lines = vec![title.to_owned()];
    for ((_, shot), planned) in shots.iter().zip(&plan.shots) {
        let price = planned.image_usd + planned.clip_usd;
        let picture = shorten(&shot.image_prompt, 52);
        lines.push(format!(
            "{:>3}. {:>4} s  {price:>7}  {picture}",
            shot.number, shot.duration_seconds
        ));
        if !shot.on_screen_text.is_empty() {
            lines.push(format!("{:23}“{}”", "", shorten(&shot.on_screen_text, 50)));
        }
        if !shot.references.is_empty() {
            lines.push(format!("{:23}looks like {}", "", shorten(&shot.references.join(", "), 46)));
        }
    }
    lines.join("\n")
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Adds to an error what to type to go on with the run.
fn explain(error: StudioError, run: RunId) -> Error {
    let run = run.short();
    let go_on = match &error {
        StudioError::Team(AgentError::Till(_)) => Some(format!("aida resume {run}")),
        StudioError::Team(_) => None,
        StudioError::Till(TillError::OverBudget { raise, .. })
            if raise.starts_with("aida budget set run ") =>
        {
            Some(format!("aida resume {run} --budget USD"))
        }
        StudioError::Till(TillError::Provider(failure))
            if failure.class == FailureClass::NotOffered =>
        {
            let flag =
                if failure.provider == Provider::Kie { "--image-model" } else { "--video-model" };
            Some(format!("aida resume {run} {flag} MODEL"))
        }
        _ => Some(format!("aida resume {run}")),
    };
    let shown = Error::from(error);
    match go_on {
        Some(command) => shown.hint(format!("go on where it stopped with: {command}")),
        None => shown,
    }
}

/// Prints what a run came to. A film without some of its shots ends with exit code 6.
pub fn finish(context: &Context, report: &VideoReport) -> Result<(), Error> {
    let output = &context.output;
    let shots = counted_shots(report.shots);
    let seconds = report.duration_seconds.normalize();
    if output.is_json() {
        output.json(report);
    } else if let Some(video) = &report.video {
        output.status(format!("{seconds} s, {shots}, {} settled", report.cost.settled_usd));
        if !report.reused.is_empty() {
            let saved: Usd = report.reused.iter().map(|line| line.saved_usd).sum();
            let count = report.reused.len();
            let takes = if count == 1 { "take was" } else { "takes were" };
            output.status(format!(
                "{count} kept {takes} used again instead of bought: {saved} saved"
            ));
        }
        output.data(video.to_string_lossy());
    } else {
        if !report.offered.offers.is_empty() {
            let head = if report.offered.counts {
                "kept takes that are used again, and need not be bought:"
            } else {
                "kept takes that could be used again; the price is without them:"
            };
            output.status(offers_text(head, &report.offered.offers, context.clock.now()));
        }
        let price = report.cost.estimated_usd;
        output.status(format!("storyboard kept: {shots}, {seconds} s, about {price} in all"));
        output.data(report.run_id.short());
        output.hint(format!("shoot it with: aida resume {}", report.run_id.short()));
    }
    if report.failed_shots.is_empty() {
        return Ok(());
    }
    let mut error = Error::new(
        Kind::Partial,
        format!(
            "{} of the shots could not be made; the film was cut without them",
            report.failed_shots.len()
        ),
    );
    for failed in &report.failed_shots {
        error = error.hint(format!("shot {}: {}", failed.shot, failed.reason));
    }
    let go_on = format!("try these shots again with: aida resume {}", report.run_id.short());
    Err(error.hint(go_on).reported())
}
