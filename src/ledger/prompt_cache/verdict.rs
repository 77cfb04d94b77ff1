//! What became of the cache since the last call, and why. Pure.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::History;
use super::prompt::Place;
use crate::ledger::money::TokenCounts;
use crate::providers::CacheLifetime;
use crate::store::prompt_cache::{Answered, Call, Mark};

/// How many blocks the provider looks back from a mark, the mark's own included.
const LOOK_BACK: u32 = 20;

/// What became of the cache since the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Everything that could be read was.
    Hit,
    /// The assignment is another one; what videos share was read.
    AnotherVideo,
    /// Nothing with this beginning was asked before.
    FirstCall,
    /// Nothing was marked, because nothing was expected to be read again soon enough.
    Unmarked,
    /// Marked, and neither written nor read: the prompt is shorter than the model caches.
    BelowMinimum,
    /// The wait since the last use was longer than the lifetime.
    Expired,
    /// The call that wrote it had not begun to be answered.
    Parallel,
    /// More blocks were added than the provider looks back.
    TooManyBlocks,
    /// The call before went to another model.
    ModelChanged,
    /// The call before offered other tools.
    ToolsChanged,
    /// The call before had another system text.
    SystemChanged,
    /// Thinking, effort or tool choice is another one, or there are pictures where there were none.
    SettingsChanged,
    /// It should have been read by everything that is known.
    Unexplained,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Hit,
        Self::AnotherVideo,
        Self::FirstCall,
        Self::Unmarked,
        Self::BelowMinimum,
        Self::Expired,
        Self::Parallel,
        Self::TooManyBlocks,
        Self::ModelChanged,
        Self::ToolsChanged,
        Self::SystemChanged,
        Self::SettingsChanged,
        Self::Unexplained,
    ];

    /// The name in the books.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::AnotherVideo => "another_video",
            Self::FirstCall => "first_call",
            Self::Unmarked => "unmarked",
            Self::BelowMinimum => "below_minimum",
            Self::Expired => "expired",
            Self::Parallel => "parallel",
            Self::TooManyBlocks => "too_many_blocks",
            Self::ModelChanged => "model_changed",
            Self::ToolsChanged => "tools_changed",
            Self::SystemChanged => "system_changed",
            Self::SettingsChanged => "settings_changed",
            Self::Unexplained => "unexplained",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Whether the cache lost something that it could have kept.
    pub const fn is_break(self) -> bool {
        !matches!(self, Self::Hit | Self::AnotherVideo | Self::FirstCall | Self::Unmarked)
    }

    /// Whether nothing of such a call could have been cached.
    pub const fn is_uncacheable(self) -> bool {
        matches!(self, Self::Unmarked | Self::BelowMinimum)
    }

    /// What it means and what to do about it, in a few words.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Hit => "all that could be read was read",
            Self::AnotherVideo => "expected: only the brief was new",
            Self::FirstCall => "expected: nothing was remembered yet",
            Self::Unmarked => "seldom read again: not worth writing",
            Self::BelowMinimum => "shorter than the model caches",
            Self::Expired => "waited too long; see the lifetimes",
            Self::Parallel => "start the next a few seconds later",
            Self::TooManyBlocks => "over 20 blocks a turn: fewer look-ups",
            Self::ModelChanged => "each model has a cache of its own",
            Self::ToolsChanged | Self::SystemChanged => "expected once with a new aida",
            Self::SettingsChanged => "thinking, effort or pictures differ",
            Self::Unexplained => "the provider forgot it early",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.as_str().replace('_', " "))
    }
}

/// How far a prompt is known to have been sent before.
pub type Level = Place;

/// Input tokens of an answered call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Neither read nor written.
    pub uncached: u64,
    /// Written, for however long.
    pub written: u64,
    /// Read.
    pub read: u64,
}

impl From<TokenCounts> for Usage {
    fn from(tokens: TokenCounts) -> Self {
        Self {
            uncached: tokens.uncached_input,
            written: tokens.cache_write_5m + tokens.cache_write_1h,
            read: tokens.cache_read,
        }
    }
}

