//! From asks to proposals.

use super::ZabStage;
use super::commit::Pending;
use super::ensemble::learners::LearnerAsk;
use super::role::Role;
use crate::limits::{
    ASKS_AT_ONCE_MAX, PROPOSAL_BYTES_IN_FLIGHT_MAX, PROPOSALS_IN_FLIGHT_MAX, PROPOSALS_RESERVED,
};
use crate::metrics::{Counter, CounterSet};
use crate::request::prepare::{self, Author, Exceeded, Stamp, Standing, Write};
use crate::stage::message::{Ask, WriteAsk};
use crate::wire::{ErrorCode, OpCode};
use crate::zab::{Input, Proposal};

/// An ask that is out of its queue.
pub(super) enum Next {
    OfLearner(LearnerAsk),
    OfShard(Ask),
}

impl Next {
    /// The path whose node will be looked up first, if it is for a write of one.
    fn path(&self) -> Option<&str> {
        match self {
            Self::OfLearner(ask) => ask.write(),
            Self::OfShard(Ask::Write(ask)) => Some((ask.op, &*ask.body)),
            Self::OfShard(Ask::Connect(_) | Ask::Intruder(_) | Ask::Gone(..)) => None,
        }
        .and_then(|(op, body)| prepare::first_sought(op, body))
    }
}

impl ZabStage {
    /// Takes up to `max` asks; returns how many.
    pub(super) fn take_in(&mut self, max: usize) -> usize {
        let mut taken = 0;
        while taken < max && self.has_room() {
            if self.at_hand.is_empty() {
                self.fetch();
            }
            match self.at_hand.pop_front() {
                Some(Next::OfLearner(ask)) => self.take_from_learner(ask),
                Some(Next::OfShard(ask)) => self.take(ask),
                None => break,
            }
            taken += 1;
        }
        taken
    }

    /// Takes the next few asks out of their queues, of the learners and the shards in turn.
    fn fetch(&mut self) {
        let mut empty = 0;
        while self.at_hand.len() < ASKS_AT_ONCE_MAX && empty < self.parts.asks.len() {
            let of_learner = self.learner_asks.pop();
            self.next_shard = (self.next_shard + 1) % self.parts.asks.len();
            let of_shard = self.parts.asks[self.next_shard].pop();
            let is_empty = of_learner.is_none() && of_shard.is_none();
            empty = if is_empty { empty + 1 } else { 0 };
            self.at_hand.extend(of_learner.map(Next::OfLearner));
            self.at_hand.extend(of_shard.map(Next::OfShard));
        }
        if self.at_hand.len() > 1 && matches!(self.role, Role::Ordering) {
            let paths: Vec<_> = self.at_hand.iter().map(Next::path).collect();
            self.parts.shared.tree.read().bring_near(&paths);
        }
    }

    /// Whether anybody has asked for something that was not taken yet.
    pub(super) fn has_asks(&self) -> bool {
        !self.at_hand.is_empty() || self.parts.asks.iter().any(|queue| !queue.is_empty())
    }

    /// Room in the log's queue for a client's proposal, so that some is left for the server's own;
    /// or in the leader's connection for a request.
    pub(super) fn has_room(&self) -> bool {
        match &self.role {
            Role::Ordering => {
                self.can_propose()
                    && self.room() > PROPOSALS_RESERVED
                    && self.bytes_in_flight < PROPOSAL_BYTES_IN_FLIGHT_MAX
            }
            Role::Forwarding(forwarding) => self.can_send(forwarding.leader),
            Role::Resting | Role::ReadOnly => true,
        }
    }

    /// Whether a proposal can be made at all: this server orders, and its epoch has a counter left.
    pub(super) fn can_propose(&self) -> bool {
        matches!(self.role, Role::Ordering) && self.room() > 0 && self.zab.next_zxid().is_some()
    }

    /// How many of the server's own proposals the log's queue has room for.
    pub(super) fn room(&self) -> usize {
        PROPOSALS_IN_FLIGHT_MAX.saturating_sub(self.zab.outstanding())
    }

