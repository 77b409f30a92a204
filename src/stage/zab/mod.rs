//! The zab stage: the one thread that orders and applies changes.
//!
//! Thread: `zab`, pinned. Owns: the protocol core, the changes in flight, the clock of sessions,
//! the write side of the tree's lock; in an ensemble also the sockets of its peers. In: asks of
//! the shards; what the log holds; packets. Out: appends for the log; batches for the shards;
//! orders for snapshots; packets. Never touches a client's socket or a file.
//!
//! INVARIANT: a batch is pushed before the write side of the tree's lock is let go, and room for it
//! is made sure of before that side is taken: a shard that should drain its queue may be waiting
//! for the read side.
//! INVARIANT: the core's outputs are carried out in their order; one that has to wait makes all
//! behind it wait.

mod chores;
mod commit;
mod ensemble;
mod gather;
mod intake;
mod latency;
mod outputs;
mod pace;
mod reap;
mod role;
mod sessions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::ids::{Millis, Zxid};
use crate::limits::{
    COMMITS_PER_TURN_MAX, DURABLE_PATIENCE_US_MAX, INTAKE_PER_TURN_MAX, NEXT_PATIENCE_US_MAX,
    PATIENT_PROPOSALS_MAX,
};
use crate::metrics::{Counter, Recorder};
use crate::net::{Event, NetError, Reactor, Wait};
use crate::request::prepare::{PrepareConfig, Preparer};
use crate::stage::complaints::Complaints;
use crate::stage::control::Inquiry;
use crate::stage::log::LogAsk;
use crate::stage::message::{Ask, Batch};
use crate::stage::queue::{Receiver, Sender};
use crate::stage::shared::Shared;
use crate::stage::snapshot::SnapshotAsk;
use crate::stage::storage::recover::Cost;
use crate::wire::chunk::Chunk;
use crate::zab::{Input, Output, Proposal, Zab};
use chores::Chores;
use commit::Awaited;
use ensemble::Member;
pub use ensemble::MemberParts;
use ensemble::learners::LearnerAsks;
use gather::Gather;
use intake::Next;
use role::Role;
use sessions::Sessions;

/// A turn pushes what the commits came to, and at its end the rest.
const BATCHES_PER_TURN: usize = 2;

/// How soon a turn that found a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// How long it stays awake for the log to say that a proposal is durable.
const DURABLE_PATIENCE: Duration = Duration::from_micros(DURABLE_PATIENCE_US_MAX);

/// How long it stays awake for the next proposal, when the last in flight was committed.
const NEXT_PATIENCE: Duration = Duration::from_micros(NEXT_PATIENCE_US_MAX);

/// How long it sleeps when nothing can be proposed; it is woken before that.
const STALLED_MS: i64 = 1000;

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
    /// The log thread and a shard run on the core of this thread.
    pub shares_core: bool,
    /// From the log thread: the zxid up to which it holds everything.
    pub durable: Arc<AtomicI64>,
    /// To the snapshot thread.
    pub snapshots: std::sync::mpsc::SyncSender<SnapshotAsk>,
    /// Txns that the recovery found behind the snapshot.
    pub behind_snapshot: u64,
    /// What it took.
    pub recovery: Cost,
    /// From the control thread.
    pub inquiries: Receiver<Inquiry>,
    /// How requests become txns.
    pub prepare: PrepareConfig,
    /// The number that this server's session ids begin with.
    pub session_server: u8,
}

/// The zab stage.
pub struct ZabStage {
    parts: Parts,
    recorder: Recorder,
    zab: Zab,
    role: Role,
    /// What only a member of an ensemble has.
    member: Option<Box<Member>>,
    preparer: Preparer,
    sessions: Sessions,
    chores: Chores,
    /// What is to be answered when.
    awaited: Awaited,
    /// What learners ask of this leader, in order.
    learner_asks: LearnerAsks,
    /// The next asks, at most [`ASKS_AT_ONCE_MAX`] and one, already out of their queues.
    ///
    /// [`ASKS_AT_ONCE_MAX`]: crate::limits::ASKS_AT_ONCE_MAX
    at_hand: VecDeque<Next>,
    /// Committed and not yet applied, in zxid order.
    committed: VecDeque<Proposal>,
    /// Bytes of the proposals in flight.
    bytes_in_flight: usize,
    /// For each shard, what this turn tells it.
    batches: Vec<Batch>,
    /// What the core wants done and is not done yet.
    outputs: VecDeque<Output>,
    /// Where the core puts it.
    fresh: Vec<Output>,
    is_carrying_out: bool,
    record: Vec<u8>,
    /// Where records are kept.
    chunk: Chunk,
    next_shard: usize,
    now: Millis,
    /// The wall clock as of this turn: what its txns are stamped with.
    wall: Millis,
    is_appending: bool,
    gather: Gather,
    /// Batches were pushed since the shards' bells were last rung.
    told: bool,
    /// Digest mismatches seen so far.
    mismatches: u64,
    /// Of quotas.
    complaints: Complaints,
}

