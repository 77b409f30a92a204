//! LOOKING: who is to lead.
//!
//! `FastLeaderElection` as a function of its inputs: notifications, time, connections that come
//! and go. It votes while this server looks for a leader, and answers those who look when it does
//! not. Driven by the zab thread; it never sees a socket, a configuration's text or a txn.
//!
//! INVARIANT: a server decides for a candidate only if a quorum of voters wants the same in the
//! same round, and nobody better is heard of for [`FINALIZE_WAIT_MS`], or can be: all other voters
//! want the same or were lost; or if a quorum follows a leader that says itself that it leads.

mod looking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Mutation, Mutations, Quorum};
use crate::ids::{Epoch, Millis, Round, ServerId, Zxid};
use crate::limits::{REDIAL_INTERVAL_MS, STRANGER_ANSWER_INTERVAL_MS, STRANGERS_MAX};
use crate::wire::election::{Notification, PeerState, Vote};
use looking::{Looking, Verdict};

/// How long a server with a quorum waits for a better vote.
pub const FINALIZE_WAIT_MS: i64 = 200;

/// The zxid of a server that must not take part: its data is gone (ZOOKEEPER-261).
pub const UNINITIALIZED: Zxid = Zxid(-1);

/// A notification but for the configuration's text, which the stage adds and takes off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ballot {
    /// What the sender is doing.
    pub state: PeerState,
    /// Its vote.
    pub vote: Vote,
    /// Of the message's form.
    pub version: i32,
}

impl From<&Notification<'_>> for Ballot {
    fn from(from: &Notification<'_>) -> Self {
        Self { state: from.state, vote: from.vote, version: from.version }
    }
}

/// Who votes how: fixed while a configuration lasts.
#[derive(Clone, Debug)]
pub struct Rules {
    /// This server.
    pub me: ServerId,
    /// Whether this server learns without a vote (`peerType=observer`).
    pub is_observer: bool,
    /// The configuration's, and the next one's.
    pub quorum: Quorum,
    /// How soon a vote is sent again (`fastleader.minNotificationInterval`, 200).
    pub interval_ms_min: i64,
    /// How seldom, at most (`fastleader.maxNotificationInterval`, 60 000).
    pub interval_ms_max: i64,
    /// Bugs put back on purpose.
    pub mutations: Mutations,
}

impl Rules {
    /// Signed comparison of epoch, zxid, id, in this order; one of weight 0 is never better.
    fn is_better(&self, new: Vote, than: Vote) -> bool {
        let counts = !self.mutations.has(Mutation::VoteWithoutEpoch);
        let key = |vote: Vote| (counts.then_some(vote.epoch), vote.zxid, vote.leader);
        self.quorum.committed().weight(new.leader) != 0 && key(new) > key(than)
    }

    /// The vote of a server that has heard of nobody. One without a vote wants nobody.
    fn own(&self, history: History, round: Round) -> Vote {
        const LAST: i64 = i64::MIN;
        let is_voter = self.quorum.committed().voters().binary_search(&self.me).is_ok();
        let leader = if is_voter { self.me } else { ServerId(LAST) };
        let (zxid, epoch) = if self.is_observer {
            (Zxid(LAST), Epoch(LAST))
        } else {
            (history.last_logged, history.epoch)
        };
        Vote { leader, zxid, round, epoch }
    }
}

/// The end of this server's log, every byte of it durable: what it stands for election with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// [`UNINITIALIZED`] if the data is gone.
    pub last_logged: Zxid,
    /// The last leader's whose history it has.
    pub epoch: Epoch,
}

/// What the election wants done, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// To a peer that is connected. A newer one may replace one that is not yet on its way.
    Send {
        /// To whom.
        to: ServerId,
        /// What.
        ballot: Ballot,
    },
    /// A voter is not connected: dial it, unless that is being done.
    Dial(ServerId),
    /// Nobody was heard for an interval; the next one is longer.
    TimedOut {
        /// The next one.
        interval_ms: i64,
    },
    /// A peer is for a leader that is no voter here: configurations differ.
    UnknownLeader {
        /// Who.
        from: ServerId,
        /// For whom.
        leader: ServerId,
    },
    /// The election is over: start in this role, under this vote.
    Decided {
        /// FOLLOWING, LEADING or OBSERVING.
        state: PeerState,
        /// The leader's.
        vote: Vote,
    },
}

/// Which end keeps a connection: the one with the greater id dials. A dialer that learns it is
/// the smaller closes, and is dialed back.
pub fn is_kept(dialer: ServerId, acceptor: ServerId) -> bool {
    dialer > acceptor
}

/// This server's part in elections, from its start to its end.
#[derive(Debug)]
pub struct Election {
    rules: Rules,
    /// Counts this server's elections, and catches up with those of others.
    round: Round,
    /// The last election's outcome: what others are told while this server does not look.
    current: Vote,
    phase: Phase,
    connected: BTreeSet<ServerId>,
    /// Voters that were connected and are not any more.
    lost: BTreeSet<ServerId>,
    /// When servers without a vote were last answered.
    strangers: BTreeMap<ServerId, Millis>,
    /// What is to be counted: this server's own votes take their turn behind what came before.
    inbox: VecDeque<(ServerId, Ballot)>,
    /// When voters that are not connected are dialed again.
    redial_at: Millis,
}

