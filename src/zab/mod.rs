//! Step 4, PROPOSAL: what a quorum agrees on.
//!
//! Pure and deterministic: a function of its inputs, with no socket, file, clock, thread or
//! randomness inside, and it never looks into a txn. The zab thread and the simulator drive the
//! same code. One [`Zab`] is one server's whole life in an ensemble: it looks for a leader, leads,
//! follows or observes, and looks again. A standalone server is an ensemble of one voter that
//! leads from the start: the same steps, no second path.
//!
//! In: [`Input`]; out: [`Output`], to be carried out in their order; [`Zab::deadline`] says when
//! [`Input::Time`] is due.
//!
//! INVARIANT: proposals are appended in zxid order; a commit follows only a quorum of acks, in the
//! same order; this server acks only what its own log has reported durable, and applies only what
//! is in its log, durably; it votes with the end of that log, all of it applied.

#![forbid(unsafe_code)]

mod config;
mod context;
pub mod election;
mod history;
mod leader;
mod learner;
mod life;
mod quorum;
mod why;

use bytes::Bytes;

pub use config::{Config, Mutation, Mutations, Standing, Timing};
pub use leader::Membership;
pub use life::{LearnerStatus, Zab};
pub use quorum::{AckSet, Quorum, Rule, RuleError, VOTERS_MAX};
pub use why::{PeerFault, Refusal, Why};

use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::Packet;
use election::Ballot;

/// A txn's bytes with its place in history: made once, then shared and never changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    /// Its place in history, as in its header.
    pub zxid: Zxid,
    /// Header, body and digest, as logged and sent.
    pub record: Bytes,
}

/// One of the two numbers a server must not forget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EpochRecord {
    /// `acceptedEpoch`.
    Accepted(Epoch),
    /// `currentEpoch`.
    Current(Epoch),
}

/// Names one quorum connection for the driver's life: never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u64);

/// What happens to the protocol.
///
/// Of a link that the core has closed, or was told is down, it takes anything and does nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// [`Zab::deadline`] may have passed.
    Time,
    /// A peer's notification, without the configuration's text.
    Notified {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        ballot: Ballot,
    },
    /// The election connection to a peer stands, or replaces another.
    ElectionUp(ServerId),
    /// It is gone.
    ElectionDown(ServerId),
    /// A learner has connected to this leader's quorum port.
    LinkUp(LinkId),
    /// The dialed leader is connected.
    LeaderUp(LinkId),
    /// The dialed leader is not: refused, unknown, or not in time.
    LeaderUnreachable,
    /// The connection is gone, or bytes came that are no packet. Not needed after `Close`.
    LinkDown(LinkId),
    /// A packet; of a learner's leader only while [`Zab::is_reading`].
    Packet {
        /// On which connection.
        link: LinkId,
        /// What.
        packet: Packet,
    },
    /// Bytes of a snapshot are on their way on this link, to or from this server: it is not silent.
    SnapshotMoved(LinkId),
    /// This server's log is flushed up to here; of what was appended before a cut, nothing after
    /// the cut.
    Durable(Zxid),
    /// An epoch's file is written, flushed and in its place. In the order they were asked for.
    Persisted(EpochRecord),
    /// The snapshot, or the cut, is in place, durably; tree and log end here.
    Rebuilt {
        /// The last txn.
        last: Zxid,
    },
    /// The snapshot did not come to its end, or is none; or the cut goes back to before the oldest
    /// snapshot. Tree, log and snapshots are as they were.
    NotRebuilt,
    /// The answer to [`Output::ReadLog`]; `None` if the log does not reach back, has a gap, or is
    /// too large to be cheaper than a snapshot.
    LogRead {
        /// For whom.
        link: LinkId,
        /// From a txn that is not after the one asked for, ascending, without a gap.
        history: Option<Vec<Proposal>>,
    },
    /// A prepared txn; its zxid is the one [`Zab::next_zxid`] gives.
    Propose(Proposal),
    /// It is a learner's `sync`'s turn, among what else was asked on its link and passed on: it is
    /// answered once what is proposed by now is committed.
    Sync(LinkId),
    /// Something the sessions say on a link: a request, a revalidation or its answer, the touches
    /// that answer a ping. Keeps its place among the core's own packets, a revalidation's answer
    /// behind the commits of all that is proposed by now; dropped if the link is not in broadcast
    /// any more.
    Say {
        /// To whom.
        link: LinkId,
        /// What.
        packet: Packet,
    },
}

/// What the protocol wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// On the election port, or told of an election.
    Election(election::Output),
    /// Open the quorum port: this server leads.
    Listen,
    /// Close the quorum port. The learners' links are closed one by one.
    Unlisten,
    /// One attempt to connect to a leader's quorum port, to be answered within this time by
    /// [`Input::LeaderUp`] or [`Input::LeaderUnreachable`]. There is never more than one.
    DialLeader {
        /// Whom.
        leader: ServerId,
        /// For how long.
        timeout_ms: i64,
    },
    /// To a peer on its quorum connection.
    Send(LinkId, Packet),
    /// Send what was queued, then close; nothing more is taken from it.
    Close(LinkId, Why),
    /// Log it; answer with [`Input::Durable`].
    Append(Proposal),
    /// Apply it: it is in this server's log, durably. Between `Serve` and `Rest` a quorum has it,
    /// and whoever waits for it may be answered; outside of it, it is this server's history, which
    /// a leader may still cut off.
    Commit(Proposal),
    /// Make it durable; answer with [`Input::Persisted`].
    Persist(EpochRecord),
    /// Cut the log, and every snapshot, after this one (ZOOKEEPER-4837), durably; reload the tree;
    /// answer with [`Input::Rebuilt`]; or with [`Input::NotRebuilt`] if no snapshot reaches back so
    /// far, before anything is touched. A disk that fails ends the process (ZOOKEEPER-3701).
    Truncate {
        /// The last to keep.
        to: Zxid,
    },
    /// A snapshot stream follows on the link: put it in place of tree, log and snapshots, durably
    /// and all at once; answer with [`Input::Rebuilt`] or [`Input::NotRebuilt`].
    ReceiveSnapshot {
        /// From whom.
        link: LinkId,
        /// What it holds at least.
        zxid: Zxid,
    },
    /// Send a snapshot stream: the tree after every `Commit` so far, none missing, none more. It
    /// goes between the packets sent before and after this, which may come while it is under way.
    SendSnapshot {
        /// To whom.
        link: LinkId,
    },
    /// Read this server's log; answer with [`Input::LogRead`].
    ReadLog {
        /// For whom.
        link: LinkId,
        /// The last txn the learner has: read from the last one that is not after it.
        from: Zxid,
        /// To here, included.
        upto: Zxid,
        /// If there is more, the log is not to be used.
        bytes_max: usize,
    },
    /// What a peer says to the sessions: at a leader a request, a revalidation, the touches that
    /// answer a ping; at a learner a ping to be answered, a revalidation's answer, a `sync`'s. That
    /// comes after the `Commit`s of what was committed before it, a revalidation's answer also
    /// after those of what was proposed before it. Of the requests a `sync` must not overtake
    /// others: it comes back as [`Input::Sync`].
    Pass {
        /// From whom.
        link: LinkId,
        /// What.
        packet: Packet,
    },
    /// The role is established.
    Serve {
        /// The leader's.
        epoch: Epoch,
        /// Whether clients are to be served: not if this server leads and `leaderServes` is no.
        to_clients: bool,
    },
    /// The role has ended, and with it the service to clients; sessions stay.
    Rest(Why),
}
