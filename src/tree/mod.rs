//! The replicated state: znodes, ACLs, sessions, and what is derived from them.
//!
//! Pure and deterministic: no clock, randomness or file; two servers that applied the same txns are
//! the same. One writer (the zab thread, through [`Tree::apply`]), many readers, behind a lock.
//! INVARIANT: what [`Tree::check_invariants`] checks, between any two txns:
//! 1. every node but the root has a parent, whose path begins its own and whose children have it;
//! 2. the index finds every node, and nothing else;
//! 3. the owners are exactly the ephemerals, containers and TTL nodes;
//! 4. an ACL list is in the table exactly if a node has it, and counted once for each;
//! 5. digest and sizes are the sums over the nodes;
//! 6. a quota root has a limits node.

#![forbid(unsafe_code)]

mod acl;
mod ahead;
mod apply;
mod arena;
pub mod digest;
mod ephemeral;
pub mod image;
mod index;
mod invariants;
mod node;
mod quota;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use slab::Slab;

pub use acl::SharedAcl;
pub use apply::{Change, ChangeKind, Outcome};
pub use ephemeral::ReapRound;
pub use node::{CONTAINER_OWNER, Node, NodeKind, StatPersisted, TTL_MS_MAX, ttl_owner};
pub use quota::{Limits, Quota, QuotaSum, QuotaSums, QuotaWalk, Usage};

use crate::ids::{Millis, SessionId, Zxid};
use crate::wire::record::perms;
use crate::wire::txn::TxnDigest;
use crate::wire::{Acl, Stat};
use acl::{AclTable, OPEN_ACL};
use arena::NewNode;
use digest::{DigestEntry, DigestMismatch, TreeDigest};
use ephemeral::Owners;
use image::SavedNodes;
use index::Index;
use node::{NO_NODE, NodeId};
use quota::QuotaRoots;

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

/// Where a node was found. By now another may have its place, or none: a hint for a second look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place(NodeId);

