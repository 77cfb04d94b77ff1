//! One video, from brief to film.

pub mod agents;
pub mod animatic;
pub mod brief;
pub mod claim;
mod error;
pub mod events;
mod fetching;
pub mod film;
pub mod outline;
pub mod plan;
mod process;
pub mod producer;
pub mod run;
pub mod script;
pub mod shooting;
pub mod storyboard;
mod writing;

pub use error::StudioError;
