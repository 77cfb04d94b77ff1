//! Tests of the stand-ins themselves: what they let through, aida's own tests would let through.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod support;

#[path = "standins/claude.rs"]
mod claude;
#[path = "standins/faults.rs"]
mod faults;
#[path = "standins/media.rs"]
mod media;
#[path = "standins/prompt_cache.rs"]
mod prompt_cache;
