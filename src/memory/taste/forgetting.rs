//! Forgetting for good: the sentence, what it rests on, the clauses of notes that said it, and
//! every text that quotes it. What is left is a salted digest, which keeps it from being believed
//! again and does not say what it was.
//!
//! Amounts are never touched. A run that is still to write its storyboard was told of the
//! preference; it is told no more, and asks the team anew. While a process makes a film nothing is
//! forgotten: it would write down again what it holds.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};

use super::belief::is_same_thing;
use super::evidence::Topic;
use super::forgotten::{EVERYTHING, kept_of, words_of};
use super::reading::{self, Matter, Remark};
use super::{learn, set_topic};
use crate::memory::snippet::{one_line, shortened};
use crate::memory::{Memory, MemoryError};
use crate::process::{self, Liveness};
use crate::store::preferences::{self, Forgotten, Preference};
use crate::store::redaction::{Redaction, Redactor};
use crate::store::{StoreError, feedback, runs, taste};

/// The length to which the memory shortens a note when it tells of it, in characters.
const QUOTED: usize = 280;
/// From this many words on a text that holds a sentence quotes it.
const FEWEST_QUOTED: usize = 4;

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgetting {
    /// Preferences.
    pub preferences: usize,
    /// Remarks that lost some or all of their words; their ratings stay.
    pub notes: usize,
}

impl Memory {
    /// Forgets some of a user's preferences for good. They are not believed again until the user
    /// sets them.
    ///
    /// # Errors
    /// [`MemoryError::RunUnderWay`] while a process makes a film of the user's.
    pub async fn forget(
        &self,
        user_id: &str,
        meant: &[Preference],
    ) -> Result<Forgetting, MemoryError> {
        self.forget_where(user_id, meant, false).await
    }

    /// Forgets everything that is known of a user's taste, and the words of every remark. What
    /// the user says from now on is learnt from; ratings stay, as history.
    pub async fn forget_everything(&self, user_id: &str) -> Result<Forgetting, MemoryError> {
        let all = self.preferences(user_id).await?;
        self.forget_where(user_id, &all, true).await
    }

    async fn forget_where(
        &self,
        user_id: &str,
        meant: &[Preference],
        is_everything: bool,
    ) -> Result<Forgetting, MemoryError> {
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await.map_err(StoreError::from)?;
        taste::lock(&mut transaction, user_id).await?;
        // Whoever takes a run over from here on waits for the lock, and reads what is left then.
        if let Err(refusal) = refuse_while_made(&mut transaction, user_id, now).await {
            transaction.rollback().await.map_err(StoreError::from)?;
            session.close().await;
            return Err(refusal);
        }
        // The same matter in another scope, and the same sentence, go with it.
        let all = preferences::all(&mut transaction, user_id).await?;
        let gone: Vec<&Preference> = all
            .iter()
            .filter(|known| {
                is_everything
                    || meant.iter().any(|meant| {
                        meant.id == known.id
                            || is_same_topic(&meant.topic, &known.topic)
                            || set_topic(&meant.statement) == set_topic(&known.statement)
                    })
            })
            .collect();
        let mut redactions: Vec<Redaction> = gone.iter().map(|gone| of_statement(gone)).collect();
        let is_meant = |remark: &Remark| {
            let clause = set_topic(&remark.clause);
            let topic = match &remark.matter {
                Matter::Trait(of) => Topic::Trait(of),
                Matter::Words { stems, .. } => Topic::Words(stems.clone()),
            };
            let topic = topic.key();
            gone.iter().any(|gone| {
                is_same_topic(&gone.topic, &topic) || set_topic(&gone.statement) == clause
            })
        };
        let notes =
            clear_notes(&mut transaction, user_id, is_everything, is_meant, &mut redactions)
                .await?;
        let ids: Vec<_> = gone.iter().map(|gone| gone.id).collect();
        preferences::remove(&mut transaction, &ids).await?;
        let topics: BTreeSet<&str> = if is_everything {
            BTreeSet::from([EVERYTHING])
        } else {
            gone.iter().map(|gone| gone.topic.as_str()).collect()
        };
        let forgotten: Vec<Forgotten> =
            topics.into_iter().flat_map(|topic| kept_of(user_id, topic, now)).collect();
        preferences::keep_forgotten(&mut transaction, user_id, &forgotten).await?;
        let redactor = Arc::new(Redactor::new(user_id, &redactions));
        redactor.redact(&mut transaction).await?;
        learn(&mut transaction, user_id, now).await?;
        // Before the commit: an embedded database that lost what came after an earlier moment takes in
        // what the journal has more, so the journal must never hold what the database has forgotten.
        // Where the commit fails, the words are gone from the journal alone, which does no harm.
        self.store.redact_journal(&mut transaction, &redactor).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        session.close().await;
        Ok(Forgetting { preferences: gone.len(), notes })
    }
}

