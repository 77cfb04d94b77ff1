//! Kept takes that could be used again, shown to people and asked about once.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::commands::Context;
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::memory::reuse::{Alike, age};
use crate::studio::reusing::Offer;

/// Offers for people: what it is, how alike, where it comes from, and the file to look at.
pub(in crate::commands) fn offers_text(head: &str, offers: &[Offer], now: Timestamp) -> String {
    let mut lines = vec![head.to_owned()];
    for offer in offers {
        let Some(take) = offer.take() else { continue };
        lines.push(format!("{:>3}. {}", offer.shot, offer_text(offer)));
        let about = format!(
            "({}), {}, {}",
            take.model,
            age(take.created_at, now),
            take.rating.map_or_else(|| "not rated".to_owned(), |rating| format!("rated {rating}")),
        );
        // The prompt gets what the rest leaves of 80 columns, after the margin, two quotation marks and a space.
        let room = 80_usize.saturating_sub(5 + 3 + about.chars().count());
        let prompt: String = take.image_prompt.chars().take(room).collect();
        lines.push(format!("     “{prompt}” {about}"));
        lines.push(format!("     {}", offer.path.display()));
    }
    let saved: Usd = offers.iter().map(|offer| offer.saved_usd).sum();
    lines.push(format!("     saves {saved} in all"));
    lines.join("\n")
}

/// The most characters of a title, so that no line is longer than 80 columns.
const LONGEST_TITLE: usize = 14;

/// One offer in one line of at most 70 columns: in a list to choose from, ten stand before it.
fn offer_text(offer: &Offer) -> String {
    let alike = match offer.alike {
        Alike::Exact => "same".to_owned(),
        Alike::Near => format!("near {} %", offer.percent),
        Alike::Meaning => format!("alike {} %", offer.percent),
    };
    let from = offer.take().map_or_else(String::new, |take| {
        let title: String = take.project.chars().take(LONGEST_TITLE).collect();
        format!("shot {} of “{title}” ({})", take.shot, take.project_id.short())
    });
    format!("{:<5} {alike}: {from}, saves {}", offer.kind().as_str(), offer.saved_usd)
}

/// Shows what could be used again and asks once: all of it, nothing, or shot by shot.
pub(super) async fn ask(
    context: &Context,
    offers: Vec<Offer>,
    cancel: &CancellationToken,
) -> Result<Vec<Offer>, Error> {
    let output = &context.output;
    let now = context.clock.now();
    output.status(offers_text("Kept takes that could be used again:", &offers, now));
    let saved: Usd = offers.iter().map(|offer| offer.saved_usd).sum();
    let is_sure = |offer: &Offer| offer.alike != Alike::Meaning;
    let answers = vec![
        format!("use all {} again, saving {saved}", offers.len()),
        "buy everything anew".to_owned(),
        "choose shot by shot".to_owned(),
    ];
    // What is only alike by meaning wants to be looked at.
    let default = if offers.iter().all(is_sure) { 0 } else { 2 };
    match output.choose("Use them again", answers, default, cancel).await? {
        0 => Ok(offers),
        1 => Ok(Vec::new()),
        _ => {
            let things = offers
                .iter()
                .map(|offer| (format!("{}. {}", offer.shot, offer_text(offer)), is_sure(offer)))
                .collect();
            let question = "Which (space marks, enter ends)";
            let places = output.choose_some(question, things, cancel).await?;
            let chosen = offers.into_iter().enumerate();
            Ok(chosen.filter(|(at, _)| places.contains(at)).map(|(_, offer)| offer).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProjectId, TakeId};
    use crate::ledger::operation::OperationKind;
    use crate::store::reuse::KeptTake;
    use rust_decimal_macros::dec;

    #[test]
    fn no_line_but_a_path_is_longer_than_eighty_columns() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let take = KeptTake {
            id: TakeId::new(),
            kind: OperationKind::Image,
            project_id: ProjectId::new(),
            project: "A title that does not know when to end".to_owned(),
            shot: 60,
            path: "p".to_owned(),
            sha256: "s".to_owned(),
            bytes: 1,
            width: None,
            height: None,
            duration_seconds: None,
            model: "midjourney-7-turbo".to_owned(),
            chosen: true,
            rating: None,
            keyframe_sha256: None,
            fingerprint: None,
            frame: None,
            sketch: None,
            image_prompt: "Hands fold sourdough on a floured oak table ".repeat(3),
            motion_prompt: String::new(),
            created_at: "2025-11-22T12:00:00Z".parse().unwrap(),
        };
        let offer = Offer {
            shot: 60,
            image: Some(take),
            clip: None,
            lacks_image: true,
            alike: Alike::Meaning,
            percent: 99,
            saved_usd: Usd::new(dec!(10.39)),
            path: "/p".into(),
        };
        assert!(offer_text(&offer).chars().count() <= 70, "{}", offer_text(&offer));
        for line in offers_text("Kept takes that could be used again:", &[offer], now).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
