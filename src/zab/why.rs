//! Why a link is closed, or a role ends.

use std::fmt;

use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::Packet;

/// Why a link is closed, or a role ends. Nobody is at fault but the peer; the server goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// The connection is gone.
    LinkDown,
    /// Nothing was heard for too long.
    Silent {
        /// For how long.
        limit_ms: i64,
    },
    /// A learner that this leader cannot have.
    Refused(Refusal),
    /// A peer that does not keep to the protocol, or has another history.
    Fault(PeerFault),
    /// The learner is back on another link.
    Replaced(ServerId),
    /// A learner did not ack a proposal.
    Unacked {
        /// Which.
        zxid: Zxid,
        /// For how long.
        limit_ms: i64,
    },
    /// Learners there are already as many as may be.
    Crowd,
    /// This server does not lead, or not any more.
    NotLeading,
    /// It does not follow any more.
    LeftLeader,
    /// The elected leader could not be connected to.
    Unreachable(ServerId),
    /// What the leader sent as a snapshot was none, or its cut goes back to before the oldest
    /// snapshot here.
    NotRebuilt,
    /// A leader did not find its quorum in time.
    NoQuorum {
        /// What was waited for.
        phase: &'static str,
        /// For how long.
        limit_ms: i64,
    },
    /// Voters that were to follow look for another leader.
    Forsaken,
    /// A leader has not heard of its quorum for too long.
    QuorumLost,
    /// A leader's own disk does not have a proposal.
    DiskSilent {
        /// Which.
        zxid: Zxid,
        /// For how long.
        limit_ms: i64,
    },
    /// The counter of zxids is at its end: a new epoch is to be opened.
    SpentCounter(Zxid),
}

/// Why a learner is refused: its connection is closed, and the leader goes on without it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It is from before 3.4.
    Protocol(i32),
    /// It has activated a configuration that the leader does not know.
    ConfigAhead(i64),
    /// It has history that the leader lacks.
    HistoryAhead {
        /// Its.
        epoch: Epoch,
        /// Its last.
        zxid: Zxid,
    },
    /// It has accepted an epoch that no leader can have opened.
    Epoch(Epoch),
    /// A server of this id is connected, and answers.
    Taken(ServerId),
    /// It says that it is this server: two have the same `myid`.
    MyId(ServerId),
}

/// Why a peer is left; who leaves its leader looks for one again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerFault {
    /// The leader opens an epoch that is older than one accepted.
    StaleEpoch {
        /// The leader's.
        proposed: Epoch,
        /// Accepted.
        accepted: Epoch,
    },
    /// A leader from before 3.4.
    Protocol(i32),
    /// A packet that has no place in this state.
    Unexpected {
        /// The state.
        state: &'static str,
        /// What came.
        packet: Packet,
    },
    /// `NEWLEADER`, or its ack, of another epoch than was agreed on.
    OtherEpoch(Zxid),
    /// History of an epoch that comes after the leader's own: nobody can have it yet.
    LaterEpoch {
        /// The leader's.
        epoch: Epoch,
        /// What came.
        zxid: Zxid,
    },
    /// A cut to what was never there.
    Cut {
        /// The last one.
        last: Zxid,
        /// What was to be the last.
        to: Zxid,
    },
    /// A proposal that does not follow the last one (ZOOKEEPER-4925).
    Gap {
        /// The last one.
        last: Zxid,
        /// What came.
        next: Zxid,
    },
    /// A commit that is not the oldest proposal's.
    CommitOrder {
        /// The oldest proposal's, or the last that was committed.
        expected: Zxid,
        /// What came.
        zxid: Zxid,
    },
    /// More than this server can hold while it is busy with its disk.
    TooMuch {
        /// Packets.
        max: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown => f.write_str("the connection is gone"),
            Self::Silent { limit_ms } => write!(f, "nothing was heard of it for {limit_ms} ms"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Replaced(server) => write!(f, "server {server} has connected anew"),
            Self::Unacked { zxid, limit_ms } => {
                write!(f, "it did not ack proposal {zxid} for {limit_ms} ms: is its disk slow?")
            }
            Self::Crowd => f.write_str("there are too many learners"),
            Self::NotLeading => f.write_str("this server does not lead"),
            Self::LeftLeader => f.write_str("this server has left its leader"),
            Self::Unreachable(leader) => {
                write!(f, "leader {leader} cannot be connected to: is its quorum port open?")
            }
            Self::NotRebuilt => {
                f.write_str("what it sent could not take the place of what is here")
            }
            Self::NoQuorum { phase, limit_ms } => {
                write!(f, "no quorum of voters {phase} within {limit_ms} ms")
            }
            Self::Forsaken => f.write_str("voters that elected this server look for another"),
            Self::QuorumLost => f.write_str("not sufficient followers synced"),
            Self::DiskSilent { zxid, limit_ms } => {
                write!(f, "its own disk does not have proposal {zxid} after {limit_ms} ms")
            }
            Self::SpentCounter(zxid) => {
                write!(f, "zxid {zxid} was the last of its epoch: a new one is to be opened")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(version) => write!(f, "its protocol {version:#x} is too old"),
            Self::ConfigAhead(version) => {
                write!(f, "it is ahead of the leader: configuration {version:#x}")
            }
            Self::HistoryAhead { epoch: Epoch(epoch), zxid } => {
                write!(f, "it is ahead of the leader: epoch {epoch:#x}, zxid {zxid}")
            }
            Self::Epoch(Epoch(epoch)) => {
                write!(f, "it has accepted epoch {epoch:#x}, which is none: its data is damaged")
            }
            Self::Taken(server) => {
                write!(f, "server {server} is connected already: do two have the same myid?")
            }
            Self::MyId(server) => {
                write!(f, "it says it is server {server}, as this one is: look at its myid file")
            }
        }
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleEpoch { proposed, accepted } => {
                let (Epoch(proposed), Epoch(accepted)) = (proposed, accepted);
                write!(f, "leader's epoch {proposed:#x} is older than accepted {accepted:#x}")
            }
            Self::Protocol(version) => write!(f, "leader's protocol {version:#x} is too old"),
            Self::Unexpected { state, packet } => write!(f, "while {state}: {packet:?}"),
            Self::OtherEpoch(zxid) => write!(f, "NEWLEADER {zxid} is of another epoch"),
            Self::LaterEpoch { epoch: Epoch(epoch), zxid } => {
                write!(f, "zxid {zxid} is of a later epoch than {epoch:#x}, the leader's")
            }
            Self::Cut { last, to } => write!(f, "a cut after {to}, where {last} is the last"),
            Self::Gap { last, next } => write!(f, "proposal {next} does not follow {last}"),
            Self::CommitOrder { expected, zxid } => {
                write!(f, "commit of {zxid}, not of the oldest proposal {expected}")
            }
            Self::TooMuch { max } => write!(f, "more than {max} packets while the disk was busy"),
        }
    }
}

impl std::error::Error for Why {}
impl std::error::Error for Refusal {}
impl std::error::Error for PeerFault {}
