//! The prompt cache, governed: for how long each part of a prompt is asked to be remembered, and
//! what became of it.
//!
//! A provider remembers the beginning of a prompt, byte for byte, up to a mark. Reading it is cheap,
//! writing it costs more than not caching at all, and writing it for an hour costs more than for five
//! minutes. Whether a mark pays therefore depends on when its part will be read again, which is
//! learnt from the waits in the user's own books.
//!
//! - `prompt` takes a prompt apart into the places that can be marked: fingerprints and lengths, no text.
//! - `waits` reads from past calls how soon each place is read again.
//! - `lifetime` chooses the cheapest marks. Pure.
//! - `verdict` says what became of the cache since the last call, and why. Pure.

mod lifetime;
mod prompt;
mod verdict;
mod waits;

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

pub use lifetime::{Stretch, cheapest, cost_of_a_use, expected_cost};
pub use prompt::{Place, Prompt};
pub use verdict::{Detail, Level, Reason, Usage, Verdict};
pub use waits::Waits;

use crate::ledger::prices::{Rates, TokenRates};
use crate::ledger::till::Component;
use crate::providers::{CacheLifetime, CachePlan};
use crate::store::operations::NewOperation;
use crate::store::prompt_cache::{Call, Mark};

/// How long the first answer to a prompt may take to begin. Until then what it writes cannot be
/// read, and whoever sends the same beginning pays for writing it, too.
pub const FIRST_BYTE: Duration = Duration::from_secs(4);

/// How many of the last waits of a place are looked at.
const WAITS: usize = 100;

/// The calls that a call is compared with: those of the same beginning and those of the same agent,
/// the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History(Vec<Call>);

/// A call about to be made: what its prompt is made of, and what of it will be cached.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What is marked.
    pub plan: CachePlan,
    /// The places with what was chosen for each, for the books.
    pub marks: Vec<Mark>,
}

impl Planned {
    /// The same with no mark longer than five minutes.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let five = CacheLifetime::FiveMinutes.minutes();
        let marks = self
            .marks
            .iter()
            .cloned()
            .map(|mark| Mark { minutes: mark.minutes.map(|minutes| minutes.min(five)), ..mark });
        Self { plan: self.plan.shortened(), marks: marks.collect() }
    }

    /// The call for the books, to be sent at `now`.
    pub fn call(&self, operation: &NewOperation, prompt: &Prompt, now: Timestamp) -> Call {
        Call {
            operation: operation.id,
            user_id: operation.user_id.clone(),
            project_id: operation.project_id,
            component: operation.component.to_owned(),
            provider: operation.provider.clone(),
            model: prompt.model.clone(),
            started_at: now,
            answered_at: None,
            under_way: true,
            aida_version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: prompt.settings.clone(),
            tools: prompt.tools.clone(),
            system: prompt.system.clone(),
            prefix: prompt.prefix.clone(),
            opening: prompt.opening.clone(),
            turn: prompt.turn,
            blocks: prompt.blocks,
            bytes: prompt.bytes,
            marks: self.marks.clone(),
            uncached_tokens: None,
            written_tokens: None,
            read_tokens: None,
        }
    }
}

impl History {
    /// A history of these calls, in any order, of which some may come twice.
    pub fn new(mut calls: Vec<Call>) -> Self {
        calls.sort_by_key(|call| (call.started_at, call.operation));
        calls.dedup_by_key(|call| call.operation);
        Self(calls)
    }

    /// The calls, the oldest first.
    pub fn calls(&self) -> &[Call] {
        &self.0
    }

    /// Chooses what of a prompt is cached, and for how long.
    ///
    /// Of a conversation that goes on, two places are offered: the end of what was said now, and the
    /// end of the turn before. The first is a matter of price. The second must be marked to be read,
    /// and is where the turn before has written it.
    pub fn plan(
        &self,
        prompt: &Prompt,
        component: Component,
        rates: &Rates,
        now: Timestamp,
    ) -> Planned {
        let Rates::Tokens(rates) = rates else {
            return Planned { plan: CachePlan::default(), marks: Vec::new() };
        };
        let rates = rates_for(rates, prompt);
        let mut waits: Vec<Waits> = prompt
            .places
            .iter()
            .map(|place| Waits::of(place, prompt, component, self, now))
            .collect();
        for place in (1..waits.len()).rev() {
            waits[place - 1] = waits[place - 1].clone().of_a_part(&waits[place]);
        }
        let earlier = prompt.earlier_turn();
        let mut before = 0;
        let stretches: Vec<Stretch> = prompt
            .places
            .iter()
            .zip(&waits)
            .enumerate()
            .filter(|(index, _)| Some(*index) != earlier)
            .map(|(_, (place, waits))| {
                let bytes = place.bytes.saturating_sub(before);
                before = place.bytes;
                Stretch { bytes, waits: waits.clone() }
            })
            .collect();
        let mut lifetimes = cheapest(&stretches, rates);
        if let Some(earlier) = earlier {
            let is_last_marked = lifetimes.get(earlier).is_some_and(Option::is_some);
            let written = self
                .0
                .iter()
                .rev()
                .filter_map(|call| {
                    call.marks.iter().rev().find(|mark| mark.sha == prompt.places[earlier].sha)
                })
                .find_map(Mark::lifetime);
            // An hour may not follow five minutes.
            let before = lifetimes[..earlier].iter().flatten().copied().min();
            let own = if is_last_marked { lifetimes[earlier] } else { written };
            let own = own.map(|own| before.map_or(own, |before| own.min(before)));
            lifetimes.insert(earlier, own);
        }
        let marks = prompt
            .places
            .iter()
            .zip(&lifetimes)
            .zip(waits)
            .map(|((place, lifetime), waits)| Mark {
                place: place.place.as_str().to_owned(),
                sha: place.sha.clone(),
                bytes: place.bytes,
                block: place.block,
                minutes: lifetime.map(CacheLifetime::minutes),
                waits: waits.known(),
                within_5_minutes: waits.within(CacheLifetime::FiveMinutes),
                within_1_hour: waits.within(CacheLifetime::OneHour),
                usual_wait_seconds: waits.usual_seconds(),
            })
            .collect();
        Planned { plan: CachePlan::new(lifetimes), marks }
    }

