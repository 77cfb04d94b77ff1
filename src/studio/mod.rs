//! One video, from brief to film.

pub mod agents;
pub mod animatic;
pub mod brief;
pub mod events;
pub mod film;
pub mod outline;
pub mod script;
pub mod storyboard;
