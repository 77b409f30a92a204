//! LEADING: propose, count acks, commit in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::quorum::{AckSet, Quorum};
use super::{LinkId, Output, Proposal};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::Packet;

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
    /// Who is told of proposals and commits.
    learners: BTreeMap<LinkId, Membership>,
    /// Who waits for what was proposed before it asked, oldest first.
    syncs: VecDeque<(Zxid, LinkId)>,
}

/// How a learner takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Membership {
    /// Gets proposals and commits. It came with `FOLLOWERINFO`, with or without a vote.
    Participant,
    /// Gets informs.
    Observer,
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
            learners: BTreeMap::new(),
            syncs: VecDeque::new(),
        }
    }

    /// A learner gets the committed history up to `after` by a sync, and everything else from here
    /// on. To be called in the same step as the sync is decided, so that nothing falls between.
    ///
    /// Source: `Leader.startForwarding`.
    pub fn start_forwarding(
        &mut self,
        learner: LinkId,
        membership: Membership,
        out: &mut Vec<Output>,
    ) {
        self.learners.insert(learner, membership);
        if membership == Membership::Participant {
            let sent = self.outstanding.iter().map(|waiting| proposed(&waiting.proposal));
            out.extend(sent.map(|packet| Output::Send(learner, packet)));
        }
    }

    /// A learner's connection is gone; what it has acked it has on disk.
    pub fn stop_forwarding(&mut self, learner: LinkId) {
        self.learners.remove(&learner);
        self.syncs.retain(|(_, from)| *from != learner);
    }

    /// A learner's ack of one proposal.
    ///
    /// COMPAT: acks of an epoch's start, of what is committed, and of what was never proposed
    /// say nothing (`Leader.processAck`).
    pub fn on_ack(&mut self, from: ServerId, zxid: Zxid, out: &mut Vec<Output>) {
        let found = self.outstanding.binary_search_by_key(&zxid, |waiting| waiting.proposal.zxid);
        if let Ok(place) = found {
            self.quorum.ack(&mut self.outstanding[place].acks, from);
            self.commit_acked(out);
        }
    }

    /// A learner's `sync`: answered once what is proposed by now is committed.
    pub fn on_sync(&mut self, from: LinkId, out: &mut Vec<Output>) {
        self.syncs.push_back((self.last_proposed, from));
        self.answer_syncs(out);
    }

    fn answer_syncs(&mut self, out: &mut Vec<Output>) {
        while let Some((_, from)) =
            self.syncs.pop_front_if(|(upto, _)| *upto <= self.last_committed)
        {
            out.push(Output::Send(from, Packet::Sync));
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
        for (learner, membership) in &self.learners {
            if *membership == Membership::Participant {
                out.push(Output::Send(*learner, proposed(&proposal)));
            }
        }
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
            for (learner, membership) in &self.learners {
                let packet = match membership {
                    Membership::Participant => Packet::Commit { zxid: proposal.zxid },
                    Membership::Observer => informed(&proposal),
                };
                out.push(Output::Send(*learner, packet));
            }
            out.push(Output::Commit(proposal));
            self.answer_syncs(out);
        }
    }
}

fn proposed(Proposal { zxid, record }: &Proposal) -> Packet {
    Packet::Proposal { zxid: *zxid, record: Arc::clone(record) }
}

