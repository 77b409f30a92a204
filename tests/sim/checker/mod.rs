//! What must hold, looked at after every step; the first violation ends the history with a panic.
//!
//! The committed history is what was applied by a server that serves: it only grows, every server
//! that serves has a beginning of it or adds to its end, and each txn of it is on the disks of a
//! quorum when it is added. So nothing that was acknowledged can be lost, or be in two orders.

mod history;

use std::collections::{BTreeMap, BTreeSet};

use ringkeeper::ids::{Epoch, Round, ServerId, SessionId, Xid, Zxid};
use ringkeeper::tree::Tree;
use ringkeeper::wire::txn::{Record, Txn, TxnHeader};
use ringkeeper::wire::{OpCode, Reader};
use ringkeeper::zab::Quorum;

pub use history::{Histories, Place};

use crate::disk::Disk;
use crate::plan::server;
use crate::workload::Answer;

/// See the module.
pub struct Checker {
    pub histories: Histories,
    quorum: Quorum,
    voters: usize,
    /// The committed history, by length; the first is of no txn.
    committed: Vec<Place>,
    leaders: BTreeMap<Epoch, usize>,
    /// By session, the number of its last committed write.
    numbers: BTreeMap<SessionId, Xid>,
    /// The newest write that was acknowledged to a client.
    acknowledged: Zxid,
    /// Who stood for election in which round, with which end of its log.
    pub stands: BTreeSet<(usize, Round, Zxid)>,
}

impl Checker {
    pub fn new(quorum: Quorum, voters: usize) -> Self {
        Self {
            histories: Histories::new(),
            quorum,
            voters,
            committed: vec![Place::START],
            leaders: BTreeMap::new(),
            numbers: BTreeMap::new(),
            acknowledged: Zxid::ZERO,
            stands: BTreeSet::new(),
        }
    }

    pub fn acknowledged(&self) -> Zxid {
        self.acknowledged
    }

    /// All that is committed.
    pub fn committed(&self) -> Place {
        *self.committed.last().expect("it begins with no txn")
    }

    pub fn committed_len(&self) -> usize {
        self.committed.len() - 1
    }

    /// A server's tree has come to this history.
    pub fn on_applied(&mut self, node: usize, place: Place, tree: &Tree, disk: &Disk) {
        let zxid = self.histories.zxid(place);
        assert!(
            self.histories.is_prefix(place, disk.durable()),
            "node {}: the tree is at {zxid}, ahead of its log",
            node + 1
        );
        self.check_tree(node, place, tree);
    }

    /// Trees of one history are the same.
    pub fn check_tree(&mut self, node: usize, place: Place, tree: &Tree) {
        let zxid = self.histories.zxid(place);
        let (mismatches, first) = tree.digest_mismatches();
        assert!(mismatches == 0, "node {}: a digest is not its leader's: {first:?}", node + 1);
        if let Err(other) = self.histories.note_digest(place, tree.digest()) {
            panic!(
                "node {}: the tree at {zxid} has digest {:x}, another had {other:x}",
                node + 1,
                tree.digest()
            );
        }
    }

    /// A server that serves has applied all of this history: it is committed.
    pub fn on_committed(&mut self, node: usize, place: Place, disks: &[&Disk]) {
        let len = self.histories.len(place);
        if let Some(known) = self.committed.get(len) {
            assert!(
                *known == place,
                "node {} serves {} as the {len}th txn, and {} was committed as that",
                node + 1,
                self.tell(place),
                self.tell(*known)
            );
            return;
        }
        let parent = self.histories.parent(place);
        if len > self.committed.len() {
            self.on_committed(node, parent, disks);
        }
        assert!(
            self.committed() == parent,
            "node {} serves {}, and not {}, which is committed",
            node + 1,
            self.tell(place),
            self.tell(self.committed())
        );
        self.check_durable(node, place, disks);
        self.check_order(place);
        self.committed.push(place);
    }

    fn check_durable(&self, node: usize, place: Place, disks: &[&Disk]) {
        let holds = |disk: &Disk| self.histories.is_prefix(place, disk.durable());
        let with = (0..self.voters).filter(|voter| holds(disks[*voter])).map(server);
        assert!(
            self.quorum.is_met_by(with.clone()),
            "node {} serves {}, which is on the disks of {:?} only",
            node + 1,
            self.tell(place),
            with.map(|server| server.0).collect::<Vec<_>>()
        );
    }

    /// A session's writes are done in the order in which it asked.
    fn check_order(&mut self, place: Place) {
        let record = self.histories.record(place);
        let header = TxnHeader::decode(&mut Reader::new(record)).expect("a leader made it");
        let zxid = self.histories.zxid(place);
        assert!(header.zxid == zxid, "the txn at {zxid} says it is {}", header.zxid);
        let before = self.histories.zxid(self.histories.parent(place));
        assert!(zxid > before, "zxid {zxid} is committed after {before}");
        let is_servers_own = header.cxid == Xid(0);
        if header.op == OpCode::CreateSession {
            self.numbers.insert(header.session, Xid(0));
        }
        if is_servers_own || is_failure(record) {
            return;
        }
        let last = self.numbers.insert(header.session, header.cxid);
        let last = last.unwrap_or_else(|| panic!("{} is of no session", self.tell(place)));
        assert!(
            header.cxid > last,
            "session {}: request {} is done after {}",
            header.session,
            header.cxid.0,
            last.0
        );
    }

