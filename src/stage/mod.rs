//! THREADS: the only place where the seven steps meet.
//!
//! Each stage is one thread's loop: take a bounded batch, step, push. Between them are bounded
//! queues. Decisions of protocol belong to the pure modules; a stage moves bytes and messages.

mod complaints;
pub mod control;
pub mod log;
pub mod message;
pub mod namespace;
pub mod peers;
pub mod pin;
pub mod queue;
pub mod service;
pub mod shard;
pub mod shared;
pub mod snapshot;
pub mod storage;
mod way;
pub mod zab;
