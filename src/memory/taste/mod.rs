//! What the user likes: learnt from ratings, notes, retakes and briefs, told to the team, and
//! forgotten when the user wants it so.
//!
//! # The map of this room
//!
//! - `reading` reads notes: what they speak of, and whether it is liked.
//! - `traits` is the lexicon of what shots can have.
//! - `contrast` finds what distinguishes well rated films and shots from badly rated ones.
//! - `evidence` and `belief` put together what single signs say; `decay` has them fade.
//! - `telling` chooses what is told to the team, in which order, in bytes that seldom change.
//! - `leaning` is the same for the built-in outline writer.
//! - `forgetting` takes out of every table what must not be known any more; `forgotten` keeps it
//!   from coming back, by the likeness by which it was believed.
//!
//! Everything is learnt anew from the books each time, so that the order in which things came
//! does not matter, and nothing is left of what was taken back. No model is asked.

pub mod belief;
pub mod contrast;
pub mod decay;
pub mod evidence;
mod forgetting;
mod forgotten;
pub mod leaning;
pub mod reading;
pub mod telling;
pub mod traits;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};

use crate::ids::{CampaignId, PreferenceId};
use crate::memory::words::words;
use crate::memory::{Memory, MemoryError};
use crate::store::preferences::{self, EvidenceLine, NewEvidence, NewPreference, Preference};
use crate::store::taste;

pub use forgetting::Forgetting;
pub use leaning::Leaning;
pub use telling::{Standing, standing, strength};

use belief::Belief;
use forgotten::ForgottenTopics;
use telling::Told;

/// The longest sentence that a user may set, in characters.
pub const LONGEST_STATEMENT: usize = 280;
/// The most preferences that a user may set.
pub const MOST_SET: usize = 50;

/// Why a sentence cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Nothing but white space.
    #[error("a preference needs a sentence")]
    Empty,
    /// Longer than is told.
    #[error("the sentence has {0} characters; at most {LONGEST_STATEMENT} are taken")]
    TooLong(usize),
    /// A control character.
    #[error("the sentence holds the control character {0:?}")]
    Control(char),
}

/// Checks a sentence, and answers it on one line with a full stop.
pub fn checked_statement(text: &str) -> Result<String, StatementError> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !text.chars().any(char::is_alphanumeric) {
        return Err(StatementError::Empty);
    }
    let statement = reading::sentence(&text);
    let length = statement.chars().count();
    if length > LONGEST_STATEMENT {
        return Err(StatementError::TooLong(length));
    }
    match statement.chars().find(|character| character.is_control()) {
        Some(character) => Err(StatementError::Control(character)),
        None => Ok(statement),
    }
}

/// What was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learnt {
    /// Preferences that are believed now, beside those that the user set.
    pub preferences: usize,
}

impl Memory {
    /// Learns a user's taste anew from everything that is kept of it. Free, and safe to repeat.
    pub async fn learn(&self, user_id: &str) -> Result<Learnt, MemoryError> {
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(crate::store::StoreError::from)?;
        let learnt = learn(&mut transaction, user_id, self.clock.now()).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        session.close().await;
        Ok(learnt)
    }

    /// Everything that is believed of a user, what the user set first, then the strongest.
    pub async fn preferences(&self, user_id: &str) -> Result<Vec<Preference>, MemoryError> {
        let mut session = self.store.session().await?;
        let mut all = preferences::all(&mut session, user_id).await?;
        session.close().await;
        telling::sort(&mut all, self.clock.now());
        Ok(all)
    }

    /// What the team is told of a user's taste for a film of `campaign`.
    pub async fn told(
        &self,
        user_id: &str,
        campaign: Option<CampaignId>,
    ) -> Result<Vec<Told>, MemoryError> {
        Ok(telling::told(&self.preferences(user_id).await?, campaign, self.clock.now()))
    }

    /// What the built-in outline writer follows of it.
    pub async fn leaning(
        &self,
        user_id: &str,
        campaign: Option<CampaignId>,
    ) -> Result<Leaning, MemoryError> {
        Ok(Leaning::of(&self.told(user_id, campaign).await?))
    }