/// The numbers behind a reason, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// How far the prompt was known: `shared`, `taste`, `assignment` or `conversation`.
    pub level: Option<String>,
    /// Seconds since it was last used.
    pub wait_seconds: Option<i64>,
    /// For how many minutes it was to be remembered then.
    pub lifetime_minutes: Option<u64>,
    /// Blocks from there to the next mark.
    pub blocks: Option<u32>,
    /// About how many tokens that is.
    pub expected_tokens: Option<u64>,
    /// The version of aida that made the call before, where it was another one.
    pub aida_version_before: Option<String>,
}

/// A reason with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The reason.
    pub reason: Reason,
    /// Its numbers.
    pub detail: Detail,
}

impl Verdict {
    /// What became of the cache in `call`, whose prompt was answered with `usage`, given what was
    /// asked before.
    pub fn of(call: &Call, usage: Usage, history: &History) -> Self {
        let bare = |reason| Self { reason, detail: Detail::default() };
        if call.marks.iter().all(|mark| mark.minutes.is_none()) {
            return bare(Reason::Unmarked);
        }
        if usage.read == 0 && usage.written == 0 {
            return bare(Reason::BelowMinimum);
        }
        match longest_known(call, history) {
            Some((index, past, mark)) => judge(call, usage, index, past, mark),
            // Somebody else with the same key may have written it.
            None if usage.read > 0 => bare(Reason::Hit),
            None => unknown_beginning(call, history),
        }
    }

    /// The same for the books.
    pub fn answered(&self, usage: Usage) -> Answered {
        Answered {
            uncached_tokens: usage.uncached,
            written_tokens: usage.written,
            read_tokens: usage.read,
            reason: self.reason.as_str(),
            detail: serde_json::to_value(&self.detail).unwrap_or_default(),
        }
    }
}

/// Whether a call wrote a place: marked it behind what it read. One that was not answered may have.
fn wrote(call: &Call, place: usize) -> bool {
    let is_behind = call.usage().is_none_or(|usage| !call.has_read(place, usage));
    is_behind && call.marks[place].minutes.is_some()
}

/// Whether a call used a place: wrote it, or read just up to there. A place in front of what was read
/// is neither written nor its lifetime begun anew.
fn used(call: &Call, place: usize) -> bool {
    let is_end = call.usage().is_some_and(|usage| {
        let is_last = place + 1 == call.marks.len();
        call.has_read(place, usage) && (is_last || !call.has_read(place + 1, usage))
    });
    is_end || wrote(call, place)
}

/// The last place of a call that was used before, the latest call that used it, and the mark with
/// which it was written. A call that was answered is preferred to one that is under way.
fn longest_known<'a>(call: &Call, history: &'a History) -> Option<(usize, &'a Call, &'a Mark)> {
    let before = |answered: bool, sha: &str| {
        let earlier = || {
            history.calls().iter().rev().filter(|past| {
                let is_alive = past.answered_at.is_some() || past.under_way;
                past.operation != call.operation
                    && past.started_at <= call.started_at
                    && is_alive
                    && past.answered_at.is_some_and(|moment| moment <= call.started_at) == answered
            })
        };
        let place_in = |past: &Call| past.marks.iter().position(|mark| mark.sha == sha);
        let (past, place) = earlier()
            .filter_map(|past| Some((past, place_in(past)?)))
            .find(|&(past, place)| used(past, place))?;
        let mut writers = earlier().filter_map(|past| Some((past, place_in(past)?)));
        let writer = writers.find(|&(past, place)| wrote(past, place));
        Some((past, writer.map_or(&past.marks[place], |(past, place)| &past.marks[place])))
    };
    call.marks.iter().enumerate().rev().find_map(|(index, mark)| {
        let found = before(true, &mark.sha).or_else(|| before(false, &mark.sha));
        found.map(|(past, mark)| (index, past, mark))
    })
}

