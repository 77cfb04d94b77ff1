//! From evidence to beliefs: what is liked or disliked, in which scope, and on what it rests.
//!
//! Pure: the same material at the same time gives the same beliefs, in whatever order it came.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::contrast::{self, Looked};
use super::decay::{Counted, left, strength};
use super::evidence::{Evidence, EvidenceKind, Topic, of_brief, of_note};
use super::reading::{Liking, sentence};
use crate::ids::CampaignId;
use crate::store::taste::{Film, Material};

/// The fewest pieces of evidence that make a belief where the user never said it.
const FEWEST_SIGNS: usize = 3;
/// Below this strength there is no belief.
const LEAST_STRENGTH: f64 = 0.3;
/// From this share of common words on two remarks are about one thing.
const SAME_THING: f64 = 0.6;

/// Something that the user seems to like or dislike.
#[derive(Debug, Clone)]
pub struct Belief {
    /// The campaign for which it holds; none for everything that the user makes.
    pub campaign: Option<CampaignId>,
    /// What tells its matter from others.
    pub topic: String,
    /// Whether it is liked.
    pub liking: Liking,
    /// It, as a sentence.
    pub statement: String,
    /// What it rests on, with whether that speaks for it; the oldest first.
    pub evidence: Vec<(Evidence, bool)>,
}

impl Belief {
    /// How many pieces of evidence speak for it.
    pub fn support(&self) -> usize {
        self.evidence.iter().filter(|(_, supports)| *supports).count()
    }

    /// How strong it is at a time.
    pub fn strength(&self, now: Timestamp) -> f64 {
        let counted = |(evidence, supports): &(Evidence, bool)| Counted {
            supports: *supports,
            weight: evidence.weight,
            at: evidence.at,
        };
        strength(self.evidence.iter().map(counted), now)
    }
}

