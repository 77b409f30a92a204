//! From commits to the tree, and to what the shards are told.

use std::collections::VecDeque;

use super::ZabStage;
use super::role::Role;
use crate::error::{ExitCode, Fatal};
use crate::ids::{SessionId, Xid, Zxid};
use crate::limits::APPLIED_AT_ONCE_MAX;
use crate::metrics::Counter;
use crate::reply::response::{self, Fate};
use crate::stage::message::{ConnectAsk, Entry, Origin, WriteAsk};
use crate::stage::namespace;
use crate::tree::{Change, Outcome, Tree};
use crate::wire::txn::Record;
use crate::wire::{ErrorCode, OpCode};
use crate::zab::Proposal;

/// What a proposal is to be answered with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    /// A client's write.
    Client(Origin),
    /// A new session, for this connection.
    Connect(ConnectAsk, SessionId),
    /// The server's own, or a learner's: nobody waits here.
    Own,
}

/// What each proposal in flight is to be answered with, in zxid order; and between them what is no
/// txn, a leader's own clients' syncs and ends of local sessions, each behind what was proposed
/// before it: a reply is found by its place, and a goodbye closes behind it.
#[derive(Debug, Default)]
pub(super) struct Awaited(VecDeque<Turn>);

#[derive(Debug)]
enum Turn {
    Proposal(Pending),
    NoTxn(Box<WriteAsk>),
}

impl Awaited {
    /// Of a new proposal.
    pub(super) fn push(&mut self, pending: Pending) {
        self.0.push_back(Turn::Proposal(pending));
    }

    fn push_no_txn(&mut self, ask: WriteAsk) {
        self.0.push_back(Turn::NoTxn(Box::new(ask)));
    }

    /// The oldest proposal is applied; what is before it and no txn was taken.
    fn pop(&mut self) -> Option<Pending> {
        match self.0.pop_front()? {
            Turn::Proposal(pending) => Some(pending),
            Turn::NoTxn(_) => None,
        }
    }

    /// One that is no txn, and before which all is applied.
    fn pop_no_txn(&mut self) -> Option<Box<WriteAsk>> {
        match self.0.pop_front_if(|turn| matches!(turn, Turn::NoTxn(_)))? {
            Turn::NoTxn(ask) => Some(ask),
            Turn::Proposal(_) => None,
        }
    }
}

fn decode(proposal: &Proposal) -> Result<Record<'_>, Fatal> {
    Record::decode(&proposal.record).map_err(|error| {
        let text = format!("txn {} of the leader cannot be read: {error}", proposal.zxid);
        Fatal::new(ExitCode::QuorumPacket, text)
    })
}

impl ZabStage {
    /// Applies up to `max` commits under one hold of the write lock.
    pub(super) fn apply_committed(&mut self, max: usize) {
        if self.committed.is_empty() {
            return;
        }
        let shared = std::sync::Arc::clone(&self.parts.shared);
        let mut tree = shared.tree.write();
        let mut changes = Vec::new();
        let mut left = max;
        while left > 0 && !self.committed.is_empty() {
            let count = left.min(APPLIED_AT_ONCE_MAX).min(self.committed.len());
            left -= count;
            let proposals: Vec<Proposal> = self.committed.drain(..count).collect();
            match proposals.iter().map(decode).collect::<Result<Vec<_>, _>>() {
                Ok(records) => self.apply(&mut tree, &proposals, &records, &mut changes),
                Err(fatal) => {
                    shared.fail(fatal);
                    break;
                }
            }
        }
        self.notice_mismatches(&tree);
        self.consider_snapshot(&mut tree);
        self.push_batches();
        drop(tree);
        self.ring_shards(); // after the lock: a shard that wakes wants its read side
    }

    fn apply(
        &mut self,
        tree: &mut Tree,
        proposals: &[Proposal],
        records: &[Record<'_>],
        changes: &mut Vec<Change>,
    ) {
        let places = tree.look_ahead(records);
        for ((proposal, record), place) in proposals.iter().zip(records).zip(places) {
            let watched = self.parts.shared.watch_count() > 0;
            let outcome = tree.apply_at(place, record, watched.then_some(&mut *changes));
            namespace::count_write(&self.recorder, &record.txn);
            self.tell_changes(changes);
            self.answer(record, &outcome);
            self.count_propagation(record.header.time);
            self.settle(proposal);
        }
    }

    /// A txn whose digest is not the one its leader foresaw: two servers differ, or one has a bug.
    fn notice_mismatches(&mut self, tree: &Tree) {
        let (mismatches, first) = tree.digest_mismatches();
        if mismatches > self.mismatches {
            self.recorder.add(Counter::DigestMismatchesCount, mismatches - self.mismatches);
            self.mismatches = mismatches;
            tracing::error!(mismatches, ?first, "digests are not matching");
        }
    }

    fn settle(&mut self, proposal: &Proposal) {
        if matches!(self.role, Role::Ordering) {
            self.preparer.applied(proposal.zxid);
            self.bytes_in_flight -= proposal.record.len();
            if self.member.is_some() {
                self.recorder.add(Counter::CommitCount, 1); // COMPAT: no others (`Leader.commit`)
            }
        }
        self.chores.count_txn(proposal.record.len());
    }

    /// Each shard that has watches gets each change.
    fn tell_changes(&mut self, changes: &mut Vec<Change>) {
        let shared = &self.parts.shared;
        for change in changes.drain(..) {
            for (batch, watches) in self.batches.iter_mut().zip(&shared.watches) {
                if watches.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                    batch.entries.push(Entry::Change(change.clone()));
                }
            }
        }
    }

