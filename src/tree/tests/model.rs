//! A tree as simple as can be: a map from paths, everything else searched for. It is slow, and its
//! rules are read off `DataTree` a second time.

use std::collections::BTreeMap;

use super::*;
use crate::tree::{CONTAINER_OWNER, ChangeKind, NodeKind, StatPersisted, ttl_owner};
use crate::wire::ErrorCode;

#[derive(Clone)]
pub(super) struct ModelNode {
    pub(super) data: Option<Vec<u8>>,
    pub(super) acl: Vec<Acl<'static>>,
    pub(super) stat: StatPersisted,
}

/// The root's path is empty.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<String, ModelNode>,
    pub(super) sessions: BTreeMap<i64, i32>,
    pub(super) zxid: i64,
}

/// A change as watches would be told: kind, path, list, parent's list.
type Told = (ChangeKind, String, Vec<Acl<'static>>, Option<Vec<Acl<'static>>>);

/// What is common to the steps of a txn.
struct At<'a> {
    header: TxnHeader,
    told: &'a mut Vec<Told>,
}

fn parent_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl Model {
    pub(super) fn new() -> Self {
        let node = |perms, aversion| ModelNode {
            data: Some(vec![]),
            acl: vec![Acl::anyone(perms)],
            stat: StatPersisted { aversion, ..StatPersisted::default() },
        };
        let mut nodes = BTreeMap::new();
        for path in ["", "/zookeeper", "/zookeeper/quota"] {
            nodes.insert(path.to_owned(), node(31, 0));
        }
        nodes.insert("/zookeeper/config".to_owned(), node(1, -1));
        Self { nodes, sessions: BTreeMap::new(), zxid: 0 }
    }

    pub(super) fn children<'m>(&'m self, path: &'m str) -> impl Iterator<Item = &'m str> {
        let of = |child: &&String| parent_of(child) == Some(path);
        self.nodes.keys().filter(of).map(String::as_str)
    }

    pub(super) fn ephemerals(&self, session: i64) -> Vec<String> {
        let owned = |(_, node): &(&String, &ModelNode)| {
            node.stat.ephemeral_owner == session && Self::kind(node) == NodeKind::Ephemeral
        };
        self.nodes.iter().filter(owned).map(|(path, _)| path.clone()).collect()
    }

    fn kind(node: &ModelNode) -> NodeKind {
        match node.stat.ephemeral_owner {
            0 => NodeKind::Persistent,
            CONTAINER_OWNER => NodeKind::Container,
            owner if owner >> 56 == -1 => NodeKind::Ttl,
            _ => NodeKind::Ephemeral,
        }
    }

    fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[path];
        let StatPersisted { czxid, mzxid, ctime, mtime, version, aversion, pzxid, .. } = node.stat;
        let num_children = i32::try_from(self.children(path).count()).unwrap();
        Stat {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion: 2 * node.stat.cversion - num_children,
            aversion,
            ephemeral_owner: match Self::kind(node) {
                NodeKind::Ephemeral => node.stat.ephemeral_owner,
                NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl => 0,
            },
            data_length: i32::try_from(node.data.as_ref().map_or(0, Vec::len)).unwrap(),
            num_children,
            pzxid,
        }
    }

    pub(super) fn apply<'r>(
        &mut self,
        record: &'r Record<'_>,
        told: &mut Vec<Told>,
    ) -> Outcome<'r> {
        let mut at = At { header: record.header, told };
        let outcome = self.step(&mut at, record.header.op, &record.txn);
        self.zxid = self.zxid.max(record.header.zxid.0);
        outcome
    }

    fn step<'r>(&mut self, at: &mut At<'_>, op: OpCode, txn: &'r Txn<'_>) -> Outcome<'r> {
        let session = at.header.session.0;
        match txn {
            Txn::Create(create) if create.ephemeral => self.create(at, op, create, session),
            Txn::Create(create) => self.create(at, op, create, 0),
            Txn::CreateContainer(create) => self.create(at, op, create, CONTAINER_OWNER),
            Txn::CreateTtl(create, ttl) => self.create(at, op, create, ttl_owner(*ttl)),
            Txn::Delete { path } => self.delete(at, path),
            Txn::SetData { path, data, version } => {
                let Some(node) = self.nodes.get_mut(key(path)) else {
                    return ErrorCode::NoNode.into();
                };
                node.data = data.map(Vec::from);
                node.stat.version = *version;
                node.stat.mzxid = at.header.zxid.0;
                node.stat.mtime = at.header.time.0;
                let acl = node.acl.clone();
                at.told.push((ChangeKind::DataChanged, path.to_string(), acl, None));
                Outcome::Changed(self.stat(key(path)))
            }
            Txn::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(key(path)) else {
                    return ErrorCode::NoNode.into();
                };
                node.acl = acl.iter().cloned().map(Acl::into_owned).collect();
                node.stat.aversion = *version;
                Outcome::Changed(self.stat(key(path)))
            }
            Txn::Check { .. } => Outcome::Checked,
            Txn::Multi(steps) => self.multi(at, steps),
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(session, *timeout_ms);
                Outcome::SessionOpened
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&session);
                let listed = paths.iter().flatten().map(ToString::to_string);
                for path in listed.chain(self.ephemerals(session)).collect::<Vec<_>>() {
                    self.delete(at, &path);
                }
                Outcome::SessionClosed
            }
            Txn::Error { err } => Outcome::Error(*err),
        }
    }

    fn create<'r>(
        &mut self,
        at: &mut At<'_>,
        op: OpCode,
        create: &'r CreateTxn<'_>,
        ephemeral_owner: i64,
    ) -> Outcome<'r> {
        let (zxid, time, path) = (at.header.zxid.0, at.header.time.0, &*create.path);
        let Some(parent) = parent_of(path).filter(|parent| self.nodes.contains_key(*parent)) else {
            return ErrorCode::NoNode.into();
        };
        let acl: Vec<_> = create.acl.iter().cloned().map(Acl::into_owned).collect();
        let existing = self.nodes.get_mut(key(path)).map(|node| node.acl = acl.clone()).is_some();
        let stat = &mut self.nodes.get_mut(parent).expect("it is there").stat;
        if create.parent_cversion > stat.cversion && (!existing || op == OpCode::Create) {
            (stat.cversion, stat.pzxid) = (create.parent_cversion, zxid);
        }
        if existing {
            return ErrorCode::NodeExists.into();
        }
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner,
            ..StatPersisted::default()
        };
        let data = create.data.map(Vec::from);
        self.nodes.insert(path.to_owned(), ModelNode { data, acl: acl.clone(), stat });
        let parent_acl = Some(self.nodes[parent].acl.clone());
        at.told.push((ChangeKind::Created, path.to_owned(), acl, parent_acl));
        Outcome::Created { path, stat: self.stat(path) }
    }

    fn delete<'r>(&mut self, at: &mut At<'_>, path: &str) -> Outcome<'r> {
        let Some(parent) = parent_of(path).and_then(|parent| self.nodes.get_mut(parent)) else {
            return ErrorCode::NoNode.into();
        };
        parent.stat.pzxid = parent.stat.pzxid.max(at.header.zxid.0);
        let parent_acl = Some(parent.acl.clone());
        if !self.nodes.contains_key(path) {
            return ErrorCode::NoNode.into();
        }
        // only in a replay; deepest first, though the order is not a rule
        for below in self.children(path).map(str::to_owned).collect::<Vec<_>>() {
            self.delete(at, &below);
        }
        let acl = self.nodes.remove(path).expect("it is there").acl;
        at.told.push((ChangeKind::Deleted, path.to_owned(), acl, parent_acl));
        Outcome::Deleted
    }

    fn multi<'r>(&mut self, at: &mut At<'_>, steps: &'r [(OpCode, Txn<'_>)]) -> Outcome<'r> {
        let failed = |txn: &Txn<'_>| matches!(txn, Txn::Error { .. });
        if steps.iter().all(|(_, txn)| !failed(txn)) {
            return Outcome::Multi(steps.iter().map(|(op, txn)| self.step(at, *op, txn)).collect());
        }
        let mut code = 0;
        let mut outcomes = Vec::new();
        for (_, txn) in steps {
            if let Txn::Error { err } = txn {
                code = -2;
                outcomes.push(Outcome::Error(*err));
            } else {
                outcomes.push(Outcome::Error(code));
            }
        }
        Outcome::Multi(outcomes)
    }

    /// Asserts that a tree is this.
    pub(super) fn check(&self, tree: &Tree) {
        tree.check_invariants();
        assert_eq!(tree.last_zxid(), Zxid(self.zxid));
        assert_eq!(tree.node_count(), self.nodes.len() + 1);
        let sessions = self.sessions.iter().map(|(id, timeout_ms)| (SessionId(*id), *timeout_ms));
        assert!(tree.sessions().eq(sessions));
        let (mut digest, mut bytes) = (0, 1);
        for (path, node) in &self.nodes {
            let found = tree.find(path).expect(path);
            assert_eq!(found.data(), node.data.as_deref(), "{path}");
            assert_eq!(found.stat_persisted(), node.stat, "{path}");
            assert_eq!(tree.stat(found), self.stat(path), "{path}");
            assert_eq!(&**tree.acl(found), &node.acl[..], "{path}");
            assert_eq!(found.kind(), Self::kind(node), "{path}");
            let mut names: Vec<String> =
                tree.child_names(found).map(|n| format!("{path}/{n}")).collect();
            names.sort_unstable();
            assert!(self.children(path).eq(names.iter()), "{path}");
            digest += if path.starts_with("/zookeeper/") { 0 } else { node_digest(path, node) };
            bytes += path.chars().count() + node.data.as_ref().map_or(0, Vec::len);
        }
        assert_eq!(tree.digest(), digest);
        assert_eq!(tree.data_bytes(), bytes as u64);
        for session in self.sessions.keys() {
            let mut paths: Vec<&str> = tree.ephemerals(SessionId(*session)).collect();
            paths.sort_unstable();
            assert_eq!(paths, self.ephemerals(*session));
        }
    }
}

fn node_digest(path: &str, node: &ModelNode) -> i64 {
    let stat = &node.stat;
    let mut bytes = [path.as_bytes(), node.data.as_deref().unwrap_or_default()].concat();
    for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
        bytes.extend(long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        bytes.extend(int.to_be_bytes());
    }
    bytes.extend(stat.ephemeral_owner.to_be_bytes());
    i64::from(crc32fast::hash(&bytes))
}

/// Asserts that a tree's changes are what the model would tell.
pub(super) fn check_changes(changes: &[Change], told: &[Told], zxid: i64) {
    assert_eq!(changes.len(), told.len());
    for (change, (kind, path, acl, parent_acl)) in changes.iter().zip(told) {
        assert_eq!((change.kind, &*change.path, change.zxid), (*kind, &path[..], Zxid(zxid)));
        assert_eq!(&*change.acl, &acl[..], "{path}");
        assert_eq!(change.parent_acl.as_deref(), parent_acl.as_deref(), "{path}");
    }
}