fn informed(Proposal { zxid, record }: &Proposal) -> Packet {
    Packet::Inform { zxid: *zxid, record: Arc::clone(record) }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Rule, Zab};
    use super::*;
    use crate::ids::Millis;

    const NOW: Millis = Millis(0);

    fn proposal(zxid: i64) -> Proposal {
        Proposal { zxid: Zxid(zxid), record: [0u8; 4].into() }
    }

    #[test]
    fn nothing_is_committed_before_it_is_durable() {
        let mut zab = Zab::standalone(Zxid(4), &mut Vec::new());
        let mut out = Vec::new();
        for zxid in 5..=7 {
            assert_eq!(zab.next_zxid().unwrap(), Zxid(zxid));
            zab.step(NOW, Input::Propose(proposal(zxid)), &mut out);
        }
        assert_eq!(out, (5..=7).map(|zxid| Output::Append(proposal(zxid))).collect::<Vec<_>>());
        out.clear();
        zab.step(NOW, Input::Durable(Zxid(4)), &mut out);
        assert_eq!(out, []);
        zab.step(NOW, Input::Durable(Zxid(6)), &mut out);
        assert_eq!(out, [Output::Commit(proposal(5)), Output::Commit(proposal(6))]);
        assert_eq!(zab.outstanding(), 1);
    }

    /// A leader of 1, 2, 3 and 4 that has proposed 5 to 7, with 1 as a follower and 9 observing.
    fn ensemble() -> (Leader, Vec<Output>) {
        let quorum = Quorum::new(Rule::majority((1..=4).map(ServerId)).unwrap());
        let mut leader = Leader::new(ServerId(3), quorum, Zxid(4));
        let mut out = Vec::new();
        leader.start_forwarding(LinkId(1), Membership::Participant, &mut out);
        leader.start_forwarding(LinkId(9), Membership::Observer, &mut out);
        for zxid in 5..=7 {
            leader.propose(proposal(zxid), &mut out);
            let sent = Output::Send(LinkId(1), proposed(&proposal(zxid)));
            assert_eq!(std::mem::take(&mut out), [Output::Append(proposal(zxid)), sent]);
        }
        (leader, out)
    }

    fn committed(zxid: i64, followers: &[u64]) -> Vec<Output> {
        let told = |id: &u64| Output::Send(LinkId(*id), Packet::Commit { zxid: Zxid(zxid) });
        let mut out: Vec<_> = followers.iter().map(told).collect();
        out.push(Output::Send(LinkId(9), informed(&proposal(zxid))));
        out.push(Output::Commit(proposal(zxid)));
        out
    }

    #[test]
    fn a_quorum_of_disks_commits_in_order_and_each_ack_is_of_one_proposal() {
        let (mut leader, mut out) = ensemble();
        leader.start_forwarding(LinkId(2), Membership::Participant, &mut out);
        let caught_up = |zxid| Output::Send(LinkId(2), proposed(&proposal(zxid)));
        assert_eq!(std::mem::take(&mut out), [5, 6, 7].map(caught_up), "what is outstanding");
        leader.on_durable(Zxid(6), &mut out);
        leader.on_ack(ServerId(2), Zxid(6), &mut out);
        for (from, zxid) in [(1, 6), (1, 6), (9, 5), (99, 5), (1, 0), (1, 4), (1, 8)] {
            leader.on_ack(ServerId(from), Zxid(zxid), &mut out);
        }
        assert_eq!(out, [], "6 has a quorum, and 5 has not");
        leader.on_ack(ServerId(1), Zxid(5), &mut out);
        assert_eq!(out, [], "half of four voters");
        leader.on_ack(ServerId(2), Zxid(5), &mut out);
        assert_eq!(out, [committed(5, &[1, 2]), committed(6, &[1, 2])].concat());
        out.clear();
        leader.on_ack(ServerId(1), Zxid(7), &mut out);
        leader.stop_forwarding(LinkId(1));
        leader.on_ack(ServerId(2), Zxid(7), &mut out);
        assert_eq!(out, [], "the leader's own disk has not");
        leader.on_durable(Zxid(7), &mut out);
        assert_eq!(out, committed(7, &[2]), "what a learner had on disk still counts");
    }

    #[test]
    fn a_sync_waits_for_what_was_proposed_before_it() {
        let (mut leader, mut out) = ensemble();
        leader.on_sync(LinkId(1), &mut out);
        leader.on_sync(LinkId(9), &mut out);
        leader.stop_forwarding(LinkId(9));
        leader.on_durable(Zxid(7), &mut out);
        for (zxid, is_answered) in [(5, false), (6, false), (7, true)] {
            for from in [1, 2] {
                leader.on_ack(ServerId(from), Zxid(zxid), &mut out);
            }
            let answer = Output::Send(LinkId(1), Packet::Sync);
            assert_eq!(out.contains(&answer), is_answered, "{zxid}");
        }
        out.clear();
        leader.on_sync(LinkId(1), &mut out);
        assert_eq!(out, [Output::Send(LinkId(1), Packet::Sync)], "nothing is outstanding");
    }

    #[test]
    fn a_spent_counter_opens_the_next_epoch() {
        let zab = Zab::standalone(Zxid::new(Epoch(0), u32::MAX), &mut Vec::new());
        assert_eq!(zab.next_zxid().unwrap(), Zxid::new(Epoch(1), 1));
    }

    #[test]
    #[should_panic(expected = "zxids leave no gap")]
    fn a_gap_is_a_bug() {
        Zab::standalone(Zxid(4), &mut Vec::new()).step(
            NOW,
            Input::Propose(proposal(6)),
            &mut Vec::new(),
        );
    }

    #[test]
    #[should_panic(expected = "only what was proposed")]
    fn the_log_cannot_know_more_than_it_was_given() {
        Zab::standalone(Zxid(4), &mut Vec::new()).step(
            NOW,
            Input::Durable(Zxid(5)),
            &mut Vec::new(),
        );
    }
}
