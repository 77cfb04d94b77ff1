//! One video, from brief to film.

pub mod agents;
pub mod animatic;
pub mod brief;
pub mod claim;
mod error;
pub mod events;
mod fetching;
pub mod film;
pub mod floor;
pub mod making;
pub mod outline;
pub mod plan;
pub mod producer;
mod references;
pub mod reusing;
pub mod run;
pub mod script;
mod sending;
pub mod shooting;
pub mod storyboard;
pub mod why;
pub mod wording;
mod writing;

pub use error::StudioError;