/// A path as nodes have it: the root's is empty.
fn indexed(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// The replicated state of one server.
pub struct Tree {
    options: TreeOptions,
    nodes: Slab<Node>,
    /// Above every id that was ever given.
    ids_end: NodeId,
    index: Index,
    acls: AclTable,
    owners: Owners,
    quotas: QuotaRoots,
    sessions: BTreeMap<SessionId, i32>,
    last_zxid: Zxid,
    digest: TreeDigest,
    data_bytes: u64,
    /// What the images under way have had to save, by rising stamp.
    images: Vec<SavedNodes>,
    /// Counts images.
    stamp: u32,
}

impl Tree {
    /// A new one with the default options.
    pub fn new() -> Self {
        Self::with_options(TreeOptions::default())
    }

    /// A new one: `/`, `/zookeeper`, `/zookeeper/config` and `/zookeeper/quota`.
    pub fn with_options(options: TreeOptions) -> Self {
        let mut tree = Self::empty(options);
        let root = tree.add_system_node("", NO_NODE, StatPersisted::default(), OPEN_ACL);
        let system = tree.add_system_node("/zookeeper", root, StatPersisted::default(), OPEN_ACL);
        tree.add_config_node();
        tree.add_system_node("/zookeeper/quota", system, StatPersisted::default(), OPEN_ACL);
        tree
    }

    /// Without any node: not a tree yet.
    fn empty(options: TreeOptions) -> Self {
        Self {
            options,
            nodes: Slab::new(),
            ids_end: 0,
            index: Index::new(options.hash_seed),
            acls: AclTable::new(),
            owners: Owners::default(),
            quotas: QuotaRoots::default(),
            sessions: BTreeMap::new(),
            last_zxid: Zxid::ZERO,
            digest: TreeDigest::default(),
            data_bytes: 1, // COMPAT: the root is counted a second time as "/"
            images: Vec::new(),
            stamp: 0,
        }
    }

    /// `/zookeeper/config`, readable by all, if it is missing (`DataTree.addConfigNode`).
    fn add_config_node(&mut self) {
        let path = "/zookeeper/config";
        if let (Some(system), None) = (self.find_id("/zookeeper"), self.find_id(path)) {
            let acl = self.acls.intern(&[Acl::anyone(perms::READ)]);
            let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
            self.add_system_node(path, system, stat, acl);
        }
    }

    /// What `/zookeeper/config` says. Each server writes its own; no txn and no digest knows of it
    /// (`DataTree.setConfig`).
    ///
    /// COMPAT: its data version is -1, and its mzxid the configuration's version.
    pub fn set_config(&mut self, text: &str, version: Zxid, now: Millis) {
        let Some(id) = self.find_id("/zookeeper/config") else { return };
        self.save(id);
        let node = self.node_mut(id);
        (node.version, node.mzxid, node.mtime) = (-1, version.0, now.0);
        self.put_data(id, Some(text.as_bytes()));
    }

    fn add_system_node(
        &mut self,
        path: &str,
        parent: NodeId,
        stat: StatPersisted,
        acl: u32,
    ) -> NodeId {
        self.insert(NewNode { path, data: Some(Box::new([])), stat, acl }, parent)
    }

    /// What it was made with.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// The highest zxid applied.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// For what moves it without a txn: a leader's new epoch.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    fn find_id(&self, path: &str) -> Option<NodeId> {
        self.index.find(indexed(path), &self.nodes)
    }

    /// The node at `path`, most likely the one that was found there before.
    fn find_again(&self, place: Option<Place>, path: &str) -> Option<NodeId> {
        let is_there = |place: &Place| {
            self.nodes.get(place.0 as usize).is_some_and(|node| *node.path == *indexed(path))
        };
        place.filter(is_there).map(|place| place.0).or_else(|| self.find_id(path))
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The node at `path`. Empty is an alias of `/`, as in Java.
    pub fn find(&self, path: &str) -> Option<&Node> {
        self.find_id(path).map(|id| self.node(id))
    }

    /// The hash of `path` by which [`Self::find_hashed`] looks.
    pub fn hash_of(&self, path: &str) -> u64 {
        self.index.hash_of(indexed(path))
    }

    /// [`Self::find`] for who has worked out the hash.
    pub fn find_hashed(&self, path: &str, hash: u64) -> Option<&Node> {
        let id = self.index.find_hashed(indexed(path), hash, &self.nodes)?;
        Some(self.node(id))
    }

    /// What clients are told of a node.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "Java's ints")]
    pub fn stat(&self, node: &Node) -> Stat {
        let children = node.child_count() as i32;
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: node.aversion,
            ephemeral_owner: node.owner().map_or(0, |owner| owner.0),
            data_length: node.data_len() as i32,
            num_children: children,
            pzxid: node.pzxid,
        }
    }

    /// Who may do what to a node.
    pub fn acl(&self, node: &Node) -> &SharedAcl {
        self.acls.list(node.acl)
    }

    /// Nodes whose ACL was not in the snapshot, and which no txn has given one since: nobody but a
    /// superuser is let in.
    pub fn without_acl(&self) -> u64 {
        self.acls.nodes_of(&acl::nobody())
    }

    /// Names of the direct children, in no particular order.
    pub fn child_names(&self, node: &Node) -> impl ExactSizeIterator<Item = &str> {
        let skip = node.path.len() + 1;
        node.child_ids().iter().map(move |id| &self.node(*id).path[skip..])
    }

    /// All nodes below `path`, not counting itself; 0 if there is none.
    pub fn descendants(&self, path: &str) -> usize {
        if path == "/" {
            return self.nodes.len() - 1;
        }
        let mut count = 0;
        let mut stack: Vec<NodeId> = self.find_id(path).into_iter().collect();
        while let Some(id) = stack.pop() {
            let children = self.node(id).child_ids();
            count += children.len();
            stack.extend(children.iter().filter(|id| self.node(**id).child_count() > 0));
        }
        count
    }

    /// COMPAT: Java counts the root twice, as `""` and as `"/"`.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Characters of all paths and bytes of all data (`DataTree.approximateDataSize`).
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Lists in the ACL table.
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// The replicated session table: ids and timeouts in ms, in order of the ids.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    /// The timeout, ms, of a session in the replicated table.
    pub fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// Sum of the node digests; 0 if digests are off.
    pub fn digest(&self) -> i64 {
        self.digest.sum()
    }

    /// The digests after every 128th zxid, oldest first.
    pub fn digest_log(&self) -> impl ExactSizeIterator<Item = DigestEntry> {
        self.digest.log()
    }

    /// What the digest must be once `zxid` is reached: the trailer of the snapshot this was loaded
    /// from. Until then no txn's digest is compared, for the snapshot may hold parts of later txns.
    pub fn expect_digest(&mut self, zxid: Zxid, digest: TxnDigest) {
        if self.options.digest {
            self.digest.expect(zxid, digest, self.last_zxid);
        }
    }

    /// A leader's snapshot may hold parts of txns that follow it, until as much was applied as the
    /// leader had: no digest is compared meanwhile.
    pub fn set_fuzzy(&mut self, is_fuzzy: bool) {
        self.digest.set_fuzzy(is_fuzzy);
    }

    /// How many txns left this tree other than their leader's, and the first of them.
    pub fn digest_mismatches(&self) -> (u64, Option<DigestMismatch>) {
        (self.digest.mismatches(), self.digest.first_mismatch())
    }

    /// The log is replayed: a difference from the snapshot's digest that its next txn would have
    /// cleared, had there been one, is counted ([`Self::digest_mismatches`]).
    pub fn end_of_log(&mut self) {
        self.digest.end_of_log();
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}
