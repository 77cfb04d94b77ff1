//! How soon a place is read again, learnt from past calls. Pure.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::prompt::{Marked, Place, Prompt};
use super::{History, WAITS, share};
use crate::ledger::till::Component;
use crate::providers::CacheLifetime;
use crate::store::prompt_cache::Call;

/// The lifetimes, in the order in which [`Waits`] counts them.
const LIFETIMES: [CacheLifetime; 2] = [CacheLifetime::FiveMinutes, CacheLifetime::OneHour];

/// As how many observations the guess counts that is made before there are any.
const GUESSED: u32 = 5;

/// Turns from this one on are taken together.
const LATER_TURNS: u32 = 3;

/// Waits until the next use of a place: how many are known to have been shorter or longer than five
/// minutes, and of the longer ones, how many are known to have ended within an hour or not. A use that
/// was never followed by another is a wait without end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// Waits that were shorter than five minutes.
    short: u32,
    /// Waits that were longer than five minutes, or still last and are.
    long: u32,
    /// Of the long ones, those that ended within an hour.
    long_and_ended: u32,
    /// Of the long ones, those that were longer than an hour, or still last and are.
    longer_than_an_hour: u32,
    /// Of [`GUESSED`] waits so many are thought to be short, before any was observed; none where
    /// nothing is guessed.
    guess: Option<u32>,
    /// What nine of ten of those that ended were not longer than.
    usual: Option<Duration>,
}

impl Waits {
    /// So many waits of which so many were shorter than five minutes, and so many than an hour; nothing
    /// is guessed.
    #[cfg(test)]
    pub(super) const fn observed(all: u32, within_5_minutes: u32, within_1_hour: u32) -> Self {
        Self {
            short: within_5_minutes,
            long: all - within_5_minutes,
            long_and_ended: within_1_hour - within_5_minutes,
            longer_than_an_hour: all - within_1_hour,
            guess: None,
            usual: None,
        }
    }

    /// How soon `place` of `prompt` is read again, by what followed the same place of past calls.
    ///
    /// What all calls share, the taste and the assignment are read again by the next call that has
    /// the same fingerprint there, of whatever agent. A conversation is read again by its own next
    /// turn: the chance of one depends on the agent and on the turn, and is learnt from its turns of
    /// the same number.
    pub(super) fn of(
        place: &Marked,
        prompt: &Prompt,
        component: Component,
        history: &History,
        now: Timestamp,
    ) -> Self {
        let is_conversation = place.place == Place::Conversation;
        let turn = prompt.turn.min(LATER_TURNS);
        let mut found = Vec::new();
        for (index, call) in history.calls().iter().enumerate() {
            let is_alike = if is_conversation {
                call.component == component.as_str() && call.turn.min(LATER_TURNS) == turn
            } else {
                true
            };
            let Some(sha) = call.sha(place.place.as_str()).filter(|_| is_alike) else { continue };
            let later = &history.calls()[index + 1..];
            let next = if is_conversation {
                later
                    .iter()
                    .find(|next| next.opening == call.opening && next.turn >= call.turn)
                    .map(|next| next.started_at)
                    .or_else(|| (prompt.opening == call.opening).then_some(now))
            } else {
                later
                    .iter()
                    .find(|next| next.sha(place.place.as_str()) == Some(sha))
                    .map(|next| next.started_at)
                    .or_else(|| (place.sha == sha).then_some(now))
            };
            found.push((call.started_at, next));
        }
        let mut waits = Self {
            short: 0,
            long: 0,
            long_and_ended: 0,
            longer_than_an_hour: 0,
            guess: Some(guess(place.place, component)),
            usual: None,
        };
        let mut ended = Vec::new();
        for (started, next) in found.into_iter().rev().take(WAITS) {
            let length = Duration::try_from(next.unwrap_or(now).duration_since(started));
            let length = length.unwrap_or_default();
            ended.extend(next.map(|_| length));
            if length > CacheLifetime::OneHour.duration() {
                waits.longer_than_an_hour += 1;
            }
            if length > CacheLifetime::FiveMinutes.duration() {
                waits.long += 1;
                let is_in_time = length <= CacheLifetime::OneHour.duration();
                waits.long_and_ended += u32::from(next.is_some() && is_in_time);
            } else if next.is_some() {
                waits.short += 1;
            }
        }
        ended.sort_unstable();
        waits.usual = ended.get((ended.len() * 9).div_ceil(10).saturating_sub(1)).copied();
        waits
    }

    /// The waits of a place that is part of what these are of: whoever reads that reads this, too.
    pub(super) fn of_a_part(self, whole: &Self) -> Self {
        let is_sooner = LIFETIMES
            .into_iter()
            .all(|lifetime| whole.share_within(lifetime) >= self.share_within(lifetime));
        if is_sooner { whole.clone() } else { self }
    }

    /// How many waits are known to be shorter or longer than five minutes.
    pub const fn known(&self) -> u32 {
        self.short + self.long
    }

    /// How many of them were shorter than a lifetime.
    pub const fn within(&self, lifetime: CacheLifetime) -> u32 {
        match lifetime {
            CacheLifetime::FiveMinutes => self.short,
            CacheLifetime::OneHour => self.short + self.long_and_ended,
        }
    }

    /// What nine of ten waits that ended were not longer than, in seconds.
    pub fn usual_seconds(&self) -> Option<u64> {
        self.usual.map(|wait| wait.as_secs())
    }

    /// The share of waits that are shorter than a lifetime.
    ///
    /// Of five minutes it is what was observed, and before anything was, a guess, which counts as five
    /// observations, so that one odd day does not decide. Of an hour it is the share of five minutes
    /// and, of the rest, the share that ended within the hour, among those of which that is known: a
    /// wait that still lasts is not counted as one that ended, nor as one that did not. One more is
    /// counted that did not end, so that an hour is paid for on evidence alone.
    pub fn share_within(&self, lifetime: CacheLifetime) -> Decimal {
        let (guessed, doubts) = if self.guess.is_some() { (GUESSED, 1) } else { (0, 0) };
        let five = share(self.short + self.guess.unwrap_or(0), self.known() + guessed);
        match lifetime {
            CacheLifetime::FiveMinutes => five,
            CacheLifetime::OneHour => {
                let known = self.long_and_ended + self.longer_than_an_hour;
                five + (Decimal::ONE - five) * share(self.long_and_ended, known + doubts)
            }
        }
    }
}

/// What is thought before anything is known, in waits of [`GUESSED`] that are short: a team makes at
/// least five calls for a video, and the Orchestrator's conversation is the only one that usually
/// has a second turn.
const fn guess(place: Place, component: Component) -> u32 {
    match (place, component) {
        (Place::Shared | Place::Taste | Place::Assignment, _)
        | (Place::Conversation, Component::Conversation) => 4,
        (Place::Conversation, _) => 1,
    }
}

impl Call {
    /// The fingerprint of a place; of a conversation, the last.
    fn sha(&self, place: &str) -> Option<&str> {
        self.marks.iter().rev().find(|mark| mark.place == place).map(|mark| mark.sha.as_str())
    }
}
