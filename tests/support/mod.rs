//! Stand-ins of the outside services, and a place to run aida in.
//!
//! The stand-ins share no code with aida's own provider clients: they are a second reading of
//! the vendors' documents, so that a mistake in one of the two shows. Each of them checks every
//! request, behaves asynchronously where the vendor does, lies where the vendor lies, and keeps
//! its own bill.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "every test binary compiles this folder and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken stand-in must end its test at once"
)]

pub mod anthropic;
pub mod bench;
pub mod bill;
pub mod environment;
pub mod fal;
pub mod faults;
pub mod kie;
pub mod media;
pub mod ollama;
pub mod openai;
pub mod schema;
pub mod voyage;
pub mod wire;
pub mod world;

pub use bench::{Bench, Record, Service, Violation};
pub use bill::{Bill, Item};
pub use environment::{Finished, Running, TestEnvironment, wait_until};
pub use faults::{Fault, Faults};
pub use wire::{Answer, Call};
pub use world::World;
