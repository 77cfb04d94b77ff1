//! The team that plans a film: Orchestrator, Writer and Director.
//!
//! The Orchestrator is a conversation with a language model that has tools. Two of its tools
//! open a conversation of their own, with the Writer (who answers with a script) and with the
//! Director (who answers with a storyboard). Those two have no tools but the one that hands in
//! their result, so that roles nest one level deep and no further.
//!
//! # The map of this room
//!
//! - [`create`] is the door: an [`Assignment`] goes in, a [`Creation`] comes out.
//! - `team` drives the conversations: turns, stop reasons, tools, bounds.
//! - `conversation` is the list of messages of one role, and where its cache breakpoints stand.
//! - `tools` has the tools as the model sees them, and `role` says who may use which.
//! - `submissions` reads what the model hands in, and says in words what is wrong with it.
//! - `prompts` fills the texts in `prompts/*.md`.
//! - `error` has everything that can end the work without a storyboard.
//!
//! # What must stay true
//!
//! *Paid calls* are made through [`Turns`] alone, one after the other, never side by side: on a
//! resume the same conversation asks for the same turns in the same order, so that kept
//! replies can be handed back instead of being bought again.
//!
//! *The prompt cache*: model, tools and system text are the same bytes in every call of every
//! role, film, user and day. The first message goes from what changes least to what changes most: the
//! user's taste, which is the same for many films; what the film is about, which is the same for its
//! three roles; and which role it is, with what it is asked. What a role is for stands in the system
//! text, although only one of three needs it: there it is written once for all films and not once for
//! each. Nothing in front of a breakpoint is ever edited.
//!
//! *What the model said* is sent back untouched: thinking blocks carry a signature over their
//! bytes.
//!
//! *Bounds*: turns per conversation, questions, look-ups and output tokens are all limited.
//!
//! *Documents are data*: whatever comes from the user, from files or from earlier work is fenced
//! in tags that it cannot close itself.

mod conversation;
mod error;
mod prompts;
mod role;
mod submissions;
mod team;
mod tools;

#[cfg(test)]
mod rehearsal;

use async_trait::async_trait;

pub use error::{AgentError, LibraryError};
pub use role::Role;

use crate::ledger::TillError;
use crate::ledger::till::Component;
use crate::providers::{LanguageReply, LanguageRequest};
use crate::studio::brief::Brief;
use crate::studio::events::EventSink;
use crate::studio::script::Script;
use crate::studio::storyboard::{ReferenceRules, Storyboard};
use crate::studio::wording::Wording;

/// The most questions that the Orchestrator may put to the Writer and the Director together.
pub const MOST_QUESTIONS: u32 = 6;
/// The most look-ups in earlier work: each search may buy an embedding.
pub const MOST_LOOKUPS: u32 = 16;
/// How many full answers all turns together may amount to, in output tokens. A usual film needs
/// little more than one; the run's language cap, which the till keeps, comes on top.
const MOST_FULL_ANSWERS: u64 = 4;

/// The most tokens that one turn may answer, thinking included: room to think and, for each
/// shot, about 330 tokens of storyboard. 16,000 for a usual film, and never more than the
/// 21,333 that the vendor's SDK sends without streaming.
pub fn most_output_tokens(shots: u32) -> u32 {
    shots.saturating_mul(330).saturating_add(12_000).clamp(16_000, 21_000)
}

/// How the team reaches a paid model.
///
/// Calls come strictly one after the other. Given the same assignment, the same earlier replies
/// and the same answers of the [`Library`], the next request is the same, byte for byte: an
/// implementation may count the turns of a run and replay the replies that it kept.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Buys one turn. The error is handed to the caller of [`create`] as it is, in
    /// [`AgentError::Till`].
    async fn turn(
        &self,
        component: Component,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, TillError>;
}

/// What the look-up tools can read. Every answer is text for the model, shortened by the team
/// where it is very long; "nothing found" is an answer, not an error. Several may be asked at
/// the same time.
#[async_trait]
pub trait Library: Send + Sync {
    /// Finds past projects by meaning and by words.
    async fn search_projects(&self, query: &str) -> Result<String, LibraryError>;
    /// Finds passages in the user's own files.
    async fn search_files(&self, query: &str) -> Result<String, LibraryError>;
    /// Describes the campaign that the film belongs to: its style and its films.
    async fn read_campaign(&self) -> Result<String, LibraryError>;
    /// Describes what the user likes, with the evidence.
    async fn read_preferences(&self) -> Result<String, LibraryError>;
}

/// Everything the team is told about a film.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// What the user asks for.
    pub brief: Brief,
    /// The lengths in seconds that the video endpoint sells, rising.
    pub clip_lengths: Vec<u32>,
    /// The longest shot in seconds, which is the longest length on sale.
    pub longest_shot_seconds: u32,
    /// What was recalled from earlier work and files; empty for nothing. On a resume it must be
    /// the text of the first time, or no kept reply fits any more.
    pub recall: String,
    /// What is known of the user's taste; empty for nothing.
    pub preferences: String,
    /// The campaign: its name and style.
    pub campaign: Option<String>,
    /// The words that the campaign wants and avoids. What breaks them goes back to its author.
    pub wording: Wording,
    /// The language model's id, the same for all roles.
    pub model: String,
    /// The image model's name.
    pub image_model: String,
    /// The video model's name.
    pub video_model: String,
    /// Whether the clips have sound.
    pub audio: bool,
    /// What shots may name as references.
    pub references: ReferenceRules,
}

/// What the team made: both checked against the brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The Writer's newest script, one beat for each shot.
    pub script: Script,
    /// The storyboard as the Orchestrator submitted it.
    pub storyboard: Storyboard,
}

/// Lets the team converse until a storyboard is submitted.
///
/// Sends one [`Event::Turn`](crate::studio::events::Event::Turn) after each turn; nobody needs
/// to listen.
///
/// # Errors
///
/// [`AgentError::Till`] carries the till's own error untouched, and the work can go on once its
/// cause is gone. Every other error follows from what the model answered, and comes back when
/// the same answers are replayed.
pub async fn create(
    assignment: &Assignment,
    turns: &dyn Turns,
    library: &dyn Library,
    events: &EventSink,
) -> Result<Creation, AgentError> {
    team::Team::new(assignment, turns, library, events)?.create().await
}
