//! What is told to the team, and in which order.
//!
//! The text is a part of prompts that are cached by their bytes. So it holds no counts, dates or
//! ids, and its order hangs on two marks alone: what is strong stands before what is not, and
//! within each the order is that of the lexicon. One more rating changes it only where a
//! preference passes a mark.

use jiff::Timestamp;
use serde::Serialize;

use super::decay::{Counted, STRONG, TOLD, WHOLE};
use super::reading::{Liking, Matter, remarks};
use super::traits::{self, Trait};
use super::{decay, traits_of};
use crate::ids::CampaignId;
use crate::memory::snippet::{one_line, shortened};
use crate::store::preferences::Preference;

/// The most preferences that are told.
const MOST_TOLD: usize = 20;
/// The most characters of one.
const LONGEST_TOLD: usize = 280;

/// How a preference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The user set it: told first, and never fading.
    Set,
    /// Told before others.
    Strong,
    /// Told.
    Told,
    /// Too weak, too old or too contradicted to be told.
    Faint,
}

impl Standing {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Strong => "strong",
            Self::Told => "told",
            Self::Faint => "faint",
        }
    }
}

/// A preference as the team is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// It, as a sentence.
    pub statement: String,
    /// What tells its matter from others.
    pub topic: String,
    /// Whether the user set it.
    pub is_set: bool,
}

impl Told {
    /// The traits that it is about, and whether they are liked.
    pub fn traits(&self) -> Vec<(&'static Trait, Liking)> {
        match self.topic.strip_prefix("trait:").and_then(traits::named) {
            Some(of) if self.statement == of.disliked => vec![(of, Liking::Disliked)],
            Some(of) => vec![(of, Liking::Liked)],
            None => traits_of(&self.statement),
        }
    }

    /// Other things that it is about, in the user's own words, and whether they are liked.
    pub fn things(&self) -> Vec<(String, Liking)> {
        if self.topic.starts_with("trait:") {
            return Vec::new();
        }
        remarks(&self.statement, None)
            .into_iter()
            .filter_map(|remark| match remark.matter {
                Matter::Words { thing, .. } => Some((thing, remark.liking)),
                Matter::Trait(_) => None,
            })
            .collect()
    }
}

/// How strong a preference is at a time, in plain ratings. What came without evidence, by an
/// import, counts by its support.
pub fn strength(preference: &Preference, now: Timestamp) -> f64 {
    if preference.signs.is_empty() {
        let support = u32::try_from(preference.support).unwrap_or(0);
        return decay::left(support.saturating_mul(WHOLE), preference.updated_at, now);
    }
    let counted = preference.signs.iter().map(|sign| Counted {
        supports: sign.supports,
        weight: u32::try_from(sign.weight).unwrap_or(0),
        at: sign.at,
    });
    decay::strength(counted, now)
}

/// How a preference stands at a time.
pub fn standing(preference: &Preference, now: Timestamp) -> Standing {
    if preference.pinned {
        return Standing::Set;
    }
    match strength(preference, now) {
        strength if strength >= STRONG => Standing::Strong,
        strength if strength >= TOLD => Standing::Told,
        _ => Standing::Faint,
    }
}

/// Puts preferences into the order in which they are told.
pub(super) fn sort(preferences: &mut [Preference], now: Timestamp) {
    preferences.sort_by_cached_key(|preference| {
        let set_at = preference.pinned.then_some(preference.created_at);
        let place = preference.topic.strip_prefix("trait:").and_then(traits::named);
        let place = place.map_or(traits::TRAITS.len(), Trait::place);
        (standing(preference, now), set_at, place, preference.statement.clone(), preference.id)
    });
}

/// What is told for a film of `campaign`. What the user set takes the place of what was learnt of
/// the same matter, and what holds in the campaign that of what holds elsewhere.
pub(super) fn told(
    preferences: &[Preference],
    campaign: Option<CampaignId>,
    now: Timestamp,
) -> Vec<Told> {
    let concerned: Vec<&Preference> = preferences
        .iter()
        .filter(|preference| preference.campaign.is_none() || preference.campaign == campaign)
        .filter(|preference| standing(preference, now) != Standing::Faint)
        .collect();
    let set: Vec<&str> = concerned
        .iter()
        .filter(|preference| preference.pinned)
        .flat_map(|preference| traits_of(&preference.statement))
        .map(|(of, _)| of.name)
        .collect();
    let of_campaign: Vec<&str> = concerned
        .iter()
        .filter(|preference| preference.campaign.is_some() && !preference.pinned)
        .map(|preference| preference.topic.as_str())
        .collect();
    let mut told: Vec<Told> = Vec::new();
    for preference in concerned {
        let is_set_otherwise = !preference.pinned
            && preference.topic.strip_prefix("trait:").is_some_and(|name| set.contains(&name));
        let holds_otherwise = !preference.pinned
            && preference.campaign.is_none()
            && of_campaign.contains(&preference.topic.as_str());
        let is_said = told.iter().any(|told| told.statement == preference.statement);
        if is_set_otherwise || holds_otherwise || is_said || told.len() == MOST_TOLD {
            continue;
        }
        told.push(Told {
            statement: preference.statement.clone(),
            topic: preference.topic.clone(),
            is_set: preference.pinned,
        });
    }
    told
}

/// What is told, as text for a model.
pub fn text(told: &[Told]) -> String {
    if told.is_empty() {
        return "Nothing is known yet about what this user likes.".to_owned();
    }
    let lines = told.iter().map(|told| {
        let statement = shortened(&one_line(&told.statement), LONGEST_TOLD);
        let source = if told.is_set { " (the user's own words)" } else { "" };
        format!("- {statement}{source}")
    });
    lines.collect::<Vec<_>>().join("\n")
}