impl ZabStage {
    /// A stage that leads an ensemble of one, whose tree has been recovered.
    pub fn standalone(parts: Parts) -> Self {
        let last = parts.shared.tree.read().last_zxid();
        let mut fresh = Vec::new();
        let zab = Zab::standalone(last, &mut fresh);
        Self::new(parts, zab, fresh, None)
    }

    /// A member of an ensemble, which looks for its leader.
    pub fn member(parts: Parts, member: MemberParts) -> Self {
        let mut fresh = Vec::new();
        let now = parts.shared.clock.now();
        let (member, zab) = Member::new(member, &parts.reactor, now, &mut fresh);
        Self::new(parts, zab, fresh, Some(Box::new(member)))
    }

    fn new(parts: Parts, zab: Zab, fresh: Vec<Output>, member: Option<Box<Member>>) -> Self {
        let shared = Arc::clone(&parts.shared);
        let (last, mismatches) = {
            let tree = shared.tree.read();
            (tree.last_zxid(), tree.digest_mismatches().0)
        };
        let recorder = shared.metrics.recorder();
        recorder.add(Counter::DigestMismatchesCount, mismatches); // those of the recovery
        parts.recovery.count(&recorder);
        let (server, settings) = (parts.session_server, &shared.settings);
        let has_local = member.is_some() && settings.local_sessions;
        Self {
            recorder,
            zab,
            role: Role::Resting,
            member,
            preparer: Preparer::new(parts.prepare.clone()),
            sessions: Sessions::new(server, settings.tick_time_ms, has_local),
            chores: Chores::new(settings, last, parts.behind_snapshot, shared.clock.now()),
            awaited: Awaited::default(),
            learner_asks: LearnerAsks::default(),
            at_hand: VecDeque::new(),
            committed: VecDeque::new(),
            bytes_in_flight: 0,
            batches: parts.batches.iter().map(|_| Batch::default()).collect(),
            outputs: fresh.into(),
            fresh: Vec::new(),
            is_carrying_out: false,
            record: Vec::new(),
            chunk: Chunk::default(),
            next_shard: 0,
            now: shared.clock.now(),
            wall: crate::clock::wall(),
            is_appending: false,
            gather: Gather::new(parts.shares_core),
            told: false,
            mismatches,
            complaints: Complaints::default(),
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
            let before = self.zab.outstanding();
            let is_busy = self.turn(&mut events);
            let was_stopping = self.parts.shared.is_stopping();
            if !is_busy && was_stopping && self.is_at_rest() && self.stop_log() {
                // Learners hear what clients were told.
                return self.parts.reactor.turn(Some(Duration::ZERO), &mut events);
            }
            let timeout = Some(if is_busy { Duration::ZERO } else { self.idle_for() });
            let patience = patience(before, self.zab.outstanding());
            let can_commit = self.batches.len() == self.rooms();
            let can_take = can_commit && self.has_room();
            let gathers = !was_stopping && self.gathers();
            let is_rebuilding = self.is_rebuilding();
            let parts = &mut self.parts;
            let (asks, durable, shared) = (&parts.asks, &parts.durable, &parts.shared);
            let (inquiries, seen) = (&parts.inquiries, self.chores.durable_seen);
            let (member, has_at_hand) = (self.member.as_deref(), !self.at_hand.is_empty());
            // What a turn could do nothing with is no reason to stay awake.
            let ready = || {
                !inquiries.is_empty()
                    || can_commit && !is_rebuilding && durable.load(Ordering::Acquire) != seen.0
                    || can_take && (has_at_hand || asks.iter().any(|queue| !queue.is_empty()))
                    || member.is_some_and(Member::is_ready)
                    || !was_stopping && shared.is_stopping()
            };
            if gathers && self.gather.give_way(&parts.shared.clock) {
                let has_come = parts.reactor.look(&mut events)?;
                if has_come || ready() {
                    continue;
                }
            }
            self.gather.end();
            parts.reactor.turn_unless(Wait { timeout, patience }, ready, &mut events)?;
        }
    }

    /// Whether it gives way before it sends, as a leader under load does.
    fn gathers(&self) -> bool {
        self.member.is_some()
            && matches!(self.role, Role::Ordering)
            && self.parts.reactor.has_unsent()
            && self.gather.is_worth_it(self.zab.outstanding(), self.parts.shared.clock.elapsed())
    }

