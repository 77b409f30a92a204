//! All quotas in sums, one for each child of the root, for metrics.
//!
//! Source: `QuotaMetricsUtils`. Limits and stats count each for itself, also where the other node
//! is missing or the quota is not the deepest one.

use std::collections::BTreeMap;

use super::{LIMITS_NAME, QUOTA_PREFIX, STATS_NAME, Track};
use crate::tree::Tree;
use crate::tree::arena::split;
use crate::tree::node::{Node, NodeId};

/// Nodes and bytes, each the sum of several quotas.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QuotaSum {
    /// Nodes.
    pub count: i64,
    /// Bytes of their data.
    pub bytes: i64,
}

impl QuotaSum {
    fn add(&mut self, count: i64, bytes: i64) {
        self.count = self.count.wrapping_add(count);
        self.bytes = self.bytes.wrapping_add(bytes);
    }
}

/// The quotas of one child of the root and of what is below it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QuotaSums {
    /// What is allowed, if there is a limits node. COMPAT: no limit is -1, and added as that.
    pub allowed: Option<QuotaSum>,
    /// What is used, if there is a stats node.
    pub used: Option<QuotaSum>,
}

/// A walk over the nodes of all quotas, in pieces. Between two of them the tree may change: what
/// comes or goes then may be counted or not.
#[derive(Debug)]
pub struct QuotaWalk {
    left: Vec<NodeId>,
    /// So far, by the name of the root's child.
    pub sums: BTreeMap<Box<str>, QuotaSums>,
}

impl Tree {
    /// Begins a walk.
    pub fn begin_quota_walk(&self) -> QuotaWalk {
        let left = self.find_id(QUOTA_PREFIX).into_iter().collect();
        QuotaWalk { left, sums: BTreeMap::new() }
    }

    /// Goes on for up to `nodes_max` nodes; whether any are left.
    pub fn walk_quotas(&self, walk: &mut QuotaWalk, nodes_max: usize) -> bool {
        for _ in 0..nodes_max {
            let Some(id) = walk.left.pop() else { return false };
            // By now it may be gone, and another node in its place.
            let node = self.nodes.get(id as usize);
            let Some(node) = node.filter(|node| node.path.starts_with(QUOTA_PREFIX)) else {
                continue;
            };
            walk.left.extend(node.child_ids());
            if node.child_count() == 0 {
                count_leaf(&mut walk.sums, node);
            }
        }
        !walk.left.is_empty()
    }
}

/// COMPAT: a node of a quota that has children is none; null is no text; a hard limit hides the
/// other (`QuotaMetricsUtils.collectQuotaLimitOrUsage`).
fn count_leaf(sums: &mut BTreeMap<Box<str>, QuotaSums>, node: &Node) {
    let Some((_, name)) =
        split(&node.path).filter(|(_, name)| [LIMITS_NAME, STATS_NAME].contains(name))
    else {
        return;
    };
    let below = node.path[QUOTA_PREFIX.len()..].strip_prefix('/');
    let Some(namespace) = below.and_then(|path| path.split('/').next()) else { return };
    let Some(data) = node.data() else { return };
    let track = Track::parse(Some(data));
    let sums = sums.entry(namespace.into()).or_default();
    if name == STATS_NAME {
        sums.used.get_or_insert_default().add(track.count, track.bytes);
    } else {
        let limits = track.limits();
        let hard_or_soft = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        sums.allowed.get_or_insert_default().add(
            hard_or_soft(limits.count_hard, limits.count),
            hard_or_soft(limits.bytes_hard, limits.bytes),
        );
    }
}
