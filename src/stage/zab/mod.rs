//! The zab stage: the one thread that orders and applies changes.
//!
//! Thread: `zab`, pinned. Owns: the protocol core, the changes in flight, the clock of sessions,
//! the write side of the tree's lock. In: asks of the shards; what the log holds. Out: appends for
//! the log; batches for the shards; orders for snapshots.
//! Never touches a client's socket or a file.
//!
//! INVARIANT: a batch is pushed before the write side of the tree's lock is let go, and room for it
//! is made sure of before that side is taken: a shard that should drain its queue may be waiting
//! for the read side.

mod chores;
mod commit;
mod intake;
mod sessions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::ids::{Millis, Zxid};
use crate::limits::{COMMITS_PER_TURN_MAX, INTAKE_PER_TURN_MAX};
use crate::metrics::Recorder;
use crate::net::{NetError, Reactor};
use crate::request::prepare::Preparer;
use crate::stage::control::Inquiry;
use crate::stage::log::LogAsk;
use crate::stage::message::{Ask, Batch};
use crate::stage::queue::{Receiver, Sender};
use crate::stage::shared::Shared;
use crate::stage::snapshot::SnapshotAsk;
use crate::zab::{Input, Output, Proposal, Zab};
use chores::Chores;
use commit::Pending;
use sessions::Sessions;

/// A turn pushes what the commits came to, and at its end the rest.
const BATCHES_PER_TURN: usize = 2;

/// How soon a turn that found a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// How long it sleeps when nothing can be proposed; the log wakes it before that.
const STALLED: Duration = Duration::from_secs(1);

/// What the zab stage is made of.
pub struct Parts {
    /// For sleeping; the ensemble's sockets come here.
    pub reactor: Reactor,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// From each shard.
    pub asks: Vec<Receiver<Ask>>,
    /// To each shard.
    pub batches: Vec<Sender<Batch>>,
    /// To the log thread.
    pub log: Sender<LogAsk>,
    /// From the log thread: the zxid up to which it holds everything.
    pub durable: Arc<AtomicI64>,
    /// To the snapshot thread.
    pub snapshots: std::sync::mpsc::SyncSender<SnapshotAsk>,
    /// From the control thread.
    pub inquiries: Receiver<Inquiry>,
}

/// The zab stage.
pub struct ZabStage {
    parts: Parts,
    recorder: Recorder,
    zab: Zab,
    preparer: Preparer,
    sessions: Sessions,
    chores: Chores,
    /// What each proposal in flight is to be answered with, in zxid order.
    pending: VecDeque<Pending>,
    /// Committed and not yet applied, in zxid order.
    committed: VecDeque<Proposal>,
    /// Bytes of the proposals in flight.
    bytes_in_flight: usize,
    /// For each shard, what this turn tells it.
    batches: Vec<Batch>,
    outputs: Vec<Output>,
    record: Vec<u8>,
    next_shard: usize,
    now: Millis,
    is_appending: bool,
    /// Batches were pushed since the shards' bells were last rung.
    told: bool,
    /// Digest mismatches seen so far.
    mismatches: u64,
}

impl ZabStage {
    /// A stage that leads an ensemble of one, whose tree has been recovered.
    pub fn standalone(parts: Parts, preparer: Preparer) -> Self {
        let shared = Arc::clone(&parts.shared);
        let (last, sessions) = {
            let tree = shared.tree.read();
            (tree.last_zxid(), Sessions::recovered(&shared, &tree))
        };
        let batches = parts.batches.iter().map(|_| Batch::default()).collect();
        Self {
            recorder: shared.metrics.recorder(),
            zab: Zab::standalone(last, &mut Vec::new()),
            preparer,
            sessions,
            chores: Chores::new(&shared.settings, last, shared.clock.now()),
            pending: VecDeque::new(),
            committed: VecDeque::new(),
            bytes_in_flight: 0,
            batches,
            outputs: Vec::new(),
            record: Vec::new(),
            next_shard: 0,
            now: Millis(0),
            is_appending: false,
            told: false,
            mismatches: 0,
            parts,
        }
    }

