//! What every change of a node is made of: in, out, before and after.
//!
//! The arena, the index, the parent's children, the owners, the ACL counts, the sizes and the
//! digest move together here and nowhere else. [`Tree::before`] and [`Tree::after`] stand around
//! every change of a node's stat, data or ACL: the first saves it for an image under way and takes
//! it out of the digest, the second puts it back.

use super::digest::{self, Prefix};
use super::node::{NO_NODE, Node, NodeId, NodeKind, StatPersisted};
use super::{Tree, TreeOptions};

/// `String.length`: what Java counts of a path.
pub(super) fn utf16_len(path: &str) -> u64 {
    let len = if path.is_ascii() { path.len() } else { path.encode_utf16().count() };
    len as u64
}

impl NodeKind {
    pub(super) fn under(options: &TreeOptions, owner: i64) -> Self {
        Self::of(owner, options.extended_types, options.emulate_353_ttl)
    }
}

/// Parent and name of a path; the parent of a child of the root is empty.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

/// A node that is to be.
pub(super) struct NewNode<'a> {
    pub(super) path: &'a str,
    pub(super) data: Option<Box<[u8]>>,
    pub(super) stat: StatPersisted,
    /// Already counted.
    pub(super) acl: u32,
}

impl Tree {
    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// To be called before a node's stat, data or ACL changes.
    pub(super) fn before(&mut self, id: NodeId) {
        self.save(id);
        self.digest.subtract(self.node(id).digest);
    }

    /// To be called after a node's stat changed; its data went through [`Self::put_data`].
    pub(super) fn after(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if self.options.digest && digest::is_digested(&node.path) {
            node.digest = node.digest_prefix().node_digest(&node.stat_persisted());
        }
        self.digest.add(node.digest);
    }

    /// Replaces the data, between `before` and `after`; in place where the new are as long and no
    /// image needs the old.
    pub(super) fn put_data(&mut self, id: NodeId, data: Option<&[u8]>) {
        let digested = self.options.digest;
        let has_images = self.has_images();
        let node = self.node_mut(id);
        let old_len = node.data_len() as u64;
        let old = match (&mut node.data, data) {
            (Some(old), Some(new)) if !has_images && old.len() == new.len() => {
                old.copy_from_slice(new);
                None
            }
            (old, new) => std::mem::replace(old, new.map(Box::from)),
        };
        let new_len = node.data_len() as u64;
        if digested && digest::is_digested(&node.path) {
            // Of the new data as they came: the node's own are only just being written.
            node.prefix = Prefix::new(&node.path, data).crc;
        }
        self.data_bytes = self.data_bytes - old_len + new_len;
        self.save_data(id, old);
    }

    /// Adds a node below `parent`, whose stat is left alone.
    pub(super) fn insert(&mut self, new: NewNode<'_>, parent: NodeId) -> NodeId {
        let NewNode { path, data, stat, acl } = new;
        let hashed = self.options.digest && digest::is_digested(path);
        let prefix = if hashed { Prefix::new(path, data.as_deref()).crc } else { 0 };
        let slot = self.nodes.get(parent as usize).map_or(0, |parent| parent.child_ids().len());
        let node = Node {
            path: path.into(),
            data,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            ephemeral_owner: stat.ephemeral_owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            children: None,
            acl,
            parent,
            slot: u32::try_from(slot).expect("no more children than ids"),
            prefix,
            digest: 0,
            stamp: self.stamp,
            kind: NodeKind::under(&self.options, stat.ephemeral_owner),
        };
        self.data_bytes += utf16_len(path) + node.data_len() as u64;
        let id = NodeId::try_from(self.nodes.insert(node)).expect("fewer than 2^32 nodes fit");
        assert_ne!(id, NO_NODE, "the last id means no node");
        self.ids_end = self.ids_end.max(id + 1);
        self.index.insert(id, &self.nodes);
        self.owners.insert(id, &self.nodes[id as usize]);
        if parent != NO_NODE {
            self.node_mut(parent).children.get_or_insert_default().push(id);
        }
        self.after(id);
        id
    }

    /// Takes out a node that has no children. Its parent's stat is left alone.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.before(id);
        self.index.remove(id, &self.nodes);
        let node = self.nodes.remove(id as usize);
        assert!(node.children.is_none(), "a node outlives its children");
        self.owners.remove(id, &node);
        self.acls.release(node.acl);
        self.data_bytes -= utf16_len(&node.path) + node.data_len() as u64;
        self.remove_child(node.parent, node.slot);
        self.save_removed(id, node);
    }

    /// The last child takes the place of the one that goes.
    fn remove_child(&mut self, parent: NodeId, slot: u32) {
        let parent = self.node_mut(parent);
        let children = parent.children.as_mut().expect("a child is among its parent's children");
        children.swap_remove(slot as usize);
        let moved = children.get(slot as usize).copied();
        if children.is_empty() {
            parent.children = None;
        } else if children.len() * 4 < children.capacity() {
            let room = children.len() * 2;
            children.shrink_to(room); // a parent that once had a million gives them back
        }
        if let Some(moved) = moved {
            self.node_mut(moved).slot = slot;
        }
    }
}
