//! Step 4, PROPOSAL: what a quorum agrees on.
//!
//! Pure and deterministic: a function of its inputs, with no socket, file, clock, thread or
//! randomness inside, and it never looks into a txn. The zab thread and the simulator drive the
//! same code. A standalone server is an ensemble of one voter: the same steps, no second path.
//!
//! So far [`Zab`] is that ensemble of one. `election`, `discovery`, `sync` and `learner` are pieces
//! of larger ones, tested by themselves and not yet driven by a thread; what is missing between
//! them is listed in `docs/ARCHITECTURE.md`.
//!
//! INVARIANT: proposals are appended in zxid order; a commit follows only a quorum of acks, in the
//! same order; this server acks only what its own log has reported durable.

#![forbid(unsafe_code)]

pub mod discovery;
pub mod election;
mod leader;
pub mod learner;
mod quorum;
pub mod sync;

use std::sync::Arc;

pub use leader::{Leader, Membership};
pub use quorum::{AckSet, Quorum, Rule, RuleError, VOTERS_MAX};

use crate::ids::{ServerId, Zxid};
use crate::wire::quorum::Packet;

/// A txn's bytes with its place in history: made once, then shared and never changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    /// Its place in history, as in its header.
    pub zxid: Zxid,
    /// Header, body and digest, as logged and sent.
    pub record: Arc<[u8]>,
}

/// What happens to the protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// A prepared txn; its zxid is the one [`Zab::next_zxid`] gave.
    Propose(Proposal),
    /// The log holds everything up to here.
    Durable(Zxid),
}

/// What the protocol wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Log it; answer with [`Input::Durable`].
    Append(Proposal),
    /// Apply it: a quorum has it.
    Commit(Proposal),
    /// To a peer on its quorum connection.
    Send(ServerId, Packet),
}

/// One server's part in the protocol.
#[derive(Debug)]
pub struct Zab {
    role: Role,
}

#[derive(Debug)]
enum Role {
    Leading(Leader),
}

impl Zab {
    /// An ensemble of one, whose log ends at `last`: it leads from the start.
    pub fn standalone(last: Zxid) -> Self {
        Self { role: Role::Leading(Leader::new(ServerId(0), Quorum::of_one(), last)) }
    }

    /// The zxid that the next proposal must have.
    pub fn next_zxid(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.next_zxid(),
        }
    }

    /// The last proposal's zxid.
    pub fn last_proposed(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.last_proposed(),
        }
    }

    /// How many proposals wait for their quorum.
    pub fn outstanding(&self) -> usize {
        match &self.role {
            Role::Leading(leader) => leader.outstanding(),
        }
    }

    /// Takes one input; appends what it asks for to `out`.
    ///
    /// # Panics
    /// If a proposal's zxid is not the next one, or the log reports what it was not given:
    /// bugs of the caller, after which no order could be promised.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match (&mut self.role, input) {
            (Role::Leading(leader), Input::Propose(proposal)) => leader.propose(proposal, out),
            (Role::Leading(leader), Input::Durable(upto)) => leader.on_durable(upto, out),
        }
    }
}