    /// What a preference rests on, the newest first.
    pub async fn evidence_of(
        &self,
        preference: PreferenceId,
    ) -> Result<Vec<EvidenceLine>, MemoryError> {
        let mut session = self.store.session().await?;
        let evidence = preferences::evidence(&mut session, preference).await?;
        session.close().await;
        Ok(evidence)
    }

    /// Keeps what a user wants in so many words; it is told before everything that was learnt.
    /// What was forgotten before may be believed again where the user sets it.
    pub async fn set_preference(
        &self,
        user_id: &str,
        campaign: Option<CampaignId>,
        statement: &str,
    ) -> Result<PreferenceId, MemoryError> {
        let now = self.clock.now();
        let topic = set_topic(statement);
        let mut meant = vec![topic.clone()];
        meant.extend(reading::remarks(statement, Some(5)).into_iter().map(|remark| {
            match remark.matter {
                reading::Matter::Trait(of) => evidence::Topic::Trait(of).key(),
                reading::Matter::Words { stems, .. } => evidence::Topic::Words(stems).key(),
            }
        }));
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(crate::store::StoreError::from)?;
        taste::lock(&mut transaction, user_id).await?;
        let forgotten = preferences::forgotten(&mut transaction, user_id).await?;
        let forgotten = ForgottenTopics::new(user_id, &forgotten);
        let lifted: Vec<String> =
            meant.iter().flat_map(|topic| forgotten.digests_like(topic)).collect();
        preferences::lift_forgotten(&mut transaction, user_id, &lifted).await?;
        let id =
            preferences::pin(&mut transaction, user_id, campaign, statement, &topic, now).await?;
        learn(&mut transaction, user_id, now).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        session.close().await;
        Ok(id)
    }
}

/// The topic of a sentence that the user set: its words, whatever their case and marks.
fn set_topic(statement: &str) -> String {
    let stems: Vec<String> = words(statement).into_iter().map(|word| word.stem).collect();
    format!("set:{}", stems.join(" "))
}

/// The traits of which a user's own sentence speaks, and whether it likes them. A sentence that
/// only names a thing wants it.
fn traits_of(statement: &str) -> Vec<(&'static traits::Trait, reading::Liking)> {
    reading::remarks(statement, Some(5))
        .into_iter()
        .filter_map(|remark| match remark.matter {
            reading::Matter::Trait(of) => Some((of, remark.liking)),
            reading::Matter::Words { .. } => None,
        })
        .collect()
}

/// Learns in the caller's transaction.
async fn learn(
    connection: &mut PgConnection,
    user_id: &str,
    now: Timestamp,
) -> Result<Learnt, MemoryError> {
    taste::lock(connection, user_id).await?;
    let forgotten = preferences::forgotten(connection, user_id).await?;
    let forgotten = ForgottenTopics::new(user_id, &forgotten);
    let material = taste::material(connection, user_id, forgotten.everything_before()).await?;
    let beliefs = belief::beliefs(&material, |topic| forgotten.has(topic), now);
    let stored: Vec<NewPreference> = beliefs.iter().map(stored).collect();
    preferences::replace_learnt(connection, user_id, &stored, now).await?;
    Ok(Learnt { preferences: stored.len() })
}

fn stored(belief: &Belief) -> NewPreference {
    NewPreference {
        campaign: belief.campaign,
        statement: belief.statement.clone(),
        topic: belief.topic.clone(),
        evidence: belief
            .evidence
            .iter()
            .map(|(evidence, supports)| NewEvidence {
                kind: evidence.kind.as_str(),
                supports: *supports,
                weight: i32::try_from(evidence.weight).unwrap_or(i32::MAX),
                project: evidence.project,
                shot: evidence.shot,
                feedback: evidence.feedback,
                words: evidence.words.clone(),
                at: evidence.at,
            })
            .collect(),
    }
}
