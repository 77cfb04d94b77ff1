//! PostgreSQL with pgvector inside aida, for machines without a database server.
//!
//! The engine serves one connection and belongs to one process. So a hidden child of aida,
//! started as `aida __database DIR`, hosts it ([`host_main`]): it listens on a private Unix
//! socket, lets clients in one after the other, and leaves after some seconds without any. Whoever
//! finds no host starts one.
//!
//! - `place`: which file is where, and that nobody else can get at the socket.
//! - `client`: connecting, and starting the host.
//! - `host`: the life of the host process.
//! - `relay`: between the clients and the engine; `wire`: as much of the protocol as that needs.

#[cfg(all(feature = "embedded", unix))]
mod client;
#[cfg(all(feature = "embedded", unix))]
mod host;
#[cfg(all(feature = "embedded", unix))]
mod place;
#[cfg(all(feature = "embedded", unix))]
mod relay;
#[cfg(all(feature = "embedded", unix))]
mod wire;

#[cfg(not(all(feature = "embedded", unix)))]
mod absent;
#[cfg(not(all(feature = "embedded", unix)))]
pub(super) use absent::Embedded;
#[cfg(not(all(feature = "embedded", unix)))]
pub use absent::host_main;

#[cfg(all(feature = "embedded", unix))]
pub(super) use client::Embedded;
#[cfg(all(feature = "embedded", unix))]
pub use host::host_main;