/// Judges a call of which `known`, the place `index`, was asked before by `past`.
fn judge(call: &Call, usage: Usage, index: usize, past: &Call, known: &Mark) -> Verdict {
    let expected = call.tokens(index, usage);
    let wait = call.started_at.duration_since(past.started_at).as_secs();
    let lifetime = known.lifetime();
    let blocks = call
        .marks
        .iter()
        .filter(|mark| mark.minutes.is_some() && mark.block >= known.block)
        .map(|mark| mark.block - known.block)
        .min();
    let was_read = call.has_read(index, usage);
    let has_outlived = lifetime.is_some_and(|lifetime| {
        i64::try_from(lifetime.duration().as_secs()).is_ok_and(|most| wait >= most)
    });
    let is_new_video =
        call.marks[index + 1..].iter().any(|mark| mark.place == Place::Assignment.as_str());
    let reason = match () {
        () if was_read && is_new_video => Reason::AnotherVideo,
        () if was_read => Reason::Hit,
        () if past.settings != call.settings => Reason::SettingsChanged,
        () if has_outlived => Reason::Expired,
        () if !answered_before(past, call.started_at) => Reason::Parallel,
        () if blocks.is_none_or(|blocks| blocks >= LOOK_BACK) => Reason::TooManyBlocks,
        () => Reason::Unexplained,
    };
    let detail = Detail {
        level: Some(known.place.clone()),
        wait_seconds: Some(wait),
        lifetime_minutes: known.minutes,
        blocks,
        expected_tokens: Some(expected),
        aida_version_before: None,
    };
    Verdict { reason, detail }
}

fn answered_before(past: &Call, moment: Timestamp) -> bool {
    past.answered_at.is_some_and(|answered| answered <= moment)
}

/// Why nothing with this beginning is known.
fn unknown_beginning(call: &Call, history: &History) -> Verdict {
    let before = |is_own: bool| {
        history.calls().iter().rev().find(|past| {
            past.operation != call.operation
                && past.started_at <= call.started_at
                && (!is_own || past.component == call.component)
        })
    };
    let Some(before) = before(true).or_else(|| before(false)) else {
        return Verdict { reason: Reason::FirstCall, detail: Detail::default() };
    };
    let reason = match () {
        () if before.model != call.model => Reason::ModelChanged,
        () if before.tools != call.tools => Reason::ToolsChanged,
        () if before.system != call.system => Reason::SystemChanged,
        () => Reason::FirstCall,
    };
    let version = Some(before.aida_version.clone()).filter(|version| *version != call.aida_version);
    let wait = call.started_at.duration_since(before.started_at).as_secs();
    let detail =
        Detail { wait_seconds: Some(wait), aida_version_before: version, ..Detail::default() };
    Verdict { reason, detail }
}

impl Call {
    /// The input tokens of an answered call.
    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            uncached: self.uncached_tokens?,
            written: self.written_tokens?,
            read: self.read_tokens?,
        })
    }

    /// About how many tokens lie in front of a place: where it lies is known in bytes.
    fn tokens(&self, place: usize, usage: Usage) -> u64 {
        let total = usage.uncached + usage.written + usage.read;
        total.saturating_mul(self.marks[place].bytes).checked_div(self.bytes).unwrap_or(0)
    }

    /// Whether a place was read up to: more than to the middle between it and the one before it.
    fn has_read(&self, place: usize, usage: Usage) -> bool {
        let before = place.checked_sub(1).map_or(0, |before| self.tokens(before, usage));
        usage.read > 0 && usage.read * 2 >= self.tokens(place, usage) + before
    }
}

