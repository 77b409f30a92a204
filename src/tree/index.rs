//! From a path to its node's id.
//!
//! 256 small tables instead of one large: a table that grows rehashes all it holds while readers
//! wait, so none may hold much. The hash is foldhash keyed by a seed given at construction. Paths
//! are chosen by clients, so a server must draw that seed at random at its start, or someone could
//! choose paths that collide; the tree itself draws nothing, and no order of the tables can be seen
//! from outside: they are never iterated, only asked.

use hashbrown::HashTable;
use slab::Slab;

use super::node::{Node, NodeId};
use crate::hash::PathHash;

/// Tables; a power of two.
const TABLES: usize = 256;

pub(super) struct Index {
    tables: Box<[HashTable<NodeId>]>,
    hash: PathHash,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        let tables = (0..TABLES).map(|_| HashTable::new()).collect();
        Self { tables, hash: PathHash::new(seed) }
    }

    /// Bits in the middle: a table takes its buckets from the low ones and its tags from the top.
    fn table(hash: u64) -> usize {
        usize::try_from((hash >> 40) % TABLES as u64).expect("less than TABLES")
    }

    pub(super) fn hash_of(&self, path: &str) -> u64 {
        self.hash.of(path)
    }

    /// The node at `path`; the root's path is empty here.
    pub(super) fn find(&self, path: &str, nodes: &Slab<Node>) -> Option<NodeId> {
        self.find_hashed(path, self.hash_of(path), nodes)
    }

    /// [`Self::find`] for who has worked out the hash.
    pub(super) fn find_hashed(&self, path: &str, hash: u64, nodes: &Slab<Node>) -> Option<NodeId> {
        let table = &self.tables[Self::table(hash)];
        table.find(hash, |id| *nodes[*id as usize].path == *path).copied()
    }

    /// The node that [`Self::find`] most likely finds, without a look at it.
    pub(super) fn likely(&self, path: &str) -> Option<NodeId> {
        let hash = self.hash_of(path);
        self.tables[Self::table(hash)].find(hash, |_| true).copied()
    }

    /// Adds a node that is in the arena and not here.
    pub(super) fn insert(&mut self, id: NodeId, nodes: &Slab<Node>) {
        let hash_of = |id: &NodeId| self.hash.of(&nodes[*id as usize].path);
        let hash = hash_of(&id);
        self.tables[Self::table(hash)].insert_unique(hash, id, hash_of);
    }

    /// Takes out a node that is here.
    pub(super) fn remove(&mut self, id: NodeId, nodes: &Slab<Node>) {
        let hash = self.hash.of(&nodes[id as usize].path);
        let table = &mut self.tables[Self::table(hash)];
        let entry = table.find_entry(hash, |other| *other == id);
        entry.expect("every node is in the index").remove();
    }

    /// Paths in it.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(HashTable::len).sum()
    }
}