/// What the material says of the user's taste. Topics of which `is_forgotten` holds are left out.
///
/// What holds in one campaign alone is believed of that campaign. It is believed of the user
/// where it was seen outside of campaigns, or in two of them.
pub fn beliefs(
    material: &Material,
    is_forgotten: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Vec<Belief> {
    let all: Vec<&Film> = material.films.iter().collect();
    let campaigns: BTreeSet<CampaignId> =
        all.iter().flat_map(|film| film.campaigns.iter().copied()).collect();
    let looked = Looked::at(&material.films);
    let general = evidence(material, &all, &looked, &is_forgotten);
    let mut found = grouped(general, None, &is_forgotten, now);
    found.retain(|belief| is_general(belief, material));
    let general = found.clone();
    for campaign in campaigns {
        let films: Vec<&Film> =
            all.iter().copied().filter(|film| film.campaigns.contains(&campaign)).collect();
        let own = evidence(material, &films, &looked, &is_forgotten);
        let own = grouped(own, Some(campaign), &is_forgotten, now);
        // What holds everywhere need not be said again.
        found.extend(own.into_iter().filter(|own| {
            !general.iter().any(|known| known.topic == own.topic && known.liking == own.liking)
        }));
    }
    found
}

fn evidence(
    material: &Material,
    films: &[&Film],
    looked: &Looked,
    is_forgotten: &impl Fn(&str) -> bool,
) -> Vec<Evidence> {
    let is_of_films = |project| films.iter().any(|film| film.project == project);
    let mut all: Vec<Evidence> = material
        .feedback
        .iter()
        .filter(|said| is_of_films(said.project))
        .flat_map(of_note)
        .chain(films.iter().flat_map(|film| of_brief(film)))
        .chain(contrast::evidence(material, films, looked))
        .filter(|evidence| !is_forgotten(&evidence.topic.key()))
        .collect();
    all.sort_by(|one, other| {
        let key = |evidence: &Evidence| {
            (evidence.at, evidence.project, evidence.shot, evidence.feedback, evidence.kind)
        };
        key(one)
            .cmp(&key(other))
            .then_with(|| one.topic.key().cmp(&other.topic.key()))
            .then_with(|| one.words.cmp(&other.words))
    });
    all
}

/// Whether a belief is more than the habit of one campaign.
fn is_general(belief: &Belief, material: &Material) -> bool {
    let mut campaigns = BTreeSet::new();
    for (evidence, _) in belief.evidence.iter().filter(|(_, supports)| *supports) {
        let film = material.films.iter().find(|film| film.project == evidence.project);
        match film.map(|film| film.campaigns.as_slice()) {
            None | Some([]) => return true,
            Some(own) => campaigns.extend(own.iter().copied()),
        }
    }
    campaigns.len() >= 2
}

fn grouped(
    evidence: Vec<Evidence>,
    campaign: Option<CampaignId>,
    is_forgotten: &impl Fn(&str) -> bool,
    now: Timestamp,
) -> Vec<Belief> {
    let mut groups: BTreeMap<String, Vec<Evidence>> = BTreeMap::new();
    let mut things: Vec<Vec<String>> = Vec::new();
    for evidence in evidence {
        let key = match &evidence.topic {
            Topic::Trait(_) => evidence.topic.key(),
            Topic::Words(stems) => {
                let known = things.iter().find(|known| is_same_thing(known, stems));
                let thing = known.cloned().unwrap_or_else(|| {
                    things.push(stems.clone());
                    stems.clone()
                });
                Topic::Words(thing).key()
            }
        };
        groups.entry(key).or_default().push(evidence);
    }
    groups
        .into_iter()
        .filter(|(topic, _)| !is_forgotten(topic))
        .filter_map(|(topic, evidence)| belief(topic, evidence, campaign, now))
        .collect()
}

/// Whether remarks with these words are about one thing.
pub(super) fn is_same_thing(one: &[String], other: &[String]) -> bool {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    is_same_share(one.intersection(&other).count(), one.union(&other).count())
}

/// Whether two things are one that have so many words in common of all that they have.
pub(super) fn is_same_share(common: usize, all: usize) -> bool {
    let count = |words: usize| f64::from(u32::try_from(words).unwrap_or(u32::MAX));
    count(common) / count(all.max(1)) >= SAME_THING
}

fn belief(
    topic: String,
    evidence: Vec<Evidence>,
    campaign: Option<CampaignId>,
    now: Timestamp,
) -> Option<Belief> {
    let sum = |liking: Liking| -> f64 {
        let own = evidence.iter().filter(|evidence| evidence.liking == liking);
        own.map(|evidence| left(evidence.weight, evidence.at, now)).sum()
    };
    let (likes, dislikes) = (sum(Liking::Liked), sum(Liking::Disliked));
    let liking = if likes >= dislikes { Liking::Liked } else { Liking::Disliked };
    let of_note =
        |evidence: &&Evidence| evidence.liking == liking && evidence.kind == EvidenceKind::Note;
    let statement = match &evidence.first()?.topic {
        Topic::Trait(of) => match liking {
            Liking::Liked => of.liked.to_owned(),
            Liking::Disliked => of.disliked.to_owned(),
        },
        // The first words stay, so that saying it again changes nothing.
        Topic::Words(_) => sentence(&evidence.iter().find(of_note)?.words),
    };
    let was_said = evidence.iter().any(|evidence| of_note(&evidence));
    let belief = Belief {
        campaign,
        topic,
        liking,
        statement,
        evidence: evidence
            .into_iter()
            .map(|evidence| {
                let supports = evidence.liking == liking;
                (evidence, supports)
            })
            .collect(),
    };
    let is_enough = was_said || belief.support() >= FEWEST_SIGNS;
    (is_enough && belief.strength(now) >= LEAST_STRENGTH && !belief.statement.is_empty())
        .then_some(belief)
}

#[cfg(test)]
#[path = "belief/tests.rs"]
mod tests;