    /// Runs until the server stops and nothing is in flight any more.
    ///
    /// # Errors
    /// The ring's.
    pub fn run(mut self) -> Result<(), NetError> {
        let mut events = Vec::new();
        loop {
            let is_busy = self.turn();
            if !is_busy && self.parts.shared.is_stopping() && self.is_at_rest() {
                let _ = self.parts.log.push(LogAsk::Stop); // an empty queue has room
                self.parts.log.ring();
                return Ok(());
            }
            let timeout = if is_busy { Duration::ZERO } else { self.idle_for() };
            let can_commit = self.batches.len() == self.rooms();
            let can_take = can_commit && self.has_room();
            events.clear();
            let parts = &mut self.parts;
            let (asks, durable) = (&parts.asks, &parts.durable);
            let (inquiries, seen) = (&parts.inquiries, self.chores.durable_seen);
            // What a turn could do nothing with is no reason to stay awake.
            let ready = || {
                !inquiries.is_empty()
                    || can_commit && durable.load(Ordering::Acquire) != seen.0
                    || can_take && asks.iter().any(|queue| !queue.is_empty())
            };
            parts.reactor.turn_unless(Some(timeout), ready, &mut events)?;
        }
    }

    /// One turn: commit what is durable, take in what was asked, tell the log and the shards.
    /// True if there is more to do at once.
    fn turn(&mut self) -> bool {
        self.now = self.parts.shared.clock.now();
        self.answer_inquiries();
        let has_room = self.batches.len() == self.rooms();
        if !has_room {
            return false;
        }
        let durable = Zxid(self.parts.durable.load(Ordering::Acquire));
        if durable != self.chores.durable_seen {
            self.chores.durable_seen = durable;
            self.step(Input::Durable(durable));
        }
        self.apply_committed(COMMITS_PER_TURN_MAX);
        let taken = self.take_in(INTAKE_PER_TURN_MAX);
        self.close_dead_sessions();
        self.expire_sessions();
        self.do_chores();
        self.send();
        taken == INTAKE_PER_TURN_MAX || !self.committed.is_empty()
    }

    /// How many shards have room for a batch; only this thread pushes there.
    fn rooms(&self) -> usize {
        self.parts.batches.iter().filter(|queue| queue.room() >= BATCHES_PER_TURN).count()
    }

    fn step(&mut self, input: Input) {
        self.zab.step(self.now, input, &mut self.outputs);
        for output in self.outputs.drain(..) {
            match output {
                Output::Append(proposal) => {
                    let pushed = self.parts.log.push(LogAsk::Append(proposal));
                    assert!(pushed.is_ok(), "intake keeps the proposals in flight below its size");
                    self.is_appending = true;
                }
                Output::Commit(proposal) => self.committed.push_back(proposal),
                Output::Election(_)
                | Output::Listen
                | Output::Unlisten
                | Output::DialLeader { .. }
                | Output::Send(..)
                | Output::Close(..)
                | Output::Persist(_)
                | Output::Truncate { .. }
                | Output::ReceiveSnapshot { .. }
                | Output::SendSnapshot { .. }
                | Output::ReadLog { .. }
                | Output::Pass { .. }
                | Output::Serve { .. }
                | Output::Rest(_) => unreachable!("an ensemble of one has no peers"),
            }
        }
    }

    /// Hands the turn's batches to the shards and wakes whom it gave something.
    fn send(&mut self) {
        if std::mem::take(&mut self.is_appending) {
            self.parts.log.ring();
        }
        self.push_batches();
        self.ring_shards();
    }

    /// Before the write side of the tree's lock is let go, and at a turn's end.
    fn push_batches(&mut self) {
        for (batch, queue) in self.batches.iter_mut().zip(&self.parts.batches) {
            if !batch.entries.is_empty() {
                let pushed = queue.push(std::mem::take(batch));
                assert!(pushed.is_ok(), "a turn makes sure of room before it begins");
                self.told = true;
            }
        }
    }

    /// Wakes the shards, if they were given something.
    fn ring_shards(&mut self) {
        if std::mem::take(&mut self.told) {
            self.parts.batches.iter().for_each(Sender::ring);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.zab.outstanding() == 0
            && self.committed.is_empty()
            && self.parts.asks.iter().all(Receiver::is_empty)
    }

    fn idle_for(&self) -> Duration {
        if self.batches.len() != self.rooms() {
            return RETRY;
        }
        if self.room() == 0 {
            return STALLED; // what is due has to wait, for what the log says
        }
        let next = self.sessions.next_due().min(self.chores.next_due());
        let millis = u64::try_from(next.0 - self.now.0).unwrap_or(0).max(1);
        Duration::from_millis(millis)
    }
}
