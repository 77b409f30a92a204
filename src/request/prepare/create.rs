//! The four creates. Source: `PrepRequestProcessor.pRequest2TxnCreate`.

use std::borrow::Cow;

use super::size::SEQUENCE_DIGITS_MAX;
use super::{Preparer, State, Step, length, signed};
use crate::request::path;
use crate::tree::digest::Prefix;
use crate::tree::{CONTAINER_OWNER, NodeKind, StatPersisted, TTL_MS_MAX, ttl_owner};
use crate::wire::record::perms;
use crate::wire::request::{Create, CreateMode};
use crate::wire::txn::{CreateTxn, Txn};
use crate::wire::{ErrorCode, OpCode};

impl Preparer {
    /// The checks, in the order in which Java makes them: the first that fails is the answer.
    pub(super) fn create<'r>(
        &mut self,
        step: &Step<'_>,
        create: Create<'r>,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        let mode = self.check_mode(step, &create)?;
        let parent_path = path::parent_for_create(&create.path)?;
        let acl = self.fixup(step, create.acl)?;
        let parent = self.find(step, parent_path)?;
        self.permit(step, &parent, perms::CREATE)?;
        let parent_path = parent_path.to_owned();
        let path = if mode.is_sequential() {
            self.size.add(SEQUENCE_DIGITS_MAX)?;
            Cow::Owned(format!("{}{:010}", create.path, parent.stat.cversion))
        } else {
            create.path
        };
        path::check(&path)?;
        if self.outstanding.exists(step.tree, &path) {
            return Err(ErrorCode::NodeExists);
        }
        if parent.kind == NodeKind::Ephemeral {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.check_quota(step, &path, 1, signed(length(create.data)))?;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        let ephemeral = mode.is_ephemeral();
        self.adopt(step, &parent_path, parent);
        let txn = CreateTxn { path, data: create.data, acl, ephemeral, parent_cversion };
        let txn = kind_of_txn(create.op, txn, create.ttl);
        self.put_new(step, &txn);
        Ok((create.op, txn))
    }

    /// Mode, TTL and session.
    fn check_mode(&self, step: &Step<'_>, create: &Create<'_>) -> Result<CreateMode, ErrorCode> {
        let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() && !self.config.tree.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        // Java lets a createTTL with another mode and a negative TTL through, and then no server
        // of the ensemble can apply it.
        let is_ttl_request = create.op == OpCode::CreateTtl;
        let fits = if mode.is_ttl() {
            is_ttl_request && (1..=TTL_MS_MAX).contains(&create.ttl)
        } else {
            !is_ttl_request
        };
        if !fits {
            return Err(ErrorCode::BadArguments);
        }
        if mode.is_ephemeral() {
            step.author.check_global_session()?;
        } else {
            step.author.check_session()?;
        }
        Ok(mode)
    }

    /// The parent's side of a create.
    ///
    /// COMPAT: a stored cversion never falls, so once it is the largest it stays, and pzxid with it
    /// (`DataTree.createNode`).
    fn adopt(&mut self, step: &Step<'_>, path: &str, mut parent: State) {
        let was = parent.digest;
        parent.children += 1;
        if let Some(cversion) = parent.stat.cversion.checked_add(1) {
            parent.stat.cversion = cversion;
            parent.stat.pzxid = step.stamp.zxid.0;
        }
        self.put(step, path, was, parent);
    }

    fn put_new(&mut self, step: &Step<'_>, txn: &Txn<'_>) {
        let (create, owner) = match txn {
            Txn::Create(create) if create.ephemeral => (create, step.author.session.0),
            Txn::Create(create) => (create, 0),
            Txn::CreateContainer(create) => (create, CONTAINER_OWNER),
            Txn::CreateTtl(create, ttl) => (create, ttl_owner(*ttl)),
            Txn::Delete { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Multi(_)
            | Txn::CreateSession { .. }
            | Txn::CloseSession { .. }
            | Txn::Error { .. } => unreachable!("a create makes one of the txns that create"),
        };
        let (zxid, time) = (step.stamp.zxid.0, step.stamp.time.0);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let options = &self.config.tree;
        let kind = NodeKind::of(owner, options.extended_types, options.emulate_353_ttl);
        let mut node = State {
            stat,
            kind,
            acl: self.share(&create.acl),
            children: 0,
            data_len: 0,
            prefix: Prefix { crc: 0, bytes: 0 },
            digest: 0,
        };
        self.set_contents(&mut node, &create.path, create.data);
        self.put(step, &create.path, 0, node);
    }
}

/// COMPAT: the opcode decides, not the flags: a plain create with a container's flags is
/// persistent, a createContainer with others is a container.
fn kind_of_txn(op: OpCode, txn: CreateTxn<'_>, ttl: i64) -> Txn<'_> {
    if op == OpCode::CreateContainer {
        Txn::CreateContainer(CreateTxn { ephemeral: false, ..txn })
    } else if op == OpCode::CreateTtl {
        Txn::CreateTtl(CreateTxn { ephemeral: false, ..txn }, ttl)
    } else {
        Txn::Create(txn)
    }
}