    fn take(&mut self, ask: Ask) {
        match self.role {
            Role::Ordering => self.take_to_order(ask),
            Role::Forwarding(_) => self.take_to_forward(ask),
            Role::ReadOnly => self.take_to_read(ask),
            Role::Resting => self.turn_away(&ask),
        }
    }

    fn take_to_order(&mut self, ask: Ask) {
        match ask {
            Ask::Connect(ask) => self.connect(ask),
            Ask::Intruder(session) => self.suspect(session),
            Ask::Gone(origin, session) => self.sessions.detach(session, origin),
            Ask::Write(ask) if ask.op == OpCode::Sync => self.sync(ask),
            Ask::Write(ask) => self.write(ask),
        }
    }

    /// A leader's own client syncs. It waits for this server's tree: a quorum may have a txn before
    /// this disk does, and learners show it then.
    fn sync(&mut self, ask: WriteAsk) {
        if !self.sessions.speaks_for(ask.session, ask.origin) {
            self.cut(Some(ask.origin)); // moved to another connection meanwhile
            return;
        }
        self.answer_in_turn(ask);
    }

    /// What a shard passed on before it knew that the role had ended.
    fn turn_away(&mut self, ask: &Ask) {
        match ask {
            Ask::Connect(ask) => self.cut(Some(ask.origin)),
            Ask::Write(ask) => self.cut(Some(ask.origin)),
            Ask::Intruder(_) | Ask::Gone(..) => {}
        }
    }

    fn write(&mut self, ask: WriteAsk) {
        let Some(ask) = self.write_locally(ask) else { return };
        if !self.can_propose() {
            self.cut(Some(ask.origin)); // its session's upgrade was the last txn of the epoch
            return;
        }
        let standing = if self.sessions.is_local(ask.session) {
            Standing::Local
        } else if !self.sessions.tracker.is_alive(ask.session) {
            Standing::Refused(ErrorCode::SessionExpired)
        } else if self.sessions.speaks_for(ask.session, ask.origin) {
            Standing::Global
        } else {
            Standing::Refused(ErrorCode::SessionMoved) // to another connection, meanwhile
        };
        let author =
            Author { session: ask.session, cxid: ask.xid, identities: &ask.identities, standing };
        if ask.op == OpCode::CloseSession {
            self.sessions.tracker.set_closing(ask.session);
        }
        let write = Write::decode(ask.op, &ask.body);
        self.propose(&author, write, Pending::Client(ask.origin));
    }

    /// Prepares a txn and proposes it. What fails is proposed as a failure: it has its place in
    /// history, and so its reply has its place in order.
    pub(super) fn propose(&mut self, author: &Author<'_>, write: Write<'_>, pending: Pending) {
        let zxid = self.zab.next_zxid().expect("whoever proposes has asked whether it can");
        let stamp = Stamp { zxid, time: self.wall };
        self.record.clear();
        {
            let tree = self.parts.shared.tree.read();
            self.preparer.prepare(&tree, author, stamp, write, &mut self.record);
        }
        if let Some(exceeded) = self.preparer.take_exceeded() {
            self.complain_of(&exceeded);
        }
        self.bytes_in_flight += self.record.len();
        if let Some(member) = &mut self.member {
            member.count_proposal(self.record.len());
            self.recorder.add(Counter::ProposalCount, 1);
        }
        let proposal = Proposal { zxid: stamp.zxid, record: self.chunk.put(&self.record) };
        self.awaited.push(pending);
        self.step(Input::Propose(proposal));
    }

    fn complain_of(&mut self, exceeded: &Exceeded) {
        if exceeded.is_hard {
            let set = CounterSet::QuotaExceededErrorPerNamespace;
            self.recorder.add_keyed(set, &exceeded.namespace, 1);
        }
        if let Some(withheld) = self.complaints.next(self.now) {
            tracing::warn!(withheld, "{exceeded}");
        }
    }
}
