//! Money: the only way to a paid call.

pub mod money;
pub mod operation;
pub mod prices;
pub mod report;
pub mod till;

pub use till::{Component, Purpose, Reservation, Submission, Till, TillError};
