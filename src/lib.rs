//! aida turns a brief into a finished short film, and keeps exact books of what it cost.
//!
//! The rooms, from the street inwards. Calls and `use` lines run downwards only:
//!
//! - [`cli`]: what a person types and sees.
//! - [`commands`]: one file per subcommand.
//! - [`studio`]: one video, from brief to film.
//! - [`memory`]: what earlier work taught us.
//! - [`ledger`]: money; the only way to a paid call.
//! - [`providers`] and [`store`]: the outside world, and Postgres.
//!
//! Plain types ([`ids`], [`clock`], `ledger::money`, `ledger::operation`, `studio::brief`,
//! `studio::script`, `studio::storyboard`) may be used by every room.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod error;
pub mod ids;
pub mod ledger;
pub mod memory;
pub mod providers;
pub mod store;
pub mod studio;