    /// One turn: hear the peers, commit what is durable, take in what was asked, tell the log, the
    /// peers and the shards. True if there is more to do at once.
    fn turn(&mut self, events: &mut Vec<Event>) -> bool {
        self.now = self.parts.shared.clock.now();
        self.wall = crate::clock::wall();
        self.turn_now(events)
    }

    fn turn_now(&mut self, events: &mut Vec<Event>) -> bool {
        self.answer_inquiries();
        self.hear_returning();
        self.attend(events);
        let has_room = self.batches.len() == self.rooms();
        if !has_room {
            self.ring_log();
            self.finish_attending();
            return false;
        }
        let durable = Zxid(self.parts.durable.load(Ordering::Acquire));
        if durable != self.chores.durable_seen && !self.is_rebuilding() {
            self.chores.durable_seen = durable;
            self.step(Input::Durable(durable));
        }
        self.apply_committed(COMMITS_PER_TURN_MAX);
        self.carry_out(); // what waited for the tree
        let taken = self.take_in(INTAKE_PER_TURN_MAX);
        self.close_dead_sessions();
        self.expire_local();
        match self.role {
            Role::ReadOnly => self.expire_readers(),
            Role::Ordering | Role::Forwarding(_) | Role::Resting => self.expire_sessions(),
        }
        self.do_chores();
        self.send();
        let more = self.finish_attending();
        more || taken == INTAKE_PER_TURN_MAX || !self.committed.is_empty()
    }

    /// How many shards have room for a batch; only this thread pushes there.
    fn rooms(&self) -> usize {
        self.parts.batches.iter().filter(|queue| queue.room() >= BATCHES_PER_TURN).count()
    }

    /// Hands the turn's batches to the shards and wakes whom it gave something.
    fn send(&mut self) {
        self.ring_log();
        self.push_batches();
        self.ring_shards();
    }

    /// Wakes the log thread, if it was given something.
    fn ring_log(&mut self) {
        if std::mem::take(&mut self.is_appending) {
            self.parts.log.ring();
        }
    }

    /// Before the write side of the tree's lock is let go, and at a turn's end.
    fn push_batches(&mut self) {
        for (batch, queue) in self.batches.iter_mut().zip(&self.parts.batches) {
            if !batch.entries.is_empty() {
                let next = Batch::after(batch);
                let pushed = queue.push(std::mem::replace(batch, next));
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

    /// A member does not wait for its quorum to stop, nor for room to ask it for more: its clients
    /// try another.
    fn is_at_rest(&self) -> bool {
        let is_idle = || self.zab.outstanding() == 0 && !self.has_asks();
        self.committed.is_empty() && (self.member.is_some() || is_idle())
    }

    /// Tells the log thread that nothing more comes: it would wait for ever. False while there is
    /// no room to say so, as a member stops with its queue as full as it is; tried again until the
    /// control thread's patience with the end is over, or that thread has ended by itself.
    fn stop_log(&self) -> bool {
        let is_told = self.parts.log.push(LogAsk::Stop).is_ok();
        self.parts.log.ring();
        is_told || self.parts.shared.has_failed()
    }

    fn idle_for(&self) -> Duration {
        let cannot_stop = self.parts.shared.is_stopping() && self.parts.log.room() == 0;
        if cannot_stop || self.batches.len() != self.rooms() {
            return RETRY;
        }
        let mut next = self.member_due().min(self.sessions.local_due());
        if self.can_propose() {
            next = next.min(self.sessions.next_due()).min(self.chores.next_due());
        } else {
            // What is due has to wait for what the log, or a leader, says.
            next = next.min(Millis(self.now.0 + STALLED_MS));
        }
        let millis = u64::try_from(next.0 - self.now.0).unwrap_or(0).max(1);
        Duration::from_millis(millis)
    }
}

/// How long the wait after a turn is awake, by the proposals in flight before the turn and after
/// it. Once for each time that the last is committed: a thread without writes sleeps.
fn patience(before: usize, after: usize) -> Duration {
    match (before, after) {
        (_, 1..=PATIENT_PROPOSALS_MAX) => DURABLE_PATIENCE,
        (1..=PATIENT_PROPOSALS_MAX, 0) => NEXT_PATIENCE,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_awake_while_a_few_are_in_flight_and_just_after() {
        const MANY: usize = PATIENT_PROPOSALS_MAX + 1;
        let cases = [
            ("few are in flight", 0, 1, DURABLE_PATIENCE),
            ("few are left", MANY, 1, DURABLE_PATIENCE),
            ("many are in flight", 1, MANY, Duration::ZERO),
            ("the last of a few was committed", 1, 0, NEXT_PATIENCE),
            ("many were committed at once", MANY, 0, Duration::ZERO),
            ("nothing goes on", 0, 0, Duration::ZERO),
        ];
        for (what, before, after, expected) in cases {
            assert_eq!(patience(before, after), expected, "{what}");
        }
    }
}
