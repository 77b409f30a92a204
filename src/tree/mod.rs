//! The replicated state: znodes, ACLs, sessions, and what is derived from them.
//!
//! Pure and deterministic: no clock, no randomness, no file; what two servers applied in the same
//! order is the same. One writer (the zab thread, through [`Tree::apply`]), many readers.

#![forbid(unsafe_code)]

mod acl;
mod apply;
pub mod digest;
mod index;
mod node;
mod quota;

use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};

pub use acl::SharedAcl;
pub use apply::{Change, ChangeKind, Outcome};
pub use node::{CONTAINER_OWNER, Node, NodeKind, StatPersisted, TTL_MS_MAX, ttl_owner};
pub use quota::{Limits, Quota, Usage};

use crate::ids::{Millis, SessionId, Zxid};
use crate::wire::Stat;
use crate::wire::txn::Record;
use acl::AclTable;
use index::Index;
use node::NodeId;

/// What the operator decides about the tree; all servers of an ensemble must agree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TreeOptions {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes.
    pub extended_types: bool,
    /// `zookeeper.emulate353TTLNodes`: owners of ZooKeeper 3.5.3's TTL nodes.
    pub emulate_353_ttl: bool,
    /// `zookeeper.digest.enabled`.
    pub digest: bool,
    /// Keys the hash of paths; to be drawn at random once by a server's process.
    pub hash_seed: u64,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { extended_types: false, emulate_353_ttl: false, digest: true, hash_seed: 0 }
    }
}

/// The replicated state of one server.
pub struct Tree {
    options: TreeOptions,
    nodes: Slab<Node>,
    index: Index,
    acls: AclTable,
    sessions: BTreeMap<SessionId, i32>,
    ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    last_zxid: Zxid,
    digest: i64,
    data_bytes: u64,
}

impl Tree {
    /// A new one with the default options.
    pub fn new() -> Self {
        Self::with_options(TreeOptions::default())
    }

    /// A new one: `/`, `/zookeeper`, `/zookeeper/config` and `/zookeeper/quota`.
    pub fn with_options(options: TreeOptions) -> Self {
        Self {
            options,
            nodes: Slab::new(),
            index: Index::new(options.hash_seed),
            acls: AclTable::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            last_zxid: Zxid::ZERO,
            digest: 0,
            data_bytes: 0,
        }
    }

    /// Of the last txn applied.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Sum of the node digests; 0 if digests are off.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    fn find_id(&self, path: &str) -> Option<NodeId> {
        self.index.find(if path == "/" { "" } else { path }, &self.nodes)
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The node at `path`. Empty is an alias of `/`, as in Java.
    pub fn find(&self, path: &str) -> Option<&Node> {
        self.find_id(path).map(|id| self.node(id))
    }

    /// What clients are told of a node.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "Java's ints")]
    pub fn stat(&self, node: &Node) -> Stat {
        let stat = node.stat_persisted();
        let children = node.child_count() as i32;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: stat.aversion,
            ephemeral_owner: node.owner().map_or(0, |owner| owner.0),
            data_length: node.data_len() as i32,
            num_children: children,
            pzxid: stat.pzxid,
        }
    }

    /// Who may do what to a node.
    pub fn acl(&self, node: &Node) -> &SharedAcl {
        self.acls.list(node.acl)
    }

    /// Names of the direct children, in no particular order.
    pub fn child_names(&self, node: &Node) -> impl ExactSizeIterator<Item = &str> {
        let skip = node.path.len() + 1;
        node.child_ids().iter().map(move |id| &self.node(*id).path[skip..])
    }

    /// All nodes below `path`, not counting itself; 0 if there is none.
    pub fn descendants(&self, path: &str) -> usize {
        let mut count = 0;
        let mut stack: Vec<NodeId> = self.find_id(path).into_iter().collect();
        while let Some(id) = stack.pop() {
            let children = self.node(id).child_ids();
            count += children.len();
            stack.extend(children.iter().filter(|id| !self.node(**id).child_ids().is_empty()));
        }
        count
    }

    /// COMPAT: Java counts the root twice, as `""` and as `"/"`.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Characters of all paths and bytes of all data (`approximateDataSize`).
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Ephemerals of all sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(|id| self.node(*id).path())
    }

    /// Sessions that have ephemerals, in order of their ids.
    pub fn sessions_with_ephemerals(&self) -> impl ExactSizeIterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// The replicated session table: ids and timeouts in ms, in order of the ids.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    /// Lists in the ACL table.
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// The quota that counts for `path`: the one set deepest on the way to it.
    pub fn quota_of(&self, _path: &str) -> Option<Quota<'_>> {
        None
    }

    /// Paths of at most `limit` containers and TTL nodes whose time is over at `now` (wall clock).
    pub fn reapable(&self, _now: Millis, _max_never_used: Millis, _limit: usize) -> Vec<String> {
        Vec::new()
    }

    /// Applies one txn. Never fails: what could not be done is an [`Outcome::Error`], and applying
    /// it again changes nothing it should not. `changes` gets what watches are told of, in order;
    /// `None` when nobody watches.
    pub fn apply<'r>(
        &mut self,
        record: &'r Record<'_>,
        changes: Option<&mut Vec<Change>>,
    ) -> Outcome<'r> {
        let _ = (record, changes, &self.options);
        Outcome::Error(-6)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}
