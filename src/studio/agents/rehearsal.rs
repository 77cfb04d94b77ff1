//! A stand-in for the model, the library and the assignment, for the tests of this room.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::ledger::TillError;
use crate::ledger::money::TokenCounts;
use crate::ledger::till::Component;
use crate::providers::{LanguageReply, LanguageRequest, StopReason};
use crate::studio::agents::{
    AgentError, Assignment, Creation, Library, LibraryError, Turns, create,
};
use crate::studio::brief::{Aspect, Brief};
use crate::studio::events::Event;
use crate::studio::wording::Wording;

/// Two shots, ten seconds.
pub(super) fn assignment() -> Assignment {
    Assignment {
        brief: Brief {
            text: "food video".parse().unwrap(),
            duration_seconds: dec!(10),
            shots: 2,
            aspect: Aspect::default(),
            files: Vec::new(),
        },
        clip_lengths: vec![5, 10],
        longest_shot_seconds: 10,
        recall: "An earlier film: soup in a blue bowl, rated 5.".to_owned(),
        preferences: "Likes slow pans.".to_owned(),
        campaign: Some("Winter kitchen".to_owned()),
        wording: Wording::default(),
        model: "claude-sonnet-5-5".to_owned(),
        image_model: "midjourney-7-fast".to_owned(),
        video_model: "kling-2.6-pro".to_owned(),
        audio: false,
        references: crate::studio::storyboard::ReferenceRules::default(),
    }
}

pub(super) fn script_input() -> Value {
    let beat = |action: &str| json!({"action": action, "narration": "", "on_screen_text": ""});
    json!({
        "title": "Steam",
        "logline": "A lid lifts and a kitchen wakes.",
        "beats": [beat("A lid trembles over a pot."), beat("Steam fills the window.")],
    })
}

pub(super) fn storyboard_input() -> Value {
    let shot = |number: u32, seconds: Value| {
        json!({
            "number": number,
            "image_prompt": "Close-up at eye level of a dented steel pot on a gas flame, morning light.",
            "motion_prompt": "The lid trembles and steam rolls out. Static camera.",
            "duration_seconds": seconds,
            "on_screen_text": "",
            "narration": "",
            "references": [],
        })
    };
    json!({"title": "Steam", "shots": [shot(1, json!(5)), shot(2, json!(5.0))]})
}

/// A reply that calls tools, after a thinking block.
pub(super) fn calling(calls: &[(&str, Value)]) -> LanguageReply {
    let mut content =
        vec![json!({"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl+/=="})];
    content.extend(calls.iter().enumerate().map(|(index, (name, input))| {
        json!({
            "type": "tool_use",
            "id": format!("toolu_{name}_{index}"),
            "name": name,
            "input": input,
            "caller": {"type": "direct"},
        })
    }));
    reply(content, StopReason::ToolUse)
}

/// A reply in words.
pub(super) fn saying(words: &str) -> LanguageReply {
    reply(vec![json!({"type": "text", "text": words})], StopReason::EndTurn)
}

/// Any reply, of a hundred output tokens.
pub(super) fn reply(content: Vec<Value>, stop: StopReason) -> LanguageReply {
    LanguageReply {
        content,
        stop,
        tokens: TokenCounts { output: 100, ..TokenCounts::default() },
        model: "claude-sonnet-5-5".to_owned(),
        request_id: None,
    }
}

pub(super) fn ask_writer() -> LanguageReply {
    calling(&[("ask_writer", json!({"instructions": "Write about steam."}))])
}

pub(super) fn ask_director() -> LanguageReply {
    calling(&[("ask_director", json!({"instructions": "Warm light."}))])
}

pub(super) fn submit_script() -> LanguageReply {
    calling(&[("submit_script", script_input())])
}

pub(super) fn submit_storyboard() -> LanguageReply {
    calling(&[("submit_storyboard", storyboard_input())])
}

