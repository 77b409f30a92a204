//! What the control thread asks the others, and is asked by them.
//!
//! Four-letter words come from the shards and are answered by the control thread, which asks
//! whichever threads know. Every question has a channel of its own for the answer, with room for
//! it: nobody waits to answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;

use crate::hash::PathHash;
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::net::ConnectionId;
use crate::reply::watch::WatchSummary;
use crate::stage::message::Origin;
use crate::wire::OpCode;
use crate::wire::word::Word;

/// A four-letter word that came in.
#[derive(Clone, Copy, Debug)]
pub struct WordAsk {
    /// Who asks.
    pub origin: Origin,
    /// What.
    pub word: Word,
    /// What follows the word, if something must.
    pub operand: Option<i64>,
}

/// From the control thread to a shard.
#[derive(Debug)]
pub enum Question {
    /// The answer to a word: send it, then close.
    Text(ConnectionId, Vec<u8>),
    /// Who is connected?
    Connections(SyncSender<Vec<ConnectionFacts>>),
    /// Forget what connections have done.
    ResetConnections,
    /// Who watches what?
    Watches(SyncSender<Vec<(SessionId, Vec<String>)>>),
    /// How many watch how many paths? With a key for the hashes of those, where there are several
    /// shards.
    WatchCounts(Option<PathHash>, SyncSender<Vec<WatchCounts>>),
    /// The last replies are in your queue: send them, and end.
    Leave,
}

/// What one shard has to watch, of data.
#[derive(Clone, Debug, Default)]
pub struct WatchCounts {
    /// How many of what.
    pub summary: WatchSummary,
    /// A hash of each path, if they were asked for: two shards may watch the same ones. Two paths
    /// of a hundred million share one in one of some thousand cases.
    pub path_hashes: Vec<u64>,
}

/// From the control thread to the zab thread.
#[derive(Debug)]
pub enum Inquiry {
    /// Does your loop still turn, and which mode is this server in? `None` while its election port
    /// is not bound.
    Alive(SyncSender<Option<&'static str>>),
    /// When do which sessions expire?
    Sessions(SyncSender<SessionDues>),
    /// What is this server among the others?
    Place(SyncSender<Place>),
}

/// Sessions by when they expire, on the monotonic clock.
pub type Dues = BTreeMap<Millis, Vec<SessionId>>;

/// The sessions that a server lets expire.
#[derive(Clone, Debug, Default)]
pub struct SessionDues {
    /// Those only it knows, where there may be such.
    pub local: Option<Dues>,
    /// The ensemble's, of a server that orders.
    pub global: Dues,
}

/// A server's place in its ensemble.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What it does for clients.
    pub serving: bool,
    /// `leading`, `following`, … and how far it is, as `mntr` prints it.
    pub peer_state: String,
    /// What it is.
    pub standing: Standing,
    /// How many sessions only it knows.
    pub local_sessions: u64,
    /// The epoch's first zxid, of a leader that serves.
    pub epoch_zxid: Zxid,
    /// A leader's numbers.
    pub leader: Option<LeaderFacts>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// Without a leader.
    #[default]
    Looking,
    /// The leader.
    Leading,
    /// A learner with a vote.
    Following,
    /// A learner without.
    Observing,
    /// Without a leader, serving those who read.
    ReadOnly,
}

/// What only a leader knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderFacts {
    /// Links to learners.
    pub learners: u64,
    /// Of these, followers in step.
    pub synced_followers: u64,
    /// Of these, observers in step.
    pub synced_observers: u64,
    /// Syncs that wait.
    pub pending_syncs: u64,
    /// Since it leads.
    pub uptime_ms: u64,
    /// Bytes of the last, the least and the greatest proposal; -1 before the first.
    pub proposal_bytes: (i64, i64, i64),
}

/// The last thing a connection was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LastOp {
    /// Nothing yet: it has brought its session with it.
    None,
    /// Nothing since it was last asked to forget.
    Forgotten,
    /// A request; a session that was made counts as one.
    Op(OpCode),
}

/// One connection, for `cons`, `stat` and `dump`.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Its address.
    pub peer: SocketAddr,
    /// Whether its socket is being read.
    pub is_reading: bool,
    /// Writes of it that are not answered.
    pub queued: u64,
    /// Packets.
    pub received: u64,
    /// Packets.
    pub sent: u64,
    /// What only a connection with a session has.
    pub session: Option<SessionFacts>,
}

/// The part of a connection's facts that needs a session.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Whose.
    pub id: SessionId,
    /// Its last request.
    pub last_op: LastOp,
    /// Wall clock.
    pub established: Millis,
    /// Negotiated.
    pub timeout_ms: i32,
    /// Of the last request.
    pub last_cxid: Xid,
    /// In the last reply.
    pub last_zxid: Zxid,
    /// Monotonic.
    pub last_response: Millis,
    /// Of the last request.
    pub last_latency_us: u64,
    /// The least.
    pub min_latency_us: u64,
    /// Their sum.
    pub latency_us_sum: u64,
    /// How many.
    pub latencies: u64,
    /// The greatest.
    pub max_latency_us: u64,
}
