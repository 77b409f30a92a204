//! What this server has on disk, how far its tree is behind, and what it can offer to learners.
//!
//! It outlives roles: what one role has logged is applied before the next one begins, so that log
//! and tree never differ when a leader or a learner sets out (ZOOKEEPER-2845, 4712, 5094).
//!
//! INVARIANT: appended in zxid order; applied in the same order, only what is durable; nothing is
//! voted with, or learned, while the disk owes an answer.

use std::collections::VecDeque;

use super::config::{Mutation, Mutations, Standing};
use super::{EpochRecord, Output, Proposal};
use crate::ids::{Epoch, Zxid};
use crate::limits::{RECENT_BYTES_HELD_MAX, RECENT_BYTES_MAX, UNFLUSHED_BYTES_MAX, UNFLUSHED_MAX};

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    accepted: Epoch,
    current: Epoch,
    last_logged: Zxid,
    durable: Zxid,
    last_applied: Zxid,
    /// Logged and not applied, in zxid order; the committed ones come first.
    unapplied: VecDeque<Proposal>,
    committed: usize,
    /// How many of `unapplied` are durable; the first ones.
    flushed: usize,
    /// Bytes of the others.
    unflushed_bytes: usize,
    /// Epochs on their way to the disk.
    persisting: VecDeque<EpochRecord>,
    /// A snapshot, or a cut, is being put in place.
    is_rebuilding: bool,
    /// The last one could not be, and no leader's history has come since.
    wants_snapshot: bool,
    recent: Recent,
    mutations: Mutations,
}

/// The end of what is applied, without a gap.
#[derive(Debug)]
struct Recent {
    proposals: VecDeque<Proposal>,
    bytes: usize,
    max: usize,
    /// Learners whose part of the history is being read from the log: what follows it must stay.
    holds: usize,
}

impl History {
    /// After a start: everything is durable and applied.
    pub(super) fn new(
        standing: Standing,
        recent: Vec<Proposal>,
        recent_max: usize,
        mutations: Mutations,
    ) -> Self {
        let Standing { accepted, current, last_logged } = standing;
        let mut history = Self {
            accepted,
            current,
            last_logged,
            durable: last_logged,
            last_applied: last_logged,
            unapplied: VecDeque::new(),
            committed: 0,
            flushed: 0,
            unflushed_bytes: 0,
            persisting: VecDeque::new(),
            is_rebuilding: false,
            wants_snapshot: false,
            recent: Recent { proposals: VecDeque::new(), bytes: 0, max: recent_max, holds: 0 },
            mutations,
        };
        for proposal in recent {
            assert!(proposal.zxid <= last_logged, "what is recent is in the log");
            history.recent.remember(proposal);
        }
        history
    }

    pub(super) const fn accepted(&self) -> Epoch {
        self.accepted
    }

    pub(super) const fn current(&self) -> Epoch {
        self.current
    }

    pub(super) const fn last_logged(&self) -> Zxid {
        self.last_logged
    }

    pub(super) const fn last_applied(&self) -> Zxid {
        self.last_applied
    }

    /// How many are logged and not applied.
    pub(super) fn unapplied(&self) -> usize {
        self.unapplied.len()
    }

    /// How many are logged and not durable.
    pub(super) fn unflushed(&self) -> usize {
        self.unapplied.len() - self.flushed
    }

    /// Whether the disk is so far behind that no more is to be taken.
    pub(super) fn is_far_behind(&self) -> bool {
        self.unflushed() >= UNFLUSHED_MAX || self.unflushed_bytes >= UNFLUSHED_BYTES_MAX
    }

    /// The last that a quorum has, as far as this server knows.
    pub(super) fn last_committed(&self) -> Zxid {
        match self.committed.checked_sub(1) {
            Some(place) => self.unapplied[place].zxid,
            None => self.last_applied,
        }
    }

