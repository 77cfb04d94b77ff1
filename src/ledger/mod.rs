//! Money: the only way to a paid call.

pub mod budget;
pub mod estimate;
pub mod explain;
pub mod money;
pub mod operation;
pub mod prices;
pub mod prompt_cache;
pub mod reconcile;
pub mod refresh;
pub mod report;
pub mod till;

pub use till::{Component, Parcel, Purpose, Reservation, Submission, Till, TillError};
