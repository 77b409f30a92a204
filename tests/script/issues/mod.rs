//! Known bugs of the protocol, each as the step or the story that shows it.
//!
//! Each that a mutation can put back is told twice: as it is, and in the simulator's build with the
//! bug, where the same story must fail. So none of those passes for want of looking.

mod disk;
mod join;
mod quorum;
mod sync;

use bytes::Bytes;
use ringkeeper::ids::{Epoch, ServerId, SessionId, Xid, Zxid};
use ringkeeper::wire::OpCode;
use ringkeeper::wire::election::PeerState;
use ringkeeper::wire::quorum::{Forwarded, LearnerInfo, Packet};
use ringkeeper::zab::election::Output as Elected;
use ringkeeper::zab::{
    EpochRecord, Input, LinkId, Mutation, Mutations, Output, PeerFault, Proposal, Refusal,
    Standing, Why,
};

use crate::ensemble::Ensemble;
use crate::lone::{
    ACCEPTED, CURRENT, Lone, UP, ack, commit, new, new_leader, old, proposal, proposed,
};

/// The story holds, and does not hold with the bug.
fn shows(bug: Mutation, story: impl Fn(Mutations) + std::panic::RefUnwindSafe) {
    story(Mutations::NONE);
    #[cfg(feature = "sim-mutations")]
    {
        let told = std::panic::catch_unwind(|| story(Mutations::only(bug)));
        assert!(told.is_err(), "{bug:?} went unnoticed");
    }
    #[cfg(not(feature = "sim-mutations"))]
    let _ = bug;
}

/// Runs a story's commands; what must hold is checked after every step.
fn tell(mutations: Mutations, commands: &str) -> Ensemble {
    let mut ensemble = Ensemble::default();
    ensemble.mutate(mutations);
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        ensemble.command(line);
    }
    ensemble
}

fn sent(link: u64, packet: Packet) -> Output {
    Output::Send(LinkId(link), packet)
}

fn to_leader(packet: Packet) -> Output {
    Output::Send(UP, packet)
}

fn is_said(output: &Output) -> bool {
    matches!(output, Output::Election(Elected::Send { .. }))
}