    /// Whoever waits here for this txn is told; a session that it ended is forgotten.
    fn answer(&mut self, record: &Record<'_>, outcome: &Outcome<'_>) {
        let author = record.header.session;
        let asking = match self.role {
            Role::Ordering => self.answer_ordered(record, outcome),
            Role::Forwarding(_) => self.answer_forwarded(record, outcome),
            Role::Resting | Role::ReadOnly => None, // history, of which nobody here asked
        };
        if matches!(outcome, Outcome::SessionClosed) {
            self.part(author, asking);
        }
    }

    fn answer_ordered(&mut self, record: &Record<'_>, outcome: &Outcome<'_>) -> Option<Origin> {
        let pending = self.awaited.pop().expect("each proposal has its answer waiting");
        let asking = match pending {
            Pending::Client(origin) => {
                self.reply(origin, record, outcome);
                Some(origin)
            }
            Pending::Connect(ask, session) => {
                self.attach(ask, session);
                None
            }
            Pending::Own => None,
        };
        self.answer_no_txns(record.header.zxid);
        asking
    }

    /// What is no txn has its reply when all that is proposed by now is in this server's tree.
    pub(super) fn answer_in_turn(&mut self, ask: WriteAsk) {
        self.awaited.push_no_txn(ask);
        let last = self.parts.shared.tree.read().last_zxid();
        self.answer_no_txns(last);
    }

    /// Those that wait for nothing more. The caller may hold the tree's write side.
    fn answer_no_txns(&mut self, zxid: Zxid) {
        while let Some(ask) = self.awaited.pop_no_txn() {
            let to = (ask.origin, ask.xid);
            if ask.op == OpCode::CloseSession {
                self.say_goodbye(to, zxid);
            } else {
                self.reply_to_sync(to, &ask.body, zxid);
            }
        }
    }

    /// What came is echoed.
    pub(super) fn reply_to_sync(&mut self, to: (Origin, Xid), body: &[u8], zxid: Zxid) {
        let (Origin { shard, connection }, xid) = to;
        let batch = &mut self.batches[shard];
        let start = batch.bytes.len();
        response::reply(&mut batch.bytes, xid, zxid, |out| {
            out.extend_from_slice(body);
            ErrorCode::Ok
        });
        let range = start..batch.bytes.len();
        batch.entries.push(Entry::Reply(connection, zxid, range));
    }

    pub(super) fn reply(&mut self, origin: Origin, record: &Record<'_>, outcome: &Outcome<'_>) {
        let batch = &mut self.batches[origin.shard];
        let start = batch.bytes.len();
        let fate = response::written(&mut batch.bytes, record, outcome);
        let (id, zxid) = (origin.connection, record.header.zxid);
        let range = start..batch.bytes.len();
        batch.entries.push(match fate {
            Fate::Keep => Entry::Reply(id, zxid, range),
            Fate::CloseAfter => Entry::Closed(id, zxid, range),
            Fate::CloseSilently => Entry::Cut(id),
        });
    }

    /// The session is no more: its connection, unless it is `asking`, is cut.
    fn part(&mut self, session: SessionId, asking: Option<Origin>) {
        let owner = self.sessions.remove(session);
        self.cut(owner.filter(|owner| Some(*owner) != asking));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ConnectionId;

    fn sync(xid: i32) -> WriteAsk {
        WriteAsk {
            origin: Origin { shard: 0, connection: ConnectionId::from_bits(1) },
            session: SessionId(1),
            xid: Xid(xid),
            op: OpCode::Sync,
            body: bytes::Bytes::new(),
            identities: [].into(),
        }
    }

    #[test]
    fn a_leaders_own_sync_waits_for_what_was_proposed_before_it_and_no_longer() {
        let mut awaited = Awaited::default();
        let next = |awaited: &mut Awaited| awaited.pop_no_txn().map(|ask| ask.xid.0);
        awaited.push_no_txn(sync(1));
        assert_eq!(next(&mut awaited), Some(1), "nothing is in flight");
        awaited.push(Pending::Own);
        awaited.push_no_txn(sync(2));
        awaited.push(Pending::Own);
        awaited.push_no_txn(sync(3));
        awaited.push_no_txn(sync(4));
        assert_eq!(next(&mut awaited), None);
        assert!(awaited.pop().is_some());
        assert_eq!((next(&mut awaited), next(&mut awaited)), (Some(2), None));
        assert!(awaited.pop().is_some());
        assert_eq!((next(&mut awaited), next(&mut awaited)), (Some(3), Some(4)));
        assert!(awaited.pop().is_none() && next(&mut awaited).is_none());
    }
}