    /// A server begins to serve.
    pub fn on_serve(&mut self, node: usize, place: Place, epoch: Epoch, disks: &[&Disk]) {
        self.on_committed(node, place, disks);
        let at = self.histories.zxid(place);
        assert!(at.epoch() <= epoch, "node {} serves epoch {} with {at}", node + 1, epoch.0);
    }

    /// A leader is established: with all that earlier epochs have committed, alone, and on disks
    /// of a quorum. It may learn of its quorum late, when a later epoch has begun.
    pub fn on_lead(&mut self, node: usize, place: Place, epoch: Epoch, disks: &[&Disk]) {
        let other = self.leaders.insert(epoch, node);
        assert!(other.is_none(), "{other:?} and {node} both lead epoch {}", epoch.0);
        let earlier = |at: &Place| self.histories.zxid(*at).epoch() < epoch;
        let before = self.committed[self.committed.partition_point(earlier).saturating_sub(1)];
        assert!(
            self.histories.is_prefix(before, place),
            "node {} leads epoch {} with {}, without {}, which is committed",
            node + 1,
            epoch.0,
            self.tell(place),
            self.tell(before)
        );
        let entered = |voter: &usize| {
            let disk = disks[*voter];
            disk.current() >= epoch && self.histories.is_prefix(place, disk.durable())
        };
        let with = (0..self.voters).filter(entered).map(server);
        assert!(
            self.quorum.is_met_by(with.clone()),
            "node {} leads epoch {}, which is on the disks of {:?} only",
            node + 1,
            epoch.0,
            with.map(|server: ServerId| server.0).collect::<Vec<_>>()
        );
    }

    /// A client is told that its write was done, or why not, with this zxid.
    pub fn on_acknowledged(&mut self, session: SessionId, xid: Xid, zxid: Zxid, floor: Zxid) {
        let found = self.committed.binary_search_by_key(&zxid, |at| self.histories.zxid(*at));
        let Ok(index) = found else {
            panic!(
                "session {session}: request {} was acknowledged as {zxid}, which is not committed",
                xid.0
            )
        };
        let record = self.histories.record(self.committed[index]);
        let header = TxnHeader::decode(&mut Reader::new(record)).expect("a leader made it");
        assert!(
            (header.session, header.cxid) == (session, xid),
            "session {session}: request {} was acknowledged as {zxid}, which is {header:?}",
            xid.0
        );
        assert!(
            zxid > floor,
            "session {session}: request {} was asked after {floor} was acknowledged, and is {zxid}",
            xid.0
        );
        self.acknowledged = self.acknowledged.max(zxid);
    }

    /// A client that has synced is shown all that anybody was told of before it asked.
    ///
    /// COMPAT: no quorum is asked. So a leader that has lost its own, and does not know that yet,
    /// knows nothing of what its successor does.
    pub fn check_sync(session: SessionId, xid: Xid, answer: Answer, floor: Zxid) {
        assert!(
            answer.zxid >= floor || answer.epoch < floor.epoch(),
            "session {session}: sync {} was asked after {floor} was acknowledged, and shows {}",
            xid.0,
            answer.zxid
        );
    }

    /// What a txn left in a tree beside its changes.
    pub fn check_sessions(node: usize, tree: &Tree, record: &Record<'_>) {
        let session = record.header.session;
        let is_known = |of: SessionId| tree.session_timeout(of).is_some();
        match &record.txn {
            Txn::CloseSession { .. } => assert!(
                tree.ephemerals(session).next().is_none(),
                "node {}: closed session {session} still has ephemerals",
                node + 1
            ),
            Txn::Create(create) if create.ephemeral => assert!(
                is_known(session),
                "node {}: {} is of session {session}, which is no more",
                node + 1,
                create.path
            ),
            _ => {}
        }
    }

    /// All ephemerals of a tree that was loaded.
    pub fn check_owners(node: usize, tree: &Tree) {
        for session in tree.sessions_with_ephemerals() {
            assert!(
                tree.session_timeout(session).is_some(),
                "node {}: session {session} has ephemerals, and is no more",
                node + 1
            );
        }
    }

    /// A txn, for whoever reads a violation.
    pub fn tell(&self, place: Place) -> String {
        if place == Place::START {
            return "nothing".to_owned();
        }
        match TxnHeader::decode(&mut Reader::new(self.histories.record(place))) {
            Ok(TxnHeader { session, cxid, zxid, op, .. }) => {
                format!("{zxid} ({op:?} of session {session}, request {})", cxid.0)
            }
            Err(error) => format!("{} ({error})", self.histories.zxid(place)),
        }
    }
}

/// Whether a txn does nothing; what a session asked for on a connection that it had left may fail
/// behind what it asked for on the next.
fn is_failure(record: &[u8]) -> bool {
    match Record::decode(record).map(|record| record.txn) {
        Ok(Txn::Multi(steps)) => steps.iter().any(|(op, _)| *op == OpCode::Error),
        Ok(txn) => matches!(txn, Txn::Error { .. }),
        Err(error) => panic!("a committed txn cannot be read: {error}"),
    }
}
