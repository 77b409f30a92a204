//! Reads the nodes of an image, a bounded number at a time, parents first.
//!
//! Goes through the arena by id, which is how it lies in memory, and puts the ancestors that have
//! not been written yet before each node. So no list of children has to be saved.

use super::{SavedData, SavedNodes, TERMINATOR};
use crate::tree::Tree;
use crate::tree::node::{NO_NODE, NodeId, StatPersisted};
use crate::wire::Writer;

/// Ids looked at for each node that may be written: a stretch of deleted ones takes time as well.
const IDS_PER_NODE: usize = 8;

/// How far a [`Walker`] is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more to append.
    More,
    /// All nodes and the terminator have been appended.
    Done,
    /// The tree knows nothing of this image (any more): what was appended is worth nothing.
    Gone,
}

/// Where the reading of an image has got to. Holds nothing of the tree.
pub struct Walker {
    stamp: u32,
    next: NodeId,
    end: NodeId,
    /// A bit for each id: whether it has been written.
    written: Vec<u64>,
    /// Ancestors to be written before the next id, the topmost last.
    pending: Vec<NodeId>,
    nodes: usize,
}

/// A node as it was when the image began.
struct View<'t> {
    path: &'t str,
    data: Option<&'t [u8]>,
    stat: StatPersisted,
    acl_id: i64,
    parent: NodeId,
}

impl Walker {
    pub(super) fn new(stamp: u32, end: NodeId) -> Self {
        let written = vec![0; end.div_ceil(64) as usize];
        Self { stamp, next: 0, end, written, pending: Vec::new(), nodes: 0 }
    }

    /// Nodes appended so far.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Appends at most `nodes_max` nodes, and none after `bytes_max` bytes; at the end, the
    /// terminator. To be called again while it says [`Progress::More`], with writes in between.
    pub fn append(
        &mut self,
        tree: &Tree,
        out: &mut Vec<u8>,
        nodes_max: usize,
        bytes_max: usize,
    ) -> Progress {
        if self.saved(tree).is_none() {
            return Progress::Gone;
        }
        let bytes_end = out.len() + bytes_max;
        let mut nodes_left = nodes_max;
        let mut ids_left = nodes_max * IDS_PER_NODE;
        while nodes_left > 0 && ids_left > 0 && out.len() < bytes_end {
            if let Some(id) = self.pending.pop() {
                self.append_node(tree, id, out);
                nodes_left -= 1;
            } else if self.next < self.end {
                self.line_up(tree, self.next);
                self.next += 1;
                ids_left -= 1;
            } else {
                Writer::new(out).string(TERMINATOR);
                return Progress::Done;
            }
        }
        Progress::More
    }

    /// Puts a node and its ancestors in line, as far as they have not been written.
    fn line_up(&mut self, tree: &Tree, id: NodeId) {
        let mut id = id;
        while id != NO_NODE && !self.is_written(id) {
            let Some(view) = self.view(tree, id) else {
                assert!(self.pending.is_empty(), "an ancestor was there as well");
                return;
            };
            self.pending.push(id);
            id = view.parent;
        }
    }

    fn append_node(&mut self, tree: &Tree, id: NodeId, out: &mut Vec<u8>) {
        let view = self.view(tree, id).expect("it was in the image when it was put in line");
        let mut w = Writer::new(out);
        w.string(view.path);
        w.buffer(view.data);
        w.i64(view.acl_id);
        view.stat.encode(&mut w);
        self.written[id as usize / 64] |= 1 << (id % 64);
        self.nodes += 1;
    }

    fn is_written(&self, id: NodeId) -> bool {
        self.written[id as usize / 64] >> (id % 64) & 1 == 1
    }

    fn saved<'t>(&self, tree: &'t Tree) -> Option<&'t SavedNodes> {
        tree.images.iter().find(|saved| saved.stamp == self.stamp)
    }

    /// The node that had this id when the image began.
    fn view<'t>(&self, tree: &'t Tree, id: NodeId) -> Option<View<'t>> {
        let live = tree.nodes.get(id as usize);
        let saved = self.saved(tree).and_then(|saved| saved.nodes.get(&id));
        if let Some(saved) = saved {
            let data = match &saved.data {
                SavedData::Live => live.and_then(|node| node.data.as_deref()),
                SavedData::Replaced(data) => data.as_deref(),
            };
            let path = saved.path.as_deref().or_else(|| live.map(|node| &*node.path));
            let path = path.expect("a saved node is live or has its path saved");
            let (stat, acl_id, parent) = (saved.stat, saved.acl_id, saved.parent);
            return Some(View { path, data, stat, acl_id, parent });
        }
        let node = live.filter(|node| node.stamp < self.stamp)?;
        Some(View {
            path: &node.path,
            data: node.data.as_deref(),
            stat: node.stat_persisted(),
            acl_id: tree.acls.id(node.acl),
            parent: node.parent,
        })
    }
}