#[derive(Debug)]
enum Phase {
    Looking(Looking),
    Decided(PeerState),
    /// Between a role's end and the next election.
    Resting,
}

impl Election {
    /// A server that starts, and looks for a leader at once.
    pub fn new(rules: Rules, history: History, now: Millis, out: &mut Vec<Output>) -> Self {
        let current = Vote {
            leader: rules.me,
            zxid: history.last_logged,
            round: Round(-1),
            epoch: history.epoch,
        };
        let own = rules.own(history, Round(1));
        let mut election = Self {
            phase: Phase::Looking(Looking::new(own, rules.interval_ms_min, now)),
            rules,
            round: Round(1),
            current,
            connected: BTreeSet::new(),
            lost: BTreeSet::new(),
            strangers: BTreeMap::new(),
            inbox: VecDeque::new(),
            redial_at: Millis(now.0.saturating_add(REDIAL_INTERVAL_MS)),
        };
        election.tell_all(out);
        election.count(now, out);
        election
    }

    /// The role has ended, and this server does not look yet: nobody is answered, and what others
    /// say waits until it does. So nobody is told of a leader that this server has left.
    pub fn rest(&mut self) {
        self.phase = Phase::Resting;
    }

    /// The role has ended: looks again.
    pub fn look(&mut self, history: History, now: Millis, out: &mut Vec<Output>) {
        self.round = Round(self.round.0.saturating_add(1));
        let own = self.rules.own(history, self.round);
        self.phase = Phase::Looking(Looking::new(own, self.rules.interval_ms_min, now));
        self.tell_all(out);
        self.count(now, out);
    }

    /// The leader is established in `epoch`: all of its learners tell so (ZOOKEEPER-1805).
    ///
    /// Source: `QuorumPeer.updateElectionVote`.
    pub fn establish(&mut self, epoch: Epoch) {
        self.current.epoch = epoch;
    }

    /// A peer's notification.
    pub fn on_notification(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        if !self.rules.quorum.is_voter(from) {
            return self.answer_stranger(from, now, out);
        }
        let is_looking = ballot.state == PeerState::Looking;
        match &self.phase {
            Phase::Decided(state) if is_looking => {
                let ballot = answer(*state, self.current);
                self.send(from, ballot, out);
            }
            Phase::Decided(_) => {}
            // The last word of each voter is enough.
            Phase::Resting => {
                self.inbox.retain(|(voter, _)| *voter != from);
                self.inbox.push_back((from, ballot));
            }
            Phase::Looking(looking) => {
                if is_looking && self.falls_behind(ballot.vote, looking.proposal()) {
                    let ballot = answer(PeerState::Looking, looking.proposal());
                    self.send(from, ballot, out);
                }
                self.inbox.push_back((from, ballot));
                self.count(now, out);
            }
        }
    }

    /// Whether who votes so is to be told what this server proposes: it is in an older round, or
    /// has heard of nobody better in this one. It may have begun to look only after this server had
    /// told everybody; Java leaves it to wait for a time-out then.
    fn falls_behind(&self, vote: Vote, proposal: Vote) -> bool {
        vote.round < self.round || vote.round == self.round && self.rules.is_better(proposal, vote)
    }

    /// A connection to a peer stands, or replaces another.
    ///
    /// COMPAT: Java sends its last message again, however old (`QuorumCnxManager.SendWorker`);
    /// this server sends what it wants now.
    pub fn on_connected(&mut self, peer: ServerId, out: &mut Vec<Output>) {
        self.connected.insert(peer);
        self.lost.remove(&peer);
        if let Phase::Looking(looking) = &self.phase
            && self.rules.quorum.is_voter(peer)
        {
            let ballot = answer(PeerState::Looking, looking.proposal());
            self.send(peer, ballot, out);
        }
    }

    /// The connection is gone; it is dialed again when there is something to say.
    pub fn on_disconnected(&mut self, peer: ServerId, out: &mut Vec<Output>) {
        self.connected.remove(&peer);
        if self.rules.quorum.is_voter(peer) {
            self.lost.insert(peer);
        }
        self.cut_wait_short(out);
    }

