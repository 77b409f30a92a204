//! LEADING: propose, count acks, commit in order.

use std::collections::VecDeque;

use super::quorum::{AckSet, Quorum};
use super::{Output, Proposal};
use crate::ids::{Epoch, ServerId, Zxid};

/// A leader's proposals from the first uncommitted one on.
#[derive(Debug)]
pub struct Leader {
    me: ServerId,
    quorum: Quorum,
    /// Proposed and not committed, in zxid order.
    outstanding: VecDeque<Outstanding>,
    last_proposed: Zxid,
    last_committed: Zxid,
    /// What this server's own log has reported.
    durable: Zxid,
}

#[derive(Debug)]
struct Outstanding {
    proposal: Proposal,
    acks: AckSet,
}

impl Leader {
    /// `me` as the leader of `quorum` (of itself alone, so far) whose history ends at `last`.
    pub(super) fn new(me: ServerId, quorum: Quorum, last: Zxid) -> Self {
        Self {
            me,
            quorum,
            outstanding: VecDeque::new(),
            last_proposed: last,
            last_committed: last,
            durable: last,
        }
    }

    /// A spent counter opens the next epoch: alone, there is nobody to agree on it with.
    pub(super) fn next_zxid(&self) -> Zxid {
        let Epoch(epoch) = self.last_proposed.epoch();
        self.last_proposed.next().unwrap_or(Zxid::new(Epoch(epoch + 1), 1))
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn propose(&mut self, proposal: Proposal, out: &mut Vec<Output>) {
        assert_eq!(proposal.zxid, self.next_zxid(), "zxids leave no gap");
        self.last_proposed = proposal.zxid;
        out.push(Output::Append(proposal.clone()));
        self.outstanding.push_back(Outstanding { proposal, acks: AckSet::default() });
    }

    /// The only place where this server acks its own proposals, so no ack can overtake the disk.
    pub(super) fn on_durable(&mut self, upto: Zxid, out: &mut Vec<Output>) {
        assert!(upto <= self.last_proposed, "the log holds only what was proposed");
        assert!(upto >= self.durable, "the log does not shrink");
        self.durable = upto;
        for waiting in &mut self.outstanding {
            if waiting.proposal.zxid > upto {
                break;
            }
            self.quorum.ack(&mut waiting.acks, self.me);
        }
        self.commit_acked(out);
    }

    fn commit_acked(&mut self, out: &mut Vec<Output>) {
        while self.outstanding.front().is_some_and(|first| self.quorum.is_met(first.acks)) {
            let Some(Outstanding { proposal, .. }) = self.outstanding.pop_front() else { return };
            assert!(proposal.zxid > self.last_committed, "commits are in zxid order");
            self.last_committed = proposal.zxid;
            out.push(Output::Commit(proposal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Zab};
    use super::*;

    fn proposal(zxid: i64) -> Proposal {
        Proposal { zxid: Zxid(zxid), record: [0u8; 4].into() }
    }

    #[test]
    fn nothing_is_committed_before_it_is_durable() {
        let mut zab = Zab::standalone(Zxid(4));
        let mut out = Vec::new();
        for zxid in 5..=7 {
            assert_eq!(zab.next_zxid(), Zxid(zxid));
            zab.step(Input::Propose(proposal(zxid)), &mut out);
        }
        assert_eq!(out, (5..=7).map(|zxid| Output::Append(proposal(zxid))).collect::<Vec<_>>());
        out.clear();
        zab.step(Input::Durable(Zxid(4)), &mut out);
        assert_eq!(out, []);
        zab.step(Input::Durable(Zxid(6)), &mut out);
        assert_eq!(out, [Output::Commit(proposal(5)), Output::Commit(proposal(6))]);
        assert_eq!(zab.outstanding(), 1);
    }

    #[test]
    fn a_spent_counter_opens_the_next_epoch() {
        let zab = Zab::standalone(Zxid::new(Epoch(0), u32::MAX));
        assert_eq!(zab.next_zxid(), Zxid::new(Epoch(1), 1));
    }

    #[test]
    #[should_panic(expected = "zxids leave no gap")]
    fn a_gap_is_a_bug() {
        Zab::standalone(Zxid(4)).step(Input::Propose(proposal(6)), &mut Vec::new());
    }

    #[test]
    #[should_panic(expected = "only what was proposed")]
    fn the_log_cannot_know_more_than_it_was_given() {
        Zab::standalone(Zxid(4)).step(Input::Durable(Zxid(5)), &mut Vec::new());
    }
}
