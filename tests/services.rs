//! aida's own clients of the outside services against the stand-ins, through the real till and on
//! a real database: what one room says of a vendor, the other must believe.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
mod support;

#[path = "services/cache.rs"]
mod cache;
#[path = "services/media.rs"]
mod media;
#[path = "services/studio.rs"]
mod studio;
#[path = "services/team.rs"]
mod team;
