//! One connection as its shard sees it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::throttle::Stall;
use crate::ids::{Millis, Xid, Zxid};
use crate::request::access::Identity;
use crate::request::order::{Lane, Order};
use crate::stage::control::LastOp;
use crate::stage::message::SessionCell;
use crate::wire::{OpCode, frame};

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
    pub(super) last_op: LastOp,
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
            last_op: LastOp::None,
            last_cxid: 0,
            last_zxid: 0,
            last_response_ms: 0,
            last_latency_us: 0,
            min_latency_us: u64::MAX,
            max_latency_us: 0,
            latency_us_sum: 0,
            latencies: 0,
        }
    }

    /// `crst`. COMPAT: what has just connected is at 0, and this is below it
    /// (`ServerCnxn.resetStats`).
    pub(super) fn reset(&mut self) {
        *self = Self {
            timeout_ms: self.timeout_ms,
            last_op: LastOp::Forgotten,
            last_cxid: -1,
            last_zxid: -1,
            ..Self::new(self.established)
        };
    }

    /// A packet of any kind went out.
    pub(super) fn told(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    /// A request was answered. COMPAT: a ping has a number below 0, and does not hide that of the
    /// client's last request (`ServerCnxn.updateStatsForResponse`).
    pub(super) fn replied(
        &mut self,
        op: OpCode,
        xid: Xid,
        zxid: Zxid,
        latency_us: u64,
        now: Millis,
    ) {
        self.told();
        self.last_op = LastOp::Op(op);
        if xid.0 >= 0 {
            self.last_cxid = xid.0;
        }
        self.last_zxid = zxid.0;
        self.last_response_ms = now.0;
        self.last_latency_us = latency_us;
        self.min_latency_us = self.min_latency_us.min(latency_us);
        self.max_latency_us = self.max_latency_us.max(latency_us);
        self.latency_us_sum += latency_us;
        self.latencies += 1;
    }
}

/// What was heard of a client: whole requests touch its session, when they come and not when their
/// turn does. The bytes of one that is not complete do not (`ZooKeeperServer.submitRequestNow`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ear {
    /// A request was heard since the session was last touched.
    is_due: bool,
    /// Bytes of whole requests in the input that wait for their turn and were heard.
    waiting_bytes: usize,
}

impl Ear {
    /// A request is being dealt with, so what waits is counted anew. COMPAT: auth and sasl touch no
    /// session (`ZooKeeperServer.processPacket`).
    pub(super) fn hear(&mut self, lane: Lane) {
        self.waiting_bytes = 0;
        self.is_due |= lane != Lane::Aside;
    }

    /// Nothing of the input can be dealt with now; what came whole is heard all the same.
    pub(super) fn hear_waiting(&mut self, input: &[u8], frame_bytes_max: u32) {
        if self.is_due {
            return; // looked at again when nothing else was heard
        }
        let mut bytes = self.waiting_bytes;
        while let Some(rest) = input.get(bytes..)
            && let Ok(Some((body, _))) = frame::split(rest, frame_bytes_max)
        {
            bytes += frame::LENGTH_BYTES + body.len();
        }
        self.is_due = bytes > self.waiting_bytes;
        self.waiting_bytes = bytes;
    }

