//! What the tree will be once all that is in flight is applied.
//!
//! Each path changed by a txn in flight has one entry: its latest state. A queue in zxid order says
//! which txns mention it; when the last of them is applied, the tree says the same and the entry
//! goes. A failed multi is undone by putting back what it replaced.
//! INVARIANT: an entry's `mentions` is the number of its places in the queue, never 0.
//! Source: `ZooKeeperServer.outstandingChanges`, `PrepRequestProcessor.ChangeRecord`.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashTable;
use slab::Slab;

use crate::ids::{SessionId, Zxid};
use crate::request::path::or_root;
use crate::tree::digest::{Prefix, is_digested};
use crate::tree::{Node, NodeKind, SharedAcl, StatPersisted, Tree};

/// Texts kept to be used again: as many as are often in flight, none that is long.
const SPARE_PATHS_MAX: usize = 1024;
const SPARE_PATH_BYTES_MAX: usize = 256;

/// A node as it will be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct State {
    pub(super) stat: StatPersisted,
    pub(super) kind: NodeKind,
    pub(super) acl: SharedAcl,
    pub(super) children: usize,
    pub(super) data_len: usize,
    pub(super) prefix: Prefix,
    /// What the tree's digest will hold of it.
    pub(super) digest: u32,
}

impl State {
    pub(super) fn of(tree: &Tree, node: &Node) -> Self {
        Self {
            stat: node.stat_persisted(),
            kind: node.kind(),
            acl: tree.acl(node).clone(),
            children: node.child_count(),
            data_len: node.data_len(),
            prefix: node.digest_prefix(),
            digest: node.digest(),
        }
    }

    fn owner(&self) -> Option<SessionId> {
        (self.kind == NodeKind::Ephemeral).then_some(SessionId(self.stat.ephemeral_owner))
    }
}

struct Entry {
    path: String,
    /// The path's, as the tree hashes.
    hash: u64,
    /// `None` once deleted.
    state: Option<State>,
    mentions: u32,
}

/// What one txn replaced, to put it back.
struct Replaced {
    id: usize,
    /// Of no importance if there was no entry: undoing takes away its only mention.
    state: Option<State>,
}

/// See the module.
pub(super) struct Outstanding {
    entries: Slab<Entry>,
    /// Texts of paths that are not in flight any more, to be used again.
    spare: Vec<String>,
    index: HashTable<usize>,
    queue: VecDeque<(Zxid, usize)>,
    /// Entries that are ephemerals, by owner.
    ephemerals: BTreeSet<(SessionId, usize)>,
    /// The tree's digest after all of the queue; means nothing while that is empty.
    digest: i64,
    with_digest: bool,
    undo: Option<Undo>,
}

struct Undo {
    replaced: Vec<Replaced>,
    digest: i64,
}

impl Outstanding {
    pub(super) fn new(with_digest: bool) -> Self {
        Self {
            entries: Slab::new(),
            spare: Vec::new(),
            index: HashTable::new(),
            queue: VecDeque::new(),
            ephemerals: BTreeSet::new(),
            digest: 0,
            with_digest,
            undo: None,
        }
    }

