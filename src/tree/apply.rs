//! Txns onto the tree, as `DataTree.processTxn` does it.
//!
//! A txn was checked when it was prepared; here it is carried out. That it cannot be (a node is
//! there already, or is missing) happens in the replay of a log onto a snapshot that was written
//! while txns went on, and changes only what brings the tree nearer to what it was.

use std::sync::Arc;

use super::acl::SharedAcl;
use super::arena::{NewNode, split};
use super::node::{CONTAINER_OWNER, NO_NODE, NodeId, StatPersisted, ttl_owner};
use super::{Place, Tree};
use crate::ids::{Millis, SessionId, Zxid};
use crate::wire::txn::{CreateTxn, Record, Txn, TxnDigest, TxnHeader};
use crate::wire::{Acl, ErrorCode, OpCode, Stat};

/// What happened to a node, for those who watch it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// It is there now; its parent has a child more.
    Created,
    /// It is gone; its parent has a child less.
    Deleted,
    /// It has other data.
    DataChanged,
}

/// One change of one node, in the order of application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Of the txn.
    pub zxid: Zxid,
    /// What happened.
    pub kind: ChangeKind,
    /// To which node; the parent is before its last `/`.
    pub path: Arc<str>,
    /// The node's list, when deleted the one it had.
    pub acl: SharedAcl,
    /// The parent's list; `None` when its children are the same.
    pub parent_acl: Option<SharedAcl>,
}

/// What a txn came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// A node is there.
    Created {
        /// With the sequence suffix.
        path: &'a str,
        /// As clients see it.
        stat: Stat,
    },
    /// A node is gone.
    Deleted,
    /// A node has other data, or another ACL.
    Changed(Stat),
    /// A check, which held when it was prepared.
    Checked,
    /// One for each step, in order. If any step of the txn is an error, all are errors (those
    /// before it 0) and nothing happened.
    Multi(Vec<Outcome<'a>>),
    /// The session table has it.
    SessionOpened,
    /// The session table has it no more, and its ephemerals are gone.
    SessionClosed,
    /// [`ErrorCode::to_wire`]; a txn may carry a number we have no name for.
    Error(i32),
}

impl From<ErrorCode> for Outcome<'_> {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code.to_wire())
    }
}

/// What all steps of a txn share.
struct Context<'c> {
    session: SessionId,
    zxid: Zxid,
    time: Millis,
    /// Where the first node that is changed most likely is.
    place: Option<Place>,
    changes: Option<&'c mut Vec<Change>>,
}

impl Context<'_> {
    fn stat(&self, ephemeral_owner: i64) -> StatPersisted {
        let (zxid, time) = (self.zxid.0, self.time.0);
        StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner,
            pzxid: zxid,
            ..StatPersisted::default()
        }
    }
}

/// The path of the first node that a txn changes, if it is found by a hint.
pub(super) fn first_changed<'r>(txn: &'r Txn<'_>) -> Option<&'r str> {
    match txn {
        Txn::Create(create) | Txn::CreateContainer(create) | Txn::CreateTtl(create, _) => {
            split(&create.path).map(|(parent, _)| parent)
        }
        Txn::SetData { path, .. } | Txn::SetAcl { path, .. } => Some(path),
        Txn::Multi(steps) => steps.first().and_then(|(_, step)| first_changed(step)),
        Txn::Delete { .. }
        | Txn::Check { .. }
        | Txn::CreateSession { .. }
        | Txn::CloseSession { .. }
        | Txn::Error { .. } => None,
    }
}

