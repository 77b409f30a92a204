//! What takes nodes away: clients, and the reaper.

use std::borrow::Cow;

use super::{Preparer, State, Step, next_version};
use crate::ids::Millis;
use crate::request::path;
use crate::tree::{NodeKind, TTL_MS_MAX};
use crate::wire::record::perms;
use crate::wire::txn::Txn;
use crate::wire::{ErrorCode, OpCode};

impl Preparer {
    pub(super) fn delete<'r>(
        &mut self,
        step: &Step<'_>,
        path: Cow<'r, str>,
        version: i32,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        step.author.check_session()?;
        let parent_path = path::parent_for_delete(&path)?;
        let parent = self.find(step, parent_path)?;
        self.permit(step, &parent, perms::DELETE)?;
        let node = self.find(step, &path)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(step, &path, &node, parent);
        Ok((OpCode::Delete, Txn::Delete { path }))
    }

    /// Takes a node from its parent.
    pub(super) fn remove(&mut self, step: &Step<'_>, path: &str, node: &State, mut parent: State) {
        let was = parent.digest;
        parent.children -= 1;
        parent.stat.pzxid = step.stamp.zxid.0;
        self.put(step, path::parent(path), was, parent);
        self.outstanding.delete(step.tree, step.stamp.zxid, path, node);
    }

    /// The reaper's: it looked a while ago, so what it saw is looked at again.
    ///
    /// Java deletes whatever childless node is there by now, unless it is an ephemeral; here a
    /// client's own new node, or one that was set since, stays.
    pub(super) fn delete_container<'r>(
        &mut self,
        step: &Step<'_>,
        path: Cow<'r, str>,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        let parent_path = path::parent_for_delete(&path)?;
        let node = self.find(step, &path)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if !self.is_over(&node, step.stamp.time) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.find(step, parent_path)?;
        self.remove(step, &path, &node, parent);
        Ok((OpCode::DeleteContainer, Txn::Delete { path }))
    }

    /// Whether a childless node is to be reaped: `Tree::reapable` on what is foreseen.
    fn is_over(&self, node: &State, now: Millis) -> bool {
        let older = |age: i64| now.0.saturating_sub(node.stat.mtime) > age;
        let never_used = self.config.container_never_used_max.0;
        match node.kind {
            NodeKind::Container => node.stat.cversion > 0 || (never_used != 0 && older(never_used)),
            NodeKind::Ttl => older(node.stat.ephemeral_owner & TTL_MS_MAX),
            NodeKind::Persistent | NodeKind::Ephemeral => false,
        }
    }
}