    /// Whether the beginning that this prompt shares with others must be written: by the books it is
    /// not in the cache, and it is marked. Such calls must not be sent side by side, because each of
    /// them would pay for writing it.
    pub fn is_cold(&self, prompt: &Prompt, planned: &Planned, now: Timestamp) -> bool {
        let is_readable = self.0.iter().rev().any(|call| {
            let age = Duration::try_from(now.duration_since(call.started_at)).unwrap_or_default();
            call.prefix == prompt.prefix
                && call.answered_at.is_some()
                && call
                    .marks
                    .first()
                    .and_then(Mark::lifetime)
                    .is_some_and(|lifetime| age < lifetime.duration())
        });
        !is_readable && planned.marks.iter().any(|mark| mark.minutes.is_some())
    }
}

/// The rates that a prompt of this length falls under. Four bytes make about a token.
fn rates_for<'rates>(rates: &'rates TokenRates, prompt: &Prompt) -> &'rates TokenRates {
    rates.of(crate::ledger::money::TokenCounts {
        uncached_input: prompt.bytes / 4,
        ..Default::default()
    })
}

/// A share as a decimal; nothing of nothing.
fn share(part: u32, whole: u32) -> Decimal {
    Decimal::from(part).checked_div(Decimal::from(whole)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::civil::date;
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::OperationId;
    use crate::ledger::prices::PriceBook;
    use crate::providers::{LanguageRequest, Message, UserBlock};

    const FIVE: Option<CacheLifetime> = Some(CacheLifetime::FiveMinutes);
    const HOUR: Option<CacheLifetime> = Some(CacheLifetime::OneHour);

    fn text(words: &str, cache: bool) -> UserBlock {
        UserBlock::Text { text: words.repeat(200), cache }
    }

    /// The prompt of a turn of an agent's conversation in a video.
    fn prompt(agent: &str, video: &str, turn: usize) -> Prompt {
        let opening = |taste, role| {
            Message::User(vec![text("taste", taste), text(video, true), text(agent, role)])
        };
        let mut messages = vec![opening(turn == 0, turn < 2)];
        for number in 1..=turn {
            messages.push(Message::Assistant(vec![json!({"type": "text", "text": number})]));
            messages.push(Message::User(vec![text("Go on.", number + 1 >= turn)]));
        }
        let request = LanguageRequest {
            model: "claude-sonnet-5-5".to_owned(),
            system: "You make films. ".repeat(1_000),
            tools: Vec::new(),
            messages,
            max_output_tokens: 1,
        };
        Prompt::of(&request, &Value::Null)
    }

    /// Books in the making: calls at a moment, each chosen from those before it.
    struct Books {
        now: Timestamp,
        history: History,
    }

    impl Books {
        fn new() -> Self {
            Self {
                now: Timestamp::from_second(1_800_000_000).unwrap(),
                history: History::default(),
            }
        }

        fn plan(&self, agent: Component, prompt: &Prompt) -> Vec<Option<CacheLifetime>> {
            let book = PriceBook::shipped();
            let price = book.find("anthropic", "claude-sonnet-5-5", date(2026, 11, 22)).unwrap();
            let planned = self.history.plan(prompt, agent, &price.rates, self.now);
            assert_eq!(planned.marks.len(), prompt.places.len());
            (0..prompt.places.len()).map(|place| planned.plan.lifetime(place)).collect()
        }

        /// Makes a call, which takes ten seconds.
        fn call(
            &mut self,
            agent: Component,
            video: &str,
            turn: usize,
        ) -> Vec<Option<CacheLifetime>> {
            let prompt = prompt(agent.as_str(), video, turn);
            let chosen = self.plan(agent, &prompt);
            let marks = prompt.places.iter().zip(&chosen).map(|(place, lifetime)| Mark {
                place: place.place.as_str().to_owned(),
                sha: place.sha.clone(),
                bytes: place.bytes,
                block: place.block,
                minutes: lifetime.map(CacheLifetime::minutes),
                waits: 0,
                within_5_minutes: 0,
                within_1_hour: 0,
                usual_wait_seconds: None,
            });
            let call = Call {
                operation: OperationId::new(),
                user_id: "ada".to_owned(),
                project_id: None,
                component: agent.as_str().to_owned(),
                provider: "anthropic".to_owned(),
                model: prompt.model.clone(),
                started_at: self.now,
                answered_at: Some(self.now),
                under_way: false,
                aida_version: String::new(),
                settings: prompt.settings.clone(),
                tools: prompt.tools.clone(),
                system: prompt.system.clone(),
                prefix: prompt.prefix.clone(),
                opening: prompt.opening.clone(),
                turn: prompt.turn,
                blocks: prompt.blocks,
                bytes: prompt.bytes,
                marks: marks.collect(),
                uncached_tokens: Some(0),
                written_tokens: Some(0),
                read_tokens: Some(0),
            };
            self.history.0.push(call);
            self.now += SignedDuration::from_secs(10);
            chosen
        }

        /// Plans a video, and waits.
        fn video(&mut self, name: &str, then: SignedDuration) {
            self.call(Component::Conversation, name, 0);
            self.call(Component::Writer, name, 0);
            self.call(Component::Conversation, name, 1);
            self.call(Component::Director, name, 0);
            self.call(Component::Conversation, name, 2);
            self.now += then;
        }
    }

    #[test]
    fn before_anything_is_known_five_minutes_are_asked() {
        let mut books = Books::new();
        assert_eq!(books.call(Component::Conversation, "film", 0), [FIVE; 4]);
        // A Writer is seldom asked for a second turn.
        assert_eq!(books.call(Component::Writer, "film", 0), [FIVE, FIVE, FIVE, None]);
        assert_eq!(books.call(Component::Conversation, "film", 1), [FIVE; 4]);
        // Its mistake is an exception: nothing was written at the turn before, so nothing is read there.
        assert_eq!(books.call(Component::Writer, "film", 1), [FIVE, FIVE, None, None]);
    }

    #[test]
    fn videos_a_few_minutes_apart_keep_what_they_share_for_an_hour() {
        let mut books = Books::new();
        for number in 0..4 {
            books.video(&format!("film {number}"), SignedDuration::from_mins(7));
        }
        let chosen = books.call(Component::Conversation, "film 4", 0);
        assert_eq!(chosen, [HOUR, HOUR, FIVE, FIVE], "tools, system and taste; not the assignment");
    }

    #[test]
    fn videos_side_by_side_or_days_apart_need_no_hour() {
        for wait in [SignedDuration::from_secs(5), SignedDuration::from_hours(30)] {
            let mut books = Books::new();
            for number in 0..6 {
                books.video(&format!("film {number}"), wait);
            }
            let chosen = books.call(Component::Conversation, "another film", 0);
            assert_eq!(chosen[0], FIVE, "{wait:?}");
        }
    }

    #[test]
    fn a_last_turn_is_read_and_not_written_once_it_is_known_to_be_the_last() {
        let mut books = Books::new();
        for number in 0..30 {
            books.video(&format!("film {number}"), SignedDuration::from_mins(20));
        }
        books.call(Component::Conversation, "film", 0);
        books.call(Component::Conversation, "film", 1);
        let last = books.call(Component::Conversation, "film", 2);
        assert_eq!(last[3], None, "nothing follows");
        assert!(last[2].is_some(), "but what the turn before wrote must be marked to be read");
    }

    #[test]
    fn who_finds_nothing_to_read_is_cold_and_a_shorter_plan_is_legal() {
        let mut books = Books::new();
        let prompt = prompt("conversation", "film", 0);
        let book = PriceBook::shipped();
        let price = book.find("anthropic", "claude-sonnet-5-5", date(2026, 11, 22)).unwrap();
        let planned = books.history.plan(&prompt, Component::Conversation, &price.rates, books.now);
        assert!(books.history.is_cold(&prompt, &planned, books.now));
        books.call(Component::Conversation, "film", 0);
        assert!(!books.history.is_cold(&prompt, &planned, books.now));
        assert!(books.history.is_cold(&prompt, &planned, books.now + SignedDuration::from_mins(5)));
        let hour =
            Planned { plan: CachePlan::new(vec![HOUR, None, FIVE]), marks: planned.marks.clone() };
        assert_eq!(hour.plan.last_for_an_hour(), Some(0));
        assert_eq!(hour.shortened().plan, CachePlan::new(vec![FIVE, None, FIVE]));
    }
}
