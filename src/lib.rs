//! Ringkeeper: a coordination server that takes the place of Apache `ZooKeeper`, on `io_uring`.
//!
//! The path of a write is the order of the modules:
//! `socket -> frame -> request -> proposal -> log -> commit -> reply`.
//! `docs/ARCHITECTURE.md` is the map; which module may import which is held by `tests/tidy.rs`.

pub mod clock;
pub mod error;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod version;

pub mod log;

pub mod net;

pub mod reply;
pub mod request;
pub mod tree;
pub mod wire;
pub mod zab;

pub mod stage;

pub mod server;

pub mod admin;

pub mod cli;
