//! What the outer tests share: a raw client, servers as child processes, seeded randomness.
//!
//! The client is made of `ringkeeper::wire` and nothing else, so that a test sees every frame. A
//! server is any command of the shape `COMMAND [-Dname=value…] zoo.cfg`; see `tests/servers/`.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test target uses its part")]

pub mod cases;
pub mod client;
pub mod process;
pub mod random;
pub mod sequence;

pub use client::{Client, Connection};
pub use process::{Server, ServerSpec, wait_for, wait_for_every};
pub use random::Random;
