//! Who ends the life of which nodes: sessions their ephemerals, the reaper containers and TTL
//! nodes.
//!
//! Kept so that neither a closed session nor the reaper has to search the tree. All of it follows
//! from the nodes; none of it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Tree;
use super::node::{Node, NodeId, NodeKind, TTL_MS_MAX};
use crate::ids::{Millis, SessionId};

#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Owners {
    pub(super) ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    pub(super) ephemeral_count: usize,
    pub(super) containers: BTreeSet<NodeId>,
    pub(super) ttls: BTreeSet<NodeId>,
}

impl Owners {
    pub(super) fn insert(&mut self, id: NodeId, node: &Node) {
        match node.kind {
            NodeKind::Persistent => {}
            NodeKind::Container => drop(self.containers.insert(id)),
            NodeKind::Ttl => drop(self.ttls.insert(id)),
            NodeKind::Ephemeral => {
                let session = SessionId(node.ephemeral_owner);
                if self.ephemerals.entry(session).or_default().insert(id) {
                    self.ephemeral_count += 1;
                }
            }
        }
    }

    pub(super) fn remove(&mut self, id: NodeId, node: &Node) {
        match node.kind {
            NodeKind::Persistent => {}
            NodeKind::Container => drop(self.containers.remove(&id)),
            NodeKind::Ttl => drop(self.ttls.remove(&id)),
            NodeKind::Ephemeral => {
                let session = SessionId(node.ephemeral_owner);
                let Some(ids) = self.ephemerals.get_mut(&session) else { return };
                if ids.remove(&id) {
                    self.ephemeral_count -= 1;
                }
                if ids.is_empty() {
                    self.ephemerals.remove(&session);
                }
            }
        }
    }

    /// A session's ephemerals, oldest id first.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }
}

/// How far the reaper has come: in one round it looks at each node once.
#[derive(Debug, Default)]
pub struct ReapRound {
    /// The last ones that it looked at.
    container: Option<NodeId>,
    ttl: Option<NodeId>,
    is_turn_of_ttl: bool,
    is_done: bool,
}

impl ReapRound {
    /// Whether it has looked at all.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Containers and TTL nodes in turn, so that neither have to wait for the end of the others.
    fn next(&mut self, owners: &Owners) -> Option<NodeId> {
        let container = (&owners.containers, &mut self.container);
        let ttl = (&owners.ttls, &mut self.ttl);
        let turns = if self.is_turn_of_ttl { [ttl, container] } else { [container, ttl] };
        self.is_turn_of_ttl = !self.is_turn_of_ttl;
        let id = turns.into_iter().find_map(|(ids, last)| {
            let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
            *last = Some(*ids.range((behind, Bound::Unbounded)).next()?);
            *last
        });
        self.is_done = id.is_none();
        id
    }
}

impl Tree {
    /// Ephemerals of all sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.owners.ephemeral_count
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.owners.of(session).map(|id| self.node(id).path())
    }

    /// Sessions that have ephemerals, in order of their ids.
    pub fn sessions_with_ephemerals(&self) -> impl ExactSizeIterator<Item = SessionId> {
        self.owners.ephemerals.keys().copied()
    }

    /// Whether nobody else's nodes are below those of a session: they would go with them.
    pub fn owns_all_below(&self, session: SessionId) -> bool {
        let is_own = |id: &NodeId| self.node(*id).owner() == Some(session);
        self.owners.of(session).all(|id| self.node(id).child_ids().iter().all(is_own))
    }

    /// Containers.
    pub fn container_count(&self) -> usize {
        self.owners.containers.len()
    }

    /// Nodes with a time to live.
    pub fn ttl_count(&self) -> usize {
        self.owners.ttls.len()
    }

    /// Looks at the next `limit` containers and TTL nodes of a round, and says the paths of those
    /// whose time is over at `now` (wall clock): containers that lost their last child, or have
    /// waited longer than `max_never_used` (0: for ever) for their first, and TTL nodes without
    /// children (`ContainerManager.getCandidates`).
    pub fn reapable(
        &self,
        now: Millis,
        max_never_used: Millis,
        round: &mut ReapRound,
        limit: usize,
    ) -> Vec<String> {
        let next = std::iter::from_fn(|| round.next(&self.owners));
        let nodes = next.take(limit).map(|id| self.node(id));
        let over =
            nodes.filter(|node| node.child_count() == 0 && is_over(node, now, max_never_used));
        over.map(|node| node.path().to_owned()).collect()
    }
}

/// Whether a childless node is to be reaped.
fn is_over(node: &Node, now: Millis, max_never_used: Millis) -> bool {
    let older = |age: i64| now.0.saturating_sub(node.mtime) > age;
    let ttl = node.ephemeral_owner & TTL_MS_MAX;
    match node.kind {
        NodeKind::Container => {
            node.cversion > 0 || (max_never_used.0 != 0 && older(max_never_used.0))
        }
        NodeKind::Ttl => ttl != 0 && older(ttl),
        NodeKind::Persistent | NodeKind::Ephemeral => false,
    }
}
