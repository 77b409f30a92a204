//! Point-in-time images of the tree while writes go on: what snapshots and learners get.
//!
//! [`Tree::begin_image`] marks the point, between two txns. Until [`Tree::end_image`], a change of
//! a node that was there at that point first saves what it was, once. A [`Walker`] then reads the
//! tree in bounded steps under the read lock and sees, for every node, what it was at that point.
//! Several may be under way, each with its own stamp; a node's is that of the last image that was
//! under way when the node came or was saved.
//!
//! INVARIANT: a node with an image's stamp or a later one is new since that image began, or saved
//! in it.
//! INVARIANT: an id that is saved in an image is not saved there again, whatever node has it by
//! then.

mod load;
mod scan;
mod walk;

use std::collections::BTreeMap;

pub use load::{LoadError, load};
pub use scan::{ScanError, Scanner};
pub use walk::{Progress, Walker};

use super::Tree;
use super::acl::SharedAcl;
use super::node::{Node, NodeId, StatPersisted};
use crate::ids::{SessionId, Zxid};
use crate::limits::IMAGES_MAX;
use crate::wire::{Acl, Writer};

/// The path that ends the nodes; the root's own is empty.
pub(super) const TERMINATOR: &str = "/";

/// What an image is of, and what of it is small enough to be copied at once.
pub struct Image {
    /// Of the last txn it holds.
    pub zxid: Zxid,
    /// The tree's digest then; `None` if digests are off.
    pub digest: Option<i64>,
    /// Whether it may hold parts of txns that follow the last ([`Tree::set_fuzzy`]).
    pub is_fuzzy: bool,
    /// How many nodes it has.
    pub nodes: usize,
    sessions: Vec<(SessionId, i32)>,
    acls: Vec<(i64, SharedAcl)>,
    stamp: u32,
    ids_end: NodeId,
}

impl Image {
    /// Appends the session and ACL tables, in order of ids: what goes before the nodes.
    pub fn encode_tables(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.count(self.sessions.len());
        for (session, timeout_ms) in &self.sessions {
            w.i64(session.0);
            w.i32(*timeout_ms);
        }
        w.count(self.acls.len());
        let mut acls: Vec<_> = self.acls.iter().collect();
        acls.sort_unstable_by_key(|(id, _)| *id);
        for (id, list) in acls {
            w.i64(*id);
            Acl::encode_list(list, &mut w);
        }
    }

    /// What reads the nodes.
    pub fn walker(&self) -> Walker {
        Walker::new(self.stamp, self.ids_end)
    }
}

/// A node as it was when the image began.
struct Saved {
    /// Only if the node is gone; else it is where it was.
    path: Option<Box<str>>,
    data: SavedData,
    stat: StatPersisted,
    acl_id: i64,
    parent: NodeId,
}

#[derive(Clone)]
enum SavedData {
    /// Not replaced since.
    Live,
    Replaced(Option<Box<[u8]>>),
}

/// What an image under way has had to save.
pub struct SavedNodes {
    stamp: u32,
    nodes: BTreeMap<NodeId, Saved>,
}

impl Tree {
    /// Begins an image of the tree as it is, to be called between two txns; `None` if too many are
    /// under way. Takes time for each session and ACL, not for each node.
    pub fn begin_image(&mut self) -> Option<Image> {
        if self.images.len() >= IMAGES_MAX {
            return None;
        }
        self.stamp += 1;
        self.images.push(SavedNodes { stamp: self.stamp, nodes: BTreeMap::new() });
        Some(Image {
            zxid: self.last_zxid,
            digest: self.options.digest.then(|| self.digest.sum()),
            is_fuzzy: self.digest.is_fuzzy(),
            nodes: self.nodes.len(),
            sessions: self.sessions().collect(),
            acls: self.acls.iter().map(|(id, list)| (id, list.clone())).collect(),
            stamp: self.stamp,
            ids_end: self.ids_end,
        })
    }

    /// Ends it, finished or not. What it had saved is to be dropped after the lock is released.
    #[must_use = "dropping it takes time: release the lock first"]
    pub fn end_image(&mut self, image: &Image) -> Option<SavedNodes> {
        let place = self.images.iter().position(|saved| saved.stamp == image.stamp)?;
        Some(self.images.remove(place))
    }

    /// This tree takes the place of `old`: no walker of an image of that one takes an image of
    /// this one for its own.
    ///
    /// # Panics
    /// If an image of this one is under way: it is served already.
    pub fn succeed(&mut self, old: &Self) {
        assert!(self.images.is_empty(), "nobody has seen the new tree yet");
        self.stamp = self.stamp.max(old.stamp);
    }

    /// Whether images are under way.
    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Nodes saved for the images under way, for metrics.
    pub fn image_saved_count(&self) -> usize {
        self.images.iter().map(|image| image.nodes.len()).sum()
    }

    /// Before any change of a node.
    pub(super) fn save(&mut self, id: NodeId) {
        let Some(latest) = self.images.last() else { return };
        let node = &mut self.nodes[id as usize];
        if node.stamp >= latest.stamp {
            return;
        }
        let before = std::mem::replace(&mut node.stamp, self.stamp);
        let node = &self.nodes[id as usize];
        let (stat, acl_id, parent) = (node.stat_persisted(), self.acls.id(node.acl), node.parent);
        for image in self.images.iter_mut().filter(|image| image.stamp > before) {
            let saved = Saved { path: None, data: SavedData::Live, stat, acl_id, parent };
            let earlier = image.nodes.insert(id, saved);
            assert!(earlier.is_none(), "a node is saved once");
        }
    }

    /// After its data was replaced.
    pub(super) fn save_data(&mut self, id: NodeId, old: Option<Box<[u8]>>) {
        let mut live = self.images.iter_mut().filter_map(|image| {
            let saved = image.nodes.get_mut(&id)?;
            matches!(saved.data, SavedData::Live).then_some(&mut saved.data)
        });
        let Some(first) = live.next() else { return };
        *first = SavedData::Replaced(old);
        let replaced = &*first;
        live.for_each(|data| *data = replaced.clone());
    }

    /// After it was taken out.
    pub(super) fn save_removed(&mut self, id: NodeId, node: Node) {
        self.save_data(id, node.data);
        for image in &mut self.images {
            if let Some(saved) = image.nodes.get_mut(&id)
                && saved.path.is_none()
            {
                saved.path = Some(node.path.clone());
            }
        }
    }
}
