//! The load itself: threads of sessions, each thread with a ring of its own.
//!
//! `workload` (what to ask) and `pacing` (when) are pure, `template` makes the bytes, `lane` keeps
//! one session's requests, `session` drives it over a `connection`. `opening` is the load that is
//! nothing but sessions, `tree` prepares the znodes and takes them away.

pub(crate) mod connection;
pub(crate) mod lane;
pub(crate) mod opening;
mod pacer;
pub(crate) mod pacing;
pub(crate) mod session;
pub(crate) mod template;
pub(crate) mod tree;
pub(crate) mod worker;
pub(crate) mod workload;

use connection::ConnectFault;
use pacing::Window;

/// How far a run is; the main thread says so to all sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Open sessions, then wait.
    Connect,
    /// Load.
    Run(Window),
    /// Ask nothing more.
    Finish,
    /// Close sessions.
    Close,
}

/// What a session tells its thread.
#[derive(Debug)]
pub(crate) enum Signal {
    Connected,
    /// Of this session.
    Failed(u32, ConnectFault),
    Finished,
}
