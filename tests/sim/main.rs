//! A whole ensemble in one thread and in virtual time: the production core, tree, log format and
//! recovery, under everything that may happen to machines and networks. One seed is one history.
//!
//! `cargo test --profile sim --test sim -- [--seeds N] [--seed X] [--seconds S] [--first X]
//! [--for SECONDS] [--trace LINES] [--mutation NAME | --mutations]`
//!
//! What is checked, after every step, stands in `checker`; what goes wrong in `cluster/faults.rs`.
//! A seed that fails is played a second time with a trace, and printed with the command that
//! replays it.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "checks look at a few kinds of packet, of many; what drives the core names them all"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of nodes, and microseconds of a short history"
)]

mod checker;
mod cluster;
mod disk;
mod network;
mod node;
mod plan;
mod queue;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/random.rs"]
mod random;
mod runs;
mod trace;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    runs::main()
}
