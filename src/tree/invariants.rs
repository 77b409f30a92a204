//! What must hold between any two txns; for tests and the simulator.

use std::collections::BTreeMap;

use super::Tree;
use super::acl::OPEN_ACL;
use super::arena::utf16_len;
use super::digest::{Prefix, TreeDigest, is_digested};
use super::ephemeral::Owners;
use super::node::{NO_NODE, Node, NodeId};
use super::quota::is_limits_of;

impl Tree {
    /// Checks all invariants of the module's head against every node.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_invariants(&self) {
        let nodes =
            || self.nodes.iter().map(|(id, node)| (NodeId::try_from(id).expect("u32"), node));
        nodes().for_each(|(id, node)| self.check_place(id, node));
        assert_eq!(self.index.len(), self.nodes.len(), "the index has what is there");
        let children: usize = nodes().map(|(_, node)| node.child_count()).sum();
        assert_eq!(children + 1, self.nodes.len(), "each node but the root is one parent's child");
        self.check_owners(nodes());
        self.check_acls(nodes());
        self.check_sums(nodes());
        for root in &self.quotas.paths {
            let has_limits = nodes().any(|(_, node)| is_limits_of(&node.path, root));
            assert!(has_limits, "the quota root {root} has limits");
        }
    }

    fn check_place(&self, id: NodeId, node: &Node) {
        assert_eq!(self.find_id(&node.path), Some(id), "{} is found", node.path());
        assert!(id < self.ids_end && node.stamp <= self.stamp);
        assert!(node.children.as_ref().is_none_or(|children| !children.is_empty()));
        if node.parent == NO_NODE {
            assert_eq!(&*node.path, "", "only the root has no parent");
            return;
        }
        let parent = self.node(node.parent);
        assert_eq!(
            parent.child_ids().get(node.slot as usize),
            Some(&id),
            "{} has a slot",
            node.path()
        );
        let name = node.path.strip_prefix(&*parent.path).and_then(|rest| rest.strip_prefix('/'));
        assert!(
            name.is_some_and(|name| !name.contains('/')),
            "{} is below its parent",
            node.path()
        );
    }

    fn check_owners<'t>(&self, nodes: impl Iterator<Item = (NodeId, &'t Node)>) {
        let mut owners = Owners::default();
        nodes.for_each(|(id, node)| owners.insert(id, node));
        assert_eq!(owners, self.owners, "owners follow from the nodes");
    }

    fn check_acls<'t>(&self, nodes: impl Iterator<Item = (NodeId, &'t Node)>) {
        let mut counts = BTreeMap::new();
        for (_, node) in nodes.filter(|(_, node)| node.acl != OPEN_ACL) {
            *counts.entry(node.acl).or_insert(0) += 1;
        }
        assert_eq!(counts, self.acls.counts(), "ACL lists are counted by the nodes that have them");
    }

    fn check_sums<'t>(&self, nodes: impl Iterator<Item = (NodeId, &'t Node)>) {
        let mut digest = TreeDigest::default();
        let mut bytes = 1;
        for (_, node) in nodes {
            bytes += utf16_len(&node.path) + node.data_len() as u64;
            if self.options.digest && is_digested(&node.path) {
                let prefix = Prefix::new(&node.path, node.data());
                digest.add(prefix.node_digest(&node.stat_persisted()));
            }
        }
        assert_eq!(self.data_bytes, bytes, "the size is that of all nodes");
        assert_eq!(self.digest.sum(), digest.sum(), "the digest is that of all nodes");
    }
}