/// The turns of a film that goes well.
pub(super) fn good_turns() -> Vec<LanguageReply> {
    vec![
        calling(&[
            ("search_projects", json!({"query": "food"})),
            ("search_files", json!({"query": "menu"})),
            ("read_campaign", json!({})),
            ("read_preferences", json!({})),
        ]),
        ask_writer(),
        submit_script(),
        ask_director(),
        submit_storyboard(),
        submit_storyboard(),
    ]
}

/// A model that says what the script of the test says, and remembers what it was asked.
#[derive(Default)]
pub(super) struct ScriptedTurns {
    replies: Mutex<VecDeque<Result<LanguageReply, TillError>>>,
    asked: Mutex<Vec<(Component, LanguageRequest)>>,
}

#[async_trait]
impl Turns for ScriptedTurns {
    async fn turn(
        &self,
        component: Component,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, TillError> {
        self.asked.lock().unwrap().push((component, request.clone()));
        self.replies.lock().unwrap().pop_front().expect("a turn that the test did not expect")
    }
}

/// A library whose answers the test sets.
#[derive(Default)]
pub(super) struct Shelf {
    /// Which look-up fails, and whether for good.
    pub(super) failing: Option<(&'static str, bool)>,
    /// What was looked up, in the order of the asking.
    pub(super) looked_up: Mutex<Vec<String>>,
}

impl Shelf {
    async fn find(&self, tool: &str, query: &str) -> Result<String, LibraryError> {
        self.looked_up.lock().unwrap().push(format!("{tool} {query}").trim().to_owned());
        // Yields, so that look-ups that run side by side really interleave.
        tokio::task::yield_now().await;
        match self.failing {
            Some((failing, true)) if failing == tool => {
                Err(LibraryError::Stop(TillError::Cancelled))
            }
            Some((failing, false)) if failing == tool => {
                Err(LibraryError::Unavailable("the embedder is away".to_owned()))
            }
            _ => Ok(format!("{tool} found {query}")),
        }
    }
}

#[async_trait]
impl Library for Shelf {
    async fn search_projects(&self, query: &str) -> Result<String, LibraryError> {
        self.find("search_projects", query).await
    }

    async fn search_files(&self, query: &str) -> Result<String, LibraryError> {
        self.find("search_files", query).await
    }

    async fn read_campaign(&self) -> Result<String, LibraryError> {
        self.find("read_campaign", "").await
    }

    async fn read_preferences(&self) -> Result<String, LibraryError> {
        self.find("read_preferences", "").await
    }
}

/// What a rehearsal came to.
pub(super) struct Rehearsed {
    pub(super) outcome: Result<Creation, AgentError>,
    pub(super) asked: Vec<(Component, LanguageRequest)>,
    pub(super) notes: Vec<String>,
    pub(super) looked_up: Vec<String>,
    /// Replies that nobody asked for.
    pub(super) left_over: usize,
}

/// Plays a film's planning with these replies.
pub(super) async fn rehearse(replies: Vec<LanguageReply>) -> Rehearsed {
    rehearse_with(&assignment(), replies.into_iter().map(Ok).collect(), Shelf::default()).await
}

pub(super) async fn rehearse_with(
    assignment: &Assignment,
    replies: Vec<Result<LanguageReply, TillError>>,
    shelf: Shelf,
) -> Rehearsed {
    let turns = ScriptedTurns { replies: Mutex::new(replies.into()), ..ScriptedTurns::default() };
    let (events, mut received) = mpsc::unbounded_channel();
    let outcome = create(assignment, &turns, &shelf, &events).await;
    let mut notes = Vec::new();
    while let Ok(event) = received.try_recv() {
        if let Event::Turn { component, turn, note } = event {
            notes.push(format!("{component} {turn}: {note}"));
        }
    }
    Rehearsed {
        outcome,
        asked: turns.asked.into_inner().unwrap(),
        notes,
        looked_up: shelf.looked_up.into_inner().unwrap(),
        left_over: turns.replies.into_inner().unwrap().len(),
    }
}
