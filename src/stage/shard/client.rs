//! One connection as its shard sees it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::throttle::Stall;
use crate::ids::{Millis, Xid, Zxid};
use crate::request::access::Identity;
use crate::request::order::Order;
use crate::stage::message::SessionCell;
use crate::wire::OpCode;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Accepted; its first four bytes may be a word.
    Fresh,
    /// Waits for the answer to a four-letter word.
    Word,
    /// Its connect request is with the zab thread.
    Connecting,
    /// It has a session.
    Open,
    /// Nothing it sends is looked at any more.
    Closing,
}

/// Whether more is to come from a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stream {
    /// It may.
    Open,
    /// No: once all it sent is dealt with, it is closed.
    Ended,
    /// No, and nobody hears what is read for it.
    Broken,
}

/// A write that is with the zab thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) xid: Xid,
    pub(super) op: OpCode,
    pub(super) bytes: usize,
    pub(super) at_us: u64,
}

/// Counters of one connection, for `cons`.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) established: Millis,
    pub(super) timeout_ms: i32,
    pub(super) received: u64,
    pub(super) sent: Cell<u64>,
    pub(super) last_op: Option<OpCode>,
    pub(super) last_cxid: i32,
    pub(super) last_zxid: i64,
    pub(super) last_response_ms: i64,
    pub(super) last_latency_us: u64,
    pub(super) min_latency_us: u64,
    pub(super) max_latency_us: u64,
    pub(super) latency_us_sum: u64,
    pub(super) latencies: u64,
}

impl Tally {
    pub(super) fn new(established: Millis) -> Self {
        Self {
            established,
            timeout_ms: 0,
            received: 0,
            sent: Cell::new(0),
            last_op: None,
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_us: 0,
            min_latency_us: u64::MAX,
            max_latency_us: 0,
            latency_us_sum: 0,
            latencies: 0,
        }
    }

    /// `crst`: as if it had just connected.
    pub(super) fn reset(&mut self) {
        let fresh = Self::new(self.established);
        *self = Self { timeout_ms: self.timeout_ms, ..fresh };
    }

    /// A packet of any kind went out.
    pub(super) fn told(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    pub(super) fn replied(
        &mut self,
        op: OpCode,
        xid: Xid,
        zxid: Zxid,
        latency_us: u64,
        now: Millis,
    ) {
        self.told();
        self.last_op = Some(op);
        self.last_cxid = xid.0;
        self.last_zxid = zxid.0;
        self.last_response_ms = now.0;
        self.last_latency_us = latency_us;
        self.min_latency_us = self.min_latency_us.min(latency_us);
        self.max_latency_us = self.max_latency_us.max(latency_us);
        self.latency_us_sum += latency_us;
        self.latencies += 1;
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) session: Option<Arc<SessionCell>>,
    /// Who it is: its address, and what it authenticated as. Replaced as a whole.
    pub(super) identities: Arc<[Identity]>,
    pub(super) order: Order,
    /// Writes with the zab thread, oldest first.
    pub(super) asked: VecDeque<Asked>,
    /// It is in the list of connections to serve.
    pub(super) is_ready: bool,
    /// Its socket is not read: it has too much waiting for it.
    pub(super) is_paused: bool,
    /// Its next write waits for the number of those in flight to fall.
    pub(super) is_held: bool,
    pub(super) stream: Stream,
    /// Since when the requests that may go on now have waited for a write of their connection.
    pub(super) waiting_since_us: Option<u64>,
    /// Its next request waits for a crowd to pass, or did.
    pub(super) stall: Option<Stall>,
    /// Events appended since its outbox was last short.
    pub(super) event_bytes: usize,
    pub(super) tally: Tally,
}

impl Client {
    pub(super) fn new(peer: SocketAddr, identities: Arc<[Identity]>, now: Millis) -> Self {
        Self {
            peer,
            phase: Phase::Fresh,
            session: None,
            identities,
            order: Order::default(),
            asked: VecDeque::new(),
            is_ready: false,
            is_paused: false,
            is_held: false,
            stream: Stream::Open,
            waiting_since_us: None,
            stall: None,
            event_bytes: 0,
            tally: Tally::new(now),
        }
    }
}