    /// When [`Self::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Looking(looking) if self.missing().next().is_some() => {
                Some(looking.deadline().min(self.redial_at))
            }
            Phase::Looking(looking) => Some(looking.deadline()),
            Phase::Decided(_) | Phase::Resting => None,
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.redial(now, out);
        let Phase::Looking(looking) = &mut self.phase else { return };
        if now < looking.deadline() {
            return;
        }
        if let Some(vote) = looking.final_vote() {
            return self.decide(vote, out);
        }
        let interval_ms = looking.lengthen(self.rules.interval_ms_max, now);
        self.tell_all(out);
        out.push(Output::TimedOut { interval_ms });
        self.count(now, out);
    }

    /// COMPAT: Java dials when it sends, up to a minute later (`QuorumCnxManager.connectAll`).
    fn redial(&mut self, now: Millis, out: &mut Vec<Output>) {
        if now < self.redial_at || !matches!(self.phase, Phase::Looking(_)) {
            return;
        }
        self.redial_at = Millis(now.0.saturating_add(REDIAL_INTERVAL_MS));
        out.extend(self.missing().map(Output::Dial));
    }

    /// Voters that are not connected.
    fn missing(&self) -> impl Iterator<Item = ServerId> {
        let voters = self.rules.quorum.voters().into_iter();
        voters.filter(|voter| *voter != self.rules.me && !self.connected.contains(voter))
    }

    /// Whether a peer can be told something now.
    pub fn is_connected(&self, peer: ServerId) -> bool {
        self.connected.contains(&peer)
    }

    /// What this server is doing.
    pub fn state(&self) -> PeerState {
        match &self.phase {
            Phase::Looking(_) | Phase::Resting => PeerState::Looking,
            Phase::Decided(state) => *state,
        }
    }

    /// Its vote: what it proposes while it looks, else the last election's outcome.
    pub fn vote(&self) -> Vote {
        match &self.phase {
            Phase::Looking(looking) => looking.proposal(),
            Phase::Decided(_) | Phase::Resting => self.current,
        }
    }

    /// Its round.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Counts what has come, this server's own votes included.
    fn count(&mut self, now: Millis, out: &mut Vec<Output>) {
        while let Some((from, ballot)) = self.inbox.pop_front() {
            let Phase::Looking(looking) = &mut self.phase else { return self.inbox.clear() };
            match looking.count(&self.rules, &mut self.round, from, ballot, now) {
                Verdict::Nothing => {}
                Verdict::UnknownLeader => {
                    out.push(Output::UnknownLeader { from, leader: ballot.vote.leader });
                }
                Verdict::NewProposal => self.tell_all(out),
                Verdict::Found(vote) => self.decide(vote, out),
            }
            self.cut_wait_short(out);
        }
    }

    /// Nothing better can come: every voter wants what a quorum wants, or was lost. One that was
    /// never here may be about to start, and is waited for.
    ///
    /// COMPAT: Java waits all the same, which is half of the time in which nobody leads.
    fn cut_wait_short(&mut self, out: &mut Vec<Output>) {
        let Phase::Looking(looking) = &self.phase else { return };
        let Some(vote) = looking.final_vote() else { return };
        let says_more = |voter| !looking.is_for_it(voter) && !self.lost.contains(&voter);
        if looking.is_for_it(vote.leader) && !self.rules.quorum.voters().into_iter().any(says_more)
        {
            self.decide(vote, out);
        }
    }

    fn decide(&mut self, vote: Vote, out: &mut Vec<Output>) {
        let state = match () {
            () if vote.leader == self.rules.me => PeerState::Leading,
            () if self.rules.is_observer => PeerState::Observing,
            () => PeerState::Following,
        };
        self.round = vote.round;
        self.current = vote;
        self.phase = Phase::Decided(state);
        self.inbox.clear();
        out.push(Output::Decided { state, vote });
    }

    /// Tells every voter what this server proposes.
    fn tell_all(&mut self, out: &mut Vec<Output>) {
        let Phase::Looking(looking) = &self.phase else { return };
        let ballot = answer(PeerState::Looking, looking.proposal());
        for voter in self.rules.quorum.voters() {
            if voter == self.rules.me {
                self.inbox.push_back((voter, ballot));
            } else {
                self.send(voter, ballot, out);
            }
        }
    }

    /// A peer that is not connected is told once it is.
    fn send(&self, to: ServerId, ballot: Ballot, out: &mut Vec<Output>) {
        let is_connected = self.connected.contains(&to);
        out.push(if is_connected { Output::Send { to, ballot } } else { Output::Dial(to) });
    }

    /// An observer, or a server that was removed: told at once what this one knows.
    ///
    /// Two servers that do not know each other would answer each other's answers for ever, so one
    /// of them is answered only so often.
    fn answer_stranger(&mut self, from: ServerId, now: Millis, out: &mut Vec<Output>) {
        let soon = Millis(now.0.saturating_sub(STRANGER_ANSWER_INTERVAL_MS));
        self.strangers.retain(|_, at| *at > soon);
        let is_known = self.strangers.contains_key(&from);
        if is_known || self.strangers.len() >= STRANGERS_MAX || !self.connected.contains(&from) {
            return;
        }
        self.strangers.insert(from, now);
        let vote = Vote { round: self.round, ..self.current };
        self.send(from, answer(self.state(), vote), out);
    }
}

const fn answer(state: PeerState, vote: Vote) -> Ballot {
    Ballot { state, vote, version: Notification::VERSION }
}

#[cfg(test)]
mod tests;
