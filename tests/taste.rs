//! A user's taste: learnt over many films, told to whoever writes the next one, and forgotten
//! without a trace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "taste/campaigns.rs"]
mod campaigns;
#[path = "taste/chance.rs"]
mod chance;
#[path = "support/database.rs"]
mod database;
#[path = "taste/forgetting.rs"]
mod forgetting;
#[path = "taste/learning.rs"]
mod learning;
#[path = "support/stage.rs"]
mod stage;
mod support;
#[path = "taste/team.rs"]
mod team;
#[path = "taste/viewer.rs"]
mod viewer;