/// Refuses while a process makes a film of the user's: it holds in its memory what it was told and
/// what it is to send, and would write that down again.
async fn refuse_while_made(
    connection: &mut PgConnection,
    user_id: &str,
    now: Timestamp,
) -> Result<(), MemoryError> {
    let owned = runs::owned(connection, user_id).await?;
    let driven = owned.into_iter().find(|(_, owner, until)| match process::liveness(owner) {
        Liveness::Alive => true,
        Liveness::Dead => false,
        // It is on another machine: its lease tells.
        Liveness::Unknown => until.is_some_and(|until| until > now),
    });
    match driven {
        None => Ok(()),
        Some((run, ..)) => Err(MemoryError::RunUnderWay { run }),
    }
}

/// Whether two topics are believed to be one.
fn is_same_topic(one: &str, other: &str) -> bool {
    one == other
        || words_of(one)
            .zip(words_of(other))
            .is_some_and(|(one, other)| is_same_thing(&one, &other))
}

/// What of a sentence has to go wherever it stands. Its full stop may be another's. A few words
/// stand in many a prompt without quoting anything, so those are left there.
fn of_statement(preference: &Preference) -> Redaction {
    let words = one_line(&preference.statement).trim_end_matches('.').to_owned();
    let is_everywhere = words.split(' ').count() >= FEWEST_QUOTED;
    Redaction { words, instead: "…".to_owned(), is_everywhere }
}

/// Takes the clauses that are meant out of all remarks, those that count no more as well, and
/// notes what has to be taken out of earlier conversations. Answers how many were changed.
async fn clear_notes(
    connection: &mut PgConnection,
    user_id: &str,
    is_everything: bool,
    is_meant: impl Fn(&Remark) -> bool,
    redactions: &mut Vec<Redaction>,
) -> Result<usize, MemoryError> {
    let mut changed = 0;
    let mut known: HashSet<String> =
        redactions.iter().map(|redaction| redaction.words.clone()).collect();
    for (id, rating, note) in feedback::notes(connection, user_id).await? {
        let rating = rating.and_then(|rating| u8::try_from(rating).ok());
        let rest =
            if is_everything { String::new() } else { reading::without(&note, rating, &is_meant) };
        if rest == note {
            continue;
        }
        changed += 1;
        feedback::set_note(connection, id, &rest).await?;
        // As it was quoted to the team, whole or shortened, and clause by clause.
        let quoted = one_line(&note);
        let mut texts = vec![quoted.clone(), shortened(&quoted, QUOTED)];
        texts.extend(
            reading::remarks(&note, rating)
                .into_iter()
                .filter(|remark| is_everything || is_meant(remark))
                .map(|remark| one_line(&remark.clause))
                .filter(|clause| clause.split_whitespace().count() > 1),
        );
        for (place, text) in texts.into_iter().enumerate() {
            if text.split_whitespace().count() > 1 && known.insert(text.clone()) {
                let instead =
                    if place < 2 && !rest.is_empty() { rest.clone() } else { "…".to_owned() };
                redactions.push(Redaction { words: text, instead, is_everywhere: false });
            }
        }
    }
    Ok(changed)
}