    /// Committed txns in memory, ascending, without a gap, ending with the last.
    pub(super) fn committed(&self) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.recent.proposals.iter().chain(self.unapplied.iter().take(self.committed))
    }

    /// Logged, and not known to be committed, in zxid order.
    pub(super) fn uncommitted(&self) -> impl Iterator<Item = &Proposal> {
        self.unapplied.iter().skip(self.committed)
    }

    /// The one to be committed next.
    pub(super) fn oldest_uncommitted(&self) -> Option<Zxid> {
        self.unapplied.get(self.committed).map(|oldest| oldest.zxid)
    }

    pub(super) fn append(&mut self, proposal: Proposal, out: &mut Vec<Output>) {
        assert!(proposal.zxid > self.last_logged, "the log is in zxid order");
        self.last_logged = proposal.zxid;
        self.unflushed_bytes += proposal.record.len();
        self.unapplied.push_back(proposal.clone());
        out.push(Output::Append(proposal));
    }

    /// The log is flushed up to here; [`Self::apply`] is to follow.
    pub(super) fn flushed(&mut self, upto: Zxid) {
        assert!(upto <= self.last_logged, "the log holds only what it was given");
        self.durable = self.durable.max(upto);
        let mut bytes = 0;
        let is_flushed = |proposal: &&Proposal| proposal.zxid <= self.durable;
        for proposal in self.unapplied.range(self.flushed..).take_while(is_flushed) {
            self.flushed += 1;
            bytes += proposal.record.len();
        }
        self.no_longer_unflushed(bytes);
    }

    /// Not exact where a mutation has two of them change places.
    const fn no_longer_unflushed(&mut self, bytes: usize) {
        self.unflushed_bytes = self.unflushed_bytes.saturating_sub(bytes);
    }

    /// Whether all of the log is durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.durable == self.last_logged
    }

    /// A quorum has the oldest that is not committed; [`Self::apply`] is to follow.
    pub(super) fn commit(&mut self) -> &Proposal {
        let last = self.last_committed();
        let is_swapped = self.mutations.has(Mutation::CommitOutOfOrder)
            && self.committed + 1 < self.unapplied.len();
        if is_swapped {
            self.unapplied.swap(self.committed, self.committed + 1);
        }
        let proposal = self.unapplied.get(self.committed).expect("only what is logged");
        let is_next = proposal.zxid > last || self.mutations.has(Mutation::CommitOutOfOrder);
        assert!(is_next, "commits are in zxid order");
        self.committed += 1;
        proposal
    }

    /// Hands over what is both committed and durable.
    pub(super) fn apply(&mut self, out: &mut Vec<Output>) {
        let is_hasty = self.mutations.has(Mutation::ApplyUnflushed);
        while self.committed > 0 {
            let proposal =
                self.unapplied.pop_front_if(|first| first.zxid <= self.durable || is_hasty);
            let Some(proposal) = proposal else { return };
            self.committed -= 1;
            match self.flushed.checked_sub(1) {
                Some(others) => self.flushed = others,
                None => self.no_longer_unflushed(proposal.record.len()), // hasty
            }
            self.last_applied = proposal.zxid;
            self.recent.remember(proposal.clone());
            out.push(Output::Commit(proposal));
        }
    }

    pub(super) fn persist(&mut self, record: EpochRecord, out: &mut Vec<Output>) {
        self.persisting.push_back(record);
        out.push(Output::Persist(record));
    }

    pub(super) fn persisted(&mut self, record: EpochRecord) {
        assert_eq!(self.persisting.pop_front(), Some(record), "what was asked for");
        match record {
            EpochRecord::Accepted(epoch) => self.accepted = epoch,
            EpochRecord::Current(epoch) => {
                self.current = epoch;
                self.wants_snapshot = false; // a leader's history is here without one
            }
        }
    }

    /// A snapshot is awaited, or a cut.
    pub(super) fn begin_rebuilding(&mut self) {
        let is_settled = self.unapplied.is_empty() && self.is_flushed();
        let is_hasty = self.mutations.has(Mutation::LookUnsettled);
        assert!(is_settled || is_hasty, "a learner sets out settled");
        self.is_rebuilding = true;
    }

    /// It is in place. What is in memory is kept only if it was a cut of it.
    pub(super) fn rebuilt(&mut self, last: Zxid) {
        assert!(self.is_rebuilding, "nothing was to be rebuilt");
        self.is_rebuilding = false;
        self.wants_snapshot = false;
        self.forget_unapplied();
        self.recent.cut(last);
        self.last_logged = last;
        self.durable = last;
        self.last_applied = last;
    }

    fn forget_unapplied(&mut self) {
        self.unapplied.clear();
        (self.committed, self.flushed, self.unflushed_bytes) = (0, 0, 0);
    }

    /// Everything is as it was.
    pub(super) fn not_rebuilt(&mut self) {
        assert!(self.is_rebuilding, "nothing was to be rebuilt");
        self.is_rebuilding = false;
        self.wants_snapshot = true;
    }

    /// Whether only a snapshot can help: there is none that a cut could begin with.
    pub(super) const fn wants_snapshot(&self) -> bool {
        self.wants_snapshot
    }

    /// Whether a role may begin: the disk owes no answer.
    pub(super) fn is_settled(&self) -> bool {
        let is_flushed = self.is_flushed() || self.mutations.has(Mutation::LookUnsettled);
        is_flushed && self.persisting.is_empty() && !self.is_rebuilding
    }

    /// What was logged is this server's history now: the tree catches up with the log.
    ///
    /// Source: `ZKDatabase.fastForwardDataBase`.
    pub(super) fn settle(&mut self, out: &mut Vec<Output>) {
        self.recent.holds = 0;
        if self.mutations.has(Mutation::ForgetTail) {
            self.forget_unapplied();
            self.last_logged = self.last_applied;
            self.durable = self.last_applied;
            return;
        }
        self.committed = self.unapplied.len();
        self.apply(out);
    }

    /// Memory keeps what it has until it is released as often.
    pub(super) fn hold(&mut self) {
        self.recent.holds += 1;
    }

    pub(super) fn release(&mut self) {
        self.recent.holds = self.recent.holds.saturating_sub(1);
        self.recent.trim();
    }
}

impl Recent {
    fn remember(&mut self, proposal: Proposal) {
        if self.max > 0 {
            self.bytes += proposal.record.len();
            self.proposals.push_back(proposal);
            self.trim();
        }
    }

    fn trim(&mut self) {
        let is_held = self.holds > 0;
        let bytes_max = if is_held { RECENT_BYTES_HELD_MAX } else { RECENT_BYTES_MAX };
        while self.bytes > bytes_max || (!is_held && self.proposals.len() > self.max) {
            let Some(oldest) = self.proposals.pop_front() else { return };
            self.bytes -= oldest.record.len();
        }
    }

    /// After a cut the beginning is still there; after a snapshot nothing is known to be.
    fn cut(&mut self, last: Zxid) {
        while let Some(cut) = self.proposals.pop_back_if(|newest| newest.zxid > last) {
            self.bytes -= cut.record.len();
        }
        if self.proposals.back().is_some_and(|newest| newest.zxid != last) {
            self.proposals.clear();
            self.bytes = 0;
        }
    }
}
