//! The requests of one session: which go out, which replies come in. Knows no socket and no clock.
//!
//! Replies come in the order of the requests, so what is in flight is a queue, and each reply's xid
//! is checked against its head.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use ringkeeper::ids::Xid;
use ringkeeper::wire::client::ReplyHeader;
use ringkeeper::wire::frame::FrameLengthError;
use ringkeeper::wire::request::Request;
use ringkeeper::wire::{DecodeError, ErrorCode, Reader, frame};

use super::connection::{Credentials, REPLY_BYTES_MAX};
use super::pacing::Window;
use super::template::{self, Templates};
use super::workload::{Chooser, Kind};
use crate::report::tally::{Sample, Tally};

/// Bytes written at a time; the rest of what is due follows in the next write.
const OUT_BYTES_MAX: usize = 256 << 10;
/// Requests due that wait in one session; more wait in the schedule.
const DUE_MAX: usize = 65_536;

/// What all sessions of a run share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Znodes that a load has taken.
    pub(crate) loaded: AtomicU64,
    /// Requests counted against `--ops`.
    pub(crate) issued: AtomicU64,
    /// Replies, for the progress line.
    pub(crate) done: AtomicU64,
}

/// Requests that an open loop has made due for one session.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    dues: RefCell<VecDeque<u64>>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Inbox {
    /// `false`: there is no room.
    pub(crate) fn push(&self, due: u64) -> bool {
        let mut dues = self.dues.borrow_mut();
        if dues.len() == DUE_MAX {
            return false;
        }
        dues.push_back(due);
        true
    }

    /// No more will be due.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn listen(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dues.borrow().is_empty()
    }
}

/// When a session's requests are due.
#[derive(Debug)]
pub(crate) enum Pace {
    /// As soon as there is room in flight.
    Closed,
    /// When the schedule says so.
    Open(Rc<Inbox>),
}

/// How a session behaves; the same for all of a run.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) in_flight_max: usize,
    pub(crate) ops: Option<u64>,
    pub(crate) timeout_ns: u64,
    pub(crate) ping_ns: u64,
    pub(crate) templates: Arc<Templates>,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    xid: Xid,
    kind: Kind,
    due: u64,
    sent: u64,
}

/// Bytes from the server that are not what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReplyFault {
    Length(FrameLengthError),
    Malformed(DecodeError),
    Order { expected: Option<Xid>, found: Xid },
}

impl fmt::Display for ReplyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Order { expected, found } => {
                write!(f, "a reply to xid {} where {expected:?} is next", found.0)
            }
        }
    }
}

/// One session's requests.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u32,
    rules: Rules,
    pace: Pace,
    chooser: Chooser,
    pub(crate) credentials: Credentials,
    window: Window,
    in_flight: VecDeque<Flight>,
    xid: Xid,
    last_sent: u64,
    /// Nothing more is to be asked.
    exhausted: bool,
    /// When to stop waiting for anything.
    give_up: u64,
}