    /// The turn is over: whoever was heard in it lives on.
    pub(super) fn touch(&mut self, session: Option<&SessionCell>, now: Millis) {
        if std::mem::take(&mut self.is_due)
            && let Some(cell) = session
        {
            cell.touch(now);
        }
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
    /// Since when it waits for a session that is to be made.
    pub(super) session_asked_at_us: Option<u64>,
    /// Writes with the zab thread, oldest first.
    pub(super) asked: VecDeque<Asked>,
    /// It is in the list of connections to serve.
    pub(super) is_ready: bool,
    /// Its requests wait: it has too much to read.
    pub(super) is_paused: bool,
    /// Its next write waits for the number of those in flight to fall.
    pub(super) is_held: bool,
    pub(super) stream: Stream,
    /// Since when the requests that may go on now have waited for a write of their connection.
    pub(super) waiting_since_us: Option<u64>,
    /// What touches its session.
    pub(super) ear: Ear,
    /// Its next request waits for a crowd to pass, or did.
    pub(super) stall: Option<Stall>,
    /// Events appended since its outbox was last short.
    pub(super) event_bytes: usize,
    /// It has asked for a session that would live until then, and may wait for it as long. Before
    /// it has asked it is 0.
    pub(super) patient_until: Millis,
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
            session_asked_at_us: None,
            asked: VecDeque::new(),
            is_ready: false,
            is_paused: false,
            is_held: false,
            stream: Stream::Open,
            waiting_since_us: None,
            ear: Ear::default(),
            stall: None,
            event_bytes: 0,
            patient_until: Millis(0),
            tally: Tally::new(now),
        }
    }

    /// It has asked for a session, and still listens.
    pub(super) fn is_patient(&self, now: Millis) -> bool {
        self.patient_until > now && self.stream == Stream::Open && self.phase != Phase::Closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;

    /// Whether the session was touched in the turn that is over.
    fn is_touched(ear: &mut Ear) -> bool {
        let cell = SessionCell::new(SessionId(1), Millis(5));
        ear.touch(Some(&cell), Millis(6));
        cell.last_heard() == Millis(6)
    }

    #[test]
    fn a_ping_does_not_hide_the_last_cxid() {
        let mut tally = Tally::new(Millis(1));
        let seen = |tally: &Tally| (tally.last_op, tally.last_cxid, tally.last_zxid);
        assert_eq!(seen(&tally), (LastOp::None, 0, 0));
        // op, xid, the cxid behind it
        let replies = [
            (OpCode::CreateSession, Xid(0), 0),
            (OpCode::Create, Xid(7), 7),
            (OpCode::Ping, Xid::PING, 7),
            (OpCode::SetWatches, Xid(-8), 7),
            (OpCode::GetData, Xid(8), 8),
        ];
        for (op, xid, cxid) in replies {
            tally.replied(op, xid, Zxid(3), 0, Millis(2));
            assert_eq!(seen(&tally), (LastOp::Op(op), cxid, 3));
        }
        tally.reset();
        assert_eq!(seen(&tally), (LastOp::Forgotten, -1, -1));
        tally.replied(OpCode::Ping, Xid::PING, Zxid(4), 0, Millis(3));
        assert_eq!(seen(&tally), (LastOp::Op(OpCode::Ping), -1, 4));
    }

    #[test]
    fn whole_requests_that_wait_are_heard_once_and_pieces_are_not() {
        let mut ear = Ear::default();
        let one = [0, 0, 0, 2, 7, 7];
        let two = [one, one].concat();
        // input, whether it is news
        let turns: [(&[u8], bool); 9] = [
            (&[], false),
            (&one[..3], false),
            (&one[..5], false),
            (&one, true),
            (&two[..8], false),
            (&two[..11], false),
            (&two, true),
            (&two, false),
            (&[0xff; 4], false),
        ];
        for (input, is_news) in turns {
            ear.hear_waiting(input, 1000);
            assert_eq!(is_touched(&mut ear), is_news, "{input:?}");
        }
        ear.hear(Lane::Write);
        ear.hear_waiting(&one, 1000);
        assert!(is_touched(&mut ear));
        ear.hear_waiting(&two[..10], 1000);
        assert!(is_touched(&mut ear), "the input starts elsewhere since one was dealt with");
    }

    #[test]
    fn a_request_touches_the_session_at_the_end_of_its_turn() {
        let mut ear = Ear::default();
        ear.hear(Lane::Aside);
        assert!(!is_touched(&mut ear), "auth is no request");
        ear.hear(Lane::Read);
        ear.hear(Lane::Aside);
        assert!(is_touched(&mut ear));
        assert!(!is_touched(&mut ear), "once");
    }
}
