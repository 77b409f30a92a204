//! One election, from the first vote to the last.
//! Source: `FastLeaderElection.lookForLeader`.

use std::collections::BTreeMap;

use super::{Ballot, FINALIZE_WAIT_MS, Rules, UNINITIALIZED};
use crate::ids::{Millis, Round, ServerId};
use crate::wire::election::{PeerState, Vote};

/// The form of votes whose message's form is not kept.
const NO_VERSION: i32 = 0;

/// What has been heard in one election; both lists have an entry per voter at most.
#[derive(Debug)]
pub(super) struct Looking {
    /// Of a server that has heard of nobody.
    own: Vote,
    proposal: Vote,
    /// Votes of this round.
    received: BTreeMap<ServerId, Ballot>,
    /// What servers say that follow or lead, of whatever round (`outofelection`).
    established: BTreeMap<ServerId, Ballot>,
    interval_ms: i64,
    deadline: Millis,
    /// A quorum is for the proposal, and better votes are waited for.
    is_final: bool,
}

/// What a notification came to.
pub(super) enum Verdict {
    /// It was counted, or does not count.
    Nothing,
    /// Its leader is no voter.
    UnknownLeader,
    /// There is something to tell everybody.
    NewProposal,
    /// There is a leader already.
    Found(Vote),
}

impl Looking {
    pub(super) fn new(own: Vote, interval_ms: i64, now: Millis) -> Self {
        Self {
            own,
            proposal: own,
            received: BTreeMap::new(),
            established: BTreeMap::new(),
            interval_ms,
            deadline: after(now, interval_ms),
            is_final: false,
        }
    }

    pub(super) const fn proposal(&self) -> Vote {
        self.proposal
    }

    pub(super) const fn deadline(&self) -> Millis {
        self.deadline
    }

    /// The proposal, if it is what a quorum wants.
    pub(super) fn final_vote(&self) -> Option<Vote> {
        self.is_final.then_some(self.proposal)
    }

    /// Whether a voter is for the proposal.
    pub(super) fn is_for_it(&self, voter: ServerId) -> bool {
        self.received.get(&voter).is_some_and(|ballot| ballot.vote == self.proposal)
    }

    /// Nobody was heard: doubles the interval.
    pub(super) fn lengthen(&mut self, interval_ms_max: i64, now: Millis) -> i64 {
        self.interval_ms = self.interval_ms.saturating_mul(2).min(interval_ms_max);
        self.deadline = after(now, self.interval_ms);
        self.interval_ms
    }

    /// Counts a voter's notification.
    ///
    /// What does not count moves no deadline: in Java any message does, so a peer that talks
    /// nonsense keeps it from telling its vote again, or from deciding.
    pub(super) fn count(
        &mut self,
        rules: &Rules,
        round: &mut Round,
        from: ServerId,
        ballot: Ballot,
        now: Millis,
    ) -> Verdict {
        if !rules.quorum.is_voter(ballot.vote.leader) {
            return Verdict::UnknownLeader;
        }
        let is_relevant = match ballot.state {
            PeerState::Looking => {
                let has_data = ![self.own.zxid, ballot.vote.zxid].contains(&UNINITIALIZED);
                has_data && ballot.vote.round >= *round
            }
            PeerState::Following | PeerState::Leading => true,
            PeerState::Observing => false,
        };
        // COMPAT: once there is a quorum only a better vote counts; all else is dropped, but that
        // nothing better is to be expected of who wants the same.
        let is_better = rules.is_better(ballot.vote, self.proposal);
        if !is_relevant || (self.is_final && !is_better) {
            if is_relevant && ballot.vote == self.proposal {
                self.received.insert(from, Ballot { version: NO_VERSION, ..ballot });
            }
            return Verdict::Nothing;
        }
        self.is_final = false;
        self.deadline = after(now, self.interval_ms);
        if ballot.state == PeerState::Looking {
            self.count_looking(rules, round, from, ballot, now)
        } else {
            self.count_decided(rules, *round, from, ballot)
        }
    }

    fn count_looking(
        &mut self,
        rules: &Rules,
        round: &mut Round,
        from: ServerId,
        ballot: Ballot,
        now: Millis,
    ) -> Verdict {
        let vote = ballot.vote;
        let is_new_round = vote.round > *round;
        if is_new_round {
            *round = vote.round;
            self.received.clear();
        }
        let against = if is_new_round { self.own } else { self.proposal };
        let is_better = rules.is_better(vote, against);
        let chosen = if is_better { vote } else { against };
        self.proposal = Vote { round: *round, ..chosen };
        self.received.insert(from, Ballot { version: NO_VERSION, ..ballot });
        if has_quorum(rules, &self.received, Ballot { vote: self.proposal, ..ballot }) {
            self.is_final = true;
            self.deadline = after(now, FINALIZE_WAIT_MS);
        }
        if is_new_round || is_better { Verdict::NewProposal } else { Verdict::Nothing }
    }

    fn count_decided(
        &mut self,
        rules: &Rules,
        round: Round,
        from: ServerId,
        ballot: Ballot,
    ) -> Verdict {
        let is_followed = |votes: &BTreeMap<ServerId, Ballot>| {
            has_quorum(rules, votes, ballot) && has_leader(rules.me, votes, ballot.vote, round)
        };
        if ballot.vote.round == round {
            // COMPAT: the form is not kept, so within a round only the leader is compared.
            self.received.insert(from, Ballot { version: NO_VERSION, ..ballot });
            if is_followed(&self.received) {
                return Verdict::Found(ballot.vote);
            }
        }
        // Apart from this round's: members of one ensemble may have joined it in different rounds
        // (ZOOKEEPER-1732).
        self.established.insert(from, ballot);
        if is_followed(&self.established) {
            return Verdict::Found(ballot.vote);
        }
        Verdict::Nothing
    }
}

fn after(now: Millis, ms: i64) -> Millis {
    Millis(now.0.saturating_add(ms))
}

fn has_quorum(rules: &Rules, votes: &BTreeMap<ServerId, Ballot>, ballot: Ballot) -> bool {
    let same = votes.iter().filter(|(_, vote)| is_same(**vote, ballot));
    rules.quorum.is_met_by(same.map(|(voter, _)| *voter))
}

/// Votes of servers that look agree in everything; members of an ensemble agree in their leader
/// and its epoch, as they may have joined it with different zxids and rounds.
///
/// Source: `Vote.equals` (ZOOKEEPER-1732, 1805).
pub(super) fn is_same(one: Ballot, other: Ballot) -> bool {
    if [one.state, other.state].contains(&PeerState::Looking) {
        return one.vote == other.vote;
    }
    let is_mixed = (one.version > 0) != (other.version > 0);
    one.vote.leader == other.vote.leader && (is_mixed || one.vote.epoch == other.vote.epoch)
}

/// Whether the leader says that it leads; nobody follows one that may be gone.
///
/// Source: `FastLeaderElection.checkLeader`.
fn has_leader(me: ServerId, votes: &BTreeMap<ServerId, Ballot>, vote: Vote, round: Round) -> bool {
    if vote.leader == me {
        return vote.round == round;
    }
    votes.get(&vote.leader).is_some_and(|ballot| ballot.state == PeerState::Leading)
}
