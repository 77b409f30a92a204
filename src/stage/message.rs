//! What the threads tell each other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::net::ConnectionId;
use crate::request::access::Identity;
use crate::tree::Change;
use crate::wire::OpCode;

/// Which connection of which shard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Index of the shard.
    pub shard: usize,
    /// Its connection.
    pub connection: ConnectionId,
}

/// A session as its shard and the zab thread share it.
#[derive(Debug)]
pub struct SessionCell {
    /// Whose it is.
    pub id: SessionId,
    /// When a frame of it last came. Written by its shard, read when it might expire: a touch is
    /// one store, however many sessions there are.
    last_heard_ms: AtomicI64,
}

impl SessionCell {
    /// A session heard of `now`.
    pub fn new(id: SessionId, now: Millis) -> Arc<Self> {
        Arc::new(Self { id, last_heard_ms: AtomicI64::new(now.0) })
    }

    /// A frame of it came.
    pub fn touch(&self, now: Millis) {
        self.last_heard_ms.store(now.0, Ordering::Relaxed);
    }

    /// When it was last heard of.
    pub fn last_heard(&self) -> Millis {
        Millis(self.last_heard_ms.load(Ordering::Relaxed))
    }
}

/// From a shard to the zab thread.
#[derive(Debug)]
pub enum Ask {
    /// Open a session, or attach a connection to one whose password was right.
    Connect(ConnectAsk),
    /// Somebody tried a session with a wrong password, and is turned away by the shard.
    Intruder(SessionId),
    /// A request that changes state, or closes its session; in an ensemble also a sync.
    Write(WriteAsk),
    /// The connection is gone; its session may be attached elsewhere by now.
    Gone(Origin, SessionId),
}

/// A handshake that the shard has accepted.
#[derive(Clone, Copy, Debug)]
pub struct ConnectAsk {
    /// Who asks.
    pub origin: Origin,
    /// [`SessionId::NONE`] for a new one.
    pub session: SessionId,
    /// Negotiated.
    pub timeout_ms: i32,
    /// The request's byte, to be answered in kind.
    pub read_only: Option<bool>,
}

/// A write whose body the shard has found to be decodable.
#[derive(Debug)]
pub struct WriteAsk {
    /// Who asks.
    pub origin: Origin,
    /// In which session.
    pub session: SessionId,
    /// The request's number.
    pub xid: Xid,
    /// What it is.
    pub op: OpCode,
    /// The record, as it came. The shard has decoded it, or it is a multi that cannot be: that
    /// still takes a place in history.
    pub body: Bytes,
    /// Who the connection was when the frame was read.
    pub identities: Arc<[Identity]>,
}

/// From the zab thread to a shard: what one batch of commits means to its clients, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// In zxid order; the changes of a txn come before its reply.
    pub entries: Vec<Entry>,
    /// Whole frames that the entries point into.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// An empty one, with room for as much as `last` has: the next is most likely as large.
    pub fn after(last: &Self) -> Self {
        let entries = Vec::with_capacity(last.entries.len());
        Self { entries, bytes: Vec::with_capacity(last.bytes.len()) }
    }
}

/// One thing a shard is told.
#[derive(Debug)]
pub enum Entry {
    /// The tree changed: watches may fire.
    Change(Change),
    /// The reply to a write.
    Reply(ConnectionId, Zxid, Range<usize>),
    /// The session is closed: reply, then close.
    Closed(ConnectionId, Zxid, Range<usize>),
    /// A session is attached; the connect response.
    Attached(ConnectionId, Arc<SessionCell>, Range<usize>),
    /// There is no such session; the connect response that says so, then close.
    Refused(ConnectionId, Range<usize>),
    /// Close at once: the session expired, or was attached elsewhere.
    Cut(ConnectionId),
    /// Close every connection that has a session, or is about to: the server's role has ended.
    CutAll,
}