impl Mark {
    /// For how long it is marked, if it is.
    pub fn lifetime(&self) -> Option<CacheLifetime> {
        let minutes = self.minutes?;
        let is_short = minutes <= CacheLifetime::FiveMinutes.minutes();
        Some(if is_short { CacheLifetime::FiveMinutes } else { CacheLifetime::OneHour })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperationId;

    fn mark(place: Place, sha: &str, bytes: u64, block: u32, minutes: Option<u64>) -> Mark {
        Mark {
            place: place.as_str().to_owned(),
            sha: sha.to_owned(),
            bytes,
            block,
            minutes,
            waits: 0,
            within_5_minutes: 0,
            within_1_hour: 0,
            usual_wait_seconds: None,
        }
    }

    /// A call at a second, answered 20 seconds later. Its prompt has 4,000 tokens that all videos
    /// share, 1,000 of an assignment and 1,000 of an opening, of four bytes each.
    fn call(component: &str, video: &str, second: i64) -> Call {
        let moment = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        Call {
            operation: OperationId::new(),
            user_id: "ada".to_owned(),
            project_id: None,
            component: component.to_owned(),
            provider: "anthropic".to_owned(),
            model: "claude-sonnet-5-5".to_owned(),
            started_at: moment(second),
            answered_at: Some(moment(second + 20)),
            under_way: false,
            aida_version: "1".to_owned(),
            settings: "medium".to_owned(),
            tools: "tools".to_owned(),
            system: "system".to_owned(),
            prefix: "prefix".to_owned(),
            opening: format!("{component} {video}"),
            turn: 0,
            blocks: 5,
            bytes: 24_000,
            marks: vec![
                mark(Place::Shared, "shared", 16_000, 2, Some(5)),
                mark(Place::Assignment, video, 20_000, 3, Some(5)),
                mark(Place::Conversation, &format!("{component} {video} 0"), 24_000, 4, Some(5)),
            ],
            uncached_tokens: Some(0),
            written_tokens: Some(6_000),
            read_tokens: Some(0),
        }
    }

    /// The second turn of [`call`], which adds 2,000 tokens in a few blocks.
    fn second_turn(first: &Call, second: i64, added: u32) -> Call {
        let mut next = call(&first.component, "film", second);
        next.turn = 1;
        next.bytes = 32_000;
        next.opening.clone_from(&first.opening);
        next.marks.push(mark(Place::Conversation, "later", 32_000, 4 + added, Some(5)));
        next
    }

    const ALL_BUT_OPENING: Usage = Usage { uncached: 0, written: 1_000, read: 5_000 };
    const SHARED_ALONE: Usage = Usage { uncached: 0, written: 2_000, read: 4_000 };
    const NOTHING: Usage = Usage { uncached: 0, written: 6_000, read: 0 };

    #[test]
    fn what_broke_the_cache_is_named() {
        type Change = fn(&mut Call);
        let same: Change = |_| {};
        let table: [(&str, Change, &str, &str, i64, Usage, Reason); 17] = [
            ("the next role", same, "writer", "film", 30, ALL_BUT_OPENING, Reason::Hit),
            (
                "another video",
                same,
                "conversation",
                "other",
                60,
                SHARED_ALONE,
                Reason::AnotherVideo,
            ),
            ("after the lifetime", same, "conversation", "other", 301, NOTHING, Reason::Expired),
            ("just before it", same, "conversation", "other", 299, NOTHING, Reason::Unexplained),
            (
                "an hour",
                |past| past.marks[0].minutes = Some(60),
                "conversation",
                "other",
                3_599,
                SHARED_ALONE,
                Reason::AnotherVideo,
            ),
            (
                "longer than an hour",
                |past| past.marks[0].minutes = Some(60),
                "conversation",
                "other",
                3_601,
                NOTHING,
                Reason::Expired,
            ),
            (
                "the assignment died, the prefix did not",
                |past| past.marks[0].minutes = Some(60),
                "writer",
                "film",
                400,
                SHARED_ALONE,
                Reason::Expired,
            ),
            ("side by side", same, "conversation", "other", 5, NOTHING, Reason::Parallel),
            (
                "under way",
                |past| (past.answered_at, past.under_way) = (None, true),
                "conversation",
                "other",
                100,
                NOTHING,
                Reason::Parallel,
            ),
            (
                "lost",
                |past| past.answered_at = None,
                "conversation",
                "other",
                100,
                NOTHING,
                Reason::FirstCall,
            ),
            (
                "other thinking",
                |past| past.settings = "low".to_owned(),
                "writer",
                "film",
                30,
                NOTHING,
                Reason::SettingsChanged,
            ),
            (
                "another model",
                |past| {
                    past.marks.clear();
                    past.model.push('x');
                },
                "conversation",
                "other",
                30,
                NOTHING,
                Reason::ModelChanged,
            ),
            (
                "other tools",
                |past| {
                    past.marks.clear();
                    past.tools.push('x');
                },
                "conversation",
                "other",
                30,
                NOTHING,
                Reason::ToolsChanged,
            ),
            (
                "another system text",
                |past| {
                    past.marks.clear();
                    past.system.push('x');
                },
                "conversation",
                "other",
                30,
                NOTHING,
                Reason::SystemChanged,
            ),
            (
                "not marked before",
                |past| past.marks.clear(),
                "conversation",
                "other",
                30,
                NOTHING,
                Reason::FirstCall,
            ),
            (
                "written by somebody else",
                |past| past.marks.clear(),
                "conversation",
                "other",
                30,
                SHARED_ALONE,
                Reason::Hit,
            ),
            (
                "too short",
                same,
                "conversation",
                "other",
                30,
                Usage { uncached: 6_000, written: 0, read: 0 },
                Reason::BelowMinimum,
            ),
        ];
        for (what, change, component, video, second, usage, expected) in table {
            let mut past = call("conversation", "film", 0);
            change(&mut past);
            let now = call(component, video, second);
            let verdict = Verdict::of(&now, usage, &History::new(vec![past]));
            assert_eq!(verdict.reason, expected, "{what}: {:?}", verdict.detail);
        }
    }

    #[test]
    fn the_first_call_and_one_without_marks_are_no_breaks() {
        let first = call("conversation", "film", 0);
        let verdict = Verdict::of(&first, NOTHING, &History::default());
        assert_eq!(verdict.reason, Reason::FirstCall);
        let mut unmarked = call("vision", "film", 10);
        unmarked.marks.iter_mut().for_each(|mark| mark.minutes = None);
        let history = History::new(vec![first]);
        assert_eq!(Verdict::of(&unmarked, NOTHING, &history).reason, Reason::Unmarked);
        assert!(!Reason::Unmarked.is_break() && Reason::Expired.is_break());
    }

    #[test]
    fn a_turn_must_read_the_turn_before() {
        let first = call("conversation", "film", 0);
        for (second, added, read, expected) in [
            (60, 3, 6_000, Reason::Hit),
            (60, 19, 6_000, Reason::Hit),
            (301, 3, 0, Reason::Expired),
            // A shorter part of it was found, as where the hour of the prefix outlived the rest.
            (301, 3, 4_000, Reason::Expired),
        ] {
            let next = second_turn(&first, second, added);
            let usage = Usage { uncached: 0, written: 8_000 - read, read };
            let verdict = Verdict::of(&next, usage, &History::new(vec![first.clone()]));
            assert_eq!(verdict.reason, expected, "{second} s, {added} blocks, {read} tokens");
            assert_eq!(verdict.detail.level.as_deref(), Some("conversation"));
            assert_eq!(verdict.detail.wait_seconds, Some(second));
        }
        // The mark at the end of the turn before is what makes more than twenty blocks readable.
        let mut far = second_turn(&first, 60, 20);
        far.marks[2].minutes = None;
        let usage = Usage { uncached: 0, written: 8_000, read: 0 };
        let verdict = Verdict::of(&far, usage, &History::new(vec![first]));
        assert_eq!((verdict.reason, verdict.detail.blocks), (Reason::TooManyBlocks, Some(20)));
    }

    #[test]
    fn reasons_are_found_by_their_names() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.as_str()), Some(reason));
            assert!(reason.advice().len() <= 39, "{}", reason.advice());
        }
        assert_eq!(Reason::named("cosmic rays"), None);
    }
}
