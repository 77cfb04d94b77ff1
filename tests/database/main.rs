//! The store on real databases: the native server of `AIDA_TEST_DATABASE_URL`, and the embedded
//! one with its host process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod costs;
#[cfg(all(feature = "embedded", unix))]
mod embedded;
mod external;
#[cfg(all(feature = "embedded", unix))]
mod journal;
mod monitoring;
mod queue;
mod rows;
mod schema;
#[path = "../support/database.rs"]
mod support;
