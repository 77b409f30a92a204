//! Bytes in and out of sockets. Knows nothing of `ZooKeeper`.
//!
//! Thread: each shard has a [`Reactor`] of its own and is the only one to touch it; other threads
//! hold its [`Waker`]. In: bytes appended to a connection's outbox. Out: [`Event`]s, and received
//! bytes that stay with the connection until they are consumed. Never parses, never decides what a
//! full outbox means, never blocks but in [`Reactor::turn`]. Nothing of `io_uring` shows above this
//! face: another back end can come behind it.
//!
//! INVARIANT: memory lent to the kernel is neither freed nor touched before its completion was
//! reaped.
//! INVARIANT: each `Accepted` and `Connected` is followed by exactly one `Closed`; after it, and
//! after `ConnectFailed`, the id means nothing.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::limits;

mod buffer;
mod connect;
mod connection;
mod error;
mod listener;
mod names;
mod patience;
mod reactor;
mod ring;
mod sleep;
#[cfg(test)]
mod tests;
mod traffic;
mod waker;

pub use connect::{ConnectFailure, Dial};
pub use error::{Features, NetError, Obstacle, OsError};
pub use listener::Listener;
pub use names::addresses_of;
pub use reactor::Reactor;
pub use sleep::Sleep;
pub use waker::Waker;

/// Names one connection of one [`Reactor`]; never used again, and harmless once stale.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId {
    /// The place in the reactor's slab.
    key: u32,
    /// Tells the tenants of that place apart; wraps after 2^32 connections.
    generation: u32,
}

impl ConnectionId {
    /// The place in the slab: small, so it may index a table of the caller's. Reused after
    /// `Closed`.
    pub fn index(self) -> usize {
        self.key as usize
    }
}

impl ConnectionId {
    /// All of it in one word, for tables that know nothing of sockets.
    pub fn bits(self) -> u64 {
        u64::from(self.key) | u64::from(self.generation) << 32
    }

    /// The id that [`Self::bits`] was asked of.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub fn from_bits(bits: u64) -> Self {
        Self { key: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.key, self.generation)
    }
}

/// The place of something that has a descriptor, and of which there are no more than descriptors.
fn slot_key(key: usize) -> u32 {
    u32::try_from(key).expect("a process has fewer than 2^32 descriptors")
}

/// Names one listener of one [`Reactor`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenerId(u32);

/// What a turn brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A peer has connected; it is being received from.
    Accepted {
        /// The new connection.
        id: ConnectionId,
        /// Where it came in.
        listener: ListenerId,
        /// Its address; an IPv4 peer of a dual-stack listener is shown as IPv4.
        peer: SocketAddr,
    },
    /// A connection that [`Reactor::connect`] began stands; it is being received from.
    Connected {
        /// The connection.
        id: ConnectionId,
    },
    /// It came to nothing.
    ConnectFailed {
        /// The connection, its last mention.
        id: ConnectionId,
        /// Why.
        reason: ConnectFailure,
    },
    /// More bytes lie in [`Reactor::input`]. At most one per connection and turn.
    Received {
        /// The connection.
        id: ConnectionId,
    },
    /// The peer sends no more; it can still be sent to.
    EndOfInput {
        /// The connection.
        id: ConnectionId,
    },
    /// The outbox is empty again after it had held more than [`Options::drained_above`].
    Drained {
        /// The connection.
        id: ConnectionId,
    },
    /// The connection is no more, by whosever wish. What a dead peer had sent can be read until the
    /// next turn.
    Closed {
        /// The connection, its last mention.
        id: ConnectionId,
        /// Whose wish it was.
        reason: CloseReason,
    },
    /// A connection could not be accepted (too many open files, as a rule); tried again a little
    /// later.
    AcceptFailed {
        /// Where.
        listener: ListenerId,
        /// Why.
        error: OsError,
    },
    /// A [`Waker`] was used.
    Woken,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// Sends all that is in the outbox, then the end of the stream; reads on for a bounded while,
    /// so that bytes not read do not turn the reply into a reset; then closes.
    AfterFlush,
    /// Closes; what was not sent is lost.
    Now,
    /// Closes with a reset, so that the peer notices at once and no `TIME_WAIT` stays.
    Reset,
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// [`Reactor::close`] asked for it and it went as asked.
    Local,
    /// [`Close::AfterFlush`] was given up: the peer did not take what was sent, or did not stop
    /// sending.
    Unfinished,
    /// The connection broke (reset, timed out).
    Broken(OsError),
}

/// How long a turn waits for something to happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait {
    /// At most so long; `None` is for ever, zero not at all.
    pub timeout: Option<Duration>,
    /// So much of it awake, giving way to other threads: for a thread that expects an answer soon.
    /// Waking it would cost more, and with a core that sleeps too a multiple.
    pub patience: Duration,
}

impl From<Option<Duration>> for Wait {
    fn from(timeout: Option<Duration>) -> Self {
        Self { timeout, patience: Duration::ZERO }
    }
}

/// Sizes of a [`Reactor`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Operations that can be queued between two system calls; more cost one more call.
    pub ring_entries: u32,
    /// Receive buffers shared by all connections; a power of two, at most 32768.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: u32,
    /// A connection with more than this unconsumed is not received from until it was consumed.
    /// At least the largest frame and one buffer, or a large frame never completes.
    pub input_bytes_max: usize,
    /// An outbox that held more than this reports [`Event::Drained`] when it is empty again.
    pub drained_above: usize,
    /// A connection closed after flush is given up when it has not got on for so long.
    pub close_stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let frame = limits::FRAME_BYTES_MAX_DEFAULT as usize;
        Self {
            ring_entries: 1024,
            buffers: 512,
            buffer_bytes: 4096,
            input_bytes_max: frame + (64 << 10),
            drained_above: 64 << 10,
            close_stall: Duration::from_millis(limits::CLOSE_STALL_MS_MAX),
        }
    }
}

/// What a [`Reactor`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes the kernel took for sending.
    pub bytes_out: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Receives stopped for want of a buffer: if it grows, [`Options::buffers`] is too small.
    pub enobufs: u64,
    /// Wakes by other threads.
    pub wakes: u64,
}