impl Lane {
    pub(crate) fn new(number: u32, rules: Rules, pace: Pace, chooser: Chooser) -> Self {
        Self {
            number,
            rules,
            pace,
            chooser,
            credentials: Credentials::NEW,
            window: Window { open: u64::MAX, start: u64::MAX, end: u64::MAX },
            in_flight: VecDeque::new(),
            xid: Xid(0),
            last_sent: 0,
            exhausted: false,
            give_up: u64::MAX,
        }
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    pub(crate) const fn begin(&mut self, window: Window) {
        self.window = window;
        self.last_sent = window.open;
        self.give_up = window.end.saturating_add(self.rules.timeout_ns);
    }

    /// Ask nothing more, and wait for what is in flight only so long.
    pub(crate) fn finish(&mut self, now: u64, tally: &mut Tally) {
        self.exhausted = true;
        self.give_up = self.give_up.min(now.saturating_add(self.rules.timeout_ns));
        self.drop_dues(tally);
    }

    /// Whether nothing is in flight and nothing will be.
    pub(crate) fn is_done(&self, now: u64) -> bool {
        self.in_flight.is_empty() && self.is_spent(now)
    }

    fn is_spent(&self, now: u64) -> bool {
        self.exhausted
            || match &self.pace {
                Pace::Closed => now >= self.window.end,
                Pace::Open(inbox) => inbox.closed.get() && inbox.is_empty(),
            }
    }

    /// Requests are due that have not been sent.
    pub(crate) fn has_due(&self) -> bool {
        match &self.pace {
            Pace::Closed => false,
            Pace::Open(inbox) => {
                !inbox.is_empty() && self.in_flight.len() < self.rules.in_flight_max
            }
        }
    }

    pub(crate) fn listen(&self, waker: &Waker) {
        if let Pace::Open(inbox) = &self.pace {
            inbox.listen(waker);
        }
    }

    /// Appends the frames of all requests that are due and have room in flight.
    pub(crate) fn fill(&mut self, now: u64, out: &mut Vec<u8>) {
        while self.in_flight.len() < self.rules.in_flight_max && out.len() < OUT_BYTES_MAX {
            let Some(due) = self.next_due(now) else { break };
            if self.rules.ops.is_some_and(|ops| self.window.counts(due) && self.overspends(ops)) {
                self.exhausted = true;
                break;
            }
            let Some(ask) = self.chooser.next(&self.rules.shared.loaded) else {
                self.exhausted = true;
                break;
            };
            self.xid = Xid(if self.xid.0 == i32::MAX { 1 } else { self.xid.0 + 1 });
            self.rules.templates.stamp(out, self.xid, self.number, ask);
            self.sent(Flight { xid: self.xid, kind: ask.kind(), due, sent: now });
        }
        let idle_ns = now.saturating_sub(self.last_sent);
        if self.in_flight.is_empty() && idle_ns >= self.rules.ping_ns {
            template::append(out, Xid::PING, &Request::Ping);
            self.sent(Flight { xid: Xid::PING, kind: Kind::Ping, due: now, sent: now });
        }
    }

    fn overspends(&self, ops: u64) -> bool {
        self.rules.shared.issued.fetch_add(1, Ordering::Relaxed) >= ops
    }

    fn sent(&mut self, flight: Flight) {
        self.last_sent = flight.sent;
        self.in_flight.push_back(flight);
    }

    fn next_due(&self, now: u64) -> Option<u64> {
        if self.exhausted {
            return None;
        }
        match &self.pace {
            Pace::Closed => (self.window.open <= now && now < self.window.end).then_some(now),
            Pace::Open(inbox) => inbox.dues.borrow_mut().pop_front(),
        }
    }

    /// Takes the whole frames at the head of `input`; returns how many bytes they were.
    pub(crate) fn on_input(
        &mut self,
        input: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Result<usize, ReplyFault> {
        let mut rest = input;
        let mut replies = 0;
        while let Some((body, after)) =
            frame::split(rest, REPLY_BYTES_MAX).map_err(ReplyFault::Length)?
        {
            let header =
                ReplyHeader::decode(&mut Reader::new(body)).map_err(ReplyFault::Malformed)?;
            self.on_reply(header, now, tally)?;
            replies += 1;
            rest = after;
        }
        self.rules.shared.done.fetch_add(replies, Ordering::Relaxed);
        Ok(input.len() - rest.len())
    }

    fn on_reply(
        &mut self,
        header: ReplyHeader,
        now: u64,
        tally: &mut Tally,
    ) -> Result<(), ReplyFault> {
        if header.zxid > self.credentials.last_zxid {
            self.credentials.last_zxid = header.zxid;
        }
        if header.xid == Xid::NOTIFICATION {
            return Ok(()); // nobody here sets a watch, but a session taken over may have some
        }
        // One that is not answered stays: it is lost with the others.
        let flight = self.in_flight.pop_front_if(|flight| flight.xid == header.xid);
        let Some(Flight { kind, due, sent, .. }) = flight else {
            let expected = self.in_flight.front().map(|flight| flight.xid);
            return Err(ReplyFault::Order { expected, found: header.xid });
        };
        if !self.window.counts(due) {
            return Ok(());
        }
        if header.err != ErrorCode::Ok.to_wire() {
            tally.error(kind, header.err);
            return Ok(());
        }
        match self.pace {
            Pace::Closed => tally.record(kind, now - due),
            Pace::Open(_) => tally.record_due(Sample { kind, due, sent, done: now }),
        }
        Ok(())
    }

    /// When to look again, should nothing come before.
    pub(crate) fn deadline(&self) -> u64 {
        let next = match self.in_flight.front() {
            Some(oldest) => oldest.sent.saturating_add(self.rules.timeout_ns),
            None => self.last_sent.saturating_add(self.rules.ping_ns),
        };
        next.min(self.give_up)
    }

    /// Whether the oldest request, or the whole session, has waited too long.
    pub(crate) fn is_late(&self, now: u64) -> bool {
        now >= self.give_up
            || self
                .in_flight
                .front()
                .is_some_and(|oldest| oldest.sent.saturating_add(self.rules.timeout_ns) <= now)
    }

    /// The connection is gone, and with it the replies to what was in flight.
    pub(crate) fn on_lost(&mut self, now: u64, tally: &mut Tally) {
        for flight in self.in_flight.drain(..) {
            let late = flight.sent.saturating_add(self.rules.timeout_ns) <= now;
            let code = if late { ErrorCode::OperationTimeout } else { ErrorCode::ConnectionLoss };
            if self.window.counts(flight.due) {
                tally.error(flight.kind, code.to_wire());
            }
        }
        if now >= self.give_up {
            self.exhausted = true;
            self.drop_dues(tally);
        }
    }

    fn drop_dues(&self, tally: &mut Tally) {
        if let Pace::Open(inbox) = &self.pace {
            let mut dues = inbox.dues.borrow_mut();
            tally.unsent += dues.drain(..).filter(|due| self.window.counts(*due)).count() as u64;
        }
    }
}

#[cfg(test)]
mod tests;
