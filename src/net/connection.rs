//! One TCP peer: its socket, its input, its outbox, and the states of its life.
//!
//! Thread: the reactor's. The state only; what follows from it is in `traffic.rs`.
//!
//! What an idle connection costs: this struct and its slab entry, no buffer and no vector: 138
//! bytes of resident memory, measured with 9,000; and in the kernel some 4 KiB for the socket and
//! its armed receive.
//!
//! ```text
//! Connecting --connected--> Open; --refused, time, close--> Dead
//! Open --close(AfterFlush)--> Flushing --all sent, FIN--> Draining --FIN, limit or time--> Dead
//!   |  --close(Now | Reset)-----------------------------------------------------------> Dead
//!   '--reset by the peer--> Dying (its input is readable until the next turn) ---------> Dead
//! ```
//! INVARIANT: a slot is freed when it is `Dead` and no operation on it is in flight.

use std::mem;
use std::os::fd::OwnedFd;

use super::ConnectionId;
use super::buffer::{Lent, Pool};
use super::ring::{Ring, SendKey};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    /// Being made by us.
    Connecting,
    Open,
    /// Sends what it has; what arrives is thrown away.
    Flushing,
    /// Has sent the end of the stream and waits for the peer's; throws away at most so many bytes
    /// more.
    Draining {
        bytes_left: u32,
    },
    /// Broke in this turn, and `Closed` was said.
    Dying,
    /// Only waits for its operations to end.
    Dead,
}

/// The receive operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Receive {
    Idle,
    Armed,
    /// Being cancelled; more may still arrive.
    Stopping,
}

/// Bytes received and not consumed: all in a lent buffer, or all in a vector.
#[derive(Debug, Default)]
pub(super) struct Input {
    lent: Option<Lent>,
    spill: Vec<u8>,
    /// Bytes of it that are consumed.
    start: usize,
}

impl Input {
    pub(super) fn len(&self) -> usize {
        self.lent.as_ref().map_or(self.spill.len(), Lent::len) - self.start
    }

    pub(super) fn bytes<'a>(&'a self, ring: &'a Ring) -> &'a [u8] {
        let all = self.lent.as_ref().map_or(self.spill.as_slice(), |lent| ring.bytes(lent));
        &all[self.start..]
    }

    /// Adds a received buffer: kept as it is if there is nothing before it, else copied.
    /// Whether it was kept.
    pub(super) fn append(&mut self, lent: Lent, ring: &mut Ring, pool: &mut Pool) -> bool {
        if self.len() == 0 {
            self.clear(ring, pool);
            self.lent = Some(lent);
            return true;
        }
        self.settle(ring, pool);
        if self.start >= self.spill.len() - self.start {
            // No more is moved than was consumed, so this stays linear in what is received.
            self.spill.drain(..self.start);
            self.start = 0;
        }
        self.spill.extend_from_slice(ring.bytes(&lent));
        ring.give_back(lent);
        false
    }

    /// Copies what is left of a lent buffer, so that the buffer can be received into again.
    pub(super) fn settle(&mut self, ring: &mut Ring, pool: &mut Pool) {
        let Some(lent) = self.lent.take() else { return };
        self.spill = pool.take();
        self.spill.extend_from_slice(&ring.bytes(&lent)[self.start..]);
        self.start = 0;
        ring.give_back(lent);
    }

    pub(super) fn consume(&mut self, bytes: usize, ring: &mut Ring, pool: &mut Pool) {
        assert!(bytes <= self.len(), "only what was received can be consumed");
        self.start += bytes;
        if self.len() == 0 {
            self.clear(ring, pool);
        }
    }

    pub(super) fn clear(&mut self, ring: &mut Ring, pool: &mut Pool) {
        if let Some(lent) = self.lent.take() {
            ring.give_back(lent);
        }
        pool.give(mem::take(&mut self.spill));
        self.start = 0;
    }
}

/// One TCP peer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, one byte each")]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) socket: OwnedFd,
    pub(super) life: Life,
    pub(super) receive: Receive,
    /// The owner wants no input for now.
    pub(super) paused: bool,
    /// There is too much input already.
    pub(super) choked: bool,
    /// The peer sends no more.
    pub(super) ended: bool,
    /// The connect is in flight.
    pub(super) connecting: bool,
    /// The send in flight.
    pub(super) sending: Option<SendKey>,
    /// Is on the list of those whose outbox was asked for.
    pub(super) dirty: bool,
    /// Holds or held more than `drained_above`; `Drained` is owed.
    pub(super) above: bool,
    /// While closing: has got on since its deadline was set.
    pub(super) progressed: bool,
    /// Cancellations in flight.
    pub(super) cancels: u8,
    /// The turn in which `Received` was said last.
    pub(super) announced: u32,
    pub(super) input: Input,
    /// Fills while another one is in flight.
    pub(super) outbox: Vec<u8>,
    /// Bytes of the one in flight that the kernel has not taken.
    pub(super) unsent: usize,
}

const _: () = assert!(size_of::<Connection>() <= 128, "idle connections are many");

impl Connection {
    pub(super) fn new(id: ConnectionId, socket: OwnedFd) -> Self {
        Self {
            id,
            socket,
            life: Life::Open,
            receive: Receive::Idle,
            paused: false,
            choked: false,
            ended: false,
            connecting: false,
            sending: None,
            dirty: false,
            above: false,
            progressed: false,
            cancels: 0,
            announced: 0,
            input: Input::default(),
            outbox: Vec::new(),
            unsent: 0,
        }
    }

    /// Whether bytes of the peer are welcome.
    pub(super) fn wants_input(&self) -> bool {
        !self.ended
            && match self.life {
                Life::Open => !self.paused && !self.choked,
                Life::Flushing | Life::Draining { .. } => true,
                Life::Connecting | Life::Dying | Life::Dead => false,
            }
    }

    /// Whether its id still means something.
    pub(super) fn is_alive(&self) -> bool {
        match self.life {
            Life::Connecting | Life::Open | Life::Flushing | Life::Draining { .. } => true,
            Life::Dying | Life::Dead => false,
        }
    }

    /// Whether no operation names its slot.
    pub(super) fn is_quiet(&self) -> bool {
        self.receive == Receive::Idle
            && !self.connecting
            && self.sending.is_none()
            && self.cancels == 0
    }

    pub(super) fn outbox_bytes(&self) -> usize {
        self.outbox.len() + self.unsent
    }

    /// Gives up its memory.
    pub(super) fn release(&mut self, ring: &mut Ring, pool: &mut Pool) {
        self.input.clear(ring, pool);
        pool.give(mem::take(&mut self.outbox));
    }
}
