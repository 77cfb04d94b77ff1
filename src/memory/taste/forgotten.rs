//! What must not be believed again, kept without saying what it was.
//!
//! A trait is kept as one salted digest. Things in the user's own words are believed to be one
//! where most of their words are the same, so they have to be recognised by that here as well: of
//! such a thing the digest of every part is kept that is large enough to make another thing the
//! same. No word is digested alone where there are two, so that a list of words does not tell them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::belief::is_same_share;
use crate::store::preferences::Forgotten;

/// Stands for every topic at once.
pub(super) const EVERYTHING: &str = "*";

/// The most words whose parts are looked at; a remark in the user's words has no more of them.
const MOST_WORDS: usize = 12;

/// What is kept of a forgotten topic: one salt, and a digest for all by which it is recognised.
pub(super) fn kept_of(user_id: &str, topic: &str, at: Timestamp) -> Vec<Forgotten> {
    let salt = Uuid::now_v7().to_string();
    let mut signs = vec![topic.to_owned()];
    if let Some(stems) = words_of(topic) {
        let parts = parts(&stems);
        signs.extend(parts.iter().map(|part| sign(part, stems.len())));
    }
    signs
        .into_iter()
        .map(|sign| Forgotten { digest: digest(&salt, user_id, &sign), salt: salt.clone(), at })
        .collect()
}

/// What of a user's taste was forgotten.
pub(super) struct ForgottenTopics<'a> {
    user_id: &'a str,
    by_salt: HashMap<&'a str, HashSet<&'a str>>,
    /// Since when everything before is forgotten.
    everything_before: Option<Timestamp>,
    /// The topics that were asked for already: films speak of the same things again and again.
    known: RefCell<HashMap<String, bool>>,
}

impl<'a> ForgottenTopics<'a> {
    pub(super) fn new(user_id: &'a str, forgotten: &'a [Forgotten]) -> Self {
        let mut by_salt: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut everything_before = None;
        for Forgotten { salt, digest: kept, at } in forgotten {
            if *kept == digest(salt, user_id, EVERYTHING) {
                everything_before = everything_before.max(Some(*at));
            } else {
                by_salt.entry(salt).or_default().insert(kept);
            }
        }
        Self { user_id, by_salt, everything_before, known: RefCell::default() }
    }

    pub(super) const fn everything_before(&self) -> Option<Timestamp> {
        self.everything_before
    }

    /// Whether this topic was forgotten, or one that is believed to be the same.
    pub(super) fn has(&self, topic: &str) -> bool {
        if let Some(known) = self.known.borrow().get(topic) {
            return *known;
        }
        let has = !self.digests_like(topic).is_empty();
        self.known.borrow_mut().insert(topic.to_owned(), has);
        has
    }

    /// Everything that is kept of this topic and of those that are believed to be the same.
    pub(super) fn digests_like(&self, topic: &str) -> Vec<String> {
        let mut signs = vec![topic.to_owned()];
        if let Some(stems) = words_of(topic) {
            for part in parts(&stems) {
                // How many words the other thing may have of which these are a part.
                let sizes = (part.len()..=2 * MOST_WORDS)
                    .take_while(|size| is_same_share(part.len(), size + stems.len() - part.len()));
                signs.extend(sizes.map(|size| sign(&part, size)));
            }
        }
        let is_kept = |salt: &str, kept: &HashSet<&str>| {
            signs.iter().any(|sign| kept.contains(digest(salt, self.user_id, sign).as_str()))
        };
        self.by_salt
            .iter()
            .filter(|(salt, kept)| is_kept(salt, kept))
            .flat_map(|(_, kept)| kept.iter().map(|digest| (*digest).to_owned()))
            .collect()
    }
}

/// The words of a thing in the user's own words.
pub(super) fn words_of(topic: &str) -> Option<Vec<String>> {
    let mut stems: Vec<String> =
        topic.strip_prefix("words:")?.split_whitespace().map(str::to_owned).collect();
    stems.sort();
    stems.dedup();
    Some(stems)
}

/// The parts of some words that are large enough to make two things the same.
fn parts(stems: &[String]) -> Vec<Vec<&str>> {
    if stems.len() > MOST_WORDS {
        return Vec::new();
    }
    (1_u32..1 << stems.len())
        .filter(|chosen| is_same_share(chosen.count_ones() as usize, stems.len()))
        .map(|chosen| {
            let is_chosen = |place: &usize| chosen & (1 << place) != 0;
            (0..stems.len()).filter(is_chosen).map(|place| stems[place].as_str()).collect()
        })
        .collect()
}

/// What tells a part of a thing of so many words.
fn sign(part: &[&str], of: usize) -> String {
    format!("part of {of}:{}", part.join(" "))
}

fn digest(salt: &str, user_id: &str, topic: &str) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(format!("{salt}\0{user_id}\0{topic}"));
    hash.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::belief::is_same_thing;
    use super::*;

    fn topic(stems: &BTreeSet<String>) -> String {
        format!("words:{}", stems.iter().cloned().collect::<Vec<_>>().join(" "))
    }

    fn stems() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("[a-h]", 1..8)
    }

    #[test]
    fn a_topic_is_recognised_and_not_told() {
        let now = Timestamp::UNIX_EPOCH;
        let mut kept = kept_of("ada", "trait:light.bright", now);
        kept.extend(kept_of("ada", "words:music violin", now));
        kept.extend(kept_of("ada", EVERYTHING, now));
        let forgotten = ForgottenTopics::new("ada", &kept);
        assert_eq!(forgotten.everything_before(), Some(now));
        for (topic, expected) in [
            ("trait:light.bright", true),
            ("trait:light.dark", false),
            ("words:music violin", true),
            ("words:loud music violin", true),
            ("words:loud long music violin", false),
            ("words:violin", false),
            ("set:music violin", false),
        ] {
            assert_eq!(forgotten.has(topic), expected, "{topic}");
        }
        assert!(!ForgottenTopics::new("bob", &kept).has("trait:light.bright"));
        assert_eq!(forgotten.digests_like("words:loud music violin").len(), 2);
        let words = ["music", "violin", "part of 2:music", "part of 1:music"];
        for Forgotten { salt, digest: kept, .. } in &kept {
            assert!(words.iter().all(|word| *kept != digest(salt, "ada", word)));
        }
    }

    proptest! {
        #[test]
        fn what_is_believed_to_be_the_same_is_forgotten_as_the_same(one in stems(), other in stems()) {
            let kept = kept_of("ada", &topic(&one), Timestamp::UNIX_EPOCH);
            let vector = |stems: &BTreeSet<String>| stems.iter().cloned().collect::<Vec<_>>();
            let is_same = is_same_thing(&vector(&one), &vector(&other));
            prop_assert_eq!(ForgottenTopics::new("ada", &kept).has(&topic(&other)), is_same);
        }
    }
}
