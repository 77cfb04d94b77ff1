//! The real binary, from outside: help, wrong input, settings, exit codes and reports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/database.rs"]
mod database;

mod config;
mod costs;
mod help;
mod input;
mod prices;
mod sandbox;
