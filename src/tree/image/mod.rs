//! A point-in-time image of the tree while writes go on: what snapshots and learners get.
//!
//! [`Tree::begin_image`] marks the point, between two txns. Until [`Tree::end_image`], a change of
//! a node that was there at that point first saves what it was, once. A [`Walker`] then reads the
//! tree in bounded steps under the read lock and sees, for every node, what it was at that point.
//!
//! INVARIANT: a node with the image's stamp is either new since the image began, or saved.
//! INVARIANT: an id that is saved is not saved again, whatever node has it by then.

mod load;
mod walk;

use std::collections::BTreeMap;

pub use load::{LoadError, load};
pub use walk::{Progress, Walker};

use super::Tree;
use super::acl::SharedAcl;
use super::node::{Node, NodeId, StatPersisted};
use crate::ids::{SessionId, Zxid};
use crate::wire::{Acl, Writer};

/// The path that ends the nodes; the root's own is empty.
pub(super) const TERMINATOR: &str = "/";

/// What an image is of, and what of it is small enough to be copied at once.
pub struct Image {
    /// Of the last txn it holds.
    pub zxid: Zxid,
    /// The tree's digest then; `None` if digests are off.
    pub digest: Option<i64>,
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

enum SavedData {
    /// Not replaced since.
    Live,
    Replaced(Option<Box<[u8]>>),
}

/// What an image under way has had to save.
#[derive(Default)]
pub struct SavedNodes(BTreeMap<NodeId, Saved>);

impl Tree {
    /// Begins an image of the tree as it is, to be called between two txns; `None` if one is under
    /// way. Takes time for each session and ACL, not for each node.
    pub fn begin_image(&mut self) -> Option<Image> {
        if self.image.is_some() {
            return None;
        }
        self.image = Some(SavedNodes::default());
        self.stamp += 1;
        Some(Image {
            zxid: self.last_zxid,
            digest: self.options.digest.then(|| self.digest.sum()),
            nodes: self.nodes.len(),
            sessions: self.sessions().collect(),
            acls: self.acls.iter().map(|(id, list)| (id, list.clone())).collect(),
            stamp: self.stamp,
            ids_end: self.ids_end,
        })
    }

    /// Ends it, finished or not. What it had saved is to be dropped after the lock is released.
    #[must_use = "dropping it takes time: release the lock first"]
    pub fn end_image(&mut self) -> Option<SavedNodes> {
        self.image.take()
    }

    /// Nodes saved for the image under way, for metrics.
    pub fn image_saved_count(&self) -> usize {
        self.image.as_ref().map_or(0, |image| image.0.len())
    }

    /// Before any change of a node.
    pub(super) fn save(&mut self, id: NodeId) {
        let Some(image) = &mut self.image else { return };
        let node = &mut self.nodes[id as usize];
        if node.stamp == self.stamp {
            return;
        }
        node.stamp = self.stamp;
        let saved = Saved {
            path: None,
            data: SavedData::Live,
            stat: node.stat_persisted(),
            acl_id: self.acls.id(node.acl),
            parent: node.parent,
        };
        let earlier = image.0.insert(id, saved);
        assert!(earlier.is_none(), "a node is saved once");
    }

    /// After its data was replaced.
    pub(super) fn save_data(&mut self, id: NodeId, old: Option<Box<[u8]>>) {
        let Some(image) = &mut self.image else { return };
        if let Some(saved) = image.0.get_mut(&id)
            && matches!(saved.data, SavedData::Live)
        {
            saved.data = SavedData::Replaced(old);
        }
    }

    /// After it was taken out.
    pub(super) fn save_removed(&mut self, id: NodeId, node: Node) {
        self.save_data(id, node.data);
        let Some(image) = &mut self.image else { return };
        if let Some(saved) = image.0.get_mut(&id) {
            saved.path.get_or_insert(node.path);
        }
    }
}