    /// How many places its queue has.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn find(&self, path: &str, hash: u64) -> Option<usize> {
        let is_it = |id: &usize| self.entries[*id].path == path;
        self.index.find(hash, is_it).copied()
    }

    /// The node at `path` as it will be.
    pub(super) fn get(&self, tree: &Tree, path: &str) -> Option<State> {
        let (path, hash) = (or_root(path), tree.hash_of(path));
        if let Some(id) = self.find(path, hash) {
            return self.entries[id].state.clone();
        }
        tree.find_hashed(path, hash).map(|node| State::of(tree, node))
    }

    /// Whether there will be a node at `path`.
    pub(super) fn exists(&self, tree: &Tree, path: &str) -> bool {
        let (path, hash) = (or_root(path), tree.hash_of(path));
        match self.find(path, hash) {
            Some(id) => self.entries[id].state.is_some(),
            None => tree.find_hashed(path, hash).is_some(),
        }
    }

    /// The tree's digest as it will be.
    pub(super) fn digest(&self, tree: &Tree) -> i64 {
        if self.queue.is_empty() { tree.digest() } else { self.digest }
    }

    /// Paths of the ephemerals `session` will have.
    pub(super) fn ephemerals_of(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        let unchanged = tree.ephemerals(session).filter(|path| {
            let hash = tree.hash_of(path);
            self.find(path, hash).is_none()
        });
        let of_session = (session, 0)..=(session, usize::MAX);
        let changed = self.ephemerals.range(of_session).map(|(_, id)| &*self.entries[*id].path);
        unchanged.chain(changed).map(str::to_owned).collect()
    }

    /// `path` will have no node. `was` is what it has now.
    pub(super) fn delete(&mut self, tree: &Tree, zxid: Zxid, path: &str, was: &State) {
        self.replace(tree, zxid, path, was.digest, None);
    }

    /// `path` will have this node; its digest is worked out here. `was` is the one it replaces in
    /// the tree's digest, 0 for a new node.
    pub(super) fn put(&mut self, tree: &Tree, zxid: Zxid, path: &str, was: u32, mut state: State) {
        let digested = self.with_digest && is_digested(path);
        state.digest = if digested { state.prefix.node_digest(&state.stat) } else { 0 };
        self.replace(tree, zxid, path, was, Some(state));
    }

    fn replace(&mut self, tree: &Tree, zxid: Zxid, path: &str, was: u32, state: Option<State>) {
        let (path, hash) = (or_root(path), tree.hash_of(path));
        let digest = state.as_ref().map_or(0, |state| state.digest);
        self.digest =
            self.digest(tree).wrapping_sub(i64::from(was)).wrapping_add(i64::from(digest));
        let (id, replaced) = match self.find(path, hash) {
            Some(id) => (id, self.set_state(id, state)),
            None => (self.insert(path, hash, state), None),
        };
        self.entries[id].mentions += 1;
        self.queue.push_back((zxid, id));
        if let Some(undo) = &mut self.undo {
            undo.replaced.push(Replaced { id, state: replaced });
        }
    }

    fn insert(&mut self, path: &str, hash: u64, state: Option<State>) -> usize {
        let mut text = self.spare.pop().unwrap_or_default();
        text.push_str(path);
        let id = self.entries.insert(Entry { path: text, hash, state: None, mentions: 0 });
        let entries = &self.entries;
        self.index.insert_unique(hash, id, |id| entries[*id].hash);
        self.set_state(id, state);
        id
    }

    /// The one place where an entry's state changes, so that `ephemerals` cannot miss it.
    fn set_state(&mut self, id: usize, state: Option<State>) -> Option<State> {
        let owner = |state: &Option<State>| state.as_ref().and_then(State::owner);
        let entry = &mut self.entries[id];
        let (before, after) = (owner(&entry.state), owner(&state));
        let replaced = std::mem::replace(&mut entry.state, state);
        if before != after {
            if let Some(session) = before {
                self.ephemerals.remove(&(session, id));
            }
            if let Some(session) = after {
                self.ephemerals.insert((session, id));
            }
        }
        replaced
    }

    /// One mention less; without any, the tree says the same.
    fn forget(&mut self, id: usize) {
        let entry = &mut self.entries[id];
        entry.mentions -= 1;
        if entry.mentions > 0 {
            return;
        }
        self.set_state(id, None);
        let entry = self.entries.remove(id);
        let found = self.index.find_entry(entry.hash, |other| *other == id);
        found.expect("every entry is in the index").remove();
        let mut path = entry.path;
        if self.spare.len() < SPARE_PATHS_MAX && path.capacity() <= SPARE_PATH_BYTES_MAX {
            path.clear();
            self.spare.push(path);
        }
    }

    /// All up to `zxid` is in the tree.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((first, id)) = self.queue.front().copied() {
            if first > zxid {
                break;
            }
            self.queue.pop_front();
            self.forget(id);
        }
    }

    /// What follows can be undone, until [`Self::keep`] or [`Self::undo`].
    pub(super) fn begin(&mut self) {
        assert!(self.undo.is_none(), "multis do not nest");
        self.undo = Some(Undo { replaced: Vec::new(), digest: self.digest });
    }

    /// What followed [`Self::begin`] stays.
    pub(super) fn keep(&mut self) {
        self.undo = None;
    }

    /// Nothing of what followed [`Self::begin`] happened.
    pub(super) fn undo(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for replaced in undo.replaced.into_iter().rev() {
            let last = self.queue.pop_back().map(|(_, id)| id);
            assert_eq!(last, Some(replaced.id), "undone in the order it was done");
            self.set_state(replaced.id, replaced.state);
            self.forget(replaced.id);
        }
        self.digest = undo.digest;
    }
}