impl Tree {
    /// Applies one txn. Never fails: what could not be done is an [`Outcome::Error`], and applying
    /// it again changes nothing it should not. `changes` gets what watches are told of, in order;
    /// `None` when nobody watches.
    pub fn apply<'r>(
        &mut self,
        record: &'r Record<'_>,
        changes: Option<&mut Vec<Change>>,
    ) -> Outcome<'r> {
        self.apply_at(None, record, changes)
    }

    /// [`Self::apply`], with a hint where the first node is that it changes.
    pub fn apply_at<'r>(
        &mut self,
        place: Option<Place>,
        record: &'r Record<'_>,
        changes: Option<&mut Vec<Change>>,
    ) -> Outcome<'r> {
        let TxnHeader { session, zxid, time, op, .. } = record.header;
        let mut context = Context { session, zxid, time, place, changes };
        let outcome = self.step(&mut context, op, &record.txn);
        self.finish(zxid, record.digest);
        outcome
    }

    fn finish(&mut self, zxid: Zxid, digest: Option<TxnDigest>) {
        // COMPAT: a log may hold a zxid twice or one out of order; what it says is done all the
        // same.
        self.last_zxid = self.last_zxid.max(zxid);
        if self.options.digest {
            self.digest.on_txn(zxid, digest);
        }
    }

    fn step<'r>(&mut self, at: &mut Context<'_>, op: OpCode, txn: &'r Txn<'_>) -> Outcome<'r> {
        match txn {
            Txn::Create(create) => {
                let owner = if create.ephemeral { at.session.0 } else { 0 };
                self.create(at, create, owner, op == OpCode::Create)
            }
            Txn::CreateContainer(create) => self.create(at, create, CONTAINER_OWNER, false),
            Txn::CreateTtl(create, ttl) => self.create(at, create, ttl_owner(*ttl), false),
            Txn::Delete { path } => self.delete(at, path),
            Txn::SetData { path, data, version } => self.set_data(at, path, *data, *version),
            Txn::SetAcl { path, acl, version } => self.set_acl(at, path, acl, *version),
            Txn::Check { .. } => Outcome::Checked,
            Txn::Multi(steps) => self.multi(at, steps),
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(at.session, *timeout_ms);
                Outcome::SessionOpened
            }
            Txn::CloseSession { paths } => {
                let paths = paths.iter().flatten().map(AsRef::as_ref);
                self.close_session(at, paths);
                Outcome::SessionClosed
            }
            Txn::Error { err } => Outcome::Error(*err),
        }
    }

    fn create<'r>(
        &mut self,
        at: &mut Context<'_>,
        create: &'r CreateTxn<'_>,
        owner: i64,
        plain: bool,
    ) -> Outcome<'r> {
        let path = &*create.path;
        let parent = split(path).and_then(|(parent, _)| self.find_again(at.place.take(), parent));
        let Some(parent) = parent else { return ErrorCode::NoNode.into() };
        if let Some(existing) = self.find_id(path) {
            self.recreate(at.zxid, existing, parent, create, plain);
            return ErrorCode::NodeExists.into();
        }
        let new = NewNode {
            path,
            data: create.data.map(Box::from),
            stat: at.stat(owner),
            acl: self.acls.intern(&create.acl),
        };
        self.count_creation(parent, create.parent_cversion, at.zxid);
        let id = self.insert(new, parent);
        // COMPAT: before a quota's stats node gets its numbers (`DataTree.createNode`).
        let stat = self.stat(self.node(id));
        self.quota_on_create(path, create.data.map_or(0, <[u8]>::len));
        self.note(at, ChangeKind::Created, path, self.node(id).acl, Some(parent));
        Outcome::Created { path, stat }
    }

    /// A create of what is there: a snapshot was written after it. Its ACL may not have been in the
    /// snapshot's table.
    ///
    /// COMPAT: only the plain create makes sure of the parent's cversion (`DataTree.processTxn`).
    fn recreate(
        &mut self,
        zxid: Zxid,
        existing: NodeId,
        parent: NodeId,
        create: &CreateTxn<'_>,
        plain: bool,
    ) {
        self.put_acl(existing, &create.acl);
        if plain {
            self.count_creation(parent, create.parent_cversion, zxid);
        }
    }

    /// The parent's cversion only grows: a replayed create must not take it back.
    fn count_creation(&mut self, parent: NodeId, cversion: i32, zxid: Zxid) {
        let stored = self.node(parent).cversion;
        let cversion = if cversion == -1 { stored.wrapping_add(1) } else { cversion };
        if cversion > stored {
            self.before(parent);
            let node = self.node_mut(parent);
            node.cversion = cversion;
            node.pzxid = zxid.0;
            self.after(parent);
        }
    }

    fn delete<'r>(&mut self, at: &mut Context<'_>, path: &str) -> Outcome<'r> {
        let id = self.find_id(path);
        let parent = match id {
            Some(id) => Some(self.node(id).parent).filter(|parent| *parent != NO_NODE),
            None => split(path).and_then(|(parent, _)| self.find_id(parent)),
        };
        let Some(parent) = parent else { return ErrorCode::NoNode.into() };
        // Even if the node is absent: a snapshot may have been written between the two.
        if at.zxid.0 > self.node(parent).pzxid {
            self.before(parent);
            self.node_mut(parent).pzxid = at.zxid.0;
            self.after(parent);
        }
        let Some(id) = id else { return ErrorCode::NoNode.into() };
        self.delete_below(at, id);
        self.delete_leaf(at, id, path);
        Outcome::Deleted
    }

    /// A node that is deleted had no children when that was decided. Those it has here are from
    /// later, and so is the node: it was deleted, created anew and then written to the snapshot.
    /// The log has the creates of all of them. (Java orphans the children, and forgets whose they
    /// are when they are created again.)
    fn delete_below(&mut self, at: &mut Context<'_>, id: NodeId) {
        let mut below = self.node(id).child_ids().to_vec();
        let mut next = 0;
        while let Some(id) = below.get(next) {
            below.extend_from_slice(self.node(*id).child_ids());
            next += 1;
        }
        for id in below.into_iter().rev() {
            let path = self.node(id).path().to_owned();
            self.delete_leaf(at, id, &path);
        }
    }

    fn delete_leaf(&mut self, at: &mut Context<'_>, id: NodeId, path: &str) {
        let node = self.node(id);
        let data_len = node.data_len();
        self.note(at, ChangeKind::Deleted, path, node.acl, Some(node.parent));
        self.remove(id);
        self.quota_on_delete(path, data_len);
    }

    fn set_data<'r>(
        &mut self,
        at: &mut Context<'_>,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
    ) -> Outcome<'r> {
        let id = self.find_again(at.place.take(), path);
        let Some(id) = id else { return ErrorCode::NoNode.into() };
        let old_len = self.node(id).data_len();
        self.before(id);
        let node = self.node_mut(id);
        node.mtime = at.time.0;
        node.mzxid = at.zxid.0;
        node.version = version;
        self.put_data(id, data);
        self.after(id);
        let stat = self.stat(self.node(id));
        self.quota_on_set(path, old_len, data.map_or(0, <[u8]>::len));
        self.note(at, ChangeKind::DataChanged, path, self.node(id).acl, None);
        Outcome::Changed(stat)
    }

    fn set_acl<'r>(
        &mut self,
        at: &mut Context<'_>,
        path: &str,
        acl: &[Acl<'_>],
        version: i32,
    ) -> Outcome<'r> {
        let id = self.find_again(at.place.take(), path);
        let Some(id) = id else { return ErrorCode::NoNode.into() };
        self.put_acl(id, acl);
        self.before(id);
        self.node_mut(id).aversion = version;
        self.after(id);
        Outcome::Changed(self.stat(self.node(id)))
    }

    fn put_acl(&mut self, id: NodeId, acl: &[Acl<'_>]) {
        self.save(id);
        let new = self.acls.intern(acl);
        let old = std::mem::replace(&mut self.node_mut(id).acl, new);
        self.acls.release(old);
    }

    /// The txn's own list first, then what else is the session's here (`DataTree.killSession`).
    fn close_session<'p>(&mut self, at: &mut Context<'_>, paths: impl Iterator<Item = &'p str>) {
        self.sessions.remove(&at.session);
        for path in paths {
            self.delete(at, path);
        }
        let mut left: Vec<String> = self.ephemerals(at.session).map(str::to_owned).collect();
        left.sort_unstable(); // ids differ between servers
        for path in left {
            self.delete(at, &path);
        }
    }

    fn multi<'r>(&mut self, at: &mut Context<'_>, steps: &'r [(OpCode, Txn<'_>)]) -> Outcome<'r> {
        let failing = steps.iter().position(|(_, step)| matches!(step, Txn::Error { .. }));
        let outcome = |(number, (op, step)): (usize, &'r (OpCode, Txn<'_>))| match (step, failing) {
            (Txn::Error { err }, _) => Outcome::Error(*err),
            (step, None) => self.step(at, *op, step),
            (_, Some(failing)) if number < failing => ErrorCode::Ok.into(),
            (_, Some(_)) => ErrorCode::RuntimeInconsistency.into(),
        };
        Outcome::Multi(steps.iter().enumerate().map(outcome).collect())
    }

    fn note(
        &self,
        at: &mut Context<'_>,
        kind: ChangeKind,
        path: &str,
        acl: u32,
        parent: Option<NodeId>,
    ) {
        let Some(changes) = &mut at.changes else { return };
        changes.push(Change {
            zxid: at.zxid,
            kind,
            path: path.into(),
            acl: self.acls.list(acl).clone(),
            parent_acl: parent.map(|parent| self.acl(self.node(parent)).clone()),
        });
    }
}
